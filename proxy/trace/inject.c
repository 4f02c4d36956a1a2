/* SPDX-License-Identifier: MIT */
/*
 * inject.c - System calls made in the name of a frozen thread
 */
#include "proxy/trace/inject.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#define ALL_SIGNALS (~0ULL)
#define SCRATCH_SIZE (INJECT_ROOM + 32768)	/* room, then the frame */
#define FRAME_OFFSET INJECT_ROOM
#define CODE_OFFSET (SCRATCH_SIZE - 64)
#define LOW_STACK_FRAME 20480			/* bytes a frame may take at the low end of the stack */
#define RED_ZONE 128

static const uint8_t stub[] = { 0x0f, 0x05,			/* syscall */
				0xb8, 0x0f, 0x00, 0x00, 0x00,	/* mov $15,%eax */
				0x0f, 0x05 };			/* syscall */

/* ---- the frame ---------------------------------------------------------------------- */

/* arch/x86/include/asm/sigframe.h, struct rt_sigframe; the kernel's ABI since x86-64 exists */
struct kernel_ucontext {
	uint64_t flags, link;
	uint64_t stack_sp;
	uint32_t stack_flags, stack_pad;
	uint64_t stack_size;
	struct sigcontext mc;
	uint64_t sigmask;
};

struct kernel_sigframe {
	uint64_t pretcode;
	struct kernel_ucontext uc;
	uint8_t info[128];
};

#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4

/*
 * Registers as the thread needs them if nobody but rt_sigreturn restores them: the kernel restarts
 * no call then, so that an interrupted one is stepped back to here.  A call with a restart block
 * (-516) starts in full again: that may sleep longer, but never fails by mistake.
 */
static struct user_regs_struct restartable(const struct user_regs_struct *r)
{
	struct user_regs_struct x = *r;
	int64_t rax = (int64_t)r->rax;

	if ((int64_t)r->orig_rax >= 0 && (rax == -512 || rax == -513 || rax == -514 || rax == -516)) {
		x.rax = r->orig_rax;
		x.rip -= 2;
	}
	return x;
}

/**
 * write_frame() - Put a signal frame with @th's own state at @at (16-byte aligned)
 *
 * uc_stack is made invalid on purpose: rt_sigreturn then leaves the alternate stack as it is.
 */
static int write_frame(struct inject *i, struct tracee_thread *th, uint64_t at)
{
	struct user_regs_struct r = restartable(&th->regs);
	uint8_t xstate[12288] __attribute__((aligned(64)));
	struct _fpx_sw_bytes *sw = (struct _fpx_sw_bytes *)(xstate + 464);
	uint32_t magic2 = FP_XSTATE_MAGIC2;
	struct kernel_sigframe f = { 0 };
	uint64_t fp = (at + sizeof(f) + 63) & ~63ULL, features;
	size_t len;
	int rc = tracee_get_xstate(th->tid, xstate, sizeof(xstate) - 64, &len);

	if (rc)
		return rc;
	memcpy(&features, xstate + 464, 8);	/* the regset's first software word is XCR0 */
	memset(sw, 0, sizeof(*sw));
	sw->magic1 = FP_XSTATE_MAGIC1;
	sw->extended_size = (uint32_t)len + 4;
	sw->xstate_bv = features;
	sw->xstate_size = (uint32_t)len;
	memcpy(xstate + len, &magic2, 4);

	f.uc.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	f.uc.stack_flags = 0x7fff;
	f.uc.sigmask = th->sigmask;
	f.uc.mc.r8 = r.r8;
	f.uc.mc.r9 = r.r9;
	f.uc.mc.r10 = r.r10;
	f.uc.mc.r11 = r.r11;
	f.uc.mc.r12 = r.r12;
	f.uc.mc.r13 = r.r13;
	f.uc.mc.r14 = r.r14;
	f.uc.mc.r15 = r.r15;
	f.uc.mc.rdi = r.rdi;
	f.uc.mc.rsi = r.rsi;
	f.uc.mc.rbp = r.rbp;
	f.uc.mc.rbx = r.rbx;
	f.uc.mc.rdx = r.rdx;
	f.uc.mc.rax = r.rax;
	f.uc.mc.rcx = r.rcx;
	f.uc.mc.rsp = r.rsp;
	f.uc.mc.rip = r.rip;
	f.uc.mc.eflags = r.eflags;
	f.uc.mc.cs = (uint16_t)r.cs;
	f.uc.mc.__pad0 = (uint16_t)r.ss;	/* glibc's name for ss */
	f.uc.mc.fpstate = (struct _fpstate *)(uintptr_t)fp;
	rc = tracee_write(i->t, at, &f, sizeof(f));
	if (!rc)
		rc = tracee_write(i->t, fp, xstate, len + 4);
	return rc;
}

/* ---- one call ------------------------------------------------------------------------- */

/* Lets the thread run to the next system call stop */
static int to_syscall_stop(struct inject *i, int *event)
{
	pid_t tid = i->th->tid;

	for (;;) {
		int status, rc;

		if (ptrace(PTRACE_SYSCALL, tid, 0, 0))
			return -errno;
		rc = tracee_wait(tid, &status, i->deadline);
		if (rc)
			return rc;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			return 0;
		if (tracee_event(status) && tracee_event(status) != PTRACE_EVENT_STOP && event) {
			*event = tracee_event(status);
			return 0;
		}
		/* everything is blocked; a fault of the injected code would come here */
		if (!tracee_event(status))
			return -EFAULT;
	}
}

static struct user_regs_struct call_regs(struct inject *i, uint64_t frame, long nr, const uint64_t a[6])
{
	struct user_regs_struct r = i->th->regs;

	r.rip = i->scratch && i->code ? i->code : i->entry;
	r.rax = (uint64_t)nr;
	r.orig_rax = (uint64_t)-1;	/* not in a system call: nothing to restart */
	r.rdi = a[0];
	r.rsi = a[1];
	r.rdx = a[2];
	r.r10 = a[3];
	r.r8 = a[4];
	r.r9 = a[5];
	r.rsp = frame + 8;		/* rt_sigreturn looks at rsp - 8 */
	return r;
}

static uint64_t frame_at(const struct inject *i)
{
	return i->scratch ? i->scratch + FRAME_OFFSET : i->low_stack;
}

int inject_call6(struct inject *i, int64_t *result, long nr, const uint64_t args[6])
{
	struct user_regs_struct r = call_regs(i, frame_at(i), nr, args);
	int rc = tracee_set_regs(i->th->tid, &r), event = 0;

	if (!rc)
		rc = to_syscall_stop(i, NULL);		/* entering */
	do {
		event = 0;
		if (!rc)
			rc = to_syscall_stop(i, &event);	/* leaving; a clone's event comes before */
	} while (!rc && event);
	if (!rc)
		rc = tracee_get_regs(i->th->tid, &r);
	if (!rc)
		*result = (int64_t)r.rax;
	return rc;
}

int inject_must(struct inject *i, int64_t *result, const char *what, struct err *e, long nr,
		const uint64_t args[6])
{
	int64_t ignored;
	int rc = inject_call6(i, result ? result : &ignored, nr, args);

	if (!rc && (result ? *result : ignored) < 0)
		rc = (int)(result ? *result : ignored);
	return rc ? err_set(e, rc, "%s in the name of the program", what) : 0;
}

/*
 * exec ends the other threads, and waits for that until their tracer has seen each one's end.
 * Once it has been entered nobody can take it back: this waits as long as it takes, since "perhaps"
 * is no answer to whether the original still is the program.
 */
static int to_exec_end(struct inject *i, int *status)
{
	for (int spins = 0;; spins++) {
		int other;
		pid_t got = waitpid(i->th->tid, status, __WALL | WNOHANG);

		if (got == i->th->tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -errno;
		for (size_t k = 0; k < i->t->n_threads; k++)
			if (i->t->threads[k].tid != i->th->tid)
				waitpid(i->t->threads[k].tid, &other, __WALL | WNOHANG);
		if (spins < 40)
			sched_yield();
		else
			usleep(spins < 200 ? 10 : 1000);
	}
}

int inject_exec(struct inject *i, long nr, const uint64_t args[6], struct err *e)
{
	struct user_regs_struct r = call_regs(i, frame_at(i), nr, args);
	int rc = tracee_set_regs(i->th->tid, &r), status = 0;

	if (!rc)
		rc = to_syscall_stop(i, NULL);
	if (!rc && ptrace(PTRACE_SYSCALL, i->th->tid, 0, 0))
		rc = -errno;
	if (!rc)
		rc = to_exec_end(i, &status);
	if (rc)
		return err_set(e, rc, "exec in the name of the program");
	if (tracee_event(status) == PTRACE_EVENT_EXEC)
		return 0;
	rc = tracee_get_regs(i->th->tid, &r);
	if (!rc)
		rc = (int)(int64_t)r.rax;
	return err_set(e, rc < 0 ? rc : -EIO, "exec in the name of the program");
}

int inject_clone(struct inject *i, uint64_t flags, pid_t *child, struct err *e)
{
	int64_t pid;
	int status, rc;

	rc = inject_must(i, &pid, "clone", e, SYS_clone, (uint64_t[6]){ flags });
	if (rc)
		return rc;
	rc = tracee_wait((pid_t)pid, &status, i->deadline);
	if (rc)
		return err_set(e, rc, "wait for a child of the program");
	*child = (pid_t)pid;
	return 0;
}

/* ---- a thread --------------------------------------------------------------------------- */

int inject_begin(struct inject *i, struct tracee_thread *th, struct err *e)
{
	int rc = write_frame(i, th, frame_at(i));

	if (!rc)
		rc = tracee_set_sigmask(th->tid, ALL_SIGNALS);
	if (rc)
		return err_set(e, rc, "prepare thread %d for a call", (int)th->tid);
	i->th = th;
	return 0;
}

/*
 * The thread gets its own registers back at once, so that the tracer may die from here on; then it
 * is taken from the system call stop to an interrupt stop, where the kernel still restarts the
 * call that the freeze interrupted.
 */
int inject_end(struct inject *i, struct err *e)
{
	struct tracee_thread *th = i->th;
	int rc;

	if (!th)
		return 0;
	i->th = NULL;
	if (th != &i->t->threads[0]) {
		/* of many threads each stop counts: these are left to make an interrupted call again by
		 * themselves, should they ever run on here */
		th->regs = restartable(&th->regs);
		th->regs.orig_rax = (uint64_t)-1;
		rc = tracee_set_regs(th->tid, &th->regs);
		if (!rc)
			rc = tracee_set_sigmask(th->tid, th->sigmask);
		return rc ? err_set(e, rc, "give thread %d its registers back", (int)th->tid) : 0;
	}
	rc = tracee_set_regs(th->tid, &th->regs);
	if (!rc && ptrace(PTRACE_INTERRUPT, th->tid, 0, 0))
		rc = -errno;
	while (!rc) {
		int status;

		if (ptrace(PTRACE_CONT, th->tid, 0, 0))
			rc = -errno;
		if (!rc)
			rc = tracee_wait(th->tid, &status, i->deadline);
		if (!rc && tracee_event(status) == PTRACE_EVENT_STOP)
			break;
	}
	/* the stop happens before the kernel looks for a call to restart: the registers still count */
	if (!rc)
		rc = tracee_set_regs(th->tid, &th->regs);
	if (!rc)
		rc = tracee_set_sigmask(th->tid, th->sigmask);
	return rc ? err_set(e, rc, "give thread %d its registers back", (int)th->tid) : 0;
}

/* ---- the process -------------------------------------------------------------------------- */

struct stack_search {
	struct inject *i;
	uint64_t low;
};

/* The low end of [stack] is free if no thread's stack pointer is near */
static int find_low_stack(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	struct stack_search *s = ctx;
	struct tracee *t = s->i->t;

	if (strcmp(m->name, "[stack]") || m->end - m->start < 2 * LOW_STACK_FRAME)
		return 0;
	for (size_t n = 0; n < t->n_threads; n++) {
		uint64_t sp = t->threads[n].regs.rsp - RED_ZONE;

		if (sp >= m->start && sp < m->start + LOW_STACK_FRAME + 64)
			return 0;
	}
	s->low = (m->start + 63) & ~63ULL;
	return 0;
}

static int find_entry(struct inject *i, struct err *e)
{
	Elf64_auxv_t auxv[64];
	ssize_t n = procfs_read(i->t->pid, auxv, sizeof(auxv), "auxv");

	if (n < 0)
		return err_set(e, (int)n, "read the auxiliary vector of process %d", (int)i->t->pid);
	for (size_t k = 0; k < (size_t)n / sizeof(auxv[0]); k++)
		if (auxv[k].a_type == AT_ENTRY)
			i->entry = auxv[k].a_un.a_val;
	if (!i->entry)
		return err_say(e, -ENOEXEC, "process %d has no entry point", (int)i->t->pid);
	return 0;
}

static int plant(struct inject *i, bool there)
{
	int rc = there == i->planted ? 0 : tracee_write(i->t, i->entry, there ? stub : i->saved_entry, sizeof(stub));

	if (!rc)
		i->planted = there;
	return rc;
}

/* Where memory can't be writable and executable (PR_SET_MDWE), the bytes stay at the entry point */
static int map_scratch(struct inject *i, struct err *e)
{
	uint64_t args[6] = { 0, SCRATCH_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
			     (uint64_t)-1, 0 };
	bool executable = true;
	int64_t addr = 0;
	int rc = inject_call6(i, &addr, SYS_mmap, args);

	if (!rc && addr < 0) {
		executable = false;
		args[2] = PROT_READ | PROT_WRITE;
		rc = inject_must(i, &addr, "map a scratch area", e, SYS_mmap, args);
	} else if (rc) {
		rc = err_set(e, rc, "map a scratch area in the name of the program");
	}
	if (rc)
		return rc;
	i->room = (uint64_t)addr;
	i->code = executable ? i->room + CODE_OFFSET : 0;
	return executable && tracee_write(i->t, i->code, stub, sizeof(stub)) ? err_set(e, -EFAULT, "write to a scratch area")
									       : 0;
}

int inject_open(struct inject *i, struct tracee *t, int64_t deadline, struct err *e)
{
	struct stack_search search = { .i = i };
	struct err *rest = e;
	uint8_t *keep = NULL;
	AUTO_FREE uint8_t *below = NULL;
	int rc, end;

	*i = (struct inject){ .t = t, .deadline = deadline };
	rc = find_entry(i, e);
	if (!rc)
		rc = procfs_maps(t->pid, false, find_low_stack, &search, e);
	if (rc)
		return rc;
	rc = tracee_read(t, i->entry, i->saved_entry, sizeof(i->saved_entry));
	if (!rc)
		rc = plant(i, true);
	if (rc)
		return err_set(e, rc, "write to the entry point of process %d", (int)t->pid);

	/* With no free stack the frame stands below the stack pointer, and what was there comes back */
	i->low_stack = search.low ? search.low : (t->threads[0].regs.rsp - RED_ZONE - LOW_STACK_FRAME) & ~63ULL;
	below = malloc(LOW_STACK_FRAME);
	if (below && !tracee_read(t, i->low_stack, below, LOW_STACK_FRAME))
		keep = below;
	rc = inject_begin(i, &t->threads[0], e);
	if (!rc) {
		rc = map_scratch(i, e);
		if (rc)
			rest = NULL;
		end = inject_end(i, rest);
		rc = rc ? rc : end;
	}
	if (keep && tracee_write(t, i->low_stack, keep, LOW_STACK_FRAME))
		rc = rc ? rc : err_say(e, -EFAULT, "couldn't put the stack of process %d back", (int)t->pid);
	i->scratch = i->room;
	if (!rc && i->code)
		rc = plant(i, false) ? err_say(e, -EFAULT, "couldn't put the entry point of process %d back", (int)t->pid) : 0;
	if (rc)
		inject_close(i);
	return rc;
}

/*
 * The last call unmaps the very area its frame stands in, so that the frame moves to the low stack
 * again for it.  If something fails here, 64 KiB stay mapped: that harms nobody.
 */
void inject_close(struct inject *i)
{
	struct tracee *t = i->t;
	AUTO_FREE uint8_t *below = NULL;
	uint64_t scratch = i->scratch;
	int64_t ignored;

	if (i->th && inject_end(i, NULL))
		return;
	if (scratch) {
		bool kept;

		i->scratch = 0;
		below = malloc(LOW_STACK_FRAME);
		kept = below && !tracee_read(t, i->low_stack, below, LOW_STACK_FRAME);
		if (!plant(i, true) && !inject_begin(i, &t->threads[0], NULL)) {
			if (inject_call6(i, &ignored, SYS_munmap, (uint64_t[6]){ scratch, SCRATCH_SIZE }))
				ignored = 0;
			if (inject_end(i, NULL))
				ignored = 0;
		}
		if (kept && tracee_write(t, i->low_stack, below, LOW_STACK_FRAME))
			ignored = 0;
	}
	if (plant(i, false))
		i->planted = false;	/* nothing to be done */
}

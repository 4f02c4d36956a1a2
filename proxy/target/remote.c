/* SPDX-License-Identifier: MIT */
/*
 * remote.c - A process that is being rebuilt, driven from outside
 */
#include "proxy/target/remote.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/tracee.h"

#define PAGE 4096
#define BATCH_OFFSET PAGE
#define ROOM_OFFSET (BATCH_OFFSET + REMOTE_CALLS * sizeof(struct remote_call))

static_assert(sizeof(struct remote_call) == 64, "the loop below steps by 64");

/* rbx: the next call, rbp: how many are left.  Copied into the body's scratch area */
asm(".pushsection .rodata\n"
    "remote_loop:\n"
    "	test	%rbp, %rbp\n"
    "	jz	2f\n"
    "	mov	0(%rbx), %rax\n"
    "	mov	8(%rbx), %rdi\n"
    "	mov	16(%rbx), %rsi\n"
    "	mov	24(%rbx), %rdx\n"
    "	mov	32(%rbx), %r10\n"
    "	mov	40(%rbx), %r8\n"
    "	mov	48(%rbx), %r9\n"
    "	syscall\n"
    "	mov	%rax, 56(%rbx)\n"
    "	add	$64, %rbx\n"
    "	dec	%rbp\n"
    "	jmp	remote_loop\n"
    "2:	int3\n"
    "remote_loop_end:\n"
    ".popsection\n");
extern const uint8_t remote_loop[], remote_loop_end[];

int remote_read(struct remote *r, uint64_t addr, void *p, size_t len)
{
	ssize_t n = pread(r->mem, p, len, (off_t)addr);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EFAULT;
}

int remote_write(struct remote *r, uint64_t addr, const void *p, size_t len)
{
	ssize_t n = pwrite(r->mem, p, len, (off_t)addr);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EFAULT;
}

/* A call of the body's may wait for what we serve ourselves */
static int wait_busily(struct remote *r, int *status)
{
	int rc;

	do {
		rc = tracee_wait(r->tid, status, clock_ns(CLOCK_MONOTONIC) + NS_PER_MS);
		if (rc == -ETIMEDOUT)
			r->idle(r->idle_ctx);
	} while (rc == -ETIMEDOUT);
	return rc;
}

/* Lets the body run until the int3.  New threads' births are passed over */
static int run_to_trap(struct remote *r, const struct user_regs_struct *regs)
{
	int status, rc = tracee_set_regs(r->tid, regs);

	while (!rc) {
		if (ptrace(PTRACE_CONT, r->tid, 0, 0))
			return -errno;
		rc = r->idle ? wait_busily(r, &status) : tracee_wait(r->tid, &status, NO_DEADLINE);
		if (rc)
			return rc;
		if (tracee_event(status))
			continue;
		return WSTOPSIG(status) == SIGTRAP ? 0 : -EFAULT;
	}
	return rc;
}

/**
 * remote_open() - Map the scratch area into a body that has just exec'ed
 *
 * The first call is made by a "syscall; int3" over the entry point, in a page that goes anyway.
 */
int remote_open(struct remote *r, pid_t pid, uint64_t at, struct err *e)
{
	static const uint8_t first[] = { 0x0f, 0x05, 0xcc };
	struct user_regs_struct regs;
	char path[48];
	int rc;

	memset(r, 0, sizeof(*r));
	r->pid = r->tid = pid;
	r->scratch_len = REMOTE_SIZE;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	r->mem = open(path, O_RDWR | O_CLOEXEC);
	if (r->mem < 0)
		return err_set(e, -errno, "open the memory of process %d", (int)pid);
	rc = tracee_get_regs(pid, &r->regs);
	if (!rc)
		rc = remote_write(r, r->regs.rip, first, sizeof(first));
	if (rc)
		return err_set(e, rc, "prepare process %d", (int)pid);
	regs = r->regs;
	regs.rax = SYS_mmap;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = at;
	regs.rsi = r->scratch_len;
	regs.rdx = PROT_READ | PROT_WRITE | PROT_EXEC;
	regs.r10 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	regs.r8 = (uint64_t)-1;
	regs.r9 = 0;
	rc = run_to_trap(r, &regs);
	if (!rc)
		rc = tracee_get_regs(pid, &regs);
	if (!rc && regs.rax != at)
		rc = (int64_t)regs.rax < 0 ? (int)(int64_t)regs.rax : -EFAULT;
	if (!rc)
		/* cppcheck-suppress comparePointers ; two labels of one piece of code */
		rc = remote_write(r, at, remote_loop, (size_t)(remote_loop_end - remote_loop));
	r->scratch = at;
	return rc ? err_set(e, rc, "map a scratch area into process %d", (int)pid) : 0;
}

void remote_close(struct remote *r)
{
	drop_fd(&r->mem);
}

int remote_add(struct remote *r, struct err *e, const char *what, long nr, const uint64_t args[6])
{
	struct remote_call *c;

	if (r->n == REMOTE_CALLS) {
		size_t room = r->room_used;	/* what this call points to is there already */
		int rc = remote_run(r, e);

		if (rc)
			return rc;
		r->room_used = room;
	}
	c = &r->calls[r->n];
	c->nr = (uint64_t)nr;
	memcpy(c->args, args, sizeof(c->args));
	c->result = 0;
	r->whats[r->n++] = what;
	return 0;
}

int remote_run(struct remote *r, struct err *e)
{
	struct user_regs_struct regs = r->regs;
	size_t n = r->n;
	int rc;

	r->n = 0;
	r->room_used = 0;
	if (!n)
		return 0;
	regs.rip = r->scratch;
	regs.rbx = r->scratch + BATCH_OFFSET;
	regs.rbp = n;
	regs.rsp = r->scratch + r->scratch_len - 256;
	regs.orig_rax = (uint64_t)-1;
	rc = remote_write(r, regs.rbx, r->calls, n * sizeof(r->calls[0]));
	if (!rc)
		rc = run_to_trap(r, &regs);
	if (!rc)
		rc = remote_read(r, r->scratch + BATCH_OFFSET, r->calls, n * sizeof(r->calls[0]));
	if (rc)
		return err_set(e, rc, "make system calls in process %d", (int)r->pid);
	for (size_t i = 0; i < n; i++)
		if (r->whats[i] && r->calls[i].result < 0)
			return err_set(e, (int)r->calls[i].result, "%s", r->whats[i]);
	return 0;
}

uint64_t remote_put(struct remote *r, const void *p, size_t len)
{
	uint64_t at = r->scratch + ROOM_OFFSET + r->room_used;

	if (r->room_used + len + 4096 > REMOTE_ROOM || remote_write(r, at, p, len))
		return 0;
	r->room_used += (len + 15) & ~15UL;
	return at;
}

int remote_one(struct remote *r, int64_t *result, struct err *e, const char *what, long nr, const uint64_t args[6])
{
	int rc = remote_add(r, e, what, nr, args);

	if (!rc)
		rc = remote_run(r, e);
	if (!rc && result)
		*result = r->calls[0].result;
	return rc;
}

static int last_call(struct remote *r, long nr, uint64_t a, uint64_t b, uint64_t c)
{
	static const uint8_t last[] = { 0x0f, 0x05, 0xcc };
	struct user_regs_struct regs = r->regs;
	int status, rc;

	/* the instruction after the call may be gone with the area: a system call stop ends it instead */
	regs.rip = r->scratch;
	regs.rax = (uint64_t)nr;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = a;
	regs.rsi = b;
	regs.rdx = c;
	rc = remote_write(r, r->scratch, last, sizeof(last));
	if (!rc)
		rc = tracee_set_regs(r->tid, &regs);
	for (int stops = 0; !rc && stops < 2;) {
		if (ptrace(PTRACE_SYSCALL, r->tid, 0, 0))
			rc = -errno;
		if (!rc)
			rc = tracee_wait(r->tid, &status, NO_DEADLINE);
		if (!rc && !tracee_event(status) && WSTOPSIG(status) == (SIGTRAP | 0x80))
			stops++;
		else if (!rc && !tracee_event(status))
			rc = -EFAULT;
	}
	if (!rc)
		rc = tracee_get_regs(r->tid, &regs);
	return rc ? rc : (int)(int64_t)regs.rax;
}

int remote_unmap(struct remote *r, struct err *e)
{
	int rc = last_call(r, SYS_munmap, r->scratch, r->scratch_len, 0);

	return rc ? err_set(e, rc, "unmap the scratch area") : 0;
}

int remote_leave_page(struct remote *r, const void *page, struct err *e)
{
	int rc = last_call(r, SYS_munmap, r->scratch + PAGE, r->scratch_len - PAGE, 0);

	if (!rc)
		rc = last_call(r, SYS_mprotect, r->scratch, PAGE, PROT_READ | PROT_EXEC);
	if (!rc)
		rc = remote_write(r, r->scratch, page, PAGE);
	return rc ? err_set(e, rc, "leave the stub's page") : 0;
}

/* exec ends the other threads, and goes on when the end of each has been waited for */
static int wait_for_exec(pid_t tid, int *status)
{
	for (;;) {
		pid_t got = waitpid(-1, status, __WALL);

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return -errno;
	}
}

int remote_exec(struct remote *r, uint64_t path, uint64_t argv, uint64_t envp, struct err *e)
{
	static const uint8_t code[] = { 0x0f, 0x05, 0xcc };
	struct user_regs_struct regs = r->regs;
	int status, rc;

	regs.rip = r->scratch;
	regs.rax = SYS_execve;
	regs.orig_rax = (uint64_t)-1;
	regs.rdi = path;
	regs.rsi = argv;
	regs.rdx = envp;
	regs.rsp = r->scratch + r->scratch_len - 256;
	rc = remote_write(r, r->scratch, code, sizeof(code));
	if (!rc)
		rc = tracee_set_regs(r->tid, &regs);
	if (!rc && ptrace(PTRACE_CONT, r->tid, 0, 0))
		rc = -errno;
	if (!rc)
		rc = wait_for_exec(r->tid, &status);
	if (!rc && tracee_event(status) != PTRACE_EVENT_EXEC) {
		rc = tracee_get_regs(r->tid, &regs);
		if (!rc)
			rc = (int64_t)regs.rax < 0 ? (int)(int64_t)regs.rax : -EIO;
	}
	return rc ? err_set(e, rc, "exec in the process") : 0;
}

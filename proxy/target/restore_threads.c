/* SPDX-License-Identifier: MIT */
/*
 * restore_threads.c - Threads under their old numbers, and what each has of its own
 *
 * clone3's set_tid needs CAP_CHECKPOINT_RESTORE over the pid namespace: the keeper raised it as
 * an ambient capability; every thread drops it here.
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/pids.h"
#include "proxy/trace/tracee.h"

#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID)

/* sched_setattr(2) */
struct sched_values {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

/* One attempt.  @chosen: by set_tid.  *@got: the number that it has */
static int clone_once(struct restore *s, const struct image_thread *t, bool chosen, int64_t *got, struct err *e)
{
	int32_t tid = (int32_t)t->tid;
	uint64_t tid_at = remote_put(&s->r, &tid, sizeof(tid));
	struct clone_args args = {
		.flags = t->clear_tid ? THREAD_FLAGS : THREAD_FLAGS & ~(uint64_t)CLONE_CHILD_CLEARTID,
		.child_tid = t->clear_tid,
		.set_tid = chosen ? tid_at : 0,
		.set_tid_size = chosen,
	};
	uint64_t at = remote_put(&s->r, &args, sizeof(args));
	int status, rc;

	if (!at || !tid_at)
		return err_say(e, -ENOMEM, "make thread %d", tid);
	rc = remote_call(&s->r, got, e, NULL, SYS_clone3, at, sizeof(args));
	if (rc || *got < 0)
		return rc;
	/* attached by PTRACE_O_TRACECLONE; stops before its first instruction */
	rc = tracee_wait((pid_t)*got, &status, deadline_in_ms(5000));
	return rc ? err_set(e, rc, "wait for thread %d", (int)*got) : 0;
}

/* A thread that got the wrong number ends before it did anything */
static int drop_thread(struct restore *s, pid_t tid)
{
	struct user_regs_struct r = s->r.regs;
	static const uint8_t code[] = { 0x0f, 0x05 };
	uint64_t at = remote_put(&s->r, code, sizeof(code));
	int status, rc;

	r.rip = at;
	r.rax = SYS_exit;
	r.orig_rax = (uint64_t)-1;
	r.rdi = 0;
	rc = at ? tracee_set_regs(tid, &r) : -ENOMEM;
	if (!rc && ptrace(PTRACE_CONT, tid, 0, 0))
		rc = -errno;
	if (!rc)
		rc = tracee_wait(tid, &status, deadline_in_ms(5000));
	return rc == -ESRCH ? 0 : rc ? rc : -EBUSY;
}

/*
 * At home, in the machine's own pid namespace, an ordinary user's body may not choose.  We may say
 * which number was given last (pid_namespaces(7), ns_last_pid), and try again if somebody else was
 * quicker.
 */
static int clone_after_last_pid(struct restore *s, const struct image_thread *t, int64_t *got, struct err *e)
{
	for (int tries = 0; tries < 50; tries++) {
		int rc = pids_set_last((pid_t)t->tid - 1);

		if (rc)
			return err_set(e, rc, "choose the number of thread %d", (int)t->tid);
		rc = clone_once(s, t, false, got, e);
		if (rc || *got < 0 || *got == t->tid)
			return rc;
		rc = drop_thread(s, (pid_t)*got);
		if (rc)
			return err_set(e, rc, "end a thread with the wrong number");
	}
	*got = -EEXIST;
	return 0;
}

static int clone_thread(struct restore *s, const struct image_thread *t, struct err *e)
{
	int64_t got = -EIO;
	int rc = clone_once(s, t, true, &got, e);

	if (!rc && got == -EPERM && s->home)
		rc = clone_after_last_pid(s, t, &got, e);
	if (!rc && got < 0)
		rc = err_set(e, (int)got, "make a thread under its old number %d", (int)t->tid);
	return rc;
}

/* Calls that every thread makes for itself.  The batch is run by the caller */
static int own_calls(struct restore *s, const struct image_thread *t, struct err *e)
{
	struct {
		uint64_t sp;
		int32_t flags, pad;
		uint64_t size;
	} altstack = { t->altstack, (int32_t)t->altstack_flags & ~SS_ONSTACK, 0, t->altstack_size };
	char comm[16] = "";
	uint64_t at;
	int rc = 0;

	snprintf(comm, sizeof(comm), "%s", t->comm ? t->comm : "");
	at = remote_put(&s->r, comm, sizeof(comm));
	rc = remote_do(&s->r, e, "name a thread", SYS_prctl, PR_SET_NAME, at);
	if (!rc && t->altstack_size) {
		at = remote_put(&s->r, &altstack, sizeof(altstack));
		rc = remote_do(&s->r, e, "set an alternate stack", SYS_sigaltstack, at);
	}
	if (!rc && t->robust_list)
		rc = remote_do(&s->r, e, "set a robust list", SYS_set_robust_list, t->robust_list,
			       (uint64_t)t->robust_list_len);
	if (!rc && t->tid == s->pid)
		rc = remote_do(&s->r, e, "set the tid address", SYS_set_tid_address, t->clear_tid);
	if (!rc && t->rseq)
		rc = remote_do(&s->r, e, "register rseq", SYS_rseq, t->rseq, (uint64_t)t->rseq_len,
			       (uint64_t)t->rseq_flags, t->rseq_signature);
	if (!rc && t->timerslack_ns)
		rc = remote_do(&s->r, e, NULL, SYS_prctl, PR_SET_TIMERSLACK, t->timerslack_ns);
	if (!rc && (s->img->securebits & SECBIT_KEEP_CAPS))
		rc = remote_do(&s->r, e, "set keepcaps", SYS_prctl, PR_SET_KEEPCAPS, 1);
	if (!rc && s->img->pdeathsig && t->tid == s->pid)
		rc = remote_do(&s->r, e, NULL, SYS_prctl, PR_SET_PDEATHSIG, 0);
	return rc;
}

/* The last of a thread's own calls: it has no capability from here on but what the program had */
static int drop_capabilities(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint64_t head_at, data_at;
	int rc;

	for (int k = 0; k < 2; k++) {
		data[k].inheritable = (uint32_t)(img->cap_inheritable >> (32 * k));
		data[k].permitted = (uint32_t)(img->cap_permitted >> (32 * k));
		data[k].effective = (uint32_t)(img->cap_effective >> (32 * k));
	}
	rc = remote_do(&s->r, e, "clear ambient capabilities", SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
	if (!rc && !img->euid && !geteuid())
		return 0;	/* root stays root: look_process() saw that it has all */
	head_at = remote_put(&s->r, &head, sizeof(head));
	data_at = remote_put(&s->r, data, sizeof(data));
	if (!rc)
		rc = remote_do(&s->r, e, "drop capabilities", SYS_capset, head_at, data_at);
	return rc;
}

static void set_scheduling(const struct image_thread *t)
{
	struct sched_values v = { .size = sizeof(v), .policy = (uint32_t)t->policy, .nice = (int32_t)t->nice,
				  .priority = (uint32_t)t->priority };

	/* raising one's priority is a privilege: the target decides, the program runs either way */
	if (syscall(SYS_sched_setattr, t->tid, &v, 0))
		v.size = 0;
	if (t->affinity.len == sizeof(cpu_set_t) &&
	    sched_setaffinity((pid_t)t->tid, sizeof(cpu_set_t), (const cpu_set_t *)(const void *)t->affinity.p))
		v.size = 0;
	if (t->ioprio > 0 && syscall(SYS_ioprio_set, 1, t->tid, t->ioprio))
		v.size = 0;
}

int restore_threads(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	int rc = 0;

	if (!img->n_threads || img->threads[0].tid != img->pid)
		return err_say(e, -EINVAL, "the image's first thread is not its leader");
	for (size_t i = 1; i < img->n_threads && !rc; i++)
		rc = clone_thread(s, &img->threads[i], e);
	for (size_t i = 0; i < img->n_threads && !rc; i++) {
		const struct image_thread *t = &img->threads[i];

		s->r.tid = (pid_t)t->tid;
		rc = tracee_set_sigmask((pid_t)t->tid, ~0ULL);
		if (!rc)
			rc = own_calls(s, t, e);
		if (!rc)
			rc = drop_capabilities(s, e);
		if (!rc)
			rc = remote_run(&s->r, e);
		/* registering rseq clears rseq_cs */
		if (!rc && t->rseq && t->rseq_cs)
			rc = remote_write(&s->r, t->rseq + 8, &t->rseq_cs, sizeof(t->rseq_cs));
		if (!rc)
			set_scheduling(t);
	}
	s->r.tid = s->pid;
	return rc;
}

/* Only what a program may have: a wrong selector or flag would be an error of ptrace, or worse */
static int check_registers(const struct image_thread *t, struct err *e)
{
	const struct user_regs_struct *r = (const void *)t->regs.p;

	if (t->regs.len != sizeof(*r))
		return err_say(e, -EINVAL, "the image's registers of thread %d have a wrong size", (int)t->tid);
	if (r->cs != 0x33)
		return err_say(e, -EINVAL, "thread %d runs 32-bit code", (int)t->tid);
	return 0;
}

int restore_registers(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_threads && !rc; i++) {
		const struct image_thread *t = &s->img->threads[i];
		pid_t tid = (pid_t)t->tid;

		rc = check_registers(t, e);
		if (rc)
			return rc;
		rc = tracee_set_regs(tid, (const void *)t->regs.p);
		if (!rc)
			rc = tracee_set_xstate(tid, t->xstate.p, t->xstate.len);
		if (!rc)
			rc = tracee_set_sigmask(tid, t->sigmask);
		if (rc)
			err_set(e, rc, "set the registers of thread %d", (int)tid);
	}
	return rc;
}

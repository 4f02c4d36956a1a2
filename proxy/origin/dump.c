/* SPDX-License-Identifier: MIT */
/*
 * dump.c - The state of a frozen program: what only ptrace and the program itself can tell
 */
#include "proxy/origin/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#define XSTATE_MAX 12288
#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

/* ---- signals that wait -------------------------------------------------------------------- */

/* All of one queue; PTRACE_PEEKSIGINFO_SHARED for the process's */
static int peek_queue(pid_t tid, uint32_t flags, struct image_siginfo **list, size_t *n)
{
	for (uint64_t off = 0;;) {
		struct __ptrace_peeksiginfo_args args = { .off = off, .flags = flags, .nr = 16 };
		siginfo_t info[16];
		long got = ptrace(PTRACE_PEEKSIGINFO, tid, &args, info);

		if (got < 0)
			return -errno;
		if (!got)
			return 0;
		for (long k = 0; k < got; k++) {
			struct image_siginfo *one = image_grow((void **)list, n, sizeof(**list));

			if (!one || image_set_bytes(&one->info, &info[k], sizeof(info[k])))
				return -ENOMEM;
		}
		off += (uint64_t)got;
	}
}

static void drop_queue(struct image_siginfo *list, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		free(list[i].info.p);
	*n = 0;
}

int dump_pending(struct tracee *t, struct image *img, struct err *e)
{
	int rc;

	drop_queue(img->pending, &img->n_pending);
	rc = peek_queue(t->pid, PTRACE_PEEKSIGINFO_SHARED, &img->pending, &img->n_pending);
	for (size_t i = 0; i < img->n_threads && !rc; i++) {
		struct image_thread *th = &img->threads[i];

		drop_queue(th->pending, &th->n_pending);
		rc = peek_queue((pid_t)th->tid, 0, &th->pending, &th->n_pending);
	}
	return rc ? err_set(e, rc, "read the signals that wait for process %d", (int)t->pid) : 0;
}

static bool signal_waits(const struct image *img, const struct image_thread *it, uint64_t mask)
{
	for (size_t i = 0; i < img->n_pending + it->n_pending; i++) {
		const struct image_siginfo *s =
			i < img->n_pending ? &img->pending[i] : &it->pending[i - img->n_pending];
		const siginfo_t *info = (const siginfo_t *)(const void *)s->info.p;

		if (!(mask & (1ULL << (info->si_signo - 1))))
			return true;
	}
	return false;
}

/* ---- a thread from outside -------------------------------------------------------------------- */

/* sched_getattr(2); glibc 2.36 has no wrapper and its headers collide with the kernel's */
struct kernel_sched_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void dump_scheduling(pid_t tid, struct image_thread *it)
{
	struct kernel_sched_attr attr = { .size = sizeof(attr) };
	cpu_set_t may, all;

	if (!syscall(SYS_sched_getattr, tid, &attr, sizeof(attr), 0)) {
		it->policy = attr.policy;
		it->nice = attr.nice;
		it->priority = attr.priority;
	}
	it->ioprio = syscall(SYS_ioprio_get, 1, tid);
	/* only a choice that the program made travels, not "all that this machine has" */
	if (!sched_getaffinity(tid, sizeof(may), &may) && !sched_getaffinity(1, sizeof(all), &all) &&
	    !CPU_EQUAL(&may, &all) && image_set_bytes(&it->affinity, &may, sizeof(may)))
		it->affinity.len = 0;
}

static int dump_rseq(struct tracee *t, pid_t tid, struct image_thread *it)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} c = { 0 };

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof(c), &c) < 0 || !c.pointer)
		return 0;
	it->rseq = c.pointer;
	it->rseq_len = c.size;
	it->rseq_signature = c.signature;
	it->rseq_flags = c.flags;
	return tracee_read(t, c.pointer + 8, &it->rseq_cs, sizeof(it->rseq_cs));
}

static int dump_thread(struct tracee *t, struct tracee_thread *th, struct image_thread *it, struct err *e)
{
	uint8_t xstate[XSTATE_MAX];
	char comm[32] = "";
	size_t len;
	void *head = NULL;
	int rc = tracee_get_xstate(th->tid, xstate, sizeof(xstate), &len);

	if (!rc)
		rc = image_set_bytes(&it->xstate, xstate, len);
	if (!rc)
		rc = dump_rseq(t, th->tid, it);
	if (rc)
		return err_set(e, rc, "read the state of thread %d", (int)th->tid);
	it->tid = th->tid;
	it->sigmask = th->sigmask;
	if (!syscall(SYS_get_robust_list, th->tid, &head, &len)) {
		it->robust_list = (uint64_t)(uintptr_t)head;
		it->robust_list_len = (int64_t)len;
	}
	if (procfs_read(t->pid, comm, sizeof(comm), "task/%d/comm", (int)th->tid) > 0)
		comm[strcspn(comm, "\n")] = 0;
	dump_scheduling(th->tid, it);
	return image_set_str(&it->comm, comm);
}

/* ---- a thread by its own calls ------------------------------------------------------------------ */

static int ask_thread(struct inject *i, struct image_thread *it, struct err *e)
{
	struct {
		uint64_t sp;
		int32_t flags, pad;
		uint64_t size;
		uint64_t tid_address;
	} answer = { 0 };
	int64_t slack = 0;
	int rc = inject_must(i, NULL, "read the alternate stack", e, SYS_sigaltstack,
			     (uint64_t[6]){ 0, i->room });

	if (!rc)
		rc = inject_must(i, NULL, "read the tid address", e, SYS_prctl,
				 (uint64_t[6]){ PR_GET_TID_ADDRESS, i->room + 24 });
	/* threads inherit the slack; only the leader is asked */
	if (!rc && it->tid == i->t->pid)
		rc = inject_must(i, &slack, "read the timer slack", e, SYS_prctl,
				 (uint64_t[6]){ PR_GET_TIMERSLACK });
	if (!rc)
		rc = tracee_read(i->t, i->room, &answer, sizeof(answer));
	if (rc)
		return rc;
	it->altstack = answer.sp;
	it->altstack_flags = answer.flags;
	it->altstack_size = answer.size;
	it->clear_tid = answer.tid_address;
	it->timerslack_ns = (uint64_t)slack;
	return 0;
}

/* ---- the process by its own calls ----------------------------------------------------------------- */

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

static int ask_sigactions(struct inject *i, struct image *img, struct err *e)
{
	struct proc_status s;
	int rc = procfs_status(i->t->pid, i->t->pid, &s, e);

	for (int sig = 1; sig <= 64 && !rc; sig++) {
		struct kernel_sigaction sa;
		struct image_sigaction *one;

		if (!((s.caught | s.ignored) & (1ULL << (sig - 1))))
			continue;
		rc = inject_must(i, NULL, "read a signal's action", e, SYS_rt_sigaction,
				 (uint64_t[6]){ (uint64_t)sig, 0, i->room, 8 });
		if (!rc)
			rc = tracee_read(i->t, i->room, &sa, sizeof(sa));
		if (rc)
			break;
		one = image_add(img, sigactions);
		if (!one)
			return -ENOMEM;
		*one = (struct image_sigaction){ .signo = sig, .handler = sa.handler, .flags = sa.flags,
						 .restorer = sa.restorer, .mask = sa.mask };
	}
	return rc;
}

static int ask_itimers(struct inject *i, struct image *img, struct err *e)
{
	for (int which = 0; which < 3; which++) {
		struct itimerval v;
		struct image_itimer *one;
		int rc = inject_must(i, NULL, "read an interval timer", e, SYS_getitimer,
				     (uint64_t[6]){ (uint64_t)which, i->room });

		if (!rc)
			rc = tracee_read(i->t, i->room, &v, sizeof(v));
		if (rc)
			return rc;
		/* a periodic one stands at 0 while its SIGALRM waits to be taken; that starts it again */
		if (!v.it_value.tv_sec && !v.it_value.tv_usec)
			v.it_value = v.it_interval;
		if (!v.it_value.tv_sec && !v.it_value.tv_usec)
			continue;
		one = image_add(img, itimers);
		if (!one)
			return -ENOMEM;
		one->which = which;
		one->value_us = v.it_value.tv_sec * 1000000 + v.it_value.tv_usec;
		one->interval_us = v.it_interval.tv_sec * 1000000 + v.it_interval.tv_usec;
	}
	return 0;
}

static int ask_timer(struct inject *i, struct image_timer *t, struct err *e)
{
	struct itimerspec v;
	int rc = inject_must(i, NULL, "read a timer", e, SYS_timer_gettime, (uint64_t[6]){ (uint64_t)t->id, i->room });

	if (!rc)
		rc = tracee_read(i->t, i->room, &v, sizeof(v));
	if (rc)
		return rc;
	t->value_ns = v.it_value.tv_sec * NS_PER_S + v.it_value.tv_nsec;
	t->interval_ns = v.it_interval.tv_sec * NS_PER_S + v.it_interval.tv_nsec;
	return 0;
}

/* proc(5): /proc/PID/timers, four lines a timer */
static int ask_timers(struct inject *i, struct image *img, struct err *e)
{
	AUTO_FREE char *text = malloc(65536);
	ssize_t n = text ? procfs_read(i->t->pid, text, 65536, "timers") : -ENOMEM;

	if (n == -ENOENT)
		return 0;
	if (n < 0)
		return err_set(e, (int)n, "read the timers of process %d", (int)i->t->pid);
	for (char *at = strstr(text, "ID:"); at; at = strstr(at + 1, "\nID:")) {
		struct image_timer *t = image_add(img, timers);
		unsigned long long value;
		int id, signo, tid, clock, rc;
		char how[16], who[8];

		if (!t)
			return -ENOMEM;
		if (*at == '\n')
			at++;
		if (sscanf(at, "ID: %d signal: %d/%llx notify: %15[^/]/%7[^.].%d ClockID: %d", &id, &signo, &value,
			   how, who, &tid, &clock) != 7)
			return err_say(e, -EPROTO, "/proc/%d/timers can't be read", (int)i->t->pid);
		t->id = id;
		t->signo = signo;
		t->sigvalue = value;
		t->clock = clock;
		t->notify = !strcmp(how, "none") ? SIGEV_NONE : !strcmp(how, "thread") ? SIGEV_THREAD : SIGEV_SIGNAL;
		if (!strcmp(who, "tid")) {
			t->notify |= SIGEV_THREAD_ID;
			t->tid = tid;
		}
		rc = ask_timer(i, t, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int ask_process(struct inject *i, struct image *img, struct err *e)
{
	static const struct {
		size_t offset;
		int option;
		bool by_pointer;
	} options[] = {
		{ offsetof(struct image, securebits), PR_GET_SECUREBITS, false },
		{ offsetof(struct image, dumpable), PR_GET_DUMPABLE, false },
		{ offsetof(struct image, thp_disable), PR_GET_THP_DISABLE, false },
		{ offsetof(struct image, subreaper), PR_GET_CHILD_SUBREAPER, true },
		{ offsetof(struct image, pdeathsig), PR_GET_PDEATHSIG, true },
	};
	int64_t brk;
	int rc = inject_must(i, &brk, "read the break", e, SYS_brk, (uint64_t[6]){ 0 });

	img->brk = (uint64_t)brk;
	for (size_t k = 0; k < ARRAY_SIZE(options) && !rc; k++) {
		int64_t *field = (int64_t *)(void *)((char *)img + options[k].offset);
		int32_t value = 0;

		rc = inject_must(i, field, "read an attribute of the process", e, SYS_prctl,
				 (uint64_t[6]){ (uint64_t)options[k].option, options[k].by_pointer ? i->room : 0 });
		if (!rc && options[k].by_pointer) {
			rc = tracee_read(i->t, i->room, &value, sizeof(value));
			*field = value;
		}
	}
	if (!rc && (img->securebits & ~(int64_t)SECBIT_KEEP_CAPS))
		rc = err_say(e, -EPERM, "E_CREDENTIALS: the program has securebits (%llx) that couldn't be set again",
			     (unsigned long long)img->securebits);
	if (!rc)
		rc = ask_sigactions(i, img, e);
	if (!rc)
		rc = ask_itimers(i, img, e);
	if (!rc)
		rc = ask_timers(i, img, e);
	return rc;
}

/**
 * dump_state() - Threads, signals, timers and attributes of a frozen program into @img
 */
int dump_state(struct inject *i, struct image *img, const struct restart_notes *notes, struct err *e)
{
	struct tracee *t = i->t;
	int rc = 0, end;

	for (size_t k = 0; k < t->n_threads && !rc; k++) {
		struct image_thread *it = image_add(img, threads);

		rc = it ? dump_thread(t, &t->threads[k], it, e) : -ENOMEM;
	}
	if (!rc)
		rc = dump_pending(t, img, e);
	for (size_t k = 0; k < t->n_threads && !rc; k++) {
		struct tracee_thread *th = &t->threads[k];
		struct image_thread *it = &img->threads[k];
		struct user_regs_struct r;

		restart_mend_eintr(th, signal_waits(img, it, th->sigmask));
		r = th->regs;
		rc = restart_portable(t, th->tid, notes, &r, &it->restart_at, &it->restart_ns);
		if (!rc)
			rc = image_set_bytes(&it->regs, &r, sizeof(r));
		if (!rc)
			rc = inject_begin(i, th, e);
		if (rc)
			break;
		rc = ask_thread(i, it, e);
		if (!rc && !k)
			rc = ask_process(i, img, e);
		end = inject_end(i, e);
		rc = rc ? rc : end;
	}
	return rc;
}

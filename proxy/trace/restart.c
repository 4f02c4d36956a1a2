/* SPDX-License-Identifier: MIT */
/*
 * restart.c - Interrupted system calls, put in order so that another kernel restarts them
 */
#include "proxy/trace/restart.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#define ERESTARTNOINTR_RAX ((uint64_t)-513)
#define ERESTART_RESTARTBLOCK_RAX ((int64_t)-516)
#define RED_ZONE 128

/* ---- how long has it slept ---------------------------------------------------------------- */

static int read_sched(pid_t pid, pid_t tid, uint64_t *switches, int64_t *exec_start_ns)
{
	char text[8192], *at;
	ssize_t n = procfs_read(pid, text, sizeof(text), "task/%d/sched", (int)tid);
	double ms;

	if (n < 0)
		return (int)n;
	at = strstr(text, "se.exec_start");
	at = at ? strchr(at, ':') : NULL;
	if (!at)
		return -ENOENT;
	ms = strtod(at + 1, NULL);
	at = strstr(text, "nr_switches");
	at = at ? strchr(at, ':') : NULL;
	if (!at)
		return -ENOENT;
	*switches = strtoull(at + 1, NULL, 10);
	*exec_start_ns = (int64_t)(ms * 1e6);
	return 0;
}

/*
 * The scheduler's clock is a processor's own: it leaves out what the hypervisor took away, which may
 * be seconds.  So it is read on the processor where the thread ran last.
 *
 * Return: 0, and what is to be added to se.exec_start to have CLOCK_MONOTONIC
 */
static int clock_of_cpu(int cpu, int64_t *to_monotonic)
{
	cpu_set_t before, one;
	uint64_t ignored;
	int64_t mine = 0;
	int rc;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (cpu < 0 || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof(before), &before) ||
	    sched_setaffinity(0, sizeof(one), &one))
		return -EINVAL;
	sched_yield();		/* our own start of execution is now */
	rc = read_sched(getpid(), getpid(), &ignored, &mine);
	*to_monotonic = clock_ns(CLOCK_MONOTONIC) - mine;
	if (sched_setaffinity(0, sizeof(before), &before))
		rc = -errno;
	return rc;
}

void restart_take_notes(struct restart_notes *notes, pid_t pid)
{
	AUTO_FREE int *tids = NULL;
	AUTO_FREE int *cpus = NULL;
	int n = procfs_list(pid, "task", &tids, NULL);

	*notes = (struct restart_notes){ 0 };
	notes->list = n > 0 ? calloc((size_t)n, sizeof(*notes->list)) : NULL;
	cpus = n > 0 ? calloc((size_t)n, sizeof(*cpus)) : NULL;
	for (int i = 0; cpus && i < n; i++) {
		struct proc_stat st;

		cpus[i] = procfs_stat(pid, tids[i], &st, NULL) ? -1 : st.cpu;
	}
	/* a processor at a time */
	for (int i = 0; notes->list && cpus && i < n; i++) {
		int64_t to_monotonic, start;
		int cpu = cpus[i];

		if (cpu < 0 || clock_of_cpu(cpu, &to_monotonic))
			continue;
		for (int k = i; k < n; k++) {
			struct restart_note *one = &notes->list[notes->n];

			if (cpus[k] != cpu)
				continue;
			cpus[k] = -1;
			if (read_sched(pid, tids[k], &one->switches, &start))
				continue;
			one->tid = tids[k];
			one->slept_since = MIN(start + to_monotonic, clock_ns(CLOCK_MONOTONIC));
			notes->n++;
		}
	}
}

void restart_drop_notes(struct restart_notes *notes)
{
	free(notes->list);
	*notes = (struct restart_notes){ 0 };
}

/* ns that @tid has slept in its present call, 0 if that isn't known */
static int64_t slept(struct tracee *t, pid_t tid, const struct restart_notes *notes)
{
	uint64_t switches;
	int64_t ignored;

	for (size_t i = 0; i < notes->n; i++) {
		if (notes->list[i].tid != tid)
			continue;
		/* one switch to wake for the freeze, one to stop in it */
		if (read_sched(t->pid, tid, &switches, &ignored) || switches > notes->list[i].switches + 2)
			return 0;
		return clock_ns(CLOCK_MONOTONIC) - notes->list[i].slept_since;
	}
	return 0;
}

/* ---- calls that have a time in them --------------------------------------------------------- */

enum arg { ARG_RDI, ARG_RSI, ARG_RDX, ARG_R10, ARG_R8, ARG_NONE };
enum form { FORM_MS, FORM_TIMESPEC };

/* Calls that the kernel continues by restart_block, or that say EINTR for the freeze alone */
static const struct timed_call {
	long nr;
	enum form form;
	enum arg time, rem;	/* where the time is; where the kernel has written what is left */
	bool eintr;		/* says EINTR for the freeze */
} timed_calls[] = {
	{ SYS_nanosleep, FORM_TIMESPEC, ARG_RDI, ARG_RSI, false },
	{ SYS_clock_nanosleep, FORM_TIMESPEC, ARG_RDX, ARG_R10, false },
	{ SYS_poll, FORM_MS, ARG_RDX, ARG_NONE, false },
	{ SYS_futex, FORM_TIMESPEC, ARG_R10, ARG_NONE, false },
	{ SYS_epoll_wait, FORM_MS, ARG_R10, ARG_NONE, true },
	{ SYS_epoll_pwait, FORM_MS, ARG_R10, ARG_NONE, true },
	{ SYS_epoll_pwait2, FORM_TIMESPEC, ARG_R10, ARG_NONE, true },
	{ SYS_rt_sigtimedwait, FORM_TIMESPEC, ARG_RDX, ARG_NONE, true },
	{ SYS_semtimedop, FORM_TIMESPEC, ARG_R10, ARG_NONE, true },
	/* on a twin: its file system can't say more than EINTR */
	{ SYS_read, FORM_MS, ARG_NONE, ARG_NONE, true },
	{ SYS_write, FORM_MS, ARG_NONE, ARG_NONE, true },
	{ SYS_readv, FORM_MS, ARG_NONE, ARG_NONE, true },
	{ SYS_writev, FORM_MS, ARG_NONE, ARG_NONE, true },
	{ SYS_sendfile, FORM_MS, ARG_NONE, ARG_NONE, true },
	{ SYS_splice, FORM_MS, ARG_NONE, ARG_NONE, true },
};

static const struct timed_call *find(const struct user_regs_struct *r)
{
	for (size_t i = 0; i < ARRAY_SIZE(timed_calls); i++)
		if (timed_calls[i].nr == (long)r->orig_rax)
			return &timed_calls[i];
	return NULL;
}

static unsigned long long *arg_of(struct user_regs_struct *r, enum arg a)
{
	switch (a) {
	case ARG_RDI:
		return &r->rdi;
	case ARG_RSI:
		return &r->rsi;
	case ARG_RDX:
		return &r->rdx;
	case ARG_R10:
		return &r->r10;
	case ARG_R8:
		return &r->r8;
	case ARG_NONE:
		break;
	}
	return NULL;
}

bool restart_mend_eintr(struct tracee_thread *th, bool signal_waits)
{
	const struct timed_call *c = find(&th->regs);

	if (!c || !c->eintr || signal_waits || (int64_t)th->regs.rax != -EINTR)
		return false;
	th->regs.rax = ERESTARTNOINTR_RAX;
	return true;
}

/* FUTEX_WAIT_BITSET and the like have absolute times: they start again as they are */
static bool is_absolute(const struct user_regs_struct *r)
{
	return r->orig_rax == SYS_futex && (r->rsi & FUTEX_CMD_MASK) != FUTEX_WAIT;
}

static void shorten_ms(unsigned long long *arg, int64_t by_ns)
{
	int ms = (int)*arg;
	int64_t left = ms * NS_PER_MS - by_ns;

	if (ms > 0)
		*arg = left > 0 ? (unsigned)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

int restart_portable(struct tracee *t, pid_t tid, const struct restart_notes *notes, struct user_regs_struct *r,
		     uint64_t *at, int64_t *ns)
{
	const struct timed_call *c = find(r);
	bool block = (int64_t)r->rax == ERESTART_RESTARTBLOCK_RAX;
	unsigned long long *time, *rem;
	struct timespec ts;
	int64_t by;
	int rc;

	*at = 0;
	if ((int64_t)r->orig_rax < 0 || (!block && !(c && c->eintr && r->rax == ERESTARTNOINTR_RAX)))
		return 0;
	r->rax = ERESTARTNOINTR_RAX;
	if (!c || is_absolute(r))
		return 0;
	time = arg_of(r, c->time);
	rem = arg_of(r, c->rem);
	if (rem && *rem) {	/* the kernel has written what is left there */
		*time = *rem;
		return 0;
	}
	if (!time)
		return 0;
	by = slept(t, tid, notes);
	if (!by || !*time)
		return 0;
	if (c->form == FORM_MS) {
		shorten_ms(time, by);
		return 0;
	}
	rc = tracee_read(t, *time, &ts, sizeof(ts));
	if (rc)
		return rc;
	*ns = MAX(ts.tv_sec * NS_PER_S + ts.tv_nsec - by, 0);
	*at = (r->rsp - RED_ZONE - sizeof(ts)) & ~15ULL;
	*time = *at;
	return 0;
}

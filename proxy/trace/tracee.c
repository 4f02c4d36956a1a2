/* SPDX-License-Identifier: MIT */
/*
 * tracee.c - A process under ptrace(2): all its threads, stopped and let go
 */
#include "proxy/trace/tracee.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#define IDLE_EACH_NS 300000	/* how long a stop is waited for before somebody else has a turn */

int tracee_add_thread(struct tracee *t, pid_t tid, struct tracee_thread **out)
{
	struct tracee_thread *more = realloc(t->threads, (t->n_threads + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	t->threads = more;
	more[t->n_threads] = (struct tracee_thread){ .tid = tid };
	if (out)
		*out = &more[t->n_threads];
	t->n_threads++;
	return 0;
}

static bool knows(const struct tracee *t, pid_t tid)
{
	for (size_t i = 0; i < t->n_threads; i++)
		if (t->threads[i].tid == tid)
			return true;
	return false;
}

/* Seizes every thread that isn't yet; returns how many were new */
static int seize_new_threads(struct tracee *t, struct err *e)
{
	AUTO_FREE int *tids = NULL;
	int n = procfs_list(t->pid, "task", &tids, e), fresh = 0, rc;

	if (n < 0)
		return n;
	for (int i = 0; i < n; i++) {
		if (knows(t, tids[i]))
			continue;
		if (ptrace(PTRACE_SEIZE, tids[i], 0, (void *)(uintptr_t)t->options)) {
			if (errno == ESRCH)
				continue;	/* ended meanwhile */
			return err_set(e, -errno, "attach to thread %d of process %d", tids[i], (int)t->pid);
		}
		rc = tracee_add_thread(t, tids[i], NULL);
		if (rc)
			return err_set(e, rc, "attach to process %d", (int)t->pid);
		fresh++;
	}
	return fresh;
}

/**
 * tracee_seize() - Attach to all threads of @pid without stopping any
 * @options:	PTRACE_O_* for each thread
 *
 * The leader comes first: threads[0].  On failure nothing stays attached.
 */
int tracee_seize(struct tracee *t, pid_t pid, unsigned options, struct err *e)
{
	int rc;

	*t = (struct tracee){ .pid = pid, .mem = -1, .options = options, .idle = t->idle, .idle_ctx = t->idle_ctx };
	if (ptrace(PTRACE_SEIZE, pid, 0, (void *)(uintptr_t)options))
		return err_set(e, -errno, "attach to process %d", (int)pid);
	rc = tracee_add_thread(t, pid, NULL);
	while (!rc) {
		rc = seize_new_threads(t, e);
		if (rc <= 0)
			break;
		rc = 0;
	}
	if (rc < 0)
		tracee_release(t);
	return rc;
}

int tracee_wait(pid_t tid, int *status, int64_t deadline)
{
	/* waitpid has no time-out: short sleeps, only where something has gone wrong already */
	for (int spins = 0;; spins++) {
		pid_t got = waitpid(tid, status, __WALL | (deadline == NO_DEADLINE ? 0 : WNOHANG));

		if (got == tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (got < 0 && errno != EINTR)
			return errno == ECHILD ? -ESRCH : -errno;
		if (clock_ns(CLOCK_MONOTONIC) >= deadline)
			return -ETIMEDOUT;
		/* most stops come within some microseconds; a sleep of 5 takes 55 (timer slack) */
		if (!got && spins < 40)
			sched_yield();
		else if (!got)
			usleep(spins < 100 ? 5 : 1000);
	}
}

/* Takes @tid, which has stopped for something else, one stop further.  A signal stays for later:
 * it is put back into the queue by letting the kernel deliver it once the thread is thawed. */
static int pass_stop(pid_t tid, int status)
{
	int sig = WSTOPSIG(status);

	if (tracee_event(status))
		sig = 0;
	return ptrace(PTRACE_CONT, tid, 0, (void *)(uintptr_t)sig) ? -errno : 0;
}

/* As tracee_wait(), but others get their turns */
static int wait_busily(const struct tracee *t, pid_t tid, int *status, int64_t deadline)
{
	int rc;

	if (!t || !t->idle)
		return tracee_wait(tid, status, deadline);
	do {
		rc = tracee_wait(tid, status, clock_ns(CLOCK_MONOTONIC) + IDLE_EACH_NS);
		if (rc == -ETIMEDOUT)
			t->idle(t->idle_ctx);
	} while (rc == -ETIMEDOUT && clock_ns(CLOCK_MONOTONIC) < deadline);
	return rc;
}

static int interrupt(const struct tracee *t, pid_t tid, int64_t deadline, struct err *e)
{
	int status, rc;

	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return err_set(e, -errno, "stop thread %d", (int)tid);
	for (;;) {
		rc = wait_busily(t, tid, &status, deadline);
		if (rc)
			return err_set(e, rc, "stop thread %d", (int)tid);
		if (tracee_event(status) == PTRACE_EVENT_STOP) {
			if (WSTOPSIG(status) == SIGTRAP)
				return 0;
			return err_say(e, -EBUSY, "process is stopped by signal %d; continue it first",
				       WSTOPSIG(status));
		}
		/* e.g. a signal that came first: let it in, the handler's frame is set up, then we stop */
		rc = pass_stop(tid, status);
		if (rc)
			return err_set(e, rc, "stop thread %d", (int)tid);
	}
}

int tracee_interrupt(pid_t tid, int64_t deadline, struct err *e)
{
	return interrupt(NULL, tid, deadline, e);
}

/**
 * tracee_freeze() - Stop every thread, also those born meanwhile, and note their registers
 * @deadline:	Until when a thread in D state, vfork or a core dump is waited for
 *
 * Return: 0, or a negative errno with every thread running again
 */
int tracee_freeze(struct tracee *t, int64_t deadline, struct err *e)
{
	int rc, fresh;

	do {
		for (size_t i = 0; i < t->n_threads; i++)
			if (!t->threads[i].stopped && ptrace(PTRACE_INTERRUPT, t->threads[i].tid, 0, 0) &&
			    errno != ESRCH) {
				rc = err_set(e, -errno, "stop thread %d", (int)t->threads[i].tid);
				goto thaw;
			}
		for (size_t i = 0; i < t->n_threads; i++) {
			struct tracee_thread *th = &t->threads[i];

			if (th->stopped)
				continue;
			rc = interrupt(t, th->tid, deadline, e);
			if (rc == -ESRCH && i) {	/* a thread ended */
				t->threads[i--] = t->threads[--t->n_threads];
				continue;
			}
			if (rc)
				goto thaw;
			th->stopped = true;
			rc = tracee_get_regs(th->tid, &th->regs);
			if (!rc)
				rc = tracee_get_sigmask(th->tid, &th->sigmask);
			if (rc) {
				err_set(e, rc, "read the registers of thread %d", (int)th->tid);
				goto thaw;
			}
		}
		fresh = seize_new_threads(t, e);
		rc = fresh;
	} while (fresh > 0);
	if (!fresh)
		return 0;
thaw:
	tracee_thaw(t);
	return rc;
}

/* Lets all threads go.  They must have their own registers again */
void tracee_thaw(struct tracee *t)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		struct tracee_thread *th = &t->threads[i];
		int status;

		/* PTRACE_DETACH wants a stopped thread */
		if (ptrace(PTRACE_DETACH, th->tid, 0, 0) && errno == ESRCH && !th->stopped &&
		    !ptrace(PTRACE_INTERRUPT, th->tid, 0, 0)) {
			int sig = 0;

			if (!tracee_wait(th->tid, &status, deadline_in_ms(2000)) &&
			    !tracee_event(status))
				sig = WSTOPSIG(status);
			ptrace(PTRACE_DETACH, th->tid, 0, (void *)(uintptr_t)sig);
		}
		th->stopped = false;
	}
	t->n_threads = 0;
}

void tracee_release(struct tracee *t)
{
	tracee_thaw(t);
	free(t->threads);
	t->threads = NULL;
	drop_fd(&t->mem);
}

/* ---- memory ------------------------------------------------------------------------ */

static int mem_of(struct tracee *t)
{
	char path[48];

	if (t->mem >= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->pid);
	t->mem = open(path, O_RDWR | O_CLOEXEC);
	return t->mem < 0 ? -errno : 0;
}

int tracee_read(struct tracee *t, uint64_t addr, void *buf, size_t len)
{
	int rc = mem_of(t);
	ssize_t n;

	if (rc)
		return rc;
	n = pread(t->mem, buf, len, (off_t)addr);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

int tracee_write(struct tracee *t, uint64_t addr, const void *buf, size_t len)
{
	int rc = mem_of(t);
	ssize_t n;

	if (rc)
		return rc;
	n = pwrite(t->mem, buf, len, (off_t)addr);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EFAULT;
}

/* ---- registers ----------------------------------------------------------------------- */

int tracee_get_regs(pid_t tid, struct user_regs_struct *r)
{
	struct iovec v = { r, sizeof(*r) };

	return ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &v) ? -errno : 0;
}

int tracee_set_regs(pid_t tid, const struct user_regs_struct *r)
{
	struct iovec v = { (void *)r, sizeof(*r) };

	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &v) ? -errno : 0;
}

int tracee_get_xstate(pid_t tid, void *buf, size_t size, size_t *len)
{
	struct iovec v = { buf, size };

	if (ptrace(PTRACE_GETREGSET, tid, NT_X86_XSTATE, &v))
		return -errno;
	*len = v.iov_len;
	return 0;
}

int tracee_set_xstate(pid_t tid, const void *buf, size_t len)
{
	struct iovec v = { (void *)buf, len };

	return ptrace(PTRACE_SETREGSET, tid, NT_X86_XSTATE, &v) ? -errno : 0;
}

int tracee_get_sigmask(pid_t tid, uint64_t *mask)
{
	return ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof(*mask), mask) ? -errno : 0;
}

int tracee_set_sigmask(pid_t tid, uint64_t mask)
{
	return ptrace(PTRACE_SETSIGMASK, tid, (void *)sizeof(mask), &mask) ? -errno : 0;
}

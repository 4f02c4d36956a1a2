/* SPDX-License-Identifier: MIT */
/*
 * fork.c - A fork of a moved program, under the number that its deputy has
 *
 * The caller waits in a notification.  We attach to it (PTRACE_SEIZE stops nothing), say which number
 * was given last (pid_namespaces(7)), and let it go on: it stops in the event of its fork, with the
 * child stopped at its first instruction.  Has the child the wrong number, because a thread was made
 * in between, it dies before it ran, is waited for in the parent's name, and the parent forks again.
 */
#include "proxy/target/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/trace/pids.h"
#include "proxy/trace/tracee.h"

#define EVENTS (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)
#define FORK_MS 50		/* a fork that has not happened by then has failed, or the process is very large */
#define AWAY 3000000		/* threads get numbers from here, where the pid namespace has room */

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

void fork_keep_away(void)
{
	if (pids_max() > AWAY + 100000 && pids_set_last(AWAY))
		log_debug("the next thread's number can't be chosen");
}

static bool is_taken(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	return !access(path, F_OK);
}

void fork_unused(struct asks *a, pid_t pid)
{
	struct wire_exited ended = { .status = 0, .pid = (uint32_t)pid };
	struct wire_reaped reaped = { .pid = (uint32_t)pid };
	uint8_t buf[16];
	ssize_t n = wire_put_exited(buf, sizeof(buf), &ended);
	int rc = n < 0 ? (int)n : pump_tell(a->pump, WIRE_EXITED, buf, (size_t)n);

	n = rc ? rc : wire_put_reaped(buf, sizeof(buf), &reaped);
	if (n < 0 || pump_tell(a->pump, WIRE_REAPED, buf, (size_t)n))
		log_warn("the origin couldn't be told that deputy %d isn't needed", (int)pid);
}

/* -EALREADY: it is in its next call already */
static int wait_unless_over(pid_t tid, struct receiver *from, int *status, int ms)
{
	int64_t deadline = deadline_in_ms(ms);
	int rc;

	do {
		rc = tracee_wait(tid, status, deadline_in_ms(1));
		if (rc == -ETIMEDOUT && receiver_has(from, tid))
			return -EALREADY;
	} while (rc == -ETIMEDOUT && deadline_left_ms(deadline));
	return rc;
}

/* Until @tid stops; if that takes long it is made to */
static int wait_for_stop(pid_t tid, struct receiver *from, int *status)
{
	int rc = wait_unless_over(tid, from, status, FORK_MS);

	if ((rc == -ETIMEDOUT || rc == -EALREADY) && ptrace(PTRACE_INTERRUPT, tid, 0, 0))
		return -errno;
	return rc == -ETIMEDOUT ? wait_unless_over(tid, from, status, 5000) : rc;
}

/* To the next entry or end of a system call.  @stopped: a SIGSTOP came in between, the one that can't be blocked */
static int next_syscall_stop(pid_t tid, bool *stopped)
{
	int status = 0, rc;

	do {
		rc = ptrace(PTRACE_SYSCALL, tid, 0, 0) ? -errno : tracee_wait(tid, &status, deadline_in_ms(5000));
		*stopped |= !rc && WSTOPSIG(status) == SIGSTOP;
	} while (!rc && WSTOPSIG(status) != (SIGTRAP | 0x80));
	return rc;
}

/* One system call in the name of a thread that stands at the end of one */
static int call_once(pid_t tid, struct user_regs_struct r, long nr, uint64_t a, uint64_t b, uint64_t c, bool *stopped)
{
	int rc;

	r.rip -= 2;
	r.rax = (uint64_t)nr;
	r.rdi = a;
	r.rsi = b;
	r.rdx = c;
	r.r10 = 0;
	rc = tracee_set_regs(tid, &r);
	if (!rc)
		rc = next_syscall_stop(tid, stopped);
	return rc ? rc : next_syscall_stop(tid, stopped);
}

/**
 * undo() - The child with the wrong number never was; the parent, at the end of its fork, makes it again
 *
 * Signals wait meanwhile: the child's own SIGCHLD for one.  That one comes afterwards, and whoever
 * handles it finds nobody to wait for, as is usual after several.
 */
static int undo(pid_t tid, pid_t child)
{
	struct user_regs_struct r = { 0 };
	bool stopped = false;
	uint64_t mask;
	int status, rc = tracee_get_sigmask(tid, &mask);

	if (!rc)
		rc = tracee_set_sigmask(tid, ~0ULL);
	if (rc)
		return rc;
	kill(child, SIGKILL);
	while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, child, 0, 0);
	rc = next_syscall_stop(tid, &stopped);
	if (!rc)
		rc = tracee_get_regs(tid, &r);
	if (rc)
		return rc;
	rc = call_once(tid, r, SYS_wait4, (uint64_t)child, 0, __WALL, &stopped);
	r.rax = r.orig_rax;
	r.rip -= 2;
	rc = rc ? rc : tracee_set_regs(tid, &r);
	if (!rc)
		rc = tracee_set_sigmask(tid, mask);
	else if (tracee_set_sigmask(tid, mask))
		log_debug("thread %d is gone", (int)tid);
	if (stopped)
		syscall(SYS_tkill, tid, SIGSTOP);
	return rc;
}

/* With the signal that it stopped for, if that is one */
static bool let_go(pid_t tid, int status)
{
	int sig = tracee_event(status) || WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);

	return !ptrace(PTRACE_DETACH, tid, 0, (void *)(intptr_t)sig);
}

static void detach(pid_t tid, int status)
{
	if (!let_go(tid, status) && errno != ESRCH)
		log_warn("thread %d can't be let go after its fork: %s", (int)tid, strerror(errno));
}

/* Its fork failed, and then it called us: it couldn't stop before it was answered */
bool fork_left(pid_t tid, int status)
{
	return let_go(tid, status);
}

int fork_go_on(struct kin *k, struct receiver *from, int listener, uint64_t id, pid_t tid, pid_t pid)
{
	struct seccomp_notif_resp go = { .id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	bool wrong = !k->misnumbered && stage_fault("target: forking", NULL) < 0;
	unsigned long child = 0;
	int status = 0, rc;

	if (is_taken(pid))
		return FORK_AGAIN;
	k->misnumbered |= wrong;
	rc = pids_set_last(wrong ? pid : pid - 1);
	if (rc)
		return rc;
	if (ptrace(PTRACE_SEIZE, tid, 0, (void *)(uintptr_t)(EVENTS | PTRACE_O_TRACESYSGOOD)))
		return errno == ESRCH ? FORK_UNUSED : FORK_LATER;
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go) || wait_for_stop(tid, from, &status))
		return FORK_UNUSED;	/* it was killed, or fork_left() will let it go */
	if (tracee_event(status) && tracee_event(status) != PTRACE_EVENT_STOP &&
	    !ptrace(PTRACE_GETEVENTMSG, tid, 0, &child) && child) {
		int its;

		if ((pid_t)child != pid) {
			if (undo(tid, (pid_t)child))
				log_warn("a fork under a wrong number couldn't be undone");
			detach(tid, PTRACE_EVENT_STOP << 16);
			return FORK_UNUSED;
		}
		/* while we hold it: where SIGCHLD is ignored it may leave without a trace */
		rc = tracee_wait(pid, &its, deadline_in_ms(5000));
		if (kin_add_moved(k, pid, false)) {
			log_warn("process %d can't be watched", (int)pid);
			child = 0;
		}
		if (!rc)
			detach(pid, PTRACE_EVENT_STOP << 16);
	}
	detach(tid, status);
	fork_keep_away();
	return child ? FORK_DONE : FORK_UNUSED;
}

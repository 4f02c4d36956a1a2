/* SPDX-License-Identifier: MIT */
/*
 * restart.h - Interrupted system calls, put in order so that another kernel restarts them
 *
 * A freeze interrupts whatever call a thread sleeps in.  What the registers then say:
 *
 *	-512 -513 -514	the kernel that resumes the thread makes the call again: nothing to do
 *	-516		the rest of the call lives in the old kernel (restart_block): made into -513
 *			with arguments that ask for what is left of the time
 *	-EINTR		epoll_wait and a few others say this for the freeze alone, if no signal is
 *			waiting: made into -513, for the original too
 *
 * How long a thread has slept is only in /proc/PID/task/TID/sched, and only until the freeze wakes
 * it: a note is taken before.  If the thread has run in between, its sleep counts in full: a call
 * may end later than asked, never earlier.
 */
#ifndef PROXY_TRACE_RESTART_H
#define PROXY_TRACE_RESTART_H

#include "proxy/image/image.h"
#include "proxy/trace/tracee.h"

struct restart_note {
	pid_t tid;
	uint64_t switches;	/* context switches so far */
	int64_t slept_since;	/* CLOCK_MONOTONIC, ns */
};

struct restart_notes {
	struct restart_note *list;
	size_t n;
};

void restart_take_notes(struct restart_notes *notes, pid_t pid);	/* before the freeze */
void restart_drop_notes(struct restart_notes *notes);

/* After the freeze: a spurious EINTR is mended in th->regs; true if it was */
bool restart_mend_eintr(struct tracee_thread *th, bool signal_waits);

/* For the image: @r is made restartable anywhere; @at and @ns say where a timespec must be put */
int restart_portable(struct tracee *t, pid_t tid, const struct restart_notes *notes, struct user_regs_struct *r,
		     uint64_t *at, int64_t *ns) MUST_CHECK;

#endif

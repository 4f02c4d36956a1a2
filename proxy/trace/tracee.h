/* SPDX-License-Identifier: MIT */
/*
 * tracee.h - A process under ptrace(2): all its threads, stopped and let go
 *
 * The only place, with inject.c, that calls ptrace.  A tracee belongs to the process that
 * seized it, which must be single-threaded.
 *
 *	      tracee_seize()          tracee_freeze()
 *	(new) ──────────────▶ SEIZED ────────────────▶ FROZEN
 *	                         ▲      tracee_thaw()     │
 *	                         └────────────────────────┘
 *
 * PTRACE_SEIZE stops nothing; a tracer that dies lets a seized process run on.
 */
#ifndef PROXY_TRACE_TRACEE_H
#define PROXY_TRACE_TRACEE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "common/err.h"

struct tracee_thread {
	pid_t tid;
	struct user_regs_struct regs;	/* as frozen; written back by whoever changed them */
	uint64_t sigmask;
	bool stopped;
};

struct tracee {
	pid_t pid;
	struct tracee_thread *threads;	/* [0] is the leader */
	size_t n_threads;
	int mem;			/* /proc/PID/mem; opened at the first use, -1 before */
	unsigned options;		/* PTRACE_O_* given to each thread */
	void (*idle)(void *ctx);	/* called while a freeze waits: what the threads wait for may be our work; or NULL */
	void *idle_ctx;
};

int tracee_seize(struct tracee *t, pid_t pid, unsigned options, struct err *e) MUST_CHECK;
int tracee_freeze(struct tracee *t, int64_t deadline, struct err *e) MUST_CHECK;
void tracee_thaw(struct tracee *t);	/* lets all threads go and stays attached to none */
void tracee_release(struct tracee *t);	/* frees; the threads are let go */

int tracee_add_thread(struct tracee *t, pid_t tid, struct tracee_thread **out) MUST_CHECK;

/* Memory of the process, whatever its protection.  All or a negative errno */
int tracee_read(struct tracee *t, uint64_t addr, void *buf, size_t len) MUST_CHECK;
int tracee_write(struct tracee *t, uint64_t addr, const void *buf, size_t len) MUST_CHECK;

int tracee_get_regs(pid_t tid, struct user_regs_struct *r) MUST_CHECK;
int tracee_set_regs(pid_t tid, const struct user_regs_struct *r) MUST_CHECK;
int tracee_get_xstate(pid_t tid, void *buf, size_t size, size_t *len) MUST_CHECK;
int tracee_set_xstate(pid_t tid, const void *buf, size_t len) MUST_CHECK;
int tracee_get_sigmask(pid_t tid, uint64_t *mask) MUST_CHECK;
int tracee_set_sigmask(pid_t tid, uint64_t mask) MUST_CHECK;

/* Waits for @tid's next ptrace stop; *status as waitpid gives it.  -ESRCH: it ended */
int tracee_wait(pid_t tid, int *status, int64_t deadline) MUST_CHECK;
/* Interrupts a running, seized @tid and waits for PTRACE_EVENT_STOP; signals that come first are kept pending */
int tracee_interrupt(pid_t tid, int64_t deadline, struct err *e) MUST_CHECK;

static inline int tracee_event(int status)
{
	return status >> 16;
}

#endif

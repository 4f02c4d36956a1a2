/* SPDX-License-Identifier: MIT */
/*
 * remote.h - A process that is being rebuilt, driven from outside
 *
 * The body has just exec'ed under ptrace and never ran an instruction of its own.  System calls
 * are collected into a batch and made by a short loop in a scratch area: 13 µs a batch and
 * 0.12 µs a call, against 15 µs for each by single steps.
 *
 * Unlike inject.h this needs no care for the tracer's death: the body ends with its tracer
 * (PTRACE_O_EXITKILL), and the program still runs elsewhere.
 */
#ifndef PROXY_TARGET_REMOTE_H
#define PROXY_TARGET_REMOTE_H

#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "common/err.h"

#define REMOTE_CALLS 1024	/* most calls in one batch; remote_add() runs a full one */
#define REMOTE_ROOM (256 * 1024)	/* bytes for what arguments point to */

struct remote_call {
	uint64_t nr, args[6];
	int64_t result;
};

struct remote {
	pid_t pid;		/* the body: leader, traced and stopped */
	pid_t tid;		/* the thread that makes the calls; the leader, unless set */
	int mem;		/* /proc/PID/mem */
	uint64_t scratch;	/* code, batch, room */
	size_t scratch_len;
	struct remote_call calls[REMOTE_CALLS];
	const char *whats[REMOTE_CALLS];	/* what each was for; NULL: may fail */
	size_t n;
	size_t room_used;
	struct user_regs_struct regs;	/* as exec left them */
	void (*idle)(void *ctx);	/* called while a batch runs that may need our own work; or NULL */
	void *idle_ctx;
};

/* @at: a page-aligned address where scratch_len bytes are free and stay free */
int remote_open(struct remote *r, pid_t pid, uint64_t at, struct err *e) MUST_CHECK;
void remote_close(struct remote *r);		/* only our own resources; see remote_unmap() */
int remote_unmap(struct remote *r, struct err *e) MUST_CHECK;	/* the last act: the scratch area goes */
/* Or: all but its first page, which becomes @page, to be executed */
int remote_leave_page(struct remote *r, const void *page, struct err *e) MUST_CHECK;
#define REMOTE_SIZE (4096 + REMOTE_CALLS * 64 + REMOTE_ROOM)

/* Adds a call.  @what: for the error if it fails; NULL: it may fail */
int remote_add(struct remote *r, struct err *e, const char *what, long nr, const uint64_t args[6]) MUST_CHECK;
#define remote_do(r, e, what, nr, ...) remote_add(r, e, what, nr, (uint64_t[6]){ __VA_ARGS__ })
int remote_run(struct remote *r, struct err *e) MUST_CHECK;	/* makes what has been collected */

/* A copy of @p in the body's room, good until the next remote_run(); 0 when full */
uint64_t remote_put(struct remote *r, const void *p, size_t len);
int remote_read(struct remote *r, uint64_t addr, void *p, size_t len) MUST_CHECK;
int remote_write(struct remote *r, uint64_t addr, const void *p, size_t len) MUST_CHECK;

/* One call by itself, with its result */
int remote_one(struct remote *r, int64_t *result, struct err *e, const char *what, long nr,
	       const uint64_t args[6]) MUST_CHECK;
#define remote_call(r, result, e, what, nr, ...) remote_one(r, result, e, what, nr, (uint64_t[6]){ __VA_ARGS__ })

/* execve in the body, by addresses there: it stands behind the exec, and the scratch area is gone */
int remote_exec(struct remote *r, uint64_t path, uint64_t argv, uint64_t envp, struct err *e) MUST_CHECK;

#endif

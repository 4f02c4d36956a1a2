/* SPDX-License-Identifier: MIT */
/*
 * deputy.h - What a moved process becomes at its origin, and the hub that serves all deputies of a program
 *
 *	mdeputy (deputy.c)	one for each process: its pid, parent, session, terminal and descriptors.
 *				It takes the signals, executes remote calls, stops and ends as the process does
 *	mdeputy --hub (hub.c)	one for each program that moved: streams, numbered messages, and the way
 *				from and to the sessions.  A deputy may stand stopped or end; the hub goes on
 *
 *	session ═ pump ═ hub ─┬─ deputy (leader)
 *			      ├─ deputy of a child
 *			      └─ …
 *
 * Between hub and deputy there is a SOCK_SEQPACKET pair with messages of wire.def.  Neither side ever
 * waits for the other to answer.
 */
#ifndef DEPUTY_DEPUTY_H
#define DEPUTY_DEPUTY_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/attr.h"
#include "common/wire.h"

#define EXIT_BROKEN 125		/* could not start: the session made a mistake */
#define FIRST_FD 3

/* ---- util.c -------------------------------------------------------------------------------- */

/* "3,4,5": @n numbers and nothing else; each gets CLOEXEC and a number above the standard ones */
int deputy_parse_fds(const char *text, int *fds, int n) MUST_CHECK;
/* Away from the numbers of the standard descriptors, which the program may have closed */
int deputy_above_standard(int fd) MUST_CHECK;
/* All signals blocked from here on.  A signalfd for them */
int deputy_take_signals(void) MUST_CHECK;
/* The whole of a memfd, malloc'ed, or NULL */
void *deputy_read_memfd(int fd, size_t *len);
/* A number from the environment, or @otherwise */
int deputy_env(const char *name, int otherwise);
/* The soft limits of descriptors and cores */
void deputy_set_limits(void);

/* ---- handles.c: what the deputy holds open for its program ---------------------------------- */

#define HANDLE_MOST_FDS 8

struct handle {
	uint32_t id;		/* unique in the program; a stream's id, or chosen by the keeper */
	int fds[HANDLE_MOST_FDS];	/* the program's numbers of it, [0] is worked with */
	int n;
	int own;		/* non-blocking description of our own, -1: none, -2: can't be had */
};

struct handles {
	struct handle *list;
	size_t n;
};

int handle_add(struct handles *h, uint32_t id, int fd) MUST_CHECK;
struct handle *handle_find(struct handles *h, uint32_t id);
void handle_drop(struct handles *h, uint32_t id);
int handle_own(struct handle *h);	/* to read and write without waiting; -EAGAIN etc. if there is none */

/* ---- deputy.c ---------------------------------------------------------------------------------- */

struct deputy;
void NORETURN deputy_run(const char *fds);
int deputy_tell(struct deputy *d, unsigned type, const void *payload, ssize_t len, int fd);
struct handles *deputy_handles(struct deputy *d);
pid_t deputy_fork(struct deputy *d);
void deputy_signalled(struct deputy *d, const siginfo_t *info);	/* a signal that a remote call brought about */
void deputy_drain_signals(struct deputy *d);	/* those that are there already are told before anything else */

/* ---- calls.c: remote calls -------------------------------------------------------------------------- */

struct calls;
struct calls *calls_new(struct deputy *d);
void calls_take(struct calls *c, const struct wire_call *m);
void calls_cancel(struct calls *c, uint64_t id);
void calls_watch(struct calls *c, uint32_t handle, uint32_t events);
void calls_forget(struct calls *c);		/* in a forked child: what waits is its parent's */
void calls_handle_gone(struct calls *c, uint32_t handle);

struct pollfd;
/* What to poll for, at most @most; and what came.  *@timeout_ms is lowered when something is to be tried again */
int calls_poll(struct calls *c, struct pollfd *p, int most, int *timeout_ms);
void calls_ready(struct calls *c, const struct pollfd *p, int n);

/* ---- segments.c: System V shared memory of a program that is away ------------------------------------ */

struct segments {
	struct segment {
		int id;
		void *at;	/* attached here, only to be held */
	} *list;
	size_t n;
};

int segments_take(struct segments *s, const struct wire_hub_segments *m) MUST_CHECK;	/* hold, ask, or drop all */
int64_t segments_remove(struct segments *s, int id);	/* IPC_RMID of the program's */
/* shmget(2) of the program's, in the deputy: a number, or a negative errno; -ENOSYS: the key is others' */
int64_t segments_make(key_t key, size_t size, int flags);

/* ---- files.c: the origin's files, for the target's file system ----------------------------------------- */

/* @hub: SOCK_SEQPACKET; @roots: "/tmp:/dev" */
void NORETURN files_run(int hub, const char *roots);

/* ---- hub.c ---------------------------------------------------------------------------------------------- */

void NORETURN hub_run(const char *fds);

#endif

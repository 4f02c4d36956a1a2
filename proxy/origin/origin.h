/* SPDX-License-Identifier: MIT */
/*
 * origin.h - The origin's session: what its parts share
 *
 *	session.c	who asks what, and with which rights
 *	ask.c		connecting to a target, asking it, comparing clocks
 *	move.c		the way of a migration, from here, as a list of stages
 *	hub.c		the way to the hub, which serves the program's deputies
 *	serve.c		after COMMIT: hub and keeper talk, signals, broken links
 *	onward.c	from the target to a third host
 *	home.c		and back
 *	save.c		into a file
 *	revive.c	and out of it
 */
#ifndef PROXY_ORIGIN_ORIGIN_H
#define PROXY_ORIGIN_ORIGIN_H

#include <stdbool.h>

#include "common/stage.h"
#include "proxy/daemon/peers.h"
#include "proxy/daemon/session.h"
#include "proxy/link/relay.h"
#include "proxy/link/talk.h"
#include "proxy/origin/freeze.h"
#include "proxy/origin/handover.h"

/* One target, while it is asked and while the program is there */
struct target {
	struct peer peer;
	struct link *l;
	char host[65];			/* as it calls itself */
	char mode[8];			/* "root" or "user" */
	int64_t monotonic_offset, boottime_offset, clock_difference;
};

/* One process of a tree that moves, besides the first */
struct moving {
	struct freeze freeze;
	struct handover handover;
};

/* Takes a MEM frame of the present target's, and MEM_END */
typedef int serve_memory_fn(void *ctx, const struct frame *f, struct err *e);

struct origin {
	const struct session_env *env;
	pid_t pid;			/* the program's, and the deputy's */
	uid_t uid;
	gid_t gid;
	uint32_t groups[256];		/* supplementary ones of the program */
	int n_groups;
	char user[64], comm[32];
	uint64_t start_time;
	char sid[SID_LEN + 1];
	int client;			/* who asked: PROGRESS and ANSWER go there; -1 */
	int stage, stages;		/* for PROGRESS */

	struct peers *peers;		/* as of the session's start */
	int dir_sessions, dir_deputy;	/* directories, opened while privileged */
	int hub;			/* a connection that brings things to the hub; -1: none */

	struct image *survey;
	struct reasons why;
	bool tree;			/* descendants move along */
	bool late;			/* the target is prepared when the program is frozen */
	struct moving *others[IMAGE_MOST_PROCESSES];	/* they, parents before their children */
	size_t n_frozen;		/* processes; the first one's are the next two fields */
	struct freeze freeze;
	struct handover handover;
	struct target target;		/* where it goes, then where it is */
	int64_t frozen_at, paused_ns;	/* CLOCK_MONOTONIC; how long, once it runs again */
	uint64_t pages;
	struct talk t;

	int self;			/* who starts this machine's own target sessions with root's rights; -1 */
	uid_t asker;			/* whose process asked for a program to be restored */
	bool restored;			/* its program came from a file: its home is nowhere */
	bool committed;

	/* from COMMIT on */
	struct relay relay;		/* link and hub */
	int signals;			/* signalfd: SIGCHLD */
	int64_t retry_at;		/* when the link is tried again, 0: it stands */
	int retry_ms;
	bool stopping;			/* the deputy stands before SIGSTOP until the program has stopped */
	bool more;			/* frames are there already: don't wait */
	bool deputy_gone;		/* the hub, and with it all deputies */
	bool hub_done;			/* the hub said that all has ended in order */
	bool leader_gone;		/* the leader's deputy; there may be others */
	bool discarded, over, home;
	unsigned awaited;		/* a frame of the target's that somebody waits for */
	struct talk caught;
	bool caught_it;
	serve_memory_fn *take_memory;	/* who wants MEM frames now */
	void *take_ctx;
	int memory_rc;			/* its error; 1: MEM_END came */
	struct err memory_err;
};

/* ---- session.c --------------------------------------------------------------------------------------- */
void origin_answer(struct origin *o, int code, const char *text, json *extra /* taken, or NULL */);
/* It failed: with all refusals, if that is why.  @runs_here: else says that the program does */
void origin_answer_failure(struct origin *o, int code, const char *text, bool runs_here);
/* PROGRESS: @now of @stages begins.  A name's "what: " isn't said */
void origin_at_stage(struct origin *o, const struct stage *stages, size_t n, const struct stage *now);
void origin_report(struct origin *o, const char *state);		/* up the leash */
int origin_note_session(struct origin *o, const char *next, struct err *e) MUST_CHECK;	/* sessions/SID.json */
void origin_forget_session(struct origin *o);
/* Is the process the one we know, and is it the deputy?  1, 0 (it never committed), -ESRCH (it's gone) */
int origin_is_deputy(struct origin *o) MUST_CHECK;
int origin_keep_capabilities(uint64_t caps, struct err *e) MUST_CHECK;

#define ASK_SELF "-"	/* the name of this machine as a target: no peer can have it */

/* ---- ask.c -------------------------------------------------------------------------------------------- */
int ask_connect(struct origin *o, struct target *t, bool why, struct err *e) MUST_CHECK;
int ask_find_peer(struct origin *o, const char *name, struct peer *out, struct err *e) MUST_CHECK;
int ask_offer(struct origin *o, struct target *t, struct image *survey, struct reasons *why, struct err *e) MUST_CHECK;
int ask_clocks(struct origin *o, struct target *t, struct err *e) MUST_CHECK;
int ask_prepare(struct origin *o, struct target *t, const struct image *survey, struct err *e) MUST_CHECK;
int ask_resume(struct origin *o, struct target *t, bool committed, unsigned *state, struct err *e) MUST_CHECK;
void ask_abort(struct target *t);

/* ---- move.c ------------------------------------------------------------------------------------------- */
int move_look(struct origin *o, struct err *e) MUST_CHECK;
int move_freeze(struct origin *o, struct err *e) MUST_CHECK;	/* undone by freeze_thaw() */
int move_away(struct origin *o, struct err *e) MUST_CHECK;

/* ---- serve.c ------------------------------------------------------------------------------------------ */
int serve_begin(struct origin *o, struct err *e) MUST_CHECK;
void serve_loop(struct origin *o);
void serve_recover(struct origin *o);
int serve_step(struct origin *o, int64_t deadline) MUST_CHECK;	/* one turn; -ETIMEDOUT */
/* Serves until a frame of @type has come from the target; FAIL becomes an error */
int serve_until(struct origin *o, unsigned type, int64_t deadline, struct err *e) MUST_CHECK;
int serve_send(struct origin *o, unsigned type, const void *payload, ssize_t len, struct err *e) MUST_CHECK;
/* The present target freezes the program, and its IMAGE is caught.  @drain_ms: as leave_freeze()'s */
int serve_freeze(struct origin *o, uint32_t drain_ms, struct err *e) MUST_CHECK;
void serve_thaw(struct origin *o);
/* Asks for the frozen program's memory, and serves until MEM_END; each MEM frame, and MEM_END, goes to @take */
int serve_memory(struct origin *o, serve_memory_fn *take, void *ctx, struct err *e) MUST_CHECK;
/* COMMIT of a way onward or home: 0 when the present target's frozen copy is dead, for certain */
int serve_discard(struct origin *o, struct err *e) MUST_CHECK;
int serve_new_target(struct origin *o, struct target *next, struct err *e) MUST_CHECK;
int serve_connect_hub(struct origin *o, struct err *e) MUST_CHECK;
void serve_lost(struct origin *o, const char *reason);

/* ---- save.c, revive.c ------------------------------------------------------------------------------------ */
int save_program(struct origin *o, bool stop, struct err *e) MUST_CHECK;	/* answers the client */
int revive_program(struct origin *o, const char *host, struct err *e) MUST_CHECK;

/* ---- onward.c, home.c ----------------------------------------------------------------------------------- */
int onward_move(struct origin *o, const char *host, struct err *e) MUST_CHECK;
void onward_settle(struct origin *o, const char *next);
int home_move(struct origin *o, struct err *e) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * keeper_parts.h - What the parts of the keeper share
 *
 *	keeper.c		its loop: the session, the deputies, the program's ends and calls
 *	keeper_arrive.c		from PREPARE to GO
 *	keeper_leave.c		SURVEY, FREEZE, THAW, DISCARD
 */
#ifndef PROXY_TARGET_KEEPER_PARTS_H
#define PROXY_TARGET_KEEPER_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proxy/image/image.h"
#include "proxy/target/keeper.h"
#include "proxy/target/kin.h"
#include "proxy/target/originfs.h"
#include "proxy/target/restore.h"
#include "proxy/target/receiver.h"
#include "proxy/target/supervisor.h"
#include "proxy/twin/pump.h"

#define MAX_STREAMS 1024

/* One process of the program that came from elsewhere, while it is rebuilt; its filter stays */
struct arrival {
	struct restore *restore;	/* NULL: done */
	int uffd;
	struct supervisor supervisor;
};

struct keeper {
	enum keeper_state state;
	const struct keeper_start *with;
	int control, signals;
	struct pump *pump;
	struct asks asks;
	struct originfs *fs;
	struct image *img;
	struct arrival *arrivals;	/* a process of img each */
	size_t n_arrivals;
	struct receiver receiver;	/* of their system calls */
	struct execs execs;
	struct restore_shared shared;
	struct kin kin;
	pid_t body;			/* the first one's */
	struct keeper_stream {
		uint32_t id;
		uint64_t inode;
		int near;		/* the program's end, until it runs; -1 */
	} streams[MAX_STREAMS];
	size_t n_streams;
	struct leave *leave;		/* while FROZEN */
	bool stop_asked, stopped, told_exit;
	bool ended, quit;
	int status;			/* of the program's first process, once ended */
	int64_t ended_at;
};

/* The state of one that isn't frozen */
static inline enum keeper_state keeper_going(const struct keeper *k)
{
	return k->ended ? KEEPER_ENDED : KEEPER_RUNNING;
}

/* A message of the session's */
struct request {
	const void *p;
	size_t len;
	const int *fds;			/* closed by who handed it over */
	int nfds;
};

typedef int keeper_handler(struct keeper *k, const struct request *q, struct err *e);

/* ---- keeper.c --------------------------------------------------------------------------------------- */
int keeper_say(struct keeper *k, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds) MUST_CHECK;
/* And the session's end of a fresh socket pair to the pump, and a pidfd of the program */
int keeper_say_with_pump(struct keeper *k, unsigned type, const void *payload, ssize_t len, struct err *e) MUST_CHECK;
/* System calls of the program's processes.  @first: before each; NULL */
void keeper_hear_programs(struct keeper *k, void (*first)(void *ctx));
void keeper_hear_execs(struct keeper *k);
void keeper_reap(struct keeper *k);
void keeper_tell_ended(struct keeper *k);	/* the origin hears who has ended, and was waited for */

/* ---- keeper_arrive.c, keeper_leave.c ------------------------------------------------------------------ */
keeper_handler keeper_on_prepare, keeper_on_image, keeper_on_mem_end, keeper_on_go, keeper_on_abort;
keeper_handler keeper_on_survey, keeper_on_freeze, keeper_on_thaw, keeper_on_discard;
void keeper_drop_body(struct keeper *k);	/* it never ran here; the keeper ends, too */

#endif

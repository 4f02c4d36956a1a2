/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - Pid 1 of a moved program's pid namespace
 *
 * It rebuilds the program (as mrestore it is the restore helper), reaps it, and holds what must
 * outlive a crash of the session: the far ends of the twins and the numbered messages.  A session
 * that dies is replaced: the new one connects to the keeper's listening socket.
 *
 *	EMPTY ─PREPARE▶ PREPARED ─IMAGE▶ FILLABLE ─MEM_END▶ READY ─GO▶ RUNNING ─(exit)▶ ENDED
 *	  │                 │                │                │ABORT      │▲
 *	  └─────────────────┴── the session ends or ABORT ────┴▶ gone     FREEZE THAW
 *	                                                                  ▼│
 *	                                                                FROZEN ─DISCARD▶ gone
 *
 * ENDED is the program's first process; what it left behind moves on and home as from RUNNING.
 *
 * From READY on nobody but the origin decides: the keeper waits for GO, ABORT or DISCARD as long
 * as it takes, so that the program never runs twice and never not at all.
 */
#ifndef PROXY_TARGET_KEEPER_H
#define PROXY_TARGET_KEEPER_H

#include <stdbool.h>

#include "common/policy.h"

enum keeper_state {		/* RESUMED carries it: numbers stay */
	KEEPER_EMPTY = 0,
	KEEPER_PREPARED = 1,
	KEEPER_FILLABLE = 2,
	KEEPER_READY = 3,
	KEEPER_RUNNING = 4,
	KEEPER_FROZEN = 5,
	KEEPER_ENDED = 6,
};

struct ground;
struct keeper_start {
	int control, listening;		/* the session's socket, and where the next one connects */
	struct ground *ground;		/* with its mounts */
	bool user;			/* mproxy is an ordinary user's */
	const struct policy *policy;
};

/* Serves until the program has ended and everybody knows.  Return: exit status */
int keeper_run(const struct keeper_start *with);

#endif

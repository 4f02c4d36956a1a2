/* SPDX-License-Identifier: MIT */
/*
 * freeze.h - A running program is stopped and becomes an image
 *
 *	freeze_look()	nothing stops: the survey that `why` shows and that a freeze compares with
 *	freeze_stop()	every thread stands; another look, at what has changed since.  For a tree in three
 *			steps: freeze_threads() of each, freeze_look() of each, look_settle(), freeze_end()
 *	freeze_dump()	its state by ptrace and by its own calls
 *	freeze_thaw()	it runs on as if nothing had happened
 */
#ifndef PROXY_ORIGIN_FREEZE_H
#define PROXY_ORIGIN_FREEZE_H

#include "proxy/origin/look.h"
#include "proxy/trace/inject.h"
#include "proxy/trace/restart.h"
#include "proxy/trace/tracee.h"

#define FREEZE_DEADLINE_MS 5000	/* for threads in D state, vfork, a core dump */

struct freeze {
	struct tracee t;
	struct inject inject;
	bool seized, injected;
	struct restart_notes notes;
	struct image *img;		/* owned */
	struct reasons why;
	struct look look;
};

/* The look's pid, policy and callbacks are used; its image is made here.  @look->before may be set */
int freeze_stop(struct freeze *f, const struct look *look, struct err *e) MUST_CHECK;
int freeze_threads(struct freeze *f, const struct look *look, struct err *e) MUST_CHECK;
int freeze_look(struct freeze *f, const pid_t *tree, size_t n, struct err *e) MUST_CHECK;
int freeze_end(struct freeze *f, struct err *e) MUST_CHECK;
int freeze_dump(struct freeze *f, struct err *e) MUST_CHECK;
void freeze_thaw(struct freeze *f);	/* idempotent; frees */

#endif

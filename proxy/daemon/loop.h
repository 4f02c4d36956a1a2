/* SPDX-License-Identifier: MIT */
/*
 * loop.h - The daemon's event loop: descriptors, and who cares when they are ready
 *
 * Level-triggered epoll, one event at a time: so a handler may end and free any watch, its own
 * too, and no later event of the same batch can name what is gone.
 *
 * A watch is part of its owner's struct; loop_owner() finds the owner again.  The descriptor of a
 * watch is closed by loop_drop() and by nobody else: a child that was forked meanwhile holds a
 * duplicate, and only an explicit removal ends the events then.
 */
#ifndef PROXY_DAEMON_LOOP_H
#define PROXY_DAEMON_LOOP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "common/err.h"

struct watch;
typedef void watch_fn(struct watch *w, uint32_t events);

struct watch {
	int fd;			/* -1: none; owned */
	watch_fn *ready;
};

struct loop {
	int epoll;
};

#define loop_owner(w, type, member) ((type *)((char *)(w)-offsetof(type, member)))

int loop_open(struct loop *l, struct err *e) MUST_CHECK;
void loop_close(struct loop *l);	/* the watches stay their owners' */
/* @fd is taken over, even on failure: it is closed then */
int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events, watch_fn *ready,
	     struct err *e) MUST_CHECK;
void loop_want(struct loop *l, struct watch *w, uint32_t events);	/* 0: nothing for now */
void loop_drop(struct loop *l, struct watch *w);	/* fine when there is none */
/* Waits for one event until @deadline, and serves it.  0 or a negative errno */
int loop_step(struct loop *l, int64_t deadline, struct err *e) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * receiver.h - Takes the notifications of a moved program as soon as they are there
 *
 * Until a notification is received a signal interrupts its call; afterwards only a deadly one does
 * (SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, Linux 5.19).  With a handler that has no SA_RESTART such a
 * call fails with EINTR, which nobody expects of fork(2).  The keeper may be busy for a millisecond; so
 * a thread that does nothing else receives, and hands over by a pipe.
 *
 * Context: everything but the thread itself is for the keeper's main thread.
 */
#ifndef PROXY_TARGET_RECEIVER_H
#define PROXY_TARGET_RECEIVER_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct seccomp_notif;

struct receiver {
	/* In the thread: answers what needs no keeper, most of all names that are none of the origin's.  Before receiver_start() */
	bool (*quick)(const void *ctx, int listener, const struct seccomp_notif *n);
	const void *quick_ctx;
	int listeners;			/* an epoll set */
	int in, out;			/* the pipe */
	struct received *list;		/* what was taken out of it already, the oldest first */
	size_t n;
};

struct received {
	uint32_t who;			/* whose listener */
	struct seccomp_notif n;
};

int receiver_open(struct receiver *r, struct err *e) MUST_CHECK;
/* @r must stay where it is until the process ends: the thread does */
int receiver_start(struct receiver *r, struct err *e) MUST_CHECK;
/* @listener stays the caller's; it is forgotten when nobody is left who has its filter */
int receiver_add(struct receiver *r, uint32_t who, int listener) MUST_CHECK;
int receiver_fd(const struct receiver *r);		/* readable: there is one; or there are some in r->list */
bool receiver_next(struct receiver *r, struct received *to);	/* false: there is none */
void receiver_again(struct receiver *r, const struct received *got);	/* from any thread: hand it over once more */
bool receiver_has(struct receiver *r, pid_t tid);	/* one of this thread's; it stays */
void receiver_close(struct receiver *r);		/* the thread goes with the process */

#endif

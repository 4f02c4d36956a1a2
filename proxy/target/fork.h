/* SPDX-License-Identifier: MIT */
/*
 * fork.h - A fork of a moved program, under the number that its deputy has
 */
#ifndef PROXY_TARGET_FORK_H
#define PROXY_TARGET_FORK_H

#include "proxy/target/asks.h"
#include "proxy/target/kin.h"
#include "proxy/target/receiver.h"

enum {
	FORK_DONE = 0,
	FORK_UNUSED = -20000,	/* nothing was forked, and the caller was let go: the number isn't needed */
	FORK_LATER = -20002,	/* it is being frozen: it shall call again when it goes on */
	FORK_AGAIN = -20001,	/* the number is taken here: ask for another; the caller still waits */
};

/**
 * fork_go_on() - Let the clone of thread @tid go on, as child @pid
 * @from:		where its next call would come from
 * @listener, @id:	the notification that it waits in
 *
 * Return: FORK_*, or a negative errno that the caller shall get
 */
int fork_go_on(struct kin *k, struct receiver *from, int listener, uint64_t id, pid_t tid, pid_t pid);
/* A thread has stopped, says waitpid(2): was it one that fork_go_on() couldn't let go?  Now it has */
bool fork_left(pid_t tid, int status);
void fork_unused(struct asks *a, pid_t pid);	/* its deputy may end */

/* The kernel gives pids of threads from here on, away from the origin's.  Once, at the start */
void fork_keep_away(void);

#endif

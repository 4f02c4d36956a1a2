/* SPDX-License-Identifier: MIT */
/*
 * daemon.h - mproxy: accepts programs from peers and requests from users, and starts sessions
 *
 * One thread, one loop, nothing in it that waits: what could block is a process of its own.  The
 * daemon's end ends no session.
 */
#ifndef PROXY_DAEMON_DAEMON_H
#define PROXY_DAEMON_DAEMON_H

#include <stdbool.h>

#include "common/err.h"

/* Everything is decided and spelled out; texts stay the caller's while the daemon lives */
struct daemon_config {
	const char *state_dir;
	const char *control;	/* path of the control socket */
	const char *policy;	/* path of the policy */
	const char *libexec;
	const char *listen;	/* whole address (listen.h); NULL: no port */
	const char *advertise;	/* whole address; NULL: @listen, where that can be called */
	bool root;
};

struct daemon;

/* 0 when it is ready to serve: the sockets are there */
int daemon_open(const struct daemon_config *config, struct daemon **out, struct err *e) MUST_CHECK;
/* Until SIGTERM or SIGINT.  0 or a negative errno */
int daemon_run(struct daemon *d, struct err *e) MUST_CHECK;
void daemon_close(struct daemon *d);	/* NULL is fine */

#endif

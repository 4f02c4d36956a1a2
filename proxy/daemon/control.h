/* SPDX-License-Identifier: MIT */
/*
 * control.h - The control socket: who asks, and how answers are written
 *
 * One connection is one request: the client sends an ASK, somebody sends it an ANSWER (the daemon,
 * or a process that was given the socket), and it is over.  A client has CONTROL_ASK_MS to ask.
 * At most CONTROL_MAX may be about to: then the oldest of the user who has most of them goes, so
 * that nobody can keep others out.
 *
 * libmshim.so sends a REGISTER instead, and gets no answer.
 */
#ifndef PROXY_DAEMON_CONTROL_H
#define PROXY_DAEMON_CONTROL_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proxy/daemon/loop.h"
#include "proxy/json/json.h"

#define CONTROL_MAX 64
#define CONTROL_ASK_MS 10000
#define CONTROL_ANSWER_MAX 200000	/* bytes: below the default of net.core.wmem_max */

/* Who it is comes from SO_PEERCRED */
struct asker {
	pid_t pid;
	uid_t uid;
};

/* @fd is open until it returns, and closed then: who needs it longer keeps a duplicate */
typedef void control_ask_fn(void *ctx, int fd, const struct asker *who, const char *request);

struct control;

int control_open(struct loop *loop, const char *path, int mode, control_ask_fn *ask, void *ctx,
		 struct control **out, struct err *e) MUST_CHECK;
void control_close(struct control *c);		/* and removes the socket; NULL is fine */
int64_t control_deadline(const struct control *c);
void control_tick(struct control *c);		/* ends those who never asked */

/* @answer is taken.  Never waits: a client has room for its one answer.  0 or a negative errno */
int control_answer(int fd, int code, json *answer) MUST_CHECK;

#endif

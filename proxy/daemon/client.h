/* SPDX-License-Identifier: MIT */
/*
 * client.h - mmigrate's side of the control socket: ask, watch, get the answer
 *
 * PROGRESS is a line of JSON, {"stage":"sending memory"[,"done":N,"of":N]}; other members are
 * allowed.  ANSWER is the daemon's or the session's; session.h and requests.h say what is in it.
 */
#ifndef PROXY_DAEMON_CLIENT_H
#define PROXY_DAEMON_CLIENT_H

#include <stdint.h>

#include "common/err.h"
#include "proxy/json/json.h"

/*
 * @control: path, or NULL: the default places, this user's first.  A socket, or -ENOTCONN and a
 * sentence that says how to start an mproxy
 */
int client_connect(const char *control, struct err *e) MUST_CHECK;
int client_ask(int fd, const char *request, struct err *e) MUST_CHECK;

/* One thing that came back */
struct client_said {
	bool answer;		/* else progress */
	int64_t code;		/* of an answer */
	json *json;
};

/* Waits for it, without end; json_free() what came.  -ECONNRESET: there won't be an answer */
int client_hear(int fd, struct client_said *said, struct err *e) MUST_CHECK;

#endif

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

#define CLIENT_MOST_FDS 3

/*
 * @control: path, or NULL: the default places, this user's first.  A socket, or -ENOTCONN and a
 * sentence that says how to start an mproxy
 */
int client_connect(const char *control, struct err *e) MUST_CHECK;
int client_ask(int fd, const char *request, struct err *e) MUST_CHECK;

/* One thing that came back */
struct client_said {
	unsigned type;		/* WIRE_PROGRESS, WIRE_ANSWER, or what only `save` and `restore` hear */
	bool answer;
	int64_t code;		/* of an answer */
	json *json;		/* NULL: there is none in such a message */
	char comm[32];		/* of BE_DEPUTY, as is the next */
	uint32_t as;
	int fds[CLIENT_MOST_FDS], nfds;
};

/* Waits for it, without end; client_forget() what came.  -ECONNRESET: there won't be an answer */
int client_hear(int fd, struct client_said *said, struct err *e) MUST_CHECK;
void client_forget(struct client_said *said);

/* Between request and answer: the descriptor that was asked for; whether the file has its name (-errno) */
int client_give_file(int fd, int file, struct err *e) MUST_CHECK;
int client_kept(int fd, int code, struct err *e) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * session.h - What the daemon and its sessions know of each other
 *
 * A session is one process per side and moved program.  The daemon forks it and keeps one end of
 * its *leash*, a SOCK_SEQPACKET pair: requests that concern the program go down (ASK, with the
 * client's control socket as a descriptor), what `mmigrate ps` shows comes up (ANSWER with JSON,
 * whenever it changes).  A session survives its daemon: the leash's end means nothing to it.
 *
 * Requests (ASK's text) are JSON objects:
 *	{"do":"why","pid":N[,"host":"NAME"]}		nothing is stopped
 *	{"do":"move","pid":N,"host":"NAME"}		also of a program that is elsewhere: it moves on
 *	{"do":"home","pid":N}
 *	{"do":"save","pid":N[,"stop":true]}		into a file: FILE_WANTED, FILE_GIVEN, … (wire.def)
 *	{"do":"restore","host":"NAME"}			out of it; the asking process becomes the deputy. "-": here
 * The session answers the client itself: PROGRESS any number of times, then one ANSWER:
 *	{"text":"sentence for people","reasons":[…reasons_to_json()…],"pause_ms":3.2,…}
 *	with code 0 or a negative errno.
 *
 * Files in the state directory, by a session's id (32 hexadecimal digits):
 *	sessions/SID.json	at the origin, from before READY is asked for until the program is back
 *				or ended: {"sid","pid","start_time","uid","host","address","pin","user"}
 *	deputy/SID.sock		at the origin: the deputy listens
 *	keeper/SID.sock		at the target: the keeper listens
 */
#ifndef PROXY_DAEMON_SESSION_H
#define PROXY_DAEMON_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/policy.h"

struct identity;

#define SID_LEN 32

struct session_env {
	const char *state_dir;
	const char *libexec;		/* where mdeputy and mrestore are */
	const char *host;		/* this host's name, for sentences */
	const struct policy *policy;
	const struct identity *identity;
	bool root;			/* mproxy runs as root */
	int leash;			/* the session's end */
	const char *only_user;		/* a target of this same machine: serves this one, whatever the policy; NULL */
};

/* All run in a forked child of their own, single-threaded, and return its exit status */

/* A request for a program that runs here.  @client: control socket, owned; @request: ASK's text */
int origin_session(const struct session_env *env, int client, uid_t client_uid, const char *request);
/* After a crash of the session or of the daemon: sessions/SID.json says what it was */
int origin_resume(const struct session_env *env, const char *sid);
/* A connection was accepted.  @fd: the TCP socket, owned */
int target_session(const struct session_env *env, int fd);

/* For tests/bench and the way home of threads: the same, over a link that stands already */
struct link;
struct peer;
int target_serve(const struct session_env *env, struct link *l, const struct peer *peer);
int origin_session_over(const struct session_env *env, int client, struct link *l, const char *request);

#endif

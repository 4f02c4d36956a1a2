/* SPDX-License-Identifier: MIT */
/*
 * requests.h - What mmigrate can ask mproxy, and who may
 *
 * A request is a JSON object (session.h has those that sessions answer); "do" is its kind:
 *
 *	{"do":"ps"}				{"programs":[…]}
 *	{"do":"peers"}				{"peers":[{"name","address","identity"}…]}
 *	{"do":"identity"}			{"identity","host","version","listen","advertise"}
 *	{"do":"policy","path":"/…"}		{"verdict","rule","note"}
 *	{"do":"trust","name","address","identity"}	("pin" for "identity" does as well)
 *	{"do":"trust","name","token"}
 *	{"do":"untrust","name"}
 *	{"do":"why"|"move"|"home"|"save","pid":N,…}
 *	{"do":"restore","host":"NAME"}
 *
 * Every answer has a "text" for people.
 */
#ifndef PROXY_DAEMON_REQUESTS_H
#define PROXY_DAEMON_REQUESTS_H

#include "proxy/daemon/children.h"
#include "proxy/daemon/control.h"
#include "proxy/daemon/session.h"

/* What requests need of the daemon */
struct requests {
	const struct session_env *env;
	struct children *children;
	const char *listen;	/* "host:port"; "": this mproxy doesn't listen */
	const char *advertise;	/* where others reach us; "": nowhere that we know of */
};

/* A control_ask_fn; @ctx: struct requests */
void requests_ask(void *ctx, int fd, const struct asker *who, const char *request);

#endif

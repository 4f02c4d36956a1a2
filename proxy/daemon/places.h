/* SPDX-License-Identifier: MIT */
/*
 * places.h - Where mproxy keeps and finds things, when nobody says
 *
 * One row of a table is one place: root's and an ordinary user's, or the installed one and that of
 * the build tree.  mproxy and mmigrate look it up here, so that they find each other.
 */
#ifndef PROXY_DAEMON_PLACES_H
#define PROXY_DAEMON_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

#define PLACES_ROOT_CONTROL "/run/mproxy.sock"

/* All write a path to @buf, 0; or -ENOENT, -ENAMETOOLONG */
int places_state(bool root, char *buf, size_t size, struct err *e) MUST_CHECK;
int places_control(bool root, const char *state_dir, char *buf, size_t size,
		   struct err *e) MUST_CHECK;	/* @state_dir NULL: the default one */
int places_policy(char *buf, size_t size, struct err *e) MUST_CHECK;
int places_libexec(char *buf, size_t size, struct err *e) MUST_CHECK;
/* This host's name, with '-' for what isn't allowed in a peer's name.  PEER_NAME is enough */
void places_host(char *buf, size_t size);

#endif

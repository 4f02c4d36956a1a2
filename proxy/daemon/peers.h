/* SPDX-License-Identifier: MIT */
/*
 * peers.h - The peers that are pinned
 *
 * A text file, "peers", in the state directory; one peer a line: name, host:port, pin.  Empty
 * lines and lines that begin with # are allowed (and lost when mproxy writes the file).
 * Anything else is an error that names file and line: half a list of friends is not a list.
 *
 * Names and pins are both unique: a pin says which peer it is.
 */
#ifndef PROXY_DAEMON_PEERS_H
#define PROXY_DAEMON_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define PEER_NAME 64		/* with the NUL: [A-Za-z0-9._-]{1,63} */
#define PEER_ADDR 64		/* with the NUL: "host:port", "[v6]:port" */
#define PEER_PIN 65

struct peer {
	char name[PEER_NAME];
	char addr[PEER_ADDR];
	char pin[PEER_PIN];
};

struct peers;

/* No file: no peers */
int peers_load(const char *state_dir, struct peers **out, struct err *e) MUST_CHECK;
void peers_free(struct peers *ps);	/* NULL is fine */

size_t peers_count(const struct peers *ps);
const struct peer *peers_at(const struct peers *ps, size_t i);	/* i < peers_count() */
const struct peer *peers_find(const struct peers *ps, const char *name);	/* NULL: none */
const struct peer *peers_find_pin(const struct peers *ps, const char *pin);

/*
 * Change the file: locked, read, changed, written whole.  peers_pin() adds, or replaces the peer
 * of that name; -EEXIST when the pin is another peer's, and, with @replace false, also when the
 * name is pinned to another key.  peers_unpin(): -ENOENT.
 */
int peers_pin(const char *state_dir, const struct peer *p, bool replace, struct err *e) MUST_CHECK;
int peers_unpin(const char *state_dir, const char *name, struct err *e) MUST_CHECK;

bool peer_name_ok(const char *name);
bool peer_pin_ok(const char *pin);	/* 64 lower-case hex digits */
/* "host:port" or "[v6]:port" in its parts, as tls_connect() wants them.  0 or -EINVAL */
int peer_addr_split(const char *addr, char host[PEER_ADDR], uint16_t *port) MUST_CHECK;

#endif

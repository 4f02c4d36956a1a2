/* SPDX-License-Identifier: MIT */
/*
 * relay.h - A session between the link and its local sockets
 *
 * What the deputy and the keeper have to say to each other passes through: a datagram here is a
 * frame there.  Nothing is kept: who can't be served is cut off, and the two ends agree anew.
 */
#ifndef PROXY_LINK_RELAY_H
#define PROXY_LINK_RELAY_H

#include <stdbool.h>

#include "common/wire.h"
#include "proxy/link/frame.h"

#define RELAY_QUEUE (8u << 20)	/* bytes that may wait for the link; above it, local sockets wait */

struct relay {
	struct frame_io *io;	/* NULL: no link now */
	int sock;		/* the deputy's or the keeper's pump; -1: none; owned */
	uint8_t pending[WIRE_LOCAL_MAX];
	size_t pending_len;	/* a datagram that @sock had no room for */
};

/* The local socket is readable.  0; -EPIPE: it ended; -errno.  LOCAL messages go to @local */
typedef void relay_local_fn(void *ctx, unsigned type, const void *payload, size_t len);
int relay_from_sock(struct relay *r, relay_local_fn *local, void *ctx) MUST_CHECK;
/* A frame came that is of the routes ENDS or DATA.  0; -EAGAIN: kept, don't read the link; -EPIPE */
int relay_to_sock(struct relay *r, const struct frame *f) MUST_CHECK;
int relay_flush_sock(struct relay *r) MUST_CHECK;	/* 0 or -EAGAIN, -errno */

static inline bool relay_is_for_ends(unsigned type)
{
	int route = wire_route(type);

	return route == WIRE_ROUTE_ENDS || route == WIRE_ROUTE_DATA;
}

#endif

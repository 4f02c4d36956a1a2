/* SPDX-License-Identifier: MIT */
/*
 * relay.c - A session between the link and its local sockets
 */
#include "proxy/link/relay.h"

#include <errno.h>

#include "common/sock.h"

/* A turn takes this many datagrams at most, so that others have theirs */
#define TURN 64

int relay_from_sock(struct relay *r, relay_local_fn *local, void *ctx)
{
	uint8_t buf[WIRE_LOCAL_MAX];

	for (int i = 0; i < TURN && (!r->io || frame_io_queued(r->io) < RELAY_QUEUE / 2); i++) {
		struct wire_head h;
		const void *payload;
		ssize_t n = sock_recv(r->sock, buf, sizeof(buf), NULL, NULL, 0);
		int rc;

		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return n ? (int)n : -EPIPE;
		rc = wire_unpack(buf, (size_t)n, &h, &payload);
		if (rc)
			return rc;
		if (!relay_is_for_ends(h.type)) {
			local(ctx, h.type, payload, h.length);
			continue;
		}
		if (!r->io)
			continue;	/* the socket will be closed and the ends agree anew */
		rc = frame_io_put(r->io, h.type, h.number, payload, h.length);
		if (rc)
			return rc;
	}
	return 0;
}

int relay_flush_sock(struct relay *r)
{
	int rc;

	if (!r->pending_len || r->sock < 0) {
		r->pending_len = 0;
		return 0;
	}
	rc = sock_send(r->sock, r->pending, r->pending_len, NULL, 0, 0);
	if (rc != -EAGAIN)	/* sent, or nobody will ever take it: what waits keeps the link from being read */
		r->pending_len = 0;
	return rc;
}

int relay_to_sock(struct relay *r, const struct frame *f)
{
	ssize_t n;

	if (r->sock < 0)
		return 0;
	n = wire_pack(r->pending, sizeof(r->pending), f->type, f->seq, f->payload, f->length);
	if (n < 0)
		return (int)n;
	r->pending_len = (size_t)n;
	return relay_flush_sock(r);
}

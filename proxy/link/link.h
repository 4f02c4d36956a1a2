/* SPDX-License-Identifier: MIT */
/*
 * link.h - One reliable, ordered byte stream to the peer's session
 *
 * The product knows two kinds: the accepting side of mutual TLS 1.3 (tls_accept.c, OpenSSL)
 * and the connecting side (tls_connect.c, libcurl).  link_of_fd() wraps a plain socket for
 * tests/bench and for the loop back to oneself; no option of the product makes a network
 * connection with it.
 *
 * The socket below is non-blocking.  try_ functions never wait; the others wait until their
 * deadline (clock.h).  A struct link belongs to one thread.
 */
#ifndef PROXY_LINK_LINK_H
#define PROXY_LINK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct link;

struct link_ops {
	ssize_t (*try_send)(struct link *l, const void *p, size_t len);	/* bytes taken, or -EAGAIN, -errno */
	ssize_t (*try_recv)(struct link *l, void *p, size_t size);	/* bytes, 0 at the end, -EAGAIN, -errno */
	void (*close)(struct link *l);					/* frees @l's own part, closes the socket */
};

/* First member of each kind's own struct */
struct link {
	const struct link_ops *ops;
	int fd;			/* for poll() and epoll only */
	char pin[65];		/* the peer's identity: SHA-256 of its public key in hex; "" for a plain socket */
};

struct link *link_of_fd(int fd);	/* takes @fd over; NULL when out of memory */

ssize_t link_try_send(struct link *l, const void *p, size_t len) MUST_CHECK;
ssize_t link_try_recv(struct link *l, void *p, size_t size) MUST_CHECK;
int link_send(struct link *l, const void *p, size_t len, int64_t deadline, struct err *e) MUST_CHECK;
int link_recv(struct link *l, void *p, size_t len, int64_t deadline, struct err *e) MUST_CHECK;	/* exactly @len */
void link_close(struct link *l);	/* NULL is fine */

#endif

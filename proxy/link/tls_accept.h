/* SPDX-License-Identifier: MIT */
/*
 * tls_accept.h - The accepting side of mutual TLS 1.3
 *
 * The only door to libssl.  The result is a struct link whose @pin says who is there.  *Any*
 * certificate gets this far, provided that its owner holds the key: whether the pin is one of
 * ours is the caller's question (greet.h), to be asked before anything else is done with it.
 *
 * After try_send() gave -EAGAIN the next call must begin with the same bytes (they may have
 * moved in memory, and more may follow): a part of them may be in an encrypted record already.
 * Before poll(), call try_recv() until it gives -EAGAIN: bytes may wait in the library.
 * A peer that died shows as -ECONNRESET or -EPIPE, never as SIGPIPE.
 */
#ifndef PROXY_LINK_TLS_ACCEPT_H
#define PROXY_LINK_TLS_ACCEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "proxy/link/identity.h"
#include "proxy/link/link.h"

/* @fd: connected TCP socket, taken over even on failure.  NULL: see @e */
struct link *tls_accept(const struct identity *id, int fd, int64_t deadline, struct err *e);

/* For both sides' sockets: CLOEXEC, no delay, keepalive (a dead peer shows after a minute) */
int tls_tune_socket(int fd) MUST_CHECK;
/*
 * While more than a few records are written one after the other: only full segments go out, which
 * spares the receiver most of its wake-ups.  Always to be undone, which pushes the rest.
 */
void tls_cork_socket(int fd, bool on);
#define TLS_CORK_FROM 32768	/* bytes from which it pays */

#endif

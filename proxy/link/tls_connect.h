/* SPDX-License-Identifier: MIT */
/*
 * tls_connect.h - The connecting side of mutual TLS 1.3
 *
 * The only door to libcurl.  A link comes back only when the peer proved that it holds the key
 * @pin names; until then not a byte was sent to it but the handshake.  The environment's proxies
 * (https_proxy, all_proxy, no_proxy) are used as libcurl does, but never for loopback.
 *
 * The rules for try_send(), try_recv() and poll() are those of tls_accept.h.
 */
#ifndef PROXY_LINK_TLS_CONNECT_H
#define PROXY_LINK_TLS_CONNECT_H

#include <stdint.h>

#include "common/err.h"
#include "proxy/link/identity.h"
#include "proxy/link/link.h"

/*
 * @host: name, IPv4 or IPv6 address (without brackets)
 *
 * Return: NULL on failure, and @e says why: -EKEYREJECTED another key than @pin, -ETIMEDOUT,
 * -ECONNREFUSED, -EHOSTUNREACH (unknown name, too), -EPROTO (no TLS 1.3 there), …
 */
struct link *tls_connect(const struct identity *id, const char *host, uint16_t port,
			 const char *pin, int64_t deadline, struct err *e);

#endif

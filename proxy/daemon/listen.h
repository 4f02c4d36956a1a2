/* SPDX-License-Identifier: MIT */
/*
 * listen.h - The network port, and addresses as people write them
 *
 *	ADDR	ADDR:PORT	[V6]	[V6]:PORT
 *
 * ADDR is a name or an address.  Without a port it is LISTEN_PORT.  A whole address is what
 * peer_addr_split() takes, but its port may be 0 where the kernel is to choose one.
 */
#ifndef PROXY_DAEMON_LISTEN_H
#define PROXY_DAEMON_LISTEN_H

#include <stdbool.h>

#include "common/err.h"
#include "proxy/daemon/peers.h"

#define LISTEN_PORT "7117"
#define LISTEN_DEFAULT "127.0.0.1:" LISTEN_PORT

/* @text as a whole address; 0 or -EINVAL and a sentence */
int listen_address(const char *text, char out[PEER_ADDR], struct err *e) MUST_CHECK;
/* A listening, non-blocking TCP socket; @actual: with the port that it got */
int listen_open(const char *addr, char actual[PEER_ADDR], struct err *e) MUST_CHECK;

bool listen_is_loopback(const char *addr);	/* only this machine reaches it */
bool listen_is_any(const char *addr);	/* 0.0.0.0, [::]: to listen on, not to call */

#endif

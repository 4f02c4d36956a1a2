/* SPDX-License-Identifier: MIT */
/*
 * greet.h - The first words on a link: who may stay
 *
 *	connecting side				accepting side
 *	"MMPEER01" ──────────────────────▶	the pin is one of ours: the session begins
 *
 *	"MMINVITE" secret name addr ─────▶	the secret is good: pins the peer under that name
 *		   32     64   64	  ◀────	"MMPINNED" its own name (64); both close
 *
 * All of fixed size, names and addresses padded with zeros.  On anything else the accepting side
 * closes without a byte and logs one line: E_PEER_UNKNOWN, E_PEER_BAD (pinned, but talks
 * nonsense) or E_INVITE_BAD.
 *
 * The accepting side writes into the state directory: to be called before privileges are dropped.
 */
#ifndef PROXY_DAEMON_GREET_H
#define PROXY_DAEMON_GREET_H

#include <stddef.h>

#include "common/err.h"
#include "proxy/daemon/invite.h"
#include "proxy/daemon/peers.h"
#include "proxy/link/link.h"

#define GREET_MS 10000		/* a peer has so long to say its first words */

/* 0: a pinned peer, who is in *@out; 1: an invitation was served, close; -errno: close */
int greet_accept(struct link *l, const char *state_dir, struct peer *out,
		 struct err *e) MUST_CHECK;
int greet_connect(struct link *l, struct err *e) MUST_CHECK;
/*
 * Redeem @inv over @l, which tls_connect() made with its pin.  The host's name for itself, checked
 * by peer_name_ok(), goes into @their_name; to pin it in turn is the caller's work.
 */
int greet_redeem(struct link *l, const struct invite *inv, const char *my_name, const char *my_addr,
		 char *their_name, size_t size, struct err *e) MUST_CHECK;

#endif

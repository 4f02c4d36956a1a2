/* SPDX-License-Identifier: MIT */
/*
 * invite.h - An invitation: pins two hosts to each other without anybody comparing fingerprints
 *
 * `mproxy --invite` prints a token: where this host is reached, its pin, and a secret.  Whoever
 * brings the secret within ten minutes, once, over a connection to the host with that pin, is
 * pinned (greet.h).  The token is as good as a password while it lives.
 *
 *	"mm1." base64url( pin 32 | secret 32 | addr 1…63 | first 4 of SHA-256 of all that )
 *
 * What is pending lives in STATE/invites, one file each: its name is the first half of the hash of
 * the secret, its text the hash and the expiry.  The secret itself is not kept.  To use an
 * invitation is to remove its file, which works once.
 */
#ifndef PROXY_DAEMON_INVITE_H
#define PROXY_DAEMON_INVITE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "proxy/daemon/peers.h"

#define INVITE_SECRET 32	/* bytes */
#define INVITE_LIFE_S 600
#define INVITE_TOKEN 184	/* the longest token with its NUL */

struct invite {
	char addr[PEER_ADDR];
	char pin[PEER_PIN];
	uint8_t secret[INVITE_SECRET];
};

/* New invitation to this host (@addr, @pin); the token into @out */
int invite_make(const char *state_dir, const char *addr, const char *pin, char *out, size_t size,
		struct err *e) MUST_CHECK;
/* Any text gives an invitation or -EINVAL */
int invite_parse(const char *token, struct invite *inv, struct err *e) MUST_CHECK;
/* 0, -EINVAL, -ENOSPC */
int invite_format(const struct invite *inv, char *out, size_t size) MUST_CHECK;
/* 0 once; -ETIMEDOUT expired; -EACCES unknown, or used */
int invite_redeem(const char *state_dir, const uint8_t secret[INVITE_SECRET],
		  struct err *e) MUST_CHECK;

#endif

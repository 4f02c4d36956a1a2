/* SPDX-License-Identifier: MIT */
/*
 * talk.h - One message to the peer's session, one answer: blocking, while a move goes step by step
 */
#ifndef PROXY_LINK_TALK_H
#define PROXY_LINK_TALK_H

#include "common/wire.h"
#include "proxy/link/frame.h"

#define TALK_MS 30000		/* a peer that hasn't answered by then is gone */

/* A received message; its payload lives in @buf */
struct talk {
	unsigned type;
	uint8_t *buf;
	size_t len, size;
};

void talk_free(struct talk *t);
#define AUTO_TALK __attribute__((cleanup(talk_free)))

/* @len is what wire_put_…() returned */
int talk_send(struct link *l, unsigned type, const void *payload, ssize_t len, struct err *e) MUST_CHECK;
/* A message with one text in it, of any length */
int talk_send_text(struct link *l, unsigned type, const char *text, struct err *e) MUST_CHECK;
int talk_receive(struct link *l, struct talk *t, int64_t deadline, struct err *e) MUST_CHECK;
/* The next message must be of @type; a FAIL becomes this call's error */
int talk_expect(struct link *l, unsigned type, struct talk *t, int64_t deadline, struct err *e) MUST_CHECK;
int talk_fail_to_err(const void *p, size_t len, struct err *e);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * channel.h - Numbered messages, delivered exactly once and in order
 *
 * Keeps what was told until the other side has it, and recognises what came already.  It sends
 * nothing itself: channel_next() says what is to be sent, in order; channel_rewind() starts again
 * after a reconnection.  Memory: at most CHANNEL_MOST copies.
 *
 * Context: ordinary code of one thread.
 */
#ifndef TWIN_CHANNEL_H
#define TWIN_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"
#include "common/err.h"

#define CHANNEL_MOST 4096	/* messages kept; then -ENOBUFS, which the producer must handle */

/* struct channel_msg - A message that was told; @p is the channel's until it is acknowledged */
struct channel_msg {
	uint64_t number;
	uint32_t type;
	uint32_t len;
	const void *p;
};

struct channel;

struct channel *channel_new(struct err *e) MUST_CHECK;
void channel_free(struct channel *c);

/* what this side tells */
int channel_tell(struct channel *c, unsigned type, const void *p, size_t len) MUST_CHECK;
size_t channel_room(const struct channel *c);		/* messages that may be told now */
bool channel_next(const struct channel *c, struct channel_msg *m);	/* to be sent */
void channel_sent(struct channel *c);			/* it is on its way */
int channel_acked(struct channel *c, uint64_t received) MUST_CHECK;
int channel_rewind(struct channel *c, uint64_t received) MUST_CHECK;	/* send the rest again */
bool channel_empty(const struct channel *c);		/* everything told was acknowledged */

/* what the other side tells */
int channel_take(struct channel *c, uint64_t number) MUST_CHECK;	/* 1: new, -EILSEQ: a gap */
bool channel_ack_due(const struct channel *c, uint64_t *received);
void channel_ack_told(struct channel *c);
uint64_t channel_received(const struct channel *c);

/* {u64 received; u64 next_number} and {u32 kept; per message u32 type, u32 len, bytes} */
void channel_put_numbers(const struct channel *c, struct bytes *b);
void channel_put_kept(const struct channel *c, struct bytes *b);
int channel_restore(struct channel *c, uint64_t received, uint64_t next_number,
		    struct bytes *kept) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * channel.c - Numbered messages, delivered exactly once and in order
 *
 * Numbers start at 1 and have no holes.  What was told is kept in a ring of pointers:
 *
 *	first ... sent ... next			first: the oldest not acknowledged
 *	  |-- kept ------------|		sent: the next to go over the present connection
 *	            |-- to send|		next: the number of the next one told
 *
 * An acknowledgement moves first; a reconnection moves sent back to first.  The receiving side
 * needs one number: received, the last that was delivered.  A message with that number or a
 * smaller one was delivered before, received + 1 is delivered, and a larger one is a gap, which
 * only a reconnection explains and repairs.
 */
#include "proxy/twin/channel.h"

#include <errno.h>
#include <stdlib.h>

#include "common/wire.h"

struct kept {
	uint32_t type;
	uint32_t len;
	uint8_t bytes[];
};

struct channel {
	uint64_t first, sent, next;
	uint64_t received, acked;	/* acked: the last number we acknowledged */
	bool again;			/* a message came twice: the acknowledgement may be lost */
	struct kept *kept[CHANNEL_MOST];	/* number n at n % CHANNEL_MOST */
};

struct channel *channel_new(struct err *e)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (!c) {
		err_set(e, -ENOMEM, "keep messages");
		return NULL;
	}
	c->first = c->sent = c->next = 1;
	return c;
}

static void forget_before(struct channel *c, uint64_t number)
{
	for (; c->first < number; c->first++) {
		struct kept **k = &c->kept[c->first % CHANNEL_MOST];

		free(*k);
		*k = NULL;
	}
	c->sent = c->sent < c->first ? c->first : c->sent;
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	forget_before(c, c->next);
	free(c);
}

/* ---- telling ---------------------------------------------------------------- */

/**
 * channel_tell() - Give a message its number and keep a copy
 *
 * Return: 0, -ENOBUFS if too many are unacknowledged, -EMSGSIZE, -ENOMEM
 */
int channel_tell(struct channel *c, unsigned type, const void *p, size_t len)
{
	struct kept *k;

	if (len > WIRE_CHUNK)
		return -EMSGSIZE;
	if (!channel_room(c))
		return -ENOBUFS;
	k = malloc(sizeof(*k) + len);
	if (!k)
		return -ENOMEM;
	k->type = type;
	k->len = (uint32_t)len;
	if (len)
		memcpy(k->bytes, p, len);
	c->kept[c->next++ % CHANNEL_MOST] = k;
	return 0;
}

size_t channel_room(const struct channel *c)
{
	return CHANNEL_MOST - (size_t)(c->next - c->first);
}

bool channel_next(const struct channel *c, struct channel_msg *m)
{
	const struct kept *k;

	if (c->sent == c->next)
		return false;
	k = c->kept[c->sent % CHANNEL_MOST];
	*m = (struct channel_msg){
		.number = c->sent, .type = k->type, .len = k->len, .p = k->bytes
	};
	return true;
}

void channel_sent(struct channel *c)
{
	if (c->sent < c->next)
		c->sent++;
}

/**
 * channel_acked() - The other side has everything up to @received
 *
 * Return: 0, also for an old acknowledgement; -EBADMSG for a number that was never given
 */
int channel_acked(struct channel *c, uint64_t received)
{
	if (received >= c->next)
		return -EBADMSG;
	forget_before(c, received + 1);
	return 0;
}

/**
 * channel_rewind() - A new connection: the other side has up to @received, send all others
 *
 * Return: 0, or -EBADMSG for a number that was never given.  An old one, from a SYNC that was
 * under way for long, is no harm: what it asks for was acknowledged since
 */
int channel_rewind(struct channel *c, uint64_t received)
{
	int rc = channel_acked(c, received);

	if (rc)
		return rc;
	c->sent = c->first;
	return 0;
}

bool channel_empty(const struct channel *c)
{
	return c->first == c->next;
}

/* ---- being told ------------------------------------------------------------- */

int channel_take(struct channel *c, uint64_t number)
{
	if (!number || number > c->received + 1)
		return -EILSEQ;
	if (number <= c->received) {
		c->again = true;
		return 0;
	}
	c->received = number;
	return 1;
}

bool channel_ack_due(const struct channel *c, uint64_t *received)
{
	*received = c->received;
	return c->again || c->received > c->acked;
}

void channel_ack_told(struct channel *c)
{
	c->acked = c->received;
	c->again = false;
}

uint64_t channel_received(const struct channel *c)
{
	return c->received;
}

/* ---- moving on -------------------------------------------------------------- */

void channel_put_numbers(const struct channel *c, struct bytes *b)
{
	bytes_put_le(b, c->received, 8);
	bytes_put_le(b, c->next, 8);
}

void channel_put_kept(const struct channel *c, struct bytes *b)
{
	bytes_put_le(b, c->next - c->first, 4);
	for (uint64_t n = c->first; n < c->next; n++) {
		const struct kept *k = c->kept[n % CHANNEL_MOST];

		bytes_put_le(b, k->type, 4);
		bytes_put_le(b, k->len, 4);
		bytes_put(b, k->bytes, k->len);
	}
}

/**
 * channel_restore() - Make a fresh channel go on where another one stood
 * @next_number:	What the next message told would have been
 * @kept:	What channel_put_kept() wrote; at its end: nothing was kept
 *
 * Return: 0, or -EBADMSG, -ENOMEM; the channel is then as good as new
 */
int channel_restore(struct channel *c, uint64_t received, uint64_t next_number, struct bytes *kept)
{
	uint64_t count = bytes_left(kept) ? bytes_get_le(kept, 4) : 0;
	int rc = 0;

	if (kept->bad || count > CHANNEL_MOST || next_number <= count ||
	    next_number >= UINT64_MAX / 2 || received >= UINT64_MAX / 2 || c->next != 1)
		return -EBADMSG;
	c->first = c->sent = c->next = next_number - count;
	while (!rc && c->next < next_number) {
		uint32_t type = (uint32_t)bytes_get_le(kept, 4);
		uint32_t len = (uint32_t)bytes_get_le(kept, 4);
		const uint8_t *p = bytes_take(kept, len);

		rc = p && !kept->bad ? channel_tell(c, type, p, len) : -EBADMSG;
	}
	if (rc) {
		forget_before(c, c->next);
		c->first = c->sent = c->next = 1;
		return rc == -EMSGSIZE ? -EBADMSG : rc;
	}
	c->received = c->acked = received;
	return 0;
}

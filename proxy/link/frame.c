/* SPDX-License-Identifier: MIT */
/*
 * frame.c - Frames over a link
 *
 * The decoder believes nothing: magic and length are judged before a byte of memory is asked
 * for, and memory then grows with the bytes that really arrive, not with those announced.
 *
 * The incoming buffer of a frame_io holds [begin, end); the frame that was given out last is its
 * first @given bytes, dropped at the next call.  Several small frames come with one read and are
 * decoded where they lie.  The outgoing queue is [begin, end) as well: a plain buffer that is
 * moved to its front when that makes room.
 */
#include "proxy/link/frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/bytes.h"
#include "common/wire.h"
#include "proxy/link/checksum.h"

#define SUMMED 20		/* bytes of the head that the checksum covers */
#define SMALL 4096		/* up to here one copy is cheaper than a second record */
#define READ_SIZE (64u << 10)	/* room for one read, at least */

struct buffer {
	uint8_t *p;
	size_t begin;
	size_t end;
	size_t size;
};

struct frame_io {
	struct link *link;
	struct buffer in;
	struct buffer out;
	size_t out_max;
	size_t given;		/* bytes at the front of @in that the caller has seen */
	int broken;		/* negative errno that ended the stream; 0 */
};

uint32_t frame_limit(unsigned type)
{
	static const unsigned texts[] = { WIRE_IMAGE, WIRE_OFFER, WIRE_VERDICT, WIRE_PREPARE, WIRE_SURVEYED };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i] == type)
			return FRAME_IMAGE_MAX;	/* they grow with the program's areas */
	return FRAME_MAX;
}

/* ---- the head ------------------------------------------------------------------- */

/* Over the head's first bytes and the payload, which comes in up to two pieces */
static uint32_t sum(unsigned type, const void *head, const struct iovec *payload)
{
	struct iovec v[3] = { { (void *)head, SUMMED } };

	if (type == WIRE_MEM || !payload)
		return (uint32_t)checksum64(v, 1);
	v[1] = payload[0];
	v[2] = payload[1];
	return (uint32_t)checksum64(v, 3);
}

static void put_le(uint8_t *to, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

/* The first SUMMED bytes */
static void put_summed(uint8_t *to, unsigned type, unsigned version, size_t len, uint64_t seq)
{
	put_le(to, FRAME_MAGIC, 4);
	put_le(to + 4, type, 2);
	put_le(to + 6, version, 2);
	put_le(to + 8, len, 4);
	put_le(to + 12, seq, 8);
}

static void put_head(uint8_t *to, unsigned type, uint64_t seq, const struct iovec *payload)
{
	put_summed(to, type, WIRE_NEWEST, payload[0].iov_len + payload[1].iov_len, seq);
	put_le(to + SUMMED, sum(type, to, payload), 4);
}

/**
 * get_head() - Decode a head
 * @from:	FRAME_HEAD bytes, any
 * @f:		Filled in; payload NULL
 *
 * Return: 0, -EBADMSG no frame, -EMSGSIZE longer than its type may be
 */
static int get_head(const uint8_t *from, struct frame *f)
{
	struct bytes b = bytes_of(from, FRAME_HEAD);
	uint32_t magic = (uint32_t)bytes_get_le(&b, 4);

	*f = (struct frame){ .type = (uint16_t)bytes_get_le(&b, 2) };
	f->version = (uint16_t)bytes_get_le(&b, 2);
	f->length = (uint32_t)bytes_get_le(&b, 4);
	f->seq = bytes_get_le(&b, 8);
	f->checksum = (uint32_t)bytes_get_le(&b, 4);
	if (magic != FRAME_MAGIC)
		return -EBADMSG;
	if (f->length > frame_limit(f->type))
		return -EMSGSIZE;
	if (f->type == WIRE_MEM && f->checksum != sum(f->type, from, NULL))
		return -EBADMSG;
	return 0;
}

/**
 * frame_verify() - Is the payload what was sent?
 * @f:		As frame_recv_header() filled it in
 * @payload:	f->length bytes
 *
 * Return: 0 or -EBADMSG
 */
int frame_verify(const struct frame *f, const void *payload)
{
	struct iovec v[2] = { { (void *)payload, f->length } };
	uint8_t head[SUMMED];

	if (f->type == WIRE_MEM)
		return 0;
	put_summed(head, f->type, f->version, f->length, f->seq);
	return f->checksum == sum(f->type, head, v) ? 0 : -EBADMSG;
}

/* ---- blocking --------------------------------------------------------------------- */

int frame_send(struct link *l, unsigned type, uint64_t seq, const void *payload, size_t len,
	       int64_t deadline, struct err *e)
{
	return frame_send_v(l, type, seq, NULL, 0, payload, len, deadline, e);
}

/**
 * frame_send_v() - Send a frame whose payload lies in two places
 * @l:		The link
 * @type:	enum wire_type
 * @seq:	Its number, or 0
 * @head:	First part, meant to be short; may be NULL when @head_len is 0
 * @body:	Second part, sent from where it is
 * @deadline:	For the whole of it
 *
 * Return: 0, -EMSGSIZE before anything was sent, or a negative errno that ends the stream
 */
int frame_send_v(struct link *l, unsigned type, uint64_t seq, const void *head, size_t head_len,
		 const void *body, size_t body_len, int64_t deadline, struct err *e)
{
	struct iovec v[2] = { { (void *)head, head_len }, { (void *)body, body_len } };
	size_t max = frame_limit(type);
	uint8_t small[SMALL];
	struct bytes b = bytes_of(small + FRAME_HEAD, sizeof(small) - FRAME_HEAD);
	int r;

	if (type > UINT16_MAX || head_len > max || body_len > max - head_len)
		return err_say(e, -EMSGSIZE, "a frame of type %u (%s) can't have %zu bytes", type,
			       wire_name(type), head_len + body_len);
	put_head(small, type, seq, v);
	for (int i = 0; i < 2; i++)		/* what fits goes along with the head */
		if (v[i].iov_len <= bytes_left(&b) && (i == 0 || !v[0].iov_len)) {
			bytes_put(&b, v[i].iov_base, v[i].iov_len);
			v[i].iov_len = 0;
		}
	r = link_send(l, small, (size_t)(b.at - small), deadline, e);
	for (int i = 0; i < 2 && !r; i++)
		if (v[i].iov_len)
			r = link_send(l, v[i].iov_base, v[i].iov_len, deadline, e);
	return r;
}

/**
 * frame_put() - Write a whole frame into memory, for several to be sent with one link_send()
 * @to:		Where to
 * @size:	Bytes that there is room for
 *
 * Return: its length, or -EMSGSIZE
 */
ssize_t frame_put(void *to, size_t size, unsigned type, uint64_t seq, const void *head,
		  size_t head_len, const void *body, size_t body_len)
{
	struct iovec v[2] = { { (void *)head, head_len }, { (void *)body, body_len } };
	struct bytes b = bytes_of(to, size);
	size_t max = MIN((size_t)frame_limit(type), size - MIN(size, (size_t)FRAME_HEAD));

	if (size < FRAME_HEAD || type > UINT16_MAX || head_len > max || body_len > max - head_len)
		return -EMSGSIZE;
	put_head(to, type, seq, v);
	bytes_take(&b, FRAME_HEAD);
	bytes_put(&b, head, head_len);
	bytes_put(&b, body, body_len);
	return (ssize_t)(FRAME_HEAD + head_len + body_len);
}

static int bad_frame(int code, const struct frame *f, struct err *e)
{
	if (code == -EMSGSIZE)
		return err_say(e, code, "the peer announced a frame of type %u (%s) with %u bytes",
			       f->type, wire_name(f->type), f->length);
	return err_say(e, code, "the peer sent what is no frame");
}

int frame_recv_header(struct link *l, struct frame *f, int64_t deadline, struct err *e)
{
	uint8_t head[FRAME_HEAD];
	int r = link_recv(l, head, sizeof(head), deadline, e);

	if (r)
		return r;
	r = get_head(head, f);
	if (!r)
		return 0;
	bad_frame(r, f, e);
	if (e)
		e->code = -EBADMSG;
	return -EBADMSG;	/* -EMSGSIZE means: only too long for frame_recv()'s buffer */
}

/**
 * frame_recv() - Receive a whole frame
 * @f:		Filled in; f->payload is @buf
 * @buf:	Where the payload goes
 * @size:	Of @buf, bytes
 *
 * Return: 0; -EMSGSIZE too long for @buf, nothing of the payload was read; -EBADMSG; -ECONNRESET;
 * -ETIMEDOUT …
 */
int frame_recv(struct link *l, struct frame *f, void *buf, size_t size, int64_t deadline,
	       struct err *e)
{
	int r = frame_recv_header(l, f, deadline, e);

	if (r)
		return r;
	if (f->length > size)
		return bad_frame(-EMSGSIZE, f, e);
	r = link_recv(l, buf, f->length, deadline, e);
	if (r)
		return r;
	f->payload = buf;
	r = frame_verify(f, buf);
	return r ? err_say(e, r, "a frame of type %u (%s) arrived damaged", f->type,
			   wire_name(f->type)) : 0;
}

/* ---- non-blocking -------------------------------------------------------------------- */

/* Room for @n more bytes after @b->end.  Return: 0 or -ENOMEM */
static int buffer_reserve(struct buffer *b, size_t n)
{
	size_t used = b->end - b->begin, size = MAX(b->size, (size_t)4096);
	uint8_t *p;

	if (b->size - b->end >= n)
		return 0;
	if (b->begin && b->size - used >= n && b->begin >= used) {
		memcpy(b->p, b->p + b->begin, used);
	} else {
		while (size - used < n)
			size *= 2;
		p = malloc(size);
		if (!p)
			return -ENOMEM;
		if (used)
			memcpy(p, b->p + b->begin, used);
		free(b->p);
		b->p = p;
		b->size = size;
	}
	b->begin = 0;
	b->end = used;
	return 0;
}

/* Drops @n bytes from the front, and the memory of a large one that is empty again */
static void buffer_drop(struct buffer *b, size_t n)
{
	b->begin += n;
	if (b->begin != b->end)
		return;
	b->begin = b->end = 0;
	if (b->size > 4 * READ_SIZE) {
		free(b->p);
		*b = (struct buffer){ 0 };
	}
}

struct frame_io *frame_io_new(struct link *l, size_t queue_max)
{
	struct frame_io *io = calloc(1, sizeof(*io));

	if (io) {
		io->link = l;
		io->out_max = queue_max;
	}
	return io;
}

void frame_io_free(struct frame_io *io)
{
	if (!io)
		return;
	free(io->in.p);
	free(io->out.p);
	free(io);
}

size_t frame_io_queued(const struct frame_io *io)
{
	return io->out.end - io->out.begin;
}

size_t frame_io_buffered(const struct frame_io *io)
{
	return io->in.end - io->in.begin - io->given;
}

int frame_io_put(struct frame_io *io, unsigned type, uint64_t seq, const void *payload, size_t len)
{
	struct iovec v[2] = { { (void *)payload, len } };
	uint8_t *to;

	if (type > UINT16_MAX || len > frame_limit(type))
		return -EMSGSIZE;
	if (frame_io_queued(io) > io->out_max ||
	    io->out_max - frame_io_queued(io) < FRAME_HEAD + len)
		return -ENOBUFS;
	if (buffer_reserve(&io->out, FRAME_HEAD + len))
		return -ENOMEM;
	to = io->out.p + io->out.end;
	put_head(to, type, seq, v);
	if (len)
		memcpy(to + FRAME_HEAD, payload, len);
	io->out.end += FRAME_HEAD + len;
	return 0;
}

int frame_io_flush(struct frame_io *io)
{
	while (frame_io_queued(io)) {
		ssize_t n = link_try_send(io->link, io->out.p + io->out.begin, frame_io_queued(io));

		if (n < 0)
			return (int)n;
		buffer_drop(&io->out, (size_t)n);
	}
	return 0;
}

/**
 * take_frame() - Is there a whole frame at the front of what was received?
 * @io:		Nothing of which was given out yet
 * @out:	The frame, when 1 is returned
 * @want:	Bytes that are missing at least, when 0 is returned
 *
 * Return: 1, 0, or a negative errno
 */
static int take_frame(struct frame_io *io, struct frame *out, size_t *want)
{
	size_t have = io->in.end - io->in.begin;
	uint8_t *at;
	int r;

	*want = FRAME_HEAD;
	if (have < FRAME_HEAD)
		return 0;
	at = io->in.p + io->in.begin;
	r = get_head(at, out);
	if (r)
		return -EBADMSG;
	if (have - FRAME_HEAD < out->length) {
		*want = out->length - (have - FRAME_HEAD);
		return 0;
	}
	r = frame_verify(out, at + FRAME_HEAD);
	if (r)
		return r;
	out->payload = at + FRAME_HEAD;
	io->given = FRAME_HEAD + out->length;
	return 1;
}

/* Reads once.  Return: 1 bytes came, 0 none are there, or a negative errno */
static int fill(struct frame_io *io, size_t want)
{
	struct buffer *b = &io->in;
	/* As much as is there already: a frame that was only announced gets no memory */
	size_t room = MIN(MAX(want, (size_t)READ_SIZE), MAX(b->end - b->begin, (size_t)READ_SIZE));
	ssize_t n;

	if (buffer_reserve(b, room))
		return -ENOMEM;
	n = link_try_recv(io->link, b->p + b->end, b->size - b->end);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0)
		return n ? (int)n : -ECONNRESET;
	b->end += (size_t)n;
	return 1;
}

int frame_io_poll_in(struct frame_io *io, struct frame *out)
{
	int r = io->broken;
	size_t want;

	buffer_drop(&io->in, io->given);
	io->given = 0;
	while (!r) {
		r = take_frame(io, out, &want);
		if (r)
			break;
		r = fill(io, want);
		if (!r)
			return 0;
		if (r > 0)
			r = 0;
	}
	if (r < 0)
		io->broken = r;
	return r;
}

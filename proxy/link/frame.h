/* SPDX-License-Identifier: MIT */
/*
 * frame.h - Frames over a link
 *
 * FRAME_HEAD bytes, little-endian, then the payload:
 *
 *	0  u32 magic	 "MMF1"
 *	4  u16 type	 enum wire_type
 *	6  u16 version	 of the protocol
 *	8  u32 length	 of the payload, at most frame_limit(type)
 *	12 u64 seq	 the sender's number, 0 for what isn't numbered
 *	20 u32 checksum	 low half of XXH3-64 over the 20 bytes before and the payload; of WIRE_MEM
 *			 over the 20 bytes only (pages are many, and TLS guards them)
 *
 * Two ways to use it.  *Blocking*, while a migration runs step by step: frame_send(), frame_recv();
 * a payload may be sent from and received to where it lives, without a copy.  *Non-blocking*,
 * while a program is served from an epoll loop: struct frame_io.  Don't mix them on one link
 * while a frame_io holds bytes (frame_io_queued(), frame_io_buffered()).
 *
 * Any failure but -EAGAIN, -ENOBUFS and -EMSGSIZE leaves the stream of no further use.
 */
#ifndef PROXY_LINK_FRAME_H
#define PROXY_LINK_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "proxy/link/link.h"

#define FRAME_MAGIC 0x31464d4du
#define FRAME_HEAD 24
#define FRAME_MAX ((1u << 20) + (64u << 10))	/* payload bytes, of most types */
#define FRAME_IMAGE_MAX (64u << 20)	/* of those that describe a program */

struct frame {
	uint16_t type;
	uint16_t version;
	uint32_t length;	/* of the payload, bytes */
	uint64_t seq;
	uint8_t *payload;	/* NULL after frame_recv_header() */
	uint32_t checksum;	/* as it was received */
};

uint32_t frame_limit(unsigned type);

/* Whole or not at all: -EMSGSIZE before a byte was sent when too long */
int frame_send(struct link *l, unsigned type, uint64_t seq, const void *payload, size_t len,
	       int64_t deadline, struct err *e) MUST_CHECK;
/* The payload in two pieces; @body goes out from where it is */
int frame_send_v(struct link *l, unsigned type, uint64_t seq, const void *head, size_t head_len,
		 const void *body, size_t body_len, int64_t deadline, struct err *e) MUST_CHECK;

/* Several small ones can go out with one link_send().  Return: bytes written, or -EMSGSIZE */
ssize_t frame_put(void *to, size_t size, unsigned type, uint64_t seq, const void *head,
		  size_t head_len, const void *body, size_t body_len) MUST_CHECK;

/*
 * Whole frame; the payload into @buf (f->payload == buf).  -EMSGSIZE: it is longer than @size;
 * nothing of it was read, so that a link_recv() of f->length bytes and frame_verify() can follow.
 */
int frame_recv(struct link *l, struct frame *f, void *buf, size_t size, int64_t deadline,
	       struct err *e) MUST_CHECK;
/* The head only: take f->length bytes with link_recv(), then ask frame_verify() */
int frame_recv_header(struct link *l, struct frame *f, int64_t deadline,
		      struct err *e) MUST_CHECK;
/* 0 or -EBADMSG; of WIRE_MEM always 0: its head was verified when it was received */
int frame_verify(const struct frame *f, const void *payload) MUST_CHECK;

struct frame_io;

/* @queue_max: bytes that may wait to be sent.  The link stays the caller's.  NULL: out of memory */
struct frame_io *frame_io_new(struct link *l, size_t queue_max);
void frame_io_free(struct frame_io *io);	/* NULL is fine; what is queued is lost */

/* Bytes not yet sent: ask for POLLOUT while not 0.  Bytes received and not yet given out */
size_t frame_io_queued(const struct frame_io *io);
size_t frame_io_buffered(const struct frame_io *io);
/* Queues a copy.  0; -ENOBUFS the queue is full, -EMSGSIZE, -ENOMEM: then nothing was queued */
int frame_io_put(struct frame_io *io, unsigned type, uint64_t seq, const void *payload,
		 size_t len) MUST_CHECK;
/* 0 all sent, -EAGAIN more remains, -errno */
int frame_io_flush(struct frame_io *io) MUST_CHECK;
/*
 * 1: a whole frame, its payload valid until the next call; 0: more bytes are needed, now poll;
 * -ECONNRESET at the end of the stream, -EBADMSG garbage, …: for good, it is repeated.
 * Call until it gives 0 before polling, but let other links have their turn in between.
 */
int frame_io_poll_in(struct frame_io *io, struct frame *out) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * stream.h - One stream of bytes between a pipe at the origin and its twin at the target
 *
 * Knows how to read a pipe without consuming it, how to write one without blocking or touching
 * its flags, and what of a stream has arrived.  Knows nothing of sockets and messages: pump.c
 * asks what is due and carries it.
 *
 * Offsets count bytes since the stream's beginning.  Whatever the other side says is checked:
 * absurd offsets are refused with -EBADMSG and change nothing.
 *
 * Context: ordinary code of one thread; nothing blocks.  SIGPIPE must be blocked or ignored,
 * and SIGIO blocked where a sink reads back what the program took (STREAM_IN).
 */
#ifndef TWIN_STREAM_H
#define TWIN_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define STREAM_WINDOW (1u << 20)	/* bytes sent and not yet taken: a sink's room */
#define STREAM_MAX_FDS 8		/* numbers that one pipe end may have */

enum stream_dir { STREAM_IN = 0, STREAM_OUT = 1 };	/* the program reads, writes; on the wire */
enum stream_half { STREAM_SOURCE = 0, STREAM_SINK = 1 };	/* on the wire, too */
enum stream_state {					/* in pump_state_get()'s bytes too */
	STREAM_OPEN = 0,
	STREAM_ENDED = 1,	/* no writer is left at the source; a FIFO may get one again */
	STREAM_GONE = 2,	/* no reader is left at the sink; final */
};

/* What the streams of a process share: a scratch pipe, /dev/null (or -1), what watches them */
struct stream_tools {
	int epoll;
	int scratch[2];
	int null;
};

int stream_tools_open(struct stream_tools *t, struct err *e) MUST_CHECK;
void stream_tools_close(struct stream_tools *t);

struct stream;

/* @fd becomes the stream's on success, and is closed when the stream is gone or (a sink) ended */
struct stream *stream_new(const struct stream_tools *t, uint32_t id, enum stream_dir dir,
			  enum stream_half half, int fd, uint64_t offset, uint64_t tag,
			  struct err *e) MUST_CHECK;
int stream_also(struct stream *s, int fd) MUST_CHECK;	/* one more number of its: closed along */
void stream_free(struct stream *s);			/* closes all of its descriptors */

uint32_t stream_id(const struct stream *s);
enum stream_dir stream_direction(const struct stream *s);
enum stream_half stream_side(const struct stream *s);
enum stream_state stream_state(const struct stream *s);
uint64_t stream_offset(struct stream *s);		/* taken, exact as of now */
bool stream_drained(struct stream *s);			/* all is written; all is taken */
bool stream_flushed(struct stream *s);			/* a sink: all is written, or its pipe is full */
void stream_restore(struct stream *s, enum stream_state state);	/* how it had ended elsewhere */
void stream_hold(struct stream *s, bool hold);
void stream_event(struct stream *s);			/* epoll reported it */

/* ---- source ---- */
bool stream_ready(const struct stream *s);		/* stream_peek() is worth a call */
ssize_t stream_peek(struct stream *s, void *buf, size_t size, uint64_t *offset) MUST_CHECK;
void stream_sent(struct stream *s, size_t n);		/* of what was peeked */
bool stream_end_due(const struct stream *s, uint64_t *offset);
void stream_end_told(struct stream *s);
int stream_taken(struct stream *s, uint64_t offset) MUST_CHECK;
int stream_rewind(struct stream *s, uint64_t next, uint64_t taken) MUST_CHECK;
void stream_gone(struct stream *s);

/* ---- sink ---- */
/* -EILSEQ: a gap */
int stream_bytes(struct stream *s, uint64_t offset, const void *p, size_t n) MUST_CHECK;
int stream_end(struct stream *s, uint64_t offset) MUST_CHECK;
uint64_t stream_next(const struct stream *s);		/* the byte it waits for */
bool stream_work(struct stream *s);			/* write to W; true: something is due */
bool stream_taken_due(struct stream *s, bool exact, uint64_t *offset);
void stream_taken_told(struct stream *s, uint64_t offset);
bool stream_gone_due(const struct stream *s);
void stream_gone_told(struct stream *s);

#endif

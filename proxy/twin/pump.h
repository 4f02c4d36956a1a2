/* SPDX-License-Identifier: MIT */
/*
 * pump.h - The streams and messages between a deputy and its keeper, over sockets that come and go
 *
 * One pump at each end.  Bytes flow between pipes and numbered messages are delivered exactly
 * once, whatever happens to the sessions between: the owner only hands over the socket of each
 * new session by pump_attach().
 *
 * What a session must keep to: it relays datagrams of the routes ENDS and DATA whole and in
 * order, and when it had to throw one away it closes the pump's socket.  Then nothing is lost.
 *
 * Use: poll pump_fd() for POLLIN, then pump_run().  Nothing here blocks or sleeps, and a pump
 * with nothing to do costs nothing.  The owner blocks SIGPIPE, and SIGIO too when it has sinks
 * of in-streams (a keeper), whose arrival it reports by pump_sigio().
 *
 * Ownership: descriptors passed to pump_add(), pump_also() and pump_attach() become the pump's
 * when they return 0.  Payloads given to the callbacks are valid during the call only.
 *
 * Context: ordinary code of one thread.  The callbacks run inside pump_run() and may call
 * anything here but pump_run() and pump_free().
 */
#ifndef TWIN_PUMP_H
#define TWIN_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proxy/twin/stream.h"

#define PUMP_MOST_STREAMS 1024

/**
 * struct pump_ops - What the owner hears
 * @message:	A numbered message, exactly once (SIGNAL, STOPPED, CONTINUED, EXITED, …), or a
 *		LOCAL one from the session.  @payload is to be decoded with wire_get_*()
 * @detached:	The session's socket ended and was closed.  Not called for one that was replaced
 * @refused:	A message was malformed, absurd or unknown, without effect; for the log, may be NULL
 * @closed:	The program has closed its end of a stream for good, and so did the pump; may be NULL
 */
struct pump_ops {
	void (*message)(void *ctx, unsigned type, const void *payload, size_t len);
	void (*detached)(void *ctx);
	void (*refused)(void *ctx, unsigned type, int code);
	void (*closed)(void *ctx, uint32_t id);
};

struct pump;

struct pump *pump_new(const struct pump_ops *ops, void *ctx, struct err *e) MUST_CHECK;
void pump_free(struct pump *p);		/* closes everything it owns */

/*
 * A stream that starts at @offset.  A sink of an in-stream (STREAM_IN) is a keeper's: @fd must be
 * an open file description of the keeper's own, it gets O_NONBLOCK, O_ASYNC and an owner.  Every
 * other @fd keeps its flags.
 */
int pump_add(struct pump *p, uint32_t id, enum stream_dir dir, enum stream_half half, int fd,
	     uint64_t offset, struct err *e) MUST_CHECK;
int pump_also(struct pump *p, uint32_t id, int fd) MUST_CHECK;	/* one more number of it */

int pump_attach(struct pump *p, int sock, struct err *e) MUST_CHECK;
void pump_detach(struct pump *p);	/* without ops->detached */
bool pump_attached(const struct pump *p);

int pump_fd(const struct pump *p);	/* readable when pump_run() has something to do */
/* 1: more is left, and pump_fd() stays readable; 0; -errno: epoll failed */
int pump_run(struct pump *p) MUST_CHECK;
void pump_sigio(struct pump *p);	/* SIGIO was received: programs have read */

/* Numbered: -ENOBUFS when CHANNEL_MOST are unacknowledged.  See pump_room() */
int pump_tell(struct pump *p, unsigned type, const void *payload, size_t len) MUST_CHECK;
size_t pump_room(const struct pump *p);	/* messages that pump_tell() would take now */
bool pump_told(const struct pump *p);	/* everything told was received by the other side */
/* To the present session only: -ENOTCONN without one; what it didn't get is forgotten with it */
int pump_send_local(struct pump *p, unsigned type, const void *payload, size_t len) MUST_CHECK;

/* Held: no new byte leaves a source, none enters a sink's pipe.  TAKEN and messages go on */
void pump_hold(struct pump *p, bool hold);
bool pump_drained(struct pump *p);	/* sinks wrote all, of sources all was taken */
bool pump_written(struct pump *p);	/* every sink wrote all: a deputy may end */
bool pump_flushed(struct pump *p);	/* every sink wrote all, or its pipe is full */

/*
 * Everything that the next pump at this side must know, little endian:
 *	u64 received; u64 next_number; u32 count;
 *	count times: u32 id, u32 dir, u64 taken offset, u32 enum stream_state;
 *	u32 kept; kept times: u32 type, u32 len, len bytes	(told, not acknowledged)
 * pump_state_get() returns the length, or -EMSGSIZE.  pump_state_set() is for a fresh pump,
 * before pump_add(): the stream's state is then remembered for its id; its offset is only a
 * fact for the owner, who passes it to pump_add().
 */
ssize_t pump_state_get(struct pump *p, void *buf, size_t size) MUST_CHECK;
int pump_state_set(struct pump *p, const void *buf, size_t len) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * stream.c - One stream of bytes between a pipe at the origin and its twin at the target
 *
 * The kernel's pipe is the only store.  A source never consumes a byte before the other side
 * says TAKEN: it looks at the pipe R by tee(2) into a scratch pipe, skips what it has sent
 * already and reads the rest.  So R holds exactly what was not taken, and whatever dies between
 * the two halves loses nothing; after a reconnection the source sends again from the byte that
 * the sink waits for.
 *
 *	R   |<- taken  ... sent but not taken ...  sent ->| ... not sent ... |<- writers
 *	W   written ->| ... ring: came, found no room ... |<- next
 *
 * "Taken" at the origin's sink (STREAM_OUT) means written to the real pipe.  At the target's
 * sink (STREAM_IN) it means *read by the program*: written minus what FIONREAD still finds in the
 * twin pipe.  The news comes by O_ASYNC on the write end: since 5.14 pipe_read() calls
 * kill_fasync(fasync_writers) at each read, before only when the pipe was full; splice(2) out of
 * it does when a whole buffer is released.  Seen on 6.18: SIGIO with SI_KERNEL, one per read, none
 * for tee(2) or for our own writes, one when the last reader closes.  So at the origin the
 * real pipe always holds what the program has not read, and coming home needs no put-back.
 *
 * The program's descriptors are shared with whoever has their open file description, the
 * parent shell for one, so O_NONBLOCK must not be touched.  tee and splice have a flag of their own
 * (SPLICE_F_NONBLOCK) and do not need it: a source works on a duplicate.  A sink opens W anew
 * through /proc; where that is refused (another user's pipe, no /proc) it writes into the
 * scratch pipe and splices from there.
 *
 * R and W are watched edge-triggered.  pipe_write() wakes such a poller at each write since 5.13,
 * even when the pipe was not empty, which it never is here.
 *
 * States, as STREAM_*, with the function at each arrow:
 *
 *	source	OPEN --stream_peek: no writer, all sent--> ENDED --stream_peek: bytes again--> OPEN
 *		OPEN, ENDED --stream_gone: the readers left--> GONE, R closed: its writers get EPIPE
 *	sink	OPEN --finish_end: all written (STREAM_IN: and read)--> ENDED, W closed
 *		ENDED --stream_bytes: a FIFO's new writer--> OPEN, W opened again by way of O_PATH
 *		OPEN --close_gone: no reader--> GONE, W closed
 *
 * A sink of an in-stream closes W only when the program has read everything: with W closed there
 * would be nothing left that tells what it reads.  The program sees the end at the same byte.
 */
#include "proxy/twin/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/scope.h"

#define RING STREAM_WINDOW		/* a power of two: byte @o lives at ring[o % RING] */
#define RING_KEEP (256u << 10)		/* give the memory back when more than this was in use */
#define TAKEN_STEP 4096u /* tell what was read in steps of a page, or when all was read */
#define FIRST_FD 3			/* never take the place of a closed standard descriptor */

/**
 * struct stream - One half of one stream
 * @own:	What we work on: duplicate, or opened anew; -1 once closed
 * @path:	Sink: O_PATH descriptor of W's pipe, or -1
 * @fds:	The program's descriptors of this end, untouched
 * @by_splice:	Sink: @own may block, so write by splice
 * @look:	An event, or something that may have the effect of one, was not looked at yet
 * @high:	Source: the highest offset ever sent.  A sink can't have taken more, unless a former
 *		pump at this side sent it; then it is still in R
 * @told:	Sink: the offset of the last TAKEN
 * @again:	Sink: the source sent a byte twice, so it may have missed TAKEN
 * @end:	Source: where ENDED was seen.  Sink: of the last END, if @has_end
 */
struct stream {
	const struct stream_tools *tools;
	uint32_t id;
	enum stream_dir dir;
	enum stream_half half;
	enum stream_state state;
	uint64_t tag;
	int own, path;
	int fds[STREAM_MAX_FDS], nfds;
	bool by_splice, look, held, again, has_end, end_due, gone_due;
	uint64_t taken, sent, high, next, written, told, end;
	uint8_t *ring;
	size_t ring_peak;
};

/* ---- tools ------------------------------------------------------------------ */

/**
 * stream_tools_open() - Make what the streams of a process share
 *
 * The scratch pipe is as large as may be: what doesn't fit in it can't be sent before more was
 * taken.  /dev/null is only used if it is the real one.
 */
int stream_tools_open(struct stream_tools *t, struct err *e)
{
	struct stat st;

	*t = (struct stream_tools){ .epoll = -1, .scratch = { -1, -1 }, .null = -1 };
	if (pipe2(t->scratch, O_CLOEXEC | O_NONBLOCK))
		return err_set(e, -errno, "make the scratch pipe");
	for (unsigned size = STREAM_WINDOW;
	     size > 65536 && fcntl(t->scratch[1], F_SETPIPE_SZ, size) < 0;)
		size /= 2;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (t->epoll < 0) {
		int code = -errno;

		stream_tools_close(t);
		return err_set(e, code, "make an epoll set");
	}
	t->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (t->null >= 0 &&
	    (fstat(t->null, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)))
		drop_fd(&t->null);
	return 0;
}

void stream_tools_close(struct stream_tools *t)
{
	drop_fd(&t->epoll);
	drop_fd(&t->scratch[0]);
	drop_fd(&t->scratch[1]);
	drop_fd(&t->null);
}

/* Throws @n bytes of the scratch pipe away, or all of it if there are fewer */
static void scratch_skip(const struct stream_tools *t, size_t n)
{
	char junk[4096];

	while (n > 0) {
		ssize_t k;

		if (t->null >= 0)
			k = splice(t->scratch[0], NULL, t->null, NULL, n, SPLICE_F_NONBLOCK);
		else
			k = read(t->scratch[0], junk, MIN(n, sizeof(junk)));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return;
		n -= (size_t)k;
	}
}

/* Bytes in the pipe at this moment */
static size_t pipe_content(int fd)
{
	int n = 0;

	return fd < 0 || ioctl(fd, FIONREAD, &n) || n < 0 ? 0 : (size_t)n;
}

static short pipe_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* ---- life ------------------------------------------------------------------- */

static int watch(struct stream *s)
{
	struct epoll_event ev = { .events = EPOLLET, .data.u64 = s->tag };

	ev.events |= s->half == STREAM_SOURCE ? EPOLLIN : EPOLLOUT;
	return epoll_ctl(s->tools->epoll, EPOLL_CTL_ADD, s->own, &ev) ? -errno : 0;
}

/* Removed from the set by hand: it would stay there while others hold the description */
static void close_own(struct stream *s)
{
	if (s->own < 0)
		return;
	(void)epoll_ctl(s->tools->epoll, EPOLL_CTL_DEL, s->own, NULL);
	drop_fd(&s->own);
}

static void close_ends(struct stream *s)
{
	close_own(s);
	while (s->nfds > 0)
		close(s->fds[--s->nfds]);
}

/* Be told of each read of the program, and never block.  @fd's description is ours alone */
static int listen_to_reads(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETOWN, getpid()) ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK | O_ASYNC))
		return -errno;
	return 0;
}

static int open_through(int fd, int flags)
{
	char path[40];
	int got;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	got = open(path, flags | O_CLOEXEC);
	return got < 0 ? -errno : got;
}

/**
 * open_own() - Find a descriptor to work with, without a change to what others share
 *
 * Source: a duplicate will do.  Sink at the origin: opened anew, else a duplicate and
 * by_splice.  Sink at the target: the keeper's own description.
 */
static int open_own(struct stream *s, int fd)
{
	if (s->half == STREAM_SINK) {
		s->path = open_through(fd, O_PATH);
		if (s->path < 0)
			s->path = -1;
	}
	if (s->half == STREAM_SINK && s->dir == STREAM_OUT) {
		s->own = open_through(fd, O_WRONLY | O_NONBLOCK);
		s->by_splice = s->own < 0;
	}
	if (s->own < 0)
		s->own = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (s->own < 0)
		return -errno;
	return s->half == STREAM_SINK && s->dir == STREAM_IN ? listen_to_reads(s->own) : 0;
}

/**
 * stream_new() - One half of a stream, on a pipe end
 * @t:		Shared tools; outlive the stream
 * @fd:		The pipe end; the stream's when this succeeds
 * @offset:	Bytes taken before
 * @tag:	Comes back in epoll_event.data.u64
 *
 * Return: the stream, or NULL with @e set
 */
struct stream *stream_new(const struct stream_tools *t, uint32_t id, enum stream_dir dir,
			  enum stream_half half, int fd, uint64_t offset, uint64_t tag,
			  struct err *e)
{
	struct stream *s;
	struct stat st;
	int rc, mode = fcntl(fd, F_GETFL);

	if (mode < 0 || fstat(fd, &st)) {
		err_set(e, -errno, "stream %u: descriptor %d", id, fd);
		return NULL;
	}
	if (!S_ISFIFO(st.st_mode) || (mode & O_PATH) ||
	    (mode & O_ACCMODE) == (half == STREAM_SOURCE ? O_WRONLY : O_RDONLY)) {
		err_say(e, -EINVAL, "stream %u: descriptor %d isn't the %s end of a pipe", id, fd,
			half == STREAM_SOURCE ? "readable" : "writable");
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		err_set(e, -ENOMEM, "stream %u", id);
		return NULL;
	}
	*s = (struct stream){
		.tools = t, .id = id, .dir = dir, .half = half, .tag = tag, .own = -1, .path = -1
	};
	s->taken = s->sent = s->high = s->next = s->written = s->told = offset;
	s->look = true;
	rc = open_own(s, fd);
	if (!rc && half == STREAM_SINK) {
		s->ring = mmap(NULL, RING, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		rc = s->ring == MAP_FAILED ? -errno : 0;
	}
	if (!rc)
		rc = watch(s);
	if (rc) {
		err_set(e, rc, "stream %u on descriptor %d", id, fd);
		stream_free(s);
		return NULL;
	}
	s->fds[s->nfds++] = fd;
	return s;
}

int stream_also(struct stream *s, int fd)
{
	if (s->nfds == STREAM_MAX_FDS)
		return -ENOSPC;
	if (s->own < 0)
		close(fd);	/* this end is closed: so is its other name */
	else
		s->fds[s->nfds++] = fd;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	close_ends(s);
	drop_fd(&s->path);
	if (s->ring && s->ring != MAP_FAILED)
		munmap(s->ring, RING);
	free(s);
}

/* ---- common ----------------------------------------------------------------- */

uint32_t stream_id(const struct stream *s)
{
	return s->id;
}

enum stream_dir stream_direction(const struct stream *s)
{
	return s->dir;
}

enum stream_half stream_side(const struct stream *s)
{
	return s->half;
}

/**
 * stream_state() - How it stands, for whoever goes on with it
 *
 * An end that still has bytes before it counts as open: it will be told again once the next
 * sink has them.
 */
enum stream_state stream_state(const struct stream *s)
{
	if (s->state == STREAM_ENDED && s->taken != s->end)
		return STREAM_OPEN;
	return s->state;
}

void stream_hold(struct stream *s, bool hold)
{
	s->held = hold;
	s->look = true;
}

void stream_event(struct stream *s)
{
	s->look = true;
}

/**
 * stream_restore() - Make a fresh stream one that had ended, or lost its readers, elsewhere
 */
void stream_restore(struct stream *s, enum stream_state state)
{
	if (state == STREAM_OPEN)
		return;
	s->state = state;
	s->end = s->taken;
	s->has_end = state == STREAM_ENDED;
	if (state == STREAM_GONE || s->half == STREAM_SINK)
		close_ends(s);
}

/* ---- source ----------------------------------------------------------------- */

bool stream_ready(const struct stream *s)
{
	return s->half == STREAM_SOURCE && s->state != STREAM_GONE && s->look && !s->held;
}

/* No writer is left and everything was sent.  Once per end */
static void source_end(struct stream *s)
{
	if (s->state == STREAM_ENDED && s->end == s->sent)
		return;
	s->state = STREAM_ENDED;
	s->end = s->sent;
	s->end_due = true;
}

/**
 * stream_peek() - Read bytes that were not sent yet, and leave them in the pipe
 * @offset:	Of the first
 *
 * Nothing is remembered: what isn't reported by stream_sent() is found again by the next call.
 *
 * Return: bytes put into @buf, 0 for none now, or a negative errno
 */
ssize_t stream_peek(struct stream *s, void *buf, size_t size, uint64_t *offset)
{
	size_t skip = (size_t)(s->sent - s->taken), content, want, got = 0;
	const struct stream_tools *t = s->tools;
	bool hup;
	ssize_t n;

	if (!stream_ready(s))
		return 0;
	s->look = false;
	hup = pipe_poll(s->own) & POLLHUP;	/* before counting: no byte can come after it */
	content = pipe_content(s->own);
	if (content <= skip) {
		if (hup)
			source_end(s);
		return 0;
	}
	if (skip >= STREAM_WINDOW)
		return 0;			/* TAKEN makes it look again */
	want = MIN(size, MIN(content - skip, STREAM_WINDOW - skip));
	do
		n = tee(s->own, t->scratch[1], skip + want, SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	scratch_skip(t, MIN(skip, (size_t)n));
	if ((size_t)n <= skip)
		return 0; /* the scratch pipe is too small to see further before TAKEN */
	want = (size_t)n - skip;
	while (got < want) {
		n = read(t->scratch[0], (uint8_t *)buf + got, want - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	scratch_skip(t, want - got);
	s->look = true;
	*offset = s->sent;
	return (ssize_t)got;
}

void stream_sent(struct stream *s, size_t n)
{
	s->sent += n;
	s->high = MAX(s->high, s->sent);
	if (n) {
		s->state = STREAM_OPEN;
		s->end_due = false;
	}
}

bool stream_end_due(const struct stream *s, uint64_t *offset)
{
	*offset = s->end;
	return s->end_due && s->half == STREAM_SOURCE && s->state == STREAM_ENDED;
}

void stream_end_told(struct stream *s)
{
	s->end_due = false;
}

/* Consumes @n bytes of R for good.  Fewer are there only if somebody else reads R too */
static void source_consume(struct stream *s, uint64_t n)
{
	const struct stream_tools *t = s->tools;

	while (n > 0) {
		int to = t->null >= 0 ? t->null : t->scratch[1];
		ssize_t k = splice(s->own, NULL, to, NULL, (size_t)MIN(n, STREAM_WINDOW),
				   SPLICE_F_NONBLOCK);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return;
		if (t->null < 0)
			scratch_skip(t, (size_t)k);
		n -= (uint64_t)k;
	}
}

/* The other side can't know more bytes than this */
static uint64_t source_limit(const struct stream *s)
{
	return MAX(s->high, s->taken + pipe_content(s->own));
}

/**
 * stream_taken() - TAKEN came: these bytes need not be kept any more
 *
 * Return: 0, also for an old offset; -EBADMSG for one that was never sent
 */
int stream_taken(struct stream *s, uint64_t offset)
{
	if (s->half != STREAM_SOURCE)
		return -EBADMSG;
	if (s->state == STREAM_GONE || offset <= s->taken)
		return 0;
	if (offset > source_limit(s))
		return -EBADMSG;
	source_consume(s, offset - s->taken);
	s->taken = offset;
	s->sent = MAX(s->sent, offset);
	s->high = MAX(s->high, offset);
	s->look = true;
	return 0;
}

/**
 * stream_rewind() - SYNC came: go on with the byte that the sink waits for
 * @next:	That byte's offset
 * @taken:	What the sink has taken
 *
 * Return: 0, or -EBADMSG if that can't be
 */
int stream_rewind(struct stream *s, uint64_t next, uint64_t taken)
{
	if (s->half != STREAM_SOURCE || next < taken)
		return -EBADMSG;
	if (s->state == STREAM_GONE)
		return 0;
	if (next < s->taken || next > source_limit(s))
		return -EBADMSG;
	if (stream_taken(s, taken))
		return -EBADMSG;
	s->sent = next;
	s->high = MAX(s->high, next);
	if (s->state == STREAM_ENDED && next != s->end) {
		s->state = STREAM_OPEN;		/* END will be told again, after the bytes */
		s->end_due = false;
	}
	s->look = true;
	return 0;
}

/** stream_gone() - Nobody reads at the other side: nor do we, so that R's writers learn it */
void stream_gone(struct stream *s)
{
	if (s->half != STREAM_SOURCE)
		return;
	s->state = STREAM_GONE;
	s->end_due = false;
	close_ends(s);
}

/* ---- sink ------------------------------------------------------------------- */

static void close_gone(struct stream *s)
{
	close_ends(s);
	s->state = STREAM_GONE;
	s->gone_due = true;
	s->next = s->written;
	(void)madvise(s->ring, RING, MADV_DONTNEED);
}

/* By way of the scratch pipe, which is empty between calls: W's own flags don't matter then */
static ssize_t put_by_splice(struct stream *s, const void *p, size_t n)
{
	const struct stream_tools *t = s->tools;
	ssize_t in = write(t->scratch[1], p, n), out;
	int code;

	if (in <= 0)
		return in < 0 ? -errno : 0;
	out = splice(t->scratch[0], NULL, s->own, NULL, (size_t)in, SPLICE_F_NONBLOCK);
	code = errno;
	scratch_skip(t, (size_t)(in - (out > 0 ? out : 0)));
	return out < 0 ? -code : out;
}

/**
 * sink_put() - Write to W what it has room for, in one write(2)
 *
 * Return: bytes written; 0 when W is full (EPOLLOUT will come) or has just been found gone
 */
static size_t sink_put(struct stream *s, const void *p, size_t n)
{
	ssize_t k;

	do {
		if (s->by_splice) {
			k = put_by_splice(s, p, n);
		} else {
			k = write(s->own, p, n);
			k = k < 0 ? -errno : k;
		}
	} while (k == -EINTR);
	if (k >= 0)
		return (size_t)k;
	if (k != -EAGAIN)
		close_gone(s);		/* EPIPE; anything else can't be repaired either */
	return 0;
}

static void sink_flush(struct stream *s)
{
	while (s->own >= 0 && !s->held && s->written < s->next) {
		size_t at = (size_t)(s->written % RING);
		size_t run = (size_t)MIN(s->next - s->written, (uint64_t)(RING - at));
		size_t k = sink_put(s, s->ring + at, run);

		s->written += k;
		if (!k)
			return;
	}
	if (s->written == s->next && s->ring_peak > RING_KEEP) {
		(void)madvise(s->ring, RING, MADV_DONTNEED);
		s->ring_peak = 0;
	}
}

/* What of the written is taken by now: see the top of the file */
static void sink_look(struct stream *s)
{
	uint64_t unread = 0;

	if (s->own < 0)
		return;
	if (s->dir == STREAM_IN)
		unread = pipe_content(s->own);
	if (unread <= s->written - s->taken)
		s->taken = s->written - unread;
}

/* END was told and everything before it is through: close W, so that the readers see it */
static void finish_end(struct stream *s)
{
	if (s->state != STREAM_OPEN || !s->has_end || s->taken != s->end)
		return;
	close_ends(s);
	s->state = STREAM_ENDED;
}

/**
 * stream_work() - Write what can be written, see what was read, notice that the readers left
 *
 * Return: whether TAKEN or GONE is due
 */
bool stream_work(struct stream *s)
{
	uint64_t offset;

	if (s->half != STREAM_SINK)
		return false;
	if (s->look && s->state == STREAM_OPEN) {
		s->look = false;
		if (pipe_poll(s->own) & POLLERR)
			close_gone(s);
		sink_flush(s);
		sink_look(s);
		finish_end(s);
	}
	return s->gone_due || stream_taken_due(s, false, &offset);
}

/* A FIFO that had ended got a new writer */
static void sink_reopen(struct stream *s)
{
	s->own = s->path < 0 ? -1 : open_through(s->path, O_WRONLY | O_NONBLOCK);
	s->by_splice = false;
	s->state = STREAM_OPEN;
	if (s->own < 0 || (s->dir == STREAM_IN && listen_to_reads(s->own)) || watch(s)) {
		drop_fd(&s->own);
		close_gone(s);		/* nobody is there any more, or can be reached */
	}
}

/* Copies to the ring what W had no room for.  The caller has checked that it fits */
static void ring_put(struct stream *s, const uint8_t *p, size_t n)
{
	size_t at = (size_t)(s->next % RING), first = MIN(n, RING - at);

	memcpy(s->ring + at, p, first);
	memcpy(s->ring, p + first, n - first);
	s->next += n;
	s->ring_peak = MAX(s->ring_peak, (size_t)(s->next - s->written));
}

/**
 * stream_bytes() - BYTES came
 *
 * Return: 0, also when they were had before; -EILSEQ if bytes between are missing (a SYNC will
 * bring them again); -EBADMSG if more came than the window allows, or to the wrong half
 */
int stream_bytes(struct stream *s, uint64_t offset, const void *p, size_t n)
{
	uint64_t have;
	size_t k = 0;

	if (s->half != STREAM_SINK || offset + n < offset)
		return -EBADMSG;
	if (s->state == STREAM_GONE)
		return 0;
	if (offset > s->next)
		return -EILSEQ;
	have = s->next - offset;
	if (have && n)
		s->again = true;
	if (have >= n)
		return 0;
	p = (const uint8_t *)p + have;
	n -= (size_t)have;
	if (n > RING - (s->next - s->written))
		return -EBADMSG;
	if (s->has_end && s->next + n > s->end)
		s->has_end = false;
	if (s->state == STREAM_ENDED)
		sink_reopen(s);
	if (s->state == STREAM_OPEN && s->written == s->next && !s->held) {
		k = sink_put(s, p, n);
		s->written += k;
		s->next += k;
	}
	if (s->state == STREAM_OPEN)
		ring_put(s, (const uint8_t *)p + k, n - k);
	s->look = true;
	return 0;
}

/**
 * stream_end() - END came; it may come again, and before the bytes that precede it
 */
int stream_end(struct stream *s, uint64_t offset)
{
	if (s->half != STREAM_SINK)
		return -EBADMSG;
	if (s->state != STREAM_OPEN || offset < s->next)
		return 0;
	if (offset - s->next > STREAM_WINDOW)
		return -EBADMSG;
	s->end = offset;
	s->has_end = true;
	s->look = true;
	return 0;
}

uint64_t stream_next(const struct stream *s)
{
	return s->next;
}

/**
 * stream_taken_due() - Is it time for a TAKEN
 * @exact:	Each byte counts (the stream is held, or a SYNC goes out); otherwise what the
 *		program reads is told in steps of a page, and when nothing is left to read
 */
bool stream_taken_due(struct stream *s, bool exact, uint64_t *offset)
{
	*offset = s->taken;
	if (s->half != STREAM_SINK || s->state == STREAM_GONE)
		return false;
	if (s->again)
		return true;
	if (exact || s->held || s->dir == STREAM_OUT || s->taken == s->written)
		return s->taken > s->told;
	return s->taken - s->told >= TAKEN_STEP;
}

void stream_taken_told(struct stream *s, uint64_t offset)
{
	s->told = offset;
	s->again = false;
}

bool stream_gone_due(const struct stream *s)
{
	return s->gone_due;
}

void stream_gone_told(struct stream *s)
{
	s->gone_due = false;
}

/* ---- either ----------------------------------------------------------------- */

/** stream_offset() - The offset before which everything is taken, as of this moment */
uint64_t stream_offset(struct stream *s)
{
	if (s->half == STREAM_SINK && s->state == STREAM_OPEN)
		sink_look(s);
	return s->taken;
}

bool stream_drained(struct stream *s)
{
	if (s->state == STREAM_GONE)
		return true;
	if (s->half == STREAM_SINK)
		return s->written == s->next;
	return s->sent == s->taken && !pipe_content(s->own);
}

bool stream_flushed(struct stream *s)
{
	return stream_drained(s) || (s->half == STREAM_SINK && s->own >= 0 && !(pipe_poll(s->own) & POLLOUT));
}

/* SPDX-License-Identifier: MIT */
/*
 * pump.c - The streams and messages between a deputy and its keeper, over sockets that come and go
 *
 * Reliability is end to end.  What must not be lost lives in the kernel's pipes (stream.c) and in
 * the channel (channel.c) of the end that tells it; all between the two pumps may die.  The state
 * of a connection is just:
 *
 *	DETACHED --pump_attach--> ASKING --SYNC came--> SYNCED
 *	    ^--------- the socket ended: end_connection -----|
 *
 *	ASKING	we sent SYNC "ask": what we have received, and where each stream stands.  BYTES and
 *		numbered messages wait, for we don't know yet what the other side has
 *	SYNCED	its SYNC came: sources and channel were rewound to what it has, and go on
 *
 * An "ask" is always answered by a SYNC "answer", at any time, and rewinds the one who gets it: so
 * it is enough that *one* of the two noticed the loss.  A gap in what comes makes us ask too, once.
 * A rewind may be too far, if that SYNC was under way for long: the repeated bytes and messages are
 * recognised, and only cost time.
 *
 * SYNC's field streams, little endian: u32 kind; then for each stream
 *	u32 id; u32 half | SYNC_GONE; u64 next; u64 taken	(a source's two are the same)
 *
 * What is sent is not queued but *due*, found again in the state of streams and channel whenever
 * the socket has room; only LOCAL messages have a queue.  Order: SYNC, LOCAL, TAKEN, numbered,
 * ACK, BYTES.  TAKEN before numbered ones: when EXITED comes, the origin's pipes hold exactly
 * what the program left unread.  BYTES only after all that is numbered: so END comes before the
 * bytes of the FIFO's next writer.
 */
#include "proxy/twin/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/twin/channel.h"

#define MOST_LOCALS 64		/* messages for the session that wait for room in its socket */
#define RECEIVE_BUDGET 64	/* datagrams a pump_run() */
#define BYTES_BUDGET 4		/* BYTES messages a stream and pump_run() */

#define SYNC_ANSWER 0u		/* kinds; others are taken as an ask */
#define SYNC_ASK 1u
#define SYNC_HALF 1u		/* enum stream_half, in an entry's second word */
#define SYNC_GONE 2u
#define SYNC_ENTRY 24u

enum tag { TAG_SOCK, TAG_KICK, TAG_STREAM };	/* TAG_STREAM + index */

struct local {
	struct local *next;
	size_t len;
	uint8_t bytes[];
};

/* What pump_state_set() said of a stream that pump_add() will bring */
struct memory {
	uint32_t id;
	uint32_t dir;
	enum stream_state state;
};

/**
 * struct pump - One end
 * @kick:	eventfd that makes pump_fd() readable when we left work for the next pump_run()
 * @sock:	The session's socket, -1 when DETACHED
 * @readable:	@sock may have datagrams (it is watched edge-triggered)
 * @full:	@sock had no room; EPOLLOUT will come
 * @asking:	A SYNC is expected
 */
struct pump {
	const struct pump_ops *ops;
	void *ctx;
	struct stream_tools tools;
	struct channel *channel;
	struct stream *streams[PUMP_MOST_STREAMS];
	bool closed[PUMP_MOST_STREAMS];		/* and the owner knows */
	unsigned count;
	struct memory *memory;
	unsigned memories;
	int kick, sock;
	bool kicked, readable, full, synced, asking, ask_due, answer_due, held;
	struct local *locals, **locals_end;
	unsigned nlocals;
	uint8_t in[WIRE_LOCAL_MAX], payload[WIRE_LOCAL_MAX], out[WIRE_LOCAL_MAX], data[WIRE_CHUNK];
};

/* ---- life ------------------------------------------------------------------- */

static int watch(struct pump *p, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	return epoll_ctl(p->tools.epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int open_all(struct pump *p, struct err *e)
{
	int rc = stream_tools_open(&p->tools, e);

	if (rc)
		return rc;
	p->channel = channel_new(e);
	if (!p->channel)
		return -ENOMEM;
	p->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->kick < 0)
		return err_set(e, -errno, "make an eventfd");
	rc = watch(p, p->kick, EPOLLIN, TAG_KICK);
	return rc ? err_set(e, rc, "watch an eventfd") : 0;
}

struct pump *pump_new(const struct pump_ops *ops, void *ctx, struct err *e)
{
	struct pump *p = calloc(1, sizeof(*p));

	if (!p) {
		err_set(e, -ENOMEM, "make a pump");
		return NULL;
	}
	p->ops = ops;
	p->ctx = ctx;
	p->kick = p->sock = -1;
	p->locals_end = &p->locals;
	p->tools = (struct stream_tools){ .epoll = -1, .scratch = { -1, -1 }, .null = -1 };
	if (open_all(p, e)) {
		pump_free(p);
		return NULL;
	}
	return p;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	pump_detach(p);
	for (unsigned i = 0; i < p->count; i++)
		stream_free(p->streams[i]);
	drop_fd(&p->kick);
	stream_tools_close(&p->tools);
	channel_free(p->channel);
	free(p->memory);
	free(p);
}

int pump_fd(const struct pump *p)
{
	return p->tools.epoll;
}

/* Makes the owner call pump_run() (again) */
static void kick(struct pump *p)
{
	uint64_t one = 1;

	if (!p->kicked && write(p->kick, &one, sizeof(one)) == (ssize_t)sizeof(one))
		p->kicked = true;
}

static void refuse(struct pump *p, unsigned type, int code)
{
	if (p->ops->refused)
		p->ops->refused(p->ctx, type, code);
}

static struct stream *find(struct pump *p, uint32_t id)
{
	for (unsigned i = 0; i < p->count; i++)
		if (stream_id(p->streams[i]) == id)
			return p->streams[i];
	return NULL;
}

/**
 * pump_add() - One more stream; see pump.h for what becomes of @fd
 *
 * Return: 0, -EEXIST, -ENOSPC, -EINVAL if @fd isn't that end of a pipe, other negative errno
 */
int pump_add(struct pump *p, uint32_t id, enum stream_dir dir, enum stream_half half, int fd,
	     uint64_t offset, struct err *e)
{
	struct stream *s;
	struct err why = { 0 };

	if (p->count == PUMP_MOST_STREAMS)
		return err_say(e, -ENOSPC, "more than %d streams", PUMP_MOST_STREAMS);
	if (find(p, id))
		return err_say(e, -EEXIST, "stream %u is there already", id);
	s = stream_new(&p->tools, id, dir, half, fd, offset, TAG_STREAM + p->count, &why);
	if (!s)
		return err_say(e, why.code, "%s", why.text);
	for (unsigned i = 0; i < p->memories; i++)
		if (p->memory[i].id == id && p->memory[i].dir == (uint32_t)dir)
			stream_restore(s, p->memory[i].state);
	if (p->held)
		stream_hold(s, true);
	p->streams[p->count++] = s;
	kick(p);
	return 0;
}

int pump_also(struct pump *p, uint32_t id, int fd)
{
	struct stream *s = find(p, id);

	return s ? stream_also(s, fd) : -ENOENT;
}

/* ---- sending ---------------------------------------------------------------- */

/**
 * put_datagram() - Send, if there is room
 *
 * A socket that fails in another way is shut down: what it holds can be received, then it ends.
 *
 * Return: 0, or a negative errno: nothing was sent
 */
static int put_datagram(struct pump *p, const void *datagram, size_t len)
{
	int rc;

	if (p->sock < 0)
		return -ENOTCONN;
	if (p->full)
		return -EAGAIN;
	rc = sock_send(p->sock, datagram, len, NULL, 0, 0);
	if (!rc)
		return 0;
	p->full = true;
	if (rc != -EAGAIN) {
		(void)shutdown(p->sock, SHUT_RDWR);
		p->readable = true;
		kick(p);
	}
	return rc;
}

static int put(struct pump *p, unsigned type, uint64_t number, const void *payload, ssize_t len)
{
	ssize_t n = len < 0 ? len
			    : wire_pack(p->out, sizeof(p->out), type, number, payload, (size_t)len);

	return n < 0 ? (int)n : put_datagram(p, p->out, (size_t)n);
}

/* Both kinds tell the same; the sinks' TAKEN is in it */
static void put_sync(struct pump *p)
{
	struct bytes b = bytes_of(p->data, sizeof(p->data));
	struct wire_sync m = { .received = channel_received(p->channel),
			       .streams = { p->data, 0 } };

	bytes_put_le(&b, p->ask_due ? SYNC_ASK : SYNC_ANSWER, 4);
	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];
		uint64_t taken = stream_offset(s);
		bool gone = stream_state(s) == STREAM_GONE;

		bytes_put_le(&b, stream_id(s), 4);
		bytes_put_le(&b, stream_side(s) | (gone ? SYNC_GONE : 0), 4);
		bytes_put_le(&b, stream_side(s) == STREAM_SINK ? stream_next(s) : taken, 8);
		bytes_put_le(&b, taken, 8);
	}
	m.streams.len = (uint32_t)(b.at - p->data);
	if (put(p, WIRE_SYNC, 0, p->payload, wire_put_sync(p->payload, sizeof(p->payload), &m)))
		return;
	p->ask_due = p->answer_due = false;
	channel_ack_told(p->channel);
	for (unsigned i = 0; i < p->count; i++) {
		uint64_t told;

		(void)stream_taken_due(p->streams[i], true,
				       &told); /* without a new look at the pipe */
		stream_taken_told(p->streams[i], told);
	}
}

static void put_locals(struct pump *p)
{
	while (p->locals) {
		struct local *l = p->locals;

		if (put_datagram(p, l->bytes, l->len))
			return;
		p->locals = l->next;
		p->nlocals--;
		free(l);
	}
	p->locals_end = &p->locals;
}

static void put_taken(struct pump *p)
{
	struct channel_msg m;
	bool exact = channel_next(p->channel, &m);

	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];
		struct wire_taken t = { .stream = stream_id(s) };

		if (exact)
			(void)stream_offset(s);
		if (!stream_taken_due(s, exact, &t.offset))
			continue;
		if (put(p, WIRE_TAKEN, 0, p->payload,
			wire_put_taken(p->payload, sizeof(p->payload), &t)))
			return;
		stream_taken_told(s, t.offset);
	}
}

static void put_numbered(struct pump *p)
{
	struct channel_msg m;

	while (channel_next(p->channel, &m)) {
		if (put(p, m.type, m.number, m.p, m.len))
			return;
		channel_sent(p->channel);
	}
}

static void put_ack(struct pump *p)
{
	struct wire_ack m;

	if (!channel_ack_due(p->channel, &m.received))
		return;
	if (!put(p, WIRE_ACK, 0, p->payload, wire_put_ack(p->payload, sizeof(p->payload), &m)))
		channel_ack_told(p->channel);
}

/* Everything but BYTES */
static void put_small(struct pump *p)
{
	if (p->sock < 0)
		return;
	if (p->ask_due || p->answer_due)
		put_sync(p);
	put_locals(p);
	if (!p->synced)
		return;
	put_taken(p);
	put_numbered(p);
	put_ack(p);
}

/* END and GONE become numbered messages as soon as the channel has room */
static void tell_ends(struct pump *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];
		struct wire_end end = { .stream = stream_id(s) };
		struct wire_gone gone = { .stream = stream_id(s) };
		ssize_t n;

		if (stream_end_due(s, &end.offset)) {
			n = wire_put_end(p->payload, sizeof(p->payload), &end);
			if (n > 0 && !channel_tell(p->channel, WIRE_END, p->payload, (size_t)n))
				stream_end_told(s);
		}
		if (stream_gone_due(s)) {
			n = wire_put_gone(p->payload, sizeof(p->payload), &gone);
			if (n > 0 && !channel_tell(p->channel, WIRE_GONE, p->payload, (size_t)n))
				stream_gone_told(s);
		}
	}
}

/**
 * put_bytes() - Send what one source has, at most BYTES_BUDGET messages
 *
 * Return: whether it may have more and there is room
 */
static bool put_bytes(struct pump *p, struct stream *s)
{
	for (int i = 0; i < BYTES_BUDGET && stream_ready(s); i++) {
		struct wire_bytes m = { .stream = stream_id(s) };
		ssize_t n = stream_peek(s, p->data, sizeof(p->data), &m.offset);

		if (n <= 0)
			return false;
		m.data = (wire_blob){ p->data, (uint32_t)n };
		if (put(p, WIRE_BYTES, 0, p->payload,
			wire_put_bytes(p->payload, sizeof(p->payload), &m)))
			return false;
		stream_sent(s, (size_t)n);
	}
	return stream_ready(s);
}

/* Return: whether there is more to send, and room for it */
static bool put_all(struct pump *p)
{
	bool more = false;

	tell_ends(p);
	put_small(p);
	/*
	 * With room left all that is numbered has gone.  Without, a source isn't asked: it would
	 * only look at its pipe in vain
	 */
	for (unsigned i = 0; i < p->count && p->synced && !p->full; i++)
		more |= put_bytes(p, p->streams[i]);
	tell_ends(p);		/* of the sources that were found at their end just now */
	put_small(p);
	return more && p->synced && !p->full;
}

/* ---- connections ------------------------------------------------------------- */

static void end_connection(struct pump *p)
{
	if (p->sock < 0)
		return;
	(void)epoll_ctl(p->tools.epoll, EPOLL_CTL_DEL, p->sock, NULL);
	drop_fd(&p->sock);
	p->readable = p->full = p->synced = p->asking = p->ask_due = p->answer_due = false;
	while (p->locals) {
		struct local *l = p->locals;

		p->locals = l->next;
		free(l);
	}
	p->locals_end = &p->locals;
	p->nlocals = 0;
}

/**
 * pump_attach() - The socket of a session: it replaces the one before
 *
 * Return: 0, and @sock is the pump's; or a negative errno, and the one before stays
 */
int pump_attach(struct pump *p, int sock, struct err *e)
{
	int rc = watch(p, sock, EPOLLIN | EPOLLOUT | EPOLLET, TAG_SOCK);

	if (rc)
		return err_set(e, rc, "watch the session's socket");
	end_connection(p);
	p->sock = sock;
	p->readable = p->asking = p->ask_due = true;
	put_small(p);
	kick(p);
	return 0;
}

void pump_detach(struct pump *p)
{
	end_connection(p);
}

bool pump_attached(const struct pump *p)
{
	return p->sock >= 0;
}

/* Something is missing, though nobody told us of a new connection: ask, unless we did */
static void ask(struct pump *p)
{
	if (!p->asking)
		p->asking = p->ask_due = true;
}

/* ---- receiving --------------------------------------------------------------- */

/* One stream of a SYNC.  Return: 0 or -EBADMSG */
static int receive_sync_entry(struct pump *p, struct bytes *b)
{
	uint32_t id = (uint32_t)bytes_get_le(b, 4), word = (uint32_t)bytes_get_le(b, 4);
	uint64_t next = bytes_get_le(b, 8), taken = bytes_get_le(b, 8);
	struct stream *s = find(p, id);

	if (!s || (uint32_t)stream_side(s) == (word & SYNC_HALF))
		return -EBADMSG;
	if (stream_side(s) == STREAM_SINK)
		return taken > stream_next(s) ? -EBADMSG : 0;
	if (word & SYNC_GONE) {
		stream_gone(s);
		return 0;
	}
	return stream_rewind(s, next, taken);
}

static int receive_sync(struct pump *p, const void *payload, size_t len)
{
	struct wire_sync m;
	struct bytes b;
	uint32_t kind;
	int rc = wire_get_sync(payload, len, &m), bad = 0;

	if (rc)
		return rc;
	b = bytes_of(m.streams.p, m.streams.len);
	kind = (uint32_t)bytes_get_le(&b, 4);
	if (b.bad || bytes_left(&b) % SYNC_ENTRY)
		return -EBADMSG;
	rc = channel_rewind(p->channel, m.received);
	if (rc)
		return rc;
	while (bytes_left(&b))
		bad = receive_sync_entry(p, &b) ? -EBADMSG : bad;
	p->synced = true;
	p->asking = p->ask_due;		/* an ask that didn't leave yet will be answered */
	p->answer_due |= kind != SYNC_ANSWER;
	return bad;
}

static int receive_ack(struct pump *p, const void *payload, size_t len)
{
	struct wire_ack m;
	int rc = wire_get_ack(payload, len, &m);

	return rc ? rc : channel_acked(p->channel, m.received);
}

static int receive_bytes(struct pump *p, const void *payload, size_t len)
{
	struct wire_bytes m;
	struct stream *s;
	int rc = wire_get_bytes(payload, len, &m);

	if (rc)
		return rc;
	s = find(p, m.stream);
	if (!s)
		return -EBADMSG;
	rc = stream_bytes(s, m.offset, m.data.p, m.data.len);
	if (rc != -EILSEQ)
		return rc;
	ask(p);
	return 0;
}

static int receive_taken(struct pump *p, const void *payload, size_t len)
{
	struct wire_taken m;
	struct stream *s;
	int rc = wire_get_taken(payload, len, &m);

	if (rc)
		return rc;
	s = find(p, m.stream);
	return s ? stream_taken(s, m.offset) : -EBADMSG;
}

static int receive_end(struct pump *p, const void *payload, size_t len)
{
	struct wire_end m;
	struct stream *s;
	int rc = wire_get_end(payload, len, &m);

	if (rc)
		return rc;
	s = find(p, m.stream);
	return s ? stream_end(s, m.offset) : -EBADMSG;
}

static int receive_gone(struct pump *p, const void *payload, size_t len)
{
	struct wire_gone m;
	struct stream *s;
	int rc = wire_get_gone(payload, len, &m);

	if (rc)
		return rc;
	s = find(p, m.stream);
	if (!s || stream_side(s) != STREAM_SOURCE)
		return -EBADMSG;
	stream_gone(s);
	return 0;
}

/* What we handle ourselves; everything else of the routes ENDS and LOCAL is the owner's */
static const struct handler {
	unsigned type;
	int (*receive)(struct pump *p, const void *payload, size_t len);
} handlers[] = {
	{ WIRE_SYNC, receive_sync },   { WIRE_ACK, receive_ack }, { WIRE_BYTES, receive_bytes },
	{ WIRE_TAKEN, receive_taken }, { WIRE_END, receive_end }, { WIRE_GONE, receive_gone },
};

static int dispatch(struct pump *p, unsigned type, const void *payload, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			return handlers[i].receive(p, payload, len);
	if (wire_route(type) == WIRE_ROUTE_DATA || wire_any(type, payload, len))
		return -EBADMSG;
	p->ops->message(p->ctx, type, payload, len);
	return 0;
}

/**
 * receive_datagram() - p->in holds @len bytes from the session, which may be anything
 *
 * A numbered message that makes no sense has been received all the same: asking for it
 * again would not make it better.
 */
static void receive_datagram(struct pump *p, size_t len)
{
	struct wire_head h = { 0 };
	const void *payload;
	int rc = wire_unpack(p->in, len, &h, &payload), route;

	route = rc ? rc : wire_route(h.type);
	if (route == WIRE_ROUTE_ENDS) {
		rc = channel_take(p->channel, h.number);
		if (rc == -EILSEQ)
			ask(p);
		if (rc <= 0)
			return;
	} else if (route < 0 || route == WIRE_ROUTE_LINK) {
		refuse(p, h.type, -EBADMSG);
		return;
	}
	rc = dispatch(p, h.type, payload, h.length);
	if (rc)
		refuse(p, h.type, rc);
}

/**
 * receive_some() - Take what the session has for us, within the budget
 *
 * Return: whether there may be more
 */
static bool receive_some(struct pump *p)
{
	for (int i = 0; i < RECEIVE_BUDGET && p->sock >= 0 && p->readable; i++) {
		ssize_t n = sock_recv(p->sock, p->in, sizeof(p->in), NULL, NULL, 0);

		if (n > 0) {
			receive_datagram(p, (size_t)n);
		} else if (n == -EAGAIN) {
			p->readable = false;
		} else if (n == -EMSGSIZE) {
			refuse(p, 0, (int)n);
		} else if (n != -ECONNRESET) {	/* that is told once, and before what was queued */
			end_connection(p);
			p->ops->detached(p->ctx);
		}
	}
	return p->sock >= 0 && p->readable;
}

/* ---- running ----------------------------------------------------------------- */

static void note_event(struct pump *p, const struct epoll_event *ev)
{
	uint64_t tag = ev->data.u64, n;

	if (tag == TAG_SOCK) {
		p->readable |= !!(ev->events & ~(uint32_t)EPOLLOUT);
		if (ev->events & EPOLLOUT)
			p->full = false;
	} else if (tag == TAG_KICK) {
		if (read(p->kick, &n, sizeof(n)) > 0)
			p->kicked = false;
	} else if (tag - TAG_STREAM < p->count) {
		stream_event(p->streams[tag - TAG_STREAM]);
	}
}

/* The program's end is closed: a source that is gone, a sink that ended.  (Readers that left don't close it) */
static void tell_closed(struct pump *p)
{
	for (unsigned i = 0; i < p->count && p->ops->closed; i++) {
		struct stream *s = p->streams[i];

		if (p->closed[i] ||
		    stream_state(s) != (stream_side(s) == STREAM_SOURCE ? STREAM_GONE : STREAM_ENDED))
			continue;
		p->closed[i] = true;
		p->ops->closed(p->ctx, stream_id(s));
	}
}

int pump_run(struct pump *p)
{
	struct epoll_event ev[64];
	int n = epoll_wait(p->tools.epoll, ev, ARRAY_SIZE(ev), 0);
	bool more;

	if (n < 0 && errno != EINTR)
		return -errno;
	for (int i = 0; i < n; i++)
		note_event(p, &ev[i]);
	more = n == ARRAY_SIZE(ev);
	more |= receive_some(p);
	for (unsigned i = 0; i < p->count; i++)
		(void)stream_work(p->streams[i]);
	more |= put_all(p);
	tell_closed(p);
	if (more)
		kick(p);
	return more;
}

void pump_sigio(struct pump *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		stream_event(p->streams[i]);
		(void)stream_work(p->streams[i]);
	}
	tell_ends(p);
	put_small(p);
}

int pump_tell(struct pump *p, unsigned type, const void *payload, size_t len)
{
	int rc;

	if (wire_route(type) != WIRE_ROUTE_ENDS)
		return -EINVAL;
	rc = channel_tell(p->channel, type, payload, len);
	if (!rc)
		put_small(p);
	return rc;
}

size_t pump_room(const struct pump *p)
{
	return channel_room(p->channel);
}

bool pump_told(const struct pump *p)
{
	return channel_empty(p->channel);
}

/**
 * pump_send_local() - To the session at the other end of the present socket
 *
 * Return: 0, -ENOTCONN, -ENOBUFS if too many wait, -EMSGSIZE, -ENOMEM
 */
int pump_send_local(struct pump *p, unsigned type, const void *payload, size_t len)
{
	struct local *l;
	ssize_t n;

	if (p->sock < 0)
		return -ENOTCONN;
	if (p->nlocals == MOST_LOCALS)
		return -ENOBUFS;
	l = malloc(sizeof(*l) + WIRE_HEAD + len);
	if (!l)
		return -ENOMEM;
	n = len > WIRE_LOCAL_MAX - WIRE_HEAD
		    ? -EMSGSIZE
		    : wire_pack(l->bytes, WIRE_HEAD + len, type, 0, payload, len);
	if (n < 0) {
		free(l);
		return (int)n;
	}
	l->len = (size_t)n;
	l->next = NULL;
	*p->locals_end = l;
	p->locals_end = &l->next;
	p->nlocals++;
	put_small(p);
	return 0;
}

void pump_hold(struct pump *p, bool hold)
{
	p->held = hold;
	for (unsigned i = 0; i < p->count; i++)
		stream_hold(p->streams[i], hold);
	kick(p);
}

static bool all_drained(struct pump *p, bool sinks_only)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];

		if (sinks_only && stream_side(s) == STREAM_SOURCE)
			continue;
		if (!stream_drained(s))
			return false;
	}
	return true;
}

bool pump_drained(struct pump *p)
{
	return all_drained(p, false);
}

bool pump_written(struct pump *p)
{
	return all_drained(p, true);
}

bool pump_flushed(struct pump *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (stream_side(p->streams[i]) == STREAM_SINK && !stream_flushed(p->streams[i]))
			return false;
	return true;
}

/* ---- moving on ---------------------------------------------------------------- */

ssize_t pump_state_get(struct pump *p, void *buf, size_t size)
{
	struct bytes b = bytes_of(buf, size);

	for (unsigned i = 0; i < p->count; i++)
		(void)stream_work(p->streams[i]);
	tell_ends(p);
	channel_put_numbers(p->channel, &b);
	bytes_put_le(&b, p->count, 4);
	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];
		uint64_t offset = stream_offset(s);

		bytes_put_le(&b, stream_id(s), 4);
		bytes_put_le(&b, stream_direction(s), 4);
		bytes_put_le(&b, offset, 8);
		bytes_put_le(&b, stream_state(s), 4);
	}
	channel_put_kept(p->channel, &b);
	return b.bad ? -EMSGSIZE : b.at - (uint8_t *)buf;
}

/**
 * pump_state_set() - Make a fresh pump go on where another one at this side stood
 *
 * Return: 0; -EINVAL if it isn't fresh; -EBADMSG; -ENOMEM
 */
int pump_state_set(struct pump *p, const void *buf, size_t len)
{
	struct bytes b = bytes_of(buf, len);
	uint64_t received = bytes_get_le(&b, 8), next_number = bytes_get_le(&b, 8);
	uint32_t count = (uint32_t)bytes_get_le(&b, 4);
	AUTO_FREE struct memory *memory = NULL;
	int rc;

	if (p->count || p->memory || p->sock >= 0)
		return -EINVAL;
	if (b.bad || count > PUMP_MOST_STREAMS)
		return -EBADMSG;
	memory = calloc(count + 1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		memory[i].id = (uint32_t)bytes_get_le(&b, 4);
		memory[i].dir = (uint32_t)bytes_get_le(&b, 4);
		(void)bytes_get_le(&b, 8);
		memory[i].state = (enum stream_state)bytes_get_le(&b, 4);
		if (b.bad || memory[i].dir > STREAM_OUT || memory[i].state > STREAM_GONE)
			return -EBADMSG;
	}
	rc = channel_restore(p->channel, received, next_number, &b);
	if (rc)
		return rc;
	p->memory = take_ptr(memory);
	p->memories = count;
	return 0;
}

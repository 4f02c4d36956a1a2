/* SPDX-License-Identifier: MIT */
/*
 * hub.c - One for each program that moved: between the keeper and the program's deputies
 *
 * The session starts it before anything is frozen, as the program's user, and hands it the origin's
 * pipe ends of the program and a socket to each process that is about to become a deputy.  From
 * COMMIT on it is what stays the same while sessions, links and even deputies come and go: it pumps
 * bytes (pump.c), passes numbered messages between the keeper and the deputies, and hears of new
 * deputies from those that fork.
 *
 *	ALONE --a deputy says DEPUTY_UP--> SERVING --no deputy is left, all is told and written--> ended
 *	  \--the session is gone and the program never became a deputy, or HUB_QUIT--> ended
 *
 * Sessions connect to the listening socket.  A connection first brings what it has (HUB_STREAMS,
 * HUB_JOIN; each is answered by HUB_OK), or says HUB_HELLO and is the session's from then on.
 *
 * A deputy that ends without having been told to was killed: then its process is, too.  While the
 * program comes home (held) a deputy that leaves has exec'ed the program, or comes back.
 *
 * Start: MDEPUTY_HUB="LISTEN,LEADER"; LEADER is not a descriptor but the pid of the program.  And,
 * so that the socket's name goes with us, MDEPUTY_DIR, its directory's descriptor, and MDEPUTY_SOCKET.
 * MDEPUTY_AS: the number that the program knows as LEADER's, for one that came from a file.
 * MDEPUTY_ROOTS: the directories that the file server (files.c), its child, may show.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/call.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/deputy/deputy.h"
#include "proxy/twin/pump.h"

#define TURN 64			/* messages of one deputy before the others are looked at */
#define SETTLE_MS 1000		/* how often a hub without a session looks whether COMMIT happened */
#define SETTLE_TRIES 5

/* A message that waits: for room in a deputy's socket, or for the bytes that came before it */
struct waiting {
	struct waiting *next;
	uint32_t pid;
	size_t len;
	uint8_t bytes[];
};

struct answer {
	uint64_t id;		/* of the call */
	int64_t value;
};

struct queue {
	struct waiting *first, **end;
};

struct one {			/* a deputy */
	pid_t pid;
	int sock;
	bool born;		/* forked by another deputy: nobody at home waits for it */
	bool told_to_end;
	bool left;		/* while we were held */
	bool killed;		/* its process is being killed: EXITED will come */
	bool asked;		/* what it holds: DEPUTY_HAS will come */
	uint8_t *has;		/* its answer */
	size_t has_len;
	uint64_t *calls;	/* ids of those that it hasn't answered */
	size_t n_calls;
	struct queue out;
};

struct hub {
	struct pump *pump;
	int listener, greeting;
	pid_t leader;
	pid_t as;			/* what the program knows as its leader's number, 0: the same */
	bool up, held, quit, deaf, lost;
	bool holding;			/* HELD is due */
	bool finished;			/* the keeper has ended: it needn't be told anything */
	int dir;			/* where our socket has its name, -1: unknown */
	int alone;			/* looks without a session and without a deputy */
	struct one *list;
	size_t n;
	struct one files;		/* the file server; its pid is FILE_PID */
	uint32_t files_pid;		/* as the kernel calls it */
	struct pollfd *polled;		/* four of ours, then the deputies' */
	pid_t *polled_pids;
	size_t polled_size;
	struct queue unanswered;	/* struct answer: of calls whose deputies are gone, and of our own */
	struct segments segments;
	struct queue after;		/* EXITED and STOPPED, until what came before is written */
	uint8_t in[WIRE_LOCAL_MAX], out[WIRE_LOCAL_MAX], state[WIRE_CHUNK];
};

/* ---- queues ------------------------------------------------------------------------------------ */

static void queue_put(struct queue *q, pid_t pid, const void *p, size_t len)
{
	struct waiting *w = malloc(sizeof(*w) + len);

	if (!w)
		return;
	w->next = NULL;
	w->pid = (uint32_t)pid;
	w->len = len;
	memcpy(w->bytes, p, len);
	if (!q->first)
		q->end = &q->first;
	*q->end = w;
	q->end = &w->next;
}

static bool waits(const struct queue *q, uint32_t pid)
{
	for (const struct waiting *w = q->first; w; w = w->next)
		if (w->pid == pid)
			return true;
	return false;
}

static void queue_pop(struct queue *q)
{
	struct waiting *w = q->first;

	q->first = w->next;
	free(w);
}

/* ---- deputies ------------------------------------------------------------------------------------ */

static struct one *find(struct hub *h, pid_t pid)
{
	if (!pid || pid == h->as)
		pid = h->leader;
	for (size_t i = 0; i < h->n; i++)
		if (h->list[i].pid == pid)
			return &h->list[i];
	return NULL;
}

static int add(struct hub *h, pid_t pid, int sock)
{
	struct one *o = find(h, pid), *more;

	if (o) {		/* it is back, from a way home that failed */
		drop_fd(&o->sock);
		o->sock = sock;
		o->left = o->killed = false;
		return 0;
	}
	more = realloc(h->list, (h->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	h->list = more;
	more[h->n++] = (struct one){ .pid = pid, .sock = sock };
	return 0;
}

/* To one of them; waits in its queue when its socket is full: it may be stopped */
static void to_deputy(struct one *o, const void *p, size_t len)
{
	if (o->sock < 0)
		return;
	if (!o->out.first) {
		int rc = sock_send(o->sock, p, len, NULL, 0, 0);

		if (rc != -EAGAIN)
			return;		/* gone: its end of the socket says so too */
	}
	queue_put(&o->out, o->pid, p, len);
}

static void flush_deputy(struct one *o)
{
	while (o->out.first && sock_send(o->sock, o->out.first->bytes, o->out.first->len, NULL, 0, 0) != -EAGAIN)
		queue_pop(&o->out);
}

static void to_all(struct hub *h, const void *p, size_t len)
{
	for (size_t i = 0; i < h->n; i++)
		to_deputy(&h->list[i], p, len);
}

static void put_has(struct bytes *b, uint32_t pid, const struct one *o)
{
	bytes_put_le(b, pid, 4);
	bytes_put_le(b, o->has_len / 8, 4);
	bytes_put(b, o->has, o->has_len);
}

/* Once every deputy has said what it holds.  Empty streams: too many messages wait for the keeper to fit in; the
 * session asks again */
static void say_held(struct hub *h)
{
	struct wire_deputy_held m = { .streams = { h->state, 0 } };
	AUTO_FREE uint8_t *list = NULL;
	size_t size = 0;
	struct bytes b;
	ssize_t n;

	if (!h->holding || h->files.asked)
		return;
	for (size_t i = 0; i < h->n; i++) {
		if (h->list[i].asked)
			return;
		size += 8 + h->list[i].has_len;
	}
	size += 8 + h->files.has_len;
	h->holding = false;
	list = malloc(size + 1);
	b = bytes_of(list, list ? size : 0);
	for (size_t i = 0; i < h->n; i++)
		put_has(&b, (uint32_t)h->list[i].pid, &h->list[i]);
	put_has(&b, h->files_pid, &h->files);
	m.files = h->files_pid;
	m.deputies = (wire_blob){ list, (uint32_t)size };
	n = pump_state_get(h->pump, h->state, sizeof(h->state) - MIN(size, sizeof(h->state)));
	m.streams.len = n > 0 && !b.bad ? (uint32_t)n : 0;
	n = wire_put_deputy_held(h->out, sizeof(h->out), &m);
	if (n < 0 || pump_send_local(h->pump, WIRE_DEPUTY_HELD, h->out, (size_t)n))
		pump_detach(h->pump);
}

static void call_taken(struct one *o, uint64_t id)
{
	uint64_t *more = realloc(o->calls, (o->n_calls + 1) * sizeof(*more));

	if (!more)
		return;
	o->calls = more;
	more[o->n_calls++] = id;
}

static void call_answered(struct one *o, uint64_t id)
{
	for (size_t i = 0; i < o->n_calls; i++)
		if (o->calls[i] == id) {
			o->calls[i] = o->calls[--o->n_calls];
			return;
		}
}

static void answer_later(struct hub *h, uint32_t pid, uint64_t id, int64_t value)
{
	struct answer a = { id, value };

	queue_put(&h->unanswered, (pid_t)pid, &a, sizeof(a));
}

/* It won't answer any more.  A caller in a file system's request can't even be killed before it is answered */
static void leave_calls(struct hub *h, struct one *o)
{
	while (o->n_calls)
		answer_later(h, (uint32_t)o->pid, o->calls[--o->n_calls], o == &h->files ? -EIO : -ESRCH);
	free(take_ptr(o->calls));
}

static void answer_unanswered(struct hub *h)
{
	while (h->unanswered.first && pump_room(h->pump) > 1) {
		struct wire_result m = { .pid = h->unanswered.first->pid };
		struct answer a;
		ssize_t n;

		memcpy(&a, h->unanswered.first->bytes, sizeof(a));
		m.id = a.id;
		m.value = a.value;
		n = wire_put_result(h->out, sizeof(h->out), &m);
		if (n > 0 && pump_tell(h->pump, WIRE_RESULT, h->out, (size_t)n))
			return;
		queue_pop(&h->unanswered);
	}
}

static void forget(struct hub *h, struct one *o)
{
	leave_calls(h, o);
	drop_fd(&o->sock);
	free(o->has);
	while (o->out.first)
		queue_pop(&o->out);
	*o = h->list[--h->n];
	say_held(h);
}

/* It was killed, and so is its process */
static void tell_killed(struct hub *h, pid_t pid)
{
	struct wire_signal m = { .signo = SIGKILL, .code = SI_KERNEL,
				 .to = (uint32_t)(pid == h->leader && h->as ? h->as : pid) };
	ssize_t n = wire_put_signal(h->out, sizeof(h->out), &m);

	if (n > 0 && pump_tell(h->pump, WIRE_SIGNAL, h->out, (size_t)n))
		return;
}

static void deputy_left(struct hub *h, struct one *o)
{
	if (h->held && !o->told_to_end) {
		drop_fd(&o->sock);
		o->left = true;
		o->asked = false;
		say_held(h);
		return;
	}
	if (o->told_to_end || h->lost) {
		forget(h, o);
		return;
	}
	leave_calls(h, o);
	drop_fd(&o->sock);
	o->killed = true;
	if (h->up)		/* else it's told when we know that COMMIT happened */
		tell_killed(h, o->pid);
}

/* ---- from the deputies ------------------------------------------------------------------------------ */

static void took_has(struct hub *h, struct one *o, const struct wire_deputy_has *m)
{
	free(o->has);
	o->has = malloc(m->handles.len + 1);
	o->has_len = o->has ? m->handles.len & ~7u : 0;
	if (o->has)
		memcpy(o->has, m->handles.p, o->has_len);
	o->asked = false;
	say_held(h);
}

static void come_up(struct hub *h)
{
	for (size_t i = 0; i < h->n && !h->up; i++)
		if (h->list[i].killed)
			tell_killed(h, h->list[i].pid);
	h->up = true;
}

static void from_deputy(struct hub *h, struct one *o, const struct wire_head *head, const void *p, size_t len, int *fd)
{
	struct wire_hub_segments segments;
	struct wire_deputy_has has;
	struct wire_hub_join join;
	struct wire_result result;

	if (head->type == WIRE_RESULT && !wire_get_result(p, len, &result))
		call_answered(o, result.id);
	switch (head->type) {
	case WIRE_DEPUTY_UP:
		come_up(h);
		break;
	case WIRE_DEPUTY_HAS:
		if (!wire_get_deputy_has(p, len, &has) && find(h, (pid_t)has.pid))
			took_has(h, find(h, (pid_t)has.pid), &has);
		break;
	case WIRE_HUB_JOIN:
		if (!wire_get_hub_join(p, len, &join) && *fd >= 0 && !add(h, (pid_t)join.pid, *fd)) {
			find(h, (pid_t)join.pid)->born = true;
			*fd = -1;
		}
		break;
	case WIRE_HUB_SEGMENTS:
		if (!wire_get_hub_segments(p, len, &segments) && segments.what == 1 && segments_take(&h->segments, &segments))
			break;		/* one that its own user may not read: it can't come home */
		break;
	default:
		if (wire_route(head->type) == WIRE_ROUTE_ENDS && pump_tell(h->pump, head->type, p, len))
			return;		/* room was looked for */
	}
}

/* Several turns of one deputy.  @i may not be there any more afterwards */
static void hear_deputy(struct hub *h, size_t i)
{
	pid_t pid = h->list[i].pid;

	for (int turn = 0; turn < TURN && pump_room(h->pump) > 1 && h->list[i].sock >= 0; turn++) {
		int fd = -1, nfds = 1;
		struct wire_head head;
		const void *p;
		ssize_t n;

		n = sock_recv(h->list[i].sock, h->in, sizeof(h->in), &fd, &nfds, 0);
		if (n == -EAGAIN || n == -ECONNRESET)
			return;
		if (n <= 0) {
			deputy_left(h, find(h, pid));
			return;
		}
		if (!wire_unpack(h->in, (size_t)n, &head, &p))
			from_deputy(h, &h->list[i], &head, p, head.length, &fd);
		if (nfds == 1 && fd >= 0)
			close(fd);
	}
}

/* Whoever waits for one of its answers must not wait for ever; later ones are refused */
static void files_left(struct hub *h)
{
	leave_calls(h, &h->files);
	drop_fd(&h->files.sock);
	while (h->files.out.first)
		queue_pop(&h->files.out);
	h->files.asked = false;
	say_held(h);
}

static void from_files(struct hub *h, const struct wire_head *head, const void *p)
{
	struct wire_deputy_has has;
	struct wire_result result;

	if (head->type == WIRE_DEPUTY_HAS && !wire_get_deputy_has(p, head->length, &has)) {
		h->files_pid = has.pid;
		took_has(h, &h->files, &has);
	}
	if (head->type == WIRE_RESULT && !wire_get_result(p, head->length, &result))
		call_answered(&h->files, result.id);
	else if (head->type != WIRE_CHANGED)
		return;
	if (pump_tell(h->pump, head->type, p, head->length))
		return;		/* room was looked for */
}

static void hear_files(struct hub *h)
{
	for (int turn = 0; turn < TURN && pump_room(h->pump) > 1; turn++) {
		struct wire_head head;
		const void *p;
		ssize_t n = sock_recv(h->files.sock, h->in, sizeof(h->in), NULL, NULL, 0);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			files_left(h);
			return;
		}
		if (!wire_unpack(h->in, (size_t)n, &head, &p))
			from_files(h, &head, p);
	}
}

/* ---- from the keeper, and the session ------------------------------------------------------------------ */

/* Which deputy a message is for, by its own field */
static bool whose(unsigned type, const void *p, size_t len, uint32_t *pid)
{
	struct wire_stopped stopped;
	struct wire_exited exited;
	struct wire_cancel cancel;
	struct wire_watch watch;
	struct wire_call call;

	switch (type) {
	case WIRE_STOPPED:
		*pid = wire_get_stopped(p, len, &stopped) ? 0 : stopped.pid;
		return true;
	case WIRE_EXITED:
		*pid = wire_get_exited(p, len, &exited) ? 0 : exited.pid;
		return true;
	case WIRE_CALL:
		*pid = wire_get_call(p, len, &call) ? 0 : call.pid;
		return true;
	case WIRE_CANCEL:
		*pid = wire_get_cancel(p, len, &cancel) ? 0 : cancel.pid;
		return true;
	case WIRE_WATCH:
		*pid = wire_get_watch(p, len, &watch) ? 0 : watch.pid;
		return true;
	default:
		return false;
	}
}

/* The leader's own parent waits for it; the others' parents are deputies.  One that stands stopped wouldn't hear it */
static void tell_to_end(struct hub *h, struct one *o, const struct wire_exited *m)
{
	struct wire_deputy_ended ended = { .status = m->status };
	uint8_t payload[16], buf[64];
	bool leads = o->pid == h->leader;
	ssize_t n = leads ? wire_put_exited(payload, sizeof(payload), m)
			  : wire_put_deputy_ended(payload, sizeof(payload), &ended);

	n = n < 0 ? n : wire_pack(buf, sizeof(buf), leads ? WIRE_EXITED : WIRE_DEPUTY_ENDED, 0, payload, (size_t)n);
	o->told_to_end = true;
	if (n > 0)
		to_deputy(o, buf, (size_t)n);
	kill(o->pid, SIGCONT);
}

static void on_continued(struct hub *h, const void *p, size_t len)
{
	struct wire_continued m;

	/* too late to stop */
	if (wire_get_continued(p, len, &m))
		return;
	for (struct waiting **w = &h->after.first; *w;) {
		struct waiting *one = *w;
		struct wire_head head;
		const void *payload;

		if (one->pid == m.pid && !wire_unpack(one->bytes, one->len, &head, &payload) &&
		    head.type == WIRE_STOPPED) {
			*w = one->next;
			free(one);
		} else {
			w = &one->next;
		}
	}
	h->after.end = &h->after.first;
	while (*h->after.end)
		h->after.end = &(*h->after.end)->next;
}

/* What the program wrote before it stopped or ended is there when its parent hears of it */
static bool is_flushed(struct hub *h)
{
	return !h->held && (h->n > 1 ? pump_flushed(h->pump) : pump_written(h->pump));
}

static void tell_after(struct hub *h)
{
	while (h->after.first) {
		struct waiting *w = h->after.first;
		struct one *o = find(h, (pid_t)w->pid);
		struct wire_exited exited;
		struct wire_head head;
		const void *p;

		if (wire_unpack(w->bytes, w->len, &head, &p))
			head.type = 0;
		if (head.type == WIRE_REAPED)
			to_all(h, w->bytes, w->len);
		else if (o && head.type == WIRE_EXITED && !wire_get_exited(p, head.length, &exited))
			tell_to_end(h, o, &exited);
		else if (o && head.type)
			to_deputy(o, w->bytes, w->len);
		queue_pop(&h->after);
	}
}

static void hold(struct hub *h, bool on)
{
	struct wire_deputy_has ask = { 0 };
	uint8_t payload[64], buf[128];
	ssize_t n = wire_put_deputy_has(payload, sizeof(payload), &ask);

	n = n < 0 ? n : wire_pack(buf, sizeof(buf), WIRE_DEPUTY_HAS, 0, payload, (size_t)n);
	if (on)
		tell_after(h);	/* the keeper has seen to it that all is written */
	pump_hold(h->pump, on);
	h->held = on;
	if (!on) {
		for (size_t i = h->n; i-- > 0;)
			if (h->list[i].left) {
				h->list[i].left = false;
				deputy_left(h, &h->list[i]);
			}
		return;
	}
	h->holding = true;
	for (size_t i = 0; i < h->n && n > 0; i++) {
		h->list[i].asked = h->list[i].sock >= 0;
		to_deputy(&h->list[i], buf, (size_t)n);
	}
	h->files.asked = h->files.sock >= 0;
	if (n > 0)
		to_deputy(&h->files, buf, (size_t)n);
	say_held(h);
}

/* The keeper has ended: nobody will say any more that somebody was waited for */
static void finish(struct hub *h, bool in_order)
{
	*(in_order ? &h->finished : &h->quit) = true;
	for (size_t i = h->n; i-- > 0 && in_order;)
		if (h->list[i].told_to_end && h->list[i].pid != h->leader)
			forget(h, &h->list[i]);
}

/* A call that is ours, not a deputy's: which segments are the program's is known here */
static bool is_answered(struct hub *h, const struct wire_call *m)
{
	if (m->row == CALL_ID_shmctl)
		answer_later(h, m->pid, m->id, segments_remove(&h->segments, (int)m->a0));
	return m->row == CALL_ID_shmctl;
}

static void on_message(void *ctx, unsigned type, const void *p, size_t len)
{
	struct hub *h = ctx;
	uint8_t buf[WIRE_LOCAL_MAX];
	ssize_t n = wire_pack(buf, sizeof(buf), type, 0, p, len);
	struct wire_deputy_hold m;
	struct wire_hub_quit quit;
	struct wire_exited exited;
	struct wire_reaped reaped;
	struct wire_call call;
	uint32_t pid;
	struct one *o;

	if (type == WIRE_CONTINUED) {
		on_continued(h, p, len);
	} else if (n > 0 && type == WIRE_REAPED && !wire_get_reaped(p, len, &reaped) && waits(&h->after, reaped.pid)) {
		queue_put(&h->after, (pid_t)reaped.pid, buf, (size_t)n);	/* never before its EXITED */
	} else if (type == WIRE_DROP || type == WIRE_REAPED || type == WIRE_DEPUTY_LOST) {
		if (n > 0)
			to_all(h, buf, (size_t)n);
		h->lost |= type == WIRE_DEPUTY_LOST;
		for (size_t i = h->n; i-- > 0 && h->lost;)	/* what was waited for won't come */
			if (h->list[i].sock < 0)
				forget(h, &h->list[i]);
	} else if (type == WIRE_DEPUTY_HOLD) {
		if (!wire_get_deputy_hold(p, len, &m))
			hold(h, m.hold);
	} else if (type == WIRE_HUB_QUIT) {
		if (!wire_get_hub_quit(p, len, &quit))
			finish(h, quit.code != 0);
	} else if (n > 0 && whose(type, p, len, &pid)) {
		bool files = pid == (uint32_t)FILE_PID && (type == WIRE_CALL || type == WIRE_CANCEL);

		o = !files ? find(h, (pid_t)pid) : h->files.sock < 0 ? NULL : &h->files;
		if (type == WIRE_CALL && !wire_get_call(p, len, &call)) {
			if (is_answered(h, &call))
				return;
			if (o && !o->killed)
				call_taken(o, call.id);
			else
				answer_later(h, pid, call.id, files ? -EIO : -ESRCH);
		}
		if (o && o->killed && type == WIRE_EXITED)
			forget(h, o);
		else if (!o || o->killed)
			return;
		else if (type == WIRE_EXITED && o->born && !wire_get_exited(p, len, &exited))
			tell_to_end(h, o, &exited);
		else if (type == WIRE_EXITED || type == WIRE_STOPPED)
			queue_put(&h->after, (pid_t)pid, buf, (size_t)n);
		else
			to_deputy(o, buf, (size_t)n);
	}
}

/* The program has closed its end for good: so do its deputies, and others see it */
static void on_closed(void *ctx, uint32_t id)
{
	struct wire_drop m = { .handle = id };
	uint8_t payload[16], buf[64];
	ssize_t n = wire_put_drop(payload, sizeof(payload), &m);

	n = n < 0 ? n : wire_pack(buf, sizeof(buf), WIRE_DROP, 0, payload, (size_t)n);
	if (n > 0)
		to_all(ctx, buf, (size_t)n);
}

static void on_detached(void *ctx UNUSED)
{
	/* the next session connects */
}

static const struct pump_ops ops = { .message = on_message, .detached = on_detached, .closed = on_closed };

/* ---- sessions -------------------------------------------------------------------------------------------- */

static int take_streams(struct hub *h, const void *p, size_t len, int *fds, int nfds)
{
	struct wire_hub_streams m;
	int rc = wire_get_hub_streams(p, len, &m);
	struct bytes b = bytes_of(m.streams.p, rc ? 0 : m.streams.len);

	for (int i = 0; i < nfds && !rc; i++) {
		uint32_t id = (uint32_t)bytes_get_le(&b, 4), dir = (uint32_t)bytes_get_le(&b, 4);
		uint64_t offset = bytes_get_le(&b, 8);

		if (b.bad || dir > STREAM_OUT)
			return -EBADMSG;
		rc = pump_add(h->pump, id, dir, dir == STREAM_IN ? STREAM_SOURCE : STREAM_SINK, fds[i], offset, NULL);
		if (!rc)
			fds[i] = -1;
		if (rc == -EEXIST)
			rc = 0;
	}
	return rc ? rc : bytes_left(&b) ? -EBADMSG : 0;
}

/* To the file server, as they are */
static int give_files(struct hub *h, const void *p, size_t len, const int *fds, int nfds)
{
	ssize_t n = wire_pack(h->out, sizeof(h->out), WIRE_HUB_FILES, 0, p, len);

	if (n < 0 || h->files.sock < 0)
		return n < 0 ? (int)n : -EPIPE;
	return sock_send(h->files.sock, h->out, (size_t)n, fds, nfds, deadline_in_ms(SETTLE_MS));
}

static void say_up(struct hub *h)
{
	struct wire_deputy_up m = { .pid = h->up ? (uint32_t)h->leader : 0 };
	ssize_t n;

	for (size_t i = 0; i < h->n; i++)
		m.lost += h->list[i].left || h->list[i].killed;
	n = wire_put_deputy_up(h->out, sizeof(h->out), &m);

	/* If that fails the session hears nothing, and connects again */
	if (n > 0 && pump_send_local(h->pump, WIRE_DEPUTY_UP, h->out, (size_t)n))
		pump_detach(h->pump);
}

static void greeted(struct hub *h, const struct wire_head *head, const void *p, int *fds, int nfds)
{
	struct wire_hub_segments segments;
	struct wire_hub_join join;
	struct wire_hub_ok ok = { .code = -EPROTO };
	uint8_t payload[16], buf[64];
	ssize_t n;

	if (head->type == WIRE_HUB_HELLO) {
		if (!pump_attach(h->pump, h->greeting, NULL)) {
			h->greeting = -1;
			say_up(h);
		}
		return;
	}
	if (head->type == WIRE_HUB_STREAMS)
		ok.code = take_streams(h, p, head->length, fds, nfds);
	else if (head->type == WIRE_HUB_FILES)
		ok.code = give_files(h, p, head->length, fds, nfds);
	else if (head->type == WIRE_HUB_SEGMENTS && !wire_get_hub_segments(p, head->length, &segments))
		ok.code = segments_take(&h->segments, &segments);
	else if (head->type == WIRE_HUB_JOIN && nfds == 1 && !wire_get_hub_join(p, head->length, &join))
		ok.code = add(h, (pid_t)join.pid, fds[0]);
	if (head->type == WIRE_HUB_JOIN && !ok.code)
		fds[0] = -1;
	n = wire_put_hub_ok(payload, sizeof(payload), &ok);
	n = n < 0 ? n : wire_pack(buf, sizeof(buf), WIRE_HUB_OK, 0, payload, (size_t)n);
	if (n > 0 && sock_send(h->greeting, buf, (size_t)n, NULL, 0, 0))
		drop_fd(&h->greeting);
}

static void hear_greeting(struct hub *h)
{
	int fds[SOCK_MAX_FDS], nfds = SOCK_MAX_FDS;
	struct wire_head head;
	const void *p;
	ssize_t n = sock_recv(h->greeting, h->in, sizeof(h->in), fds, &nfds, 0);

	if (n == -EAGAIN)
		return;
	if (n <= 0 || wire_unpack(h->in, (size_t)n, &head, &p))
		drop_fd(&h->greeting);
	else
		greeted(h, &head, p, fds, nfds);
	for (int i = 0; n > 0 && i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* Somebody connects: only our own user's, or root's.  The newest counts */
static void take_connection(struct hub *h)
{
	AUTO_FD int sock = sock_accept(h->listener);
	uid_t uid;

	/* A failure that stays: don't ask again before something else has happened */
	h->deaf = sock < 0 && sock != -EAGAIN && sock != -EINTR && sock != -ECONNABORTED;
	if (sock < 0 || sock_peer(sock, NULL, &uid, NULL) || (uid && uid != geteuid()))
		return;
	drop_fd(&h->greeting);
	h->greeting = take_fd(&sock);
}

/* ---- start and run ------------------------------------------------------------------------------------------ */

/* Has the program become a deputy, though it didn't say so yet? */
static bool leader_execed(const struct hub *h)
{
	struct stat its, ours;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)h->leader);
	return !stat(path, &its) && !stat("/proc/self/exe", &ours) && its.st_ino == ours.st_ino &&
	       its.st_dev == ours.st_dev;
}

/* Nobody is here: did COMMIT happen? */
static void settle(struct hub *h)
{
	h->alone = pump_attached(h->pump) || h->greeting >= 0 || leader_execed(h) ? 0 : h->alone + 1;
	h->quit |= h->alone >= SETTLE_TRIES;
}

/* A child of ours, so that it is the program's user's and knows no more than that: it ends with us */
static int start_files(struct hub *h)
{
	int sv[2], rc = sock_pair(sv, NULL);
	pid_t pid;

	if (rc)
		return rc;
	pid = fork();
	if (!pid) {
		int hub = fcntl(sv[1], F_DUPFD_CLOEXEC, FIRST_FD);

		if (hub < 0 || (hub > FIRST_FD && close_range(FIRST_FD, (unsigned)hub - 1, 0)) ||
		    close_range((unsigned)hub + 1, ~0U, 0))
			_exit(EXIT_BROKEN);
		files_run(hub, getenv("MDEPUTY_ROOTS"));
	}
	close(sv[1]);
	if (pid < 0) {
		close(sv[0]);
		return -EAGAIN;
	}
	h->files = (struct one){ .pid = FILE_PID, .sock = sv[0] };
	h->files_pid = (uint32_t)pid;
	return 0;
}

static int start(struct hub *h, const char *text)
{
	int flags, signals;
	long leader;
	char *end;

	h->listener = (int)strtol(text, &end, 10);
	if (end == text || *end != ',')
		return -EINVAL;
	leader = strtol(end + 1, &end, 10);
	if (*end || leader < 1 || leader > INT32_MAX)
		return -EINVAL;
	flags = fcntl(h->listener, F_GETFL);
	if (flags < 0 || fcntl(h->listener, F_SETFD, FD_CLOEXEC) || fcntl(h->listener, F_SETFL, flags | O_NONBLOCK))
		return -EBADF;
	h->leader = (pid_t)leader;
	h->as = deputy_env("MDEPUTY_AS", 0);
	h->greeting = -1;
	h->pump = pump_new(&ops, h, NULL);
	signals = deputy_take_signals();
	if (!h->pump || signals < 0)
		return -ENOMEM;
	h->dir = deputy_env("MDEPUTY_DIR", -1);
	if (h->dir >= 0 && fcntl(h->dir, F_SETFD, FD_CLOEXEC))
		h->dir = -1;
	close(signals);		/* blocked, and that's all: a signal to us means nothing */
	deputy_set_limits();
	(void)prctl(PR_SET_NAME, "mdeputy-hub");
	(void)setsid();
	return start_files(h);
}

/* The session needn't wonder where we are */
static void say_goodbye(struct hub *h)
{
	struct wire_hub_quit m = { 0 };
	ssize_t n = wire_put_hub_quit(h->out, sizeof(h->out), &m);

	if (n > 0 && pump_send_local(h->pump, WIRE_HUB_QUIT, h->out, (size_t)n))
		return;
}

/* All have ended, every byte is written, and the keeper knows */
static bool is_over(struct hub *h)
{
	if (h->n || h->held)
		return false;
	return h->lost || (h->up && (h->finished || pump_told(h->pump)) && pump_written(h->pump));
}

/* How many deputies we can poll: all, but without memory the first ones */
static size_t make_polled(struct hub *h)
{
	size_t size = h->n + 64;

	if (h->n > h->polled_size || !h->polled) {
		struct pollfd *p = realloc(h->polled, (4 + size) * sizeof(*p));
		pid_t *pids = realloc(h->polled_pids, size * sizeof(*pids));

		h->polled = p ? p : h->polled;
		h->polled_pids = pids ? pids : h->polled_pids;
		if (p && pids)
			h->polled_size = size;
	}
	if (!h->polled || !h->polled_pids)
		_exit(EXIT_BROKEN);
	return MIN(h->n, h->polled_size);
}

static void turn(struct hub *h)
{
	size_t most = make_polled(h);
	bool room = pump_room(h->pump) > 1;
	struct pollfd *p = h->polled;
	pid_t *pids = h->polled_pids;

	p[0] = (struct pollfd){ .fd = h->deaf ? -1 : h->listener, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = pump_fd(h->pump), .events = POLLIN };
	p[2] = (struct pollfd){ .fd = h->greeting, .events = POLLIN };
	p[3] = (struct pollfd){ .fd = h->files.sock,
				.events = (short)((room ? POLLIN : 0) | (h->files.out.first ? POLLOUT : 0)) };
	for (size_t i = 0; i < most; i++) {
		pids[i] = h->list[i].pid;
		p[4 + i] = (struct pollfd){
			.fd = h->list[i].sock,
			.events = (short)((room ? POLLIN : 0) | (h->list[i].out.first ? POLLOUT : 0)),
		};
	}
	if (poll(p, (nfds_t)(4 + most), h->up ? -1 : SETTLE_MS) < 0)
		return;
	h->deaf = false;
	if (p[2].revents)
		hear_greeting(h);
	if (p[0].revents)
		take_connection(h);
	if (p[3].revents & POLLOUT)
		flush_deputy(&h->files);
	if (p[3].revents & (POLLIN | POLLHUP))
		hear_files(h);
	for (size_t i = 0; i < most; i++) {
		struct one *o = p[4 + i].revents ? find(h, pids[i]) : NULL;

		if (o && p[4 + i].revents & POLLOUT)
			flush_deputy(o);
		if (o && p[4 + i].revents & (POLLIN | POLLHUP))
			hear_deputy(h, (size_t)(o - h->list));
	}
	if (p[1].revents && pump_run(h->pump) < 0)
		_exit(EXIT_BROKEN);
	if (is_flushed(h))
		tell_after(h);
	answer_unanswered(h);
	if (!h->up)
		settle(h);
}

void hub_run(const char *fds)
{
	struct hub *h = calloc(1, sizeof(*h));
	const char *name = getenv("MDEPUTY_SOCKET");

	if (!h || start(h, fds))
		_exit(EXIT_BROKEN);
	while (!h->quit && !is_over(h))
		turn(h);
	if (!h->quit)
		say_goodbye(h);
	if (h->dir >= 0 && name)
		unlinkat(h->dir, name, 0);
	_exit(0);
}

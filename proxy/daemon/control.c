/* SPDX-License-Identifier: MIT */
/*
 * control.c - The control socket: who asks, and how answers are written
 */
#include "proxy/daemon/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"

struct client {
	struct watch watch;
	struct control *of;
	struct client *next;	/* younger ones first */
	struct asker who;
	int64_t deadline;
};

struct control {
	struct watch listener;
	struct loop *loop;
	struct client *clients;
	control_ask_fn *ask;
	void *ctx;
	char *path;
	uint8_t buf[WIRE_LOCAL_MAX];	/* a message that is being read */
};

static void client_end(struct client *cl)
{
	struct client **at = &cl->of->clients;

	while (*at != cl)
		at = &(*at)->next;
	*at = cl->next;
	loop_drop(cl->of->loop, &cl->watch);
	free(cl);
}

/* ---- a client's one message -------------------------------------------------------- */

static void on_ask(struct client *cl, const void *payload, size_t len)
{
	struct wire_ask m;

	if (wire_get_ask(payload, len, &m))
		log_line(LOG_LEVEL_INFO, "E_CLIENT_BAD", "process %d of uid %u: malformed ASK",
			 (int)cl->who.pid, cl->who.uid);
	else
		cl->of->ask(cl->of->ctx, cl->watch.fd, &cl->who, m.request);
}

static void on_register(struct client *cl, const void *payload, size_t len)
{
	struct wire_register m;

	if (!wire_get_register(payload, len, &m))
		log_debug("process %d of uid %u has libmshim.so %s", (int)cl->who.pid,
			  cl->who.uid, m.version);
}

static void on_client(struct watch *w, uint32_t events)
{
	struct client *cl = loop_owner(w, struct client, watch);
	struct control *c = cl->of;
	ssize_t n = sock_recv(w->fd, c->buf, sizeof(c->buf), NULL, NULL, 0);
	struct wire_head h;
	const void *payload;

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n <= 0 || wire_unpack(c->buf, (size_t)n, &h, &payload))
		h.type = 0;
	if (h.type == WIRE_ASK)
		on_ask(cl, payload, h.length);
	else if (h.type == WIRE_REGISTER)
		on_register(cl, payload, h.length);
	else if (n)
		log_line(LOG_LEVEL_INFO, "E_CLIENT_BAD", "process %d of uid %u: not a request",
			 (int)cl->who.pid, cl->who.uid);
	client_end(cl);
}

/* ---- accepting ------------------------------------------------------------------------ */

/* How many clients of @uid wait, and the oldest of them */
static unsigned count_uid(const struct control *c, uid_t uid, struct client **oldest)
{
	unsigned n = 0;

	for (struct client *cl = c->clients; cl; cl = cl->next)
		if (cl->who.uid == uid) {
			*oldest = cl;
			n++;
		}
	return n;
}

/* When there are too many: ends the oldest of the user who has most */
static void make_room(struct control *c)
{
	struct client *victim = NULL;
	unsigned all = 0, most = 0;

	for (struct client *cl = c->clients; cl; cl = cl->next) {
		struct client *oldest = NULL;
		unsigned n = count_uid(c, cl->who.uid, &oldest);

		if (n > most) {
			most = n;
			victim = oldest;
		}
		all++;
	}
	if (all < CONTROL_MAX || !victim)
		return;
	log_line(LOG_LEVEL_WARN, "E_CLIENT_MANY", "uid %u has %u clients that don't ask",
		 victim->who.uid, most);
	client_end(victim);
}

static void on_listener(struct watch *w, uint32_t events)
{
	struct control *c = loop_owner(w, struct control, listener);
	int fd = sock_accept(w->fd);
	struct client *cl;
	struct err e = { 0 };

	(void)events;
	if (fd < 0)
		return;
	make_room(c);
	cl = calloc(1, sizeof(*cl));
	if (!cl || sock_peer(fd, &cl->who.pid, &cl->who.uid, NULL)) {
		free(cl);
		close(fd);
		return;
	}
	cl->of = c;
	cl->next = c->clients;
	cl->deadline = deadline_in_ms(CONTROL_ASK_MS);
	c->clients = cl;
	if (loop_add(c->loop, &cl->watch, fd, EPOLLIN, on_client, &e)) {
		log_line(LOG_LEVEL_ERR, "E_CLIENT_MANY", "%s", e.text);
		client_end(cl);
	}
}

/**
 * control_open() - Listen for requests
 * @loop:	Where events come from
 * @path:	Of the socket
 * @mode:	Its permissions
 * @ask:	Called for each request, with @ctx
 * @out:	control_close() ends it
 *
 * Return: 0, -EADDRINUSE another mproxy is there, or another negative errno
 */
int control_open(struct loop *loop, const char *path, int mode, control_ask_fn *ask, void *ctx,
		 struct control **out, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int fd, r;

	if (!c)
		return err_set(e, -ENOMEM, "make the control socket");
	*c = (struct control){ .listener.fd = -1, .loop = loop, .ask = ask, .ctx = ctx };
	fd = sock_listen(path, mode, e);
	if (fd >= 0)
		c->path = strdup(path);
	r = fd < 0 ? fd : loop_add(loop, &c->listener, fd, EPOLLIN, on_listener, e);
	if (r) {
		control_close(c);
		return r;
	}
	*out = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	while (c->clients)
		client_end(c->clients);
	loop_drop(c->loop, &c->listener);
	if (c->path)
		unlink(c->path);
	free(c->path);
	free(c);
}

int64_t control_deadline(const struct control *c)
{
	int64_t first = NO_DEADLINE;

	for (const struct client *cl = c->clients; cl; cl = cl->next)
		first = MIN(first, cl->deadline);
	return first;
}

void control_tick(struct control *c)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	struct client *next;

	for (struct client *cl = c->clients; cl; cl = next) {
		next = cl->next;
		if (cl->deadline <= now)
			client_end(cl);
	}
}

/* ---- answers ------------------------------------------------------------------------------ */

int control_answer(int fd, int code, json *answer)
{
	AUTO_JSON json *owned = answer;
	AUTO_FREE char *text = json_text(owned, false);
	AUTO_FREE uint8_t *payload = malloc(CONTROL_ANSWER_MAX), *buf = malloc(CONTROL_ANSWER_MAX);
	struct wire_answer m = { .code = code, .answer = text };
	ssize_t n;

	if (!text || !payload || !buf)
		return -ENOMEM;
	n = wire_put_answer(payload, CONTROL_ANSWER_MAX, &m);
	if (n >= 0)
		n = wire_pack(buf, CONTROL_ANSWER_MAX, WIRE_ANSWER, 0, payload, (size_t)n);
	return n < 0 ? (int)n : sock_send(fd, buf, (size_t)n, NULL, 0, 0);
}

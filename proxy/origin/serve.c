/* SPDX-License-Identifier: MIT */
/*
 * serve.c - After COMMIT: the deputies' hub and the keeper talk, and the session carries it
 *
 * A poll loop over the hub's socket, the link, the leash and SIGCHLD.  The deputies take their
 * signals themselves; only SIGSTOP can't be caught, so that the session stays attached to the
 * leader's by ptrace and holds it back until the program has stopped.
 *
 *	link STANDS ──error──▶ RETRYING (hub's socket closed) ──RESUMED──▶ STANDS
 *
 * After each reconnection both ends get fresh sockets, and agree anew on what has arrived.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/origin/hub.h"
#include "proxy/target/keeper.h"

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif
#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS 5000

/* ---- to the target ------------------------------------------------------------------------------------ */

int serve_send(struct origin *o, unsigned type, const void *payload, ssize_t len, struct err *e)
{
	int rc = len < 0 ? (int)len : o->relay.io ? frame_io_put(o->relay.io, type, 0, payload, (size_t)len) : -ENOTCONN;

	return rc ? err_set(e, rc, "tell the target %s", wire_name(type)) : 0;
}

static void drop_link(struct origin *o, const char *why)
{
	if (o->target.l)
		log_warn("E_LINK_LOST: the link to %s ended: %s", o->target.peer.name, why);
	frame_io_free(o->relay.io);
	o->relay.io = NULL;
	link_close(o->target.l);
	o->target.l = NULL;
	/* what was under way on the dead link is gone: the two ends must agree anew */
	drop_fd(&o->relay.sock);
	o->relay.pending_len = 0;
	o->retry_ms = RETRY_FIRST_MS;
	o->retry_at = clock_ns(CLOCK_MONOTONIC);
}

/* ---- the hub and the leader's deputy ------------------------------------------------------------------------ */

int serve_connect_hub(struct origin *o, struct err *e)
{
	AUTO_FD int fd = hub_call(o, e);
	uint8_t buf[16];
	int rc = fd < 0 ? fd : hub_hello(fd, e);

	if (rc)
		return rc;
	drop_fd(&o->relay.sock);
	o->relay.sock = take_fd(&fd);
	/* a way home that broke off, perhaps with the session before us, may have left it held */
	return hub_tell(o, WIRE_DEPUTY_HOLD, buf,
			wire_put_deputy_hold(buf, sizeof(buf), &(struct wire_deputy_hold){ 0 }), e);
}

/* All deputies ended, as their processes did; or the hub was killed, and then the program goes too */
static void hub_gone(struct origin *o)
{
	uint8_t buf[16];

	o->deputy_gone = true;
	o->over = o->discarded;
	if (o->over || o->hub_done)
		return;
	log_line(LOG_LEVEL_ERR, "E_PROGRAM_LOST", "the hub of process %d is gone: its program is ended", (int)o->pid);
	if (serve_send(o, WIRE_DISCARD, buf, wire_put_discard(buf, sizeof(buf), &(struct wire_discard){ 0 }), NULL))
		log_debug("the target will be told when the link stands again");
}

/* Its socket ended */
static void hub_left(struct origin *o)
{
	drop_fd(&o->relay.sock);
	if (o->relay.io && !o->deputy_gone && serve_connect_hub(o, NULL))
		hub_gone(o);
}

/* What serve_until() waits for: kept until it has been looked at */
static void catch_message(struct origin *o, unsigned type, const void *payload, size_t len)
{
	free(o->caught.buf);
	o->caught = (struct talk){ .type = type, .buf = malloc(len + 1), .len = len, .size = len + 1 };
	if (o->caught.buf && len)
		memcpy(o->caught.buf, payload, len);
	o->caught_it = o->caught.buf != NULL;
}

static void hub_says(void *ctx, unsigned type, const void *payload, size_t len)
{
	struct origin *o = ctx;

	o->hub_done |= type == WIRE_HUB_QUIT;
	if (type == o->awaited && !o->caught_it)
		catch_message(o, type, payload, len);
}

void serve_lost(struct origin *o, const char *reason)
{
	uint8_t payload[512];
	ssize_t n = wire_put_deputy_lost(payload, sizeof(payload), &(struct wire_deputy_lost){ reason });

	log_line(LOG_LEVEL_ERR, "E_PROGRAM_LOST", "%s", reason);
	if (o->relay.sock < 0 && serve_connect_hub(o, NULL))
		return;
	if (hub_tell(o, WIRE_DEPUTY_LOST, payload, n, NULL))
		log_err("the deputies couldn't be told either");
}

/* As its process did, or somebody killed it: the hub knows, and tells the keeper */
static void deputy_ended(struct origin *o, int status)
{
	log_info("the leader's deputy ended with status %x", (unsigned)status);
	o->leader_gone = true;
}

/* SIGSTOP is about to stop the deputy: the program first */
static void hold_stop(struct origin *o)
{
	uint8_t buf[16];

	o->stopping = true;
	if (serve_send(o, WIRE_KEEPER_STOP, buf,
		       wire_put_keeper_stop(buf, sizeof(buf), &(struct wire_keeper_stop){ 1 }), NULL)) {
		o->stopping = false;	/* no link: the deputy stops alone, the program when it's back */
		ptrace(PTRACE_CONT, o->pid, 0, (void *)SIGSTOP);
	}
}

static void deputy_stopped(struct origin *o, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;

	if (event == PTRACE_EVENT_STOP)
		/* a group stop: it stays, and SIGCONT may end it; anything else goes on */
		ptrace(sig == SIGTRAP ? PTRACE_CONT : PTRACE_LISTEN, o->pid, 0, 0);
	else if (!event && sig == SIGSTOP)
		hold_stop(o);
	else
		ptrace(PTRACE_CONT, o->pid, 0, event ? 0 : (void *)(intptr_t)sig);
}

static void reap(struct origin *o)
{
	struct signalfd_siginfo s;
	int status;

	while (read(o->signals, &s, sizeof(s)) == sizeof(s))
		;
	while (!o->leader_gone && waitpid(o->pid, &status, WNOHANG | __WALL) == o->pid) {
		if (WIFSTOPPED(status))
			deputy_stopped(o, status);
		else
			deputy_ended(o, status);
	}
}

/* ---- the link ------------------------------------------------------------------------------------------------ */

/* mmigrate at the target asked us to move it on or home */
static void moved_on(struct origin *o, const struct frame *f)
{
	struct wire_moved_on r = { 0 };
	struct wire_move_on m;
	struct err e = { 0 };
	char host[PEER_NAME], text[600];
	uint8_t buf[1024];

	if (wire_get_move_on(f->payload, f->length, &m))
		return;
	snprintf(host, sizeof(host), "%s", m.host);
	r.code = host[0] ? onward_move(o, host, &e) : home_move(o, &e);
	if (r.code)
		snprintf(text, sizeof(text), "%s", e.text);
	else
		snprintf(text, sizeof(text), "process %d runs %s%s now", (int)o->pid, host[0] ? "on " : "at home",
			 host[0] ? host : "");
	r.text = text;
	/* after a move it is another target: the one that asked was told by the program's going */
	if (r.code && serve_send(o, WIRE_MOVED_ON, buf, wire_put_moved_on(buf, sizeof(buf), &r), NULL))
		log_debug("the target was gone before it could be told");
}

static void from_target(struct origin *o, const struct frame *f)
{
	if (relay_is_for_ends(f->type)) {
		int rc = relay_to_sock(&o->relay, f);

		if (rc && rc != -EAGAIN)
			hub_left(o);
		return;
	}
	if (o->take_memory && (f->type == WIRE_MEM || f->type == WIRE_MEM_END)) {
		if (!o->memory_rc)
			o->memory_rc = o->take_memory(o->take_ctx, f, &o->memory_err);
		if (!o->memory_rc && f->type == WIRE_MEM_END)
			o->memory_rc = 1;
		return;
	}
	if (o->awaited && (f->type == o->awaited || f->type == WIRE_FAIL)) {
		catch_message(o, f->type, f->payload, f->length);
		return;
	}
	switch (f->type) {
	case WIRE_KEEPER_STOPPED:
		if (o->stopping)
			ptrace(PTRACE_CONT, o->pid, 0, (void *)SIGSTOP);
		o->stopping = false;
		break;
	case WIRE_MOVE_ON:
		moved_on(o, f);
		break;
	case WIRE_DISCARDED:
		o->discarded = true;	/* the keeper has nothing left to do: it ended, or was told to */
		hub_finish(o);
		o->over = o->deputy_gone;
		break;
	case WIRE_FAIL: {
		struct err e = { 0 };

		talk_fail_to_err(f->payload, f->length, &e);
		log_warn("%s: %s", o->target.peer.name, e.text);
		break;
	}
	default:
		break;		/* RUNNING a second time, and what newer peers may say */
	}
}

/* A turn's worth of frames.  true: there may be more, which poll() doesn't see: TLS holds them */
static bool serve_link(struct origin *o)
{
	struct frame f;

	for (int i = 0; i < 64; i++) {
		int rc;

		if (!o->relay.io || o->relay.pending_len)
			return false;
		if (o->caught_it)
			return true;
		rc = frame_io_poll_in(o->relay.io, &f);
		if (rc < 0)
			drop_link(o, strerror(-rc));
		if (rc <= 0)
			return false;
		from_target(o, &f);
	}
	return true;
}

/* What a keeper that was found again needs to hear */
static int take_up(struct origin *o, unsigned state, struct err *e)
{
	uint8_t buf[16];

	if (o->deputy_gone && state >= KEEPER_READY)
		return serve_send(o, WIRE_DISCARD, buf,
				  wire_put_discard(buf, sizeof(buf), &(struct wire_discard){ 0 }), e);
	switch ((enum keeper_state)state) {
	case KEEPER_READY:
	case KEEPER_RUNNING:
	case KEEPER_ENDED:
		return serve_send(o, WIRE_GO, buf, wire_put_go(buf, sizeof(buf), &(struct wire_go){ 1 }), e);
	case KEEPER_FROZEN:
		return serve_send(o, WIRE_THAW, buf, wire_put_thaw(buf, sizeof(buf), &(struct wire_thaw){ 0 }), e);
	case KEEPER_EMPTY:
	case KEEPER_PREPARED:
	case KEEPER_FILLABLE:
		break;
	}
	if (o->deputy_gone) {
		o->over = true;
		return 0;
	}
	o->discarded = true;
	serve_lost(o, "the target doesn't have the program any more: its host or its keeper was lost");
	return 0;
}

static void retry(struct origin *o)
{
	struct err e = { 0 };
	unsigned state;
	int rc = ask_resume(o, &o->target, true, &state, &e);

	if (rc) {
		log_line(o->retry_ms == RETRY_FIRST_MS ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG, "E_LINK_DOWN", "%s", e.text);
		o->retry_ms = MIN(o->retry_ms * 2, RETRY_MOST_MS);
		o->retry_at = clock_ns(CLOCK_MONOTONIC) + o->retry_ms * NS_PER_MS;
		return;
	}
	o->retry_at = 0;
	o->deputy_gone = o->deputy_gone || (o->relay.sock < 0 && serve_connect_hub(o, NULL));
	o->relay.io = frame_io_new(o->target.l, RELAY_QUEUE);
	if (!o->relay.io || take_up(o, state, &e)) {
		drop_link(o, "out of memory");
		return;
	}
	log_info("the link to %s stands", o->target.peer.name);
}

/* ---- the leash ------------------------------------------------------------------------------------------------- */

static void request(struct origin *o, const char *text)
{
	AUTO_JSON json *j = NULL;
	const char *what = "", *host = "";
	struct err e = { 0 };
	char sentence[700];
	int rc = json_parse(text, strlen(text), &j, &e);

	if (!rc)
		rc = json_get_str(j, "do", &what, &e);
	if (!rc && !strcmp(what, "move"))
		rc = json_get_str(j, "host", &host, &e);
	if (!rc && !strcmp(what, "why"))
		rc = err_say(&e, -EINVAL, "process %d runs on %s; move it on with mmigrate %d HOST, or home", (int)o->pid,
			     o->target.peer.name, (int)o->pid);
	if (!rc && !strcmp(what, "save"))
		rc = err_say(&e, -EINVAL, "process %d is a deputy; only a program that is at home can be saved", (int)o->pid);
	if (!rc && !strcmp(what, "home") && o->restored)
		rc = err_say(&e, -EINVAL, "E_IMAGE_HOME: process %d stands for a program that was restored from a file: it "
			     "has no home to go to; it can move to another host", (int)o->pid);
	if (!rc && strcmp(what, "move") && strcmp(what, "home"))
		rc = err_say(&e, -EINVAL, "unknown request %s", what);
	if (!rc)
		rc = host[0] ? onward_move(o, host, &e) : home_move(o, &e);
	if (!rc && !host[0] && o->home)	/* first: the next request for this pid isn't for us */
		origin_report(o, "ended");
	if (rc)
		snprintf(sentence, sizeof(sentence), "%s", e.text);
	else if (host[0])
		snprintf(sentence, sizeof(sentence), "process %d (%s) runs on %s now", (int)o->pid, o->comm, host);
	else
		snprintf(sentence, sizeof(sentence), "process %d (%s) is at home again%s%s", (int)o->pid, o->comm,
			 e.text[0] ? ": " : "", e.text);
	origin_answer(o, rc, sentence, NULL);
}

static void from_leash(struct origin *o)
{
	uint8_t buf[4096];
	struct wire_head h;
	struct wire_ask m;
	const void *payload;
	int fd = -1, nfds = 1;
	ssize_t n = sock_recv(o->env->leash, buf, sizeof(buf), &fd, &nfds, 0);

	if (n <= 0 || wire_unpack(buf, (size_t)n, &h, &payload) || h.type != WIRE_ASK || nfds != 1 ||
	    wire_get_ask(payload, h.length, &m)) {
		if (n > 0 && nfds == 1)
			close(fd);
		return;
	}
	drop_fd(&o->client);
	o->client = fd;
	request(o, m.request);
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

/**
 * serve_step() - One turn: wait for something, and handle it
 * @deadline:	How long to wait at most
 *
 * Return: 0; -ETIMEDOUT
 */
int serve_step(struct origin *o, int64_t deadline)
{
	bool room = !o->relay.io || frame_io_queued(o->relay.io) < RELAY_QUEUE / 2;
	bool link = o->relay.io != NULL;
	struct pollfd p[] = {
		{ link ? o->target.l->fd : -1,
		  (short)((o->relay.pending_len ? 0 : POLLIN) | (link && frame_io_queued(o->relay.io) ? POLLOUT : 0)), 0 },
		{ o->relay.sock, (short)((room && link ? POLLIN : 0) | (o->relay.pending_len ? POLLOUT : 0)), 0 },
		{ o->awaited ? -1 : o->env->leash, POLLIN, 0 },
		{ o->signals, POLLIN, 0 },
	};
	bool was_more;
	int n, rc;

	if (o->retry_at)
		deadline = MIN(deadline, o->retry_at);
	n = poll(p, ARRAY_SIZE(p), o->more ? 0 : deadline_left_ms(deadline));
	was_more = o->more;
	if (n < 0 && errno != EINTR)
		return -errno;
	if (p[3].revents)
		reap(o);
	if (p[1].revents & POLLOUT && relay_flush_sock(&o->relay) == -EPIPE)
		hub_left(o);
	else if (p[1].revents & (POLLIN | POLLHUP) && relay_from_sock(&o->relay, hub_says, o))
		hub_left(o);
	if (p[2].revents & POLLIN)
		from_leash(o);
	if (o->home || o->over)
		return 0;
	o->more = serve_link(o);
	if (o->relay.io) {
		rc = frame_io_flush(o->relay.io);
		if (rc && rc != -EAGAIN)
			drop_link(o, strerror(-rc));
	}
	if (o->retry_at && clock_ns(CLOCK_MONOTONIC) >= o->retry_at)
		retry(o);
	return n || was_more ? 0 : -ETIMEDOUT;
}

int serve_until(struct origin *o, unsigned type, int64_t deadline, struct err *e)
{
	int rc = 0;

	o->awaited = type;
	o->caught_it = false;
	while (!o->caught_it && !o->over && !o->deputy_gone) {
		if (!o->relay.io) {
			rc = err_say(e, -ENOLINK, "the link to %s was lost", o->target.peer.name);
			break;
		}
		if (clock_ns(CLOCK_MONOTONIC) >= deadline) {
			rc = err_say(e, -ETIMEDOUT, "%s doesn't answer", o->target.peer.name);
			break;
		}
		rc = serve_step(o, deadline);
		if (rc && rc != -ETIMEDOUT)
			break;
		rc = 0;
	}
	o->awaited = 0;
	if (!rc && !o->caught_it)
		rc = err_say(e, -ESRCH, "the program has ended");
	o->caught_it = false;
	if (!rc && o->caught.type == WIRE_FAIL)
		rc = talk_fail_to_err(o->caught.buf, o->caught.len, e);
	return rc;
}

int serve_freeze(struct origin *o, uint32_t drain_ms, struct err *e)
{
	struct wire_freeze m = { drain_ms };
	uint8_t buf[16];
	int rc;

	o->frozen_at = clock_ns(CLOCK_MONOTONIC);
	rc = serve_send(o, WIRE_FREEZE, buf, wire_put_freeze(buf, sizeof(buf), &m), e);
	return rc ? rc : serve_until(o, WIRE_IMAGE, deadline_in_ms(TALK_MS), e);
}

void serve_thaw(struct origin *o)
{
	uint8_t buf[16];

	if (serve_send(o, WIRE_THAW, buf, wire_put_thaw(buf, sizeof(buf), &(struct wire_thaw){ 0 }), NULL))
		log_warn("the program thaws when the link stands again");
}

int serve_memory(struct origin *o, serve_memory_fn *take, void *ctx, struct err *e)
{
	uint8_t buf[16];
	int rc = serve_send(o, WIRE_SEND_MEM, buf, wire_put_send_mem(buf, sizeof(buf), &(struct wire_send_mem){ 0 }), e);

	o->take_memory = take;
	o->take_ctx = ctx;
	o->memory_rc = 0;
	o->awaited = WIRE_FAIL;		/* nothing else is due but memory */
	o->caught_it = false;
	while (!o->memory_rc && !o->caught_it && !rc) {
		if (!o->relay.io)
			rc = err_say(e, -ENOLINK, "the link to %s was lost", o->target.peer.name);
		else if (o->deputy_gone)
			rc = err_say(e, -ESRCH, "the program has ended");
		else if (serve_step(o, deadline_in_ms(TALK_MS)) == -ETIMEDOUT)
			rc = err_say(e, -ETIMEDOUT, "%s sends no memory", o->target.peer.name);
	}
	if (!rc && o->caught_it)
		rc = talk_fail_to_err(o->caught.buf, o->caught.len, e);
	if (!rc && o->memory_rc < 0) {
		rc = o->memory_rc;
		if (e)
			*e = o->memory_err;
	}
	o->take_memory = NULL;
	o->awaited = 0;
	o->caught_it = false;
	return rc;
}

/*
 * serve_discard() - The present target is told to kill its frozen copy
 *
 * If the answer is lost the question is asked until it is answered: "it's gone" and "it's there,
 * frozen" lead to different hosts, and guessing would make two of the program, or none.
 */
int serve_discard(struct origin *o, struct err *e)
{
	uint8_t buf[16];
	unsigned state;
	int rc = serve_send(o, WIRE_DISCARD, buf,
			    wire_put_discard(buf, sizeof(buf), &(struct wire_discard){ 0 }), e);

	if (!rc)
		rc = serve_until(o, WIRE_DISCARDED, deadline_in_ms(TALK_MS), e);
	if (!rc || (o->relay.io && rc != -ETIMEDOUT))
		return rc;
	drop_link(o, "no answer to DISCARD");
	while (ask_resume(o, &o->target, true, &state, e)) {
		log_warn("E_IN_DOUBT: %s", e ? e->text : "");
		usleep(500000);
	}
	if (state == KEEPER_EMPTY)
		return 0;
	link_close(take_ptr(o->target.l));	/* still there: the retry thaws it */
	return err_say(e, -ENOLINK, "the link to %s was lost", o->target.peer.name);
}

/* The program is @next's: the link changes, and the deputy and the new keeper agree anew */
int serve_new_target(struct origin *o, struct target *next, struct err *e)
{
	uint8_t buf[16];

	frame_io_free(o->relay.io);
	link_close(o->target.l);
	o->target = *next;
	next->l = NULL;
	o->retry_at = 0;
	o->relay.pending_len = 0;
	o->relay.io = frame_io_new(o->target.l, RELAY_QUEUE);
	if (!o->relay.io)
		return err_set(e, -ENOMEM, "serve the program");
	if (origin_note_session(o, NULL, e))
		log_warn("%s", e ? e->text : "the session's file couldn't be written");
	if (serve_connect_hub(o, e))
		log_warn("%s", e ? e->text : "no way to the hub");
	origin_report(o, "away");
	return serve_send(o, WIRE_GO, buf, wire_put_go(buf, sizeof(buf), &(struct wire_go){ 0 }), e);
}

/* The deputy has just exec'ed: it is let run, and GO goes out */
int serve_begin(struct origin *o, struct err *e)
{
	uint8_t buf[16];

	o->relay.io = frame_io_new(o->target.l, RELAY_QUEUE);
	if (!o->relay.io)
		return err_set(e, -ENOMEM, "serve the program");
	if (ptrace(PTRACE_CONT, o->pid, 0, 0))
		return err_set(e, -errno, "let the deputy run");
	return serve_send(o, WIRE_GO, buf, wire_put_go(buf, sizeof(buf), &(struct wire_go){ 0 }), e);
}

/* Committed, but something failed before GO was out: the deputy runs, and the link is made anew */
void serve_recover(struct origin *o)
{
	if (!o->relay.io && ptrace(PTRACE_CONT, o->pid, 0, 0) && errno != ESRCH)
		log_warn("let the deputy run: %s", strerror(errno));
	if (!o->retry_at)
		drop_link(o, "it is made anew");
}

void serve_loop(struct origin *o)
{
	origin_report(o, "away");
	while (!o->over && !o->home)
		if (serve_step(o, NO_DEADLINE) && errno == EBADF)
			break;
}

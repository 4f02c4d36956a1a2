/* SPDX-License-Identifier: MIT */
/*
 * ask.c - Connecting to a target, asking it, comparing clocks: nothing is stopped yet
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "proxy/daemon/greet.h"
#include "proxy/image/file_id.h"
#include "proxy/link/tls_connect.h"
#include "proxy/origin/self.h"
#include "proxy/target/check.h"

#define CLOCK_ROUNDS 5

int ask_find_peer(struct origin *o, const char *name, struct peer *out, struct err *e)
{
	const struct peer *p = peers_find(o->peers, name);

	if (!strcmp(name, ASK_SELF)) {
		*out = (struct peer){ .name = ASK_SELF, .addr = "self", .pin = "self" };
		return 0;
	}
	if (!p)
		return err_say(e, -ENOENT,
			       "no host named %s is trusted here; on it run mproxy --invite, here mmigrate trust %s TOKEN",
			       name, name);
	*out = *p;
	return 0;
}

static int say_hello(struct origin *o, struct target *t, bool why, struct err *e)
{
	struct wire_hello m = {
		.newest = WIRE_NEWEST, .oldest = WIRE_OLDEST, .version = MSHIM_VERSION, .host = o->env->host,
		.user = o->user, .uid = o->uid, .gid = o->gid, .why = why, .sid = o->sid,
		.groups = { o->groups, (uint32_t)((size_t)o->n_groups * sizeof(o->groups[0])) },
	};
	struct wire_hello its;
	uint8_t buf[4096];
	int rc = talk_send(t->l, WIRE_HELLO, buf, wire_put_hello(buf, sizeof(buf), &m), e);

	if (!rc)
		rc = talk_expect(t->l, WIRE_HELLO, &o->t, deadline_in_ms(TALK_MS), e);
	if (!rc && wire_get_hello(o->t.buf, o->t.len, &its))
		rc = err_say(e, -EBADMSG, "HELLO can't be read");
	if (rc)
		return rc;
	if (its.oldest > WIRE_NEWEST || its.newest < WIRE_OLDEST)
		return err_say(e, -EPROTONOSUPPORT, "%s speaks protocol %u to %u, this host %d to %d", t->peer.name,
			       its.oldest, its.newest, WIRE_OLDEST, WIRE_NEWEST);
	snprintf(t->host, sizeof(t->host), "%s", its.host);
	return 0;
}

/**
 * ask_connect() - A connection to @t->peer, both introduced
 *
 * For tests/bench @t->l may stand already.
 */
int ask_connect(struct origin *o, struct target *t, bool why, struct err *e)
{
	char host[PEER_ADDR];
	uint16_t port;
	int rc = 0;

	if (!t->l && !strcmp(t->peer.name, ASK_SELF)) {
		t->l = self_connect(o, e);
		if (!t->l)
			return e ? e->code : -EIO;
	} else if (!t->l) {
		rc = peer_addr_split(t->peer.addr, host, &port);
		if (rc)
			return err_say(e, rc, "%s has no address: trust it again with one", t->peer.name);
		t->l = tls_connect(o->env->identity, host, port, t->peer.pin, deadline_in_ms(10000), e);
		if (!t->l)
			return err_wrap(e, e->code ? e->code : -EIO, "connect to %s at %s", t->peer.name, t->peer.addr);
		rc = greet_connect(t->l, e);
	}
	if (!rc)
		rc = say_hello(o, t, why, e);
	if (rc == -ECONNRESET)
		err_say(e, rc, "%s closed the connection at once: perhaps it doesn't trust this host; on it, run mmigrate "
			"trust for %s", t->peer.name, o->env->host);
	if (rc) {
		link_close(t->l);
		t->l = NULL;
	}
	return rc;
}

/* File @index, counted through all processes of a tree */
static int identify(struct image *survey, size_t index, const char *who, struct err *e)
{
	for (size_t p = 0; p < image_processes(survey); p++) {
		struct image *img = image_process(survey, p);

		if (index < img->n_files)
			return file_identify(&img->files[index], e);
		index -= img->n_files;
	}
	return err_say(e, -EBADMSG, "%s asks for an unknown file", who);
}

/* The survey goes out; the target names files that it must compare by content, and is asked again */
int ask_offer(struct origin *o, struct target *t, struct image *survey, struct reasons *why, struct err *e)
{
	for (int round = 0; round < 3; round++) {
		AUTO_FREE char *text = image_to_json(survey);
		AUTO_FREE size_t *wants = NULL;
		struct reasons its = { 0 };
		struct wire_verdict v;
		size_t n = 0;
		int rc = text ? talk_send_text(t->l, WIRE_OFFER, text, e) : err_set(e, -ENOMEM, "write the survey");

		if (!rc)
			rc = talk_expect(t->l, WIRE_VERDICT, &o->t, deadline_in_ms(10 * TALK_MS), e);
		if (!rc && wire_get_verdict(o->t.buf, o->t.len, &v))
			rc = err_say(e, -EBADMSG, "VERDICT can't be read");
		if (!rc)
			rc = check_read_answer(v.answer, strlen(v.answer), &its, &wants, &n, t->mode, e);
		if (rc) {
			reasons_free(&its);
			return rc;
		}
		if (n && survey->saved_ns)
			rc = err_say(e, -EPROTO, "%s wants to compare files that are only known from the image; is it of "
				     "another version?", t->peer.name);
		for (size_t i = 0; i < n && !rc; i++)
			rc = identify(survey, wants[i], t->peer.name, e);
		if (!rc && (!n || reasons_refusals(&its))) {
			for (size_t i = 0; i < its.n; i++) {
				reasons_add(why, its.list[i].code, its.list[i].rule, "%s", its.list[i].text);
				if (why->n && !why->list[why->n - 1].where)
					why->list[why->n - 1].where = strdup(strcmp(t->peer.name, ASK_SELF) ? t->peer.name
													   : o->env->host);
			}
			reasons_free(&its);
			return 0;
		}
		reasons_free(&its);
		if (rc)
			return rc;
	}
	return err_say(e, -EPROTO, "%s isn't content with the files' checksums", t->peer.name);
}

/*
 * ask_clocks() - How far the target's clocks are from ours
 *
 * The program's CLOCK_MONOTONIC must never go back: to the best estimate the largest half round
 * trip is added, so that the offset errs forwards only.
 */
int ask_clocks(struct origin *o, struct target *t, struct err *e)
{
	int64_t best = INT64_MAX, half = 0;

	for (int i = 0; i < CLOCK_ROUNDS; i++) {
		struct wire_clock ask = { .echo = (uint64_t)i };
		int64_t t0 = clock_ns(CLOCK_MONOTONIC), b0 = clock_ns(CLOCK_BOOTTIME), r0 = clock_ns(CLOCK_REALTIME);
		struct wire_clock_is is;
		int64_t trip;
		uint8_t buf[32];
		int rc = talk_send(t->l, WIRE_CLOCK, buf, wire_put_clock(buf, sizeof(buf), &ask), e);

		if (!rc)
			rc = talk_expect(t->l, WIRE_CLOCK_IS, &o->t, deadline_in_ms(TALK_MS), e);
		if (!rc && (wire_get_clock_is(o->t.buf, o->t.len, &is) || is.echo != ask.echo))
			rc = err_say(e, -EBADMSG, "CLOCK_IS can't be read");
		if (rc)
			return rc;
		trip = clock_ns(CLOCK_MONOTONIC) - t0;
		half = MAX(half, trip / 2);
		if (trip >= best)
			continue;
		best = trip;
		t->monotonic_offset = t0 + trip / 2 - is.monotonic;
		t->boottime_offset = b0 + trip / 2 - is.boottime;
		t->clock_difference = r0 + trip / 2 - is.realtime;
	}
	t->monotonic_offset += half;
	t->boottime_offset += half;
	return 0;
}

int ask_prepare(struct origin *o, struct target *t, const struct image *survey, struct err *e)
{
	AUTO_FREE char *text = image_to_json(survey);
	struct wire_prepare m = { .monotonic_offset = t->monotonic_offset, .boottime_offset = t->boottime_offset,
				  .pid = (uint32_t)o->pid, .survey = text };
	size_t size = text ? strlen(text) + 64 : 0;
	AUTO_FREE uint8_t *buf = malloc(size + 1);
	int rc;

	if (!text || !buf)
		return err_set(e, -ENOMEM, "write the survey");
	rc = talk_send(t->l, WIRE_PREPARE, buf, wire_put_prepare(buf, size, &m), e);
	return rc ? rc : talk_expect(t->l, WIRE_PREPARED, &o->t, deadline_in_ms(TALK_MS), e);
}

/* A new connection for a session that was interrupted.  *@state: enum keeper_state */
int ask_resume(struct origin *o, struct target *t, bool committed, unsigned *state, struct err *e)
{
	struct wire_resume m = { .sid = o->sid, .committed = committed };
	struct wire_resumed r;
	uint8_t buf[128];
	int rc = ask_connect(o, t, false, e);

	if (!rc)
		rc = talk_send(t->l, WIRE_RESUME, buf, wire_put_resume(buf, sizeof(buf), &m), e);
	if (!rc)
		rc = talk_expect(t->l, WIRE_RESUMED, &o->t, deadline_in_ms(TALK_MS), e);
	if (!rc && wire_get_resumed(o->t.buf, o->t.len, &r))
		rc = err_say(e, -EBADMSG, "RESUMED can't be read");
	if (rc) {
		link_close(t->l);
		t->l = NULL;
		return rc;
	}
	*state = r.state;
	return 0;
}

/* Best effort: a target that doesn't hear it sees the connection end */
void ask_abort(struct target *t)
{
	uint8_t buf[64];

	if (t->l && talk_send(t->l, WIRE_ABORT, buf,
			      wire_put_abort(buf, sizeof(buf), &(struct wire_abort){ "given up" }), NULL))
		log_debug("the target was gone before it could be told");
	link_close(t->l);
	t->l = NULL;
}

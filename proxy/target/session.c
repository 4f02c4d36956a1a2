/* SPDX-License-Identifier: MIT */
/*
 * session.c - The target's session: from the accepted connection to the program's end
 *
 * It starts with mproxy's rights, and gives them up in this order:
 *
 *	TLS, pin, first words	tls_accept.c, greet.c
 *	HELLO			which local user, by our own policy
 *	the maker		a child that can do one thing: start mrestore with arguments fixed now
 *	the user		everything else, the image above all, is read as the program's user
 *
 * Then it answers one message after the other (talk), until the program is READY; from there on
 * it serves (serve): frames to and from the keeper, and what the origin still wants.
 */
#include "proxy/daemon/session.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/stage.h"
#include "proxy/daemon/greet.h"
#include "proxy/link/relay.h"
#include "proxy/link/talk.h"
#include "proxy/link/tls_accept.h"
#include "proxy/origin/mem_send.h"
#include "proxy/target/check.h"
#include "proxy/target/fill.h"
#include "proxy/target/keeper.h"
#include "proxy/target/maker.h"

#define LINGER_MS 10000		/* how long the origin has to close the link after the end */
#define MEM_CHUNK ((1u << 20) + 4096)

struct guest {
	const struct session_env *env;
	struct link *l;
	struct peer peer;
	char sid[SID_LEN + 1];
	struct maker_user user;
	struct maker maker;
	struct image *survey, *image;	/* image: while this side is the source */
	struct talk t;
	int control;			/* to the keeper; -1: none */
	pid_t pid;			/* the program's, at its origin and in its namespace */
	pid_t host_pid;			/* the same, as this /proc knows it */
	pid_t host_pids[IMAGE_MOST_PROCESSES + 1];	/* of each process of image */
	struct fill *fills;		/* a process each */
	size_t n_fills;
	int fill_fds[SOCK_MAX_FDS];
	int n_fill_fds;
	uint64_t filled;		/* pages */
	struct relay relay;
	int asking;			/* a local client's control socket: waits for MOVED_ON; -1 */
	bool discarded, over;
};

/* ---- agreeing ------------------------------------------------------------------------------------------ */

static int say_hello(struct guest *g, struct err *e)
{
	struct wire_hello m = { .newest = WIRE_NEWEST, .oldest = WIRE_OLDEST, .version = MSHIM_VERSION,
				.host = g->env->host };
	uint8_t buf[1024];

	return talk_send(g->l, WIRE_HELLO, buf, wire_put_hello(buf, sizeof(buf), &m), e);
}

static void say_fail(struct guest *g, int code, const char *text)
{
	struct wire_fail m = { .code = code, .text = text };
	uint8_t buf[1024];
	ssize_t n = wire_put_fail(buf, sizeof(buf), &m);

	log_warn("peer %s: %s", g->peer.name, text);
	if (g->relay.io) {
		if (n > 0 && frame_io_put(g->relay.io, WIRE_FAIL, 0, buf, (size_t)n))
			g->over = true;
	} else if (talk_send(g->l, WIRE_FAIL, buf, n, NULL)) {
		g->over = true;
	}
}

/* The local user whom our policy lets this peer's program run as */
static int find_user(struct guest *g, const struct wire_hello *h, struct err *e)
{
	struct passwd *pw = g->env->root ? getpwnam(h->user) : getpwuid(geteuid());
	int n = ARRAY_SIZE(g->user.groups);

	if (!pw)
		return err_say(e, -EACCES, "E_USER: there is no user \"%s\" on %s", h->user, g->env->host);
	g->user.uid = pw->pw_uid;
	g->user.gid = pw->pw_gid;
	g->user.image_uid = h->uid;
	g->user.image_gid = h->gid;
	snprintf(g->user.name, sizeof(g->user.name), "%s", pw->pw_name);
	if (g->env->only_user && strcmp(g->env->only_user, pw->pw_name))
		return err_say(e, -EACCES, "E_USER: a program of %s's can't be run as %s", g->env->only_user, pw->pw_name);
	if (!g->env->only_user && !policy_user_allowed(g->env->policy, g->peer.name, pw->pw_name, pw->pw_uid)) {
		log_line(LOG_LEVEL_WARN, "E_PEER_RIGHTS", "peer %s may not run programs as %s", g->peer.name, pw->pw_name);
		return err_say(e, -EACCES, "E_PEER_RIGHTS: the policy of %s doesn't let this host run programs as user %s",
			       g->env->host, pw->pw_name);
	}
	if (g->env->root && getgrouplist(pw->pw_name, pw->pw_gid, g->user.groups, &n) < 0)
		n = ARRAY_SIZE(g->user.groups);
	/* those of the local user's groups that the program was in: never one more than it had */
	g->user.n_groups = 0;
	for (int i = 0; i < n && g->env->root; i++)
		for (uint32_t k = 0; k + 4 <= h->groups.len; k += 4) {
			uint32_t claimed;

			memcpy(&claimed, (const uint8_t *)h->groups.p + k, 4);
			if (claimed == g->user.groups[i]) {
				g->user.groups[g->user.n_groups++] = claimed;
				break;
			}
		}
	return 0;
}

static bool sid_ok(const char *sid)
{
	return strlen(sid) == SID_LEN && strspn(sid, "0123456789abcdef") == SID_LEN;
}

static int agree(struct guest *g, struct err *e)
{
	struct wire_hello h;
	char name[64];
	int rc = talk_expect(g->l, WIRE_HELLO, &g->t, deadline_in_ms(TALK_MS), e);

	if (!rc && wire_get_hello(g->t.buf, g->t.len, &h))
		rc = err_say(e, -EBADMSG, "HELLO can't be read");
	if (rc)
		return rc;
	if (h.oldest > WIRE_NEWEST || h.newest < WIRE_OLDEST)
		return err_say(e, -EPROTONOSUPPORT, "%s speaks protocol %d to %d, the peer %u to %u", g->env->host,
			       WIRE_OLDEST, WIRE_NEWEST, h.oldest, h.newest);
	if (!sid_ok(h.sid))
		return err_say(e, -EBADMSG, "HELLO has no session id");
	memcpy(g->sid, h.sid, sizeof(g->sid));
	snprintf(name, sizeof(name), "guest %.8s", g->sid);
	log_set_name(name);
	snprintf(g->user.hostname, sizeof(g->user.hostname), "%s", h.host);
	rc = find_user(g, &h, e);
	return rc ? rc : say_hello(g, e);
}

/* No way back: from here on this process is the program's user */
static int become_user(struct guest *g, struct err *e)
{
	if (!g->env->root || !g->user.uid)
		return 0;
	if (setgroups((size_t)g->user.n_groups, g->user.groups) || setresgid(g->user.gid, g->user.gid, g->user.gid) ||
	    setresuid(g->user.uid, g->user.uid, g->user.uid))
		return err_set(e, -errno, "become user %s", g->user.name);
	prctl(PR_SET_DUMPABLE, 0);
	return 0;
}

/* ---- to the keeper ---------------------------------------------------------------------------------------- */

static int to_keeper(struct guest *g, unsigned type, const void *payload, size_t len, int fd, struct err *e)
{
	AUTO_FREE uint8_t *buf = malloc(len + WIRE_HEAD);
	ssize_t n = buf ? wire_pack(buf, len + WIRE_HEAD, type, 0, payload, len) : -ENOMEM;
	int rc = n < 0 ? (int)n : g->control < 0 ? -ENOTCONN : 0;

	if (!rc)
		rc = sock_send(g->control, buf, (size_t)n, &fd, fd >= 0, deadline_in_ms(10000));
	return rc ? err_set(e, rc, "ask the keeper") : 0;
}

/* A text of any length goes to the keeper as a memfd */
static int text_to_keeper(struct guest *g, unsigned type, const char *text, struct err *e)
{
	AUTO_FD int fd = memfd_create("text", MFD_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_set(e, -errno, "pass a text to the keeper");
	return to_keeper(g, type, NULL, 0, fd, e);
}

struct keeper_says {
	uint8_t buf[WIRE_LOCAL_MAX];
	struct wire_head h;
	const void *payload;
	int fds[SOCK_MAX_FDS], nfds;
};

static int from_keeper(struct guest *g, struct keeper_says *k, int64_t deadline, struct err *e)
{
	ssize_t n;

	k->nfds = SOCK_MAX_FDS;
	n = sock_recv(g->control, k->buf, sizeof(k->buf), k->fds, &k->nfds, deadline);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n == 0)
		return err_say(e, -EPIPE, "the restore helper ended; the log of %s says why", g->env->host);
	if (n < 0)
		return err_set(e, (int)n, "hear the restore helper");
	if (wire_unpack(k->buf, (size_t)n, &k->h, &k->payload))
		return err_say(e, -EBADMSG, "the restore helper talks nonsense");
	return 0;
}

static void close_says(struct keeper_says *k)
{
	for (int i = 0; i < k->nfds; i++)
		if (k->fds[i] >= 0)
			close(k->fds[i]);
	k->nfds = 0;
}

/* The keeper's answer of @type; its descriptors stay in @k, the caller's */
static int keeper_expect(struct guest *g, unsigned type, struct keeper_says *k, struct err *e)
{
	int rc = from_keeper(g, k, deadline_in_ms(TALK_MS), e);

	if (rc || k->h.type == type)
		return rc;
	close_says(k);
	if (k->h.type == WIRE_FAIL)
		return talk_fail_to_err(k->payload, k->h.length, e);
	return err_say(e, -EPROTO, "the restore helper said %s where %s was due", wire_name(k->h.type),
		       wire_name(type));
}

/* ---- step by step: one handler a message -------------------------------------------------------------------- */

static int on_offer(struct guest *g, struct err *e)
{
	struct check c = { .policy = g->env->policy, .root = g->env->root, .uid = g->user.uid, .gid = g->user.gid,
			   .user = g->user.name };
	struct reasons why = { 0 };
	AUTO_FREE char *text = NULL;
	struct wire_verdict v = { 0 };
	AUTO_FREE uint8_t *buf = NULL;
	struct wire_offer m;
	json *answer;
	int rc = wire_get_offer(g->t.buf, g->t.len, &m);

	image_free(take_ptr(g->survey));
	if (!rc)
		rc = image_from_json(m.survey, strlen(m.survey), &g->survey, e);
	if (rc)
		return err_wrap(e, rc, "read the survey");
	g->pid = image_program(g->survey);
	c.survey = g->survey;
	c.why = &why;
	rc = check_survey(&c, e);
	if (!rc) {
		answer = check_answer(&c, g->env->host);
		text = json_text(answer, false);
		json_free(answer);
		v.refused = reasons_refusals(&why) > 0;
		v.answer = text;
	}
	for (size_t i = 0; i < why.n; i++)
		log_line(LOG_LEVEL_INFO, reason_name(why.list[i].code), "%s", why.list[i].text);
	reasons_free(&why);
	free(c.wants);
	buf = rc || !text ? NULL : malloc(strlen(text) + 64);
	if (!rc && !buf)
		rc = err_set(e, -ENOMEM, "answer the survey");
	return rc ? rc : talk_send(g->l, WIRE_VERDICT, buf, wire_put_verdict(buf, strlen(text) + 64, &v), e);
}

static int on_clock(struct guest *g, struct err *e)
{
	struct wire_clock_is r = { 0 };
	struct wire_clock m;
	uint8_t buf[64];

	if (wire_get_clock(g->t.buf, g->t.len, &m))
		return err_say(e, -EBADMSG, "CLOCK can't be read");
	r.echo = m.echo;
	r.monotonic = clock_ns(CLOCK_MONOTONIC);
	r.boottime = clock_ns(CLOCK_BOOTTIME);
	r.realtime = clock_ns(CLOCK_REALTIME);
	return talk_send(g->l, WIRE_CLOCK_IS, buf, wire_put_clock_is(buf, sizeof(buf), &r), e);
}

static int on_prepare(struct guest *g, struct err *e)
{
	struct wire_prepare m;
	struct keeper_says k;
	int rc = wire_get_prepare(g->t.buf, g->t.len, &m);

	if (rc || !g->survey)
		return err_say(e, -EPROTO, "PREPARE came before the survey");
	rc = maker_start(&g->maker, m.monotonic_offset, m.boottime_offset, e);
	if (rc)
		return rc;
	g->control = take_fd(&g->maker.control);
	rc = text_to_keeper(g, WIRE_PREPARE, m.survey, e);
	if (!rc)
		rc = keeper_expect(g, WIRE_PREPARED, &k, e);
	if (rc)
		return rc;
	if (k.nfds == 1 && maker_pid_of(k.fds[0], &g->host_pid, NULL))
		g->host_pid = 0;
	rc = talk_send(g->l, WIRE_PREPARED, k.payload, k.h.length, e);
	close_says(&k);
	return rc;
}

/* Where each process's pages go: its descriptors follow one another */
static int take_fills(struct guest *g, const wire_blob *layout)
{
	struct bytes b = bytes_of(layout->p, layout->len);
	int at = 0;

	g->n_fills = layout->len / 8;
	g->fills = calloc(g->n_fills + 1, sizeof(*g->fills));
	for (size_t i = 0; g->fills && i < g->n_fills; i++) {
		bool uffd = bytes_get_le(&b, 4);
		uint32_t objects = (uint32_t)bytes_get_le(&b, 4);

		if (b.bad || objects > SOCK_MAX_FDS || at + 1 + uffd + (int)objects > g->n_fill_fds)
			return -EPROTO;
		g->fills[i] = (struct fill){ .mem = g->fill_fds[at], .uffd = uffd ? g->fill_fds[at + 1] : -1,
					     .objects = g->fill_fds + at + 1 + uffd, .n_objects = objects };
		at += 1 + uffd + (int)objects;
	}
	return g->fills && g->n_fills ? 0 : -EPROTO;
}

static int on_image(struct guest *g, struct err *e)
{
	AUTO_IMAGE struct image *img = NULL;
	struct wire_fillable f;
	struct wire_image m;
	struct keeper_says k;
	int rc = wire_get_image(g->t.buf, g->t.len, &m);

	if (!rc)
		rc = image_from_json(m.manifest, strlen(m.manifest), &img, e);
	if (!rc)
		rc = check_again(img, g->survey, e);
	if (!rc)
		rc = text_to_keeper(g, WIRE_IMAGE, m.manifest, e);
	if (!rc)
		rc = keeper_expect(g, WIRE_FILLABLE, &k, e);
	if (rc)
		return rc;
	memcpy(g->fill_fds, k.fds, (size_t)k.nfds * sizeof(int));
	g->n_fill_fds = k.nfds;
	if (wire_get_fillable(k.payload, k.h.length, &f) || take_fills(g, &f.layout))
		return err_say(e, -EPROTO, "the restore helper gave no way to fill the memory");
	return talk_send(g->l, WIRE_FILLABLE, k.payload, k.h.length, e);
}

/* What READY and RESUMED bring along: the pump's socket, and a pidfd of the program */
static void take_pump(struct guest *g, struct keeper_says *k)
{
	if (k->nfds > 1 && maker_pid_of(k->fds[1], &g->host_pid, NULL))
		g->host_pid = 0;
	drop_fd(&g->relay.sock);
	if (k->nfds > 0) {
		g->relay.sock = k->fds[0];
		k->fds[0] = -1;
	}
	close_says(k);
}

static int on_mem_end(struct guest *g, struct err *e)
{
	struct wire_mem_end m;
	struct keeper_says k;
	int rc = wire_get_mem_end(g->t.buf, g->t.len, &m);

	for (int i = 0; i < g->n_fill_fds; i++)
		close(g->fill_fds[i]);
	g->n_fill_fds = 0;
	for (size_t i = 0; i < g->n_fills; i++)
		g->filled += g->fills[i].pages;
	if (!rc && m.pages != g->filled)
		rc = err_say(e, -EBADMSG, "%llu pages came, %llu were sent", (unsigned long long)g->filled,
			     (unsigned long long)m.pages);
	if (!rc)
		rc = to_keeper(g, WIRE_MEM_END, g->t.buf, g->t.len, -1, e);
	if (!rc)
		rc = keeper_expect(g, WIRE_READY, &k, e);
	if (rc)
		return rc;
	take_pump(g, &k);
	return talk_send(g->l, WIRE_READY, k.payload, k.h.length, e);
}

/* The session takes over a keeper that lost its own */
static int on_resume(struct guest *g, struct err *e)
{
	struct keeper_says k;
	uint8_t buf[64];
	struct wire_resumed none = { .state = KEEPER_EMPTY };
	int rc;

	g->control = take_fd(&g->maker.resumed);
	if (g->control < 0)	/* there is none: the program has ended, or was lost */
		return talk_send(g->l, WIRE_RESUMED, buf, wire_put_resumed(buf, sizeof(buf), &none), e);
	rc = to_keeper(g, WIRE_RESUME, NULL, 0, -1, e);
	if (!rc)
		rc = keeper_expect(g, WIRE_RESUMED, &k, e);
	if (rc)
		return rc;
	if (!wire_get_resumed(k.payload, k.h.length, &none))
		g->pid = (pid_t)none.pid;
	take_pump(g, &k);
	return talk_send(g->l, WIRE_RESUMED, k.payload, k.h.length, e);
}

static const struct step {
	unsigned type;
	bool serves;			/* from here on the link is served */
	const char *stage;		/* a name for MMIGRATE_FAULT */
	int (*handle)(struct guest *g, struct err *e);
} steps[] = {
	{ WIRE_OFFER,	false,	"target: checking",		on_offer },
	{ WIRE_CLOCK,	false,	"target: telling the time",	on_clock },
	{ WIRE_PREPARE, false,	"target: preparing",		on_prepare },
	{ WIRE_IMAGE,	false,	"target: rebuilding",		on_image },
	{ WIRE_MEM_END, true,	"target: finishing",		on_mem_end },
	{ WIRE_RESUME,	true,	"target: resuming a session",	on_resume },
};

/* Pages land where they belong; the buffer is reused for each frame */
static int receive_pages(struct guest *g, const struct frame *f, uint8_t *buf, struct err *e)
{
	struct wire_mem m;
	uint8_t head[12];
	int rc;

	if (f->length < sizeof(head) || (f->length - sizeof(head)) & 4095 || f->length - sizeof(head) > MEM_CHUNK ||
	    !g->n_fill_fds)
		return err_say(e, -EBADMSG, "memory came in a wrong form");
	rc = link_recv(g->l, head, sizeof(head), deadline_in_ms(TALK_MS), e);
	if (!rc)
		rc = link_recv(g->l, buf, f->length - sizeof(head), deadline_in_ms(TALK_MS), e);
	if (!rc)
		rc = wire_get_mem(head, sizeof(head), &m);
	if (!rc && m.space >> 16 >= g->n_fills)
		rc = err_say(e, -EBADMSG, "memory came for a process that the image doesn't have");
	return rc ? rc : fill_pages(&g->fills[m.space >> 16], m.space & 0xffff, m.addr, buf, f->length - sizeof(head), e);
}

/* One message and its answer.  1: it's time to serve */
static int one_step(struct guest *g, uint8_t *pages, struct err *e)
{
	struct frame f;
	int rc = frame_recv_header(g->l, &f, NO_DEADLINE, e);

	if (rc)
		return rc;
	if (f.type == WIRE_MEM)
		return receive_pages(g, &f, pages, e);
	free(g->t.buf);
	g->t = (struct talk){ .type = f.type, .buf = malloc(f.length + 1), .len = f.length, .size = f.length + 1 };
	if (!g->t.buf)
		return err_set(e, -ENOMEM, "receive %s", wire_name(f.type));
	rc = link_recv(g->l, g->t.buf, f.length, deadline_in_ms(TALK_MS), e);
	if (!rc && frame_verify(&f, g->t.buf))
		rc = err_say(e, -EBADMSG, "the peer sent a damaged %s", wire_name(f.type));
	if (rc)
		return rc;
	if (f.type == WIRE_ABORT)
		return err_say(e, -ECANCELED, "the origin gave the move up");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].type != f.type)
			continue;
		rc = stage_fault(steps[i].stage, e);
		if (!rc)
			rc = steps[i].handle(g, e);
		if (rc)
			return err_wrap(e, rc, "%s", steps[i].stage + strlen("target: "));
		return steps[i].serves;
	}
	return err_say(e, -EPROTO, "%s makes no sense now", wire_name(f.type));
}

/* ---- serving -------------------------------------------------------------------------------------------------- */

static void put(struct guest *g, unsigned type, const void *payload, ssize_t len)
{
	if (len < 0 || frame_io_put(g->relay.io, type, 0, payload, (size_t)len)) {
		log_err("the link's queue is full: giving it up");
		g->over = true;
	}
}

/* Everything queued is out, and the link may be used step by step for a while */
static int settle(struct guest *g, struct err *e)
{
	int64_t deadline = deadline_in_ms(TALK_MS);
	int rc;

	while ((rc = frame_io_flush(g->relay.io)) == -EAGAIN) {
		struct pollfd p = { .fd = g->l->fd, .events = POLLOUT };

		if (poll(&p, 1, deadline_left_ms(deadline)) == 0)
			return err_set(e, -ETIMEDOUT, "send to the origin");
	}
	return rc ? err_set(e, rc, "send to the origin") : 0;
}

/* The image of the frozen program is sent, this side being the source */
static int send_memory(struct guest *g, struct err *e)
{
	struct wire_mem_end m = { 0 };
	struct mem_sent sent = { 0 };
	uint8_t buf[16];
	int rc = g->image ? settle(g, e) : err_say(e, -EPROTO, "SEND_MEM came before FREEZE");

	if (!rc)
		rc = stage_fault("source: sending memory", e);
	for (size_t i = 0; !rc && i < image_processes(g->image); i++)
		rc = mem_send(g->l, g->host_pids[i], g->image, i, &sent, &m.pages, NO_DEADLINE, e);
	mem_sent_free(&sent);
	return rc ? rc : talk_send(g->l, WIRE_MEM_END, buf, wire_put_mem_end(buf, sizeof(buf), &m), e);
}

/* Frames for the keeper's control socket; the others are for the two ends */
static bool is_for_keeper(unsigned type)
{
	static const unsigned types[] = { WIRE_GO,     WIRE_ABORT,   WIRE_FREEZE,     WIRE_THAW,
					  WIRE_DISCARD, WIRE_SURVEY, WIRE_KEEPER_STOP };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i] == type)
			return true;
	return false;
}

static void answer_client(struct guest *g, int64_t code, const char *text)
{
	AUTO_JSON json *o = json_object();
	AUTO_FREE char *body = json_put_str(o, "text", text) ? json_text(o, false) : NULL;
	struct wire_answer m = { .code = code, .answer = body };
	uint8_t payload[2048], buf[2100];
	ssize_t n = wire_put_answer(payload, sizeof(payload), &m);

	if (n > 0)
		n = wire_pack(buf, sizeof(buf), WIRE_ANSWER, 0, payload, (size_t)n);
	if (g->asking >= 0 && n > 0 && sock_send(g->asking, buf, (size_t)n, NULL, 0, deadline_in_ms(1000)))
		log_info("a local client has gone");
	drop_fd(&g->asking);
}

static void from_link(struct guest *g, const struct frame *f)
{
	struct err e = { 0 };
	int rc = 0;

	if (relay_is_for_ends(f->type)) {
		rc = relay_to_sock(&g->relay, f);
		if (rc && rc != -EAGAIN)
			drop_fd(&g->relay.sock);
		return;
	}
	if (f->type == WIRE_DISCARD && g->control < 0) {	/* it's gone already */
		put(g, WIRE_DISCARDED, NULL, 0);
	} else if (is_for_keeper(f->type)) {
		char stage[64];

		snprintf(stage, sizeof(stage), "target: %s", wire_name(f->type));
		rc = stage_fault(stage, &e);
		if (!rc)
			rc = to_keeper(g, f->type, f->payload, f->length, -1, &e);
	} else if (f->type == WIRE_SEND_MEM) {
		rc = send_memory(g, &e);
	} else if (f->type == WIRE_MOVED_ON) {
		struct wire_moved_on m;

		if (!wire_get_moved_on(f->payload, f->length, &m))
			answer_client(g, m.code, m.text);
	} else {
		rc = err_say(&e, -EPROTO, "%s makes no sense now", wire_name(f->type));
	}
	if (rc)
		say_fail(g, rc, e.text);
}

/* SURVEYED and IMAGE come from the keeper as memfds and go over the link as texts */
static int pass_text(struct guest *g, struct keeper_says *k, struct err *e)
{
	AUTO_FREE uint8_t *buf = NULL;
	AUTO_FREE char *text = NULL;
	struct stat st;
	ssize_t n;
	int rc = 0;

	if (k->nfds < 1 || fstat(k->fds[0], &st) || st.st_size > FRAME_IMAGE_MAX - 64)
		return err_say(e, -EPROTO, "the keeper sent no image");
	text = calloc(1, (size_t)st.st_size + 1);
	buf = malloc((size_t)st.st_size + 64);
	if (!text || !buf || pread(k->fds[0], text, (size_t)st.st_size, 0) != st.st_size)
		return err_set(e, -ENOMEM, "pass the image on");
	if (k->h.type == WIRE_IMAGE) {
		image_free(take_ptr(g->image));
		rc = image_from_json(text, (size_t)st.st_size, &g->image, e);
		if (!rc && k->nfds != 1 + (int)image_processes(g->image))
			rc = err_say(e, -EPROTO, "the keeper sent an image of %zu processes, and named %d",
				     image_processes(g->image), k->nfds - 1);
		for (int i = 1; i < k->nfds && !rc; i++)
			rc = maker_pid_of(k->fds[i], &g->host_pids[i - 1], e);
	}
	n = wire_put_image(buf, (size_t)st.st_size + 64, &(struct wire_image){ text });
	if (!rc)
		put(g, k->h.type, buf, n);
	return rc;
}

static void from_keeper_serving(struct guest *g)
{
	struct keeper_says k;
	struct err e = { 0 };
	int rc = from_keeper(g, &k, 0, &e);

	if (rc == -EAGAIN)
		return;
	if (rc) {	/* the keeper ended: the program has, and everybody was told */
		maker_forget(&g->maker);
		drop_fd(&g->control);
		/* told: the origin closes the link when it has read that.  Not told: it was a crash, and
		 * the origin finds out when it asks again */
		g->over = !g->discarded;
		return;
	}
	g->discarded |= k.h.type == WIRE_DISCARDED;
	if (k.h.type == WIRE_IMAGE || k.h.type == WIRE_SURVEYED)
		rc = pass_text(g, &k, &e);
	else
		put(g, k.h.type, k.payload, k.h.length);
	if (rc)
		say_fail(g, rc, e.text);
	close_says(&k);
}

static void local_message(void *ctx UNUSED, unsigned type, const void *payload UNUSED, size_t len UNUSED)
{
	log_warn("the keeper's pump said %s", wire_name(type));
}

/* mmigrate at the target: the origin decides and does it */
static void from_leash(struct guest *g)
{
	uint8_t buf[4096], out[512];
	AUTO_JSON json *o = NULL;
	struct wire_head h;
	struct wire_ask m;
	struct wire_move_on on = { .host = "" };
	const char *what, *host = "";
	const void *payload;
	int fd = -1, nfds = 1;
	ssize_t n = sock_recv(g->env->leash, buf, sizeof(buf), &fd, &nfds, 0);

	if (n <= 0 || wire_unpack(buf, (size_t)n, &h, &payload) || h.type != WIRE_ASK ||
	    wire_get_ask(payload, h.length, &m) || json_parse(m.request, strlen(m.request), &o, NULL) ||
	    json_get_str(o, "do", &what, NULL) || nfds != 1) {
		if (n > 0 && nfds == 1)
			close(fd);
		return;
	}
	drop_fd(&g->asking);
	g->asking = fd;
	if (!strcmp(what, "move") && json_get_str(o, "host", &host, NULL)) {
		answer_client(g, -EINVAL, "which host?");
		return;
	}
	if (!strcmp(what, "save")) {
		answer_client(g, -EINVAL, "only a program that is at home can be saved");
		return;
	}
	if (!strcmp(what, "why")) {
		answer_client(g, -EINVAL, "ask at its origin: mmigrate why there");
		return;
	}
	on.host = host;
	put(g, WIRE_MOVE_ON, out, wire_put_move_on(out, sizeof(out), &on));
}

/* A turn's worth of frames.  true: there may be more, which poll() doesn't see: TLS holds them */
static bool serve_link(struct guest *g)
{
	struct frame f;

	for (int i = 0; i < 64; i++) {
		int rc;

		if (g->relay.pending_len || g->over)
			return false;
		rc = frame_io_poll_in(g->relay.io, &f);
		if (rc < 0)
			g->over = true;
		if (rc <= 0)
			return false;
		from_link(g, &f);
	}
	return true;
}

static void report(struct guest *g, const char *state)
{
	AUTO_JSON json *o = json_object();
	AUTO_FREE char *text = NULL;
	uint8_t payload[1024], buf[1100];
	ssize_t n;

	if (g->pid < 1)		/* a session that found no keeper any more */
		return;
	json_put_str(o, "sid", g->sid);
	json_put_int(o, "pid", g->pid);
	json_put_bool(o, "guest", true);
	json_put_int(o, "host_pid", g->host_pid);
	json_put_int(o, "uid", g->user.uid);
	json_put_str(o, "state", state);
	json_put_str(o, "peer", g->peer.name);
	json_put_str(o, "comm", g->survey && g->survey->comm ? g->survey->comm : "");
	text = json_text(o, false);
	n = wire_put_answer(payload, sizeof(payload), &(struct wire_answer){ 0, text ? text : "{}" });
	if (n > 0)
		n = wire_pack(buf, sizeof(buf), WIRE_ANSWER, 0, payload, (size_t)n);
	if (g->env->leash >= 0 && n > 0 && sock_send(g->env->leash, buf, (size_t)n, NULL, 0, 0))
		log_debug("the daemon isn't there to be told");
}

/* What the keeper and the origin say goes to and fro until one of them is gone */
static void serve(struct guest *g)
{
	bool more = true;

	report(g, "here");
	while (!g->over) {
		bool room = frame_io_queued(g->relay.io) < RELAY_QUEUE / 2;
		struct pollfd p[] = {
			{ g->l->fd, (short)((g->relay.pending_len ? 0 : POLLIN) | (frame_io_queued(g->relay.io) ? POLLOUT : 0)), 0 },
			{ g->control, POLLIN, 0 },
			{ g->relay.sock, (short)((room ? POLLIN : 0) | (g->relay.pending_len ? POLLOUT : 0)), 0 },
			{ g->env->leash, POLLIN, 0 },
		};
		int rc;

		rc = poll(p, ARRAY_SIZE(p), more ? 0 : g->control < 0 ? LINGER_MS : -1);
		if ((rc < 0 && errno != EINTR) || (!rc && !more && g->control < 0))
			return;
		if (p[1].revents)
			from_keeper_serving(g);
		if (p[2].revents & POLLOUT && relay_flush_sock(&g->relay) == -EPIPE)
			drop_fd(&g->relay.sock);
		if (p[2].revents & (POLLIN | POLLHUP) && room && g->relay.sock >= 0 &&
		    relay_from_sock(&g->relay, local_message, g))
			drop_fd(&g->relay.sock);
		if (p[3].revents & POLLIN)
			from_leash(g);
		more = serve_link(g);
		rc = frame_io_flush(g->relay.io);
		if (rc && rc != -EAGAIN)
			g->over = true;
	}
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* The connection stands: everything up to its end */
int target_serve(const struct session_env *env, struct link *l, const struct peer *peer)
{
	struct guest *g = calloc(1, sizeof(*g));
	AUTO_FREE uint8_t *pages = aligned_alloc(4096, MEM_CHUNK);
	struct err e = { 0 };
	int rc;

	if (!g || !pages)
		return 1;
	*g = (struct guest){ .env = env, .l = l, .peer = *peer, .control = -1, .asking = -1 };
	g->relay.sock = -1;
	rc = agree(g, &e);
	if (!rc)
		rc = maker_fork(&g->maker, env, g->sid, peer->pin, &g->user, &e);
	if (!rc)
		rc = become_user(g, &e);
	while (!rc)
		rc = one_step(g, pages, &e);
	if (rc < 0) {
		if (rc != -ECONNRESET && rc != -ECANCELED)
			say_fail(g, rc, e.text);
		/* the keeper sees our end and gives up too: nothing was committed before READY */
		return 1;
	}
	g->relay.io = frame_io_new(l, RELAY_QUEUE);
	if (!g->relay.io)
		return 1;
	serve(g);
	report(g, "ended");
	if (frame_io_flush(g->relay.io))
		log_debug("the link was gone already");
	link_close(l);
	return 0;
}

int target_session(const struct session_env *env, int fd)
{
	struct err e = { 0 };
	struct peer peer;
	struct link *l = tls_accept(env->identity, fd, deadline_in_ms(GREET_MS), &e);
	int rc;

	if (!l) {
		log_line(LOG_LEVEL_WARN, "E_PEER_TLS", "%s", e.text);
		return 1;
	}
	rc = greet_accept(l, env->state_dir, &peer, &e);
	if (rc) {
		if (rc < 0)
			log_warn("%s", e.text);
		link_close(l);
		return rc < 0;
	}
	return target_serve(env, l, &peer);
}

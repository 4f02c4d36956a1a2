/* SPDX-License-Identifier: MIT */
/*
 * requests.c - What mmigrate can ask mproxy, and who may
 *
 * A table: one row is one kind of request, who may ask it, and the function that fills in the
 * answer.  A function that fails only says why; that becomes the answer.  One that gave the
 * client's socket to somebody else returns PASSED_ON, and nothing more is said here.
 */
#include "proxy/daemon/requests.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "proxy/daemon/greet.h"
#include "proxy/daemon/invite.h"
#include "proxy/daemon/listen.h"
#include "proxy/daemon/peers.h"
#include "proxy/daemon/places.h"
#include "proxy/image/reasons.h"
#include "proxy/link/identity.h"
#include "proxy/link/tls_connect.h"
#include "proxy/trace/procfs.h"

#define PASSED_ON 1
#define CONNECT_MS 10000	/* for the host that made an invitation to answer */

/* A request while it is served */
struct request {
	const struct requests *d;
	int fd;
	const struct asker *who;
	const char *text;	/* as it came */
	const json *json;
	json *answer;
};

typedef int request_fn(struct request *q, struct err *e);

enum may { MAY_ALL, MAY_ADMIN, MAY_OWNER };	/* of the program: do_program() looks */

/* ---- about mproxy itself -------------------------------------------------------------- */

static int do_ps(struct request *q, struct err *e)
{
	json *list = children_list(q->d->children);
	size_t n = json_count(list);

	(void)e;
	json_put(q->answer, "programs", list);
	json_put_str(q->answer, "text", n ? "these programs have moved" : "no program has moved");
	return 0;
}

static int do_peers(struct request *q, struct err *e)
{
	json *list = json_array();
	struct peers *ps = NULL;
	int r = peers_load(q->d->env->state_dir, &ps, e);

	for (size_t i = 0; !r && i < peers_count(ps); i++) {
		const struct peer *p = peers_at(ps, i);
		json *one = json_object();

		json_put_str(one, "name", p->name);
		json_put_str(one, "address", p->addr);
		json_put_str(one, "identity", p->pin);
		json_push(list, one);
	}
	if (!r)
		json_put_str(q->answer, "text",
			     peers_count(ps) ? "these hosts are trusted" : "no host is trusted");
	json_put(q->answer, "peers", list);
	peers_free(ps);
	return r;
}

static int do_identity(struct request *q, struct err *e)
{
	(void)e;
	json_put_str(q->answer, "identity", identity_pin(q->d->env->identity));
	json_put_str(q->answer, "host", q->d->env->host);
	json_put_str(q->answer, "version", MSHIM_VERSION);
	json_put_str(q->answer, "listen", q->d->listen);
	json_put_str(q->answer, "advertise", q->d->advertise);
	json_put_str(q->answer, "text", identity_pin(q->d->env->identity));
	return 0;
}

static int do_policy(struct request *q, struct err *e)
{
	const struct policy_rule *rule = NULL;
	char said[PEER_NAME + POLICY_PATTERN_MAX + 64], text[2 * sizeof(said)];
	const char *path, *verdict;
	int r = json_get_str(q->json, "path", &path, e);

	if (r)
		return r;
	if (path[0] != '/')
		return err_say(e, -EINVAL, "%s is not an absolute path", path);
	verdict = policy_verdict_name(policy_path(q->d->env->policy, path, &rule));
	json_put_str(q->answer, "verdict", verdict);
	if (!rule) {
		snprintf(text, sizeof(text), "%s is %s: no rule matches, the default decides",
			 path, verdict);
	} else {
		policy_rule_text(rule, said, sizeof(said));
		snprintf(text, sizeof(text), "%s is %s, by %s", path, verdict, said);
		json_put_str(q->answer, "rule", said);
		json_put_str(q->answer, "note", policy_rule_note(rule));
	}
	json_put_str(q->answer, "text", text);
	return 0;
}

/* ---- peers ------------------------------------------------------------------------------ */

static int copy_name(const json *j, struct peer *p, struct err *e)
{
	const char *name;
	int r = json_get_str(j, "name", &name, e);

	if (r)
		return r;
	if (!peer_name_ok(name))
		return err_say(e, -EINVAL, "%s can't be a host's name here: 1 to 63 letters, "
			       "digits, '.', '_', '-'", name);
	strcpy(p->name, name);
	return 0;
}

/* Pins @p, and says so in @answer */
static int pin(const struct session_env *env, const struct peer *p, json *answer, struct err *e)
{
	char text[200];
	int r = peers_pin(env->state_dir, p, false, e);

	if (r)
		return r;
	log_info("trusts key %s as %s, reached at %s", p->pin, p->name, p->addr);
	snprintf(text, sizeof(text), "%s is trusted, and reached at %s", p->name, p->addr);
	json_put_str(answer, "text", text);
	return 0;
}

/**
 * redeem() - Trust by token: brings an invitation to the host that made it, and pins that host
 * @env:	The helper's
 * @j:		The request; "advertise" was added by do_trust()
 * @answer:	What is said
 *
 * Return: 0 when both hosts trust each other
 */
static int redeem(const struct session_env *env, const json *j, json *answer, struct err *e)
{
	const char *mine = json_as_str(json_find(j, "advertise"));
	const char *token = json_as_str(json_find(j, "token"));
	char theirs[PEER_NAME], host[PEER_ADDR];
	struct peer p = { 0 };
	struct invite inv;
	uint16_t port;
	struct link *l;
	int r = copy_name(j, &p, e);

	if (!r)
		r = invite_parse(token, &inv, e);
	if (!r)
		r = peer_addr_split(inv.addr, host, &port);
	if (r)
		return r;
	l = tls_connect(env->identity, host, port, inv.pin, deadline_in_ms(CONNECT_MS), e);
	if (!l)
		return err_wrap(e, e->code, "the host that made the invitation");
	r = greet_redeem(l, &inv, env->host, mine, theirs, sizeof(theirs), e);
	link_close(l);
	explicit_bzero(inv.secret, sizeof(inv.secret));
	if (r)
		return r;
	strcpy(p.addr, inv.addr);
	strcpy(p.pin, inv.pin);
	json_put_str(answer, "calls_itself", theirs);
	json_put_str(answer, "name", p.name);
	json_put_str(answer, "address", p.addr);
	json_put_str(answer, "identity", p.pin);
	if (listen_is_loopback(mine) && !listen_is_loopback(inv.addr))
		json_put_str(answer, "warning", "that host was told to reach this one at a "
			     "loopback address; start mproxy with --advertise ADDR:PORT");
	return pin(env, &p, answer, e);
}

/* A helper's work: a children_help_fn */
static int redeem_and_answer(const struct session_env *env, int client, const char *text)
{
	AUTO_JSON json *j = NULL;
	json *answer = json_object();
	struct err e = { 0 };
	int r = json_parse(text, strlen(text), &j, &e);

	if (!r)
		r = redeem(env, j, answer, &e);
	if (r)
		json_put_str(answer, "text", e.text);
	return control_answer(client, r, answer) ? 1 : 0;
}

/* Calling the other host could block: a helper does it */
static int trust_by_token(struct request *q, const char *token, struct err *e)
{
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *text = NULL;
	struct peer p;
	struct invite inv;
	int r = copy_name(q->json, &p, e);

	if (!r)
		r = invite_parse(token, &inv, e);
	if (r)
		return r;
	explicit_bzero(inv.secret, sizeof(inv.secret));
	if (!q->d->advertise[0])
		return err_say(e, -EADDRNOTAVAIL, "this mproxy doesn't know where the other host "
			       "can reach it; start it with --advertise ADDR:PORT");
	json_put_str(j, "name", p.name);
	json_put_str(j, "token", token);
	json_put_str(j, "advertise", q->d->advertise);
	text = json_text(j, false);
	if (!text)
		return err_set(e, -ENOMEM, "redeem the invitation");
	r = children_help(q->d->children, redeem_and_answer, q->fd, text, e);
	return r ? r : PASSED_ON;
}

static int do_trust(struct request *q, struct err *e)
{
	const char *token = json_as_str(json_find(q->json, "token"));
	const char *key = json_find(q->json, "pin") ? "pin" : "identity", *addr, *id;
	struct peer p = { 0 };
	int r;

	if (token)
		return trust_by_token(q, token, e);
	r = copy_name(q->json, &p, e);
	if (!r)
		r = json_get_str(q->json, "address", &addr, e);
	if (!r)
		r = json_get_str(q->json, key, &id, e);
	if (!r)
		r = listen_address(addr, p.addr, e);
	if (r)
		return r;
	if (!peer_pin_ok(id))
		return err_say(e, -EINVAL, "that is not an identity: 64 lower-case hex digits, as "
			       "'mproxy --identity' prints them there");
	strcpy(p.pin, id);
	if (!strcmp(p.pin, identity_pin(q->d->env->identity)))
		return err_say(e, -EINVAL, "that is the identity of this host itself");
	return pin(q->d->env, &p, q->answer, e);
}

static int do_untrust(struct request *q, struct err *e)
{
	struct peer p = { 0 };
	char text[128];
	int r = copy_name(q->json, &p, e);

	if (!r)
		r = peers_unpin(q->d->env->state_dir, p.name, e);
	if (r)
		return r;
	log_info("trusts %s no longer", p.name);
	snprintf(text, sizeof(text), "%s is trusted no longer", p.name);
	json_put_str(q->answer, "text", text);
	return 0;
}

/* ---- programs --------------------------------------------------------------------------- */

/* The refusal as a reason of the list that `why` prints */
static int refuse(struct request *q, int code, enum reason_code reason, struct err *e)
{
	struct reasons list = { 0 };

	reasons_add(&list, reason, NULL, "%s", e->text);
	json_put(q->answer, "reasons", reasons_to_json(&list, q->d->env->host));
	reasons_free(&list);
	return code;
}

/* May the client command @owner's process? */
static int check_owner(struct request *q, pid_t pid, uid_t owner, struct err *e)
{
	if (q->who->uid == 0 || q->who->uid == owner)
		return 0;
	log_line(LOG_LEVEL_WARN, "E_NOT_PERMITTED", "uid %u asked about process %d of uid %u",
		 q->who->uid, (int)pid, owner);
	err_say(e, -EPERM, "process %d is another user's", (int)pid);
	return refuse(q, -EPERM, REASON_NOT_PERMITTED, e);
}

static int do_program(struct request *q, struct err *e)
{
	const char *what = json_as_str(json_find(q->json, "do"));
	struct proc_status status;
	struct session *s;
	int64_t pid;
	int r = json_get_int(q->json, "pid", 1, INT32_MAX, &pid, e);

	if (!r && !strcmp(what, "move")) {
		const char *host;

		r = json_get_str(q->json, "host", &host, e);
	}
	if (r)
		return r;
	s = children_find(q->d->children, (pid_t)pid, !strcmp(what, "home"));
	if (s) {
		r = check_owner(q, (pid_t)pid, children_owner(s), e);
		if (!r)
			r = children_ask(s, q->fd, q->text, e);
		return r ? r : PASSED_ON;
	}
	if (procfs_status((pid_t)pid, (pid_t)pid, &status, NULL) || status.tgid != pid) {
		err_say(e, -ESRCH, "there is no process %d", (int)pid);
		return refuse(q, -ESRCH, REASON_NO_PROCESS, e);
	}
	r = check_owner(q, (pid_t)pid, status.uid[0], e);
	if (!r)
		r = children_origin(q->d->children, q->fd, q->who->uid, (pid_t)pid, status.uid[0],
				    q->text, e);
	return r ? r : PASSED_ON;
}

/* Who asks is to become the deputy of a program that is in a file: a session for that process */
static int do_restore(struct request *q, struct err *e)
{
	const char *host;
	int r = json_get_str(q->json, "host", &host, e);

	if (!r)
		r = children_origin(q->d->children, q->fd, q->who->uid, q->who->pid, q->who->uid, q->text, e);
	return r ? r : PASSED_ON;
}

/* ---- the table ---------------------------------------------------------------------------- */

static const struct request_row {
	const char *name;
	enum may may;
	request_fn *run;
} rows[] = {
	{ "why", MAY_OWNER, do_program },
	{ "move", MAY_OWNER, do_program },
	{ "home", MAY_OWNER, do_program },
	{ "save", MAY_OWNER, do_program },
	{ "restore", MAY_ALL, do_restore },
	{ "ps", MAY_ALL, do_ps },
	{ "peers", MAY_ALL, do_peers },
	{ "identity", MAY_ALL, do_identity },
	{ "policy", MAY_ALL, do_policy },
	{ "trust", MAY_ADMIN, do_trust },
	{ "untrust", MAY_ADMIN, do_untrust },
};

static int serve(struct request *q, struct err *e)
{
	const char *what;
	int r = json_get_str(q->json, "do", &what, e);

	if (r)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (strcmp(rows[i].name, what))
			continue;
		if (rows[i].may == MAY_ADMIN && q->who->uid != 0 && q->who->uid != geteuid()) {
			log_line(LOG_LEVEL_WARN, "E_NOT_PERMITTED", "uid %u asked for %s",
				 q->who->uid, what);
			return err_say(e, -EPERM, "only root and the user of mproxy may %s", what);
		}
		return rows[i].run(q, e);
	}
	return err_say(e, -EOPNOTSUPP, "this mproxy (" MSHIM_VERSION ") knows no request \"%s\"",
		       what);
}

void requests_ask(void *ctx, int fd, const struct asker *who, const char *request)
{
	AUTO_JSON json *j = NULL;
	struct request q = { .d = ctx, .fd = fd, .who = who, .text = request,
			     .answer = json_object() };
	struct err e = { 0 };
	int r = json_parse(request, strlen(request), &j, &e);

	if (r)
		err_wrap(&e, r, "not a request");
	q.json = j;
	if (!r)
		r = serve(&q, &e);
	if (r == PASSED_ON) {
		json_free(q.answer);
		return;
	}
	if (r < 0)
		json_put_str(q.answer, "text", e.text);
	r = control_answer(fd, r, q.answer);
	if (r && r != -EPIPE)
		log_line(LOG_LEVEL_INFO, "E_CLIENT_BAD", "process %d of uid %u took no answer: %s",
			 (int)who->pid, who->uid, strerror(-r));
}

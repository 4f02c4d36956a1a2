/* SPDX-License-Identifier: MIT */
/*
 * policy_read.c - The policy, from its JSON file
 *
 * A table for each kind of object: one row is one key and the function that reads its
 * value.  Walking an object means to look up each of its members in the table; so a key
 * that isn't there is seen, and none needs to be.
 *
 * A reader of a value says what is wrong in a sentence; where it is, is found out once, by
 * fail_at(), from the value itself.
 */
#include "proxy/daemon/policy_read.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/json/json.h"

#define FILE_MAX (256 * 1024)
#define NAME_MAX_LEN 255
#define YEARS_100_S INT64_C(3155760000)
#define HOUR_MS INT64_C(3600000)

/**
 * struct reading - A text that is being read
 * @name:	What errors call it
 * @text:	@len bytes
 * @p:		The policy that is built
 * @rule:	The members of the rule that is being read
 * @peer:	The members of the peer that is being read
 */
struct reading {
	const char *name, *text;
	size_t len;
	const json *root;
	struct policy *p;
	struct {
		const char *path, *note;
		enum policy_verdict is;
		bool has_is;
	} rule;
	struct {
		const char *name;
		const json *users;
		bool root;
	} peer;
	struct err *e;
};

/* Reads one value.  Return: 0 or a negative errno, with the place in the error's text */
typedef int read_fn(struct reading *rd, const json *value);

struct key {
	const char *name;
	read_fn *read;
};

/** fail_at() - Put file, line and column of a value in front of an error.  Return: @r */
static int fail_at(struct reading *rd, const json *value, int r)
{
	unsigned line, col;

	json_place(rd->text, rd->len, rd->root, value, &line, &col);
	return err_wrap(rd->e, r, "%s: line %u, column %u", rd->name, line, col);
}

/** must_be() - The error for a value of the wrong kind */
static int must_be(struct reading *rd, const json *value, const char *what)
{
	const char *key = json_key(value);

	if (key)
		err_say(rd->e, -EINVAL, "\"%.80s\" must be %s", key, what);
	else
		err_say(rd->e, -EINVAL, "an element of this list must be %s", what);
	return fail_at(rd, value, -EINVAL);
}

/** unknown_key() - The error for a key that isn't in the table; it names those that are */
static int unknown_key(struct reading *rd, const json *member, const struct key *keys, size_t n)
{
	char list[256] = "";
	size_t len = 0;

	for (size_t i = 0; i < n && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
					keys[i].name);
	err_say(rd->e, -EINVAL, "\"%.80s\" is not a key here; known are %s", json_key(member),
		list);
	return fail_at(rd, member, -EINVAL);
}

/** read_members() - Read an object by the table of its keys */
static int read_members(struct reading *rd, const json *object, const struct key *keys, size_t n)
{
	int r = 0;

	if (!json_is_object(object))
		return must_be(rd, object, "an object");
	for (const json *m = json_first(object); m && !r; m = json_next(m)) {
		size_t i = 0;

		while (i < n && strcmp(keys[i].name, json_key(m)))
			i++;
		r = i < n ? keys[i].read(rd, m) : unknown_key(rd, m, keys, n);
	}
	return r;
}

static int read_ignored_string(struct reading *rd, const json *value)
{
	return json_is_string(value) ? 0 : must_be(rd, value, "a string");
}

/** read_string() - A string of at least one byte */
static int read_string(struct reading *rd, const json *value, const char **out)
{
	*out = json_as_str(value);
	return *out && **out ? 0 : must_be(rd, value, "a string that is not empty");
}

/** read_name() - The name of a peer or of a user, or "*" */
static int read_name(struct reading *rd, const json *value, const char **out)
{
	*out = json_as_str(value);
	if (!*out || !**out || strlen(*out) > NAME_MAX_LEN)
		return must_be(rd, value, "a name or \"*\"");
	if (strcmp(*out, "*") && strpbrk(*out, "*/ \t\n"))
		return must_be(rd, value, "a name, or \"*\" by itself for all");
	return 0;
}

/** read_verdict() - One of the verdicts in a bit set (1 << POLICY_...) */
static int read_verdict(struct reading *rd, const json *value, unsigned allowed,
			enum policy_verdict *out)
{
	const char *name = json_as_str(value);
	char list[96] = "one of";
	size_t len = strlen(list);

	for (enum policy_verdict v = 0; v < POLICY_VERDICTS; v++) {
		if (!(allowed & 1U << v))
			continue;
		if (name && !strcmp(name, policy_verdict_name(v))) {
			*out = v;
			return 0;
		}
		len += (size_t)snprintf(list + len, sizeof(list) - len, " \"%s\"",
					policy_verdict_name(v));
	}
	return must_be(rd, value, list);
}

/* ---- one rule --------------------------------------------------------------------- */

static int read_rule_path(struct reading *rd, const json *value)
{
	return read_string(rd, value, &rd->rule.path);
}

static int read_rule_is(struct reading *rd, const json *value)
{
	rd->rule.has_is = true;
	return read_verdict(rd, value, ~0U, &rd->rule.is);
}

static int read_rule_note(struct reading *rd, const json *value)
{
	rd->rule.note = json_as_str(value);
	return rd->rule.note ? 0 : must_be(rd, value, "a string");
}

static const struct key rule_keys[] = {
	{ .name = "path", .read = read_rule_path },
	{ .name = "is", .read = read_rule_is },
	{ .name = "note", .read = read_rule_note },
};

static int read_rule(struct reading *rd, const json *rule)
{
	int r;

	memset(&rd->rule, 0, sizeof(rd->rule));
	r = read_members(rd, rule, rule_keys, ARRAY_SIZE(rule_keys));
	if (r)
		return r;
	if (!rd->rule.path || !rd->rule.has_is) {
		r = err_say(rd->e, -EINVAL, "a rule needs \"%s\"", rd->rule.path ? "is" : "path");
		return fail_at(rd, rule, r);
	}
	r = policy_add_rule(rd->p, rd->rule.path, rd->rule.is, rd->rule.note, rd->e);
	return r ? fail_at(rd, json_find(rule, "path"), r) : 0;
}

/** read_rules() - The list; what can be wrong among rules is looked at once all are there */
static int read_rules(struct reading *rd, const json *value)
{
	const struct policy_rule *rule = NULL;
	int r = 0;

	if (!json_is_array(value))
		return must_be(rd, value, "a list of rules");
	for (const json *i = json_first(value); i && !r; i = json_next(i))
		r = read_rule(rd, i);
	for (const json *i = json_first(value); i && !r; i = json_next(i)) {
		rule = policy_rule_next(rd->p, rule);
		r = policy_check_rule(rd->p, rule, rd->e);
		if (r)
			fail_at(rd, json_find(i, "path"), r);
	}
	return r;
}

/* ---- one peer --------------------------------------------------------------------- */

static int read_peer_name(struct reading *rd, const json *value)
{
	return read_name(rd, value, &rd->peer.name);
}

static int read_peer_users(struct reading *rd, const json *value)
{
	const char *name;
	int r = 0;

	if (!json_is_array(value))
		return must_be(rd, value, "a list of user names");
	rd->peer.users = value;
	for (const json *i = json_first(value); i && !r; i = json_next(i)) {
		r = read_name(rd, i, &name);
		if (!r && !strcmp(name, "root")) {
			r = err_say(rd->e, -EINVAL,
				    "root is not named among the users, it needs \"root\": true");
			fail_at(rd, i, r);
		}
	}
	return r;
}

static int read_peer_root(struct reading *rd, const json *value)
{
	if (!json_is_bool(value))
		return must_be(rd, value, "true or false");
	rd->peer.root = json_is_true(value);
	return 0;
}

static const struct key peer_keys[] = {
	{ .name = "peer", .read = read_peer_name },
	{ .name = "users", .read = read_peer_users },
	{ .name = "root", .read = read_peer_root },
	{ .name = "note", .read = read_ignored_string },
};

static int read_peer(struct reading *rd, const json *value)
{
	int r;

	memset(&rd->peer, 0, sizeof(rd->peer));
	r = read_members(rd, value, peer_keys, ARRAY_SIZE(peer_keys));
	if (r)
		return r;
	if (!rd->peer.name) {
		r = err_say(rd->e, -EINVAL, "a peer needs \"peer\", its name or \"*\"");
		return fail_at(rd, value, r);
	}
	r = policy_add_peer(rd->p, rd->peer.name, rd->peer.root, rd->e);
	if (!r && !rd->peer.users)
		r = policy_add_user(rd->p, "*", rd->e);
	for (const json *i = json_first(rd->peer.users); i && !r; i = json_next(i))
		r = policy_add_user(rd->p, json_as_str(i), rd->e);
	return r ? fail_at(rd, value, r) : 0;
}

static int read_peers(struct reading *rd, const json *value)
{
	int r = 0;

	if (!json_is_array(value))
		return must_be(rd, value, "a list of peers");
	for (const json *i = json_first(value); i && !r; i = json_next(i))
		r = read_peer(rd, i);
	return r;
}

/* ---- the top ---------------------------------------------------------------------- */

static int read_default(struct reading *rd, const json *value)
{
	return read_verdict(rd, value, 1U << POLICY_LOCAL | 1U << POLICY_SHIP | 1U << POLICY_REFUSE,
			    &policy_settings(rd->p)->otherwise);
}

static int read_sockets(struct reading *rd, const json *value)
{
	return read_verdict(rd, value,
			    1U << POLICY_ORIGIN | 1U << POLICY_LOCAL | 1U << POLICY_REFUSE,
			    &policy_settings(rd->p)->sockets);
}

static int read_devices(struct reading *rd, const json *value)
{
	return read_verdict(rd, value, 1U << POLICY_ORIGIN | 1U << POLICY_REFUSE,
			    &policy_settings(rd->p)->devices);
}

/** read_number() - A whole number that isn't written as a string */
static int read_number(struct reading *rd, const json *value, int64_t min, int64_t max,
		       int64_t *out)
{
	char what[96];
	int64_t v;

	if (json_is_number(value) && !json_as_int(value, &v) && v >= min && v <= max) {
		*out = v;
		return 0;
	}
	snprintf(what, sizeof(what), "a whole number from %lld to %lld", (long long)min,
		 (long long)max);
	return must_be(rd, value, what);
}

static int read_link_timeout(struct reading *rd, const json *value)
{
	int64_t *to = &policy_settings(rd->p)->link_timeout_s;

	*to = POLICY_NO_TIMEOUT;
	return json_is_null(value) ? 0 : read_number(rd, value, 1, YEARS_100_S, to);
}

static int read_max_clock_difference(struct reading *rd, const json *value)
{
	return read_number(rd, value, 0, HOUR_MS, &policy_settings(rd->p)->max_clock_difference_ms);
}

static const struct key top_keys[] = {
	{ .name = "$schema", .read = read_ignored_string },
	{ .name = "rules", .read = read_rules },
	{ .name = "default", .read = read_default },
	{ .name = "sockets", .read = read_sockets },
	{ .name = "devices", .read = read_devices },
	{ .name = "link_timeout_s", .read = read_link_timeout },
	{ .name = "max_clock_difference_ms", .read = read_max_clock_difference },
	{ .name = "peers", .read = read_peers },
};

static const struct {
	const struct key *keys;
	size_t n;
} objects[] = {
	[POLICY_OBJECT_TOP] = { .keys = top_keys, .n = ARRAY_SIZE(top_keys) },
	[POLICY_OBJECT_RULE] = { .keys = rule_keys, .n = ARRAY_SIZE(rule_keys) },
	[POLICY_OBJECT_PEER] = { .keys = peer_keys, .n = ARRAY_SIZE(peer_keys) },
};

const char *policy_read_key(enum policy_object where, size_t i)
{
	return i < objects[where].n ? objects[where].keys[i].name : NULL;
}

/* ---- what is meant by a key that isn't there --------------------------------------- */

/* The same as in conf/policy.json, which the tests compare */
static const struct {
	const char *path;
	enum policy_verdict is;
} default_rules[] = {
	{ .path = "/dev/null", .is = POLICY_LOCAL },
	{ .path = "/dev/zero", .is = POLICY_LOCAL },
	{ .path = "/dev/full", .is = POLICY_LOCAL },
	{ .path = "/dev/random", .is = POLICY_LOCAL },
	{ .path = "/dev/urandom", .is = POLICY_LOCAL },
	{ .path = "/dev/shm/**", .is = POLICY_ORIGIN },
	{ .path = "/dev/**", .is = POLICY_ORIGIN },
	{ .path = "/tmp/**", .is = POLICY_ORIGIN },
	{ .path = "/var/tmp/**", .is = POLICY_ORIGIN },
	{ .path = "/run/**", .is = POLICY_ORIGIN },
	{ .path = "/var/run/**", .is = POLICY_ORIGIN },
	{ .path = "/proc/**", .is = POLICY_LOCAL },
	{ .path = "/sys/**", .is = POLICY_LOCAL },
};

/** add_defaults() - What a text means that has no "rules", or no "peers" */
static int add_defaults(struct reading *rd)
{
	int r = 0;

	if (!json_find(rd->root, "rules"))
		for (size_t i = 0; i < ARRAY_SIZE(default_rules) && !r; i++)
			r = policy_add_rule(rd->p, default_rules[i].path, default_rules[i].is, NULL,
					    rd->e);
	if (!json_find(rd->root, "peers") && !r) {
		r = policy_add_peer(rd->p, "*", false, rd->e);
		if (!r)
			r = policy_add_user(rd->p, "*", rd->e);
	}
	return r;
}

/**
 * room_for() - Bytes that the policy in a text of @len bytes can need
 *
 * What takes most is a peer of few letters: {"peer":"a"}, 12 of them, becomes 72 bytes.
 */
static size_t room_for(size_t len)
{
	return 8 * len + 8192;
}

/**
 * policy_parse() - Read a policy from memory
 * @text:	@len bytes, no NUL needed behind them
 * @name:	What to call it in errors, such as its path
 *
 * Return: 0, -EINVAL, -EFBIG, -ENOMEM.
 */
int policy_parse(const char *text, size_t len, const char *name, struct policy **out, struct err *e)
{
	struct err own = { 0 };
	struct reading rd = { .name = name, .text = text, .len = len, .e = e ? e : &own };
	AUTO_JSON json *root = NULL;
	AUTO_FREE void *mem = NULL;
	int r;

	*out = NULL;
	if (len > FILE_MAX)
		return err_say(e, -EFBIG, "%s is larger than %d bytes", name, FILE_MAX);
	r = json_parse(text, len, &root, e);
	if (r)
		return err_wrap(e, r, "%s", name);
	rd.root = root;
	mem = calloc(1, room_for(len));
	rd.p = mem ? policy_begin(mem, room_for(len)) : NULL;
	if (!rd.p)
		return err_set(e, -ENOMEM, "reading %s", name);
	if (!json_is_object(root)) {
		err_say(e, -EINVAL, "a policy is one object, { ... }");
		return fail_at(&rd, root, -EINVAL);
	}
	r = read_members(&rd, root, top_keys, ARRAY_SIZE(top_keys));
	if (!r)
		r = add_defaults(&rd);
	if (r)
		return r;
	*out = take_ptr(mem);
	return 0;
}

int policy_read(const char *path, struct policy **out, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r;

	*out = NULL;
	r = json_read_text(path, FILE_MAX, &text, &len, e);
	return r ? r : policy_parse(text, len, path, out, e);
}

int policy_default(struct policy **out, struct err *e)
{
	return policy_parse("{}", 2, "the built-in policy", out, e);
}

void policy_free(struct policy *p)
{
	free(p);
}

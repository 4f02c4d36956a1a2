/* SPDX-License-Identifier: MIT */
/*
 * policy.c - Which names are the same on both machines, which belong to the origin
 *
 * The memory of a policy is filled from its beginning: the head, then rules, peers, users and
 * strings as they come.  Each refers to another by the distance in bytes from itself (0:
 * there is none), so that the whole may lie at any address.
 *
 * Matching goes from the *end* of a path to its beginning.  So ".." is known before the name
 * that it takes back, and a path is walked once, whatever is in it, without a copy.  For a
 * "*" or "**" the walk remembers one place to come back to, the last: with no more than
 * that the work is bounded by the product of the two lengths, also for a pattern made to
 * hurt.
 */
#include "common/policy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef uint32_t distance;

struct policy {
	uint32_t size, used;		/* bytes */
	distance first_rule, last_rule;	/* from here */
	distance first_peer, last_peer;
	struct policy_settings set;
};

/**
 * struct policy_rule - A row of the list
 * @dir:	Of a directory rule ("/tmp" and "**", no other wildcards): "/tmp"
 */
struct policy_rule {
	distance next, pattern, note, dir;
	uint32_t number;		/* from 1 */
	uint8_t is;			/* enum policy_verdict */
};

struct policy_peer {
	distance next, name, first_user, last_user;
	bool root;
};

struct policy_user {
	distance next, name;
};

static const char *const verdict_names[POLICY_VERDICTS] = {
	[POLICY_LOCAL] = "local",
	[POLICY_ORIGIN] = "origin",
	[POLICY_SHIP] = "ship",
	[POLICY_REFUSE] = "refuse",
};

/** there() - What lies @d bytes behind @from, NULL for 0 */
static const void *there(const void *from, distance d)
{
	return d ? (const char *)from + d : NULL;
}

/* ---- matching --------------------------------------------------------------------- */

/**
 * struct parts - A path's components, from the last to the first
 * @path:	The path, absolute
 * @at:		Behind what hasn't been walked yet
 * @name:	The component that was found
 * @len:	Its length in bytes
 * @back:	Components that a ".." has taken back and that are still to be passed
 */
struct parts {
	const char *path, *at, *name;
	size_t len;
	unsigned back;
};

static struct parts parts_of(const char *path)
{
	return (struct parts){ .path = path, .at = path + strlen(path) };
}

/** parts_next() - The next component towards the root.  Return: false: that was all */
static bool parts_next(struct parts *w)
{
	for (;;) {
		while (w->at > w->path && w->at[-1] == '/')
			w->at--;
		if (w->at == w->path)
			return false;
		w->name = w->at;
		while (w->name > w->path && w->name[-1] != '/')
			w->name--;
		w->len = (size_t)(w->at - w->name);
		w->at = w->name;
		if (w->len == 1 && w->name[0] == '.')
			continue;
		if (w->len == 2 && w->name[0] == '.' && w->name[1] == '.')
			w->back++;
		else if (w->back)
			w->back--;
		else
			return true;
	}
}

static bool part_is_any_depth(const struct parts *w)
{
	return w->len == 2 && w->name[0] == '*' && w->name[1] == '*';
}

/** match_name() - Does one component match, with "*" for any bytes? */
static bool match_name(const struct parts *pattern, const struct parts *name)
{
	const char *p = pattern->name, *p_end = p + pattern->len, *p_star = NULL;
	const char *n = name->name, *n_end = n + name->len, *n_star = NULL;

	while (n < n_end) {
		if (p < p_end && *p == '*') {
			p_star = ++p;
			n_star = n;
		} else if (p < p_end && *p == *n) {
			p++;
			n++;
		} else if (p_star) {
			p = p_star;
			n = ++n_star;	/* the star takes one byte more */
		} else {
			return false;
		}
	}
	while (p < p_end && *p == '*')
		p++;
	return p == p_end;
}

/** match() - Does a path match a pattern?  Both absolute; the pattern has passed check_pattern() */
static bool match(const char *pattern, const char *path)
{
	struct parts p = parts_of(pattern), n = parts_of(path), p_star = p, n_star = n;
	bool more_p = parts_next(&p), more_n = parts_next(&n), star = false;

	while (more_n) {
		if (more_p && part_is_any_depth(&p)) {
			star = true;
			n_star = n;
			more_p = parts_next(&p);
			p_star = p;
			if (!more_p)
				return true;	/* the pattern begins with it */
		} else if (more_p && match_name(&p, &n)) {
			more_p = parts_next(&p);
			more_n = parts_next(&n);
		} else if (star) {
			p = p_star;
			more_p = true;
			more_n = parts_next(&n_star);	/* the star takes one component more */
			n = n_star;
		} else {
			return false;
		}
	}
	while (more_p && part_is_any_depth(&p))
		more_p = parts_next(&p);
	return !more_p;
}

const struct policy_rule *policy_rule_next(const struct policy *p, const struct policy_rule *rule)
{
	return rule ? there(rule, rule->next) : there(p, p->first_rule);
}

/**
 * policy_path() - Where does a name live?
 * @path:	Absolute; of what isn't, the default is the answer
 * @rule:	Out, may be NULL: the rule that decided, NULL: the default
 */
enum policy_verdict policy_path(const struct policy *p, const char *path,
				const struct policy_rule **rule)
{
	const struct policy_rule *r = NULL;

	if (path[0] == '/')
		for (r = policy_rule_next(p, NULL); r; r = policy_rule_next(p, r))
			if (match(policy_rule_path(r), path))
				break;
	if (rule)
		*rule = r;
	return r ? (enum policy_verdict)r->is : p->set.otherwise;
}

/* ---- what a policy says ----------------------------------------------------------- */

const char *policy_verdict_name(enum policy_verdict v)
{
	return (unsigned)v < POLICY_VERDICTS ? verdict_names[v] : "?";
}

const char *policy_rule_path(const struct policy_rule *rule)
{
	return there(rule, rule->pattern);
}

const char *policy_rule_note(const struct policy_rule *rule)
{
	return there(rule, rule->note);
}

const char *policy_rule_text(const struct policy_rule *rule, char *buf, size_t size)
{
	if (rule)
		snprintf(buf, size, "rule %u: \"%s\" is %s", rule->number, policy_rule_path(rule),
			 policy_verdict_name((enum policy_verdict)rule->is));
	else
		snprintf(buf, size, "no rule, hence the default");
	return buf;
}

/** inside() - Is @path the directory @dir, or below it?  Neither has detours; "" is the root */
static bool inside(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (!path[n] || path[n] == '/');
}

/** origin_dir() - The directory that a rule gives to the origin, NULL: it doesn't */
static const char *origin_dir(const struct policy_rule *rule)
{
	return rule->is == POLICY_ORIGIN ? there(rule, rule->dir) : NULL;
}

/** origin_around() - Does a rule other than @except give a directory around this to the origin? */
static bool origin_around(const struct policy *p, const char *path,
			  const struct policy_rule *except)
{
	for (const struct policy_rule *r = policy_rule_next(p, NULL); r; r = policy_rule_next(p, r))
		if (r != except && origin_dir(r) && inside(path, origin_dir(r)))
			return true;
	return false;
}

const char *policy_origin_dirs(const struct policy *p, size_t i)
{
	for (const struct policy_rule *r = policy_rule_next(p, NULL); r; r = policy_rule_next(p, r))
		if (origin_dir(r) && !origin_around(p, origin_dir(r), r) && !i--)
			return origin_dir(r);
	return NULL;
}

static bool is_or_any(const char *in_policy, const char *name)
{
	return !strcmp(in_policy, "*") || !strcmp(in_policy, name);
}

/**
 * policy_user_allowed() - May this peer run programs here as this user?
 * @peer:	The name that its key is pinned under
 * @uid:	The user's; 0 is allowed by "root" alone, whatever the name
 *
 * The first row for the peer decides.
 */
bool policy_user_allowed(const struct policy *p, const char *peer, const char *user, uid_t uid)
{
	const struct policy_peer *row = there(p, p->first_peer);

	while (row && !is_or_any(there(row, row->name), peer))
		row = there(row, row->next);
	if (!row || uid == 0)
		return row && row->root;
	for (const struct policy_user *u = there(row, row->first_user); u; u = there(u, u->next))
		if (is_or_any(there(u, u->name), user))
			return true;
	return false;
}

enum policy_verdict policy_otherwise(const struct policy *p)
{
	return p->set.otherwise;
}

enum policy_verdict policy_sockets(const struct policy *p)
{
	return p->set.sockets;
}

enum policy_verdict policy_devices(const struct policy *p)
{
	return p->set.devices;
}

int64_t policy_link_timeout_s(const struct policy *p)
{
	return p->set.link_timeout_s;
}

int64_t policy_max_clock_difference_ms(const struct policy *p)
{
	return p->set.max_clock_difference_ms;
}

size_t policy_size(const struct policy *p)
{
	return p->used;
}

/* ---- building --------------------------------------------------------------------- */

/** take() - @n bytes of the policy's memory, all zero.  Return: NULL: there are not so many left */
static void *take(struct policy *p, size_t n)
{
	size_t rounded = (n + 7) & ~(size_t)7;
	void *at = (char *)p + p->used;

	if (n > p->size || p->size - p->used < rounded)
		return NULL;
	p->used += (uint32_t)rounded;
	return at;
}

/** keep() - A copy of @n bytes of text.  Return: its distance from @from, 0: no room */
static distance keep(struct policy *p, const void *from, const char *text, size_t n)
{
	char *at = take(p, n + 1);

	if (!at)
		return 0;
	memcpy(at, text, n);
	return (distance)(at - (const char *)from);
}

/**
 * append() - Put a row at the end of a list
 * @head:	What @first and @last count from
 * @row:	The row; its first field is its "next"
 */
static void append(void *head, distance *first, distance *last, void *row)
{
	distance d = (distance)((char *)row - (char *)head);

	if (*last)
		*(distance *)((char *)head + *last) = d - *last;
	else
		*first = d;
	*last = d;
}

static int no_room(struct err *e)
{
	return err_say(e, -ENOSPC, "the policy is too large");
}

struct policy *policy_begin(void *mem, size_t size)
{
	struct policy *p = mem;

	if (size < sizeof(*p) || size > UINT32_MAX)
		return NULL;
	p->size = (uint32_t)size;
	p->used = (sizeof(*p) + 7) & ~(size_t)7;
	p->set = (struct policy_settings){
		.otherwise = POLICY_LOCAL,
		.sockets = POLICY_ORIGIN,
		.devices = POLICY_ORIGIN,
		.link_timeout_s = POLICY_NO_TIMEOUT,
		.max_clock_difference_ms = 100,
	};
	return p;
}

struct policy_settings *policy_settings(struct policy *p)
{
	return &p->set;
}

/**
 * check_pattern() - Is this a pattern, and spelled in the one way that it can be?
 */
static int check_pattern(const char *pattern, struct err *e)
{
	if (pattern[0] != '/')
		return err_say(e, -EINVAL, "\"%.200s\" must be an absolute path", pattern);
	if (strlen(pattern) > POLICY_PATTERN_MAX)
		return err_say(e, -EINVAL, "\"%.40s...\" is longer than a path can be", pattern);
	if (!pattern[1])
		return 0;
	for (const char *name = pattern; *name; name += strcspn(name, "/")) {
		size_t n = strcspn(++name, "/");

		if (!n)
			return err_say(e, -EINVAL, "\"%.200s\" has a slash too many", pattern);
		if ((n == 1 && name[0] == '.') || (n == 2 && !strncmp(name, "..", 2)))
			return err_say(e, -EINVAL, "\"%.200s\" can't have \".\" or \"..\" in it",
				       pattern);
		if (n > 2)
			for (size_t i = 0; i + 1 < n; i++)
				if (name[i] == '*' && name[i + 1] == '*')
					return err_say(e, -EINVAL,
						       "\"%.200s\": \"**\" stands for whole "
						       "components, as in \"/tmp/**\"", pattern);
	}
	return 0;
}

/** dir_len() - Length of the directory before a "**" that is the only wildcard, -1: there is none */
static ssize_t dir_len(const char *pattern)
{
	size_t n = strlen(pattern);

	if (n < 3 || strcmp(pattern + n - 3, "/**") || strcspn(pattern, "*") != n - 2)
		return -1;
	return (ssize_t)n - 3;
}

/**
 * policy_add_rule() - Put a rule at the end of the list
 * @note:	For people; may be NULL
 *
 * Return: 0, -EINVAL: this is no pattern, -ENOSPC.
 */
int policy_add_rule(struct policy *p, const char *pattern, enum policy_verdict is, const char *note,
		    struct err *e)
{
	const struct policy_rule *last = there(p, p->last_rule);
	ssize_t dir = dir_len(pattern);
	struct policy_rule *r;
	int err = check_pattern(pattern, e);

	if (err)
		return err;
	r = take(p, sizeof(*r));
	if (!r)
		return no_room(e);
	r->is = (uint8_t)is;
	r->number = last ? last->number + 1 : 1;
	r->pattern = keep(p, r, pattern, strlen(pattern));
	r->note = keep(p, r, note ? note : "", note ? strlen(note) : 0);
	r->dir = dir < 0 ? 0 : keep(p, r, pattern, (size_t)dir);
	if (!r->pattern || !r->note || (dir >= 0 && !r->dir))
		return no_room(e);
	append(p, &p->first_rule, &p->last_rule, r);
	return 0;
}

/**
 * check_origin() - May this rule say "origin"?
 *
 * originfs is mounted over directories, hence a rule either is one ("/tmp" and "**") or
 * picks something inside one.
 */
static int check_origin(const struct policy *p, const struct policy_rule *rule, struct err *e)
{
	const char *path = policy_rule_path(rule), *dir = there(rule, rule->dir);
	char fixed[POLICY_PATTERN_MAX + 1];
	size_t n = strcspn(path, "*");

	if (dir && !*dir)
		return err_say(e, -EINVAL, "\"%s\" can't be origin: the root directory stays local",
			       path);
	if (dir)
		return 0;
	if (path[n])	/* what stands in front of the component with the first wildcard */
		while (n && path[n] != '/')
			n--;
	memcpy(fixed, path, n);
	fixed[n] = '\0';
	if (origin_around(p, fixed, rule))
		return 0;
	return err_say(e, -EINVAL,
		       "\"%.200s\" can't be origin by itself: a whole directory can "
		       "(\"/directory/**\"), other patterns only refine inside one that is", path);
}

int policy_check_rule(const struct policy *p, const struct policy_rule *rule, struct err *e)
{
	const char *path = policy_rule_path(rule);

	for (const struct policy_rule *r = policy_rule_next(p, NULL); r != rule;
	     r = policy_rule_next(p, r)) {
		const char *dir = there(r, r->dir);

		if ((dir && inside(path, dir)) || !strcmp(path, policy_rule_path(r)))
			return err_say(e, -EINVAL,
				       "\"%.200s\" never decides: rule %u, \"%.100s\", comes first "
				       "and covers it; put the narrower rule in front",
				       path, r->number, policy_rule_path(r));
	}
	return rule->is == POLICY_ORIGIN ? check_origin(p, rule, e) : 0;
}

int policy_add_peer(struct policy *p, const char *peer, bool root, struct err *e)
{
	struct policy_peer *row = take(p, sizeof(*row));

	if (!row)
		return no_room(e);
	row->root = root;
	row->name = keep(p, row, peer, strlen(peer));
	if (!row->name)
		return no_room(e);
	append(p, &p->first_peer, &p->last_peer, row);
	return 0;
}

int policy_add_user(struct policy *p, const char *user, struct err *e)
{
	struct policy_peer *peer = (struct policy_peer *)((char *)p + p->last_peer);
	struct policy_user *u = take(p, sizeof(*u));

	if (!p->last_peer)
		return err_say(e, -EINVAL, "there is no peer to add \"%.80s\" to", user);
	if (!u)
		return no_room(e);
	u->name = keep(p, u, user, strlen(user));
	if (!u->name)
		return no_room(e);
	append(peer, &peer->first_user, &peer->last_user, u);
	return 0;
}

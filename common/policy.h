/* SPDX-License-Identifier: MIT */
/*
 * policy.h - Which names are the same on both machines, which belong to the origin
 *
 * A policy is an ordered list of rules, "path pattern is verdict", of which the first that
 * matches decides, a few settings, and who may run programs here.  It is built once, by
 * proxy/daemon/policy_read.c from JSON, and then only read.
 *
 * It is one flat piece of memory without pointers in it, policy_size() bytes: it can be
 * written to a memfd and mapped by another process.  Nothing here allocates; all that takes
 * a const struct policy * is safe in any context, in a signal handler too, except what has
 * a struct err.
 *
 * A path is decided as it is spelled: absolute, "//" and "." count for nothing, ".." takes
 * back a component.  Who follows symbolic links asks again with the name it came to.
 */
#ifndef COMMON_POLICY_H
#define COMMON_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

enum policy_verdict {
	POLICY_LOCAL,	/* the same on both machines: the target's own is used */
	POLICY_ORIGIN,	/* stays at the origin, reached through the deputy */
	POLICY_SHIP,	/* travels: where the target's file differs, the origin's pages are sent */
	POLICY_REFUSE,	/* a program that needs it isn't moved */
	POLICY_VERDICTS
};

#define POLICY_NO_TIMEOUT (-1)

struct policy;
struct policy_rule;

/* @rule: which one decided, NULL: the default did.  May be NULL */
enum policy_verdict policy_path(const struct policy *p, const char *path,
				const struct policy_rule **rule);

/* `rule 3: "/dev/null" is local`.  Return: @buf */
const char *policy_rule_text(const struct policy_rule *rule, char *buf, size_t size);
const char *policy_rule_path(const struct policy_rule *rule);
const char *policy_rule_note(const struct policy_rule *rule);	/* "": none */
const struct policy_rule *policy_rule_next(const struct policy *p,
					   const struct policy_rule *rule); /* NULL: first */

/*
 * The @i-th of the directories that are the origin's, "/tmp", NULL behind the last.  One that
 * lies inside another is not named: it is there already.  In the rules' order.
 */
const char *policy_origin_dirs(const struct policy *p, size_t i);

/* May this pinned peer run programs here as this user? */
bool policy_user_allowed(const struct policy *p, const char *peer, const char *user, uid_t uid);

enum policy_verdict policy_otherwise(const struct policy *p);	/* the default */
enum policy_verdict policy_sockets(const struct policy *p);
enum policy_verdict policy_devices(const struct policy *p);
int64_t policy_link_timeout_s(const struct policy *p);		/* or POLICY_NO_TIMEOUT */
int64_t policy_max_clock_difference_ms(const struct policy *p);
const char *policy_verdict_name(enum policy_verdict v);		/* "local"; "?" for what is none */
size_t policy_size(const struct policy *p);

/* ---- building: policy_read.c and tests -------------------------------------------- */

struct policy_settings {
	enum policy_verdict otherwise, sockets, devices;
	int64_t link_timeout_s, max_clock_difference_ms;
};

#define POLICY_PATTERN_MAX 4095

/* @mem: @size bytes, aligned as malloc() does, all zero.  NULL: too small */
struct policy *policy_begin(void *mem, size_t size);
struct policy_settings *policy_settings(struct policy *p);
int policy_add_rule(struct policy *p, const char *pattern, enum policy_verdict is, const char *note,
		    struct err *e) MUST_CHECK;
/* Once all rules are there: does this one make sense among the others? */
int policy_check_rule(const struct policy *p, const struct policy_rule *rule,
		      struct err *e) MUST_CHECK;
int policy_add_peer(struct policy *p, const char *peer, bool root, struct err *e) MUST_CHECK;
int policy_add_user(struct policy *p, const char *user,
		    struct err *e) MUST_CHECK; /* to the last peer */

#endif

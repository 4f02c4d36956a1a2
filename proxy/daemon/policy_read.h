/* SPDX-License-Identifier: MIT */
/*
 * policy_read.h - The policy, from its JSON file
 *
 * Knows the file's keys (conf/policy.schema.json is their description), their defaults and
 * the sentences for what is wrong with them.  What a policy then says is common/policy.h's.
 *
 * Every key may be left out.  A key that isn't known, a value of the wrong kind and a rule
 * that can't do what it says are errors, with file, line and column.
 *
 * Ownership: a policy is the caller's, policy_free() ends it.  Context: ordinary code.
 */
#ifndef PROXY_DAEMON_POLICY_READ_H
#define PROXY_DAEMON_POLICY_READ_H

#include "common/policy.h"

/* @name: what errors call the text */
int policy_read(const char *path, struct policy **out, struct err *e) MUST_CHECK;
int policy_parse(const char *text, size_t len, const char *name, struct policy **out,
		 struct err *e) MUST_CHECK;
int policy_default(struct policy **out, struct err *e) MUST_CHECK;	/* what "{}" means */
void policy_free(struct policy *p);

static inline void scope_policy_free(struct policy **p)
{
	policy_free(*p);
}

#define AUTO_POLICY __attribute__((cleanup(scope_policy_free)))

/* The keys that the reader knows, for the tests: the @i-th of an object, NULL behind the last */
enum policy_object { POLICY_OBJECT_TOP, POLICY_OBJECT_RULE, POLICY_OBJECT_PEER };
const char *policy_read_key(enum policy_object where, size_t i);

#endif

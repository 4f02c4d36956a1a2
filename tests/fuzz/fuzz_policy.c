/* SPDX-License-Identifier: MIT */
/*
 * fuzz_policy.c - Any bytes: an error with a place, or a policy that can be asked anything
 *
 * What follows the first NUL, if there is one, is the path that is asked for.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/daemon/policy_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t len = nul ? (size_t)(nul - data) : size;
	AUTO_FREE char *path = NULL, *flat = NULL;
	AUTO_POLICY struct policy *p = NULL;
	const struct policy_rule *rule;
	struct err e = { 0 };
	char text[128];

	path = nul ? strndup((const char *)nul + 1, size - len - 1) : strdup("/tmp/../dev/null");
	if (policy_parse((const char *)data, len, "fuzz", &p, &e)) {
		assert(!p && e.code < 0 && !strncmp(e.text, "fuzz: line ", 11));
		return 0;
	}
	/* exactly as large as it says, so that a step outside is seen */
	flat = malloc(policy_size(p));
	memcpy(flat, p, policy_size(p));
	policy_path((struct policy *)flat, path, &rule);
	policy_rule_text(rule, text, sizeof(text));
	for (rule = policy_rule_next(p, NULL); rule; rule = policy_rule_next(p, rule)) {
		policy_rule_text(rule, text, sizeof(text));
		policy_path(p, policy_rule_path(rule), NULL);
		(void)policy_rule_note(rule);
	}
	for (size_t i = 0; policy_origin_dirs(p, i); i++)
		assert(policy_origin_dirs(p, i)[0] == '/');
	assert(!policy_user_allowed(p, "nobody's name", "alice", 0) ||
	       memmem(data, len, "true", 4));
	return 0;
}

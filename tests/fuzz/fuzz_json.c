/* SPDX-License-Identifier: MIT */
/*
 * fuzz_json.c - Any bytes: an error with a place, or a document that survives its own text
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** visit() - Read each value as everything it could be, and find its place by its pointer */
static void visit(const json *j, const char *text, char *pointer, size_t len)
{
	char buf[64];
	unsigned line, col, i = 0;
	uint64_t h;
	int64_t v;
	size_t n;
	bool b;

	(void)!json_as_int(j, &v);
	(void)!json_as_hex(j, &h);
	for (const json *c = json_first(j); c; c = json_next(c), i++) {
		const char *key = json_key(c);
		int more;

		if (key) {
			(void)!json_get_int(j, key, -5, 5, &v, NULL);
			(void)!json_get_hex(j, key, &h, NULL);
			(void)!json_get_bool(j, key, &b, NULL);
			(void)!json_get_bytes(j, key, buf, sizeof(buf), &n, NULL);
		}
		/* a name with a character that a pointer must escape: not followed here */
		if ((key && strpbrk(key, "/~")) || len + 300 > 4096 || (key && strlen(key) > 280))
			continue;
		more = key ? snprintf(pointer + len, 4096 - len, "/%s", key) :
			     snprintf(pointer + len, 4096 - len, "/%u", i);
		if (text && i < 4)
			assert(!json_where(text, pointer, &line, &col));
		visit(c, i < 4 ? text : NULL, pointer, len + (size_t)more);
		pointer[len] = '\0';
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *copy = NULL, *text = NULL, *pretty = NULL, *again = NULL;
	AUTO_JSON json *first = NULL;
	AUTO_JSON json *second = NULL;
	char pointer[4096] = "";
	struct err e = { 0 };
	int r = json_parse((const char *)data, size, &first, &e);

	if (r) {
		unsigned line, col;

		assert(!first && e.code == r);
		assert(sscanf(e.text, "line %u, column %u: ", &line, &col) == 2);
		return 0;
	}
	copy = strndup((const char *)data, size);
	visit(first, size < 2000 ? copy : NULL, pointer, 0);
	text = json_text(first, false);
	pretty = json_text(first, true);
	assert(text && pretty);
	assert(!json_parse(pretty, strlen(pretty), &second, &e));
	again = json_text(second, false);
	assert(!strcmp(text, again));
	return 0;
}

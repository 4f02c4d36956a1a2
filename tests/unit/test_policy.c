/* SPDX-License-Identifier: MIT */
/*
 * test_policy.c - What a policy decides, what is refused and in which words, and that the
 * reader, the shipped policy and its schema say the same
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/daemon/policy_read.h"
#include "proxy/json/json.h"

static struct policy *parse(const char *text)
{
	struct policy *p = NULL;
	struct err e = { 0 };

	if (policy_parse(text, strlen(text), "test", &p, &e))
		fail_msg("%s", e.text);
	return p;
}

struct decision {
	const char *path, *text;	/* text: of the rule, NULL: the default */
	enum policy_verdict is;
};

static void check_decisions(const struct policy *p, const struct decision *rows, size_t n)
{
	char text[256];

	for (size_t i = 0; i < n; i++) {
		const struct policy_rule *rule = NULL;
		enum policy_verdict is = policy_path(p, rows[i].path, &rule);

		policy_rule_text(rule, text, sizeof(text));
		if (is != rows[i].is || !!rule != !!rows[i].text || (rule && strcmp(text, rows[i].text)))
			fail_msg("%s is %s by %s", rows[i].path, policy_verdict_name(is), text);
		assert_int_equal(policy_path(p, rows[i].path, NULL), is);
	}
}

static void test_shipped_policy_decides(void **state)
{
	static const struct decision rows[] = {
		{ "/dev/null", "rule 1: \"/dev/null\" is local", POLICY_LOCAL },
		{ "/dev//./null/", "rule 1: \"/dev/null\" is local", POLICY_LOCAL },
		{ "/dev/urandom", "rule 5: \"/dev/urandom\" is local", POLICY_LOCAL },
		{ "/dev/shm", "rule 6: \"/dev/shm/**\" is origin", POLICY_ORIGIN },
		{ "/dev/null2", "rule 7: \"/dev/**\" is origin", POLICY_ORIGIN },
		{ "/dev", "rule 7: \"/dev/**\" is origin", POLICY_ORIGIN },
		{ "/dev/tty", "rule 7: \"/dev/**\" is origin", POLICY_ORIGIN },
		{ "/dev/pts/3", "rule 7: \"/dev/**\" is origin", POLICY_ORIGIN },
		{ "/dev/pts/../null", "rule 1: \"/dev/null\" is local", POLICY_LOCAL },
		{ "/tmp", "rule 8: \"/tmp/**\" is origin", POLICY_ORIGIN },
		{ "/tmp/", "rule 8: \"/tmp/**\" is origin", POLICY_ORIGIN },
		{ "/../tmp/a/b/c", "rule 8: \"/tmp/**\" is origin", POLICY_ORIGIN },
		{ "/etc/../tmp/x", "rule 8: \"/tmp/**\" is origin", POLICY_ORIGIN },
		{ "/tmp/../etc/passwd", NULL, POLICY_LOCAL },
		{ "/tmp/a/b/../../../etc", NULL, POLICY_LOCAL },
		{ "/tmpfile", NULL, POLICY_LOCAL },
		{ "/var/tmp/x", "rule 9: \"/var/tmp/**\" is origin", POLICY_ORIGIN },
		{ "/var", NULL, POLICY_LOCAL },
		{ "/run/user/0/bus", "rule 10: \"/run/**\" is origin", POLICY_ORIGIN },
		{ "/var/run/x.sock", "rule 11: \"/var/run/**\" is origin", POLICY_ORIGIN },
		{ "/proc/self/fd/0", "rule 12: \"/proc/**\" is local", POLICY_LOCAL },
		{ "/sys", "rule 13: \"/sys/**\" is local", POLICY_LOCAL },
		{ "/", NULL, POLICY_LOCAL },
		{ "", NULL, POLICY_LOCAL },
		{ "tmp/x", NULL, POLICY_LOCAL },
		{ "/usr/lib/libc.so", NULL, POLICY_LOCAL },
	};
	static const char *const dirs[] = { "/dev", "/tmp", "/var/tmp", "/run", "/var/run" };
	AUTO_POLICY struct policy *p = NULL;
	struct err e = { 0 };
	(void)state;

	if (policy_read("conf/policy.json", &p, &e))
		fail_msg("%s", e.text);
	check_decisions(p, rows, ARRAY_SIZE(rows));
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		assert_string_equal(policy_origin_dirs(p, i), dirs[i]);
	assert_null(policy_origin_dirs(p, ARRAY_SIZE(dirs)));
	assert_string_equal(policy_rule_note(policy_rule_next(p, NULL)), "the same everywhere, and often used");
}

static void test_patterns(void **state)
{
	static const struct decision rows[] = {
		{ "/d/a.log", "rule 1: \"/d/*.log\" is local", POLICY_LOCAL },
		{ "/d/.log", "rule 1: \"/d/*.log\" is local", POLICY_LOCAL },
		{ "/d/x/a.log", "rule 6: \"/d/**\" is origin", POLICY_ORIGIN },
		{ "/d/x/y/deep", "rule 2: \"/d/**/deep\" is refuse", POLICY_REFUSE },
		{ "/d/deep", "rule 2: \"/d/**/deep\" is refuse", POLICY_REFUSE },
		{ "/d/deep/deep", "rule 2: \"/d/**/deep\" is refuse", POLICY_REFUSE },
		{ "/d/deeper", "rule 6: \"/d/**\" is origin", POLICY_ORIGIN },
		{ "/d/a/b/c/x/y", "rule 3: \"/d/**/b/**/x/*\" is ship", POLICY_SHIP },
		{ "/d/b/x/y", "rule 3: \"/d/**/b/**/x/*\" is ship", POLICY_SHIP },
		{ "/d/b/x/y/z", "rule 6: \"/d/**\" is origin", POLICY_ORIGIN },
		{ "/d/b/x/x/y/x/z", "rule 3: \"/d/**/b/**/x/*\" is ship", POLICY_SHIP },
		{ "/d/s?[a]\\", "rule 4: \"/d/s?[a]\\\" is local", POLICY_LOCAL },
		{ "/d/sx", "rule 6: \"/d/**\" is origin", POLICY_ORIGIN },
		{ "/d/q/axbxc", "rule 5: \"/d/q/a*b*c\" is refuse", POLICY_REFUSE },
		{ "/d/q/abc", "rule 5: \"/d/q/a*b*c\" is refuse", POLICY_REFUSE },
		{ "/d/q/abcb", "rule 6: \"/d/**\" is origin", POLICY_ORIGIN },
		{ "/a/b/end", "rule 7: \"/**/end\" is refuse", POLICY_REFUSE },
		{ "/end", "rule 7: \"/**/end\" is refuse", POLICY_REFUSE },
		{ "/", "rule 8: \"/\" is ship", POLICY_SHIP },
		{ "/x/..", "rule 8: \"/\" is ship", POLICY_SHIP },
		{ "/x/y", "rule 9: \"/*/*\" is local", POLICY_LOCAL },
		{ "/x/y/z", NULL, POLICY_REFUSE },
	};
	AUTO_POLICY struct policy *p = parse(
		"{\"default\":\"refuse\",\"rules\":["
		"{\"path\":\"/d/*.log\",\"is\":\"local\"},{\"path\":\"/d/**/deep\",\"is\":\"refuse\"},"
		"{\"path\":\"/d/**/b/**/x/*\",\"is\":\"ship\"},{\"path\":\"/d/s?[a]\\\\\",\"is\":\"local\"},"
		"{\"path\":\"/d/q/a*b*c\",\"is\":\"refuse\"},{\"path\":\"/d/**\",\"is\":\"origin\"},"
		"{\"path\":\"/**/end\",\"is\":\"refuse\"},{\"path\":\"/\",\"is\":\"ship\"},"
		"{\"path\":\"/*/*\",\"is\":\"local\"}]}");
	(void)state;

	check_decisions(p, rows, ARRAY_SIZE(rows));
}

/* The simplest matcher that can be right: tries everything */
static bool slow_match(const char *p, const char *s)
{
	if (!strncmp(p, "/**", 3) && (!p[3] || p[3] == '/')) {
		for (const char *at = s; !*at || *at == '/'; at += 1 + strcspn(at + 1, "/")) {
			if (slow_match(p + 3, at))
				return true;
			if (!*at)
				break;
		}
		return false;
	}
	if (*p == '*')
		return slow_match(p + 1, s) || (*s && *s != '/' && slow_match(p, s + 1));
	return *p == *s && (!*p || slow_match(p + 1, s + 1));
}

static void test_against_a_simple_matcher(void **state)
{
	unsigned seed = 4711;
	int hits = 0;
	(void)state;

	for (int i = 0; i < 20000; i++) {
		static const char *const parts[] = { "/a", "/b", "/**", "/*", "/a*", "/*b", "/ab", "/a*b" };
		static const char *const names[] = { "/a", "/b", "/ab", "/aab", "/ba" };
		AUTO_POLICY struct policy *p = NULL;
		char pattern[64] = "", path[64] = "", text[160];
		const struct policy_rule *rule;

		for (int n = 1 + rand_r(&seed) % 5; n; n--)
			strcat(pattern, parts[rand_r(&seed) % ARRAY_SIZE(parts)]);
		for (int n = 1 + rand_r(&seed) % 6; n; n--)
			strcat(path, names[rand_r(&seed) % ARRAY_SIZE(names)]);
		snprintf(text, sizeof(text), "{\"rules\":[{\"path\":\"%s\",\"is\":\"ship\"}]}", pattern);
		p = parse(text);
		policy_path(p, path, &rule);
		if (!!rule != slow_match(pattern, path))
			fail_msg("%s and %s: %s", pattern, path, rule ? "matched" : "didn't match");
		hits += !!rule;
	}
	assert_true(hits > 1000);
}

static void test_no_pattern_is_slow(void **state)
{
	char text[8192] = "{\"rules\":[{\"path\":\"/x", path[4096] = "";
	AUTO_POLICY struct policy *p = NULL;
	int64_t start;
	(void)state;

	for (int i = 0; i < 500; i++)
		strcat(text, "/**/*a*");
	strcat(text, "\",\"is\":\"local\"}]}");
	for (int i = 0; i < 1000; i++)
		strcat(path, "/aa");
	p = parse(text);
	start = clock_ns(CLOCK_MONOTONIC);
	assert_int_equal(policy_path(p, path, NULL), POLICY_LOCAL);
	memset(path + 1000, 'b', 3000);
	policy_path(p, path, NULL);
	assert_true(clock_ns(CLOCK_MONOTONIC) - start < NS_PER_S);
}

static void test_settings(void **state)
{
	AUTO_POLICY struct policy *p = parse("{\"default\":\"ship\",\"sockets\":\"local\",\"devices\":\"refuse\","
					     "\"link_timeout_s\":60,\"max_clock_difference_ms\":0,\"rules\":[]}");
	AUTO_POLICY struct policy *empty = NULL;
	AUTO_POLICY struct policy *shipped = NULL;
	const struct policy_rule *a = NULL, *b = NULL;
	(void)state;

	assert_int_equal(policy_otherwise(p), POLICY_SHIP);
	assert_int_equal(policy_sockets(p), POLICY_LOCAL);
	assert_int_equal(policy_devices(p), POLICY_REFUSE);
	assert_int_equal(policy_link_timeout_s(p), 60);
	assert_int_equal(policy_max_clock_difference_ms(p), 0);
	assert_null(policy_origin_dirs(p, 0));
	assert_null(policy_rule_next(p, NULL));

	/* what is built in is what is shipped */
	assert_int_equal(policy_default(&empty, NULL), 0);
	assert_int_equal(policy_read("conf/policy.json", &shipped, NULL), 0);
	assert_int_equal(policy_otherwise(empty), policy_otherwise(shipped));
	assert_int_equal(policy_sockets(empty), policy_sockets(shipped));
	assert_int_equal(policy_devices(empty), policy_devices(shipped));
	assert_int_equal(policy_link_timeout_s(empty), POLICY_NO_TIMEOUT);
	assert_int_equal(policy_link_timeout_s(shipped), POLICY_NO_TIMEOUT);
	assert_int_equal(policy_max_clock_difference_ms(empty), policy_max_clock_difference_ms(shipped));
	do {
		char text[2][256];

		a = policy_rule_next(empty, a);
		b = policy_rule_next(shipped, b);
		assert_string_equal(policy_rule_text(a, text[0], 256), policy_rule_text(b, text[1], 256));
	} while (a && b);
	assert_true(policy_user_allowed(empty, "any", "alice", 1000));
	assert_false(policy_user_allowed(empty, "any", "root", 0));
}

static void test_users(void **state)
{
	AUTO_POLICY struct policy *p = parse("{\"peers\":["
					     "{\"peer\":\"a\",\"users\":[\"alice\",\"bob\"]},"
					     "{\"peer\":\"a\",\"users\":[\"*\"]},"
					     "{\"peer\":\"b\",\"users\":[],\"root\":true},"
					     "{\"peer\":\"c\",\"root\":true},"
					     "{\"peer\":\"d\",\"users\":[]},"
					     "{\"peer\":\"*\"}]}");
	AUTO_POLICY struct policy *nobody = parse("{\"peers\":[]}");
	AUTO_POLICY struct policy *one = parse("{\"peers\":[{\"peer\":\"a\"}]}");
	static const struct {
		const char *peer, *user;
		uid_t uid;
		bool allowed;
	} rows[] = {
		{ "a", "alice", 1000, true }, { "a", "bob", 1001, true }, { "a", "carol", 1002, false },
		{ "a", "root", 0, false }, { "a", "alice", 0, false }, { "a", "*", 7, false },
		{ "b", "alice", 1000, false }, { "b", "root", 0, true },
		{ "c", "alice", 1000, true }, { "c", "toor", 0, true },
		{ "d", "alice", 1000, false }, { "other", "alice", 1000, true }, { "other", "root", 0, false },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (policy_user_allowed(p, rows[i].peer, rows[i].user, rows[i].uid) != rows[i].allowed)
			fail_msg("%s as %s", rows[i].peer, rows[i].user);
	assert_false(policy_user_allowed(nobody, "a", "alice", 1000));
	assert_true(policy_user_allowed(one, "a", "alice", 1000));
	assert_false(policy_user_allowed(one, "b", "alice", 1000));
}

static void test_errors(void **state)
{
#define RULES(r) "{\"rules\":[\n" r "\n]}"
#define RULE(path, is) "{\"path\":\"" path "\",\"is\":\"" is "\"}"
	static const struct {
		const char *text, *error;
	} rows[] = {
		{ "", "test: line 1, column 1: the text ends where a value is expected" },
		{ "[]", "test: line 1, column 1: a policy is one object, { ... }" },
		{ "{\n \"rulez\": []}",
		  "test: line 2, column 2: \"rulez\" is not a key here; known are $schema, rules, default, sockets, "
		  "devices, link_timeout_s, max_clock_difference_ms, peers" },
		{ "{\"default\":\"origin\"}",
		  "test: line 1, column 2: \"default\" must be one of \"local\" \"ship\" \"refuse\"" },
		{ "{\"sockets\":\"ship\"}",
		  "test: line 1, column 2: \"sockets\" must be one of \"local\" \"origin\" \"refuse\"" },
		{ "{\"devices\":5}", "test: line 1, column 2: \"devices\" must be one of \"origin\" \"refuse\"" },
		{ "{\"link_timeout_s\":0}",
		  "test: line 1, column 2: \"link_timeout_s\" must be a whole number from 1 to 3155760000" },
		{ "{\"link_timeout_s\":\"5\"}",
		  "test: line 1, column 2: \"link_timeout_s\" must be a whole number from 1 to 3155760000" },
		{ "{\"max_clock_difference_ms\":1.5}",
		  "test: line 1, column 2: \"max_clock_difference_ms\" must be a whole number from 0 to 3600000" },
		{ "{\"max_clock_difference_ms\":null}",
		  "test: line 1, column 2: \"max_clock_difference_ms\" must be a whole number from 0 to 3600000" },
		{ "{\"$schema\":1}", "test: line 1, column 2: \"$schema\" must be a string" },
		{ "{\"rules\":{}}", "test: line 1, column 2: \"rules\" must be a list of rules" },
		{ RULES("1"), "test: line 2, column 1: an element of this list must be an object" },
		{ RULES("{\"is\":\"local\"}"), "test: line 2, column 1: a rule needs \"path\"" },
		{ RULES("{\"path\":\"/a\"}"), "test: line 2, column 1: a rule needs \"is\"" },
		{ RULES("{\"path\":\"/a\",\"if\":1}"),
		  "test: line 2, column 14: \"if\" is not a key here; known are path, is, note" },
		{ RULES("{\"path\":\"\"}"), "test: line 2, column 2: \"path\" must be a string that is not empty" },
		{ RULES("{\"note\":1}"), "test: line 2, column 2: \"note\" must be a string" },
		{ RULES(RULE("/a", "stays")),
		  "test: line 2, column 14: \"is\" must be one of \"local\" \"origin\" \"ship\" \"refuse\"" },
		{ RULES(RULE("a/**", "local")), "test: line 2, column 2: \"a/**\" must be an absolute path" },
		{ RULES(RULE("/a/", "local")), "test: line 2, column 2: \"/a/\" has a slash too many" },
		{ RULES(RULE("//a", "local")), "test: line 2, column 2: \"//a\" has a slash too many" },
		{ RULES(RULE("/a/../b", "local")), "test: line 2, column 2: \"/a/../b\" can't have \".\" or \"..\" in it" },
		{ RULES(RULE("/a/.", "local")), "test: line 2, column 2: \"/a/.\" can't have \".\" or \"..\" in it" },
		{ RULES(RULE("/a**", "local")),
		  "test: line 2, column 2: \"/a**\": \"**\" stands for whole components, as in \"/tmp/**\"" },
		{ RULES(RULE("/***", "local")),
		  "test: line 2, column 2: \"/***\": \"**\" stands for whole components, as in \"/tmp/**\"" },
		{ RULES(RULE("/**", "origin")),
		  "test: line 2, column 2: \"/**\" can't be origin: the root directory stays local" },
		{ RULES(RULE("/etc/motd", "origin")),
		  "test: line 2, column 2: \"/etc/motd\" can't be origin by itself: a whole directory can "
		  "(\"/directory/**\"), other patterns only refine inside one that is" },
		{ RULES(RULE("/tmp*/**", "origin") ",\n" RULE("/tmp/**", "origin")),
		  "test: line 2, column 2: \"/tmp*/**\" can't be origin by itself: a whole directory can "
		  "(\"/directory/**\"), other patterns only refine inside one that is" },
		{ RULES(RULE("/tmp/**", "origin") ",\n" RULE("/tmp/x", "local")),
		  "test: line 3, column 2: \"/tmp/x\" never decides: rule 1, \"/tmp/**\", comes first and covers it; "
		  "put the narrower rule in front" },
		{ RULES(RULE("/a/*", "local") ",\n" RULE("/a/*", "ship")),
		  "test: line 3, column 2: \"/a/*\" never decides: rule 1, \"/a/*\", comes first and covers it; "
		  "put the narrower rule in front" },
		{ "{\"peers\":1}", "test: line 1, column 2: \"peers\" must be a list of peers" },
		{ "{\"peers\":[1]}", "test: line 1, column 11: an element of this list must be an object" },
		{ "{\"peers\":[{}]}", "test: line 1, column 11: a peer needs \"peer\", its name or \"*\"" },
		{ "{\"peers\":[{\"peer\":\"\"}]}", "test: line 1, column 12: \"peer\" must be a name or \"*\"" },
		{ "{\"peers\":[{\"peer\":\"a*\"}]}",
		  "test: line 1, column 12: \"peer\" must be a name, or \"*\" by itself for all" },
		{ "{\"peers\":[{\"peer\":\"a\",\"users\":\"b\"}]}",
		  "test: line 1, column 23: \"users\" must be a list of user names" },
		{ "{\"peers\":[{\"peer\":\"a\",\"users\":[\n5]}]}",
		  "test: line 2, column 1: an element of this list must be a name or \"*\"" },
		{ "{\"peers\":[{\"peer\":\"a\",\"users\":[\"b\",\"root\"]}]}",
		  "test: line 1, column 36: root is not named among the users, it needs \"root\": true" },
		{ "{\"peers\":[{\"peer\":\"a\",\"root\":1}]}",
		  "test: line 1, column 23: \"root\" must be true or false" },
		{ "{\"peers\":[{\"peer\":\"a\",\"user\":1}]}",
		  "test: line 1, column 23: \"user\" is not a key here; known are peer, users, root, note" },
		{ "{\"default\":\"local\",\n\"default\":\"ship\"}",
		  "test: line 2, column 1: this name is in the object twice" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct policy *p = NULL;
		struct err e = { 0 };

		assert_int_equal(policy_parse(rows[i].text, strlen(rows[i].text), "test", &p, &e), -EINVAL);
		assert_null(p);
		assert_int_equal(e.code, -EINVAL);
		assert_string_equal(e.text, rows[i].error);
		assert_int_equal(policy_parse(rows[i].text, strlen(rows[i].text), "test", &p, NULL), -EINVAL);
	}
}

static void test_origin_refines(void **state)
{
	AUTO_POLICY struct policy *p = parse(RULES(RULE("/tmp/keep/*.sock", "origin") "," RULE("/tmp/a", "origin") ","
						   RULE("/tmp/keep/**", "local") "," RULE("/tmp/**", "origin")));
	static const struct decision rows[] = {
		{ "/tmp/keep/x.sock", "rule 1: \"/tmp/keep/*.sock\" is origin", POLICY_ORIGIN },
		{ "/tmp/keep/x", "rule 3: \"/tmp/keep/**\" is local", POLICY_LOCAL },
		{ "/tmp/x", "rule 4: \"/tmp/**\" is origin", POLICY_ORIGIN },
	};
	(void)state;

	check_decisions(p, rows, ARRAY_SIZE(rows));
	assert_string_equal(policy_origin_dirs(p, 0), "/tmp");
	assert_null(policy_origin_dirs(p, 1));
}

static void test_flat(void **state)
{
	AUTO_POLICY struct policy *p = NULL;
	AUTO_FREE char *elsewhere = NULL;
	const struct policy_rule *rule;
	(void)state;

	assert_int_equal(policy_default(&p, NULL), 0);
	elsewhere = malloc(policy_size(p));
	assert_non_null(elsewhere);
	memcpy(elsewhere, p, policy_size(p));
	assert_int_equal(policy_path((struct policy *)elsewhere, "/tmp/x", &rule), POLICY_ORIGIN);
	assert_true((const char *)rule > elsewhere && (const char *)rule < elsewhere + policy_size(p));
}

static void test_memory_bound(void **state)
{
	static const char *const small[] = { "{\"peer\":\"a\"}", "{\"peer\":\"a\",\"users\":[\"b\",\"c\"]}",
					     "{\"path\":\"/%05d\",\"is\":\"local\"}" };
	(void)state;

	/* the shortest rows there are still fit in what room_for() allows */
	for (size_t i = 0; i < ARRAY_SIZE(small); i++) {
		AUTO_FREE char *text = calloc(1, 300000);
		AUTO_POLICY struct policy *p = NULL;
		size_t len = (size_t)sprintf(text, "{\"%s\":[", i == 2 ? "rules" : "peers");
		struct err e = { 0 };

		for (int n = 0; n < 1500; n++) {
			len += (size_t)sprintf(text + len, "%s", n ? "," : "");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			len += (size_t)sprintf(text + len, small[i], n);
#pragma GCC diagnostic pop
		}
		len += (size_t)sprintf(text + len, "]}");
		if (policy_parse(text, len, "test", &p, &e))
			fail_msg("%s", e.text);
	}
}

/* ---- the schema ------------------------------------------------------------------- */

/** props() - The properties of an object in the schema */
static const json *props(const json *schema, enum policy_object which)
{
	const json *defs = json_find(schema, "$defs");
	const json *of[] = {
		[POLICY_OBJECT_TOP] = schema,
		[POLICY_OBJECT_RULE] = json_find(defs, "rule"),
		[POLICY_OBJECT_PEER] = json_find(defs, "peer"),
	};

	assert_false(json_is_true(json_find(of[which], "additionalProperties")));
	assert_true(json_is_bool(json_find(of[which], "additionalProperties")));
	return json_find(of[which], "properties");
}

static void test_schema_has_the_readers_keys(void **state)
{
	AUTO_JSON json *schema = NULL;
	struct err e = { 0 };
	(void)state;

	if (json_read_file("conf/policy.schema.json", 1 << 20, &schema, &e))
		fail_msg("%s", e.text);
	for (enum policy_object o = POLICY_OBJECT_TOP; o <= POLICY_OBJECT_PEER; o++) {
		const json *known = props(schema, o);
		const char *key;
		size_t n = 0;

		for (; (key = policy_read_key(o, n)); n++) {
			const char *text;

			if (!json_find(known, key))
				fail_msg("the schema lacks \"%s\"", key);
			assert_int_equal(json_get_str(json_find(known, key), "description", &text, NULL), 0);
			assert_true(strlen(text) > 5);
		}
		assert_int_equal(json_count(known), n);
	}
}

/** put_in() - A policy's text with @value for a key of one of the objects */
static char *put_in(enum policy_object o, const char *key, const json *value)
{
	AUTO_JSON json *top = json_object();
	AUTO_FREE char *text = json_text(value, false);
	json *inner = json_object(), *list = json_array(), *copy = NULL;

	assert_int_equal(json_parse(text, strlen(text), &copy, NULL), 0);
	if (o == POLICY_OBJECT_TOP) {
		json_free(inner);
		json_free(list);
		json_put(top, key, copy);
	} else {
		/* inside a directory that is origin, so that each verdict may stand there */
		json_put_str(inner, o == POLICY_OBJECT_RULE ? "path" : "peer", o == POLICY_OBJECT_RULE ? "/t/x" : "x");
		if (o == POLICY_OBJECT_RULE)
			json_put_str(inner, "is", "local");
		json_put(inner, key, copy);
		json_push(list, inner);
		if (o == POLICY_OBJECT_RULE) {
			inner = json_object();
			json_put_str(inner, "path", "/t/**");
			json_put_str(inner, "is", "origin");
			json_push(list, inner);
		}
		json_put(top, o == POLICY_OBJECT_RULE ? "rules" : "peers", list);
	}
	return json_text(top, false);
}

static bool accepted(enum policy_object o, const char *key, const json *value)
{
	AUTO_FREE char *text = put_in(o, key, value);
	AUTO_POLICY struct policy *p = NULL;

	return !policy_parse(text, strlen(text), "test", &p, NULL);
}

/** check_number() - The reader's limits are the schema's */
static void check_number(enum policy_object o, const char *key, const json *property)
{
	static const struct {
		const char *limit;
		int outside;
	} limits[] = { { "minimum", -1 }, { "maximum", 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		AUTO_JSON json *a = json_array();
		int64_t v = 0;

		assert_int_equal(json_get_int(property, limits[i].limit, INT64_MIN, INT64_MAX, &v, NULL), 0);
		json_push_int(a, v);
		json_push_int(a, v + limits[i].outside);
		assert_true(accepted(o, key, json_first(a)));
		assert_false(accepted(o, key, json_next(json_first(a))));
	}
}

static void test_schema_has_the_readers_values(void **state)
{
	AUTO_JSON json *schema = NULL;
	int enums = 0, numbers = 0, defaults = 0;
	(void)state;

	assert_int_equal(json_read_file("conf/policy.schema.json", 1 << 20, &schema, NULL), 0);
	for (enum policy_object o = POLICY_OBJECT_TOP; o <= POLICY_OBJECT_PEER; o++) {
		for (const json *k = json_first(props(schema, o)); k; k = json_next(k)) {
			const json *list = json_find(k, "enum"), *fallback = json_find(k, "default");

			if (fallback) {
				assert_true(accepted(o, json_key(k), fallback));
				defaults++;
			}
			if (json_find(k, "minimum")) {
				check_number(o, json_key(k), k);
				numbers++;
			}
			for (enum policy_verdict v = 0; list && v < POLICY_VERDICTS; v++, enums++) {
				AUTO_JSON json *a = json_array();
				bool listed = false;

				json_push_str(a, policy_verdict_name(v));
				for (const json *i = json_first(list); i; i = json_next(i))
					listed |= !strcmp(json_as_str(i), policy_verdict_name(v));
				if (accepted(o, json_key(k), json_first(a)) != listed)
					fail_msg("\"%s\": \"%s\"", json_key(k), policy_verdict_name(v));
			}
		}
	}
	assert_int_equal(enums, 4 * POLICY_VERDICTS);
	assert_int_equal(numbers, 2);
	assert_int_equal(defaults, 10);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped_policy_decides),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_against_a_simple_matcher),
		cmocka_unit_test(test_no_pattern_is_slow),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_origin_refines),
		cmocka_unit_test(test_flat),
		cmocka_unit_test(test_memory_bound),
		cmocka_unit_test(test_schema_has_the_readers_keys),
		cmocka_unit_test(test_schema_has_the_readers_values),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * policy_keys.c - The keys of a policy as scdoc, for mproxy-policy(5)
 *
 *	policy_keys SCHEMA top|rule|peer	an entry for each key that the reader knows, in its order
 *	policy_keys SCHEMA defaults		the rules that apply where a policy has none
 *
 * Which keys there are is policy_read.c's; what they mean, conf/policy.schema.json's.  A key without
 * a description there is an error.  Used by the build only.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/daemon/policy_read.h"
#include "proxy/json/json.h"

#define SCHEMA_MAX (256 * 1024)

/* Where the schema describes them: the members of these, one in the other */
static const struct object {
	const char *name;
	enum policy_object keys;
	const char *way[3];
} objects[] = {
	{ "top", POLICY_OBJECT_TOP, { NULL } },
	{ "rule", POLICY_OBJECT_RULE, { "$defs", "rule" } },
	{ "peer", POLICY_OBJECT_PEER, { "$defs", "peer" } },
};

/* No character of @text means anything to scdoc */
static void put_prose(const char *text)
{
	for (; *text; text++) {
		if (strchr("\\*_", *text))
			putchar('\\');
		putchar(*text);
	}
}

static void put_json(const json *value)
{
	AUTO_FREE char *text = json_text(value, false);

	put_prose(text ? text : "");
}

/* `"local", "ship"`, `integer or null`: what a value can be */
static void put_kind(const json *key)
{
	const json *choice = json_find(key, "enum"), *type = json_find(key, "type");

	if (!choice && !json_count(type))
		put_prose(type ? json_as_str(type) : "name or \"*\"");
	for (const json *i = json_first(choice ? choice : type); i; i = json_next(i)) {
		if (choice)
			put_json(i);
		else
			put_prose(json_as_str(i));
		fputs(!json_next(i) ? "" : choice ? ", " : " or ", stdout);
	}
}

static bool is_required(const json *object, const char *name)
{
	for (const json *i = json_first(json_find(object, "required")); i; i = json_next(i))
		if (!strcmp(json_as_str(i), name))
			return true;
	return false;
}

static int put_key(const json *object, const char *name, struct err *e)
{
	const json *key = json_find(json_find(object, "properties"), name);
	const json *fallback = json_find(key, "default");
	bool says_default = fallback && !(json_is_string(fallback) && !*json_as_str(fallback));
	const char *about;
	int r = key ? json_get_str(key, "description", &about, e)
		    : err_say(e, -ENOENT, "the schema doesn't know the key");

	if (r)
		return err_wrap(e, r, "%s", name);
	printf("*%s*: ", name);
	put_kind(key);
	fputs(is_required(object, name) ? " (required)\n\t" : "\n\t", stdout);
	put_prose(about);
	if (says_default) {
		fputs(" Default: ", stdout);
		put_json(fallback);
		putchar('.');
	}
	fputs("\n\n", stdout);
	return 0;
}

static int put_keys(const json *schema, const struct object *o, struct err *e)
{
	const json *object = schema;
	const char *name;
	int r = 0;

	for (size_t i = 0; o->way[i]; i++)
		object = json_find(object, o->way[i]);
	for (size_t i = 0; !r && (name = policy_read_key(o->keys, i)); i++)
		r = put_key(object, name, e);
	return r;
}

static int put_defaults(struct err *e)
{
	AUTO_POLICY struct policy *p = NULL;
	const struct policy_rule *rule = NULL;
	char text[POLICY_PATTERN_MAX + 64];
	int r = policy_default(&p, e);

	while (!r && (rule = policy_rule_next(p, rule)))
		puts(policy_rule_text(rule, text, sizeof(text)));
	return r;
}

static int run(const char *schema, const char *what, struct err *e)
{
	AUTO_FREE char *text = NULL;
	AUTO_JSON json *j = NULL;
	size_t len;
	int r = json_read_text(schema, SCHEMA_MAX, &text, &len, e);

	if (!r)
		r = json_parse(text, len, &j, e);
	if (r)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (!strcmp(objects[i].name, what))
			return put_keys(j, &objects[i], e);
	return strcmp(what, "defaults") ? err_say(e, -EINVAL, "%s: what is that?", what)
					: put_defaults(e);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };

	if (argc != 3) {
		fprintf(stderr, "usage: policy_keys SCHEMA top|rule|peer|defaults\n");
		return 2;
	}
	if (run(argv[1], argv[2], &e)) {
		fprintf(stderr, "policy_keys: %s\n", e.text);
		return 1;
	}
	return fflush(stdout) ? 1 : 0;
}

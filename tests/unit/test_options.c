/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - The option parser: every way to write an option, and every mistake
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/attr.h"
#include "common/scope.h"
#include "proxy/daemon/options.h"

#define MOST 8

struct values {
	const char *control;
	struct option_maybe listen;
	bool quiet, json;
	int number;
};

static int set_number(void *field, const char *value, struct err *e)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (*end || !*value)
		return err_say(e, -EINVAL, "%s is no number", value);
	*(int *)field = (int)n;
	return 0;
}

static const struct option_row rows[] = {
	{ "control", 'c', "PATH", "Where mproxy listens.", offsetof(struct values, control),
	  option_text },
	{ "listen", 'l', "[ADDR]", "Listen.\nSecond line.", offsetof(struct values, listen),
	  option_maybe },
	{ "quiet", 'q', NULL, "Say less.", offsetof(struct values, quiet), option_flag },
	{ "json", 'j', NULL, "JSON.", offsetof(struct values, json), option_flag },
	{ "a-number-with-a-long-name", 0, "N", "A number.", offsetof(struct values, number),
	  set_number },
};

static const struct option_command commands[] = {
	{ NULL, "PID", "Does." },
	{ "why", "PID [ADDR:PORT]", "Says a|b,\n*why*." },
};
static const char *const usage[] = { "[OPTION]... PID", "ps", NULL };
static const struct options options = {
	.program = "prog", .usage = usage, .about = "Does things.", .more = "The end.",
	.rows = rows, .n = ARRAY_SIZE(rows),
	.commands = commands, .n_commands = ARRAY_SIZE(commands),
};

/* Parses @words, up to the first NULL */
static int parse(const char *const *words, char **argv, struct values *v,
		 struct options_found *found, struct err *e)
{
	int argc = 1;

	*v = (struct values){ 0 };
	*e = (struct err){ 0 };
	argv[0] = (char *)"prog";
	for (; argc <= MOST && words[argc - 1]; argc++)
		argv[argc] = (char *)words[argc - 1];
	argv[argc] = NULL;
	return options_parse(&options, argc, argv, v, found, e);
}

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static void test_good(void **state)
{
	static const struct row {
		const char *words[MOST + 1];
		struct values v;
		const char *operands;
	} good[] = {
		{ { NULL }, { 0 }, "" },
		{ { "1", "host" }, { 0 }, "1 host " },
		{ { "--control", "p" }, { .control = "p" }, "" },
		{ { "--control=p" }, { .control = "p" }, "" },
		{ { "--control=" }, { .control = "" }, "" },
		{ { "--control", "--quiet" }, { .control = "--quiet" }, "" },
		{ { "-cp", "x" }, { .control = "p" }, "x " },
		{ { "-c", "p" }, { .control = "p" }, "" },
		{ { "-qjcp" }, { .control = "p", .quiet = true, .json = true }, "" },
		{ { "a", "-q", "b", "--json", "c" }, { .quiet = true, .json = true }, "a b c " },
		{ { "--", "-q", "--json" }, { 0 }, "-q --json " },
		{ { "-", "" }, { 0 }, "-  " },
		{ { "--listen" }, { .listen = { true, NULL } }, "" },
		{ { "--listen", "--quiet" }, { .listen = { true, NULL }, .quiet = true }, "" },
		{ { "--listen", "h:1", "x" }, { .listen = { true, "h:1" } }, "x " },
		{ { "--listen=h:1" }, { .listen = { true, "h:1" } }, "" },
		{ { "-l", "h:1" }, { .listen = { true, "h:1" } }, "" },
		{ { "-lh:1" }, { .listen = { true, "h:1" } }, "" },
		{ { "-ql" }, { .listen = { true, NULL }, .quiet = true }, "" },
		{ { "--a-number-with-a-long-name", "-3" }, { .number = -3 }, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		char *argv[MOST + 2], text[200] = "";
		struct options_found found;
		struct values v;
		struct err e;

		assert_int_equal(parse(good[i].words, argv, &v, &found, &e), 0);
		for (int k = 1; k <= found.operands; k++)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", argv[k]);
		assert_string_equal(text, good[i].operands);
		assert_true(same(v.control, good[i].v.control));
		assert_true(same(v.listen.value, good[i].v.listen.value));
		assert_int_equal(v.listen.given, good[i].v.listen.given);
		assert_int_equal(v.quiet, good[i].v.quiet);
		assert_int_equal(v.json, good[i].v.json);
		assert_int_equal(v.number, good[i].v.number);
	}
}

static void test_bad(void **state)
{
	static const struct row {
		const char *words[MOST + 1];
		const char *text;
	} bad[] = {
		{ { "--nothing" }, "there is no option --nothing; 'prog --help' lists all" },
		{ { "--contro=x" }, "there is no option --contro; 'prog --help' lists all" },
		{ { "--=x" }, "there is no option --; 'prog --help' lists all" },
		{ { "-qx" }, "there is no option -x; 'prog --help' lists all" },
		{ { "-q-" }, "there is no option --; 'prog --help' lists all" },
		{ { "--control" }, "--control needs an argument: PATH" },
		{ { "-qc" }, "-c needs an argument: PATH" },
		{ { "--quiet=1" }, "--quiet takes no argument" },
		{ { "--help=1" }, "--help takes no argument" },
		{ { "--help-as" }, "--help-as needs an argument: FORM" },
		{ { "--help-as=word" }, "--help-as: word is no form" },
		{ { "--a-number-with-a-long-name=x" },
		  "--a-number-with-a-long-name: x is no number" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct options_found found;
		char *argv[MOST + 2];
		struct values v;
		struct err e;

		assert_int_equal(parse(bad[i].words, argv, &v, &found, &e), -EINVAL);
		assert_string_equal(e.text, bad[i].text);
	}
}

static void test_help(void **state)
{
	static const char *const words[] = { "-q", "-h", "--nothing", NULL };
	static const char *const version[] = { "--version", NULL };
	static const char expected[] =
		"Usage: prog [OPTION]... PID\n"
		"       prog ps\n"
		"\n"
		"Does things.\n"
		"\n"
		"PID      Does.\n"
		"why      Says a|b,\n*why*.\n"
		"\n"
		"Options:\n"
		"  -c, --control PATH          Where mproxy listens.\n"
		"  -l, --listen [ADDR]         Listen.\n"
		"                              Second line.\n"
		"  -q, --quiet                 Say less.\n"
		"  -j, --json                  JSON.\n"
		"      --a-number-with-a-long-name N\n"
		"                              A number.\n"
		"  -h, --help                  Print this and end.\n"
		"  -V, --version               Print the version and end.\n"
		"\n"
		"The end.\n";
	char text[2000], *argv[MOST + 2];
	struct options_found found;
	struct values v;
	struct err e;
	FILE *f;

	(void)state;
	assert_int_equal(parse(words, argv, &v, &found, &e), 0);
	assert_true(found.help == options_help && v.quiet && !found.version);
	assert_int_equal(parse(version, argv, &v, &found, &e), 0);
	assert_true(found.version && !found.help);

	f = fmemopen(text, sizeof(text), "w");
	assert_non_null(f);
	options_help(&options, f);
	fclose(f);
	assert_string_equal(text, expected);
	f = fmemopen(text, sizeof(text), "w");
	options_version(&options, f);
	fclose(f);
	assert_string_equal(text, "prog " MSHIM_VERSION "\n");
}

/* What man pages and shell completion are made of */
static void test_forms(void **state)
{
	static const struct row {
		const char *form, *text;
	} forms[] = {
		{ "usage", "*prog* [_OPTION_]... _PID_++\n*prog* *ps*\n" },
		{ "commands", "_PID_\n\tDoes.\n\n*why* _PID_ [_ADDR_:_PORT_]\n\tSays a|b, \\*why\\*.\n\n" },
		{ "options", "*-c*, *--control* _PATH_\n\tWhere mproxy listens.\n\n"
			     "*-l*, *--listen* [_ADDR_]\n\tListen. Second line.\n\n"
			     "*-q*, *--quiet*\n\tSay less.\n\n"
			     "*-j*, *--json*\n\tJSON.\n\n"
			     "*--a-number-with-a-long-name* _N_\n\tA number.\n\n"
			     "*-h*, *--help*\n\tPrint this and end.\n\n"
			     "*-V*, *--version*\n\tPrint the version and end.\n\n" },
		{ "words", "option|--control|-c|PATH|Where mproxy listens.\n"
			   "option|--listen|-l|[ADDR]|Listen. Second line.\n"
			   "option|--quiet|-q||Say less.\n"
			   "option|--json|-j||JSON.\n"
			   "option|--a-number-with-a-long-name||N|A number.\n"
			   "option|--help|-h||Print this and end.\n"
			   "option|--version|-V||Print the version and end.\n"
			   "command||PID|Does.\n"
			   "command|why|PID [ADDR:PORT]|Says a/b, *why*.\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *const words[] = { "--help-as", forms[i].form, "--nothing", NULL };
		char text[2000], *argv[MOST + 2];
		struct options_found found;
		struct values v;
		struct err e;
		FILE *f = fmemopen(text, sizeof(text), "w");

		assert_non_null(f);
		assert_int_equal(parse(words, argv, &v, &found, &e), 0);
		found.help(&options, f);
		fclose(f);
		assert_string_equal(text, forms[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_forms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

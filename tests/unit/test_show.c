/* SPDX-License-Identifier: MIT */
/*
 * test_show.c - What mmigrate prints of what mproxy said
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/attr.h"
#include "proxy/daemon/show.h"

typedef void show_fn(struct show *s, int64_t code, const json *answer);

static void programs(struct show *s, int64_t code, const json *answer)
{
	(void)code;
	show_programs(s, answer);
}

static void peers(struct show *s, int64_t code, const json *answer)
{
	(void)code;
	show_peers(s, answer);
}

static void policy(struct show *s, int64_t code, const json *answer)
{
	(void)code;
	show_policy(s, answer);
}

static void as_json(struct show *s, int64_t code, const json *answer)
{
	show_json(s, "answer", code, answer);
}

/* Two bars, then they go */
static void progress(struct show *s, int64_t code, const json *answer)
{
	(void)code;
	show_progress(s, answer);
	show_progress(s, answer);
	show_progress_end(s);
}

#define REASONS                                                                            \
	"\"reasons\":[{\"code\":\"E_SETUID\",\"warning\":false,\"text\":\"it is setuid\","  \
	"\"advice\":\"do not\",\"rule\":\"rule 3\",\"host\":\"h\"},"                        \
	"{\"code\":\"E_CLOCK_DIFFERS\",\"warning\":true,\"text\":\"slow\",\"advice\":\"\"}]"
#define REASONS_SHOWN                                                                      \
	"  E_SETUID: it is setuid (rule 3) [h]\n      do not\n  W E_CLOCK_DIFFERS: slow\n"

static const struct row {
	show_fn *show;
	enum show_style style;
	int code;
	const char *json, *out, *err;
} rows[] = {
	{ show_answer, SHOW_LINES, 0, "{\"text\":\"moved\",\"pause_us\":3210,\"pages\":7}",
	  "moved\n  it stood still for 3.2 ms\n  7 pages were sent\n", "" },
	{ show_answer, SHOW_QUIET, 0, "{\"text\":\"moved\"}", "", "" },
	{ show_answer, SHOW_QUIET, -1, "{\"text\":\"no\"," REASONS "}", "",
	  "mmigrate: no\n" REASONS_SHOWN },
	{ show_answer, SHOW_LINES, -1, "{\"text\":7,\"reasons\":{\"a\":[]},\"pages\":{}}", "",
	  "mmigrate: 7\n  : \n" },
	{ show_answer, SHOW_LINES, 0,
	  "{\"text\":\"a\\u001b[2J\\u0085b\\n\x9b" "c\u00e9\u20ac\xf0\x9f\"}",
	  "a\\x1b[2J\\xc2\\x85b\\x0a\\x9bc\u00e9\u20ac\\xf0\\x9f\n", "" },
	{ show_why, SHOW_LINES, 0, "{}", "nothing stands in the way\n", "" },
	{ show_why, SHOW_LINES, -1, "{\"text\":\"1 thing\"," REASONS "}",
	  "1 thing\n" REASONS_SHOWN, "" },
	{ show_why, SHOW_LINES, -1, "{\"text\":\"no link\"}", "", "mmigrate: no link\n" },
	{ policy, SHOW_LINES, 0, "{\"text\":\"/x is local\",\"note\":\"why\"}",
	  "/x is local\n  why\n", "" },
	{ programs, SHOW_LINES, 0, "{\"programs\":[],\"text\":\"none\"}", "none\n", "" },
	{ programs, SHOW_LINES, 0,
	  "{\"programs\":[{\"pid\":12,\"host_pid\":9,\"uid\":0,\"guest\":false,\"state\":\"away\","
	  "\"peer\":\"bee\",\"comm\":\"sl\\u001bp\"},{\"pid\":34567,\"host_pid\":8,\"uid\":0,"
	  "\"guest\":true,\"state\":\"here\",\"peer\":\"p\",\"comm\":\"x\"}]}",
	  "PID  USER  STATE  RUNS                          COMMAND\n"
	  "12   root  away   on bee                        sl\\x1bp\n"
	  "8    root  here   here, from p (process 34567)  x\n", "" },
	{ peers, SHOW_LINES, 0, "{\"peers\":[{\"name\":\"n\",\"address\":\"a:1\"}]}",
	  "NAME  ADDRESS  IDENTITY\nn     a:1      \n", "" },
	{ as_json, SHOW_JSON, -3, "{\"a\":1}", "{\"kind\":\"answer\",\"code\":-3,\"a\":1}\n", "" },
	{ as_json, SHOW_JSON, 0, "{}", "{\"kind\":\"answer\",\"code\":0}\n", "" },
	{ progress, SHOW_LINES, 0, "{\"stage\":\"freezing\"}", "", "freezing\n" },
	{ progress, SHOW_QUIET, 0, "{\"stage\":\"freezing\"}", "", "" },
	{ progress, SHOW_BAR, 0, "{\"stage\":\"s\",\"done\":9,\"of\":3}", "",
	  "\r\033[K[##############################] 100%  s"
	  "\r\033[K[##############################] 100%  s\r\033[K" },
	{ progress, SHOW_BAR, 0, "{\"stage\":\"s\",\"done\":9,\"of\":0}", "",
	  "\r\033[Ks\r\033[Ks\r\033[K" },
	{ progress, SHOW_JSON, 0, "{\"stage\":\"s\"}",
	  "{\"kind\":\"progress\",\"stage\":\"s\"}\n"
	  "{\"kind\":\"progress\",\"stage\":\"s\"}\n", "" },
};

static void test_show(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[4096] = "", err[4096] = "";
		struct show s = { .style = rows[i].style, .out = fmemopen(out, sizeof(out), "w"),
				  .err = fmemopen(err, sizeof(err), "w") };
		json *j;

		assert_int_equal(json_parse(rows[i].json, strlen(rows[i].json), &j, NULL), 0);
		rows[i].show(&s, rows[i].code, j);
		fclose(s.out);
		fclose(s.err);
		assert_string_equal(out, rows[i].out);
		assert_string_equal(err, rows[i].err);
		json_free(j);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *json;
		bool refused;
	} cases[] = {
		{ "{}", false },
		{ "{\"reasons\":[]}", false },
		{ "{\"reasons\":[{\"warning\":true}]}", false },
		{ "{\"reasons\":[{\"warning\":true},{\"warning\":false}]}", true },
		{ "{\"reasons\":[{}]}", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json *j;

		assert_int_equal(json_parse(cases[i].json, strlen(cases[i].json), &j, NULL), 0);
		assert_int_equal(show_is_refused(j), cases[i].refused);
		json_free(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

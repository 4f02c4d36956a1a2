/* SPDX-License-Identifier: MIT */
/*
 * test_json.c - What json.h promises: the grammar, the places of errors, no bit lost
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/scope.h"
#include "proxy/json/json.h"

static json *parse(const char *text)
{
	struct err e = { 0 };
	json *j = NULL;

	if (json_parse(text, strlen(text), &j, &e))
		fail_msg("%s: %s", text, e.text);
	return j;
}

static void test_good_texts(void **state)
{
	static const char *const same[] = {
		"null",
		"true",
		"false",
		"0",
		"-1",
		"\"\"",
		"[]",
		"{}",
		"[1,[2,[3,{\"a\":[]}]]]",
		"{\"a\":1,\"A\":2,\"\":3}",
		"\"\\\\ \\\" \\n \\u0001\"",
		"9007199254740991",
		"-9007199254740991",
		"9007199254740992",
		"\"\xff\xfe\"",
		"[0.5,1e+100]",
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		AUTO_JSON json *j = parse(same[i]);
		AUTO_FREE char *text = json_text(j, false);

		assert_string_equal(text, same[i]);
	}
	{
		AUTO_JSON json *j = parse(" \t\r\n[ 1 , \"\\ud83d\\ude00\\u00e4\\/\" ]\n");

		assert_int_equal(json_count(j), 2);
		assert_string_equal(json_as_str(json_next(json_first(j))),
				    "\xf0\x9f\x98\x80\xc3\xa4/");
	}
}

static void test_bad_texts(void **state)
{
	static const struct {
		const char *text, *error;
		size_t len;	/* 0: strlen */
	} rows[] = {
		{ .text = "",
		  .error = "line 1, column 1: the text ends where a value is expected" },
		{ .text = "\n\n  ", .error = "line 3, column 3: the text ends" },
		{ .text = "{\n\t\"a\": 1,\n\t\"b\" 2\n}",
		  .error = "line 3, column 6: expected ':'" },
		{ .text = "[1,]", .error = "column 4: expected a value" },
		{ .text = "{\"a\":1,}", .error = "column 8: expected a name" },
		{ .text = "{a:1}", .error = "column 2: expected a name" },
		{ .text = "[1 2]", .error = "column 4: expected ',' or ']'" },
		{ .text = "{\"a\":1 \"b\"", .error = "column 8: expected ',' or '}'" },
		{ .text = "[1] x", .error = "column 5: something follows" },
		{ .text = "1\0", .len = 2, .error = "column 2: NUL byte" },
		{ .text = "\0", .len = 1, .error = "column 1: NUL byte" },
		{ .text = "\"a\0b\"", .len = 5, .error = "column 3: NUL byte" },
		{ .text = "[\0]", .len = 3, .error = "NUL byte" },
		{ .text = "\"\\u0000\"", .error = "column 2: a string can't contain NUL" },
		{ .text = "\"\\ud800\"", .error = "half of a surrogate pair" },
		{ .text = "\"\\ud800\\u0041\"", .error = "half of a surrogate pair" },
		{ .text = "\"\\udc00\"", .error = "half of a surrogate pair" },
		{ .text = "\"\\x41\"", .error = "column 2: unknown escape" },
		{ .text = "\"\\u00g0\"", .error = "four hexadecimal digits" },
		{ .text = "\"a\nb\"", .error = "column 3: control character" },
		{ .text = "[\"abc", .error = "column 2: this string has no end" },
		{ .text = "\"\\", .error = "unknown escape" },
		{ .text = "01", .error = "column 2: something follows" },
		{ .text = "-", .error = "not a number" },
		{ .text = "1.", .error = "digits behind its point" },
		{ .text = "1e+", .error = "digits in its exponent" },
		{ .text = "+1", .error = "expected a value" },
		{ .text = "NaN", .error = "expected a value" },
		{ .text = "nul", .error = "expected a value" },
		{ .text = "\xef\xbb\xbf{}", .error = "column 1: expected a value" },
		{ .text = "{}", .len = 1, .error = "expected a name" },
		{ .text = "0.0000000000000000000000000000000000000000000000000000000000000001",
		  .error = "too many digits" },
		{ .text = "{\"a\":1,\n \"b\":{},\n\"\\u0061\":2}",
		  .error = "line 3, column 1: this name is in" },
		{ .text = "[1,{\"x\":[[],{\"k\":1,\"l\":2,\"k\":{}}]}]",
		  .error = "column 26: this name is in the object twice" },
		/* a column is counted in characters */
		{ .text = "[\"\xc3\xa4\xc3\xb6\" x]", .error = "column 7: expected ','" },
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e = { 0 };
		json *j = NULL;
		size_t len = rows[i].len ? rows[i].len : strlen(rows[i].text);

		assert_int_equal(json_parse(rows[i].text, len, &j, &e), -EINVAL);
		assert_null(j);
		if (!strstr(e.text, rows[i].error))
			fail_msg("row %zu: \"%s\" instead of \"%s\"", i, e.text, rows[i].error);
	}
}

static void test_depth(void **state)
{
	char text[2 * (JSON_MAX_DEPTH + 1) + 1];
	struct err e = { 0 };
	json *j = NULL;
	(void)state;

	for (int depth = JSON_MAX_DEPTH; depth <= JSON_MAX_DEPTH + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		text[2 * depth] = '\0';
		assert_int_equal(json_parse(text, 2 * depth, &j, &e),
				 depth > JSON_MAX_DEPTH ? -EINVAL : 0);
		json_free(j);
	}
	assert_non_null(strstr(e.text, "line 1, column 65: nested too deeply"));
}

static void test_build(void **state)
{
	AUTO_JSON json *o = json_object();
	AUTO_FREE char *text = NULL;
	json *arr = json_array();
	(void)state;

	assert_true(json_put_str(o, "s", "a\"b"));
	assert_true(json_put_int(o, "i", -5));
	assert_true(json_put_int(o, "i", 1000000000000001));	/* replaces */
	assert_true(json_put_int(o, "max", INT64_MAX));
	assert_true(json_put_int(o, "min", INT64_MIN));
	assert_true(json_put_hex(o, "h", UINT64_MAX));
	assert_true(json_put_bool(o, "b", true));
	assert_true(json_put_bytes(o, "y", "\x00\xff", 2));
	assert_true(json_put_bytes(o, "none", NULL, 0));
	json_push_str(arr, "x");
	json_push_int(arr, 9007199254740991);
	json_push_int(arr, 9007199254740992);
	json_push_hex(arr, 31);
	json_push(arr, json_object());
	assert_true(json_put(o, "a", arr));
	assert_true(json_ok(o));
	text = json_text(o, false);
	assert_string_equal(
		text, "{\"s\":\"a\\\"b\",\"i\":1000000000000001,\"max\":\"9223372036854775807\","
		      "\"min\":\"-9223372036854775808\",\"h\":\"0xffffffffffffffff\",\"b\":true,"
		      "\"y\":\"00ff\",\"none\":\"\","
		      "\"a\":[\"x\",9007199254740991,\"9007199254740992\",\"0x1f\",{}]}");
}

static void test_integers_keep_their_bits(void **state)
{
	static const int64_t values[] = {
		0,
		1,
		-1,
		999999999999999,
		1000000000000000,
		1234567890123457,
		9007199254740991,
		9007199254740992,
		-9007199254740991,
		-9007199254740993,
		INT64_MAX,
		INT64_MIN,
	};
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		AUTO_JSON json *o = json_object();
		AUTO_JSON json *again = NULL;
		AUTO_FREE char *text = NULL;
		struct err e = { 0 };
		int64_t v = 7;

		json_put_int(o, "v", values[i]);
		assert_int_equal(json_get_int(o, "v", INT64_MIN, INT64_MAX, &v, &e), 0);
		assert_true(v == values[i]);
		text = json_text(o, true);
		again = parse(text);
		v = 7;
		assert_int_equal(json_get_int(again, "v", INT64_MIN, INT64_MAX, &v, &e), 0);
		assert_true(v == values[i]);
	}
}

static void test_what_was_lost_is_not_written(void **state)
{
	AUTO_JSON json *o = json_object();
	json *inner = json_array();
	(void)state;

	json_put_str(o, "fine", "x");
	assert_false(json_push_str(inner, NULL));
	assert_true(json_put(o, "inner", inner));
	assert_false(json_ok(o));
	assert_null(json_text(o, false));
	assert_false(json_put(NULL, "a", json_object()));	/* taken, freed */
	assert_false(json_put(o, "a", NULL));
	assert_false(json_push(o, json_object()));	/* not an array */
	assert_null(json_text(NULL, false));
}

#define READ_ERROR(call, sentence)                                                         \
	do {                                                                               \
		struct err e = { 0 };                                                      \
		assert_int_equal(call, -EINVAL);                                           \
		assert_int_equal(e.code, -EINVAL);                                         \
		assert_string_equal(e.text, sentence);                                     \
	} while (0)

static void test_checked_readers(void **state)
{
	AUTO_JSON json *o = parse(
		"{\"s\":\"x\",\"i\":12,\"f\":1.5,\"big\":9007199254740992,\"inf\":1e999,"
		"\"h\":\"0xDEADbeef00000001\",\"t\":true,\"y\":\"00fF\",\"odd\":\"0\",\"a\":[],"
		"\"o\":{},\"n\":null}");
	const json *j = NULL;
	const char *s = NULL;
	uint64_t h = 0;
	uint8_t buf[2];
	size_t len = 0;
	int64_t v = 0;
	bool b = false;
	(void)state;

	assert_int_equal(json_get_str(o, "s", &s, NULL), 0);
	assert_string_equal(s, "x");
	assert_int_equal(json_get_int(o, "i", 12, 12, &v, NULL), 0);
	assert_int_equal(v, 12);
	assert_int_equal(json_get_hex(o, "h", &h, NULL), 0);
	assert_true(h == 0xdeadbeef00000001);
	assert_int_equal(json_get_bool(o, "t", &b, NULL), 0);
	assert_true(b);
	assert_int_equal(json_get_bytes(o, "y", buf, 2, &len, NULL), 0);
	assert_int_equal(len, 2);
	assert_memory_equal(buf, "\x00\xff", 2);
	assert_int_equal(json_get_array(o, "a", &j, NULL), 0);
	assert_int_equal(json_get_object(o, "o", &j, NULL), 0);

	READ_ERROR(json_get_str(o, "i", &s, &e), "\"i\" must be a string");
	READ_ERROR(json_get_str(o, "gone", &s, &e), "\"gone\" is missing, it must be a string");
	READ_ERROR(json_get_str(NULL, "s", &s, &e), "\"s\" is missing, it must be a string");
	READ_ERROR(json_get_int(o, "i", 0, 11, &v, &e),
		   "\"i\" must be a whole number from 0 to 11");
	READ_ERROR(json_get_int(o, "f", 0, 11, &v, &e),
		   "\"f\" must be a whole number from 0 to 11");
	READ_ERROR(json_get_int(o, "s", 0, 11, &v, &e),
		   "\"s\" must be a whole number from 0 to 11");
	READ_ERROR(json_get_int(o, "big", 0, INT64_MAX, &v, &e),
		   "\"big\" must be a whole number from 0 to 9223372036854775807");
	READ_ERROR(json_get_int(o, "inf", 0, 1, &v, &e),
		   "\"inf\" must be a whole number from 0 to 1");
	READ_ERROR(json_get_hex(o, "s", &h, &e),
		   "\"s\" must be a string such as \"0x1f\", of at most 64 bits");
	READ_ERROR(json_get_bool(o, "n", &b, &e), "\"n\" must be true or false");
	READ_ERROR(json_get_bytes(o, "odd", buf, 2, &len, &e),
		   "\"odd\" must be a string of pairs of hexadecimal digits");
	READ_ERROR(json_get_bytes(o, "y", buf, 1, &len, &e), "\"y\" is longer than 1 bytes");
	READ_ERROR(json_get_array(o, "o", &j, &e), "\"o\" must be an array");
	READ_ERROR(json_get_object(o, "a", &j, &e), "\"a\" must be an object");
}

static void test_values(void **state)
{
	AUTO_JSON json *o = parse("{\"a\":\"x\",\"b\":[1,\"0x10\",\"5\",null,true]}");
	const json *a = json_first(o), *b = json_next(a), *i = json_first(b);
	uint64_t h;
	int64_t v;
	(void)state;

	assert_string_equal(json_key(a), "a");
	assert_string_equal(json_key(b), "b");
	assert_null(json_next(b));
	assert_null(json_first(a));
	assert_int_equal(json_count(b), 5);
	assert_int_equal(json_count(a), 0);
	assert_null(json_key(i));
	assert_true(json_is_number(i) && !json_is_string(i));
	assert_int_equal(json_as_int(i, &v), 0);
	assert_int_equal(json_as_hex(i, &h), -EINVAL);
	i = json_next(i);
	assert_int_equal(json_as_hex(i, &h), 0);
	assert_int_equal(h, 16);
	assert_int_equal(json_as_int(i, &v), -EINVAL);
	i = json_next(i);
	assert_int_equal(json_as_int(i, &v), 0);	/* as put_int writes large ones */
	assert_int_equal(v, 5);
	i = json_next(i);
	assert_true(json_is_null(i));
	assert_null(json_as_str(i));
	i = json_next(i);
	assert_true(json_is_bool(i) && json_is_true(i));
	assert_false(json_is_object(NULL) || json_is_array(NULL) || json_is_string(NULL));
}

static void test_where(void **state)
{
	static const char text[] = "{\n"
				   "  \"rules\": [\n"
				   "    { \"path\": \"/a\" }, {},\n"
				   "    [ 1, { \"x/y~z\": 5,\n"
				   "\t\"\\u0061\": 6 } ]\n"
				   "  ],\n"
				   "  \"\": 1\n"
				   "}\n";
	static const struct {
		const char *pointer;
		int r;
		unsigned line, col;
	} rows[] = {
		{ "", 0, 1, 1 },
		{ "/rules", 0, 2, 3 },
		{ "/rules/0", 0, 3, 5 },
		{ "/rules/0/path", 0, 3, 7 },
		{ "/rules/1", 0, 3, 23 },
		{ "/rules/2/0", 0, 4, 7 },
		{ "/rules/2/1/x~1y~0z", 0, 4, 12 },
		{ "/rules/2/1/a", 0, 5, 2 },
		{ "/", 0, 7, 3 },
		{ "/nothing", -ENOENT, 1, 1 },
		{ "/rules/3", -ENOENT, 1, 1 },
		{ "/rules/0/path/0", -ENOENT, 1, 1 },
		{ "rules", -ENOENT, 1, 1 },
	};
	unsigned line, col;
	(void)state;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(json_where(text, rows[i].pointer, &line, &col), rows[i].r);
		if (line != rows[i].line || col != rows[i].col)
			fail_msg("%s: %u:%u", rows[i].pointer, line, col);
	}
	assert_int_equal(json_where("{", "", &line, &col), -EINVAL);
}

static void test_file(void **state)
{
	char path[] = "/tmp/test_json.XXXXXX";
	AUTO_FD int fd = mkstemp(path);
	struct err e = { 0 };
	char want[128];
	json *j = NULL;
	(void)state;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\"a\":\n!", 7), 7);
	assert_int_equal(json_read_file(path, 100, &j, &e), -EINVAL);
	snprintf(want, sizeof(want), "%s: line 2, column 1: expected a value", path);
	assert_string_equal(e.text, want);
	assert_int_equal(json_read_file(path, 6, &j, &e), -EFBIG);
	assert_int_equal(pwrite(fd, "7}", 2, 6), 2);
	assert_int_equal(json_read_file(path, 8, &j, &e), 0);
	assert_int_equal(json_count(j), 1);
	json_free(j);
	unlink(path);
	assert_int_equal(json_read_file(path, 100, &j, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
	assert_int_equal(json_read_file("/", 100, &j, &e), -EINVAL);
	assert_string_equal(e.text, "/ is not a regular file");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_texts),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_build),
		cmocka_unit_test(test_integers_keep_their_bits),
		cmocka_unit_test(test_what_was_lost_is_not_written),
		cmocka_unit_test(test_checked_readers),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_where),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * scan.c - A walk through a JSON text that builds nothing
 *
 * One function a production of the grammar, each steps over what it knows and says false at
 * the first byte that may not stand there.  The recursion is as deep as the text is nested, and
 * that is bounded.
 */
#include "proxy/json/scan.h"

#include <string.h>

#include "common/attr.h"

/* What cJSON copies a number into has 64 bytes */
#define NUMBER_MAX 60

/** scan_bad() - Note the first error.  Return: false */
static bool scan_bad(struct scan *s, const char *at, const char *why)
{
	if (!s->why) {
		s->at = at;
		s->why = why;
	}
	return false;
}

static void scan_space(struct scan *s)
{
	while (s->at < s->end && *s->at && strchr(" \t\r\n", *s->at))
		s->at++;
}

/** scan_is() - Step over @c if it is what comes next */
static bool scan_is(struct scan *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

/** scan_hex_digit() - Return: its value, -1: it is none */
int scan_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/** scan_hex4() - The four digits of a \u escape.  Return: the number, -1: there are none */
static int scan_hex4(struct scan *s)
{
	int v = 0;

	if (s->end - s->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int d = scan_hex_digit(s->at[i]);

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	s->at += 4;
	return v;
}

/** scan_escape() - What follows a backslash */
static bool scan_escape(struct scan *s)
{
	const char *start = s->at - 1;
	int v;

	if (s->at < s->end && *s->at && strchr("\"\\/bfnrt", *s->at)) {
		s->at++;
		return true;
	}
	if (!scan_is(s, 'u'))
		return scan_bad(s, start, "unknown escape in a string");
	v = scan_hex4(s);
	if (v < 0)
		return scan_bad(s, start, "\\u needs four hexadecimal digits");
	if (!v)
		return scan_bad(s, start, "a string can't contain NUL");
	if (v < 0xd800 || v > 0xdfff)
		return true;
	if (v < 0xdc00 && scan_is(s, '\\') && scan_is(s, 'u')) {
		v = scan_hex4(s);
		if (v >= 0xdc00 && v <= 0xdfff)
			return true;
	}
	return scan_bad(s, start, "half of a surrogate pair");
}

static bool scan_string(struct scan *s)
{
	const char *start = s->at;

	s->at++;	/* the opening quote */
	while (s->at < s->end) {
		unsigned char c = (unsigned char)*s->at++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return scan_bad(s, s->at - 1,
					c ? "control character in a string" : "NUL byte");
		if (c == '\\' && !scan_escape(s))
			return false;
	}
	return scan_bad(s, start, "this string has no end");
}

/** scan_digits() - At least one digit */
static bool scan_digits(struct scan *s)
{
	const char *start = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > start;
}

static bool scan_number(struct scan *s)
{
	const char *start = s->at;

	scan_is(s, '-');
	if (!scan_is(s, '0') && !scan_digits(s))
		return scan_bad(s, start, "not a number");
	if (scan_is(s, '.') && !scan_digits(s))
		return scan_bad(s, start, "a number needs digits behind its point");
	if (scan_is(s, 'e') || scan_is(s, 'E')) {
		if (!scan_is(s, '+'))
			scan_is(s, '-');
		if (!scan_digits(s))
			return scan_bad(s, start, "a number needs digits in its exponent");
	}
	if (s->at - start > NUMBER_MAX)
		return scan_bad(s, start, "a number of too many digits");
	return true;
}

static bool scan_value(struct scan *s, unsigned depth);

/** scan_name() - A member's name and the colon, up to its value */
static bool scan_name(struct scan *s)
{
	scan_space(s);
	if (s->at == s->end || *s->at != '"')
		return scan_bad(s, s->at, "expected a name in double quotes");
	if (!scan_string(s))
		return false;
	scan_space(s);
	return scan_is(s, ':') || scan_bad(s, s->at, "expected ':' after the name");
}

/**
 * scan_children() - The inside of an object or array, whose bracket has been read
 * @close:	The bracket that ends it, '}' or ']'
 * @depth:	Brackets that are open, this one included
 */
static bool scan_children(struct scan *s, char close, unsigned depth)
{
	const char *more = close == '}' ? "expected ',' or '}'" : "expected ',' or ']'";

	if (depth > SCAN_MAX_DEPTH)
		return scan_bad(s, s->at - 1, "nested too deeply (more than 64 levels)");
	scan_space(s);
	if (scan_is(s, close))
		return true;
	for (;;) {
		if (close == '}' && !scan_name(s))
			return false;
		if (!scan_value(s, depth))
			return false;
		scan_space(s);
		if (scan_is(s, close))
			return true;
		if (!scan_is(s, ','))
			return scan_bad(s, s->at, more);
	}
}

/** scan_word() - true, false, null */
static bool scan_word(struct scan *s)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(s->end - s->at) >= n && !memcmp(s->at, words[i], n)) {
			s->at += n;
			return true;
		}
	}
	return scan_bad(s, s->at, s->at < s->end && !*s->at ? "NUL byte" : "expected a value");
}

/** scan_value() - Any value, with the space in front of it */
static bool scan_value(struct scan *s, unsigned depth)
{
	scan_space(s);
	if (s->at == s->end)
		return scan_bad(s, s->at, "the text ends where a value is expected");
	if (scan_is(s, '{'))
		return scan_children(s, '}', depth + 1);
	if (scan_is(s, '['))
		return scan_children(s, ']', depth + 1);
	if (*s->at == '"')
		return scan_string(s);
	if (*s->at == '-' || (*s->at >= '0' && *s->at <= '9'))
		return scan_number(s);
	return scan_word(s);
}

/** scan_document() - Is this one value and no more?  Else @s->at and @s->why say what is wrong */
bool scan_document(struct scan *s)
{
	if (!scan_value(s, 0))
		return false;
	scan_space(s);
	return s->at == s->end ||
	       scan_bad(s, s->at,
			*s->at ? "something follows the end of the document" : "NUL byte");
}

/** scan_place() - Line and column of @s->at, from 1; a UTF-8 character is one column */
void scan_place(const struct scan *s, unsigned *line, unsigned *col)
{
	*line = *col = 1;
	for (const char *p = s->text; p < s->at; p++) {
		if (*p == '\n') {
			++*line;
			*col = 1;
		} else if (((unsigned char)*p & 0xc0) != 0x80) {
			++*col;
		}
	}
}

/**
 * scan_child() - Go to the @n-th child of the container that comes next, in a text known to be good
 * @last:	This is the end of the way: stop in front of a member's name, not of its value
 */
static void scan_child(struct scan *s, size_t n, bool last)
{
	bool object;

	scan_space(s);
	object = *s->at++ == '{';
	for (;; n--) {
		scan_space(s);
		if (!n && last)
			return;
		if (object)
			scan_name(s);
		if (!n)
			return;
		scan_value(s, 0);
		scan_space(s);
		s->at++;	/* the comma */
	}
}

/** scan_way() - Go to the value, or the name, at the end of a way, in a text known to be good */
void scan_way(struct scan *s, const struct way *w)
{
	scan_space(s);
	for (unsigned i = 0; i < w->len; i++)
		scan_child(s, w->step[i], i + 1 == w->len);
}

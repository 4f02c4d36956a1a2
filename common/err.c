/* SPDX-License-Identifier: MIT */
/*
 * err.c - Failures, in words
 */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/**
 * err_set() - Record an innermost failure; the errno's own words are appended
 * @e:		Where, may be NULL
 * @code:	Negative errno
 * @fmt:	What was being done, to what
 *
 * Return: @code
 */
int (err_set)(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(-code));
	return code;
}

/**
 * err_say() - Record an innermost failure whose sentence is complete as it is
 */
int (err_say)(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return code;
}

/**
 * err_wrap() - Put what was being done in front of a failure's text
 */
int (err_wrap)(struct err *e, int code, const char *fmt, ...)
{
	char inner[sizeof(e->text)];
	va_list ap;
	size_t n;

	if (!e)
		return code;
	memcpy(inner, e->text, sizeof(inner));
	inner[sizeof(inner) - 1] = 0;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", inner);
	return code;
}

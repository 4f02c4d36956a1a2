/* SPDX-License-Identifier: MIT */
/*
 * err.h - Failures, in words
 *
 * Every function that can fail returns 0 or a useful non-negative number, or a negative
 * errno.  Text for people goes into a struct err, always the last parameter, may be NULL.
 * The innermost failure calls err_set(), the layers above err_wrap().  Nothing here
 * allocates; safe in any context but a signal handler (vsnprintf).
 */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/attr.h"

/**
 * struct err - A failure, in words
 * @code:	Negative errno, 0 while nothing has failed
 * @text:	Sentence for the user, outermost context first, no newline
 *
 * Lives on the caller's stack and owns no memory.
 */
struct err {
	int code;
	char text[512];
};

/* Both return @code.  err_set() appends ": strerror" when @code is an errno the text needs. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
int err_say(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
int err_wrap(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
#ifdef __clang_analyzer__	/* it sees no other file, and would try what happens when they return 0 */
#define err_set(e, code, ...) ((void)(err_set)(e, code, __VA_ARGS__), (code))
#define err_say(e, code, ...) ((void)(err_say)(e, code, __VA_ARGS__), (code))
#define err_wrap(e, code, ...) ((void)(err_wrap)(e, code, __VA_ARGS__), (code))
#endif

#endif

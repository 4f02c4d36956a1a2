/* SPDX-License-Identifier: MIT */
/*
 * scan.h - A walk through a JSON text that builds nothing
 *
 * Knows the grammar (RFC 8259, to the letter, but that strings may hold any bytes) and places:
 * which line and column something is at.  Only json.c uses it.  Allocates nothing.
 */
#ifndef PROXY_JSON_SCAN_H
#define PROXY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#define SCAN_MAX_DEPTH 64

/**
 * struct scan - A walk through a text
 * @text:	Its beginning
 * @at:		The next byte; where the error is, once there is one
 * @end:	Behind its last byte
 * @why:	What is wrong at @at, NULL while nothing is
 */
struct scan {
	const char *text, *at, *end;
	const char *why;
};

/**
 * struct way - The way from the root to a value: the number of the child to take at each level
 */
struct way {
	size_t step[SCAN_MAX_DEPTH];
	unsigned len;
};

bool scan_document(struct scan *s);
void scan_way(struct scan *s, const struct way *w);
void scan_place(const struct scan *s, unsigned *line, unsigned *col);
int scan_hex_digit(char c);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * bytes.h - Little-endian numbers in byte buffers, with the bounds checked
 *
 * A struct bytes is a window on somebody else's memory; it owns nothing.  A put or get
 * that does not fit sets @bad and does nothing; the caller looks at @bad once, at the end.
 */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	uint8_t *at;
	uint8_t *end;
	bool bad;
};

static inline struct bytes bytes_of(const void *p, size_t len)
{
	return (struct bytes){ .at = (uint8_t *)p, .end = (uint8_t *)p + len };
}

static inline size_t bytes_left(const struct bytes *b)
{
	return (size_t)(b->end - b->at);
}

static inline uint8_t *bytes_take(struct bytes *b, size_t n)
{
	uint8_t *p = b->at;

	if (b->bad || bytes_left(b) < n) {
		b->bad = true;
		return NULL;
	}
	b->at += n;
	return p;
}

static inline void bytes_put(struct bytes *b, const void *p, size_t n)
{
	uint8_t *to = bytes_take(b, n);

	if (to && n)
		memcpy(to, p, n);
}

static inline void bytes_put_le(struct bytes *b, uint64_t v, size_t n)
{
	uint8_t *to = bytes_take(b, n);

	for (size_t i = 0; to && i < n; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t bytes_get_le(struct bytes *b, size_t n)
{
	const uint8_t *from = bytes_take(b, n);
	uint64_t v = 0;

	for (size_t i = 0; from && i < n; i++)
		v |= (uint64_t)from[i] << (8 * i);
	return v;
}

#endif

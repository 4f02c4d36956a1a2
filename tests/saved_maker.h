/* SPDX-License-Identifier: MIT */
/*
 * saved_maker.h - Images as files, section by section, as proxy/image/saved.c wouldn't write them
 *
 * Written against the format (saved.h) and not with saved_writer: what reads is tested here.
 */
#ifndef TESTS_SAVED_MAKER_H
#define TESTS_SAVED_MAKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "common/bytes.h"
#include "proxy/image/saved.h"
#include "proxy/link/checksum.h"

struct maker {
	uint8_t buf[262144];
	size_t len;
	uint64_t pages, sections;
	struct checksum128 total;
};

/* @wrong_len, @wrong_sum: bits that are wrong in what the section says of itself.  False: it didn't fit */
static inline bool maker_put(struct maker *m, uint32_t type, uint32_t version, uint64_t wrong_len, uint64_t wrong_sum,
			     const void *p, size_t len)
{
	struct bytes b = bytes_of(m->buf + m->len, sizeof(m->buf) - m->len);
	uint8_t both[32], *start = b.at;
	struct bytes c = bytes_of(both, sizeof(both));
	struct checksum128 sum;

	if (bytes_left(&b) < SAVED_SECTION + len)
		return false;
	bytes_put_le(&b, type, 4);
	bytes_put_le(&b, version, 4);
	bytes_put_le(&b, len ^ wrong_len, 8);
	sum = checksum128_of((struct iovec[]){ { start, 16 }, { (void *)(uintptr_t)p, len } }, 2);
	bytes_put_le(&b, sum.low ^ wrong_sum, 8);
	bytes_put_le(&b, sum.high, 8);
	bytes_put(&b, p, len);
	bytes_put_le(&c, m->total.low, 8);
	bytes_put_le(&c, m->total.high, 8);
	bytes_put_le(&c, sum.low, 8);
	bytes_put_le(&c, sum.high, 8);
	m->total = checksum128(both, sizeof(both));
	m->sections++;
	m->len += (size_t)(b.at - start);
	return true;
}

/* The last one: what all the others were */
static inline bool maker_end(struct maker *m)
{
	uint8_t buf[32];
	struct bytes b = bytes_of(buf, sizeof(buf));

	bytes_put_le(&b, m->pages, 8);
	bytes_put_le(&b, m->sections, 8);
	bytes_put_le(&b, m->total.low, 8);
	bytes_put_le(&b, m->total.high, 8);
	return maker_put(m, 3, 1, 0, 0, buf, sizeof(buf));
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * fuzz_frame.c - Any bytes as what a peer sends: frames, then the messages in them
 *
 * The first byte steers: bit 0, the checksums are put right first (else no mutation would get
 * past them); bit 1, the blocking decoder instead of the other one; the upper bits, how many
 * bytes arrive at once.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/attr.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/wire.h"
#include "proxy/link/checksum.h"
#include "proxy/link/frame.h"

#define SUMMED 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feed {
	struct link link;
	const uint8_t *at;
	size_t left;
	size_t step;
};

static ssize_t feed_recv(struct link *l, void *p, size_t size)
{
	struct feed *f = (struct feed *)l;
	size_t n = MIN(MIN(size, f->left), f->step);

	memcpy(p, f->at, n);
	f->at += n;
	f->left -= n;
	return (ssize_t)n;
}

static const struct link_ops feed_ops = { .try_recv = feed_recv };

static uint32_t get_u32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Puts the checksum of each frame right, as far as they follow each other */
static void seal(uint8_t *p, size_t size)
{
	while (size >= FRAME_HEAD) {
		size_t len = MIN((size_t)get_u32(p + 8), size - FRAME_HEAD);
		struct iovec v[2] = { { p, SUMMED }, { p + FRAME_HEAD, len } };
		unsigned type = p[4] | (unsigned)p[5] << 8;
		uint32_t sum = (uint32_t)checksum64(v, type == WIRE_MEM ? 1 : 2);

		for (int i = 0; i < 4; i++)
			p[SUMMED + i] = (uint8_t)(sum >> (8 * i));
		p += FRAME_HEAD + len;
		size -= FRAME_HEAD + len;
	}
}

static void look(const struct frame *f)
{
	int r;

	assert(f->length <= frame_limit(f->type));
	r = wire_any(f->type, f->payload, f->length);
	assert(r == 0 || r == -EBADMSG);
}

static void run_io(struct feed *feed)
{
	struct frame_io *io = frame_io_new(&feed->link, 0);
	struct frame f;
	int r;

	while ((r = frame_io_poll_in(io, &f)) == 1)
		look(&f);
	assert(r == -EBADMSG || r == -ECONNRESET);
	frame_io_free(io);
}

static void run_blocking(struct feed *feed)
{
	uint8_t buf[4096];
	struct frame f;
	struct err e;
	int r;

	while (!(r = frame_recv(&feed->link, &f, buf, sizeof(buf), NO_DEADLINE, &e)))
		look(&f);
	assert(r == -EBADMSG || r == -ECONNRESET || r == -EMSGSIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { .link = { .ops = &feed_ops, .fd = -1 } };
	AUTO_FREE uint8_t *copy = NULL;

	if (!size)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	if (data[0] & 1)
		seal(copy, size - 1);
	feed.at = copy;
	feed.left = size - 1;
	feed.step = data[0] >> 2 ? data[0] >> 2 : SIZE_MAX;
	if (data[0] & 2)
		run_blocking(&feed);
	else
		run_io(&feed);
	return 0;
}

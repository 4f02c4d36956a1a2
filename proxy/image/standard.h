/* SPDX-License-Identifier: MIT */
/*
 * standard.h - The streams of a saved program that can be connected anew
 *
 * Its pipes to other processes ended with the machine it ran on, or at least with that moment.  Where
 * one was its standard input, output or error, what restores it has the same to offer.
 */
#ifndef PROXY_IMAGE_STANDARD_H
#define PROXY_IMAGE_STANDARD_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/image/image.h"
#include "proxy/image/reasons.h"

#define STANDARD_STREAMS 3

struct standard_stream {
	bool wanted;
	bool out;		/* the program writes */
	int64_t stream;		/* its id, and from where on it counts */
	uint64_t offset;
};

/*
 * list[n] is what the program's descriptor n needs.  Two numbers of one pipe: the lower one has it, the
 * other isn't wanted.  What can't be connected is a reason (IMAGE_STREAMS).  Total: any image
 */
void standard_streams(const struct image *img, struct standard_stream list[STANDARD_STREAMS], struct reasons *why);

#endif

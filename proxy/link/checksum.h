/* SPDX-License-Identifier: MIT */
/*
 * checksum.h - Fast checksums among peers that trust each other
 *
 * The only door to xxhash.  Against accidents, not adversaries: see sha256.h for those.
 */
#ifndef PROXY_LINK_CHECKSUM_H
#define PROXY_LINK_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct checksum128 {
	uint64_t low;
	uint64_t high;
};

/* XXH3, 64 bits, over all pieces as if they were one */
uint64_t checksum64(const struct iovec *pieces, int n);
struct checksum128 checksum128(const void *p, size_t len);
struct checksum128 checksum128_of(const struct iovec *pieces, int n);	/* the same, of several */

#endif

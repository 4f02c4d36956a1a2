/* SPDX-License-Identifier: MIT */
/*
 * checksum.c - Fast checksums among peers that trust each other
 *
 * Compiled in rather than linked: the compiler then sees the lengths, and the state can live
 * on the stack.
 */
#include "proxy/link/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t checksum64(const struct iovec *pieces, int n)
{
	XXH3_state_t state;

	if (n == 1)
		return XXH3_64bits(pieces->iov_base, pieces->iov_len);
	XXH3_64bits_reset(&state);
	for (int i = 0; i < n; i++)
		if (pieces[i].iov_len)
			XXH3_64bits_update(&state, pieces[i].iov_base, pieces[i].iov_len);
	return XXH3_64bits_digest(&state);
}

struct checksum128 checksum128(const void *p, size_t len)
{
	XXH128_hash_t h = XXH3_128bits(p, len);

	return (struct checksum128){ .low = h.low64, .high = h.high64 };
}

struct checksum128 checksum128_of(const struct iovec *pieces, int n)
{
	XXH3_state_t state;
	XXH128_hash_t h;

	XXH3_128bits_reset(&state);
	for (int i = 0; i < n; i++)
		if (pieces[i].iov_len)
			XXH3_128bits_update(&state, pieces[i].iov_base, pieces[i].iov_len);
	h = XXH3_128bits_digest(&state);
	return (struct checksum128){ .low = h.low64, .high = h.high64 };
}

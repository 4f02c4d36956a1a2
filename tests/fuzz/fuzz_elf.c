/* SPDX-License-Identifier: MIT */
/*
 * fuzz_elf.c - Any bytes as a binary: a build id in hex, or none
 */
#include <assert.h>
#include <string.h>

#include "proxy/image/file_id.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char hex[BUILD_ID_HEX];
	size_t n;

	file_build_id(data, size, hex);
	n = strnlen(hex, sizeof(hex));
	assert(n < sizeof(hex) && n % 2 == 0 && n / 2 <= size);
	assert(strspn(hex, "0123456789abcdef") == n);
	return 0;
}

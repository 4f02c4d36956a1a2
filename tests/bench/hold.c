/* SPDX-License-Identifier: MIT */
/*
 * hold.c - A program that holds memory, and does nothing else worth moving
 *
 *	hold MIB random|zero
 *
 * Random: no page is like another.  Zero: each page has been written to, and says nothing.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/victims/victim.h"

int main(int argc, char **argv)
{
	size_t len = argc == 3 ? (size_t)atol(argv[1]) << 20 : 0;
	bool random = argc == 3 && !strcmp(argv[2], "random");
	uint64_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(len && p != MAP_FAILED, "usage: hold MIB random|zero");
	if (random)
		fill(p, len, 1);
	else
		for (size_t i = 0; i < len / 8; i += 512)
			((volatile uint64_t *)p)[i] = 0;
	victim_ready();
	while (victim_goes_on(10)) {
		volatile uint64_t *tick = &p[0];

		if (random)
			*tick += 1;
	}
	CHECK(p[len / 8 - 1] == (random ? mix(len / 8) : 0), "the last word");
	return victim_ok();
}

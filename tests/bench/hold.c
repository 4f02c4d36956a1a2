/* SPDX-License-Identifier: MIT */
/*
 * hold.c - A program that holds memory, and does nothing else worth moving
 *
 *	hold MIB random|zero
 *
 * Random: no page is like another.  Zero: each page has been written to, and says nothing.
 * It rests a millisecond at a time, and says in the end how long the longest rest was: the pause as
 * the program itself has seen it, with what it took to find its memory again.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/victims/victim.h"

int main(int argc, char **argv)
{
	size_t len = argc == 3 ? (size_t)atol(argv[1]) << 20 : 0;
	bool random = argc == 3 && !strcmp(argv[2], "random");
	int64_t last, longest = 0;
	uint64_t *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(len && p != MAP_FAILED, "usage: hold MIB random|zero");
	if (random)
		fill(p, len, 1);
	else
		for (size_t i = 0; i < len / 8; i += 512)
			((volatile uint64_t *)p)[i] = 0;
	victim_ready();
	last = clock_ns(CLOCK_MONOTONIC);
	while (victim_goes_on(1)) {
		int64_t now = clock_ns(CLOCK_MONOTONIC);

		longest = MAX(longest, now - last);
		last = now;
		if (random)
			((volatile uint64_t *)p)[0]++;
	}
	say("rest %lld", (long long)longest / 1000);
	CHECK(p[len / 8 - 1] == (random ? mix(len / 8) : 0), "the last word");
	return victim_ok();
}

/* SPDX-License-Identifier: MIT */
/*
 * fill.h - Pages arrive and go to their final place
 *
 * Used by the session, which holds the link: one buffer between the socket and the program.  It
 * needs no rights over the program: the keeper gives it the descriptors to write through.
 * Anonymous memory takes UFFDIO_COPY where the kernel allows it, everything else a write to
 * /proc/PID/mem, shared memory a write to its memfd.
 */
#ifndef PROXY_TARGET_FILL_H
#define PROXY_TARGET_FILL_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

struct fill {
	int mem;		/* /proc/PID/mem of the body */
	int uffd;		/* userfaultfd of the body, or -1 */
	const int *objects;	/* descriptors of space 1…n */
	uint32_t n_objects;
	uint64_t pages;
};

int fill_pages(struct fill *f, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e) MUST_CHECK;

#endif

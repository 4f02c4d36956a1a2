/* SPDX-License-Identifier: MIT */
/*
 * mem_walk.h - The pages of a frozen program that are its own
 *
 * Anonymous ones, those of private file mappings that it has written to, and its shared memory.
 * Pages of zeros are left out.  Memory is read in large pieces; whoever walks gets runs of it.
 */
#ifndef PROXY_ORIGIN_MEM_WALK_H
#define PROXY_ORIGIN_MEM_WALK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/image/image.h"

#define MEM_RUN (1u << 20)	/* most bytes of one run */

/* @space 0: the program, n: object n-1.  @len: whole pages; @p is gone after the call */
typedef int mem_pages_fn(void *ctx, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e);

/* @pid: as this process's /proc knows it.  What @give returns, if it isn't 0, ends the walk */
int mem_walk(pid_t pid, const struct image *img, mem_pages_fn *give, void *ctx, struct err *e) MUST_CHECK;

#endif

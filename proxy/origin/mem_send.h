/* SPDX-License-Identifier: MIT */
/*
 * mem_send.h - The memory of a program goes over the link
 *
 * Of a frozen one (mem_walk.h says which pages), or of one that is in a file.
 */
#ifndef PROXY_ORIGIN_MEM_SEND_H
#define PROXY_ORIGIN_MEM_SEND_H

#include <sys/types.h>

#include "proxy/image/image.h"
#include "proxy/link/link.h"

/* Which pages of shared memory have been sent, of all processes of a tree: each may map another part */
struct mem_sent {
	struct mem_sent_object *list;
	size_t n;
};
void mem_sent_free(struct mem_sent *sent);

/*
 * Of process @process of @tree, but for what is @sent already.  @pid: as this process's /proc knows it.
 * *@pages is what was sent, added
 */
int mem_send(struct link *l, pid_t pid, const struct image *tree, size_t process, struct mem_sent *sent, uint64_t *pages,
	     int64_t deadline, struct err *e) MUST_CHECK;

struct mem_run {
	uint32_t space;		/* 0: the program, n: object n-1 */
	uint64_t addr;
	const void *p;		/* until the next run is asked for */
	size_t len;		/* whole pages, at most 1 MiB */
};

/* The next run: 1; 0: that was all; or a negative errno */
typedef int mem_source_fn(void *ctx, struct mem_run *m, struct err *e);
int mem_send_from(struct link *l, mem_source_fn *next, void *ctx, uint64_t *pages, int64_t deadline,
		  struct err *e) MUST_CHECK;

#endif

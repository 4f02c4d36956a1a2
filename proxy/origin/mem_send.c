/* SPDX-License-Identifier: MIT */
/*
 * mem_send.c - The memory of a frozen program goes over the link
 *
 * A megabyte goes out from where it was read to.  Runs of a few pages are gathered: with hundreds
 * of areas, waking the peer for each of them is what takes time.
 */
#include "proxy/origin/mem_send.h"

#include <errno.h>
#include <stdlib.h>

#include "common/scope.h"
#include "common/wire.h"
#include "proxy/link/frame.h"
#include "proxy/origin/mem_walk.h"

#define PAGE 4096ULL
#define FEW (32u << 10)			/* up to here a run of pages is gathered with others */
#define BATCH (64u << 10)		/* bytes that are gathered */

struct sending {
	struct link *l;
	uint8_t *batch;		/* frames that wait to be sent together */
	size_t batched;		/* bytes of them */
	uint64_t pages;
	int64_t deadline;
	const struct image *tree;
	size_t process;
};

static int flush(struct sending *s, struct err *e)
{
	size_t n = s->batched;

	s->batched = 0;
	return n ? link_send(s->l, s->batch, n, s->deadline, e) : 0;
}

static int send_pages(void *ctx, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	struct wire_mem m = { .space = space, .addr = addr };
	struct sending *s = ctx;
	uint8_t head[16];
	ssize_t n = wire_put_mem(head, sizeof(head), &m);
	int rc = 0;

	if (n < 0)
		return err_set(e, (int)n, "send memory");
	s->pages += len / PAGE;
	if (len > FEW || BATCH - s->batched < FRAME_HEAD + (size_t)n + len)
		rc = flush(s, e);
	if (rc || len > FEW)
		return rc ? rc : frame_send_v(s->l, WIRE_MEM, 0, head, (size_t)n, p, len, s->deadline, e);
	n = frame_put(s->batch + s->batched, BATCH - s->batched, WIRE_MEM, 0, head, (size_t)n, p, len);
	if (n < 0)
		return err_set(e, (int)n, "send memory");
	s->batched += (size_t)n;
	return 0;
}

static bool is_sent(const struct image *tree, size_t process, const struct image_object *o)
{
	for (size_t p = 0; p < process; p++) {
		const struct image *img = image_process(tree, p);

		for (size_t i = 0; i < img->n_objects; i++)
			if (img->objects[i].inode == o->inode && img->objects[i].device == o->device)
				return true;
	}
	return false;
}

static int send_own_pages(void *ctx, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	struct sending *s = ctx;

	if (space && is_sent(s->tree, s->process, &image_process(s->tree, s->process)->objects[space - 1]))
		return 0;
	return send_pages(s, image_space(s->process, space), addr, p, len, e);
}

int mem_send(struct link *l, pid_t pid, const struct image *tree, size_t process, uint64_t *pages, int64_t deadline,
	     struct err *e)
{
	AUTO_FREE uint8_t *batch = malloc(BATCH);
	struct sending s = { .l = l, .batch = batch, .deadline = deadline, .tree = tree, .process = process };
	int rc = batch ? mem_walk(pid, image_process(tree, process), send_own_pages, &s, e)
		       : err_set(e, -ENOMEM, "send memory");

	if (!rc)
		rc = flush(&s, e);
	*pages += s.pages;
	return rc;
}

int mem_send_from(struct link *l, mem_source_fn *next, void *ctx, uint64_t *pages, int64_t deadline, struct err *e)
{
	AUTO_FREE uint8_t *batch = malloc(BATCH);
	struct sending s = { .l = l, .batch = batch, .deadline = deadline };
	struct mem_run m;
	int rc = batch ? 1 : err_set(e, -ENOMEM, "send memory");

	while (rc == 1) {
		rc = next(ctx, &m, e);
		if (rc == 1) {
			rc = send_pages(&s, m.space, m.addr, m.p, m.len, e);
			rc = rc ? rc : 1;
		}
	}
	if (!rc)
		rc = flush(&s, e);
	*pages = s.pages;
	return rc;
}

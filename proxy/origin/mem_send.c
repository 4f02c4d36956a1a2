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
#include <string.h>

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
	struct mem_sent *sent;
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

/* ---- shared memory: each page once ----------------------------------------------------------------- */

struct mem_sent_object {
	uint64_t device, inode;
	uint8_t *bits;		/* one a page */
	size_t n;		/* pages that there are bits for */
};

void mem_sent_free(struct mem_sent *sent)
{
	for (size_t i = 0; i < sent->n; i++)
		free(sent->list[i].bits);
	free(sent->list);
	*sent = (struct mem_sent){ 0 };
}

/* With bits for @pages of them; NULL: no memory */
static struct mem_sent_object *sent_object(struct mem_sent *sent, const struct image_object *o, size_t pages)
{
	struct mem_sent_object *one = NULL, *more;
	size_t have;

	for (size_t i = 0; i < sent->n && !one; i++)
		if (sent->list[i].inode == o->inode && sent->list[i].device == o->device)
			one = &sent->list[i];
	if (!one) {
		more = realloc(sent->list, (sent->n + 1) * sizeof(*more));
		if (!more)
			return NULL;
		sent->list = more;
		one = &more[sent->n++];
		*one = (struct mem_sent_object){ .device = o->device, .inode = o->inode };
	}
	have = (one->n + 7) / 8;
	if (pages > one->n) {
		size_t want = (MAX(pages, one->n * 2) + 7) / 8;
		uint8_t *bits = realloc(one->bits, want);

		if (!bits)
			return NULL;
		memset(bits + have, 0, want - have);
		one->bits = bits;
		one->n = want * 8;
	}
	return one;
}

static bool mark(struct mem_sent_object *o, size_t page)
{
	bool was = o->bits[page / 8] >> (page % 8) & 1;

	o->bits[page / 8] |= (uint8_t)(1u << (page % 8));
	return was;
}

static int send_own_pages(void *ctx, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	struct sending *s = ctx;
	const struct image *img = image_process(s->tree, s->process);
	uint32_t to = image_space(s->process, space);
	struct mem_sent_object *o;
	int rc = 0;

	if (!space || !s->tree->n_others)
		return send_pages(s, to, addr, p, len, e);
	o = sent_object(s->sent, &img->objects[space - 1], (addr + len) / PAGE);
	if (!o || !o->bits)
		return err_set(e, -ENOMEM, "send shared memory");
	for (size_t at = 0, from = 0; at <= len && !rc; at += PAGE) {
		if (at < len && !mark(o, (addr + at) / PAGE))
			continue;
		if (at > from)
			rc = send_pages(s, to, addr + from, (const uint8_t *)p + from, at - from, e);
		from = at + PAGE;
	}
	return rc;
}

int mem_send(struct link *l, pid_t pid, const struct image *tree, size_t process, struct mem_sent *sent, uint64_t *pages,
	     int64_t deadline, struct err *e)
{
	AUTO_FREE uint8_t *batch = malloc(BATCH);
	struct sending s = { .l = l, .batch = batch, .deadline = deadline, .tree = tree, .process = process, .sent = sent };
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

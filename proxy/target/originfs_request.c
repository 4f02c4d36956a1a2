/* SPDX-License-Identifier: MIT */
/*
 * originfs_request.c - Requests of the kernel's that wait for their answers from home
 *
 *	request_new --asked (request_waits)--> waiting --its ask_done: answered, request_end--> gone
 *						  \\--a signal: CANCEL; the answer comes all the same
 */
#include "proxy/target/originfs_parts.h"

#include <errno.h>
#include <stdlib.h>

#include "common/scope.h"

static void on_interrupt(fuse_req_t req UNUSED, void *data)
{
	struct request *r = data;

	if (!r->interrupted)
		ask_cancel(r->m->o->asks, r->ask);
	r->interrupted = true;
}

struct request *request_new(fuse_req_t req, fuse_ino_t node, const struct fuse_file_info *fi)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	*r = (struct request){ .m = mount_of(req), .req = req, .node = node_at_home(mount_of(req), node),
			       .tid = fuse_req_ctx(req)->pid };
	if (fi)
		r->fi = *fi;
	return r;
}

void request_waits(struct request *r, uint64_t ask)
{
	r->ask = ask;
	fuse_req_interrupt_func(r->req, on_interrupt, r);
}

void request_end(struct request *r)
{
	if (r->pulled)
		pulled_let_go(r->m->o, r->pulled);
	free(r);
}

void request_fail(struct request *r, int64_t value)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
	if (value == -ERESTARTSYS && !r->m->o->leaving)
		originfs_put_in_order(r->req, r->tid);
	else
		fuse_reply_err(r->req, value == -ERESTARTSYS ? EINTR : (int)-value);
}

/* ---- answers that several kinds of requests have ------------------------------------------------------ */

void request_on_plain(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else
		fuse_reply_err(r->req, 0);
	request_end(r);
}

void request_on_bytes(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else if (len > r->size)
		fuse_reply_err(r->req, EIO);
	else
		fuse_reply_buf(r->req, out, len);
	request_end(r);
}

void request_on_written(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0 || (uint64_t)value > r->size)
		request_fail(r, value < 0 ? value : -EIO);
	else
		fuse_reply_write(r->req, (size_t)value);
	request_end(r);
}

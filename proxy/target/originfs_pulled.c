/* SPDX-License-Identifier: MIT */
/*
 * originfs_pulled.c - The origin's terminals, devices and FIFOs, as files here
 *
 * One node an open file: each lookup of a name makes a new one, whose number becomes the handle when
 * it is opened.  So what /proc/PID/fd/N opens once more is the same handle, and fstat tells which.
 *
 *	node:	NEW --open: asked at home--> BOUND --last release: DROP--> DEAD --forget--> gone
 */
#include "proxy/target/originfs_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/scope.h"
#include "proxy/target/supervisor.h"

#define MOST_WRITE 61440	/* bytes in one CALL */

/* ---- nodes -------------------------------------------------------------------------------------- */

struct node *pulled_find(struct originfs *o, fuse_ino_t id)
{
	for (struct node *n = o->nodes; n; n = n->next)
		if (n->id == id)
			return n;
	return NULL;
}

static struct node *make(struct originfs *o, uint32_t id, const char *path)
{
	struct node *n = calloc(1, sizeof(*n));

	if (n)
		n->path = strdup(path);
	if (!n || !n->path) {
		free(n);
		return NULL;
	}
	n->id = id;
	n->st = (struct stat){ .st_mode = S_IFREG | 0666, .st_nlink = 1, .st_uid = geteuid(), .st_gid = getegid(),
			       .st_blksize = 4096 };
	n->next = o->nodes;
	o->nodes = n;
	return n;
}

static void forget_pollers(struct node *n, bool wake)
{
	while (n->pollers) {
		struct poller *p = n->pollers;

		n->pollers = p->next;
		if (wake)
			fuse_lowlevel_notify_poll(p->ph);
		fuse_pollhandle_destroy(p->ph);
		free(p);
	}
}

static void drop_if_unused(struct originfs *o, struct node *n)
{
	struct node **at = &o->nodes;

	if (n->lookups || n->opens)
		return;
	while (*at && *at != n)
		at = &(*at)->next;
	if (*at)
		*at = n->next;
	forget_pollers(n, false);
	if (n->home)
		file_forget(o, n->home, 1);
	free(n->path);
	free(n);
}

void pulled_free_all(struct originfs *o)
{
	while (o->nodes) {
		o->nodes->lookups = o->nodes->opens = 0;
		o->nodes->home = 0;	/* the next keeper begins anew */
		drop_if_unused(o, o->nodes);
	}
}

/* As it is seen by who doesn't ask the deputy.  The mark: in a directory of the origin others' inodes are, too */
static struct stat attributes(const struct node *n)
{
	struct stat st = n->st;

	st.st_ino = (uint64_t)PULLED_MARK << 32 | n->id;
	return st;
}

static bool is_name(const char *name)
{
	return !strcmp(name, "tty") || !strcmp(name, "ptmx") ||
	       (*name && strlen(name) < 10 && strspn(name, "0123456789") == strlen(name));
}

void pulled_let_go(struct originfs *o, struct node *n)
{
	n->lookups--;
	drop_if_unused(o, n);
}

/* ---- asked at home ------------------------------------------------------------------------------------- */

/* @size: what may come, or is taken along */
static void start(fuse_req_t req, struct node *n, const struct fuse_file_info *fi, size_t size, enum call_id row,
		  const uint64_t args[6], const void *in, size_t len, ask_done *done)
{
	struct request *r = request_new(req, n->id, fi);
	uint64_t blocked = 0, ask = 0;
	pid_t tgid = 0;
	bool known;

	if (!r)
		return;
	r->size = size;
	known = !supervisor_caller(r->tid, &tgid, &blocked);
	if (known)
		ask = ask_home(r->m->o->asks, tgid, row, blocked, args, in, len, done, r);
	if (!ask) {
		free(r);
		fuse_reply_err(req, known ? EAGAIN : EIO);
		return;
	}
	n->lookups++;
	r->pulled = n;
	request_waits(r, ask);
}

static void on_polled(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	fuse_reply_poll(r->req, value < 0 ? 0 : (unsigned)value);
	request_end(r);
}

static void reply_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	fi->direct_io = 1;
	fi->nonseekable = 1;
	fi->noflush = 1;	/* a close must not wait for us */
	n->bound = true;
	n->opens++;
	if (fuse_reply_open(req, fi))	/* the caller was killed */
		n->opens--;
}

static void on_opened(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else
		reply_open(r->req, r->pulled, &r->fi);
	request_end(r);
}

/* ---- the requests ---------------------------------------------------------------------------------------- */

static void reply_entry(fuse_req_t req, struct node *n, double valid)
{
	struct originfs *o = of(req);
	struct fuse_entry_param entry = { .attr_timeout = 1e6, .entry_timeout = valid };

	if (!n) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	n->lookups++;
	entry.ino = n->id;
	entry.attr = attributes(n);
	if (fuse_reply_entry(req, &entry)) {
		n->lookups--;
		drop_if_unused(o, n);
	}
}

/* What is called @name in /dev/pts here has this path at the origin */
static struct node *make_named(struct originfs *o, const char *name)
{
	char path[NAME_MOST];

	snprintf(path, sizeof(path), "%s%s", strchr("0123456789", *name) ? "/dev/pts/" : "/dev/", name);
	return make(o, o->next++, path);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct originfs *o = of(req);
	struct node *n = NULL;

	if (parent != FUSE_ROOT_ID || (!originfs_is_opener(req) && !is_name(name))) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (!originfs_is_opener(req)) {
		reply_entry(req, make_named(o, name), 0);
		return;
	}
	n = pulled_find(o, (uint32_t)o->opening->stream);
	n = n ? n : make(o, (uint32_t)o->opening->stream, o->opening->path ? o->opening->path : name);
	if (n)
		n->bound = true;
	reply_entry(req, n, 0);
}

void pulled_set_stat(struct node *n, const struct stat *st)
{
	n->st = *st;
	n->st.st_mode = S_IFREG | (st->st_mode & 07777);
	n->st.st_size = 0;
}

void pulled_reply_entry(fuse_req_t req, const char *path, const struct stat *st, uint64_t home)
{
	struct originfs *o = of(req);
	struct node *n = make(o, o->next++, path);

	if (n) {
		n->home = home;
		pulled_set_stat(n, st);
	} else {
		file_forget(o, home, 1);
	}
	reply_entry(req, n, 0);
}

void pulled_forget(struct originfs *o, fuse_ino_t ino, uint64_t count)
{
	struct node *n = pulled_find(o, ino);

	if (n) {
		n->lookups -= MIN(count, n->lookups);
		drop_if_unused(o, n);
	}
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	pulled_forget(of(req), ino, count);
	fuse_reply_none(req);
}

void pulled_getattr(fuse_req_t req, struct node *n)
{
	struct stat st = attributes(n);

	fuse_reply_attr(req, &st, 1e6);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi UNUSED)
{
	struct node *n = ino == FUSE_ROOT_ID ? NULL : pulled_find(of(req), ino);
	struct stat st = { .st_ino = ino, .st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_uid = geteuid(), .st_gid = getegid(),
			   .st_blksize = 4096 };

	if (n)
		pulled_getattr(req, n);
	else if (ino == FUSE_ROOT_ID)
		fuse_reply_attr(req, &st, 1e6);
	else
		fuse_reply_err(req, ENOENT);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino UNUSED, struct stat *st UNUSED, int what,
		       struct fuse_file_info *fi)
{
	/* O_TRUNC on a terminal means nothing, ftruncate(2) can't be; modes and owners are the origin's */
	if (what == FUSE_SET_ATTR_SIZE && fi)
		fuse_reply_err(req, EINVAL);
	else if (what == FUSE_SET_ATTR_SIZE)
		op_getattr(req, ino, fi);
	else
		fuse_reply_err(req, ENOSYS);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino UNUSED, int datasync UNUSED, struct fuse_file_info *fi UNUSED)
{
	fuse_reply_err(req, EINVAL);	/* as of a terminal or a pipe */
}

/* O_NOCTTY doesn't reach us: who wants a controlling terminal says TIOCSCTTY */
void pulled_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi)
{
	uint64_t args[6] = { 0, (uint64_t)((fi->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)) | O_NOCTTY), n->id };

	if (n->bound)
		reply_open(req, n, fi);
	else
		start(req, n, fi, 0, CALL_ID_open, args, n->path, strlen(n->path) + 1, on_opened);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = pulled_find(of(req), ino);

	if (n)
		pulled_open(req, n, fi);
	else
		fuse_reply_err(req, ENXIO);
}

void pulled_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off UNUSED, struct fuse_file_info *fi)
{
	struct node *n = pulled_find(of(req), ino);
	uint64_t args[6] = { ino, size, (uint64_t)fi->flags & O_NONBLOCK };

	if (n)
		start(req, n, NULL, size, CALL_ID_read, args, NULL, 0, request_on_bytes);
	else
		fuse_reply_err(req, EIO);
}

void pulled_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off UNUSED,
		     struct fuse_file_info *fi)
{
	struct node *n = pulled_find(of(req), ino);
	uint64_t args[6] = { ino, size, (uint64_t)fi->flags & O_NONBLOCK };

	if (n)
		start(req, n, NULL, size, CALL_ID_write, args, p, MIN(size, MOST_WRITE), request_on_written);
	else
		fuse_reply_err(req, EIO);
}

void pulled_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct originfs *o = of(req);
	struct node *n = pulled_find(o, ino);
	uint32_t events = fi->poll_events ? (uint32_t)fi->poll_events & 0xffff : POLLIN | POLLOUT;
	uint64_t args[6] = { ino, events };
	pid_t tgid;

	if (!n) {
		fuse_reply_err(req, EIO);
		return;
	}
	if (ph) {
		struct wire_watch m = { .handle = (uint32_t)ino, .events = events };
		uint8_t buf[32];

		struct poller *p = malloc(sizeof(*p));

		if (!p) {
			fuse_pollhandle_destroy(ph);
			fuse_reply_err(req, ENOMEM);
			return;
		}
		*p = (struct poller){ n->pollers, ph };
		n->pollers = p;
		if (!supervisor_caller(fuse_req_ctx(req)->pid, &tgid, NULL))
			m.pid = (uint32_t)tgid;
		originfs_tell_home(o, WIRE_WATCH, buf, wire_put_watch(buf, sizeof(buf), &m));
	}
	start(req, n, NULL, 0, CALL_ID_poll, args, NULL, 0, on_polled);
}

void pulled_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi UNUSED)
{
	struct originfs *o = of(req);
	struct node *n = pulled_find(o, ino);

	fuse_reply_err(req, 0);
	if (!n)
		return;
	n->opens -= n->opens > 0;
	if (!n->opens && n->bound) {
		struct wire_drop m = { .handle = n->id };
		uint8_t buf[16];

		n->bound = false;
		originfs_tell_home(o, WIRE_DROP, buf, wire_put_drop(buf, sizeof(buf), &m));
	}
	drop_if_unused(o, n);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi UNUSED)
{
	static const char *const names[] = { ".", "..", "ptmx", "tty" };
	size_t used = 0;
	char buf[512];

	for (size_t i = (size_t)off; ino == FUSE_ROOT_ID && i < ARRAY_SIZE(names); i++) {
		struct stat st = { .st_ino = i + 1, .st_mode = i < 2 ? S_IFDIR : S_IFREG };
		size_t len = fuse_add_direntry(req, buf + used, MIN(size, sizeof(buf)) - used, names[i], &st, (off_t)i + 1);

		if (used + len > MIN(size, sizeof(buf)))
			break;
		used += len;
	}
	fuse_reply_buf(req, buf, used);
}

static void op_init(void *userdata UNUSED, struct fuse_conn_info *c)
{
	c->max_write = MOST_WRITE;
	c->max_readahead = 0;
}

const struct fuse_lowlevel_ops pulled_ops = {
	.init = op_init,	.lookup = op_lookup,	   .forget = op_forget,	    .getattr = op_getattr,
	.setattr = op_setattr,	.open = op_open,	   .read = pulled_read,	    .write = pulled_write,
	.poll = pulled_poll,	.release = pulled_release, .readdir = op_readdir,   .fsync = op_fsync,
};

void originfs_ready(struct originfs *o, uint32_t handle, uint32_t events UNUSED)
{
	struct node *n = o ? pulled_find(o, handle) : NULL;

	if (n)
		forget_pollers(n, true);
}

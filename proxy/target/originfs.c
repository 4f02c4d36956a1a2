/* SPDX-License-Identifier: MIT */
/*
 * originfs.c - The file system that shows the origin's terminals to a moved program
 *
 * One node an open file: each lookup of a name makes a new one, whose number becomes the handle when
 * it is opened.  So what /proc/PID/fd/N opens once more is the same handle, and fstat tells which.
 *
 *	node:	NEW --open: asked at home--> BOUND --last release: DROP--> DEAD --forget--> gone
 *
 * A reader that a signal interrupts: FUSE can only say EINTR, where a terminal says ERESTARTSYS.  So
 * the thread is stopped on its way out of the call, and its result replaced (put_in_order).
 */
#define FUSE_USE_VERSION 35
#include "proxy/target/originfs.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/target/supervisor.h"
#include "proxy/trace/tracee.h"

#define MOST_WRITE 61440	/* bytes in one CALL */
#define FIRST_FRESH 0x40000000	/* handles that are made here */
#define NAME_MOST 64

struct node {
	struct node *next;
	uint32_t id;
	char name[NAME_MOST];
	unsigned opens;
	uint64_t lookups;
	bool bound;
	struct poller {			/* who waits for it: several, if it was opened several times */
		struct poller *next;
		struct fuse_pollhandle *ph;
	} *pollers;
};

struct originfs {
	struct fuse_session *se;
	struct fuse_buf buf;
	struct asks *asks;
	struct node *nodes;
	uint32_t next;
	uint64_t device;
	bool leaving;
	pid_t opener;			/* originfs_open()'s helper, 0: none */
	uint32_t opening;
};

/* A request that waits for its answer from home */
struct request {
	struct originfs *o;
	fuse_req_t req;
	struct node *node;
	struct fuse_file_info fi;
	uint64_t ask;
	pid_t tid;
	bool interrupted;
};

static struct originfs *of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* ---- nodes -------------------------------------------------------------------------------------- */

static struct node *find(struct originfs *o, fuse_ino_t id)
{
	for (struct node *n = o->nodes; n; n = n->next)
		if (n->id == id)
			return n;
	return NULL;
}

static struct node *make(struct originfs *o, uint32_t id, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->id = id;
	snprintf(n->name, sizeof(n->name), "%s", name);
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
	free(n);
}

static void attributes(const struct node *n, fuse_ino_t id, struct stat *st)
{
	*st = (struct stat){
		.st_ino = id,
		.st_mode = n ? S_IFREG | 0666 : S_IFDIR | 0755,
		.st_nlink = n ? 1 : 2,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_blksize = 4096,
	};
}

static bool is_name(const char *name)
{
	return !strcmp(name, "tty") || !strcmp(name, "ptmx") ||
	       (*name && strlen(name) < 10 && strspn(name, "0123456789") == strlen(name));
}

/* ---- a caller that was interrupted ------------------------------------------------------------------ */

static bool is_byte_call(uint64_t nr)
{
	static const long calls_of_bytes[] = { SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_preadv2, SYS_pwritev2,
					       SYS_sendfile, SYS_splice };

	for (size_t i = 0; i < ARRAY_SIZE(calls_of_bytes); i++)
		if ((uint64_t)calls_of_bytes[i] == nr)
			return true;
	return false;
}

/* What the kernel of a terminal would have said: made again after the signal, if its handler allows that */
static void put_in_order(fuse_req_t req, pid_t tid)
{
	struct user_regs_struct r;
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0)) {
		fuse_reply_err(req, EINTR);
		return;
	}
	fuse_reply_err(req, EINTR);
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) || tracee_wait(tid, &status, deadline_in_ms(1000)))
		return;
	if (!tracee_get_regs(tid, &r) && is_byte_call(r.orig_rax) && (int64_t)r.rax == -EINTR) {
		r.rax = (uint64_t)-ERESTARTSYS;
		if (tracee_set_regs(tid, &r))
			log_warn("a call that was interrupted can't be put in order");
	}
	ptrace(PTRACE_DETACH, tid, 0, (void *)(intptr_t)(tracee_event(status) ? 0 : WSTOPSIG(status)));
}

static void on_interrupt(fuse_req_t req UNUSED, void *data)
{
	struct request *r = data;

	if (r->interrupted)
		return;
	r->interrupted = true;
	ask_cancel(r->o->asks, r->ask);
}

/* ---- asked at home ------------------------------------------------------------------------------------- */

static void start(fuse_req_t req, struct node *n, const struct fuse_file_info *fi, enum call_id row,
		  const uint64_t args[6], const void *in, size_t len, ask_done *done)
{
	struct request *r = calloc(1, sizeof(*r));
	uint64_t blocked = 0;
	pid_t tgid = 0;
	int rc = ENOMEM;

	if (r) {
		*r = (struct request){ .o = of(req), .req = req, .node = n, .tid = fuse_req_ctx(req)->pid };
		if (fi)
			r->fi = *fi;
		rc = supervisor_caller(r->tid, &tgid, &blocked) ? EIO : 0;
	}
	if (!rc) {
		n->lookups++;		/* it stays until the answer has come */
		r->ask = ask_home(r->o->asks, tgid, row, blocked, args, in, len, done, r);
		rc = r->ask ? 0 : EAGAIN;
		n->lookups -= !r->ask;
	}
	if (rc) {
		free(r);
		fuse_reply_err(req, rc);
		return;
	}
	fuse_req_interrupt_func(req, on_interrupt, r);
}

static void end(struct request *r)
{
	r->node->lookups--;
	drop_if_unused(r->o, r->node);
	free(r);
}

static void fail(struct request *r, int64_t value)
{
	fuse_req_interrupt_func(r->req, NULL, NULL);
	if (value == -ERESTARTSYS && !r->o->leaving)
		put_in_order(r->req, r->tid);
	else
		fuse_reply_err(r->req, value == -ERESTARTSYS ? EINTR : (int)-value);
}

static void on_read(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;

	if (value < 0)
		fail(r, value);
	else
		fuse_reply_buf(r->req, out, len);
	end(r);
}

static void on_written(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0)
		fail(r, value);
	else
		fuse_reply_write(r->req, (size_t)value);
	end(r);
}

static void on_polled(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	fuse_reply_poll(r->req, value < 0 ? 0 : (unsigned)value);
	end(r);
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
		fail(r, value);
	else
		reply_open(r->req, r->node, &r->fi);
	end(r);
}

static void tell_home(struct originfs *o, unsigned type, const void *p, ssize_t len)
{
	if (len < 0 || pump_tell(o->asks->pump, type, p, (size_t)len))
		log_warn("the origin couldn't be told %s", wire_name(type));
}

/* ---- the requests ---------------------------------------------------------------------------------------- */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct originfs *o = of(req);
	bool helper = o->opener && fuse_req_ctx(req)->pid == o->opener;
	struct fuse_entry_param entry = { 0 };
	struct node *n = NULL;

	if (parent == FUSE_ROOT_ID && (helper || is_name(name))) {
		n = helper ? find(o, o->opening) : NULL;
		n = n ? n : make(o, helper ? o->opening : o->next++, name);
	}
	if (!n) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	n->bound |= helper;
	n->lookups++;
	entry.ino = n->id;
	attributes(n, n->id, &entry.attr);
	entry.attr_timeout = 1e6;
	if (fuse_reply_entry(req, &entry)) {
		n->lookups--;
		drop_if_unused(o, n);
	}
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct node *n = find(of(req), ino);

	if (n) {
		n->lookups -= MIN(count, n->lookups);
		drop_if_unused(of(req), n);
	}
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi UNUSED)
{
	struct node *n = ino == FUSE_ROOT_ID ? NULL : find(of(req), ino);
	struct stat st;

	if (ino != FUSE_ROOT_ID && !n) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(n, ino, &st);
	fuse_reply_attr(req, &st, 1e6);
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
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *n = find(of(req), ino);
	uint64_t args[6] = { 0, 0, ino };
	char path[NAME_MOST + 16];

	if (!n) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	if (n->bound) {
		reply_open(req, n, fi);
		return;
	}
	args[1] = (uint64_t)((fi->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)) | O_NOCTTY);
	snprintf(path, sizeof(path), "%s%s", is_name(n->name) && strchr("0123456789", n->name[0]) ? "/dev/pts/" : "/dev/",
		 n->name);
	start(req, n, fi, CALL_ID_open, args, path, strlen(path) + 1, on_opened);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off UNUSED, struct fuse_file_info *fi)
{
	struct node *n = find(of(req), ino);
	uint64_t args[6] = { ino, size, (uint64_t)fi->flags & O_NONBLOCK };

	if (n)
		start(req, n, NULL, CALL_ID_read, args, NULL, 0, on_read);
	else
		fuse_reply_err(req, EIO);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off UNUSED,
		     struct fuse_file_info *fi)
{
	struct node *n = find(of(req), ino);
	uint64_t args[6] = { ino, size, (uint64_t)fi->flags & O_NONBLOCK };

	if (n)
		start(req, n, NULL, CALL_ID_write, args, p, MIN(size, MOST_WRITE), on_written);
	else
		fuse_reply_err(req, EIO);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph)
{
	struct originfs *o = of(req);
	struct node *n = find(o, ino);
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
		tell_home(o, WIRE_WATCH, buf, wire_put_watch(buf, sizeof(buf), &m));
	}
	start(req, n, NULL, CALL_ID_poll, args, NULL, 0, on_polled);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi UNUSED)
{
	struct originfs *o = of(req);
	struct node *n = find(o, ino);

	fuse_reply_err(req, 0);
	if (!n)
		return;
	n->opens -= n->opens > 0;
	if (!n->opens && n->bound) {
		struct wire_drop m = { .handle = n->id };
		uint8_t buf[16];

		n->bound = false;
		tell_home(o, WIRE_DROP, buf, wire_put_drop(buf, sizeof(buf), &m));
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

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,	.lookup = op_lookup,   .forget = op_forget,   .getattr = op_getattr,
	.setattr = op_setattr,	.open = op_open,       .read = op_read,	      .write = op_write,
	.poll = op_poll,	.release = op_release, .readdir = op_readdir,
	.fsync = op_fsync,
};

/* ---- the keeper's side ---------------------------------------------------------------------------------------- */

/* The mount's device number is its own, whatever is in it: the directory tells without being asked */
static uint64_t find_device(void)
{
	struct statx st;

	if (statx(AT_FDCWD, ORIGINFS_AT, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st))
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

struct originfs *originfs_new(int fd, struct asks *asks, struct err *e)
{
	char name[] = "originfs", path[32], *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct originfs *o = calloc(1, sizeof(*o));
	int flags = fcntl(fd, F_GETFL);

	if (o)
		*o = (struct originfs){ .asks = asks, .next = FIRST_FRESH };
	if (o)
		o->se = fuse_session_new(&args, &ops, sizeof(ops), o);
	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (!o || !o->se || flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) || fuse_session_mount(o->se, path)) {
		err_say(e, -EIO, "the origin's file system can't be served");
		originfs_free(o);
		return NULL;
	}
	o->device = find_device();
	return o;
}

void originfs_free(struct originfs *o)
{
	if (!o)
		return;
	if (o->se)
		fuse_session_destroy(o->se);
	while (o->nodes) {
		o->nodes->lookups = o->nodes->opens = 0;
		drop_if_unused(o, o->nodes);
	}
	free(o->buf.mem);
	free(o);
}

uint64_t originfs_device(const struct originfs *o)
{
	return o ? o->device : 0;
}

int originfs_fd(const struct originfs *o)
{
	return o ? fuse_session_fd(o->se) : -1;
}

void originfs_hear(struct originfs *o)
{
	while (o && fuse_session_receive_buf(o->se, &o->buf) > 0)
		fuse_session_process_buf(o->se, &o->buf);
}

void originfs_ready(struct originfs *o, uint32_t handle, uint32_t events UNUSED)
{
	struct node *n = o ? find(o, handle) : NULL;

	if (n)
		forget_pollers(n, true);
}

void originfs_leaving(struct originfs *o, bool leaving)
{
	if (o)
		o->leaving = leaving;
}

/* In a child, because whoever opens waits for us */
static void NORETURN open_for(int sock, const char *path, int flags)
{
	int fd = open(path, flags | O_NOCTTY | O_CLOEXEC), code = fd < 0 ? errno : 0;

	_exit(sock_send(sock, &code, sizeof(code), &fd, fd >= 0, deadline_in_ms(5000)) ? 1 : 0);
}

int originfs_open(struct originfs *o, uint32_t handle, const char *path, int flags, struct err *e)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	char at[NAME_MOST + sizeof(ORIGINFS_AT) + 2];
	int64_t deadline = deadline_in_ms(5000);
	int sv[2], fd = -1, nfds = 1, code = EIO, rc = o ? sock_pair(sv, e) : -ENODEV;
	ssize_t n = -EAGAIN;

	if (rc)
		return err_set(e, rc, "open %s", path);
	snprintf(at, sizeof(at), "%s/%.*s", ORIGINFS_AT, NAME_MOST - 1, name);
	o->opening = handle;
	o->next = MAX(o->next, handle + 1);
	o->opener = fork();
	if (!o->opener) {
		close(sv[0]);
		open_for(sv[1], at, flags);
	}
	close(sv[1]);
	while (o->opener > 0 && n == -EAGAIN && clock_ns(CLOCK_MONOTONIC) < deadline) {
		struct pollfd p[] = { { .fd = sv[0], .events = POLLIN }, { .fd = originfs_fd(o), .events = POLLIN } };

		if (poll(p, 2, deadline_left_ms(deadline)) < 0 && errno != EINTR)
			break;
		originfs_hear(o);
		nfds = 1;
		n = sock_recv(sv[0], &code, sizeof(code), &fd, &nfds, 0);
	}
	close(sv[0]);
	if (o->opener > 0)
		waitpid(o->opener, NULL, __WALL);
	o->opener = 0;
	if (n != sizeof(code) || code || nfds != 1)
		return err_set(e, n == sizeof(code) && code ? -code : -EIO, "open a twin of %s", path);
	return fd;
}

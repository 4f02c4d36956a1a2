/* SPDX-License-Identifier: MIT */
/*
 * fuzz_originfs.c - A hostile origin: what it answers to the file system at the target
 *
 * Input: pieces {u8 what is asked, u8 length, bytes}; the bytes are the answer: i16 value, then what it brings.
 * libfuse is replaced by functions that check what they are given, and the way home by one that answers at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/target/originfs_parts.h"
#include "proxy/target/supervisor.h"

/* What libfuse would do with its arguments is nothing here */
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-value"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mount the_mount;
static struct fuse_ctx the_ctx = { .pid = 2 };
static size_t wanted;			/* bytes that the kernel has room for */
static unsigned answers;		/* to the present request: exactly one */
static volatile uint8_t sink;
static ask_done *ask_is_done;
static void *ask_ctx;

static int answered(void)
{
	if (answers++)
		abort();
	return 0;
}

static int seen(const void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sink = sink + ((const uint8_t *)p)[i];
	return answered();
}

static size_t fake_direntry(char *buf, size_t size, const char *name)
{
	size_t need = (24 + strlen(name) + 7) & ~7UL;

	if (need <= size)
		memset(buf, 'd', need);
	return need;
}

static int fake_buf(const void *p, size_t len)
{
	if (len > wanted)
		abort();
	return seen(p, len);
}

#define mount_of(req) (&the_mount)
#define of(req) (the_mount.o)
#define fuse_req_ctx(req) ((const struct fuse_ctx *)&the_ctx)
#define fuse_req_interrupt_func(req, f, data) ((void)(f))
#define fuse_reply_err(req, code) ((void)((code) < 0 || (code) > 4095 ? abort() : (void)0), answered())
#define fuse_reply_none(req) answered()
#define fuse_reply_entry(req, e) seen(e, sizeof(*(e)))
#define fuse_reply_create(req, e, fi) seen(e, sizeof(*(e)))
#define fuse_reply_attr(req, st, t) seen(st, sizeof(*(st)))
#define fuse_reply_readlink(req, s) seen(s, strlen(s))
#define fuse_reply_open(req, fi) seen(fi, sizeof(*(fi)))
#define fuse_reply_write(req, n) ((void)((n) > wanted ? abort() : (void)0), answered())
#define fuse_reply_buf(req, p, n) fake_buf(p, n)
#define fuse_reply_statfs(req, s) seen(s, sizeof(*(s)))
#define fuse_reply_xattr(req, n) answered()
#define fuse_reply_lock(req, l) seen(l, sizeof(*(l)))
#define fuse_reply_lseek(req, n) answered()
#define fuse_reply_ioctl(req, rc, p, n) seen(p, n)
#define fuse_reply_poll(req, n) answered()
#define fuse_add_direntry(req, buf, size, name, st, off) fake_direntry(buf, size, name)
#define fuse_lowlevel_notify_inval_inode(se, ino, off, len) 0
#define fuse_lowlevel_notify_poll(ph) 0
#define fuse_pollhandle_destroy(ph) ((void)(ph))

#define ask_home fake_ask
static uint64_t fake_ask(struct asks *a UNUSED, pid_t pid, enum call_id row UNUSED, uint64_t blocked UNUSED,
			 const uint64_t args[6] UNUSED, const void *in, size_t len, ask_done *done, void *ctx)
{
	static uint8_t told[FILE_MOST];

	if (len > FILE_MOST)
		abort();
	memcpy(told, in ? in : "", len);
	if (pid == FILE_PID && !ctx)
		return 1;		/* only told */
	ask_is_done = done;
	ask_ctx = ctx;
	return 1;
}

#define ask_cancel(a, id) ((void)(id))
#define supervisor_caller(tid, tgid, blocked) (*(tgid) = (tid), 0)
#define originfs_put_in_order(req, tid) ((void)fuse_reply_err(req, EINTR))
#define originfs_is_opener(req) false
#define originfs_tell_home fake_tell
static void fake_tell(struct originfs *o, unsigned type, const void *p, ssize_t len)
{
	if (len < 0)
		abort();
}

#define known_find fake_known
static struct known *fake_known(struct originfs *o UNUSED, uint64_t id UNUSED)
{
	return NULL;
}

#include "proxy/target/originfs_request.c"
#include "proxy/target/originfs_cache.c"
#define find pulled_find_
#define on_opened pulled_on_opened
#define op_lookup pulled_op_lookup
#define op_forget pulled_op_forget
#define op_getattr pulled_op_getattr
#define op_setattr pulled_op_setattr
#define op_init pulled_op_init
#define reply_entry pulled_reply_entry_
#define place pulled_place
#include "proxy/target/originfs_pulled.c"
#undef on_opened
#undef op_lookup
#undef op_forget
#undef op_getattr
#undef op_setattr
#undef op_init
#include "proxy/target/originfs_files.c"
#include "proxy/target/originfs_io.c"

static void request(unsigned what, struct fuse_file_info *fi)
{
	struct flock lock = { .l_type = F_RDLCK, .l_len = 10, .l_pid = 2 };
	fuse_req_t req = NULL;

	switch (what % 16) {
	case 0: op_lookup(req, 1, "name"); break;
	case 1: op_getattr(req, FILE_OWN_NODES, fi); break;
	case 2: op_readlink(req, FILE_OWN_NODES); break;
	case 3: io_open(req, FILE_OWN_NODES, fi); break;
	case 4: io_create(req, 1, "name", 0644, fi); break;
	case 5: io_read(req, FILE_OWN_NODES, wanted, 0, fi); break;
	case 6: io_write(req, FILE_OWN_NODES, "bytes", 5, 0, fi); break;
	case 7: io_readdir(req, FILE_OWN_NODES, wanted, 0, fi); break;
	case 8: op_statfs(req, FILE_OWN_NODES); break;
	case 9: op_getxattr(req, FILE_OWN_NODES, "user.x", wanted); break;
	case 10: op_listxattr(req, FILE_OWN_NODES, wanted); break;
	case 11: io_getlk(req, FILE_OWN_NODES, fi, &lock); break;
	case 12: io_setlk(req, FILE_OWN_NODES, fi, &lock, 1); break;
	case 13: io_lseek(req, FILE_OWN_NODES, 0, SEEK_DATA, fi); break;
	case 14: op_mknod(req, 1, "name", S_IFIFO | 0600, 0); break;
	default: io_copy(req, FILE_OWN_NODES, 0, fi, FILE_OWN_NODES + 1, 0, fi, wanted, 0); break;
	}
}

static void one(unsigned what, const uint8_t *p, size_t len)
{
	struct fuse_file_info fi = { .fh = FIRST_FRESH, .flags = what & 16 ? O_RDWR : O_RDONLY };
	int64_t value = len >= 2 ? (int16_t)(p[0] | p[1] << 8) : 0;
	size_t skip = MIN(len, (size_t)2);
	uint8_t *exact = malloc(len - skip + 1);

	if (!exact)
		abort();
	memcpy(exact, p + skip, len - skip);
	wanted = what & 32 ? 4096 : 64;
	answers = 0;
	ask_is_done = NULL;
	request(what, &fi);
	exact = realloc(exact, len - skip ? len - skip : 1);	/* what is read behind it is found */
	if (ask_is_done)
		ask_is_done(ask_ctx, value < -4095 ? -512 : value, exact, len - skip);
	if (answers != 1)
		abort();
	if (what & 64)
		originfs_changed(the_mount.o, FILE_OWN_NODES, 1, false);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct originfs o = { .up = true, .next = FIRST_FRESH, .n_mounts = 1, .mounts = &the_mount };

	the_mount = (struct mount){ .o = &o, .root = 2 };
	while (size >= 2) {
		size_t len = MIN((size_t)data[1], size - 2);

		one(data[0], data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	pulled_free_all(&o);
	cache_free(&o);
	while (o.locks) {
		struct held_lock *l = o.locks;

		o.locks = l->next;
		free(l);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * originfs_io.c - The origin's open files here: bytes, locks, and what a directory holds
 *
 * Every open file has a handle of its own at the origin.  Reads and writes go straight there (direct_io),
 * since processes of the origin may work on the same file; so a shared mapping is refused (ENODEV).  Unless
 * the origin promises that nobody does, while it is open and until it says so (originfs_cache.c).
 *
 * The POSIX locks that the program has are noted: a close that has none needn't ask, and when the program
 * moves on they are taken again where it comes to stand.
 */
#include "proxy/target/originfs_parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/scope.h"

/* ---- open and close --------------------------------------------------------------------------------- */

/* A handle is a number and, of one that is cached, marks */
#define CACHED_HANDLE (1ULL << 32)
#define WRITABLE_HANDLE (1ULL << 33)

static uint64_t handle_of(const struct fuse_file_info *fi)
{
	return fi->fh & UINT32_MAX;
}

static void may_cache(struct request *r, bool cached)
{
	r->fi.direct_io = !cached && !(r->fi.flags & O_DIRECTORY);
	r->fi.keep_cache = cached;
	if (cached)
		r->fi.fh |= CACHED_HANDLE;
	if (cached && (r->fi.flags & O_ACCMODE) == O_RDWR) {
		r->fi.fh |= WRITABLE_HANDLE;
		r->m->o->n_writable++;
	}
	r->size = cached;
}

static void on_opened(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0) {
		request_fail(r, value);
	} else {
		may_cache(r, value > 0);
		if (fuse_reply_open(r->req, &r->fi))	/* the caller was killed */
			file_tell(r->m->o, FILE_release, (uint64_t[6]){ handle_of(&r->fi) }, NULL, 0);
		else if (value > 0)
			cache_opened(r->m->o, r->node);
	}
	request_end(r);
}

/* What the program has open already.  noflush: the keeper, too, closes a descriptor of it, and mustn't wait for itself */
static void open_known(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct known *k = known_find(of(req), node_at_home(mount_of(req), ino));

	if (!k || !originfs_is_opener(req)) {
		fuse_reply_err(req, EACCES);
		return;
	}
	fi->fh = (uint64_t)of(req)->opening->stream;
	fi->direct_io = !S_ISDIR(k->st.st_mode);
	fi->noflush = 1;
	k->handle = k->handle ? k->handle : (uint32_t)fi->fh;
	fuse_reply_open(req, fi);
}

void io_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node *pulled = pulled_find(of(req), ino);
	struct request *r;

	if (pulled) {
		pulled_open(req, pulled, fi);
		return;
	}
	if (!of(req)->up) {
		open_known(req, ino, fi);
		return;
	}
	r = request_new(req, ino, fi);
	if (!r)
		return;
	r->fi.fh = of(req)->next++;
	file_ask(r, FILE_open, (uint64_t[6]){ r->node, (uint64_t)fi->flags, r->fi.fh }, NULL, 0, on_opened);
}

static void on_created(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;

	if (value < 0) {
		request_fail(r, value);
	} else {
		may_cache(r, value > 0);
		file_reply_entry(r, out, len, true);
	}
	request_end(r);
}

void io_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, parent, fi);

	if (!r)
		return;
	r->fi.fh = of(req)->next++;
	file_ask(r, FILE_create, (uint64_t[6]){ r->node, (uint64_t)fi->flags, mode, r->fi.fh }, name, strlen(name) + 1, on_created);
}

/* All that @owner has on @node.  Return: whether that was any */
static bool forget_locks(struct originfs *o, uint64_t node, uint64_t owner)
{
	bool any = false;

	for (struct held_lock **at = &o->locks; *at;) {
		struct held_lock *l = *at;

		if (l->node != node || l->owner != owner) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		free(l);
		any = true;
	}
	return any;
}

static const struct held_lock *lock_by_handle(const struct originfs *o, uint64_t handle)
{
	const struct held_lock *l = o->locks;

	while (l && l->handle != handle)
		l = l->next;
	return l;
}

void io_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	uint64_t node = node_at_home(mount_of(req), ino);
	struct originfs *o = of(req);
	const struct held_lock *l;

	if (pulled_find(o, ino)) {
		pulled_release(req, ino, fi);
		return;
	}
	fuse_reply_err(req, 0);
	cache_closed(o, node, fi->fh & CACHED_HANDLE);
	o->n_writable -= fi->fh & WRITABLE_HANDLE && o->n_writable;
	/* of one that the program came with no close is told but the last: its owners, each process that has it, let go now */
	while ((l = lock_by_handle(o, handle_of(fi)))) {
		file_tell(o, FILE_flush, (uint64_t[6]){ handle_of(fi), l->owner }, NULL, 0);
		forget_locks(o, l->node, l->owner);
	}
	file_tell(o, FILE_release, (uint64_t[6]){ handle_of(fi) }, NULL, 0);
}

void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct request *r;

	if (!forget_locks(of(req), node_at_home(mount_of(req), ino), fi->lock_owner)) {
		fuse_reply_err(req, 0);
		return;
	}
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_flush, (uint64_t[6]){ handle_of(fi), fi->lock_owner }, NULL, 0, request_on_plain);
}

/* ---- bytes -------------------------------------------------------------------------------------------------- */

/* What the program has mapped, and others now work on, is left alone */
static bool refuse_poisoned(fuse_req_t req, fuse_ino_t ino)
{
	if (!cache_poisoned(of(req), node_at_home(mount_of(req), ino)))
		return false;
	fuse_reply_err(req, EIO);
	return true;
}

void io_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *r;

	if (pulled_find(of(req), ino)) {
		pulled_read(req, ino, size, off, fi);
		return;
	}
	if (refuse_poisoned(req, ino))
		return;
	r = request_new(req, ino, NULL);
	if (!r)
		return;
	r->size = MIN(size, (size_t)FILE_MOST);
	file_ask(r, FILE_read, (uint64_t[6]){ handle_of(fi), (uint64_t)off, r->size }, NULL, 0, request_on_bytes);
}

void io_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *r;

	if (pulled_find(of(req), ino)) {
		pulled_write(req, ino, p, size, off, fi);
		return;
	}
	if (refuse_poisoned(req, ino))
		return;
	r = request_new(req, ino, NULL);
	if (!r)
		return;
	r->size = MIN(size, (size_t)FILE_MOST);
	file_ask(r, FILE_write, (uint64_t[6]){ handle_of(fi), (uint64_t)off, (uint64_t)fi->flags }, p, r->size, request_on_written);
}

void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct request *r;

	if (pulled_find(of(req), ino)) {
		fuse_reply_err(req, EINVAL);	/* as of a terminal or a pipe */
		return;
	}
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_sync, (uint64_t[6]){ handle_of(fi), (uint64_t)datasync }, NULL, 0, request_on_plain);
}

void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, ino, NULL);

	if (r)
		file_ask(r, FILE_allocate, (uint64_t[6]){ handle_of(fi), (uint64_t)mode, (uint64_t)off, (uint64_t)len }, NULL, 0,
			 request_on_plain);
}

static void on_sought(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else
		fuse_reply_lseek(r->req, value);
	request_end(r);
}

void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, ino, NULL);

	if (r)
		file_ask(r, FILE_seek, (uint64_t[6]){ handle_of(fi), (uint64_t)off, (uint64_t)whence }, NULL, 0, on_sought);
}

void io_copy(fuse_req_t req, fuse_ino_t in, off_t from, struct fuse_file_info *fi, fuse_ino_t out, off_t to,
	     struct fuse_file_info *fo, size_t len, int flags UNUSED)
{
	struct request *r;

	if (pulled_find(of(req), in) || pulled_find(of(req), out)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	r = request_new(req, in, NULL);
	if (!r)
		return;
	r->size = len;
	file_ask(r, FILE_copy, (uint64_t[6]){ handle_of(fi), (uint64_t)from, handle_of(fo), (uint64_t)to, len }, NULL, 0, request_on_written);
}

/* FS_IOC_* are nobody's here but one of our own: what a descriptor is at the origin */
void io_ioctl(fuse_req_t req, fuse_ino_t ino UNUSED, unsigned cmd, void *arg UNUSED, struct fuse_file_info *fi, unsigned flags,
	      const void *in UNUSED, size_t in_size UNUSED, size_t out_size)
{
	uint32_t handle = (uint32_t)handle_of(fi);

	if (cmd != ORIGINFS_IOC_HANDLE || flags & FUSE_IOCTL_COMPAT || out_size < sizeof(handle) ||
	    !of(req)->leaving)
		fuse_reply_err(req, ENOTTY);
	else
		fuse_reply_ioctl(req, 0, &handle, sizeof(handle));
}

/* ---- directories ---------------------------------------------------------------------------------------------- */

/* getdents64(2)'s records: u64 inode, i64 offset of the next, u16 length, u8 type, name */
#define DIRENT_HEAD 19

/* From the origin's form to the kernel's of this side; what finds no room comes with the next call */
static void on_names(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;
	AUTO_FREE char *buf = malloc(r->size);
	struct bytes b = bytes_of(out, len);
	size_t used = 0;

	while (value >= 0 && buf && bytes_left(&b) > DIRENT_HEAD) {
		struct stat st = { 0 };
		const char *name;
		size_t record, need;
		off_t next;

		st.st_ino = bytes_get_le(&b, 8);
		next = (off_t)bytes_get_le(&b, 8);
		record = bytes_get_le(&b, 2);
		st.st_mode = (mode_t)DTTOIF(bytes_get_le(&b, 1));
		name = (const char *)bytes_take(&b, record > DIRENT_HEAD ? record - DIRENT_HEAD : bytes_left(&b) + 1);
		if (!name || !memchr(name, 0, record - DIRENT_HEAD)) {
			value = -EIO;
			break;
		}
		need = fuse_add_direntry(r->req, buf + used, r->size - used, name, &st, next);
		if (need > r->size - used)
			break;
		used += need;
	}
	if (value < 0 || !buf)
		request_fail(r, value < 0 ? value : -ENOMEM);
	else
		fuse_reply_buf(r->req, buf, used);
	request_end(r);
}

void io_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct request *r = request_new(req, ino, NULL);

	if (!r)
		return;
	r->size = MIN(size, (size_t)FILE_MOST);
	/* its records are a little shorter than ours */
	file_ask(r, FILE_readdir, (uint64_t[6]){ handle_of(fi), (uint64_t)off, MAX(r->size * 3 / 4, (size_t)512) }, NULL, 0, on_names);
}

/* ---- locks ------------------------------------------------------------------------------------------------------ */

/* fcntl(2): a lock replaces what its owner has there, in whole or in part */
static bool note_lock(struct originfs *o, const struct held_lock *new, bool locked)
{
	struct held_lock *rest = NULL, *more = NULL;

	for (struct held_lock **at = &o->locks; *at;) {
		struct held_lock *l = *at;

		if (l->node != new->node || l->owner != new->owner || l->end < new->start || l->start > new->end) {
			at = &l->next;
			continue;
		}
		if (l->start < new->start && l->end > new->end) {
			rest = malloc(sizeof(*rest));
			if (!rest)
				return false;
			*rest = *l;
			rest->start = new->end + 1;
			l->end = new->start - 1;
			rest->next = l->next;
			l->next = rest;
			at = &rest->next;
		} else if (l->start < new->start) {
			l->end = new->start - 1;
			at = &l->next;
		} else if (l->end > new->end) {
			l->start = new->end + 1;
			at = &l->next;
		} else {
			*at = l->next;
			free(l);
		}
	}
	if (!locked)
		return true;
	more = malloc(sizeof(*more));
	if (!more)
		return false;
	*more = *new;
	more->next = o->locks;
	o->locks = more;
	return true;
}

static void on_locked(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else if (!note_lock(r->m->o, &r->lock, r->size))
		fuse_reply_err(r->req, ENOLCK);
	else
		fuse_reply_err(r->req, 0);
	request_end(r);
}

void io_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep)
{
	struct request *r;

	if (lock->l_type != F_UNLCK && refuse_poisoned(req, ino))
		return;
	r = pulled_find(of(req), ino) ? NULL : request_new(req, ino, NULL);
	if (!r) {
		if (pulled_find(of(req), ino))
			fuse_reply_err(req, EINVAL);
		return;
	}
	r->size = lock->l_type != F_UNLCK;
	r->lock = (struct held_lock){ .node = r->node, .owner = fi->lock_owner, .start = (uint64_t)lock->l_start,
				      .end = lock->l_len ? (uint64_t)(lock->l_start + lock->l_len - 1) : INT64_MAX,
				      .handle = (uint32_t)handle_of(fi), .pid = lock->l_pid, .exclusive = lock->l_type == F_WRLCK };
	file_ask(r, FILE_setlk,
		 (uint64_t[6]){ handle_of(fi), fi->lock_owner, (uint64_t)lock->l_type, (uint64_t)lock->l_start, (uint64_t)lock->l_len,
				(uint64_t)(sleep != 0) },
		 NULL, 0, on_locked);
}

static void on_lock_seen(void *ctx, int64_t value, const void *out, size_t len)
{
	struct bytes b = bytes_of(out, len);
	struct request *r = ctx;
	struct flock lock = { .l_whence = SEEK_SET };

	lock.l_type = (short)bytes_get_le(&b, 8);
	lock.l_start = (off_t)bytes_get_le(&b, 8);
	lock.l_len = (off_t)bytes_get_le(&b, 8);
	lock.l_pid = (pid_t)bytes_get_le(&b, 8);
	if (value < 0 || b.bad)
		request_fail(r, value < 0 ? value : -EIO);
	else
		fuse_reply_lock(r->req, &lock);
	request_end(r);
}

void io_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct request *r = pulled_find(of(req), ino) ? NULL : request_new(req, ino, NULL);

	if (r)
		file_ask(r, FILE_getlk,
			 (uint64_t[6]){ handle_of(fi), fi->lock_owner, (uint64_t)lock->l_type, (uint64_t)lock->l_start,
					(uint64_t)lock->l_len },
			 NULL, 0, on_lock_seen);
	else if (pulled_find(of(req), ino))
		fuse_reply_err(req, EINVAL);
}

void io_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct request *r = pulled_find(of(req), ino) ? NULL : request_new(req, ino, NULL);

	if (r)
		file_ask(r, FILE_flock, (uint64_t[6]){ handle_of(fi), (uint64_t)op }, NULL, 0, request_on_plain);
	else if (pulled_find(of(req), ino))
		fuse_reply_err(req, EINVAL);
}

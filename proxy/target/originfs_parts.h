/* SPDX-License-Identifier: MIT */
/*
 * originfs_parts.h - What the parts of the origin's file system share
 *
 *	originfs.c		mounts, and the keeper's side
 *	originfs_request.c	requests that wait for an answer from home
 *	originfs_pulled.c	terminals, devices, FIFOs: one node an open file
 *	originfs_files.c	files and directories: names and what is in them
 *	originfs_io.c		open files: bytes and locks
 *	originfs_cache.c	which of them are cached here, and until when
 *
 * Numbers of nodes: 1 a mount's root; from 2 on those that the program came with, chosen here and bound
 * at the origin when it goes (originfs_go); from FIRST_FRESH on pulled ones, which are handles; from
 * FILE_OWN_NODES on the file server's.
 */
#ifndef PROXY_TARGET_ORIGINFS_PARTS_H
#define PROXY_TARGET_ORIGINFS_PARTS_H

#define FUSE_USE_VERSION 35
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "common/file.h"
#include "proxy/target/originfs.h"

#define FIRST_FRESH 0x40000000	/* handles that are made here */
#define NAME_MOST 64
#define PULLED_MARK 0x6d6d6967	/* the upper half of a pulled node's inode, where others' inodes are, too */

/* One that is pulled */
struct node {
	struct node *next;
	uint32_t id;
	char *path;			/* at the origin; what the deputy opens */
	uint64_t home;			/* the file server's number of it, 0: it came otherwise */
	struct stat st;			/* a regular file's mode, whatever it is there */
	unsigned opens;
	uint64_t lookups;
	bool bound;
	struct poller {			/* who waits for it: several, if it was opened several times */
		struct poller *next;
		struct fuse_pollhandle *ph;
	} *pollers;
};

/* One that the program came with: a file it has open, or a directory on the way there */
struct known {
	struct known *next;
	uint64_t id, parent;		/* 0: a root */
	char *path;			/* at the origin */
	const struct image_open *open;	/* until originfs_go(); NULL: a directory */
	uint32_t handle;
	struct stat st;
	uint64_t lookups;
	bool bound;			/* the origin knows it */
};

/* A POSIX lock that the program has on one of the origin's files */
struct held_lock {
	struct held_lock *next;
	uint64_t node, owner, start, end;	/* @end: the last byte */
	uint32_t handle;
	pid_t pid;
	bool exclusive;
};

#define CACHE_BUCKETS 1024

/* A node that is cached here, or was and may not be looked at any more */
struct cached {
	struct cached *next;
	uint64_t node;
	unsigned opens;			/* of it that are cached */
	bool lost;			/* others at the origin have it open, too */
	bool poisoned;			/* and the program has a shared mapping of it */
};

struct mount {
	struct originfs *o;
	struct fuse_session *se;
	uint64_t device;
	uint64_t root;			/* FUSE's node 1, as the origin knows it; 0: /dev/pts */
	bool dev;			/* /dev: some names in it are the target's own */
	char dir[256];
};

struct originfs {
	struct mount *mounts;
	size_t n_mounts;
	int epoll;
	struct fuse_buf buf;
	struct asks *asks;
	struct node *nodes;
	struct known *known;
	struct held_lock *locks;
	struct cached *cached[CACHE_BUCKETS];
	unsigned n_writable;		/* open files that are cached and may be mapped shared */
	uint64_t next_known;
	uint32_t next;			/* handle */
	bool up, leaving;
	bool one_user;			/* mproxy is an ordinary user's: other ids can't be shown */
	pid_t opener;			/* originfs_open()'s helper, 0: none */
	const struct image_open *opening;
};

static inline struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct originfs *of(fuse_req_t req)
{
	return mount_of(req)->o;
}

/* ---- originfs.c ------------------------------------------------------------------------------------ */

void originfs_tell_home(struct originfs *o, unsigned type, const void *p, ssize_t len);
/* What the kernel of a terminal would have said: made again after the signal, if its handler allows that */
void originfs_put_in_order(fuse_req_t req, pid_t tid);
bool originfs_is_opener(fuse_req_t req);
struct known *known_find(struct originfs *o, uint64_t id);

/* The number that the origin knows a node by */
static inline uint64_t node_at_home(const struct mount *m, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? m->root : ino;
}

/* ---- originfs_request.c ----------------------------------------------------------------------------- */

/* A request that waits for its answer from home */
struct request {
	struct mount *m;
	fuse_req_t req;
	uint64_t ask, node;		/* @node: as the origin knows it */
	pid_t tid;
	struct fuse_file_info fi;
	size_t size;			/* bytes that may come, or that were written */
	struct node *pulled;		/* the one that it is about, which stays until then; NULL */
	bool interrupted, made;
	struct held_lock lock;
};

/* NULL: out of memory, and the caller has its answer */
struct request *request_new(fuse_req_t req, fuse_ino_t node, const struct fuse_file_info *fi);
void request_waits(struct request *r, uint64_t ask);
void request_end(struct request *r);
void request_fail(struct request *r, int64_t value);	/* a negative errno, or a call that a signal interrupted */
ask_done request_on_plain, request_on_bytes, request_on_written;	/* no bytes; at most @size; so many of @size */

/* ---- originfs_pulled.c ------------------------------------------------------------------------------- */

extern const struct fuse_lowlevel_ops pulled_ops;	/* of /dev/pts */
void pulled_let_go(struct originfs *o, struct node *n);	/* a request about it has ended */
struct node *pulled_find(struct originfs *o, fuse_ino_t id);
void pulled_free_all(struct originfs *o);
/* A fresh node for a name of the origin's that only a deputy can open.  @st: as it is there; @home: one lookup of it */
void pulled_reply_entry(fuse_req_t req, const char *path, const struct stat *st, uint64_t home);
void pulled_set_stat(struct node *n, const struct stat *st);
void pulled_forget(struct originfs *o, fuse_ino_t ino, uint64_t count);
void pulled_getattr(fuse_req_t req, struct node *n);
void pulled_open(fuse_req_t req, struct node *n, struct fuse_file_info *fi);
void pulled_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void pulled_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off, struct fuse_file_info *fi);
void pulled_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *ph);
void pulled_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* ---- originfs_cache.c --------------------------------------------------------------------------------- */

void cache_opened(struct originfs *o, uint64_t node);	/* one more that is cached */
void cache_closed(struct originfs *o, uint64_t node, bool cached);
double cache_valid(const struct originfs *o, uint64_t node);	/* how long a stat is good, s */
bool cache_poisoned(const struct originfs *o, uint64_t node);	/* nothing may be done to it but unlocked */
void cache_free(struct originfs *o);

/* ---- originfs_files.c, originfs_io.c ------------------------------------------------------------------ */

/* @done gets the struct request, and ends it */
void file_ask(struct request *r, enum file_op op, const uint64_t args[6], const void *in, size_t len, ask_done *done);
void file_forget(struct originfs *o, uint64_t node, uint64_t lookups);	/* at home */
/* What is known without an answer */
void file_tell(struct originfs *o, enum file_op op, const uint64_t args[6], const void *in, size_t len);
/* The first two words of an entry; -EBADMSG */
int file_get_entry(const void *out, size_t len, uint64_t *node, struct stat *st, char *path, size_t size) MUST_CHECK;
void file_reply_entry(struct request *r, const void *out, size_t len, bool created);
int files_bind(struct originfs *o) MUST_CHECK;
bool files_is_streamed(mode_t mode);	/* neither file, directory, link nor socket */
/* The ids that the program sees.  In a user namespace with one the kernel refuses to write to others' files, whatever we say */
void files_show_ids(const struct originfs *o, struct stat *st);

/* Does what follows "/dev" begin with one of the target's own names?  ".." and "." may hide anything */
bool files_own_name(const char *rest);

extern const struct fuse_lowlevel_ops file_ops;
void io_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void io_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void io_write(fuse_req_t req, fuse_ino_t ino, const char *p, size_t size, off_t off, struct fuse_file_info *fi);
void io_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void io_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void io_copy(fuse_req_t req, fuse_ino_t in, off_t from, struct fuse_file_info *fi, fuse_ino_t out, off_t to,
	     struct fuse_file_info *fo, size_t len, int flags);
void io_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi, unsigned flags,
	      const void *in, size_t in_size, size_t out_size);
void io_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void io_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock, int sleep);
void io_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

/* The handle behind a descriptor of the frozen program's: answered to the keeper's own helper only */
#define ORIGINFS_IOC_HANDLE _IOR('m', 0x6f, uint32_t)

#endif

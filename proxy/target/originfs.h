/* SPDX-License-Identifier: MIT */
/*
 * originfs.h - The file system that shows the origin's files and terminals to a moved program
 *
 * One mount for each directory that the policy gives to the origin, and one at /dev/pts, all served by
 * the keeper.  Files and directories are asked for at the origin's file server (common/file.def).
 * Terminals, devices and FIFOs are *pulled* streams: a read at the origin happens only when the program
 * reads, so that nothing is taken from those that stayed.  The inode of one that is open is its handle.
 *
 * The keeper serves it, and so must never touch it: a call that asks this file system would wait for
 * itself.  statx(2) with AT_STATX_DONT_SYNC is safe.
 */
#ifndef PROXY_TARGET_ORIGINFS_H
#define PROXY_TARGET_ORIGINFS_H

#include <sys/stat.h>

#include "proxy/image/image.h"
#include "proxy/target/asks.h"

#define ORIGINFS_PTS "/dev/pts"
#define ORIGINFS_MOST 64		/* directories */

/* A mounted /dev/fuse */
struct originfs_mount {
	int fd;
	uint64_t device;
	char dir[256];
};

struct originfs;

/* The descriptors become the file system's.  @one_user: there is one uid here, the program's */
struct originfs *originfs_new(const struct originfs_mount *mounts, size_t n, bool one_user, struct asks *asks,
			      struct err *e) MUST_CHECK;
void originfs_free(struct originfs *o);
int originfs_fd(const struct originfs *o);
void originfs_hear(struct originfs *o);		/* its fd is readable */
void originfs_ready(struct originfs *o, uint32_t handle, uint32_t events);	/* IS_READY came */

/* CHANGED came: @node, whose inode is @inode, may not be cached any more; @others: somebody at the origin waits */
void originfs_changed(struct originfs *o, uint64_t node, uint64_t inode, bool others);

/* The devices of its mounts are known by now: nobody else can look them up any more without asking us */
enum originfs_what { ORIGINFS_NOT, ORIGINFS_PULLED, ORIGINFS_FILE };
enum originfs_what originfs_is(const struct originfs *o, uint64_t device, uint64_t inode);
#define ORIGINFS_HANDLE(inode) ((uint32_t)(inode))	/* of one that is pulled */

/* Is this absolute path in one of its directories, and not the target's own in /dev? */
bool originfs_has(const struct originfs *o, const char *path);
/* May a path that begins so lead into one?  Only the first ORIGINFS_NAME_MOST bytes are looked at; from any thread */
#define ORIGINFS_NAME_MOST 256
bool originfs_near(const struct originfs *o, const char *start);
/* @st, of @path at the origin, as the program sees it here */
void originfs_show(const struct originfs *o, const char *path, struct stat *st);

/* A descriptor of what the origin has open as @open, an OPEN_PULLED or OPEN_ORIGIN.  Serves meanwhile; the caller's */
int originfs_open(struct originfs *o, const struct image_open *open, struct err *e) MUST_CHECK;
/* Until now all was answered by what the image says.  The program is about to run: the origin is asked from here on */
int originfs_go(struct originfs *o, struct err *e) MUST_CHECK;

/* The program is being frozen: readers that are interrupted needn't be put in order, the freeze does */
void originfs_leaving(struct originfs *o, bool leaving);
/* What the stopped program has written to shared mappings goes home.  @idle serves meanwhile */
int originfs_flush(struct originfs *o, void (*idle)(void *ctx), void *ctx, struct err *e) MUST_CHECK;
/* Which handles and POSIX locks the descriptors of the frozen program @img are.  Serves meanwhile */
int originfs_describe(struct originfs *o, struct image *img, struct err *e) MUST_CHECK;

#endif

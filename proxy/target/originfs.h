/* SPDX-License-Identifier: MIT */
/*
 * originfs.h - The file system that shows the origin's terminals to a moved program.  libfuse's door
 *
 * Mounted at /dev/pts of the program's mount namespace.  What is in it are *pulled* streams: a read at
 * the origin happens only when the program reads, so that nothing is taken from those that stayed.
 * The inode of an open file is its handle at home.
 *
 * The keeper serves it, and so must never touch it: a call that asks this file system would wait for
 * itself.  statx(2) with AT_STATX_DONT_SYNC is safe.
 */
#ifndef PROXY_TARGET_ORIGINFS_H
#define PROXY_TARGET_ORIGINFS_H

#include "proxy/target/asks.h"

#define ORIGINFS_AT "/dev/pts"

struct originfs;

/* @fd: /dev/fuse, mounted already; becomes the file system's */
struct originfs *originfs_new(int fd, struct asks *asks, struct err *e) MUST_CHECK;
void originfs_free(struct originfs *o);
uint64_t originfs_device(const struct originfs *o);
int originfs_fd(const struct originfs *o);
void originfs_hear(struct originfs *o);		/* its fd is readable */
void originfs_ready(struct originfs *o, uint32_t handle, uint32_t events);	/* IS_READY came */

/* A descriptor of @handle, which the origin has open as @path.  Serves meanwhile; the caller's */
int originfs_open(struct originfs *o, uint32_t handle, const char *path, int flags, struct err *e) MUST_CHECK;

/* The program is being frozen: readers that are interrupted needn't be put in order, the freeze does */
void originfs_leaving(struct originfs *o, bool leaving);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sock.h - Local sockets that carry messages and file descriptors
 *
 * The only place in the tree that builds a struct cmsghdr.  One datagram is one message
 * (SOCK_SEQPACKET): no short reads and no framing here.
 *
 * Ownership: a descriptor that is returned, or stored through an int *, is the caller's.
 * A descriptor that is passed in stays the caller's.
 */
#ifndef COMMON_SOCK_H
#define COMMON_SOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define SOCK_MAX_FDS 253	/* a message carries at most so many: SCM_MAX_FD, unix(7) */

int sock_pair(int sv[2], struct err *e) MUST_CHECK;
int sock_listen(const char *path, int mode, struct err *e) MUST_CHECK;
int sock_connect(const char *path, struct err *e) MUST_CHECK;
int sock_accept(int fd) MUST_CHECK;
int sock_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) MUST_CHECK;

/* @deadline as in clock.h; 0 means: do not wait at all (-EAGAIN) */
int sock_send(int fd, const void *p, size_t len, const int *fds, int nfds, int64_t deadline) MUST_CHECK;
ssize_t sock_recv(int fd, void *p, size_t size, int *fds, int *nfds, int64_t deadline) MUST_CHECK;

#endif

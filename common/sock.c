/* SPDX-License-Identifier: MIT */
/*
 * sock.c - Local sockets that carry messages and file descriptors
 */
#include "common/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"

int sock_pair(int sv[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv))
		return err_set(e, -errno, "make a socket pair");
	return 0;
}

static int address_of(struct sockaddr_un *sa, const char *path, struct err *e)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(sa->sun_path))
		return err_say(e, -ENAMETOOLONG, "socket path %s is longer than %zu bytes", path,
			       sizeof(sa->sun_path) - 1);
	snprintf(sa->sun_path, sizeof(sa->sun_path), "%s", path);
	return 0;
}

/**
 * sock_listen() - A listening SOCK_SEQPACKET socket at @path, replacing a dead one
 *
 * Return: descriptor, or a negative errno; -EADDRINUSE when somebody listens there
 */
int sock_listen(const char *path, int mode, struct err *e)
{
	AUTO_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;
	int other, rc;

	if (fd < 0)
		return err_set(e, -errno, "make a socket");
	rc = address_of(&sa, path, e);
	if (rc)
		return rc;
	other = sock_connect(path, NULL);
	if (other >= 0) {
		close(other);
		return err_say(e, -EADDRINUSE, "somebody listens on %s already", path);
	}
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return err_set(e, -errno, "bind %s", path);
	if (chmod(path, (mode_t)mode) || listen(fd, 64))
		return err_set(e, -errno, "listen on %s", path);
	return take_fd(&fd);
}

int sock_connect(const char *path, struct err *e)
{
	AUTO_FD int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa;
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "make a socket");
	rc = address_of(&sa, path, e);
	if (rc)
		return rc;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return err_set(e, -errno, "connect to %s", path);
	return take_fd(&fd);
}

int sock_accept(int fd)
{
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

	return c < 0 ? -errno : c;
}

/** sock_peer() - Who is at the other end, by SO_PEERCRED (unix(7)): as of its connect() */
int sock_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
		return -errno;
	if (pid)
		*pid = c.pid;
	if (uid)
		*uid = c.uid;
	if (gid)
		*gid = c.gid;
	return 0;
}

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n;

	if (!deadline)
		return 0;
	do
		n = poll(&p, 1, deadline_left_ms(deadline));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? 0 : -ETIMEDOUT;
}

/**
 * sock_send() - Send one message, whole or not at all
 * @fds:	@nfds descriptors that go along (at most SOCK_MAX_FDS), may be NULL
 *
 * Return: 0, -EAGAIN (only with @deadline 0), -ETIMEDOUT, -EPIPE and other errnos
 */
int sock_send(int fd, const void *p, size_t len, const int *fds, int nfds, int64_t deadline)
{
	union {
		char buf[CMSG_SPACE(SOCK_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)p, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > SOCK_MAX_FDS)
		return -E2BIG;
	if (nfds > 0) {
		struct cmsghdr *c;

		m.msg_control = control.buf;
		m.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	for (;;) {
		int rc;

		if (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !deadline)
			return -errno;
		rc = wait_for(fd, POLLOUT, deadline);
		if (rc)
			return rc;
	}
}

/**
 * sock_recv() - Receive one message
 * @fds:	Room for *@nfds descriptors, may be NULL; those that don't fit are closed
 * @nfds:	In: room; out: how many came.  All have CLOEXEC set
 *
 * Return: length, 0 at the end of the connection, -EMSGSIZE if the message was larger
 * than @size (it is lost), -EAGAIN (only with @deadline 0), -ETIMEDOUT and other errnos
 */
ssize_t sock_recv(int fd, void *p, size_t size, int *fds, int *nfds, int64_t deadline)
{
	union {
		char buf[CMSG_SPACE(SOCK_MAX_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = p, .iov_len = size };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	int room = fds && nfds ? *nfds : 0, got = 0;
	struct cmsghdr *c;
	ssize_t n;

	for (;;) {
		int rc;

		m.msg_control = control.buf;
		m.msg_controllen = sizeof(control.buf);
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !deadline)
			return -errno;
		rc = wait_for(fd, POLLIN, deadline);
		if (rc)
			return rc;
	}
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int one;

			memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < room)
				fds[got++] = one;
			else
				close(one);
		}
	}
	if (nfds)
		*nfds = got;
	if (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		while (got > 0)
			close(fds[--got]);
		if (nfds)
			*nfds = 0;
		return -EMSGSIZE;
	}
	return n;
}

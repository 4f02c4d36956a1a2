/* SPDX-License-Identifier: MIT */
/*
 * link.c - One reliable, ordered byte stream to the peer's session
 */
#include "proxy/link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

static ssize_t plain_send(struct link *l, const void *p, size_t len)
{
	ssize_t n;

	do
		n = send(l->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static ssize_t plain_recv(struct link *l, void *p, size_t size)
{
	ssize_t n;

	do
		n = recv(l->fd, p, size, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void plain_close(struct link *l)
{
	close(l->fd);
	free(l);
}

static const struct link_ops plain_ops = { plain_send, plain_recv, plain_close };

struct link *link_of_fd(int fd)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l) {
		close(fd);
		return NULL;
	}
	l->ops = &plain_ops;
	l->fd = fd;
	return l;
}

ssize_t link_try_send(struct link *l, const void *p, size_t len)
{
	return l->ops->try_send(l, p, len);
}

ssize_t link_try_recv(struct link *l, void *p, size_t size)
{
	return l->ops->try_recv(l, p, size);
}

static int wait_for(struct link *l, short events, int64_t deadline)
{
	struct pollfd pfd = { .fd = l->fd, .events = events };
	int n = poll(&pfd, 1, deadline_left_ms(deadline));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

/**
 * link_send() - Send all of @len bytes before @deadline
 *
 * Return: 0 or a negative errno; then the stream is of no further use
 */
int link_send(struct link *l, const void *p, size_t len, int64_t deadline, struct err *e)
{
	const char *at = p;

	while (len) {
		ssize_t n = l->ops->try_send(l, at, len);

		if (n == -EAGAIN)
			n = wait_for(l, POLLOUT, deadline);
		if (n < 0)
			return err_set(e, (int)n, "send to the peer");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int link_recv(struct link *l, void *p, size_t len, int64_t deadline, struct err *e)
{
	char *at = p;

	while (len) {
		ssize_t n = l->ops->try_recv(l, at, len);

		if (n == 0)
			return err_say(e, -ECONNRESET, "the peer closed the connection");
		if (n == -EAGAIN)
			n = wait_for(l, POLLIN, deadline);
		if (n < 0)
			return err_set(e, (int)n, "receive from the peer");
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

void link_close(struct link *l)
{
	if (l)
		l->ops->close(l);
}

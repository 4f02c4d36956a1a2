/* SPDX-License-Identifier: MIT */
/*
 * receiver.c - Takes the notifications of a moved program as soon as they are there
 */
#include "proxy/target/receiver.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

int receiver_open(struct receiver *r, struct err *e)
{
	int ends[2];

	static_assert(sizeof(struct received) <= PIPE_BUF, "written whole");
	*r = (struct receiver){ .listeners = epoll_create1(EPOLL_CLOEXEC), .in = -1, .out = -1 };
	if (r->listeners < 0 || pipe2(ends, O_CLOEXEC))
		return err_set(e, -errno, "receive the program's calls");
	r->in = ends[0];
	r->out = ends[1];
	return fcntl(r->in, F_SETFL, O_NONBLOCK) ? err_set(e, -errno, "receive the program's calls") : 0;
}

void receiver_again(struct receiver *r, const struct received *got)
{
	if (write(r->out, got, sizeof(*got)) != sizeof(*got))
		return;		/* the keeper is gone, and so are we */
}

static void receive(struct receiver *r, uint32_t who, int listener)
{
	struct received got = { .who = who };

	/* ENOENT: it died, or a signal was quicker */
	if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &got.n) &&
	    (!r->quick || !r->quick(r->quick_ctx, listener, &got.n)))
		receiver_again(r, &got);
}

static void *run(void *arg)
{
	struct receiver *r = arg;
	struct epoll_event ev;

	for (;;) {
		int listener;

		if (epoll_wait(r->listeners, &ev, 1, -1) != 1)
			continue;
		listener = (int)(ev.data.u64 & UINT32_MAX);
		if (ev.events & EPOLLIN)
			receive(r, (uint32_t)(ev.data.u64 >> 32), listener);
		else
			epoll_ctl(r->listeners, EPOLL_CTL_DEL, listener, NULL);
	}
	return NULL;
}

int receiver_start(struct receiver *r, struct err *e)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, run, r);

	if (!rc)
		rc = pthread_detach(thread);
	return rc ? err_set(e, -rc, "receive the program's calls") : 0;
}

int receiver_add(struct receiver *r, uint32_t who, int listener)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint64_t)who << 32 | (uint32_t)listener };

	return epoll_ctl(r->listeners, EPOLL_CTL_ADD, listener, &ev) ? -errno : 0;
}

int receiver_fd(const struct receiver *r)
{
	return r->in;
}

static void take_all(struct receiver *r)
{
	struct received got, *more;

	while (read(r->in, &got, sizeof(got)) == sizeof(got)) {
		more = realloc(r->list, (r->n + 1) * sizeof(*more));
		if (!more)
			return;		/* its caller waits until it is killed */
		r->list = more;
		more[r->n++] = got;
	}
}

bool receiver_next(struct receiver *r, struct received *to)
{
	if (!r->n)
		return read(r->in, to, sizeof(*to)) == sizeof(*to);
	*to = r->list[0];
	memmove(r->list, r->list + 1, --r->n * sizeof(*r->list));
	return true;
}

bool receiver_has(struct receiver *r, pid_t tid)
{
	take_all(r);
	for (size_t i = 0; i < r->n; i++)
		if ((pid_t)r->list[i].n.pid == tid)
			return true;
	return false;
}

void receiver_close(struct receiver *r)
{
	free(r->list);
}

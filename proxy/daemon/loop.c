/* SPDX-License-Identifier: MIT */
/*
 * loop.c - The daemon's event loop: descriptors, and who cares when they are ready
 */
#include "proxy/daemon/loop.h"

#include <errno.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"

int loop_open(struct loop *l, struct err *e)
{
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll < 0 ? err_set(e, -errno, "make an event loop") : 0;
}

void loop_close(struct loop *l)
{
	drop_fd(&l->epoll);
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events, watch_fn *ready,
	     struct err *e)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev)) {
		int code = -errno;

		w->fd = -1;
		close(fd);
		return err_set(e, code, "watch a descriptor");
	}
	*w = (struct watch){ fd, ready };
	return 0;
}

/* Nothing can fail here but memory, and EPOLL_CTL_MOD needs none */
void loop_want(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->fd >= 0)
		epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &ev);
}

void loop_drop(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	drop_fd(&w->fd);
}

int loop_step(struct loop *l, int64_t deadline, struct err *e)
{
	struct epoll_event ev;
	struct watch *w;
	int n = epoll_wait(l->epoll, &ev, 1, deadline_left_ms(deadline));

	if (n < 0 && errno != EINTR)
		return err_set(e, -errno, "wait for events");
	if (n <= 0)
		return 0;
	w = ev.data.ptr;
	w->ready(w, ev.events);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * kin.c - The processes in a moved program's pid namespace: those that moved, and stand-ins
 *
 * Who is there, who has ended and was waited for, and what stand-ins are told.  How they come into
 * the world is told in birth.c, how they live in stand_in.c.
 */
#include "proxy/target/kin.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/target/stand_in.h"
#include "proxy/trace/procfs.h"

int kin_open(struct kin *k, struct err *e)
{
	int ends[2];

	*k = (struct kin){ .reports = -1, .to_us = -1, .ends = epoll_create1(EPOLL_CLOEXEC) };
	if (k->ends < 0)
		return err_set(e, -errno, "make an epoll set");
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, -errno, "make a pipe");
	k->reports = ends[0];
	k->to_us = ends[1];
	if (fcntl(k->reports, F_SETFL, O_NONBLOCK))
		return err_set(e, -errno, "make a pipe");
	return 0;
}

void kin_close(struct kin *k)
{
	while (k->n)
		kin_forget(k, &k->list[k->n - 1]);
	free(k->list);
	drop_fd(&k->reports);
	drop_fd(&k->to_us);
	drop_fd(&k->ends);
}

struct kin_one *kin_find(struct kin *k, pid_t pid)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->list[i].pid == pid)
			return &k->list[i];
	return NULL;
}

static struct kin_one *add(struct kin *k, pid_t pid)
{
	struct kin_one *more = realloc(k->list, (k->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	k->list = more;
	more[k->n] = (struct kin_one){ .pid = pid, .orders = -1, .pidfd = -1 };
	return &more[k->n++];
}

int kin_add_moved(struct kin *k, pid_t pid, bool ours)
{
	/* since 6.15 there is a second event, when it has been waited for */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)pid };
	struct kin_one *one = add(k, pid);

	if (!one)
		return -ENOMEM;
	one->moved = true;
	if (ours)
		return 0;
	one->pidfd = pidfd_open(pid, 0);
	if (one->pidfd < 0 || epoll_ctl(k->ends, EPOLL_CTL_ADD, one->pidfd, &ev)) {
		int rc = -errno;

		kin_forget(k, one);
		return rc;
	}
	return 0;
}

int kin_add_stand_in(struct kin *k, pid_t pid, int orders)
{
	struct kin_one *one = add(k, pid);

	if (one)
		one->orders = orders;
	return one ? 0 : -ENOMEM;
}

int kin_add_ended(struct kin *k, pid_t pid, bool moved)
{
	struct kin_one *one = add(k, pid);

	if (!one)
		return -ENOMEM;
	one->moved = moved;
	one->ended = true;
	return 0;
}

size_t kin_moved(const struct kin *k)
{
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		n += k->list[i].moved && !k->list[i].ended;
	return n;
}

/* struct pidfd_info of Linux 6.13; exit_code since 6.15, of processes that were waited for */
struct info {
	uint64_t mask, cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};
#define INFO_EXIT (1u << 3)
#define GET_INFO _IOWR(0xff, 11, struct info)

/* Once it was waited for, and on older kernels: 0 */
static int status_of(pid_t pid, int pidfd)
{
	struct info info = { .mask = INFO_EXIT };
	int status;

	if (!procfs_exit_status(pid, &status))
		return status;
	return !ioctl(pidfd, GET_INFO, &info) && info.mask & INFO_EXIT ? info.exit_code : 0;
}

pid_t kin_ended(struct kin *k, int *status)
{
	struct epoll_event ev;
	struct kin_one *one;
	pid_t pid;

	while (k->ends >= 0 && epoll_wait(k->ends, &ev, 1, 0) == 1) {
		pid = (pid_t)ev.data.u64;
		one = kin_find(k, pid);
		if (!one)
			continue;
		if (one->ended)
			continue;
		*status = status_of(pid, one->pidfd);
		one->ended = true;
		return pid;
	}
	return 0;
}

pid_t kin_reaped(struct kin *k)
{
	for (size_t i = 0; i < k->n; i++) {
		pid_t pid = k->list[i].pid;

		if (!k->list[i].ended || !kill(pid, 0))
			continue;
		kin_forget(k, &k->list[i]);
		return pid;
	}
	return 0;
}

bool kin_unreaped(const struct kin *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->list[i].ended)
			return true;
	return false;
}

void kin_forget(struct kin *k, struct kin_one *one)
{
	drop_fd(&one->orders);
	drop_fd(&one->pidfd);
	*one = k->list[--k->n];
}

/* ---- orders ------------------------------------------------------------------------------------------ */

static bool order(struct kin *k, pid_t pid, const struct stand_in_order *m)
{
	struct kin_one *one = kin_find(k, pid);

	return one && one->orders >= 0 && write(one->orders, m, sizeof(*m)) == sizeof(*m);
}

void kin_end(struct kin *k, pid_t pid, int status)
{
	struct stand_in_order m = { .order = STAND_IN_LIKE, .a = status };
	struct kin_one *one = kin_find(k, pid);

	if (!one || one->moved || one->ended)
		return;
	/* one that stands stopped hears nothing: it goes on first, as the kin did or would */
	kill(pid, SIGCONT);
	if (WIFCONTINUED(status) || !order(k, pid, &m) || WIFSTOPPED(status))
		return;
	drop_fd(&one->orders);
	one->ended = true;
}

bool kin_kill(struct kin *k, pid_t sender, pid_t to, int sig)
{
	struct stand_in_order m = { .order = STAND_IN_KILL, .a = to, .b = sig };

	return order(k, sender, &m);
}

/* SPDX-License-Identifier: MIT */
/*
 * execs.c - May a moved program exec this?
 */
#include "proxy/target/execs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"

struct answer {
	uint64_t id;
	int value;
};

int execs_open(struct execs *x, const struct originfs *fs, struct err *e)
{
	int sv[2], rc = sock_pair(sv, e);

	*x = (struct execs){ .to_us = rc ? -1 : sv[0], .from_children = rc ? -1 : sv[1], .fs = fs };
	return rc;
}

void execs_close(struct execs *x)
{
	drop_fd(&x->to_us);
	drop_fd(&x->from_children);
}

int execs_fd(const struct execs *x)
{
	return x->to_us;
}

static bool loses_privilege(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return false;
	if (!(st->st_mode & S_ISUID) && (st->st_mode & (S_ISGID | S_IXGRP)) != (S_ISGID | S_IXGRP))
		return false;
	return (st->st_mode & S_ISUID && st->st_uid != geteuid()) || (st->st_mode & S_ISGID && st->st_gid != getegid());
}

/* The origin's mounts are nosuid: there is nothing to lose.  They aren't asked, which could be a wait for ourselves */
static int judge(const struct execs *x, int fd)
{
	struct statx sx;
	struct stat st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &sx) ||
	    originfs_is(x->fs, makedev(sx.stx_dev_major, sx.stx_dev_minor), sx.stx_ino) != ORIGINFS_NOT)
		return 0;
	return !fstat(fd, &st) && loses_privilege(&st) ? -EPERM : 0;
}

/* In the child.  Nothing of the keeper's may stay open here when that ends */
static void NORETURN look_for(struct execs *x, int dir, const char *path, uint64_t id)
{
	struct answer a = { .id = id };
	int sock = fcntl(x->from_children, F_DUPFD_CLOEXEC, 1000), at = fcntl(dir, F_DUPFD_CLOEXEC, 1000), fd;

	close_range(3, 999, 0);
	close_range((unsigned)MAX(sock, at) + 1, ~0U, 0);
	fd = openat(at, path, O_PATH | O_CLOEXEC);
	a.value = fd < 0 ? 0 : judge(x, fd);	/* what can't be found exec says itself */
	_exit(sock < 0 || sock_send(sock, &a, sizeof(a), NULL, 0, NO_DEADLINE));
}

int execs_look(struct execs *x, int dir, const char *path, uint64_t id)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED };
	AUTO_FD int fd = path[0] ? (int)syscall(SYS_openat2, dir, path, &how, sizeof(how)) : dup(dir);
	pid_t pid;

	if (fd >= 0)
		return judge(x, fd);
	/* EINVAL: before Linux 5.12 */
	if (errno != EAGAIN && errno != EINVAL)
		return 0;
	pid = fork();
	if (!pid)
		look_for(x, dir, path, id);
	if (pid < 0)
		log_warn("whether %s is a set-user-id program can't be looked at: %s", path, strerror(errno));
	return pid < 0 ? -EAGAIN : EXECS_LATER;
}

bool execs_next(struct execs *x, uint64_t *id, int *value)
{
	struct answer a;

	if (sock_recv(x->to_us, &a, sizeof(a), NULL, NULL, 0) != sizeof(a))
		return false;
	*id = a.id;
	*value = a.value;
	return true;
}

/* SPDX-License-Identifier: MIT */
/*
 * look_locks.c - What a program consists of, from outside: its locks on local files
 *
 * /proc/locks (proc(5)) names locks by pid and inode.  POSIX locks belong to the process, flock(2)
 * ones to an open file description.  Leases and OFD locks are refused: the former can't be had
 * again, the latter don't say whose they are.
 */
#include "proxy/origin/look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/scope.h"
#include "proxy/trace/procfs.h"

struct lock_line {
	char kind[16], access[16];
	int pid;
	unsigned major_no, minor_no;
	uint64_t inode, start, end;
};

static bool parse(const char *line, struct lock_line *x)
{
	char mandatory[16], end[32];

	if (strstr(line, "->"))		/* somebody who waits */
		return false;
	if (sscanf(line, "%*d: %15s %15s %15s %d %x:%x:%" SCNu64 " %" SCNu64 " %31s", x->kind, mandatory, x->access,
		   &x->pid, &x->major_no, &x->minor_no, &x->inode, &x->start, end) != 9)
		return false;
	x->end = strcmp(end, "EOF") ? strtoull(end, NULL, 10) : UINT64_MAX;
	return true;
}

/* A descriptor of the program on that inode: its index in fds, or -1 */
static int64_t fd_on(struct look *l, const struct lock_line *x)
{
	for (size_t i = 0; i < l->img->n_fds; i++) {
		const struct image_open *o = &l->img->opens[l->img->fds[i].open];
		char path[64];
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)l->pid, (int)l->img->fds[i].fd);
		/* those that a moved program has at the origin only its keeper knows */
		if ((o->kind == OPEN_FILE || (o->kind == OPEN_ORIGIN && !l->moved)) && !stat(path, &st) && st.st_ino == x->inode)
			return (int64_t)i;
	}
	return -1;
}

static int add_lock(struct look *l, const struct lock_line *x, struct err *e)
{
	int64_t fd = fd_on(l, x);
	struct image_lock *k;

	if (fd < 0)
		return 0;
	if (strcmp(x->kind, "POSIX") && strcmp(x->kind, "FLOCK")) {
		reasons_add(l->why, REASON_LEASE, NULL, "the program holds a lease or an open file description lock on %s",
			    l->img->opens[l->img->fds[fd].open].path);
		return 0;
	}
	k = image_add(l->img, locks);
	if (!k)
		return err_set(e, -ENOMEM, "list the locks");
	k->fd = l->img->fds[fd].fd;
	k->open = l->img->fds[fd].open;
	k->posix = !strcmp(x->kind, "POSIX");
	k->exclusive = !strcmp(x->access, "WRITE");
	k->start = x->start;
	k->length = x->end == UINT64_MAX ? 0 : x->end - x->start + 1;
	return 0;
}

int look_locks(struct look *l, struct err *e)
{
	AUTO_FILE FILE *f = fopen("/proc/locks", "re");
	char line[256];
	int rc = 0;

	if (!f)
		return err_set(e, -errno, "read /proc/locks");
	while (!rc && fgets(line, sizeof(line), f)) {
		struct lock_line x;

		if (parse(line, &x) && (x.pid == l->pid || (x.pid == -1 && !strcmp(x.kind, "OFDLCK"))))
			rc = add_lock(l, &x, e);
	}
	return rc;
}

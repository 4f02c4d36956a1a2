/* SPDX-License-Identifier: MIT */
/*
 * pipes.c - Capacity and content of a frozen program's pipes
 */
#include "proxy/origin/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/scope.h"

/* What lies in a pipe, without taking it out: tee(2) through a second open file description */
static int peek(pid_t pid, int fd, struct image_pipe *p, bool content, struct err *e)
{
	AUTO_FD int in = -1;
	AUTO_FREE uint8_t *buf = NULL;
	int scratch[2], queued = 0, rc = 0;
	char path[48];
	ssize_t n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
	in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (in < 0 && !content)
		return 0;	/* another user made it: its capacity isn't ours to know */
	if (in < 0 || ioctl(in, FIONREAD, &queued))
		return err_set(e, -errno, "look into a pipe of the program");
	p->capacity = (uint64_t)fcntl(in, F_GETPIPE_SZ);
	if (!queued || !content)
		return 0;
	if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK))
		return err_set(e, -errno, "look into a pipe of the program");
	(void)fcntl(scratch[1], F_SETPIPE_SZ, (int)p->capacity);
	buf = malloc((size_t)queued);
	n = buf ? tee(in, scratch[1], (size_t)queued, SPLICE_F_NONBLOCK) : -1;
	if (n == queued)
		n = read(scratch[0], buf, (size_t)queued);
	if (n == queued)
		rc = image_set_bytes(&p->content, buf, (size_t)n);
	else
		rc = -EIO;
	close(scratch[0]);
	close(scratch[1]);
	return rc ? err_set(e, rc, "look into a pipe of the program") : 0;
}

int pipes_keep(pid_t pid, struct image *img, bool moved, struct err *e)
{
	for (size_t i = 0; i < img->n_fds; i++) {
		const struct image_open *o = &img->opens[img->fds[i].open];
		struct image_pipe *p;
		bool reads = (o->flags & O_ACCMODE) == O_RDONLY;
		int rc;

		if ((o->kind != OPEN_PIPE && o->kind != OPEN_TWIN) || o->file < 0)
			continue;
		p = &img->pipes[o->file];
		if (p->capacity)
			continue;
		rc = peek(pid, (int)img->fds[i].fd, p, o->kind == OPEN_PIPE || (moved && !reads), e);
		if (rc)
			return rc;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * handles.c - What a deputy holds open for its program
 *
 * A handle is an id that both machines know and the descriptors that it has in this deputy.  A fork
 * copies descriptors and handles alike, so an id means the same in all deputies of a program.
 *
 * The program's descriptors share their open file description with whoever else has it, a shell
 * for one: O_NONBLOCK isn't ours to set.  So a handle that is read from is opened once more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/deputy/deputy.h"

struct handle *handle_find(struct handles *h, uint32_t id)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->list[i].id == id)
			return &h->list[i];
	return NULL;
}

/* Return: 0, -ENOSPC when it has too many numbers, -ENOMEM.  @fd is the handle's then */
int handle_add(struct handles *h, uint32_t id, int fd)
{
	struct handle *one = handle_find(h, id), *more;

	if (one && one->n == HANDLE_MOST_FDS)
		return -ENOSPC;
	if (!one) {
		more = realloc(h->list, (h->n + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		h->list = more;
		one = &more[h->n++];
		*one = (struct handle){ .id = id, .own = -1 };
	}
	one->fds[one->n++] = fd;
	return 0;
}

void handle_drop(struct handles *h, uint32_t id)
{
	struct handle *one = handle_find(h, id);

	if (!one)
		return;
	while (one->n > 0)
		close(one->fds[--one->n]);
	if (one->own >= 0)
		close(one->own);
	*one = h->list[--h->n];
}

int handle_own(struct handle *h)
{
	char path[40];
	int mode;

	if (h->own == -1) {
		mode = fcntl(h->fds[0], F_GETFL);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", h->fds[0]);
		h->own = mode < 0 ? -1 : open(path, (mode & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		h->own = h->own < 0 ? -2 : deputy_above_standard(h->own);
	}
	return h->own < 0 ? -EACCES : h->own;
}

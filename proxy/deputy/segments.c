/* SPDX-License-Identifier: MIT */
/*
 * segments.c - System V shared memory of a program that is away: the hub keeps its segments attached
 *
 * What the program has over there, it has here too, under the same number: so a segment that is marked for
 * removal isn't lost, and one that is made there can come home.  What the hub doesn't hold isn't
 * the program's, and nobody may ask for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "proxy/deputy/deputy.h"

#define HUGE_PAGES (SHM_HUGETLB | (int)(0x3fu << 26))	/* shmget(2): the size of its pages is in the flags, too */

static struct segment *segment_of(struct segments *s, int id)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->list[i].id == id)
			return &s->list[i];
	return NULL;
}

static int hold_segment(struct segments *s, int id)
{
	struct segment *more = segment_of(s, id);
	void *at;

	if (more)
		return 0;
	more = realloc(s->list, (s->n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	s->list = more;
	at = shmat(id, NULL, SHM_RDONLY);
	if (at == (void *)-1)
		return -errno;
	more[s->n++] = (struct segment){ id, at };
	return 0;
}

static void drop_all(struct segments *s)
{
	while (s->n)
		shmdt(s->list[--s->n].at);
	free(take_ptr(s->list));
}

int segments_take(struct segments *s, const struct wire_hub_segments *m)
{
	struct bytes b = bytes_of(m->ids.p, m->ids.len);
	int rc = 0;

	if (!m->what)
		drop_all(s);
	while (m->what && bytes_left(&b) && !b.bad && !rc) {
		int id = (int)bytes_get_le(&b, 4);

		rc = m->what == 1 ? hold_segment(s, id) : segment_of(s, id) ? 0 : -ENOENT;
	}
	return rc ? rc : b.bad ? -EBADMSG : 0;
}

/* In the deputy of the process that makes it: it is known as its own.  A key that is taken is somebody's who stayed */
int64_t segments_make(key_t key, size_t size, int flags)
{
	int id;

	if (key != IPC_PRIVATE && (shmget(key, 0, 0) >= 0 || errno != ENOENT))
		return -ENOSYS;
	if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
		return -ENOENT;
	id = shmget(key, size, (flags & ~HUGE_PAGES) | IPC_CREAT | IPC_EXCL);
	return id >= 0 ? id : errno == EEXIST ? -ENOSYS : -errno;
}

/* The program removed one: it is ours alone from here on */
int64_t segments_remove(struct segments *s, int id)
{
	if (!segment_of(s, id))
		return -EINVAL;
	return shmctl(id, IPC_RMID, NULL) ? -errno : 0;
}

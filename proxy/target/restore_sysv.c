/* SPDX-License-Identifier: MIT */
/*
 * restore_sysv.c - System V shared memory: made again under its number, filled, attached by the body itself
 *
 * At a target each segment is made in the program's IPC namespace.  At home it is still there: the hub
 * holds it (proxy/deputy/segments.c).  Its pages arrive as the first process's memory, if that may write to all
 * of it, or else in a memfd, as those of other shared memory do: whoever receives them is in another IPC namespace.
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/trace/procfs.h"
#include "proxy/trace/sysv.h"

#define PAGE 4096ULL
#define CHUNK (16u << 20)	/* copied before its source is freed */
#define MODE 0777

static uint64_t size_of(const struct image_object *o)
{
	return (o->size + PAGE - 1) & ~(PAGE - 1);
}

/* What is in it is older than what comes, and pages of zeros don't travel */
static int empty(const struct image_object *o, struct err *e)
{
	void *at = shmat((int)o->inode, NULL, 0);
	int rc;

	if (at == (void *)-1)
		return err_set(e, -errno, "attach the System V shared memory segment %d", (int)o->inode);
	rc = madvise(at, size_of(o), MADV_REMOVE) ? -errno : 0;
	if (shmdt(at))
		rc = rc ? rc : -errno;
	return rc ? err_set(e, rc, "empty the System V shared memory segment %d", (int)o->inode) : 0;
}

static int find_at_home(const struct image_object *o, struct err *e)
{
	struct shmid_ds ds;

	if (shmctl((int)o->inode, IPC_STAT, &ds))
		return err_set(e, -errno, "find the System V shared memory segment %d at home", (int)o->inode);
	if (ds.shm_segsz != o->size)
		return err_say(e, -ESTALE, "the System V shared memory segment %d has %zu bytes at home, not %llu",
			       (int)o->inode, ds.shm_segsz, (unsigned long long)o->size);
	return empty(o, e);
}

int restore_segment(const struct restore *s, const struct image_object *o, struct err *e)
{
	int rc;

	if (o->inode > INT32_MAX || !o->size || o->size > INT64_MAX - PAGE)
		return err_say(e, -EINVAL, "the image has a System V shared memory segment that makes no sense");
	if (s->home)
		return find_at_home(o, e);
	rc = sysv_make((int)o->inode, (int32_t)o->key, o->size, (int)o->mode & MODE);
	return rc ? err_set(e, rc, "make the System V shared memory segment %d (key %#x) again", (int)o->inode,
			    (unsigned)o->key)
		  : 0;
}

/* ---- attached -------------------------------------------------------------------------------------- */

/* Areas of one attachment begin where it would begin as a whole */
static bool is_same(const struct image_vma *a, const struct image_vma *b)
{
	return b->kind == VMA_OBJECT && a->file == b->file && a->start - a->offset == b->start - b->offset;
}

static bool is_first(const struct image *img, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (is_same(&img->vmas[i], &img->vmas[k]))
			return false;
	return true;
}

/* Is all of it mapped, so that it can be attached where it was? */
static bool is_complete(const struct image *img, size_t i)
{
	const struct image_vma *v = &img->vmas[i];
	uint64_t mapped = 0;

	for (size_t k = i; k < img->n_vmas; k++)
		if (is_same(v, &img->vmas[k]))
			mapped += img->vmas[k].end - img->vmas[k].start;
	return mapped == size_of(&img->objects[v->file]);
}

/* A part of it was unmapped: attached elsewhere, from where the areas go to their places, and the rest goes */
static int attach_parts(struct restore *s, size_t i, uint64_t flags, struct err *e)
{
	const struct image *img = s->img;
	const struct image_vma *v = &img->vmas[i];
	uint64_t len = size_of(&img->objects[v->file]), at = restore_hole(s, len, e), done = 0;
	int rc = at ? remote_do(&s->r, e, "attach a System V shared memory segment", SYS_shmat, img->objects[v->file].inode,
				at, flags)
		    : -ENOMEM;

	for (size_t k = i; k < img->n_vmas && !rc; k++) {
		const struct image_vma *w = &img->vmas[k];

		if (!is_same(v, w))
			continue;
		if (w->offset < done || w->offset + (w->end - w->start) > len)
			return err_say(e, -EINVAL, "the image's areas of a System V shared memory segment make no sense");
		if (w->offset > done)
			rc = remote_do(&s->r, e, "unmap a part of a segment", SYS_munmap, at + done, w->offset - done);
		done = w->offset + (w->end - w->start);
		if (!rc)
			rc = remote_do(&s->r, e, "place a part of a segment", SYS_mremap, at + w->offset, w->end - w->start,
				       w->end - w->start, MREMAP_MAYMOVE | MREMAP_FIXED, w->start);
	}
	if (!rc && done < len)
		rc = remote_do(&s->r, e, "unmap a part of a segment", SYS_munmap, at + done, len - done);
	return rc ? rc : remote_run(&s->r, e);
}

int restore_attach(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	int rc = 0;

	for (size_t i = 0; i < img->n_vmas && !rc; i++) {
		const struct image_vma *v = &img->vmas[i];
		uint64_t flags = v->vmflags & VMFLAG_MAYWRITE ? 0 : SHM_RDONLY;

		if (v->kind != VMA_OBJECT || !img->objects[v->file].sysv || !is_first(img, i))
			continue;
		if (is_complete(img, i))
			rc = remote_do(&s->r, e, "attach a System V shared memory segment", SYS_shmat, img->objects[v->file].inode,
				       v->start - v->offset, flags);
		else
			rc = attach_parts(s, i, flags, e);
	}
	return rc ? rc : remote_run(&s->r, e);
}

/* ---- its content ----------------------------------------------------------------------------------- */

/* Of the memfd's bytes from @at on, to where they are in the segment: freed there, so that none is there twice */
static int copy_run(int from, char *to, off_t at, off_t end)
{
	while (at < end) {
		ssize_t n = pread(from, to + at, MIN((size_t)(end - at), CHUNK), at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if (fallocate(from, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, n))
			return -errno;
		at += n;
	}
	return 0;
}

static int copy_content(int from, char *to, off_t len)
{
	off_t at = 0, end;
	int rc = 0;

	while (!rc && at < len) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		rc = copy_run(from, to, at, MIN(end, len));
		at = end;
	}
	return rc;
}

static int fill_segment(const struct image_object *o, int from, struct err *e)
{
	size_t len = size_of(o);
	char *to = shmat((int)o->inode, NULL, 0);
	int rc;

	if (to == (void *)-1)
		return err_set(e, -errno, "attach the System V shared memory segment %d", (int)o->inode);
	rc = copy_content(from, to, (off_t)len);
	if (shmdt(to))
		rc = rc ? rc : -errno;
	return rc ? err_set(e, rc, "fill the System V shared memory segment %d", (int)o->inode) : 0;
}

/* What it is besides.  Locked in memory: where that is allowed, as with mlock(2) */
static int settle_segment(const struct restore *s, const struct image_object *o, struct err *e)
{
	int id = (int)o->inode;
	struct shmid_ds ds;

	if (s->home && !shmctl(id, IPC_STAT, &ds) && (ds.shm_perm.mode & MODE) != (o->mode & MODE)) {
		ds.shm_perm.mode = (unsigned short)(o->mode & MODE);
		if (shmctl(id, IPC_SET, &ds))
			return err_set(e, -errno, "give the System V shared memory segment %d its mode", id);
	}
	if (o->mode & SHM_LOCKED)
		(void)shmctl(id, SHM_LOCK, NULL);
	if (o->mode & SHM_DEST && shmctl(id, IPC_RMID, NULL))
		return err_set(e, -errno, "mark the System V shared memory segment %d for removal", id);
	return 0;
}

static struct shared_object *shared(const struct restore *s, const struct image_object *o)
{
	for (size_t i = 0; i < s->shared->n_objects; i++)
		if (s->shared->objects[i].device == o->device && s->shared->objects[i].inode == o->inode)
			return &s->shared->objects[i];
	return NULL;
}

/* Once each; the areas of all processes are there by now: one that is marked for removal stays */
int restore_segments(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_objects && !rc; i++) {
		const struct image_object *o = &s->img->objects[i];
		struct shared_object *to = o->sysv ? shared(s, o) : NULL;

		if (!to || to->filled)
			continue;
		to->filled = true;
		rc = fill_segment(o, to->fd, e);
		if (!rc)
			rc = settle_segment(s, o, e);
	}
	return rc;
}

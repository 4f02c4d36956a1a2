/* SPDX-License-Identifier: MIT */
/*
 * files_locks.c - Locks that the program holds on the origin's files
 *
 * POSIX locks belong to processes, and all of the program's are this one here.  So each owner that the
 * target's kernel names has an open file description for a file, and open file description locks (fcntl(2)) on
 * it: they conflict with each other, and with the locks of the origin's processes.  The first owner has the
 * handle's own, so that its lease can stay; others one that is opened for the purpose.
 *
 * flock(2) belongs to the open file description already.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "proxy/deputy/files.h"

struct file_lock {
	struct file_lock *next;
	uint64_t owner;
	dev_t device;
	ino_t inode;
	int fd;				/* its own, for locks only, or the handle's */
	bool own;
};

static struct file_lock *find(struct files *f, uint64_t owner, const struct stat *st)
{
	for (struct file_lock *l = f->locks; l; l = l->next)
		if (l->owner == owner && l->inode == st->st_ino && l->device == st->st_dev)
			return l;
	return NULL;
}

/* A description of its own of what @fd is: for writing, if that may be */
static int open_again(int fd)
{
	char path[32];
	int flags = fcntl(fd, F_GETFL), again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return again >= 0 || flags < 0 ? again : open(path, (flags & O_ACCMODE) | O_CLOEXEC | O_NONBLOCK);
}

static bool is_used(const struct files *f, int fd)
{
	for (const struct file_lock *l = f->locks; l; l = l->next)
		if (l->fd == fd)
			return true;
	return false;
}

static struct file_lock *make(struct files *f, uint64_t owner, const struct file_open *o, const struct stat *st)
{
	struct file_lock *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	*l = (struct file_lock){ f->locks, owner, st->st_dev, st->st_ino, o->fd, false };
	if ((fcntl(o->fd, F_GETFL) & O_ACCMODE) != O_RDWR || is_used(f, o->fd)) {
		leases_give_way(f, st, true);
		l->fd = open_again(o->fd);
		l->own = true;
	}
	if (l->fd < 0) {
		free(l);
		return NULL;
	}
	return f->locks = l;
}

static struct flock lock_of(const struct wire_call *m)
{
	return (struct flock){ .l_type = (short)m->a2, .l_whence = SEEK_SET, .l_start = (off_t)m->a3, .l_len = (off_t)m->a4 };
}

/* The description for the owner's locks.  @made: it is made if need be.  Return: 0, and NULL without one, or a negative errno */
static int lock_for(struct files *f, const struct wire_call *m, bool made, struct file_lock **l)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);
	struct stat st;

	if (!o || fstat(o->fd, &st))
		return -EBADF;
	*l = find(f, m->a1, &st);
	if (*l || !made)
		return 0;
	*l = make(f, m->a1, o, &st);
	return *l ? 0 : -ENOLCK;
}

int64_t files_do_setlk(struct files *f, const struct wire_call *m)
{
	struct flock lock = lock_of(m);
	struct file_lock *l;
	int rc = lock_for(f, m, lock.l_type != F_UNLCK, &l);

	if (rc || !l)
		return rc;
	if (!fcntl(l->fd, F_OFD_SETLK, &lock))
		return 0;
	return (errno == EAGAIN || errno == EACCES) && m->a5 ? FILES_WAITS : -errno;
}

int64_t files_do_getlk(struct files *f, const struct wire_call *m)
{
	struct bytes b = bytes_of(f->out, 32);
	struct flock lock = lock_of(m);
	struct file_lock *l;
	int rc = lock_for(f, m, true, &l);

	if (rc)
		return rc;
	if (fcntl(l->fd, F_OFD_GETLK, &lock))
		return -errno;
	bytes_put_le(&b, (uint64_t)lock.l_type, 8);
	bytes_put_le(&b, (uint64_t)lock.l_start, 8);
	bytes_put_le(&b, (uint64_t)lock.l_len, 8);
	bytes_put_le(&b, lock.l_pid > 0 ? (uint64_t)lock.l_pid : 0, 8);
	f->out_len = 32;
	return 0;
}

int64_t files_do_flock(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);

	if (!o)
		return -EBADF;
	if (!flock(o->fd, ((int)m->a1 & (LOCK_SH | LOCK_EX | LOCK_UN)) | LOCK_NB))
		return 0;
	return errno == EWOULDBLOCK && !(m->a1 & LOCK_NB) ? FILES_WAITS : -errno;
}

static void drop(struct file_lock **at)
{
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	struct file_lock *l = *at;

	*at = l->next;
	if (l->own)
		close(l->fd);
	else
		(void)fcntl(l->fd, F_OFD_SETLK, &all);
	free(l);
}

/* The handle goes, and its description */
void files_forget_fd(struct files *f, int fd)
{
	for (struct file_lock **at = &f->locks; *at;)
		if ((*at)->fd == fd)
			drop(at);
		else
			at = &(*at)->next;
}

int64_t files_do_flush(struct files *f, const struct wire_call *m)
{
	struct file_open *o = f->locks ? open_find(&f->nodes, (uint32_t)m->a0) : NULL;
	struct stat st;

	if (!o || fstat(o->fd, &st))
		return 0;
	for (struct file_lock **at = &f->locks; *at;)
		if ((*at)->owner == m->a1 && (*at)->inode == st.st_ino && (*at)->device == st.st_dev)
			drop(at);
		else
			at = &(*at)->next;
	return 0;
}

/* Those of a keeper that is no more: its program takes them again when it comes to stand elsewhere */
void files_forget_locks(struct files *f)
{
	while (f->locks)
		drop(&f->locks);
}

/* SPDX-License-Identifier: MIT */
/*
 * restore_fds.c - The descriptors: made here in plain C, one row a kind, then passed into the body
 *
 * An epoll set's members are added by the body itself: a signalfd's readiness belongs to who asks.
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"

#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif
#ifndef INOTIFY_IOC_SETNEXTWD
#define INOTIFY_IOC_SETNEXTWD _IOW('I', 0, int32_t)
#endif

#define CREATION_FLAGS (O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW)

struct making {
	struct restore *s;
	const struct image_open *o;
};

/* ---- what a tree shares -------------------------------------------------------------------------------- */

static struct shared_pipe *shared_pipe(struct restore_shared *s, uint64_t inode)
{
	struct shared_pipe *more;

	for (size_t i = 0; i < s->n_pipes; i++)
		if (s->pipes[i].inode == inode)
			return &s->pipes[i];
	more = realloc(s->pipes, (s->n_pipes + 1) * sizeof(*more));
	if (!more)
		return NULL;
	s->pipes = more;
	more[s->n_pipes] = (struct shared_pipe){ .inode = inode, .fd = { -1, -1 } };
	return &more[s->n_pipes++];
}

/* A duplicate of what an earlier process of the tree has, or -1 */
static int shared_open(const struct restore_shared *s, int64_t id)
{
	for (size_t i = 0; i < s->n_opens && id; i++)
		if (s->opens[i].id == id)
			return fcntl(s->opens[i].fd, F_DUPFD_CLOEXEC, 0);
	return -1;
}

static int share_open(struct restore_shared *s, int64_t id, int fd)
{
	struct shared_open *more = realloc(s->opens, (s->n_opens + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	s->opens = more;
	more[s->n_opens] = (struct shared_open){ id, fcntl(fd, F_DUPFD_CLOEXEC, 0) };
	return more[s->n_opens++].fd < 0 ? -errno : 0;
}

/* Who has a descriptor of it knows its size; else it is as large as the largest part that somebody maps */
static int fit_object(struct shared_object *shared, int fd, const struct image_object *o, bool exact)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (!exact && (shared->exact || st.st_size >= (off_t)o->size))
		return 0;
	shared->exact |= exact;
	return ftruncate(fd, (off_t)o->size) ? -errno : 0;
}

/* A System V segment's memfd is where its pages arrive */
static int make_object(struct restore *r, const struct image_object *o, struct err *e)
{
	struct restore_shared *s = r->shared;
	struct shared_object *more;
	bool exact = image_has_descriptor(r->img, (size_t)(o - r->img->objects));
	AUTO_FD int fd = -1;
	int rc;

	for (size_t i = 0; i < s->n_objects; i++)
		if (s->objects[i].inode == o->inode && s->objects[i].device == o->device) {
			fd = fcntl(s->objects[i].fd, F_DUPFD_CLOEXEC, 0);
			if (fd >= 0 && fit_object(&s->objects[i], fd, o, exact))
				return err_set(e, -errno, "share memory");
			return fd < 0 ? err_set(e, -errno, "share memory") : take_fd(&fd);
		}
	rc = o->sysv ? restore_segment(r, o, e) : 0;
	if (rc)
		return rc;
	fd = memfd_create(o->name ? o->name : "shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)o->size))
		return err_set(e, -errno, "make shared memory");
	more = realloc(s->objects, (s->n_objects + 1) * sizeof(*more));
	if (!more)
		return err_set(e, -ENOMEM, "make shared memory");
	s->objects = more;
	more[s->n_objects++] = (struct shared_object){ .device = o->device, .inode = o->inode, .exact = exact,
						       .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0) };
	return take_fd(&fd);
}

void restore_forget_shared(struct restore_shared *s)
{
	for (size_t i = 0; i < s->n_opens; i++)
		close(s->opens[i].fd);
	for (size_t i = 0; i < s->n_objects; i++)
		close(s->objects[i].fd);
	for (size_t i = 0; i < s->n_pipes; i++)
		for (int k = 0; k < 2; k++)
			if (s->pipes[i].fd[k] >= 0)
				close(s->pipes[i].fd[k]);
	free(s->opens);
	free(s->objects);
	free(s->pipes);
	*s = (struct restore_shared){ 0 };
}

/* ---- one function a kind: returns a descriptor with O_CLOEXEC -------------------------------------- */

static int make_file(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	const struct image_file *f;
	AUTO_FD int fd = -1;

	if (o->file < 0 || (size_t)o->file >= m->s->img->n_files)
		return err_say(e, -EINVAL, "the image names a file that it doesn't have");
	f = &m->s->img->files[o->file];
	fd = open(f->path, (int)(o->flags & ~(uint64_t)CREATION_FLAGS) | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "open %s", f->path);
	if (o->position && !(o->flags & O_PATH) && lseek(fd, (off_t)o->position, SEEK_SET) < 0 && errno != ESPIPE)
		return err_set(e, -errno, "seek in %s", f->path);
	return take_fd(&fd);
}

static int again(int fd, uint64_t flags, struct err *e)
{
	char path[32];
	int other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, (int)(flags & ~(uint64_t)CREATION_FLAGS) | O_CLOEXEC);
	return other < 0 ? err_set(e, -errno, "open a descriptor once more") : other;
}

static int make_pipe(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	const struct image_pipe *p;
	struct shared_pipe *ends;
	int end, fd;

	if (o->file < 0 || (size_t)o->file >= m->s->img->n_pipes)
		return err_say(e, -EINVAL, "the image names a pipe that it doesn't have");
	p = &m->s->img->pipes[o->file];
	ends = shared_pipe(m->s->shared, p->inode);
	if (!ends)
		return err_set(e, -ENOMEM, "make a pipe");
	if (ends->fd[0] < 0) {
		if (pipe2(ends->fd, O_CLOEXEC | O_NONBLOCK))
			return err_set(e, -errno, "make a pipe");
		if (p->capacity)
			(void)fcntl(ends->fd[1], F_SETPIPE_SZ, (int)p->capacity);
		if (p->content.len &&
		    write(ends->fd[1], p->content.p, p->content.len) != (ssize_t)p->content.len)
			return err_set(e, -EIO, "fill a pipe");
	}
	end = (o->flags & O_ACCMODE) == O_WRONLY;
	if ((o->flags & O_ACCMODE) == O_RDWR || ends->given[end])
		return again(ends->fd[0], o->flags, e);
	/* the first description of each end is the one that pipe2 made */
	ends->given[end] = true;
	if (fcntl(ends->fd[end], F_SETFL, (int)(o->flags & (O_NONBLOCK | O_APPEND))))
		return err_set(e, -errno, "set a pipe's flags");
	fd = fcntl(ends->fd[end], F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? err_set(e, -errno, "make a pipe") : fd;
}

static int make_twin(struct making *m, struct err *e)
{
	return m->s->make_twin(m->s->ctx, m->o, e);
}

/* Its position is the description's: at home that of whoever else has it, too */
static int make_origin(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	AUTO_FD int fd = m->s->make_twin(m->s->ctx, o, e);

	if (fd >= 0 && !(o->flags & O_PATH) && lseek(fd, (off_t)o->position, SEEK_SET) < 0 && errno != ESPIPE)
		return err_set(e, -errno, "seek in %s", o->path ? o->path : "?");
	return take_fd(&fd);
}

static int make_eventfd(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	AUTO_FD int fd = eventfd(0, EFD_CLOEXEC | (o->settime ? EFD_SEMAPHORE : 0) |
					    ((o->flags & O_NONBLOCK) ? EFD_NONBLOCK : 0));
	uint64_t count = o->count;

	if (fd < 0 || (count && write(fd, &count, sizeof(count)) < 0))
		return err_set(e, -errno, "make an eventfd");
	return take_fd(&fd);
}

static int make_timerfd(struct making *m, struct err *e)
{
	int fd = timerfd_create((int)m->o->clock, TFD_CLOEXEC | ((m->o->flags & O_NONBLOCK) ? TFD_NONBLOCK : 0));

	return fd < 0 ? err_set(e, -errno, "make a timerfd") : fd;
}

static int make_signalfd(struct making *m, struct err *e)
{
	uint64_t mask = m->o->mask;
	int fd = (int)syscall(SYS_signalfd4, -1, &mask, sizeof(mask),
			      SFD_CLOEXEC | ((m->o->flags & O_NONBLOCK) ? SFD_NONBLOCK : 0));

	return fd < 0 ? err_set(e, -errno, "make a signalfd") : fd;
}

static int make_epoll(struct making *m UNUSED, struct err *e)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? err_set(e, -errno, "make an epoll set") : fd;
}

static int make_memfd(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	AUTO_FD int fd = -1;

	if (o->file < 0 || (size_t)o->file >= m->s->img->n_objects)
		return err_say(e, -EINVAL, "the image names a memfd that it doesn't have");
	fd = again(m->s->objects[o->file], o->flags, e);
	if (fd < 0)
		return fd;
	if (lseek(fd, (off_t)o->position, SEEK_SET) < 0)
		return err_set(e, -errno, "seek in a memfd");
	return take_fd(&fd);
}

static int make_inotify(struct making *m, struct err *e)
{
	const struct image_open *o = m->o;
	AUTO_FD int fd = inotify_init1(IN_CLOEXEC | ((o->flags & O_NONBLOCK) ? IN_NONBLOCK : 0));

	if (fd < 0)
		return err_set(e, -errno, "make an inotify descriptor");
	for (size_t i = 0; i < o->n_watches; i++) {
		const struct image_watch *w = &o->watches[i];
		int wd;

		/* CONFIG_CHECKPOINT_RESTORE; without it the numbers come right only if none was removed */
		(void)ioctl(fd, INOTIFY_IOC_SETNEXTWD, w->descriptor);
		wd = inotify_add_watch(fd, w->path ? w->path : "", (uint32_t)w->mask);
		if (wd < 0)
			return err_set(e, -errno, "watch %s", w->path ? w->path : "?");
		if (wd != w->descriptor)
			return err_say(e, -EBUSY, "watch descriptor %d became %d", (int)w->descriptor, wd);
	}
	return take_fd(&fd);
}

static int (*const makers[])(struct making *m, struct err *e) = {
	[OPEN_FILE] = make_file,	 [OPEN_PIPE] = make_pipe,	[OPEN_TWIN] = make_twin,
	[OPEN_EVENTFD] = make_eventfd,	 [OPEN_TIMERFD] = make_timerfd, [OPEN_SIGNALFD] = make_signalfd,
	[OPEN_EPOLL] = make_epoll,	 [OPEN_MEMFD] = make_memfd,	[OPEN_INOTIFY] = make_inotify,
	[OPEN_PULLED] = make_twin,	 [OPEN_ORIGIN] = make_origin,
};

/* ---- all of them ------------------------------------------------------------------------------------ */

/* Memory objects and mapped files: needed before the fill */
int restore_open_all(struct restore *s, struct err *e)
{
	const struct image *img = s->img;

	s->files = calloc(img->n_files + 1, sizeof(int));
	s->objects = calloc(img->n_objects + 1, sizeof(int));
	s->opens = calloc(img->n_opens + 1, sizeof(int));
	if (!s->files || !s->objects || !s->opens)
		return err_set(e, -ENOMEM, "open the program's files");
	memset(s->files, -1, (img->n_files + 1) * sizeof(int));
	memset(s->objects, -1, (img->n_objects + 1) * sizeof(int));
	memset(s->opens, -1, (img->n_opens + 1) * sizeof(int));
	for (size_t i = 0; i < img->n_fds; i++)
		if (img->fds[i].fd < 0 || img->fds[i].fd > (1 << 20) || img->fds[i].open < 0 ||
		    (size_t)img->fds[i].open >= img->n_opens)
			return err_say(e, -EINVAL, "the image's descriptors make no sense");
		else
			s->base = MAX(s->base, (int)img->fds[i].fd + 1 + RESTORE_FDS);
	s->base = MAX(s->base, RESTORE_FDS);	/* what arrives takes the lowest numbers, a message at a time */
	for (size_t i = 0; i < img->n_files; i++) {
		const struct image_file *f = &img->files[i];

		if (!f->mapped || f->ship)
			continue;
		s->files[i] = open(f->path ? f->path : "", (f->written ? O_RDWR : O_RDONLY) | O_CLOEXEC);
		if (s->files[i] < 0)
			return err_set(e, -errno, "open %s", f->path ? f->path : "?");
	}
	for (size_t i = 0; i < img->n_objects; i++) {
		const struct image_object *o = &img->objects[i];

		s->objects[i] = make_object(s, o, e);
		if (s->objects[i] < 0)
			return s->objects[i];
	}
	return 0;
}

/**
 * restore_give() - Pass descriptors into the body; the k-th becomes number base + k there, CLOEXEC
 *
 * Return: 0 or a negative errno
 */
int restore_give(struct restore *s, const int *fds, int n, struct err *e)
{
	/* the layout of recvmsg's arguments in the body's room */
	struct {
		struct msghdr m;
		struct iovec v;
		char byte[16];
		char control[CMSG_SPACE(RESTORE_FDS * sizeof(int))];
	} in;

	for (int done = 0; done < n;) {
		int now = MIN(n - done, RESTORE_FDS), got[RESTORE_FDS], rc;
		uint64_t at;
		int64_t len;

		rc = sock_send(s->sock, "f", 1, fds + done, now, deadline_in_ms(5000));
		if (rc)
			return err_set(e, rc, "pass descriptors to the process");
		memset(&in, 0, sizeof(in));
		at = remote_put(&s->r, &in, sizeof(in));
		if (!at)
			return err_say(e, -ENOMEM, "pass descriptors to the process");
		in.m.msg_iov = (void *)(uintptr_t)(at + offsetof(__typeof__(in), v));
		in.m.msg_iovlen = 1;
		in.m.msg_control = (void *)(uintptr_t)(at + offsetof(__typeof__(in), control));
		in.m.msg_controllen = CMSG_SPACE((size_t)now * sizeof(int));
		in.v.iov_base = (void *)(uintptr_t)(at + offsetof(__typeof__(in), byte));
		in.v.iov_len = 1;
		rc = remote_write(&s->r, at, &in, sizeof(in));
		if (!rc)
			rc = remote_call(&s->r, &len, e, "receive descriptors", SYS_recvmsg, (uint64_t)s->body_sock, at,
					 MSG_CMSG_CLOEXEC);
		if (!rc)
			rc = remote_read(&s->r, at + offsetof(__typeof__(in), control) + CMSG_LEN(0), got,
					 (size_t)now * sizeof(int));
		for (int k = 0; k < now && !rc; k++) {
			rc = remote_do(&s->r, e, "place a descriptor", SYS_dup3, (uint64_t)got[k],
				       (uint64_t)(s->base + done + k), O_CLOEXEC);
			if (!rc)
				rc = remote_do(&s->r, e, "place a descriptor", SYS_close, (uint64_t)got[k]);
		}
		if (!rc)
			rc = remote_run(&s->r, e);
		if (rc)
			return err_set(e, rc, "pass descriptors to the process");
		done += now;
	}
	return 0;
}

static int place_members(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_fds && !rc; i++) {
		const struct image_open *o = &s->img->opens[s->img->fds[i].open];

		if (o->kind != OPEN_EPOLL)
			continue;
		for (size_t k = 0; k < o->n_members && !rc; k++) {
			struct epoll_event ev = { .events = (uint32_t)o->members[k].events,
						  .data.u64 = o->members[k].data };
			uint64_t at = remote_put(&s->r, &ev, sizeof(ev));

			if (!at) {
				rc = remote_run(&s->r, e);
				at = remote_put(&s->r, &ev, sizeof(ev));
			}
			/* a dup of the set has them already (EEXIST), a member whose number was reused isn't
			 * known to the kernel by that number any more: neither is a failure */
			if (!rc)
				rc = remote_do(&s->r, e, NULL, SYS_epoll_ctl, (uint64_t)s->img->fds[i].fd, EPOLL_CTL_ADD,
					       (uint64_t)o->members[k].fd, at);
		}
	}
	return rc ? rc : remote_run(&s->r, e);
}

/* What the deputy holds, out of the way: it needn't be at its number, and another may be there */
static int lift_stays(struct restore *s, int *slot, int *n, struct err *e)
{
	const struct image *img = s->img;
	int rc = 0;

	for (size_t i = 0; i < img->n_opens && !rc; i++) {
		int from = -1;

		if (img->opens[i].kind != OPEN_TWIN && img->opens[i].kind != OPEN_PULLED)
			continue;
		for (size_t k = 0; k < s->n_stays; k++)
			if (s->stays[k].id == img->opens[i].stream)
				from = s->stays[k].fd;
		if (from < 0)
			return err_say(e, -EBADF, "what descriptor %s of process %d stands for isn't held by its deputy",
				       img->opens[i].path ? img->opens[i].path : "?", (int)s->pid);
		slot[i] = s->base + (*n)++;
		rc = remote_do(&s->r, e, "keep a descriptor", SYS_dup3, (uint64_t)from, (uint64_t)slot[i], O_CLOEXEC);
	}
	for (size_t k = 0; k < s->n_stays && !rc; k++)
		rc = remote_do(&s->r, e, NULL, SYS_close, (uint64_t)s->stays[k].fd);
	return rc ? rc : remote_run(&s->r, e);
}

/* From their passing numbers to their own; a description with two numbers is duplicated */
static int place_all(struct restore *s, const int *slot, int given, struct err *e)
{
	const struct image *img = s->img;
	int rc = 0;

	for (size_t i = 0; i < img->n_fds && !rc; i++) {
		const struct image_fd *f = &img->fds[i];

		rc = remote_do(&s->r, e, "place a descriptor", SYS_dup3, (uint64_t)slot[f->open], (uint64_t)f->fd,
			       f->cloexec ? O_CLOEXEC : 0);
	}
	for (int k = 0; k < given && !rc; k++)
		rc = remote_do(&s->r, e, "place a descriptor", SYS_close, (uint64_t)(s->base + k));
	return rc ? rc : remote_run(&s->r, e);
}

/* Their pages came as whole ones.  Another process of the tree may have sealed one already, for ever (F_SEAL_SEAL) */
static int finish_object(int fd, const struct image_object *o, bool exact)
{
	int sealed = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (exact && !fstat(fd, &st) && st.st_size != (off_t)o->size && ftruncate(fd, (off_t)o->size))
		return -errno;
	return o->seals > 0 && (o->seals & ~sealed) && fcntl(fd, F_ADD_SEALS, (int)o->seals) ? -errno : 0;
}

static int finish_objects(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_objects && !rc; i++) {
		const struct image_object *o = &s->img->objects[i];

		if (o->memfd)
			rc = finish_object(s->objects[i], o, image_has_descriptor(s->img, i));
	}
	return rc ? err_set(e, rc, "finish a memfd") : 0;
}

int restore_descriptors(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	AUTO_FREE int *slot = calloc(img->n_opens + 1, sizeof(int));
	AUTO_FREE int *fds = calloc(img->n_opens + 1, sizeof(int));
	struct making m = { .s = s };
	int n = 0, rc = 0;

	if (!slot || !fds)
		return err_set(e, -ENOMEM, "make the descriptors");
	for (size_t i = 0; i < img->n_opens && !rc; i++) {
		int64_t kind = img->opens[i].kind;

		slot[i] = -1;
		if ((kind == OPEN_TWIN || kind == OPEN_PULLED) && s->home)
			continue;
		if (kind < 0 || (size_t)kind >= ARRAY_SIZE(makers) || !makers[kind]) {
			rc = err_say(e, -EINVAL, "the image has a descriptor of an unknown kind");
			break;
		}
		m.o = &img->opens[i];
		s->opens[i] = shared_open(s->shared, m.o->shared);
		if (s->opens[i] < 0) {
			s->opens[i] = makers[kind](&m, e);
			rc = s->opens[i] < 0 ? s->opens[i] : m.o->shared ? share_open(s->shared, m.o->shared, s->opens[i]) : 0;
		}
		slot[i] = s->base + n;
		fds[n++] = s->opens[i];
	}
	if (!rc)
		rc = restore_give(s, fds, n, e);
	if (!rc && s->home)
		rc = lift_stays(s, slot, &n, e);
	if (!rc)
		rc = place_all(s, slot, n, e);
	s->placed = !rc;
	if (!rc)
		rc = place_members(s, e);
	if (!rc)
		rc = finish_objects(s, e);
	return rc;
}

/* Timers of timerfds start when the program does */
int restore_timerfds(struct restore *s, struct err *e)
{
	for (size_t i = 0; i < s->img->n_opens; i++) {
		const struct image_open *o = &s->img->opens[i];
		struct itimerspec v = {
			.it_value = { o->value_ns / NS_PER_S, o->value_ns % NS_PER_S },
			.it_interval = { o->interval_ns / NS_PER_S, o->interval_ns % NS_PER_S },
		};
		uint64_t ticks = o->count;

		/* a periodic one that has expired starts anew only when it's read: it is due at once */
		if (ticks && !o->value_ns && o->interval_ns)
			v.it_value.tv_nsec = 1;
		if (o->kind != OPEN_TIMERFD || s->opens[i] < 0)
			continue;
		if (timerfd_settime(s->opens[i], 0, &v, NULL))
			return err_set(e, -errno, "start a timerfd");
		if (ticks && !v.it_value.tv_nsec && !v.it_value.tv_sec)
			(void)ioctl(s->opens[i], TFD_IOC_SET_TICKS, &ticks);
	}
	return 0;
}

/*
 * restore_locks() - Take the locks that the program held
 *
 * The origin's are gone since the deputy closed its local files, a moment ago.  Somebody may have
 * been quicker: that is said in the log, and the program runs on without, as after a lost lease.
 */
int restore_locks(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_locks && !rc; i++) {
		const struct image_lock *k = &s->img->locks[i];
		struct flock lock = { .l_type = k->exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET,
				      .l_start = (off_t)k->start, .l_len = (off_t)k->length };
		bool held = false;

		if (k->open < 0 || (size_t)k->open >= s->img->n_opens)
			return err_say(e, -EINVAL, "the image's locks make no sense");
		/* one of an open file of the origin's was never let go of */
		held = !k->posix && s->img->opens[k->open].kind == OPEN_ORIGIN;
		for (int tries = 0; tries < 100 && !held && !rc; tries++) {
			int64_t result = 0;

			if (tries)
				usleep(1000);
			if (k->posix) {		/* they belong to the process itself */
				uint64_t at = remote_put(&s->r, &lock, sizeof(lock));

				rc = remote_call(&s->r, &result, e, NULL, SYS_fcntl, (uint64_t)k->fd, F_SETLK, at);
				held = !result;
			} else {		/* to the open file description, which we share still */
				held = !flock(s->opens[k->open], (k->exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
			}
		}
		if (!rc && !held)
			log_line(LOG_LEVEL_ERR, "E_LOCK_LOST", "somebody took the program's lock on descriptor %d meanwhile",
				 (int)k->fd);
	}
	return rc;
}

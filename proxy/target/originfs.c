/* SPDX-License-Identifier: MIT */
/*
 * originfs.c - The file system that shows the origin's files and terminals to a moved program.  libfuse's door
 *
 * Before the program runs nobody can be asked at home: its files are opened and its directories are walked
 * by what the image says (struct known).  originfs_go() then tells the file server the numbers that those
 * got, and from there on it is asked for everything.
 *
 * A caller that a signal interrupts: FUSE can only say EINTR, where a terminal, or a lock, says ERESTARTSYS.
 * So the thread is stopped on its way out of the call, and its result replaced (originfs_put_in_order).
 */
#include "proxy/target/originfs_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/trace/tracee.h"

#define OPEN_MS 5000
#define FLUSH_MS 10000

/* ---- a caller that was interrupted ------------------------------------------------------------------ */

static bool is_waiting_call(uint64_t nr)
{
	static const long waiting[] = { SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_preadv2, SYS_pwritev2,
					       SYS_sendfile, SYS_splice, SYS_open, SYS_openat,
					SYS_openat2, SYS_creat, SYS_fcntl, SYS_flock };

	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++)
		if ((uint64_t)waiting[i] == nr)
			return true;
	return false;
}

void originfs_put_in_order(fuse_req_t req, pid_t tid)
{
	struct user_regs_struct r;
	int status;

	if (ptrace(PTRACE_SEIZE, tid, 0, 0)) {
		fuse_reply_err(req, EINTR);
		return;
	}
	fuse_reply_err(req, EINTR);
	if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) || tracee_wait(tid, &status, deadline_in_ms(1000)))
		return;
	if (!tracee_get_regs(tid, &r) && is_waiting_call(r.orig_rax) && (int64_t)r.rax == -EINTR) {
		r.rax = (uint64_t)-ERESTARTSYS;
		if (tracee_set_regs(tid, &r))
			log_warn("a call that was interrupted can't be put in order");
	}
	ptrace(PTRACE_DETACH, tid, 0, (void *)(intptr_t)(tracee_event(status) ? 0 : WSTOPSIG(status)));
}


/* ---- mounts ------------------------------------------------------------------------------------------ */

static bool add_mount(struct originfs *o, const struct originfs_mount *from)
{
	char name[] = "originfs", path[32], *argv[] = { name, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct mount *m = &o->mounts[o->n_mounts];
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = (uint32_t)o->n_mounts };
	bool pts = !strcmp(from->dir, ORIGINFS_PTS);
	int flags = fcntl(from->fd, F_GETFL);

	*m = (struct mount){ .o = o, .device = from->device, .root = pts ? 0 : o->next_known++, .dev = !strcmp(from->dir, "/dev") };
	snprintf(m->dir, sizeof(m->dir), "%s", from->dir);
	m->se = fuse_session_new(&args, pts ? &pulled_ops : &file_ops, sizeof(file_ops), m);
	snprintf(path, sizeof(path), "/dev/fd/%d", from->fd);
	if (!m->se)
		return false;
	o->n_mounts++;
	return flags >= 0 && !fcntl(from->fd, F_SETFL, flags | O_NONBLOCK) && !fuse_session_mount(m->se, path) &&
	       !epoll_ctl(o->epoll, EPOLL_CTL_ADD, fuse_session_fd(m->se), &ev);
}

static bool add_root(struct originfs *o, const struct mount *m)
{
	struct known *k = m->root ? calloc(1, sizeof(*k)) : NULL;

	if (!m->root)
		return true;
	if (k)
		k->path = strdup(m->dir);
	if (!k || !k->path) {
		free(k);
		return false;
	}
	k->id = m->root;
	k->st = (struct stat){ .st_mode = S_IFDIR | 0777, .st_nlink = 2 };
	files_show_ids(o, &k->st);
	k->lookups = 1;
	k->next = o->known;
	o->known = k;
	return true;
}

struct originfs *originfs_new(const struct originfs_mount *mounts, size_t n, bool one_user, struct asks *asks,
			      struct err *e)
{
	struct originfs *o = calloc(1, sizeof(*o));
	bool ok = o != NULL;

	if (o) {
		*o = (struct originfs){ .asks = asks, .one_user = one_user, .next = FIRST_FRESH, .next_known = FUSE_ROOT_ID + 1,
					.epoll = epoll_create1(EPOLL_CLOEXEC), .mounts = calloc(n, sizeof(*o->mounts)) };
		ok = o->mounts && o->epoll >= 0;
	}
	for (size_t i = 0; i < n && ok; i++)
		ok = add_mount(o, &mounts[i]) && add_root(o, &o->mounts[i]);
	if (ok)
		return o;
	err_say(e, -EIO, "the origin's file system can't be served");
	originfs_free(o);
	return NULL;
}

static void free_known(struct known *k)
{
	free(k->path);
	free(k);
}

void originfs_free(struct originfs *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->n_mounts; i++)
		fuse_session_destroy(o->mounts[i].se);
	pulled_free_all(o);
	cache_free(o);
	while (o->known) {
		struct known *k = o->known;

		o->known = k->next;
		free_known(k);
	}
	while (o->locks) {
		struct held_lock *l = o->locks;

		o->locks = l->next;
		free(l);
	}
	drop_fd(&o->epoll);
	free(o->mounts);
	free(o->buf.mem);
	free(o);
}

enum originfs_what originfs_is(const struct originfs *o, uint64_t device, uint64_t inode)
{
	for (size_t i = 0; o && i < o->n_mounts; i++)
		if (o->mounts[i].device == device)
			return inode >> 32 == PULLED_MARK ? ORIGINFS_PULLED : ORIGINFS_FILE;
	return ORIGINFS_NOT;
}

static const struct mount *mount_of_path(const struct originfs *o, const char *path)
{
	for (size_t i = 0; i < o->n_mounts; i++) {
		size_t len = strlen(o->mounts[i].dir);

		if (o->mounts[i].root && !strncmp(path, o->mounts[i].dir, len) && (path[len] == '/' || !path[len]))
			return &o->mounts[i];
	}
	return NULL;
}

bool originfs_has(const struct originfs *o, const char *path)
{
	const struct mount *m = mount_of_path(o, path);

	return m && !(m->dev && files_own_name(path + strlen(m->dir)));
}

bool originfs_near(const struct originfs *o, const char *start)
{
	return mount_of_path(o, start);
}

void originfs_show(const struct originfs *o, const char *path, struct stat *st)
{
	const struct mount *m = mount_of_path(o, path);

	/* of a stream fstat(2) is the deputy's answer, and the two must agree: ttyname(3) */
	if (m && !files_is_streamed(st->st_mode))
		st->st_dev = m->device;
	files_show_ids(o, st);
}

int originfs_fd(const struct originfs *o)
{
	return o ? o->epoll : -1;
}

void originfs_hear(struct originfs *o)
{
	for (size_t i = 0; o && i < o->n_mounts; i++)
		while (fuse_session_receive_buf(o->mounts[i].se, &o->buf) > 0)
			fuse_session_process_buf(o->mounts[i].se, &o->buf);
}

void originfs_leaving(struct originfs *o, bool leaving)
{
	if (o)
		o->leaving = leaving;
}

void originfs_tell_home(struct originfs *o, unsigned type, const void *p, ssize_t len)
{
	if (len < 0 || pump_tell(o->asks->pump, type, p, (size_t)len))
		log_warn("the origin couldn't be told %s", wire_name(type));
}

struct known *known_find(struct originfs *o, uint64_t id)
{
	for (struct known *k = o->known; k; k = k->next)
		if (k->id == id)
			return k;
	return NULL;
}

/* ---- the keeper's side --------------------------------------------------------------------------------- */

bool originfs_is_opener(fuse_req_t req)
{
	const struct originfs *o = of(req);

	return o->opener && fuse_req_ctx(req)->pid == o->opener;
}

/* In a child, because whoever opens waits for us */
static void NORETURN open_for(int sock, const char *path, int flags)
{
	int fd = open(path, flags | O_NOCTTY | O_CLOEXEC), code = fd < 0 ? errno : 0;

	_exit(sock_send(sock, &code, sizeof(code), &fd, fd >= 0, deadline_in_ms(OPEN_MS)) ? 1 : 0);
}

/* The name to open, here: of what is pulled it is one in /dev/pts, whatever its own is */
static int name_here(const struct originfs *o, const struct image_open *open, char *at, size_t size)
{
	const char *path = open->path ? open->path : "", *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;

	if (open->kind == OPEN_PULLED)
		return snprintf(at, size, "%s/%.*s", ORIGINFS_PTS, NAME_MOST - 1, *name ? name : "?") < 0 ? -EINVAL : 0;
	if (!mount_of_path(o, path))
		return -EACCES;
	return snprintf(at, size, "%s", path) >= (int)size ? -ENAMETOOLONG : 0;
}

int originfs_open(struct originfs *o, const struct image_open *open, struct err *e)
{
	const char *path = open->path ? open->path : "?";
	/* O_TMPFILE has O_DIRECTORY in it */
	int flags = (int)(open->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND | O_PATH)) |
		    (S_ISDIR((mode_t)open->mode) ? O_DIRECTORY : 0);
	char at[4096];
	int64_t deadline = deadline_in_ms(OPEN_MS);
	int sv[2], fd = -1, nfds = 1, code = EIO, rc = o ? name_here(o, open, at, sizeof(at)) : -ENODEV;
	ssize_t n = -EAGAIN;

	if (!rc)
		rc = sock_pair(sv, e);
	if (rc)
		return err_set(e, rc, "open %s", path);
	o->opening = open;
	o->next = MAX(o->next, (uint32_t)open->stream + 1);
	o->opener = fork();
	if (!o->opener) {
		close(sv[0]);
		open_for(sv[1], at, flags);
	}
	close(sv[1]);
	while (o->opener > 0 && n == -EAGAIN && clock_ns(CLOCK_MONOTONIC) < deadline) {
		struct pollfd p[] = { { .fd = sv[0], .events = POLLIN }, { .fd = o->epoll, .events = POLLIN } };

		if (poll(p, 2, deadline_left_ms(deadline)) < 0 && errno != EINTR)
			break;
		originfs_hear(o);
		nfds = 1;
		n = sock_recv(sv[0], &code, sizeof(code), &fd, &nfds, 0);
	}
	close(sv[0]);
	if (o->opener > 0 && n == -EAGAIN)
		kill(o->opener, SIGKILL);
	/* what it has is closed when it ends, and that asks us */
	while (o->opener > 0 && waitpid(o->opener, NULL, __WALL | WNOHANG) == 0) {
		poll(&(struct pollfd){ .fd = o->epoll, .events = POLLIN }, 1, 1);
		originfs_hear(o);
	}
	o->opener = 0;
	o->opening = NULL;
	if (n != sizeof(code) || code || nfds != 1)
		return err_set(e, n == sizeof(code) && code ? -code : -EIO, "open a twin of %s", path);
	return fd;
}

int originfs_go(struct originfs *o, struct err *e)
{
	int rc;

	if (!o || o->up)
		return 0;
	rc = files_bind(o);
	o->up = !rc;
	return rc ? err_set(e, rc, "tell the origin what the program has open") : 0;
}

/* ---- what asks us, and waits, must not be us ---------------------------------------------------------------- */

struct beside {
	void (*work)(void *arg);
	void *arg;
	int done;
};

static void *be_beside(void *p)
{
	const struct beside *b = p;
	uint64_t one = 1;

	b->work(b->arg);
	if (write(b->done, &one, sizeof(one)) != sizeof(one))
		log_err("the end of a thread's work can't be told: %s", strerror(errno));
	return NULL;
}

/**
 * run_beside() - In a thread, since its rights are ours, while @idle serves
 *
 * Return: 0; -ETIMEDOUT: it goes on, and @arg is its own from now on; another negative errno: it didn't begin
 */
static int run_beside(void (*work)(void *arg), void *arg, int64_t deadline, void (*idle)(void *ctx), void *ctx)
{
	struct beside *b = malloc(sizeof(*b));
	pthread_t thread;
	uint64_t n;
	int rc = ENOMEM;

	if (b) {
		*b = (struct beside){ work, arg, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
		rc = b->done < 0 ? EMFILE : pthread_create(&thread, NULL, be_beside, b);
	}
	if (rc) {
		if (b)
			drop_fd(&b->done);
		free(b);
		return -rc;
	}
	while (read(b->done, &n, sizeof(n)) != sizeof(n)) {
		if (!deadline_left_ms(deadline)) {
			pthread_detach(thread);
			return -ETIMEDOUT;
		}
		poll(&(struct pollfd){ .fd = b->done, .events = POLLIN }, 1, 1);
		idle(ctx);
	}
	pthread_join(thread, NULL);
	close(b->done);
	free(b);
	return 0;
}

static void hear(void *ctx)
{
	originfs_hear(ctx);
}

/* ---- what the stopped program has written ------------------------------------------------------------- */

struct flushing {
	bool failed;
	size_t n;
	char dirs[][256];
};

static void flush(void *arg)
{
	struct flushing *f = arg;

	for (size_t i = 0; i < f->n; i++) {
		int fd = open(f->dirs[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		f->failed |= fd < 0 || syncfs(fd);
		if (fd >= 0)
			close(fd);
	}
}

int originfs_flush(struct originfs *o, void (*idle)(void *ctx), void *ctx, struct err *e)
{
	struct flushing *f;
	int rc = -ENOMEM;

	if (!o || !o->n_writable)
		return 0;
	f = calloc(1, sizeof(*f) + o->n_mounts * sizeof(f->dirs[0]));
	for (size_t i = 0; f && i < o->n_mounts; i++)
		if (o->mounts[i].root)
			memcpy(f->dirs[f->n++], o->mounts[i].dir, sizeof(f->dirs[0]));
	if (f)
		rc = run_beside(flush, f, deadline_in_ms(FLUSH_MS), idle, ctx);
	if (rc == -ETIMEDOUT)
		return err_say(e, rc, "what the program has written to files of its origin isn't there yet: try again");
	if (!rc && f->failed)
		rc = -EIO;
	free(f);
	return rc ? err_set(e, rc, "send what the program has written home") : 0;
}

/* ---- what the frozen program has -------------------------------------------------------------------------- */

struct describing {
	struct image *img;
	bool failed;
};

static void describe(void *arg)
{
	struct describing *d = arg;
	AUTO_FD int pidfd = pidfd_open((pid_t)d->img->pid, 0);

	for (size_t i = 0; i < d->img->n_fds; i++) {
		struct image_open *open = &d->img->opens[d->img->fds[i].open];
		uint32_t handle = 0;
		int fd;

		if (open->kind != OPEN_ORIGIN || open->stream || open->flags & O_PATH)
			continue;
		fd = pidfd_getfd(pidfd, (int)d->img->fds[i].fd, 0);
		if (fd < 0 || ioctl(fd, ORIGINFS_IOC_HANDLE, &handle))
			d->failed = true;
		open->stream = handle;
		if (fd >= 0)
			close(fd);
	}
}

static bool has_any(const struct image *img)
{
	for (size_t i = 0; i < img->n_opens; i++)
		if (img->opens[i].kind == OPEN_ORIGIN)
			return true;
	return false;
}

/* A descriptor of @handle in the image, or -1 */
static int64_t descriptor_of(const struct image *img, uint32_t handle)
{
	for (size_t i = 0; i < img->n_fds; i++)
		if (img->opens[img->fds[i].open].kind == OPEN_ORIGIN && img->opens[img->fds[i].open].stream == handle)
			return (int64_t)i;
	return -1;
}

static int describe_locks(const struct originfs *o, struct image *img)
{
	for (const struct held_lock *l = o->locks; l; l = l->next) {
		int64_t fd = l->pid == img->pid ? descriptor_of(img, l->handle) : -1;
		struct image_lock *lock;

		if (fd < 0)
			continue;
		lock = image_add(img, locks);
		if (!lock)
			return -ENOMEM;
		*lock = (struct image_lock){ .open = img->fds[fd].open, .fd = img->fds[fd].fd, .posix = 1,
					     .exclusive = l->exclusive, .start = l->start,
					     .length = l->end >= INT64_MAX ? 0 : l->end - l->start + 1 };
	}
	return 0;
}

int originfs_describe(struct originfs *o, struct image *img, struct err *e)
{
	struct describing d = { img, false };
	int rc;

	if (!o || !has_any(img))
		return 0;
	rc = run_beside(describe, &d, NO_DEADLINE, hear, o);
	if (!rc)
		rc = d.failed ? -EIO : describe_locks(o, img);
	return rc ? err_set(e, rc, "find out what the program has open") : 0;
}

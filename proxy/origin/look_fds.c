/* SPDX-License-Identifier: MIT */
/*
 * look_fds.c - What a program consists of, from outside: its descriptors
 *
 * One row of kinds[] a kind of descriptor.  Descriptors that share an open file description
 * (dup, kcmp(2) says so) share an image_open.
 *
 * Pipes: both ends here and nobody else's: it moves, with its content.  One end here: the other
 * stays at the origin, a twin will stand for it.  Others have the same end, too: it is pulled.
 */
#include "proxy/origin/look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

struct one_fd {
	int fd;
	const char *link;		/* what readlink says */
	struct stat st;
	uint64_t flags;			/* O_* of fdinfo */
	const char *info;		/* fdinfo's text */
	struct image_open *o;
};

static const char gone[] = " (deleted)";

static uint64_t number(const char *info, const char *key, int base)
{
	uint64_t v = 0;

	return procfs_number(info, key, base, &v) ? 0 : v;
}

/* ---- one function a kind ------------------------------------------------------------------ */

/* The name it was opened by.  Return: whether it is gone */
static bool name_of(const struct one_fd *d, char *path, size_t size)
{
	size_t n = strlen(d->link);

	snprintf(path, size, "%s", d->link);
	if (n <= sizeof(gone) || strcmp(path + n - sizeof(gone) + 1, gone) || d->st.st_nlink)
		return false;
	path[n - sizeof(gone) + 1] = 0;
	return true;
}

/* A file or directory of the origin's: it stays open there, and is reached from wherever the program is */
static int look_origin(struct look *l UNUSED, struct one_fd *d, struct err *e)
{
	char path[4096 + sizeof(gone)];

	(void)name_of(d, path, sizeof(path));
	d->o->kind = OPEN_ORIGIN;
	d->o->mode = d->st.st_mode;
	d->o->size = (uint64_t)d->st.st_size;
	d->o->inode = d->st.st_ino;
	return image_set_str(&d->o->path, path) ? err_set(e, -ENOMEM, "list the descriptors") : 0;
}

static int look_regular(struct look *l, struct one_fd *d, struct err *e)
{
	char path[4096 + sizeof(gone)];
	bool deleted = name_of(d, path, sizeof(path));
	int i;

	if (policy_path(l->policy, path, NULL) == POLICY_ORIGIN)
		return look_origin(l, d, e);
	i = look_file(l, path, d->st.st_ino, deleted, "has open", e);
	if (i < 0)
		return i;
	if ((d->flags & O_ACCMODE) != O_RDONLY && !(d->flags & O_PATH))
		l->img->files[i].written = 1;
	if (l->img->files[i].ship && !l->img->files[i].mapped)
		reasons_add(l->why, REASON_POLICY, NULL,
			    "the program has %s open, and only mapped files can be shipped", path);
	d->o->kind = OPEN_FILE;
	d->o->file = i;
	return 0;
}

#define PULLED_BASE 0x10000	/* handles of what is pulled: above any stream's id */

#define MISC_MAJOR 10
/* With these a program works on the kernel itself: fuse, kvm, userfaultfd.  Minor numbers, Documentation/admin-guide/devices.txt */
static const unsigned kernel_parts[] = { 229, 232, 126 };

static int look_char_device(struct look *l, struct one_fd *d, struct err *e)
{
	if (policy_path(l->policy, d->link, NULL) == POLICY_LOCAL)
		return look_regular(l, d, e);
	d->o->kind = OPEN_PULLED;
	for (size_t i = 0; i < ARRAY_SIZE(kernel_parts); i++)
		if (d->st.st_rdev == makedev(MISC_MAJOR, kernel_parts[i]))
			reasons_add(l->why, REASON_DEVICE, NULL, "descriptor %d is the device %s, a part of this kernel", d->fd,
				    d->link);
	return 0;
}

/* A moved program's: its inode is its handle */
static int look_pulled(struct look *l UNUSED, struct one_fd *d, struct err *e UNUSED)
{
	d->o->kind = OPEN_PULLED;
	d->o->stream = (int64_t)(uint32_t)d->st.st_ino;	/* the upper half is a mark */
	return 0;
}

/* stat(2), but of a moved program's twins only what is known without asking their file system: that's us */
static int stat_of(const struct look *l, const char *path, struct stat *st)
{
	struct statx x;

	if (!l->moved)
		return stat(path, st);
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x))
		return -1;
	*st = (struct stat){ .st_dev = makedev(x.stx_dev_major, x.stx_dev_minor), .st_ino = x.stx_ino,
			     .st_mode = x.stx_mode, .st_nlink = x.stx_nlink, .st_size = (off_t)x.stx_size,
			     .st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor) };
	return 0;
}

static int look_pipe(struct look *l, struct one_fd *d, struct err *e)
{
	struct image_pipe *p = NULL;
	size_t i;

	if (d->flags & O_DIRECT) {
		reasons_add(l->why, REASON_PIPE_MODE, NULL, "descriptor %d is a pipe in packet mode", d->fd);
		return 0;
	}
	/* one with a name: whoever opens it later must find it here, and comes and goes while it is open */
	if (!l->moved && strncmp(d->link, "pipe:[", 6)) {
		d->o->kind = OPEN_PULLED;
		return 0;
	}
	for (i = 0; i < l->img->n_pipes && l->img->pipes[i].inode != d->st.st_ino; i++)
		;
	if (i == l->img->n_pipes) {
		p = image_add(l->img, pipes);
		if (!p)
			return err_set(e, -ENOMEM, "list the pipes");
		p->inode = d->st.st_ino;
	}
	d->o->kind = OPEN_PIPE;
	d->o->file = (int64_t)i;
	return 0;
}

static int look_socket(struct look *l, struct one_fd *d, struct err *e UNUSED)
{
	reasons_add(l->why, REASON_SOCKET, NULL, "descriptor %d is a socket, which can't be moved yet", d->fd);
	return 0;
}

static int look_other(struct look *l, struct one_fd *d, struct err *e UNUSED)
{
	reasons_add(l->why, REASON_SPECIAL_FILE, NULL, "descriptor %d is %s, which can't be moved", d->fd, d->link);
	return 0;
}

static int look_io_uring(struct look *l, struct one_fd *d, struct err *e UNUSED)
{
	reasons_add(l->why, REASON_IO_URING, NULL, "descriptor %d is an io_uring ring", d->fd);
	return 0;
}

static int look_eventfd(struct look *l UNUSED, struct one_fd *d, struct err *e UNUSED)
{
	d->o->kind = OPEN_EVENTFD;
	d->o->count = number(d->info, "eventfd-count", 16);
	d->o->settime = (int64_t)number(d->info, "eventfd-semaphore", 10);
	return 0;
}

static int64_t timespec_in(const char *info, const char *key)
{
	const char *at = strstr(info, key);
	long long s = 0, ns = 0;

	if (at)
		sscanf(at + strlen(key), ": (%lld, %lld)", &s, &ns);
	return s * NS_PER_S + ns;
}

static int look_timerfd(struct look *l UNUSED, struct one_fd *d, struct err *e UNUSED)
{
	d->o->kind = OPEN_TIMERFD;
	d->o->clock = (int64_t)number(d->info, "clockid", 10);
	d->o->count = number(d->info, "ticks", 10);
	d->o->settime = (int64_t)number(d->info, "settime flags", 8);
	d->o->value_ns = timespec_in(d->info, "it_value");
	d->o->interval_ns = timespec_in(d->info, "it_interval");
	return 0;
}

static int look_signalfd(struct look *l UNUSED, struct one_fd *d, struct err *e UNUSED)
{
	d->o->kind = OPEN_SIGNALFD;
	d->o->mask = number(d->info, "sigmask", 16);
	return 0;
}

static int look_epoll(struct look *l UNUSED, struct one_fd *d, struct err *e)
{
	d->o->kind = OPEN_EPOLL;
	for (const char *at = strstr(d->info, "tfd:"); at; at = strstr(at + 4, "tfd:")) {
		struct image_member *m = image_add(d->o, members);
		unsigned long long data;
		unsigned events;
		int fd;

		if (!m)
			return err_set(e, -ENOMEM, "list an epoll set");
		if (sscanf(at, "tfd: %d events: %x data: %llx", &fd, &events, &data) != 3)
			return err_say(e, -EPROTO, "the epoll set at descriptor %d can't be read", d->fd);
		m->fd = fd;
		m->events = events;
		m->data = data;
	}
	return 0;
}

static int look_memfd(struct look *l, struct one_fd *d, struct err *e)
{
	struct image_object *o = NULL;
	char path[64];
	size_t i;
	int fd;

	for (i = 0; i < l->img->n_objects; i++)
		if (l->img->objects[i].inode == d->st.st_ino && l->img->objects[i].device == d->st.st_dev)
			o = &l->img->objects[i];
	if (!o) {
		o = image_add(l->img, objects);
		if (!o || image_set_str(&o->name, strrchr(d->link, '/') + (strncmp(d->link, "/memfd:", 7) ? 1 : 7)))
			return err_set(e, -ENOMEM, "list a memfd");
		if (strlen(o->name) > sizeof(gone) - 1)
			o->name[strlen(o->name) - sizeof(gone) + 1] = 0;
		o->inode = d->st.st_ino;
		o->device = d->st.st_dev;
		o->memfd = 1;
	}
	o->size = (uint64_t)d->st.st_size;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)l->pid, d->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		o->seals = fcntl(fd, F_GET_SEALS);
		close(fd);
	}
	d->o->kind = OPEN_MEMFD;
	d->o->file = o - l->img->objects;
	return 0;
}

/* shm_open(3), and its name is gone: memory that only who has it open can have */
static int look_shm(struct look *l, struct one_fd *d, struct err *e)
{
	return S_ISREG(d->st.st_mode) && !d->st.st_nlink ? look_memfd(l, d, e) : look_regular(l, d, e);
}

/* @path or one of the directories above it, if it is the inode.  Shortens @path to it */
static bool is_on_path(const struct look *l, char *path, dev_t device, uint64_t inode)
{
	struct stat st;

	while (path[0] == '/') {
		char *slash = strrchr(path, '/');

		/* of a moved program the origin's are never asked about: that's us */
		if ((!l->moved || policy_path(l->policy, path, NULL) != POLICY_ORIGIN) && !stat(path, &st) && st.st_ino == inode && st.st_dev == device)
			return true;
		*slash = 0;
	}
	return false;
}

/*
 * A watch tells the inode and device, not the name.  Root finds it by its file handle; everybody
 * finds it among what the program has open, its working directory, and the directories above.
 */
static bool name_of_inode(struct look *l, dev_t device, uint64_t inode, uint8_t *handle, char *name, size_t size)
{
	AUTO_FREE int *fds = NULL;
	int n = procfs_list(l->pid, "fd", &fds, NULL), len;
	AUTO_FD int mount = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD int fd = (int)syscall(SYS_open_by_handle_at, mount, handle, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && !fstat(fd, &st) && st.st_ino == inode && st.st_dev == device) {
		len = procfs_link(getpid(), name, size, "fd/%d", fd);
		return len > 0;
	}
	if (procfs_link(l->pid, name, size, "cwd") > 0 && is_on_path(l, name, device, inode))
		return true;
	for (int i = 0; i < n; i++)
		if (procfs_link(l->pid, name, size, "fd/%d", fds[i]) > 0 && is_on_path(l, name, device, inode))
			return true;
	return false;
}

static int look_watch(struct look *l, struct one_fd *d, const char *at, struct image_watch *w, struct err *e)
{
	unsigned wd, dev, mask, bytes, type;
	uint8_t handle[128] = { 0 };
	unsigned long long ino;
	char name[4096];
	int used = 0;

	if (sscanf(at, "inotify wd:%x ino:%llx sdev:%x mask:%x ignored_mask:%*x fhandle-bytes:%x fhandle-type:%x f_handle:%n",
		   &wd, &ino, &dev, &mask, &bytes, &type, &used) < 6 || bytes > 64)
		return err_say(e, -EPROTO, "the inotify watches at descriptor %d can't be read", d->fd);
	w->descriptor = wd;
	w->mask = mask & 0xfff;
	for (unsigned k = 0; k < bytes; k++)
		sscanf(at + used + 2 * k, "%2hhx", &handle[8 + k]);
	memcpy(handle, &bytes, 4);
	memcpy(handle + 4, &type, 4);
	/* the kernel's own dev_t: 12 bits of major, 20 of minor */
	if (!name_of_inode(l, makedev(dev >> 20, dev & 0xfffff), ino, handle, name, sizeof(name)) ||
	    policy_path(l->policy, name, NULL) != POLICY_LOCAL) {
		reasons_add(l->why, REASON_SPECIAL_FILE, NULL,
			    "descriptor %d (inotify) watches something that has no local name", d->fd);
		return 0;
	}
	return image_set_str(&w->path, name);
}

static int look_inotify(struct look *l, struct one_fd *d, struct err *e)
{
	int rc = 0;

	d->o->kind = OPEN_INOTIFY;
	for (const char *at = strstr(d->info, "inotify wd:"); at && !rc; at = strstr(at + 1, "inotify wd:")) {
		struct image_watch *w = image_add(d->o, watches);

		rc = w ? look_watch(l, d, at, w, e) : -ENOMEM;
	}
	return rc;
}

static const struct fd_kind {
	const char *prefix;		/* of the link */
	mode_t type;			/* or, with no prefix, the inode's type */
	int (*look)(struct look *l, struct one_fd *d, struct err *e);
} kinds[] = {
	{ "anon_inode:[eventfd]", 0, look_eventfd },
	{ "anon_inode:[timerfd]", 0, look_timerfd },
	{ "anon_inode:[signalfd]", 0, look_signalfd },
	{ "anon_inode:[eventpoll]", 0, look_epoll },
	{ "anon_inode:inotify", 0, look_inotify },
	{ "anon_inode:[io_uring]", 0, look_io_uring },
	{ "anon_inode:", 0, look_other },
	{ "/memfd:", 0, look_memfd },
	{ "/dev/shm/", 0, look_shm },
	{ "pipe:", 0, look_pipe },
	{ NULL, S_IFIFO, look_pipe },
	{ NULL, S_IFSOCK, look_socket },
	{ NULL, S_IFCHR, look_char_device },
	{ NULL, S_IFREG, look_regular },
	{ NULL, S_IFDIR, look_regular },
	{ "", 0, look_other },
};

/* ---- descriptors that are one ------------------------------------------------------------- */

static bool same_open(pid_t pid, int a, int b)
{
	return syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0;
}

/* An earlier descriptor of the same open file description: its index in opens, or -1 */
static int64_t shared_open(struct look *l, const struct one_fd *d, const uint64_t *inodes)
{
	for (size_t i = 0; inodes && i < l->img->n_fds; i++)
		if (inodes[i] == d->st.st_ino && same_open(l->pid, (int)l->img->fds[i].fd, d->fd))
			return l->img->fds[i].open;
	return -1;
}

static int look_one(struct look *l, int fd, uint64_t **inodes, struct err *e)
{
	char link[4096 + 16], path[64], info[16384];
	struct one_fd d = { .fd = fd, .link = link, .info = info };
	struct image_fd *f;
	uint64_t *more;
	int64_t shared;
	int rc;

	if (procfs_link(l->pid, link, sizeof(link), "fd/%d", fd) < 0 ||
	    procfs_read(l->pid, info, sizeof(info), "fdinfo/%d", fd) < 0)
		return 0;		/* closed meanwhile: the program runs */
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)l->pid, fd);
	if (stat_of(l, path, &d.st))
		return 0;
	d.flags = number(info, "flags", 8);
	shared = shared_open(l, &d, *inodes);
	more = realloc(*inodes, (l->img->n_fds + 1) * sizeof(*more));
	f = image_add(l->img, fds);
	if (!more || !f)
		return err_set(e, -ENOMEM, "list the descriptors");
	*inodes = more;
	more[l->img->n_fds - 1] = d.st.st_ino;
	f->fd = fd;
	f->cloexec = !!(d.flags & O_CLOEXEC);
	if (shared >= 0) {
		f->open = shared;
		return 0;
	}
	d.o = image_add(l->img, opens);
	if (!d.o || image_set_str(&d.o->path, link))
		return err_set(e, -ENOMEM, "list the descriptors");
	f->open = (int64_t)l->img->n_opens - 1;
	d.o->flags = d.flags & ~(uint64_t)O_CLOEXEC;
	d.o->position = number(info, "pos", 10);
	d.o->file = -1;
	switch (l->twin ? l->twin(l->ctx, d.st.st_dev, d.st.st_ino) : LOOK_NO_TWIN) {
	case LOOK_PULLED:
		return look_pulled(l, &d, e);
	case LOOK_FILE:
		return look_origin(l, &d, e);
	case LOOK_NO_TWIN:
		break;
	}
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		if (kinds[k].prefix ? strncmp(link, kinds[k].prefix, strlen(kinds[k].prefix))
				    : (d.st.st_mode & S_IFMT) != kinds[k].type)
			continue;
		rc = kinds[k].look(l, &d, e);
		return rc;
	}
	return 0;
}

/* ---- who else holds a pipe ---------------------------------------------------------------- */

struct others {
	uint64_t inode;
	int readers, writers;
	pid_t reader, writer;
};

/* Looks through everybody's descriptors (those we may see) for the pipes in @list */
static void find_others(const struct look *l, struct others *list, size_t n)
{
	AUTO_DIR DIR *proc = opendir("/proc");
	struct dirent *de;

	while (proc && (de = readdir(proc))) {
		AUTO_FREE int *fds = NULL;
		pid_t pid = atoi(de->d_name);
		int count;

		if (pid <= 0 || look_moves(l, pid) || pid == getpid())
			continue;
		count = procfs_list(pid, "fd", &fds, NULL);
		for (int i = 0; i < count; i++) {
			char path[64], info[512];
			struct stat st;

			snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fds[i]);
			if (stat(path, &st) || !S_ISFIFO(st.st_mode))
				continue;
			for (size_t k = 0; k < n; k++) {
				uint64_t flags;

				if (list[k].inode != st.st_ino ||
				    procfs_read(pid, info, sizeof(info), "fdinfo/%d", fds[i]) < 0)
					continue;
				flags = number(info, "flags", 8) & O_ACCMODE;
				if (flags != O_WRONLY) {
					list[k].readers++;
					list[k].reader = pid;
				}
				if (flags != O_RDONLY) {
					list[k].writers++;
					list[k].writer = pid;
				}
			}
		}
	}
}

/*
 * After the freeze: who else holds pipes was found out just before it, and walking through all
 * processes takes milliseconds.  False if there is a pipe that is new since.
 */
static bool others_from_before(const struct look *l, struct others *list, size_t n)
{
	const struct image *b = l->before;

	for (size_t i = 0; b && i < n; i++) {
		size_t k;

		for (k = 0; k < b->n_pipes && b->pipes[k].inode != list[i].inode; k++)
			;
		if (k == b->n_pipes)
			return false;
		for (size_t o = 0; o < b->n_opens; o++) {
			if (b->opens[o].file != (int64_t)k)
				continue;
			list[i].writers |= b->opens[o].kind == OPEN_TWIN || b->opens[o].kind == OPEN_PULLED;
			list[i].readers |= b->opens[o].kind == OPEN_PULLED;
		}
	}
	return b != NULL;
}

/* All pipes of all processes, each once.  Return: how many, or -ENOMEM */
static ssize_t list_pipes(const struct look *looks, size_t n, struct others **out)
{
	struct others *list = NULL;
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < looks[i].img->n_pipes; k++) {
			uint64_t inode = looks[i].img->pipes[k].inode;
			struct others *more;
			size_t at;

			for (at = 0; at < count && list[at].inode != inode; at++)
				;
			if (at < count)
				continue;
			more = realloc(list, (count + 1) * sizeof(*more));
			if (!more) {
				free(list);
				return -ENOMEM;
			}
			list = more;
			list[count++] = (struct others){ .inode = inode };
		}
	*out = list;
	return (ssize_t)count;
}

static bool is_pipe(const struct image *img, const struct image_open *o, uint64_t inode)
{
	return o->kind == OPEN_PIPE && o->file >= 0 && img->pipes[o->file].inode == inode;
}

/* Decides for one pipe: inside, or a twin's; pushed, or pulled */
static void settle_pipe(struct look *looks, size_t n, const struct others *o, uint32_t id)
{
	uint32_t stream = looks[0].stream_of ? looks[0].stream_of(looks[0].ctx, o->inode) : 0;
	bool reads = false, writes = false, inside, pulled, moved = looks[0].moved;

	for (size_t p = 0; p < n; p++)
		for (size_t k = 0; k < looks[p].img->n_opens; k++) {
			uint64_t mode = looks[p].img->opens[k].flags & O_ACCMODE;

			if (!is_pipe(looks[p].img, &looks[p].img->opens[k], o->inode))
				continue;
			reads |= mode != O_WRONLY;
			writes |= mode != O_RDONLY;
		}
	inside = moved ? !stream : reads && writes && !o->readers && !o->writers;
	pulled = !inside && !moved && ((reads && writes) || (reads && o->readers));
	for (size_t p = 0; p < n && !inside; p++)
		for (size_t k = 0; k < looks[p].img->n_opens; k++) {
			struct image_open *one = &looks[p].img->opens[k];

			if (!is_pipe(looks[p].img, one, o->inode))
				continue;
			one->kind = pulled ? OPEN_PULLED : OPEN_TWIN;
			one->stream = stream ? stream : id;
		}
}

static int settle_pipes(struct look *looks, size_t n)
{
	AUTO_FREE struct others *list = NULL;
	ssize_t count = list_pipes(looks, n, &list);

	if (count < 0)
		return (int)count;
	if (count && !looks[0].moved && (n > 1 || !others_from_before(&looks[0], list, (size_t)count)))
		find_others(&looks[0], list, (size_t)count);
	for (ssize_t i = 0; i < count; i++)
		settle_pipe(looks, n, &list[i], (uint32_t)i + 1);
	return 0;
}

/* ---- descriptions that several processes have --------------------------------------------------- */

struct place {
	size_t process;
	int fd;				/* one of its numbers there */
	struct image_open *o;
	uint64_t inode;
};

/* A descriptor of each open file description of each process */
static ssize_t list_opens(struct look *looks, size_t n, struct place **out)
{
	struct place *list = NULL;
	size_t count = 0;

	for (size_t p = 0; p < n; p++) {
		struct image *img = looks[p].img;

		for (size_t k = 0; k < img->n_opens; k++) {
			struct place *more = realloc(list, (count + 1) * sizeof(*more));
			size_t f;

			if (!more) {
				free(list);
				return -ENOMEM;
			}
			list = more;
			for (f = 0; f < img->n_fds && img->fds[f].open != (int64_t)k; f++)
				;
			list[count++] = (struct place){ p, f < img->n_fds ? (int)img->fds[f].fd : -1, &img->opens[k],
							looks[p].inodes[k] };
		}
	}
	*out = list;
	return (ssize_t)count;
}

/* kcmp(2): forked processes share descriptions.  What is pulled gets its handle here: one a description */
static int settle_opens(struct look *looks, size_t n)
{
	AUTO_FREE struct place *list = NULL;
	ssize_t count = list_opens(looks, n, &list);
	uint32_t handle = PULLED_BASE;

	for (ssize_t i = 0; i < count; i++) {
		struct image_open *o = list[i].o;
		ssize_t k = n > 1 ? 0 : i;

		for (; k < i; k++)
			if (list[k].inode == list[i].inode && list[k].process != list[i].process &&
			    !syscall(SYS_kcmp, looks[list[k].process].pid, looks[list[i].process].pid, KCMP_FILE,
				     list[k].fd, list[i].fd))
				break;
		if (k < i) {
			if (!list[k].o->shared)
				list[k].o->shared = k + 1;
			o->shared = list[k].o->shared;
			o->stream = o->kind == OPEN_PULLED || o->kind == OPEN_ORIGIN ? list[k].o->stream : o->stream;
		} else if ((o->kind == OPEN_PULLED || o->kind == OPEN_ORIGIN) && !looks[0].moved) {
			o->stream = handle++;
		}
	}
	return count < 0 ? (int)count : 0;
}

/* Shared memory with a process that stays */
static int someone_maps(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	struct look *l = ctx;

	for (size_t i = 0; i < l->img->n_objects; i++)
		if (m->inode && m->inode == l->img->objects[i].inode && m->device == l->img->objects[i].device)
			return -EEXIST;
	return 0;
}

static void settle_objects(struct look *l)
{
	bool known = l->before && l->before->n_objects == l->img->n_objects;
	AUTO_DIR DIR *proc = l->img->n_objects && !l->moved && !known ? opendir("/proc") : NULL;
	struct dirent *de;

	while (proc && (de = readdir(proc))) {
		pid_t pid = atoi(de->d_name);

		if (pid <= 0 || look_moves(l, pid) || pid == getpid())
			continue;
		if (procfs_maps(pid, false, someone_maps, l, NULL) == -EEXIST)
			reasons_add(l->why, REASON_SHARED_MEMORY, NULL, "process %d, which stays, shares its memory",
				    (int)pid);
	}
}

int look_settle(struct look *looks, size_t n, struct err *e)
{
	int rc = settle_pipes(looks, n);

	if (!rc)
		rc = settle_opens(looks, n);
	for (size_t i = 0; i < n && !rc; i++) {
		settle_objects(&looks[i]);
		free(looks[i].inodes);
		looks[i].inodes = NULL;
	}
	return rc ? err_set(e, rc, "find out who shares what") : look_sysv(looks, n, e);
}

int look_descriptors(struct look *l, struct err *e)
{
	AUTO_FREE int *fds = NULL;
	AUTO_FREE uint64_t *by_fd = NULL;
	int n = procfs_list(l->pid, "fd", &fds, e), rc = n < 0 ? n : 0;

	for (int i = 0; i < n && !rc; i++)
		rc = look_one(l, fds[i], &by_fd, e);
	if (l->img->n_objects > IMAGE_MOST_OBJECTS)
		reasons_add(l->why, REASON_SHARED_MEMORY, NULL, "the program has %zu pieces of shared memory, %d can be moved",
			    l->img->n_objects, IMAGE_MOST_OBJECTS);
	free(l->inodes);
	l->inodes = calloc(l->img->n_opens + 1, sizeof(*l->inodes));
	if (!rc && !l->inodes)
		rc = err_set(e, -ENOMEM, "list the descriptors");
	for (size_t i = 0; by_fd && i < l->img->n_fds && !rc; i++)
		l->inodes[l->img->fds[i].open] = by_fd[i];
	return rc;
}

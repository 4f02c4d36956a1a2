/* SPDX-License-Identifier: MIT */
/*
 * supervisor.c - Answers the seccomp notifications of a moved program (seccomp_unotify(2))
 *
 *	notified ─decide─▶ HERE: CONTINUE
 *		 \─▶ ORIGIN ─act─▶ asked at home ─ask_done─▶ answered, or CONTINUE (BOTH, FORK)
 *			     \─▶ answered at once (DENY, EXEC, MAKE of what is there, and what the keeper knows)
 *
 * A caller may die, or be killed and its number used again, while we look at it: its memory is opened
 * first, then the notification's id is checked, then it is read.
 */
#include "proxy/target/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/scope.h"
#include "proxy/target/fork.h"
#include "proxy/trace/procfs.h"
#include "proxy/trace/sysv.h"

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif

#ifndef ERESTARTSYS		/* the kernel's own: include/linux/errno.h */
#define ERESTARTSYS 512
#endif
#ifndef ERESTARTNOINTR
#define ERESTARTNOINTR 513
#endif

struct waiting_call {
	struct waiting_call *next;
	struct supervisor *s;
	uint64_t id;			/* of the notification */
	pid_t tid, pid;
	const struct call *row;
	uint64_t args[6];
	uint64_t out;			/* where the answer's bytes go, 0: nowhere */
	uint64_t ask;
	char *name;			/* a path of the origin's, absolute, or what is exec'ed; NULL: the call is about none */
};

/* ---- the caller ------------------------------------------------------------------------------ */

int supervisor_caller(pid_t tid, pid_t *tgid, uint64_t *blocked)
{
	struct proc_status st;
	int rc = procfs_status(tid, tid, &st, NULL);

	if (rc)
		return rc;
	*tgid = st.tgid;
	if (blocked)
		*blocked = st.blocked | st.ignored;
	return 0;
}

static bool still_there(const struct supervisor *s, uint64_t id)
{
	return !ioctl(s->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id);
}

/* The memory of the caller of notification @id, which still is what it was */
static int open_memory(const struct supervisor *s, uint64_t id, pid_t tid, int mode)
{
	char path[32];
	AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)tid);
	fd = open(path, mode | O_CLOEXEC);
	return fd < 0 || !still_there(s, id) ? -ESRCH : take_fd(&fd);
}

/* ---- memory that isn't there yet ---------------------------------------------------------------- */

#define PAGE 4096
#define PAGEMAP_THERE (3ULL << 62)	/* present or swapped out (Documentation/admin-guide/mm/pagemap.rst) */
#define MOST_TOUCHES 8			/* pages may be taken away again meanwhile */
#define TOUCH_FAILED 0x80000000u	/* in seccomp_notif.flags, besides how often it was tried */

/*
 * A page of a file of the origin's comes from the file system that we serve: who reads it waits for us.  So
 * what is not in the program's page tables is left to a thread, and the call is looked at again
 */
static bool is_there(struct supervisor *s, pid_t tid, uint64_t addr, size_t len)
{
	uint64_t first = addr / PAGE, last = (addr + len - 1) / PAGE, entry;
	AUTO_FD int fd = -1;
	char path[40];

	if (!s->fs || !len)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (uint64_t page = first; page <= last; page++)
		if (pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) != sizeof(entry) ||
		    !(entry & PAGEMAP_THERE)) {
			s->absent = addr;
			s->absent_len = len;
			return false;
		}
	return true;
}

struct touch {
	struct receiver *to;
	struct received got;
	uint64_t addr;
	size_t len;
};

static void *touch_pages(void *arg)
{
	struct touch *t = arg;
	AUTO_FD int fd = -1;
	char path[32], byte;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->got.n.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (uint64_t page = t->addr / PAGE; page <= (t->addr + t->len - 1) / PAGE; page++)
		if (pread(fd, &byte, 1, (off_t)MAX(t->addr, page * PAGE)) != 1)
			t->got.n.flags |= TOUCH_FAILED;
	t->got.n.flags++;
	receiver_again(t->to, &t->got);
	free(t);
	return NULL;
}

/* Return: whether @n will come again */
static bool touch_later(struct supervisor *s, const struct seccomp_notif *n)
{
	struct touch *t;
	pthread_t thread;

	if (!s->absent_len || n->flags & TOUCH_FAILED || n->flags >= MOST_TOUCHES)
		return false;
	t = malloc(sizeof(*t));
	if (!t)
		return false;
	*t = (struct touch){ s->from, { s->who, *n }, s->absent, s->absent_len };
	if (pthread_create(&thread, NULL, touch_pages, t)) {
		free(t);
		return false;
	}
	pthread_detach(thread);
	return true;
}

/* All of it or nothing */
static int read_memory(struct supervisor *s, uint64_t id, pid_t tid, uint64_t addr, void *buf, size_t len)
{
	AUTO_FD int fd = open_memory(s, id, tid, O_RDONLY);

	if (fd < 0)
		return fd;
	if (!is_there(s, tid, addr, len))
		return -EFAULT;
	return pread(fd, buf, len, (off_t)addr) == (ssize_t)len ? 0 : -EFAULT;
}

static int write_memory(struct supervisor *s, uint64_t id, pid_t tid, uint64_t addr, const void *buf, size_t len)
{
	AUTO_FD int fd = open_memory(s, id, tid, O_WRONLY);

	if (fd < 0)
		return fd;
	if (!is_there(s, tid, addr, len))
		return -EFAULT;
	return pwrite(fd, buf, len, (off_t)addr) == (ssize_t)len ? 0 : -EFAULT;
}

/* A path: what can be read of it up to its NUL */
static int read_path(struct supervisor *s, const struct waiting_call *w, uint64_t addr, char *path, size_t size)
{
	for (size_t got = 0; got < size;) {
		size_t step = MIN(4096 - (addr + got) % 4096, size - got);
		int rc = read_memory(s, w->id, w->tid, addr + got, path + got, step);

		if (rc)
			return rc;
		if (memchr(path + got, 0, step))
			return 0;
		got += step;
	}
	return -ENAMETOOLONG;
}

/* ---- where a decision is made: here, about somebody else ---------------------------------------- */

struct place {
	struct supervisor *s;
	struct waiting_call *w;
};

/* Without asking the file itself: its file system is ours, and we couldn't answer meanwhile */
static bool stat_fd(pid_t tid, int fd, struct statx *st)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)tid, fd);
	return !statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_INO, st);
}

static bool is_pulled(const struct originfs *fs, pid_t tid, int fd)
{
	struct statx st;

	return fs && stat_fd(tid, fd, &st) &&
	       originfs_is(fs, makedev(st.stx_dev_major, st.stx_dev_minor), st.stx_ino) == ORIGINFS_PULLED;
}

/* What relative names begin at.  Return: its length, or a negative errno */
static int base_of(pid_t tid, int dirfd, char *path, size_t size)
{
	return dirfd == AT_FDCWD ? procfs_link(tid, path, size, "cwd") : procfs_link(tid, path, size, "fd/%d", dirfd);
}

static bool env_twin(const struct call_env *env, int fd)
{
	const struct place *p = env->ctx;

	return is_pulled(p->s->fs, p->w->tid, fd);
}

/* As far as the text goes: where links lead to is found out by who walks it */
static bool env_name(const struct call_env *env, int dirfd, uint64_t addr)
{
	const struct place *p = env->ctx;
	char path[4096], whole[8192];
	size_t len = 0;

	if (!p->s->fs || read_path(p->s, p->w, addr, path, sizeof(path)) || !path[0])
		return false;
	if (path[0] != '/') {
		if (base_of(p->w->tid, dirfd, whole, sizeof(whole) / 2) <= 0 || whole[0] != '/')
			return false;
		len = strlen(whole);
		whole[len++] = '/';
	}
	snprintf(whole + len, sizeof(whole) - len, "%s", path);
	if (!originfs_has(p->s->fs, whole))
		return false;
	free(p->w->name);
	p->w->name = strdup(whole);
	return p->w->name;
}

static enum call_pid env_pid(const struct call_env *env, int32_t pid)
{
	const struct place *p = env->ctx;
	struct kin_one *one = kin_find(p->s->kin, pid);

	return !one ? CALL_PID_UNKNOWN : one->moved ? CALL_PID_MOVED : CALL_PID_KIN;
}

static int env_pid_of(const struct call_env *env, int pidfd)
{
	const struct place *p = env->ctx;
	char text[1024];
	uint64_t pid;

	if (procfs_read(p->w->tid, text, sizeof(text), "fdinfo/%d", pidfd) < 0 || procfs_number(text, "Pid", 10, &pid))
		return -EBADF;
	return (int)pid;
}

static int env_peek(const struct call_env *env, uint64_t addr, void *buf, size_t len)
{
	const struct place *p = env->ctx;

	return read_memory(p->s, p->w->id, p->w->tid, addr, buf, len);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

static void send_answer(struct supervisor *s, struct seccomp_notif_resp *r)
{
	/* ENOENT: the caller was killed, or a signal was quicker */
	if (ioctl(s->listener, SECCOMP_IOCTL_NOTIF_SEND, r) && errno != ENOENT)
		log_warn("a system call can't be answered: %s", strerror(errno));
}

static void go_on(struct supervisor *s, uint64_t id)
{
	send_answer(s, &(struct seccomp_notif_resp){ .id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE });
}

static void answer(struct supervisor *s, uint64_t id, int64_t value)
{
	send_answer(s, &(struct seccomp_notif_resp){ .id = id, .val = value < 0 ? 0 : value,
						     .error = value < 0 ? (int32_t)value : 0 });
}

static void release(struct waiting_call *w)
{
	free(w->name);
	free(w);
}

static void forget(struct waiting_call *w)
{
	struct waiting_call **at = &w->s->list;

	while (*at && *at != w)
		at = &(*at)->next;
	if (*at)
		*at = w->next;
	release(w);
}

/* ---- asked at home ---------------------------------------------------------------------------------------- */

/* Nothing was done, for the sake of a signal: where the kernel never says EINTR, neither do we */
static void answer_natively(const struct waiting_call *w, int64_t value)
{
	answer(w->s, w->id, value == -ERESTARTSYS && w->row->id != CALL_ID_ioctl ? -ERESTARTNOINTR : value);
}

static void on_shipped(void *ctx, int64_t value, const void *out, size_t len)
{
	struct waiting_call *w = ctx;

	if (value >= 0 && w->out && len && write_memory(w->s, w->id, w->tid, w->out, out, len))
		value = -EFAULT;
	answer_natively(w, value);
	forget(w);
}

static void on_done_there(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct waiting_call *w = ctx;

	if (value >= 0)
		go_on(w->s, w->id);
	else
		answer_natively(w, value);
	forget(w);
}

static void on_forked(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct waiting_call *w = ctx;
	struct supervisor *s = w->s;
	int64_t rc = value;

	if (value > 0)
		rc = fork_go_on(s->kin, s->from, s->listener, w->id, w->tid, (pid_t)value);
	if (rc == FORK_UNUSED || rc == FORK_AGAIN || rc == FORK_LATER)
		fork_unused(s->asks, (pid_t)value);
	if (rc == FORK_LATER)
		rc = -ERESTARTNOINTR;
	if (rc == FORK_AGAIN) {
		w->ask = ask_home(s->asks, w->pid, w->row->id, 0, w->args, NULL, 0, on_forked, w);
		if (w->ask)
			return;
		rc = -EAGAIN;
	}
	if (rc < 0 && rc != FORK_UNUSED)
		answer_natively(w, rc);
	forget(w);
}

static void on_given_back(void *ctx UNUSED, int64_t value UNUSED, const void *out UNUSED, size_t len UNUSED)
{
}

/*
 * A segment is made by us and not by the caller: nobody comes between the number and its use.  Our user
 * is the program's
 */
static void on_made(void *ctx, int64_t value, const void *out UNUSED, size_t len UNUSED)
{
	struct waiting_call *w = ctx;
	int rc = value < 0 ? 0 : sysv_make((int)value, (int32_t)w->args[0], w->args[1], (int)w->args[2]);

	if (value == -ENOSYS)
		log_line(LOG_LEVEL_WARN, "E_SYSV_SHM", "process %d: the System V shared memory of key %#x is at the origin, with "
			 "processes that stayed", (int)w->pid, (unsigned)w->args[0]);
	if (rc && !ask_home(w->s->asks, w->pid, CALL_ID_shmctl, 0, (uint64_t[6]){ (uint64_t)value }, NULL, 0, on_given_back,
			    NULL))
		log_warn("the origin couldn't be told that segment %d isn't needed", (int)value);
	answer_natively(w, rc ? rc : value);
	forget(w);
}

/* shmget(2) of a key that is here.  Return: what it gets, or -ENOENT: it isn't */
static int64_t find_segment(const struct waiting_call *w)
{
	int32_t key = (int32_t)w->args[0];
	int flags = (int)w->args[2], id = key ? shmget(key, w->args[1], flags & ~(IPC_CREAT | IPC_EXCL)) : -1;

	if (!key || (id < 0 && errno == ENOENT))
		return -ENOENT;
	if ((flags & (IPC_CREAT | IPC_EXCL)) == (IPC_CREAT | IPC_EXCL))
		return -EEXIST;
	return id < 0 ? -errno : id;
}

/* Bytes that the call takes along, and where what comes back goes */
static int gather(struct waiting_call *w, uint8_t *in, size_t *len)
{
	*len = 0;
	for (int i = 0; w->row->kinds[i]; i++) {
		const struct call_ioctl *io;

		switch (w->row->kinds[i]) {
		case 'i':
			io = call_ioctl((uint32_t)w->args[1]);
			if (!io) {
				log_line(LOG_LEVEL_WARN, "E_IOCTL", "process %d: ioctl %#x on a terminal isn't known",
					 (int)w->pid, (unsigned)w->args[1]);
				return -ENOTTY;
			}
			if (io->io == CALL_IO_GET)
				w->out = w->args[i];
			if (w->out && !is_there(w->s, w->tid, w->out, io->len))
				return -EFAULT;
			*len = io->io == CALL_IO_SET ? io->len : 0;
			break;
		case 's':
			*len = CALL_SIGINFO_LEN;
			break;
		case 't':
			w->out = w->args[i];
			if (!is_there(w->s, w->tid, w->out, sizeof(struct stat)))
				return -EFAULT;
			continue;
		default:
			continue;
		}
		if (*len && read_memory(w->s, w->id, w->tid, w->args[i], in, *len))
			return -EFAULT;
	}
	return 0;
}

/* What travels instead of the program's numbers */
static void translate(struct waiting_call *w, uint64_t args[6], enum call_id *row)
{
	struct statx st;

	memcpy(args, w->args, 6 * sizeof(args[0]));
	*row = (enum call_id)w->row->id;
	if (w->row->kinds[0] == 'h')	/* a twin's inode is its handle */
		args[0] = stat_fd(w->tid, (int)w->args[0], &st) ? ORIGINFS_HANDLE(st.stx_ino) : 0;
	if (w->row->id == CALL_ID_newfstatat)
		*row = CALL_ID_fstat;
	if (w->row->id == CALL_ID_pidfd_send_signal) {
		const struct place p = { w->s, w };
		const struct call_env env = { .ctx = (void *)(uintptr_t)&p };

		*row = CALL_ID_kill;
		args[0] = (uint64_t)(int64_t)env_pid_of(&env, (int)w->args[0]);
	}
}

/* Return: 0 when @w waits for its answer now, or a negative errno that is the answer */
static int ship(struct waiting_call *w, uint64_t blocked, ask_done *done)
{
	uint8_t in[CALL_SIGINFO_LEN];
	uint64_t args[6];
	enum call_id row;
	size_t len;
	int rc = gather(w, in, &len);

	if (rc)
		return rc;
	translate(w, args, &row);
	w->ask = ask_home(w->s->asks, w->pid, row, blocked, args, in, len, done, w);
	if (!w->ask)
		return -EAGAIN;
	w->next = w->s->list;
	w->s->list = w;
	return 0;
}

/* ---- names ----------------------------------------------------------------------------------------------- */

static void to_statx(const struct stat *st, struct statx *x)
{
	*x = (struct statx){ .stx_mask = STATX_BASIC_STATS, .stx_blksize = (uint32_t)st->st_blksize,
			     .stx_nlink = (uint32_t)st->st_nlink, .stx_uid = st->st_uid, .stx_gid = st->st_gid,
			     .stx_mode = (uint16_t)st->st_mode, .stx_ino = st->st_ino, .stx_size = (uint64_t)st->st_size,
			     .stx_blocks = (uint64_t)st->st_blocks,
			     .stx_atime = { .tv_sec = st->st_atim.tv_sec, .tv_nsec = (uint32_t)st->st_atim.tv_nsec },
			     .stx_mtime = { .tv_sec = st->st_mtim.tv_sec, .tv_nsec = (uint32_t)st->st_mtim.tv_nsec },
			     .stx_ctime = { .tv_sec = st->st_ctim.tv_sec, .tv_nsec = (uint32_t)st->st_ctim.tv_nsec },
			     .stx_rdev_major = major(st->st_rdev), .stx_rdev_minor = minor(st->st_rdev),
			     .stx_dev_major = major(st->st_dev), .stx_dev_minor = minor(st->st_dev) };
}

#define STAT_FLAGS (AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)

/* Flags that make no sense are the kernel's to refuse */
static bool makes_sense(const struct waiting_call *w)
{
	switch (w->row->id) {
	case CALL_ID_newfstatat:
		return !((uint32_t)w->args[3] & ~(uint32_t)STAT_FLAGS);
	case CALL_ID_statx:
		return !((uint32_t)w->args[2] & ~(uint32_t)(STAT_FLAGS | AT_STATX_SYNC_TYPE)) &&
		       !((uint32_t)w->args[3] & STATX__RESERVED);
	default:
		return true;
	}
}

static bool follows_links(const struct waiting_call *w)
{
	switch (w->row->id) {
	case CALL_ID_newfstatat:
		return !(w->args[3] & AT_SYMLINK_NOFOLLOW);
	case CALL_ID_statx:
		return !(w->args[2] & AT_SYMLINK_NOFOLLOW);
	default:
		return w->row->id != CALL_ID_lstat;
	}
}

/* The origin said what that name is.  Return: 0, or a negative errno for the caller */
static int put_stat(struct waiting_call *w, const void *out, size_t len)
{
	struct statx x;
	struct stat st;

	if (file_get_stat(out, len, &st))
		return -EIO;
	originfs_show(w->s->fs, w->name, &st);
	if (w->row->id != CALL_ID_statx)
		return write_memory(w->s, w->id, w->tid, w->out, &st, sizeof(st));
	to_statx(&st, &x);
	return write_memory(w->s, w->id, w->tid, w->out, &x, sizeof(x));
}

static void on_name(void *ctx, int64_t value, const void *out, size_t len)
{
	struct waiting_call *w = ctx;

	if (!value)
		value = put_stat(w, out, len);
	if (!value || value == -ENOENT || value == -ENOTDIR || value == -ENAMETOOLONG || value == -EFAULT)
		answer(w->s, w->id, value);
	else
		go_on(w->s, w->id);	/* through a link, or what else the kernel here finds out by itself */
	forget(w);
}

static int ask_name(struct waiting_call *w, const struct proc_status *st)
{
	size_t n = strlen(w->name), need = w->row->id == CALL_ID_statx ? sizeof(struct statx) : sizeof(struct stat);
	int out = w->row->id == CALL_ID_statx ? 4 : w->row->id == CALL_ID_newfstatat ? 2 : 1;

	if (w->name[n - 1] == '/' || !makes_sense(w))
		return 1;		/* that it be a directory, the kernel sees to */
	w->out = w->args[out];
	if (!is_there(w->s, w->tid, w->out, need))
		return -EFAULT;
	w->ask = ask_home(w->s->asks, FILE_PID, FILE_ROW + FILE_stat, file_ids(st->uid[3], st->gid[3]),
			  (uint64_t[6]){ !follows_links(w) }, w->name, n + 1, on_name, w);
	if (!w->ask)
		return 1;
	w->next = w->s->list;
	w->s->list = w;
	return 0;
}

/* A twin's, by its descriptor; or a name.  As act() */
static int act_name(struct waiting_call *w, uint64_t blocked, int64_t *value)
{
	struct proc_status st;
	int rc;

	if (!w->name) {
		*value = w->row->id == CALL_ID_statx ? -ENOSYS : ship(w, blocked, on_shipped);
		return *value ? -1 : 0;
	}
	rc = procfs_status(w->tid, w->tid, &st, NULL);
	rc = rc ? rc : ask_name(w, &st);
	*value = rc < 0 ? rc : 0;
	return rc < 0 ? -1 : rc;
}

/* ---- acts that need no deputy ------------------------------------------------------------------------------- */

static int refuse_exec(const struct waiting_call *w)
{
	log_line(LOG_LEVEL_WARN, "E_SETUID", "process %d may not run %s: it is a set-user-id program, and here it would run without its privilege",
		 (int)w->pid, w->name ? w->name : "?");
	return -EPERM;
}

/* Return: 0: the kernel shall do it; 1: that will be known later; or a negative errno that is the answer */
static int look_at_exec(struct waiting_call *w)
{
	bool at = w->row->id == CALL_ID_execveat;
	int dirfd = at ? (int)w->args[0] : AT_FDCWD, rc;
	AUTO_FD int dir = -1;
	char path[4096], from[64];

	if (read_path(w->s, w, w->args[at], path, sizeof(path)))
		return 0;	/* the kernel has an error for that */
	if (dirfd == AT_FDCWD)
		snprintf(from, sizeof(from), "/proc/%d/cwd", (int)w->tid);
	else
		snprintf(from, sizeof(from), "/proc/%d/fd/%d", (int)w->tid, dirfd);
	dir = open(from, O_PATH | O_CLOEXEC);
	w->name = strdup(path);
	rc = dir < 0 ? 0 : execs_look(w->s->execs, dir, path, w->id);
	if (rc == EXECS_LATER) {
		w->next = w->s->list;
		w->s->list = w;
	}
	return rc == -EPERM ? refuse_exec(w) : rc;
}

bool supervisor_looked(struct supervisor *s, uint64_t id, int value)
{
	for (struct waiting_call *w = s->list; w; w = w->next)
		if (w->id == id && w->row->act == CALL_ACT_EXEC) {
			if (value)
				answer(s, id, refuse_exec(w));
			else
				go_on(s, id);
			forget(w);
			return true;
		}
	return false;
}

/* In a user namespace with one id: what changes nothing succeeds, all else is refused */
static bool changes_nothing(const struct waiting_call *w)
{
	bool group = w->row->id == CALL_ID_setgid || w->row->id == CALL_ID_setregid || w->row->id == CALL_ID_setresgid ||
		     w->row->id == CALL_ID_setfsgid;
	uint32_t own = group ? getegid() : geteuid();

	for (int i = 0; w->row->kinds[i]; i++)
		if ((uint32_t)w->args[i] != own && (uint32_t)w->args[i] != UINT32_MAX)
			return false;
	return true;
}

static int refuse_identity(const struct waiting_call *w)
{
	log_line(LOG_LEVEL_WARN, "E_IDENTITY", "process %d: %s is refused: this mproxy is an ordinary user's",
		 (int)w->pid, w->row->name);
	return -EPERM;
}

static void say_denied(struct waiting_call *w)
{
	if (w->row->id < CALL_ID_semget || w->row->id > CALL_ID_msgctl || w->s->denied)
		return;
	w->s->denied = true;
	log_line(LOG_LEVEL_WARN, "E_SYSV_IPC", "process %d: %s is refused: System V semaphores and message queues stay at the origin",
		 (int)w->pid, w->row->name);
}

/* Return: 0: @w waits.  Otherwise *@value is the answer, 1: the kernel shall do it here */
static int act(struct waiting_call *w, int64_t *value)
{
	struct supervisor *s = w->s;
	uint64_t blocked = 0;
	int rc = supervisor_caller(w->tid, &w->pid, &blocked);

	*value = rc ? -ESRCH : 0;
	if (rc)
		return -1;
	switch (w->row->act) {
	case CALL_ACT_SHIP:
		*value = ship(w, blocked, on_shipped);
		break;
	case CALL_ACT_BOTH:
		if (w->row->id == CALL_ID_prctl && w->args[0] == PR_GET_NO_NEW_PRIVS) {
			*value = w->args[1] | w->args[2] | w->args[3] | w->args[4] ? -EINVAL : s->no_new_privs;
			return -1;
		}
		if (s->user && w->row->id >= CALL_ID_setuid && w->row->id <= CALL_ID_setfsgid) {
			if (changes_nothing(w))
				return 1;
			*value = refuse_identity(w);
			break;
		}
		if (w->row->id == CALL_ID_shmctl && !sysv_has((int)w->args[0]))
			return 1;
		*value = ship(w, blocked, on_done_there);
		break;
	case CALL_ACT_FORK:
		*value = ship(w, 0, on_forked);
		break;
	case CALL_ACT_EXEC:
		rc = look_at_exec(w);
		if (rc >= 0)
			return !rc;
		*value = rc;
		break;
	case CALL_ACT_MAKE:
		*value = find_segment(w);
		if (*value != -ENOENT)
			return -1;
		*value = ship(w, blocked, on_made);
		break;
	case CALL_ACT_NAME:
		return act_name(w, blocked, value);
	case CALL_ACT_DENY:
		say_denied(w);
		*value = -ENOSYS;
		break;
	}
	return *value ? -1 : 0;
}

void supervisor_handle(struct supervisor *s, const struct seccomp_notif *n)
{
	struct waiting_call *w = calloc(1, sizeof(*w));
	struct place p = { s, w };
	struct call_env env = { .self = (int32_t)n->pid, .twin = env_twin, .pid = env_pid, .pid_of = env_pid_of,
				.name = env_name, .peek = env_peek, .ctx = &p };
	int64_t value = -ENOSYS;
	int what = -1;

	if (!w) {
		answer(s, n->id, -ENOMEM);
		return;
	}
	*w = (struct waiting_call){ .s = s, .id = n->id, .tid = (pid_t)n->pid, .row = call_by_nr(n->data.nr) };
	memcpy(w->args, n->data.args, sizeof(w->args));
	s->absent_len = 0;
	if (w->row)
		what = w->row->decide(&env, w->args) == CALL_HERE ? 1 : act(w, &value);
	if (!what)
		return;
	if (touch_later(s, n))
		;
	else if (what > 0)
		go_on(s, n->id);
	else
		answer(s, n->id, value);
	release(w);
}

/* ---- in the receiver's thread ------------------------------------------------------------------------------ */

struct quick {
	const struct originfs *fs;
	pid_t tid;
};

static bool quick_twin(const struct call_env *env, int fd)
{
	const struct quick *q = env->ctx;

	return is_pulled(q->fs, q->tid, fd);
}

/* The beginning of a name is enough: a directory of the origin's has a shorter one.  true: perhaps */
static bool quick_name(const struct call_env *env, int dirfd, uint64_t addr)
{
	const struct quick *q = env->ctx;
	char name[ORIGINFS_NAME_MOST + 1];
	struct iovec here = { name, MIN(sizeof(name) - 1, (size_t)(PAGE - addr % PAGE)) };
	struct iovec there = { (void *)(uintptr_t)addr, here.iov_len };
	ssize_t n = process_vm_readv(q->tid, &here, 1, &there, 1, 0);

	if (n <= 0 || (n < ORIGINFS_NAME_MOST && !memchr(name, 0, (size_t)n)))
		return true;		/* it isn't there, or a page ends in it */
	name[n] = 0;
	if (!name[0])
		return false;
	if (name[0] != '/' && base_of(q->tid, dirfd, name, sizeof(name)) <= 0)
		return true;
	return originfs_near(q->fs, name);
}

bool supervisor_quick(const void *fs, int listener, const struct seccomp_notif *n)
{
	const struct call *row = call_by_nr(n->data.nr);
	struct seccomp_notif_resp go = { .id = n->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
	struct quick q = { fs, (pid_t)n->pid };
	const struct call_env env = { .twin = quick_twin, .name = quick_name, .ctx = &q };
	uint64_t args[6];

	if (!fs || !row || (row->act != CALL_ACT_NAME && row->id != CALL_ID_fstat))
		return false;
	memcpy(args, n->data.args, sizeof(args));
	if (row->decide(&env, args) != CALL_HERE)
		return false;
	/* what was read is its own only if it's still there; if it isn't nobody waits for an answer */
	(void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go);
	return true;
}

void supervisor_look(struct supervisor *s)
{
	for (struct waiting_call *w = s->list; w; w = w->next) {
		struct proc_status st;

		if (!procfs_status(w->tid, w->tid, &st, NULL) && (st.pending | st.shared_pending) & ~st.blocked)
			ask_cancel(s->asks, w->ask);
	}
}

int supervisor_start(struct supervisor *s, int listener, struct err *e)
{
	uint64_t flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;

	if (listener < 0)
		return err_say(e, -EINVAL, "there is no listener");
	s->listener = listener;
	/* 6.6; without it every call wakes another processor */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags))
		log_debug("this kernel wakes supervisors the slow way");
	return 0;
}

void supervisor_stop(struct supervisor *s)
{
	drop_fd(&s->listener);
	while (s->list)
		forget(s->list);
}

/* SPDX-License-Identifier: MIT */
/*
 * v_calls.c - Every call of calls.def, wrongly made: the kernel's answer is the same wherever it runs
 *
 * Once it is told to, it makes each call with pointers to nowhere, closed descriptors and numbers of
 * nobody, and compares errno with what a process gets that never moved.  On a terminal there is
 * more to ask.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "victim.h"

#define NOBODY 4194303L		/* the largest pid that could be */
#define NOWHERE 8L		/* an address */
#define SHUT 987L		/* a descriptor */
#define ONE_MASK 0xffffffffL	/* (uid_t)-1 */

enum where { ANYWHERE, TERMINAL };

static char text[8], path_long[5000], origins_long[5000];
static siginfo_t info = { .si_code = SI_QUEUE };
static int pipe_fd, file_fd, minus_five = -5, nobody = NOBODY;
static uint64_t bad_flags[8] = { CLONE_SIGHAND, 0, 0, 0, SIGCHLD };	/* struct clone_args, which musl doesn't know */
#define P(x) ((long)(x))
#define SELF (-1000001)		/* replaced by getpid() */
#define FILE_FD (-1000002)
#define PIPE_FD (-1000003)
#define UID (-1000004)
#define GID (-1000005)

static const struct row {
	enum where where;
	int nr;
	const char *name;
	long a[6];
	int wanted;		/* errno, 0: it succeeds */
} rows[] = {
#define R(name, err, ...) { ANYWHERE, SYS_##name, #name "(" #__VA_ARGS__ ")", { __VA_ARGS__ }, err },
#define T(name, err, ...) { TERMINAL, SYS_##name, #name "(" #__VA_ARGS__ ")", { __VA_ARGS__ }, err },
	R(ioctl, EBADF, SHUT, TCGETS, P(text))
	R(ioctl, ENOTTY, FILE_FD, TCGETS, P(text))
	R(ioctl, ENOTTY, PIPE_FD, TIOCGWINSZ, P(text))
	R(ioctl, EFAULT, PIPE_FD, FIONREAD, NOWHERE)
	R(kill, ESRCH, NOBODY, 0)
	R(kill, ESRCH, NOBODY, SIGTERM)
	R(kill, ESRCH, -NOBODY, 0)
	R(kill, ESRCH, (int)0x80000000, 0)
	R(kill, EINVAL, SELF, 65)
	R(kill, EINVAL, SELF, -1)
	R(kill, 0, SELF, 0)
	R(kill, 0, 0, 0)
	R(tkill, EINVAL, 0, 0)
	R(tkill, EINVAL, -1, 0)
	R(tkill, ESRCH, NOBODY, 0)
	R(tkill, 0, SELF, 0)
	R(tgkill, EINVAL, SELF, -1, 0)
	R(tgkill, EINVAL, 0, SELF, 0)
	R(tgkill, ESRCH, SELF, NOBODY, 0)
	R(tgkill, ESRCH, NOBODY, NOBODY, 0)
	R(tgkill, EINVAL, SELF, SELF, 65)
	R(rt_sigqueueinfo, EFAULT, SELF, 0, NOWHERE)
	R(rt_sigqueueinfo, EFAULT, NOBODY, SIGTERM, NOWHERE)
	R(rt_sigqueueinfo, ESRCH, NOBODY, SIGTERM, P(&info))
	R(rt_sigqueueinfo, EINVAL, SELF, 65, P(&info))
	R(rt_tgsigqueueinfo, EFAULT, SELF, SELF, 0, NOWHERE)
	R(rt_tgsigqueueinfo, ESRCH, NOBODY, NOBODY, SIGTERM, P(&info))
	R(rt_tgsigqueueinfo, EINVAL, 0, 0, SIGTERM, P(&info))
	R(pidfd_send_signal, EBADF, SHUT, 0, 0, 0)
	R(pidfd_send_signal, EBADF, FILE_FD, 0, 0, 0)
	R(pidfd_send_signal, EINVAL, FILE_FD, 0, 0, 0xff00)
	R(setpgid, EINVAL, 0, -5)
	R(setpgid, ESRCH, NOBODY, 0)
	R(setpgid, ESRCH, 1, 0)
	R(getpgid, ESRCH, NOBODY)
	R(getpgid, ESRCH, -1)
	R(getpgid, 0, SELF)
	R(getpgid, 0, 0)
	R(getsid, ESRCH, NOBODY)
	R(getsid, ESRCH, -1)
	R(getsid, 0, 0)
	R(clone, EINVAL, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0)
	R(clone, EINVAL, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0)
	R(clone, EINVAL, CLONE_THREAD, 0, 0, 0, 0)
	R(clone3, EFAULT, NOWHERE, sizeof(bad_flags))
	R(clone3, EINVAL, P(bad_flags), 1)
	R(clone3, E2BIG, P(bad_flags), 100000)
	R(clone3, EINVAL, P(bad_flags), sizeof(bad_flags))
	R(execve, EFAULT, NOWHERE, 0, 0)
	R(execve, EFAULT, P("/bin/true"), NOWHERE, 0)
	R(execve, ENOENT, P(""), 0, 0)
	R(execve, EACCES, P("/"), 0, 0)
	R(execve, EACCES, P("/etc/passwd"), 0, 0)
	R(execve, ENOTDIR, P("/etc/passwd/x"), 0, 0)
	R(execve, ENAMETOOLONG, P(path_long), 0, 0)
	R(execveat, EBADF, SHUT, P("x"), 0, 0, 0)
	R(execveat, ENOTDIR, FILE_FD, P("x"), 0, 0, 0)
	R(execveat, EACCES, FILE_FD, P(""), 0, 0, AT_EMPTY_PATH)
	R(execveat, ENOENT, FILE_FD, P(""), 0, 0, 0)
	R(execveat, EINVAL, AT_FDCWD, P("/bin/true"), 0, 0, 0x40000000)
	R(setuid, 0, UID)
	R(setgid, 0, GID)
	R(setreuid, 0, ONE_MASK, ONE_MASK)
	R(setregid, 0, ONE_MASK, ONE_MASK)
	R(setresuid, 0, ONE_MASK, ONE_MASK, ONE_MASK)
	R(setresgid, 0, ONE_MASK, ONE_MASK, ONE_MASK)
	R(setuid, EINVAL, ONE_MASK)
	R(setgid, EINVAL, ONE_MASK)
	R(umask, 0, 022)
	R(prctl, EINVAL, PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0)
	R(prctl, 0, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	R(fstat, EBADF, SHUT, P(text))
	R(fstat, EFAULT, FILE_FD, NOWHERE)
	R(fstat, EFAULT, PIPE_FD, NOWHERE)
	R(newfstatat, EBADF, SHUT, P(""), P(text), AT_EMPTY_PATH)
	R(newfstatat, EFAULT, PIPE_FD, P(""), NOWHERE, AT_EMPTY_PATH)
	R(statx, EBADF, SHUT, P(""), AT_EMPTY_PATH, 0x100, P(path_long))
	R(statx, EFAULT, FILE_FD, P(""), AT_EMPTY_PATH, 0x100, NOWHERE)

	R(stat, EFAULT, NOWHERE, P(text))
	R(stat, EFAULT, P("/"), NOWHERE)
	R(stat, ENOENT, P(""), P(text))
	R(stat, ENAMETOOLONG, P(path_long), P(text))
	R(lstat, EFAULT, NOWHERE, P(text))
	R(lstat, ENOTDIR, P("/etc/passwd/x"), P(text))

	/* names of the origin's */
#define ORIGINS "/var/tmp/v_calls.none"
	R(stat, EFAULT, P("/tmp"), NOWHERE)
	R(stat, ENOENT, P(ORIGINS), P(text))
	R(stat, ENOENT, P(ORIGINS "/"), P(text))
	R(stat, ENOENT, P("/tmp/../tmp/v_calls.none"), P(text))
	R(lstat, EFAULT, P("/tmp"), NOWHERE)
	R(lstat, ENOENT, P(ORIGINS), P(text))
	R(newfstatat, EFAULT, AT_FDCWD, P("/tmp"), NOWHERE, 0)
	R(newfstatat, ENOENT, AT_FDCWD, P(ORIGINS), P(text), AT_SYMLINK_NOFOLLOW)
	R(newfstatat, ENOTDIR, FILE_FD, P("x"), P(text), 0)
	R(newfstatat, EBADF, SHUT, P("x"), P(text), 0)
	R(newfstatat, EINVAL, AT_FDCWD, P("/tmp"), P(text), 0x40000000)
	R(statx, EFAULT, AT_FDCWD, P("/tmp"), 0, 0x7ff, NOWHERE)
	R(statx, ENOENT, AT_FDCWD, P(ORIGINS), 0, 0x7ff, P(path_long))
	R(open, ENOENT, P(ORIGINS), O_RDONLY)
	R(open, EISDIR, P("/tmp"), O_WRONLY)
	R(open, EEXIST, P("/tmp"), O_CREAT | O_EXCL | O_WRONLY, 0600)
	R(openat, ENAMETOOLONG, AT_FDCWD, P(origins_long), O_RDONLY, 0)
	R(openat, EFAULT, AT_FDCWD, NOWHERE, O_RDONLY, 0)
	R(access, ENOENT, P(ORIGINS), R_OK)
	R(readlink, ENOENT, P(ORIGINS), P(text), 8)
	R(readlink, EINVAL, P("/tmp"), P(text), 8)
	R(unlink, ENOENT, P(ORIGINS))
	R(rmdir, ENOENT, P(ORIGINS))
	R(mkdir, EEXIST, P("/tmp"), 0700)
	R(mkdir, ENOENT, P(ORIGINS "/x"), 0700)
	R(rename, ENOENT, P(ORIGINS), P("/var/tmp/v_calls.other"))
	R(link, ENOENT, P(ORIGINS), P("/var/tmp/v_calls.other"))
	R(symlink, EEXIST, P("x"), P("/tmp"))
	R(symlink, ENOENT, P("x"), P(ORIGINS "/x"))
	R(chmod, ENOENT, P(ORIGINS), 0600)
	R(chown, ENOENT, P(ORIGINS), 0, 0)
	R(truncate, ENOENT, P(ORIGINS), 0)
	R(truncate, EISDIR, P("/tmp"), 0)
	R(utimensat, ENOENT, AT_FDCWD, P(ORIGINS), 0, 0)
	R(mknod, EEXIST, P("/tmp"), 0010600, 0)
	R(statfs, ENOENT, P(ORIGINS), P(path_long))
	R(chdir, ENOENT, P(ORIGINS))
	R(getxattr, ENOENT, P(ORIGINS), P("user.x"), P(text), 1)
	R(inotify_add_watch, EBADF, SHUT, P("/tmp"), 1)
	R(execve, ENOENT, P(ORIGINS), 0, 0)
	R(execve, EACCES, P("/tmp"), 0, 0)

	R(shmget, EINVAL, 0, 0, 0600)
	R(shmget, ENOENT, 0x51500003, 0, 0)
	R(shmget, EINVAL, 0x51500003, 0, 01600)
	R(shmctl, EINVAL, 987654, 0, 0)
	R(shmctl, EINVAL, -1, 0, 0)

	T(ioctl, EFAULT, 0, TCGETS, NOWHERE)
	T(ioctl, EFAULT, 0, TCSETS, NOWHERE)
	T(ioctl, EFAULT, 0, TIOCGWINSZ, NOWHERE)
	T(ioctl, EFAULT, 0, TIOCSWINSZ, NOWHERE)
	T(ioctl, EFAULT, 0, TIOCGPGRP, NOWHERE)
	T(ioctl, EFAULT, 0, FIONREAD, NOWHERE)
	T(ioctl, EINVAL, 0, TIOCSPGRP, P(&minus_five))
	T(ioctl, ESRCH, 0, TIOCSPGRP, P(&nobody))
	T(ioctl, EINVAL, 0, TCFLSH, 99)
	T(ioctl, EINVAL, 0, TCXONC, 99)
	T(ioctl, ENOTTY, 0, 0x54fe, 0)
	T(ioctl, 0, 0, TIOCGPGRP, P(text))
	T(fstat, EFAULT, 0, NOWHERE)
	T(newfstatat, EFAULT, 0, P(""), NOWHERE, AT_EMPTY_PATH)
	T(read, EFAULT, 0, NOWHERE, -1L)
	T(write, EFAULT, 1, NOWHERE, 3)
	T(write, EBADF, SHUT, P(text), 1)
	T(lseek, ESPIPE, 0, 0, SEEK_SET)
	T(pread64, ESPIPE, 0, P(text), 1, 0)
	T(ftruncate, EINVAL, 1, 0)
	T(mmap, ENODEV, 0, 4096, PROT_READ, MAP_SHARED, 0, 0)
	T(fsync, EINVAL, 0)
	T(getdents64, ENOTDIR, 0, P(text), 8)
	T(fchdir, ENOTDIR, 0)
#undef R
#undef T
};

static long place(long a)
{
	switch (a) {
	case SELF:
		return getpid();
	case FILE_FD:
		return file_fd;
	case PIPE_FD:
		return pipe_fd;
	case UID:
		return getuid();
	case GID:
		return getgid();
	default:
		return a;
	}
}

static int answer(const struct row *r)
{
	long a[6];

	for (int i = 0; i < 6; i++)
		a[i] = place(r->a[i]);
	return syscall(r->nr, a[0], a[1], a[2], a[3], a[4], a[5]) == -1 ? errno : 0;
}

/* Every call that is looked at has a row here.  Some can only be made well, or differ on purpose */
static void check_complete(void)
{
	/* the last of them don't work away from home */
	static const int others[] = { SYS_setsid, SYS_fork, SYS_vfork, SYS_setfsuid, SYS_setfsgid, SYS_io_uring_setup,
				      SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
				      SYS_msgctl };
	static const int numbers[] = {
#define CALL(id, name, ...) SYS_##name,
#include "common/calls.def"
#undef CALL
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		bool has = numbers[i] == SYS_poll;

		for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
			has |= rows[k].nr == numbers[i];
		for (size_t k = 0; k < ARRAY_SIZE(others); k++)
			has |= others[k] == numbers[i];
		CHECK(has, "system call %d has no row", numbers[i]);
	}
}

int main(void)
{
	int ends[2], bad = 0;

	memset(path_long, 'x', sizeof(path_long) - 1);
	memset(origins_long, 'x', sizeof(origins_long) - 1);
	memcpy(origins_long, "/tmp/", 5);
	file_fd = open("/etc/passwd", O_RDONLY);
	CHECK(file_fd >= 0 && !pipe(ends), "set up");
	pipe_fd = ends[0];
	check_complete();
	victim_ready();
	while (victim_goes_on(100))
		;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int got;

		if (rows[i].where == TERMINAL && !isatty(0))
			continue;
		got = answer(&rows[i]);
		if (got != rows[i].wanted) {
			say("%s: %s, not %s", rows[i].name, strerror(got), strerror(rows[i].wanted));
			bad++;
		}
	}
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "a fork that failed left a child");
	if (bad)
		FAIL("%d calls", bad);
	return victim_ok();
}

/* SPDX-License-Identifier: MIT */
/*
 * util.c - What deputy and hub have in common
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/deputy/deputy.h"

#define MOST_SETUP (4u << 20)

int deputy_above_standard(int fd)
{
	int to;

	if (fd < 0 || fd >= FIRST_FD)
		return fd;
	to = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (to < 0)
		return fd;
	close(fd);
	return to;
}

int deputy_parse_fds(const char *text, int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		char *end;
		long v;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		errno = 0;
		v = strtol(text, &end, 10);
		if (errno || v > INT32_MAX || *end != (i < n - 1 ? ',' : 0))
			return -EINVAL;
		fds[i] = (int)v;
		text = end + 1;
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC))
			return -errno;
	}
	return 0;
}

int deputy_take_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL))
		return -errno;
	return deputy_above_standard(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
}

void *deputy_read_memfd(int fd, size_t *len)
{
	AUTO_FREE char *buf = NULL;
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > MOST_SETUP)
		return NULL;
	*len = (size_t)st.st_size;
	buf = malloc(*len);
	while (buf && got < *len) {
		ssize_t n = pread(fd, buf + got, *len - got, (off_t)got);

		if (n <= 0)
			return NULL;
		got += (size_t)n;
	}
	return take_ptr(buf);
}

/* No core of ours in the place of the program's; and descriptors enough to double the program's */
void deputy_set_limits(void)
{
	struct rlimit core, files;

	/* the soft limit only: at home the program wants its hard one back */
	if (!getrlimit(RLIMIT_CORE, &core)) {
		core.rlim_cur = 0;
		(void)setrlimit(RLIMIT_CORE, &core);
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int deputy_env(const char *name, int otherwise)
{
	const char *text = getenv(name);

	return text ? atoi(text) : otherwise;
}

/* SPDX-License-Identifier: MIT */
/*
 * pids.c - Processes and threads under chosen numbers
 */
#include "proxy/trace/pids.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/scope.h"

int64_t pids_max(void)
{
	AUTO_FILE FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	long max;

	if (!f)
		return -errno;
	return fscanf(f, "%ld", &max) == 1 ? max : -EBADMSG;
}

int pids_set_last(pid_t last)
{
	AUTO_FD int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)last);

	return fd < 0 || write(fd, text, (size_t)n) != n ? -errno : 0;
}

pid_t pids_fork_as(pid_t pid, uint64_t flags, int exit_signal)
{
	struct clone_args args = {
		.flags = flags,
		.exit_signal = (uint64_t)exit_signal,
		.set_tid = (uint64_t)(uintptr_t)&pid,
		.set_tid_size = 1,
	};
	long rc = syscall(SYS_clone3, &args, sizeof(args));

	return rc < 0 ? -errno : (pid_t)rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * hostinit.c - Process 1 of a host of the test bed
 *
 *	hostinit NAME CLOCK_OFFSET_S PIDFILE
 *
 * A host is a set of namespaces: net, mount, pid, uts, ipc and time, its monotonic and boot
 * clocks ahead of the machine's by CLOCK_OFFSET_S.  tests/hosts.sh furnishes it; here it is only
 * made and kept alive: process 1 reaps, and everything in the host ends with it.
 *
 *	the test's shell ──▶ outer: makes the namespaces, waits ──▶ inner: process 1
 *
 * Each dies with its parent (PR_SET_PDEATHSIG), so that a shell that was killed leaves
 * nothing behind.  PIDFILE gets the inner one's number, as the machine counts, once it is up.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/scope.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define HOST_FLAGS \
	(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWTIME)

static int complain(const char *what)
{
	fprintf(stderr, "hostinit: %s: %s\n", what, strerror(errno));
	return 1;
}

/** write_file() - Create or overwrite a small file in one write.  Return: 0, -1 with errno */
static int write_file(const char *path, int flags, const char *text)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/** put_pid() - Write PIDFILE so that a reader sees all of it or none */
static int put_pid(const char *path, pid_t pid)
{
	char text[16], temp[4096];

	snprintf(text, sizeof(text), "%d\n", pid);
	snprintf(temp, sizeof(temp), "%s.new", path);
	return write_file(temp, O_CREAT | O_TRUNC, text) || rename(temp, path) ? -1 : 0;
}

static int die_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -1;
	errno = ESRCH;
	return getppid() == parent ? 0 : -1;	/* it may be gone already */
}

/** inner() - Process 1: reap until SIGTERM.  Its end ends all others */
static int inner(const char *name, int go)
{
	sigset_t set;
	char c;

	if (die_with_parent(0))	/* the parent is outside this pid namespace: 0 */
		return complain("process 1");
	if (read(go, &c, 1) != 1)
		return complain("waiting for the outer process");
	close(go);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return complain("making mounts private");
	if (sethostname(name, strlen(name)))
		return complain("setting the host's name");
	setsid();
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (sigwaitinfo(&set, NULL) == SIGTERM)
			return 0;
	}
}

int main(int argc, char **argv)
{
	pid_t parent = getppid(), pid;
	char offsets[128];
	int go[2];

	if (argc != 4) {
		fprintf(stderr, "usage: hostinit NAME CLOCK_OFFSET_S PIDFILE\n");
		return 2;
	}
	if (die_with_parent(parent))
		return complain("dying with the parent");
	if (pipe2(go, O_CLOEXEC))
		return complain("pipe");
	if (unshare(HOST_FLAGS))
		return complain("making namespaces");
	snprintf(offsets, sizeof(offsets), "monotonic %s 0\nboottime %s 0\n", argv[2], argv[2]);
	if (write_file("/proc/self/timens_offsets", 0, offsets))
		return complain("setting the clocks' offset");
	pid = fork();
	if (pid < 0)
		return complain("fork");
	if (!pid)
		return inner(argv[1], go[0]);
	if (write(go[1], "", 1) != 1 || put_pid(argv[3], pid))
		return complain(argv[3]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * calls.c - Says how the calls end that libmshim.so exports, so that two runs can be compared
 *
 *	calls [N]	the simple ones N times
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ERRNO_BEFORE 4711	/* a call that succeeds leaves it */

#define SAY(call) do { \
	errno = ERRNO_BEFORE; \
	int r_ = (call); \
	printf("%s: %d, errno %d\n", #call, r_, errno); \
} while (0)

static volatile sig_atomic_t seen;

static void count(int sig)
{
	(void)sig;
	seen++;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 1, value = 0, pipes[2], master, slave, status;
	int (*volatile through_pointer)(pid_t, int) = kill;
	struct winsize size = { 0 };
	pid_t child;

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (pipe(pipes) || write(pipes[1], "abc", 3) != 3)
		return 1;
	for (int i = 0; i < n; i++)
		if (kill(getpid(), 0) || ioctl(pipes[0], FIONREAD, &value) || value != 3)
			return 1;
	SAY(ioctl(pipes[0], FIONREAD, &value));
	SAY(ioctl(pipes[0], FIONREAD, (void *)8));
	SAY(ioctl(pipes[0], TIOCGWINSZ, &size));
	SAY(ioctl(pipes[0], FIOCLEX));			/* without a third argument */
	SAY(fcntl(pipes[0], F_GETFD));
	SAY(ioctl(pipes[0], FIONCLEX, 0));
	SAY(ioctl(-1, TIOCGWINSZ, &size));
	SAY(ioctl(999, 0xffffffff, -1L));
	SAY(ioctl(pipes[0], ~0ul, NULL));

	if (openpty(&master, &slave, NULL, NULL, NULL))
		return 1;
	size.ws_row = 12;
	size.ws_col = 34;
	SAY(ioctl(slave, TIOCSWINSZ, &size));
	memset(&size, 0, sizeof(size));
	SAY(ioctl(master, TIOCGWINSZ, &size));
	printf("%d rows, %d columns\n", size.ws_row, size.ws_col);
	SAY(ioctl(slave, TIOCGPGRP, &value));
	SAY(isatty(slave));
	SAY(ioctl(slave, TCFLSH, 2));			/* a number */
	SAY(ioctl(slave, TCFLSH, 77));

	SAY(kill(getpid(), 0));
	SAY(kill(getpid(), 1000));
	SAY(kill(getpid(), -1));
	SAY(kill(0x7ffffff0, 0));
	SAY(kill((pid_t)0x80000000, 0));
	signal(SIGUSR1, count);
	SAY(kill(getpid(), SIGUSR1));
	SAY(through_pointer(getpid(), SIGUSR1));
	SAY(raise(SIGUSR1));
	printf("%d signals\n", (int)seen);
	SAY(setpgid(0, 0));
	SAY(kill(0, SIGUSR1));
	SAY(killpg(0, SIGUSR1));
	printf("%d signals\n", (int)seen);
	fflush(stdout);
	child = fork();
	if (!child) {
		kill(getpid(), SIGTERM);
		_exit(1);
	}
	SAY(waitpid(child, &status, 0) == child);
	printf("wait status 0x%x\n", status);
	return 0;
}

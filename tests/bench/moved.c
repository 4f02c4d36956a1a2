/* SPDX-License-Identifier: MIT */
/*
 * moved.c - What calls cost a program, again and again, so that it can be compared with itself after a move
 *
 *	moved calls	a line a round: ps of a local call that no row names (getppid), of a cached pread,
 *			of one that is looked at closer (an ioctl on a file), µs of fork+exec+wait of /bin/true
 *	moved terminal	is what stays: makes a terminal, starts "moved cat" on it, says its pid, and prints
 *			a line a round: µs from a typed line to its echo by cat, and of one ioctl of cat's there
 *
 * Each says "ready" first and ends with SIGTERM, or with its parent.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/clock.h"

#define CALLS 200000
#define FORKS 100
#define IOCTLS 50
#define LINES 50

static int64_t now(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static int64_t time_getppid(void)
{
	int64_t t = now();

	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return (now() - t) * 1000 / CALLS;
}

static int64_t time_pread(int fd)
{
	static char buf[4096];
	int64_t t = now();

	for (int i = 0; i < CALLS; i++)
		if (pread(fd, buf, sizeof(buf), 0) < 0)
			exit(1);
	return (now() - t) * 1000 / CALLS;
}

static int64_t time_ioctl(int fd)
{
	int64_t t = now();
	int n;

	for (int i = 0; i < CALLS / 100; i++)
		ioctl(fd, FIONREAD, &n);
	return (now() - t) * 100 * 1000 / CALLS;
}

static int64_t time_forks(void)
{
	int64_t t = now();

	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (!pid) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			exit(1);
	}
	return (now() - t) / 1000 / FORKS;
}

static void NORETURN calls(void)
{
	int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);

	for (;;) {
		long long a = time_getppid(), b = time_pread(fd), c = time_ioctl(fd), d = time_forks();

		/* ps, so that 3 % of 100 ns can be seen */
		printf("%lld %lld %lld %lld\n", a, b, c, d);
	}
}

/* On the terminal: a line comes back; the line "ioctl" as µs of one */
static int cat(void)
{
	struct winsize w;
	char line[64];
	ssize_t n;

	while ((n = read(0, line, sizeof(line))) > 0) {
		if (!strncmp(line, "ioctl", 5)) {
			int64_t t = now();

			for (int i = 0; i < IOCTLS; i++)
				ioctl(0, TIOCGWINSZ, &w);
			n = snprintf(line, sizeof(line), "%lld\n", (long long)(now() - t) / 1000 / IOCTLS);
		}
		if (write(1, line, (size_t)n) != n)
			return 1;
	}
	return 0;
}

static void answer_of(int master, const char *line, char *answer, size_t size)
{
	size_t got = 0;

	if (write(master, line, strlen(line)) < 0)
		exit(1);
	do {
		ssize_t n = read(master, answer + got, size - 1 - got);

		if (n <= 0)
			exit(0);
		got += (size_t)n;
		answer[got] = 0;
	} while (!strchr(answer, '\n'));
}

static void NORETURN terminal(const char *self)
{
	struct termios t;
	int master;
	pid_t pid = forkpty(&master, NULL, NULL, NULL);

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* no echo of the kernel's own: what comes back is cat's */
		tcgetattr(0, &t);
		t.c_lflag &= ~(tcflag_t)ECHO;
		tcsetattr(0, TCSANOW, &t);
		execl(self, "moved", "cat", NULL);
		_exit(1);
	}
	printf("pid %d\nready\n", (int)pid);
	usleep(200000);
	for (;;) {
		char answer[128], ioctl_us[128];
		int64_t begin = now();

		for (int i = 0; i < LINES; i++)
			answer_of(master, "a line\n", answer, sizeof(answer));
		begin = (now() - begin) / 1000 / LINES;
		answer_of(master, "ioctl\n", ioctl_us, sizeof(ioctl_us));
		printf("%lld %d\n", (long long)begin, atoi(ioctl_us));
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "calls")) {
		puts("ready");
		calls();
	}
	if (argc == 2 && !strcmp(argv[1], "cat"))
		return cat();
	if (argc == 2 && !strcmp(argv[1], "terminal"))
		terminal("/proc/self/exe");
	return 2;
}

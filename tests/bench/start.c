/* SPDX-License-Identifier: MIT */
/*
 * start.c - What a preloaded library costs: two libraries in alternating runs of one program
 *
 *	start RUNS LIBRARY OTHER COMMAND...	how long it takes from fork to its end
 *	start loop LIBRARY OTHER		system calls in a loop, in one process for each library
 *
 * Prints the median with OTHER and with LIBRARY in microseconds, and the median of the differences of
 * neighbouring runs, in which what the machine does meanwhile cancels out.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/clock.h"

#define LOOP_RUNS 200
#define LOOP_CALLS 20000
#define RUNS_MAX 10000

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static int64_t median(int64_t *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	return v[n / 2];
}

/* Return: ns, or -1: it failed */
static int64_t run(const char *library, char **command)
{
	int status, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int64_t start;
	pid_t pid;

	setenv("LD_PRELOAD", library, 1);
	start = clock_ns(CLOCK_MONOTONIC);
	pid = vfork();
	if (!pid) {
		dup2(null, 0);
		dup2(null, 1);
		execvp(command[0], command);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return -1;
	start = clock_ns(CLOCK_MONOTONIC) - start;
	close(null);
	return start;
}

/* In the child of a loop: a number in, ns out */
static int serve_loop(void)
{
	int pipes[2], value;
	char c;

	if (pipe(pipes) || write(pipes[1], "x", 1) != 1)
		return 1;
	while (read(0, &c, 1) == 1) {
		int64_t start = clock_ns(CLOCK_MONOTONIC), took;

		for (int i = 0; i < LOOP_CALLS; i++) {
			syscall(SYS_getppid);
			if (ioctl(pipes[0], FIONREAD, &value) || kill(getpid(), 0) || read(pipes[0], &c, 0))
				return 1;
		}
		took = clock_ns(CLOCK_MONOTONIC) - start;
		if (write(1, &took, sizeof(took)) != sizeof(took))
			return 1;
	}
	return 0;
}

struct loop { int in, out; };

static struct loop start_loop(const char *library, const char *self)
{
	int to[2], from[2];

	if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
		exit(1);
	if (!fork()) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		setenv("LD_PRELOAD", library, 1);
		execl(self, self, "serve", (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	return (struct loop){ to[1], from[0] };
}

static int64_t ask_loop(struct loop l)
{
	int64_t took;

	return write(l.in, "x", 1) == 1 && read(l.out, &took, sizeof(took)) == sizeof(took) ? took : -1;
}

int main(int argc, char **argv)
{
	static int64_t mine[RUNS_MAX], others[RUNS_MAX], more[RUNS_MAX];
	bool loop = argc > 1 && !strcmp(argv[1], "loop");
	struct loop my_loop, other_loop;
	int runs;

	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve_loop();
	if (argc < (loop ? 4 : 5)) {
		fprintf(stderr, "usage: start RUNS LIBRARY OTHER COMMAND... | start loop LIBRARY OTHER\n");
		return 2;
	}
	runs = loop ? LOOP_RUNS : MAX(1, MIN(atoi(argv[1]), RUNS_MAX));
	if (loop) {
		my_loop = start_loop(argv[2], "/proc/self/exe");
		other_loop = start_loop(argv[3], "/proc/self/exe");
	}
	for (int i = -1; i < runs; i++) {	/* the first isn't counted */
		int k = i < 0 ? 0 : i;

		for (int first = 0; first < 2; first++) {
			if ((first + k) % 2)
				mine[k] = loop ? ask_loop(my_loop) : run(argv[2], argv + 4);
			else
				others[k] = loop ? ask_loop(other_loop) : run(argv[3], argv + 4);
		}
		if (mine[k] < 0 || others[k] < 0) {
			fprintf(stderr, "start: %s failed\n", loop ? "the loop" : argv[4]);
			return 1;
		}
		more[k] = mine[k] - others[k];
	}
	printf("%.3f %.3f %.3f\n", (double)median(others, runs) / 1000, (double)median(mine, runs) / 1000,
	       (double)median(more, runs) / 1000);
	return 0;
}

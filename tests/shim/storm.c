/* SPDX-License-Identifier: MIT */
/*
 * storm.c - The exported calls in handlers on tiny stacks, in children of fork and vfork, in threads
 *
 * Everything at once: a timer's signals, whose handlers make the calls on an alternate stack of the
 * smallest size, while threads come and go, children are made both ways and exec.  Ends when enough has
 * happened, not by the clock; says "fine", or the first thing that was wrong.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 150
#define HANDLERS 1000
#define HANDLER_NEEDS 512	/* bytes of stack beyond the frame that the kernel makes */
#define GUARD 4096

static int pipes[2];
static volatile sig_atomic_t handled, wrong;

#define RIGHT(cond) do { if (!(cond)) wrong = wrong ? wrong : __LINE__; } while (0)

static void make_calls(void)
{
	int value = 0;

	RIGHT(!kill(getpid(), 0));
	RIGHT(!ioctl(pipes[0], FIONREAD, &value) && value == 3);
	errno = 0;
	RIGHT(ioctl(-1, FIONREAD, &value) == -1 && errno == EBADF);
}

static void on_alarm(int sig)
{
	int saved = errno;

	(void)sig;
	handled++;
	make_calls();
	errno = saved;
}

/* Ends while signals arrive; its own stack is small, too */
static void *thread(void *arg)
{
	make_calls();
	if (arg)
		pthread_exit(NULL);
	return NULL;
}

static void check_child(pid_t pid, int code)
{
	int status;

	RIGHT(pid > 0);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	RIGHT(WIFEXITED(status) && WEXITSTATUS(status) == code);
}

static void one_round(int i)
{
	char *const arguments[] = { (char *)"true", NULL };
	pthread_t t[3];
	pid_t pid;

	for (int k = 0; k < 3; k++) {
		if (!pthread_create(&t[k], NULL, thread, k == i % 3 ? t : NULL))
			continue;
		wrong = __LINE__;
		return;
	}
	pid = fork();
	if (!pid) {
		make_calls();
		_exit(wrong ? 1 : 7);
	}
	check_child(pid, 7);
	pid = vfork();
	if (!pid) {
		int value;

		if (kill(getpid(), 0) || ioctl(pipes[0], FIONREAD, &value))
			_exit(1);
		execv("/bin/true", arguments);
		_exit(2);
	}
	check_child(pid, 0);
	for (int k = 0; k < 3; k++)
		RIGHT(!pthread_join(t[k], NULL));
	make_calls();
}

static void *last_thread(void *unused)
{
	(void)unused;
	for (;;)
		make_calls();
	return NULL;
}

int main(void)
{
	size_t size = getauxval(AT_MINSIGSTKSZ);
	stack_t st = { .ss_size = (size ? size : 2048) + HANDLER_NEEDS };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval on = { { 0, 100 }, { 0, 100 } };
	pthread_t t;

	/* behind a page that is no stack, so that one byte too many is the end */
	st.ss_sp = mmap(NULL, GUARD + st.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (st.ss_sp == MAP_FAILED || mprotect(st.ss_sp, GUARD, PROT_NONE))
		return 1;
	st.ss_sp = (char *)st.ss_sp + GUARD;
	if (pipe(pipes) || write(pipes[1], "abc", 3) != 3 || sigaltstack(&st, NULL))
		return 1;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &on, NULL);
	for (int i = 0; (i < ROUNDS || handled < HANDLERS) && !wrong; i++)
		one_round(i);
	printf(wrong ? "line %d is wrong\n" : "fine\n", (int)wrong);
	fflush(stdout);
	pthread_create(&t, NULL, last_thread, NULL);	/* and exits with threads that make calls */
	return wrong ? 1 : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * v_exit.c - Ends as it is told, so that somebody can look at how that arrives elsewhere
 *
 *	v_exit [COMMAND [MILLISECONDS]]
 *
 * COMMAND, an argument (then carried out by itself) or a line on standard input:
 *	exit N		exit with that status
 *	kill N		end by that signal, sent to itself
 *	abort		call abort()
 *	fault		write to address 0
 *	thread N	a second thread calls exit_group(N) while main sleeps
 * Anything else: "ok".
 */
#include <pthread.h>

#include "victim.h"

static void *exit_from_thread(void *arg)
{
	syscall(SYS_exit_group, *(int *)arg);
	return NULL;
}

static void do_exit(int n)
{
	_exit(n);
}

static void do_kill(int n)
{
	signal(n, SIG_DFL);
	kill(getpid(), n);
}

static void do_abort(int n)
{
	(void)n;
	abort();
}

static void do_fault(int n)
{
	(void)n;
	/* volatile twice: the compiler must neither know the address nor leave the write out */
	volatile int *volatile nowhere = NULL;
	*nowhere = 1;
}

static void do_thread(int n)
{
	pthread_t t;

	CHECK(!pthread_create(&t, NULL, exit_from_thread, &n), "pthread_create");
	for (;;)
		pause();
}

static const struct {
	const char *name;
	void (*run)(int n);
} commands[] = {
	{ .name = "exit", .run = do_exit },
	{ .name = "kill", .run = do_kill },
	{ .name = "abort", .run = do_abort },
	{ .name = "fault", .run = do_fault },
	{ .name = "thread", .run = do_thread },
};

static void obey(const char *line)
{
	char name[16] = "";
	int n = 0;

	if (sscanf(line, "%15s %d", name, &n) < 1)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name)) {
			commands[i].run(n);
			FAIL("\"%s %d\" did not end me", name, n);
		}
}

int main(int argc, char **argv)
{
	int64_t until = argc > 1 ? deadline_in_ms(argc > 2 ? atoll(argv[2]) : 2000) : NO_DEADLINE;

	victim_ready();
	while (clock_ns(CLOCK_MONOTONIC) < until)
		if (!victim_goes_on(10)) {
			obey(victim_line);
			return victim_ok();
		}
	obey(argv[1]);
	return victim_ok();
}

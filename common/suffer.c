/* SPDX-License-Identifier: MIT */
/*
 * suffer.c - To stop or end as another process did
 */
#include "common/suffer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

void suffer(int signo)
{
	sigset_t one;

	signal(signo, SIG_DFL);
	raise(signo);
	sigemptyset(&one);
	sigaddset(&one, signo);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	sigprocmask(SIG_BLOCK, &one, NULL);
}

void suffer_end(int status)
{
	if (!WIFSIGNALED(status))
		_exit(WEXITSTATUS(status));
	suffer(WTERMSIG(status));
	_exit(128 + WTERMSIG(status));	/* it can't end us: we are pid 1 of a namespace */
}

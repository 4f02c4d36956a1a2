/* SPDX-License-Identifier: MIT */
/*
 * stand_in.c - A process that stands for one that stayed at the origin
 */
#include "proxy/target/stand_in.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/suffer.h"

#define ORDERS_FD 3
#define REPORTS_FD 4

static void be_like(int status)
{
	if (WIFSTOPPED(status))
		suffer(WSTOPSIG(status));
	else if (WIFEXITED(status) || WIFSIGNALED(status))
		suffer_end(status);
}

static void report_children(void)
{
	struct stand_in_report r;
	int status;

	while ((r.pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL)) > 0) {
		r.status = status;
		if (write(REPORTS_FD, &r, sizeof(r)) != sizeof(r))
			return;
	}
}

static void obey(void)
{
	struct stand_in_order m;
	ssize_t n = read(ORDERS_FD, &m, sizeof(m));

	if (n != sizeof(m))
		_exit(0);	/* the keeper has let go of it */
	if (m.order == STAND_IN_LIKE)
		be_like(m.a);
	else if (m.order == STAND_IN_KILL && kill(m.a, m.b))
		return;
}

void NORETURN stand_in_be(int orders, int reports, const char *name)
{
	sigset_t chld, all;
	int o = fcntl(orders, F_DUPFD, 16), r = fcntl(reports, F_DUPFD, 16), s;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (dup2(o, ORDERS_FD) < 0 || dup2(r, REPORTS_FD) < 0)
		_exit(1);
	close_range(0, ORDERS_FD - 1, 0);
	close_range(REPORTS_FD + 1, ~0U, 0);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	s = signalfd(-1, &chld, 0);
	(void)prctl(PR_SET_NAME, name);
	for (;;) {
		struct pollfd p[] = { { .fd = ORDERS_FD, .events = POLLIN }, { .fd = s, .events = POLLIN } };
		struct signalfd_siginfo si;

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents && read(s, &si, sizeof(si)) > 0)
			report_children();
		if (p[0].revents)
			obey();
	}
}

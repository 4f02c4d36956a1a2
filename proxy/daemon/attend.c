/* SPDX-License-Identifier: MIT */
/*
 * attend.c - A process between a shell and the deputy of a program that came out of a file
 */
#include "proxy/daemon/attend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/scope.h"
#include "common/suffer.h"

#define COPY_SIZE 65536
#define ABOVE_STANDARD 3

/* One of the standard streams, as it is copied.  Nothing is copied where both are -1 */
struct copy {
	int number;
	int from, to;		/* ours; -1: closed */
	int its;		/* the child's end of the pipe; -1: it has what we had */
	uint8_t *buf;
	size_t at, len;		/* what waits to be written */
};

struct attendance {
	struct copy copies[STANDARD_STREAMS];
	pid_t child;
	int signals, status, stop;
	bool ended;
};

/* ---- streams --------------------------------------------------------------------------------- */

static bool is_pipe(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISFIFO(st.st_mode);
}

/* A number that isn't open would be given to the next file that somebody opens */
static int fill_standard(struct err *e)
{
	for (int fd = 0; fd < STANDARD_STREAMS; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return err_set(e, -errno, "open /dev/null");
	return 0;
}

/* A pipe between the child's descriptor @n and what ours is */
static int make_copy(struct copy *c, int n, bool out, struct err *e)
{
	int ends[2], ours;

	c->number = n;
	ours = fcntl(n, F_DUPFD_CLOEXEC, ABOVE_STANDARD);
	c->buf = malloc(COPY_SIZE);
	if (ours < 0 || !c->buf || pipe2(ends, O_CLOEXEC))
		return err_set(e, errno ? -errno : -ENOMEM, "connect the standard streams");
	c->its = ends[out];
	c->from = out ? ends[0] : ours;
	c->to = out ? ours : ends[1];
	/* of the program's input no more is taken than the pipe has room for */
	return !out && fcntl(c->to, F_SETFL, O_NONBLOCK) ? err_set(e, -errno, "connect the standard streams") : 0;
}

static int make_copies(struct attendance *a, const struct standard_stream *streams, struct err *e)
{
	int rc = fill_standard(e);

	for (int n = 0; n < STANDARD_STREAMS; n++)
		a->copies[n] = (struct copy){ .from = -1, .to = -1, .its = -1 };
	for (int n = 0; n < STANDARD_STREAMS && !rc; n++)
		if (streams[n].wanted && !is_pipe(n))
			rc = make_copy(&a->copies[n], n, streams[n].out, e);
	return rc;
}

/* What the child has of ours directly must end when it ends it: we hold it no longer */
static void let_go(const struct standard_stream *streams)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int n = 0; n < STDERR_FILENO; n++)
		if (streams[n].wanted && null >= 0)
			dup2(null, n);
	if (null >= ABOVE_STANDARD)
		close(null);
}

static void end_copy(struct copy *c)
{
	drop_fd(&c->from);
	drop_fd(&c->to);
}

static void write_out(struct copy *c)
{
	ssize_t n = write(c->to, c->buf + c->at, c->len - c->at);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {		/* nobody reads any more: the other end learns it */
		end_copy(c);
		return;
	}
	c->at += (size_t)n;
}

static void read_in(struct copy *c)
{
	ssize_t n = read(c->from, c->buf, COPY_SIZE);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_copy(c);
		return;
	}
	c->at = 0;
	c->len = (size_t)n;
}

static struct pollfd wants(const struct copy *c)
{
	return c->at < c->len ? (struct pollfd){ c->to, POLLOUT, 0 } : (struct pollfd){ c->from, POLLIN, 0 };
}

static void copy_some(struct copy *c)
{
	if (c->from < 0)
		return;
	if (c->at < c->len)
		write_out(c);
	else
		read_in(c);
}

/* After the child's end: what is in the pipes still */
static void drain(struct attendance *a)
{
	for (int n = 1; n < STANDARD_STREAMS; n++)
		while (a->copies[n].from >= 0)
			copy_some(&a->copies[n]);
}

/* ---- the child ------------------------------------------------------------------------------- */

static void NORETURN live(struct attendance *a, attend_child_fn *child, void *ctx, const sigset_t *mask, pid_t parent)
{
	int err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, ABOVE_STANDARD);
	sigset_t its = *mask;

	setpgid(0, 0);
	/* what it says while it is in the background isn't worth to be stopped for */
	sigaddset(&its, SIGTTOU);
	sigprocmask(SIG_SETMASK, &its, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || err < 0)
		_exit(EXIT_FAILURE);
	for (int n = 0; n < STANDARD_STREAMS; n++)
		if (a->copies[n].its >= 0)
			dup2(a->copies[n].its, n);
	_exit(child(ctx, err));
}

static void child_changed(struct attendance *a)
{
	int status;

	while (waitpid(a->child, &status, WNOHANG | WUNTRACED) == a->child) {
		if (WIFSTOPPED(status)) {
			raise(SIGSTOP);	/* what lets us go on is passed on as any signal */
		} else {
			a->ended = true;
			a->status = status;
			return;
		}
	}
}

static void pass_signal(struct attendance *a, const struct signalfd_siginfo *si)
{
	union sigval value = { .sival_ptr = (void *)(uintptr_t)si->ssi_ptr };

	if (si->ssi_signo == SIGCHLD)
		child_changed(a);
	else if (si->ssi_signo == SIGTSTP)
		kill(a->child, a->stop);
	else if (si->ssi_code == SI_QUEUE)
		sigqueue(a->child, (int)si->ssi_signo, value);
	else
		kill(a->child, (int)si->ssi_signo);
}

/* All but those that tell of our own doings: a terminal in the background, a pipe without readers */
static int take_signals(struct attendance *a, sigset_t *before, struct err *e)
{
	static const int own[] = { SIGTTIN, SIGTTOU, SIGPIPE, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS };
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		sigdelset(&set, own[i]);
	sigprocmask(SIG_BLOCK, &set, before);
	a->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return a->signals < 0 ? err_set(e, -errno, "take signals") : 0;
}

static void serve(struct attendance *a)
{
	struct signalfd_siginfo si;

	while (!a->ended) {
		struct pollfd p[STANDARD_STREAMS + 1] = { { a->signals, POLLIN, 0 } };

		for (int n = 0; n < STANDARD_STREAMS; n++)
			p[n + 1] = wants(&a->copies[n]);
		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		for (int n = 0; n < STANDARD_STREAMS; n++)
			if (p[n + 1].revents)
				copy_some(&a->copies[n]);
		while (read(a->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
			pass_signal(a, &si);
	}
}

/* As the child did, but without a core: the program's is elsewhere */
static void NORETURN end_as(int status)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	suffer_end(status);
}

int attend(const struct standard_stream streams[STANDARD_STREAMS], int stop, attend_child_fn *child, void *ctx,
	   struct err *e)
{
	struct attendance a = { .signals = -1, .stop = stop };
	pid_t parent = getpid();
	sigset_t before;
	int rc = make_copies(&a, streams, e);

	if (!rc)
		rc = take_signals(&a, &before, e);
	if (rc)
		return rc;
	a.child = fork();
	if (a.child < 0)
		return err_set(e, -errno, "fork");
	if (!a.child)
		live(&a, child, ctx, &before, parent);
	setpgid(a.child, a.child);	/* whoever comes first */
	signal(SIGPIPE, SIG_IGN);
	let_go(streams);
	for (int n = 0; n < STANDARD_STREAMS; n++)
		drop_fd(&a.copies[n].its);
	serve(&a);
	drain(&a);
	end_as(a.status);
}

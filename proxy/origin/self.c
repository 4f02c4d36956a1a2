/* SPDX-License-Identifier: MIT */
/*
 * self.c - This machine as its own target
 */
#include "proxy/origin/self.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"

#define KEPT_FD 3		/* the one descriptor that a child of ours keeps, beside the standard ones */

/* The life of a target's session whose link is @fd.  @user: the only one that it may serve */
static void NORETURN serve_as_target(const struct session_env *env, int fd, bool root, const char *user)
{
	struct peer me = { .name = ASK_SELF, .addr = "self", .pin = "self" };
	struct session_env its = *env;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(fd, KEPT_FD);
	close_range(KEPT_FD + 1, ~0U, 0);	/* our links and sockets must end when we do */
	its.leash = -1;
	its.root = root;
	its.only_user = user;
	_exit(target_serve(&its, link_of_fd(KEPT_FD), &me));
}

static int stream_pair(int sv[2], struct err *e)
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv) ? err_set(e, -errno, "make a socket pair")
										       : 0;
}

/* ---- with root's rights ------------------------------------------------------------------------ */

/* One more session for each byte that comes, until nobody is there any more */
static void NORETURN keep(const struct session_env *env, const char *user)
{
	char byte;

	while (sock_recv(KEPT_FD, &byte, 1, NULL, NULL, NO_DEADLINE) == 1) {
		int sv[2], rc;
		pid_t pid;

		if (stream_pair(sv, NULL))
			break;
		pid = fork();
		if (!pid) {
			signal(SIGCHLD, SIG_DFL);
			serve_as_target(env, sv[1], true, user);
		}
		close(sv[1]);
		rc = pid < 0 ? -1 : sock_send(KEPT_FD, "l", 1, &sv[0], 1, deadline_in_ms(5000));
		close(sv[0]);
		if (rc)
			break;
	}
	_exit(0);
}

int self_keep(struct origin *o, struct err *e)
{
	struct passwd *pw = getpwuid(o->uid);	/* not by what a session's file says */
	int sv[2], rc = pw ? sock_pair(sv, e) : err_say(e, -EACCES, "E_USER: uid %u has no name here", o->uid);
	pid_t pid;

	if (rc)
		return rc;
	pid = fork();
	if (!pid) {
		dup2(sv[1], KEPT_FD);
		close_range(KEPT_FD + 1, ~0U, 0);
		signal(SIGCHLD, SIG_IGN);
		prctl(PR_SET_DUMPABLE, 0);
		keep(o->env, pw->pw_name);
	}
	close(sv[1]);
	o->self = sv[0];
	return pid < 0 ? err_set(e, -errno, "fork") : 0;
}

/* ---- from the session -------------------------------------------------------------------------- */

static struct link *ask_kept(struct origin *o, struct err *e)
{
	int fd = -1, nfds = 1, rc = sock_send(o->self, "c", 1, NULL, 0, deadline_in_ms(5000));
	char byte;

	if (!rc && (sock_recv(o->self, &byte, 1, &fd, &nfds, deadline_in_ms(5000)) != 1 || nfds != 1))
		rc = -ECONNRESET;
	if (rc) {
		err_set(e, rc, "connect to this machine itself");
		return NULL;
	}
	return link_of_fd(fd);
}

struct link *self_connect(struct origin *o, struct err *e)
{
	int sv[2];
	pid_t pid;

	if (o->self >= 0)
		return ask_kept(o, e);
	if (stream_pair(sv, e))
		return NULL;
	pid = fork();
	if (!pid)
		serve_as_target(o->env, sv[1], false, o->user);
	close(sv[1]);
	if (pid < 0) {
		err_set(e, -errno, "fork");
		close(sv[0]);
		return NULL;
	}
	return link_of_fd(sv[0]);
}

/* SPDX-License-Identifier: MIT */
/*
 * body.c - The process that a program is rebuilt in: made, traced, standing behind its exec
 */
#include "proxy/target/body.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/trace/tracee.h"

#define BODY_SOCK 3

/* In the child, plain C: what survives an exec */
struct becoming {
	const struct image *img;
	int sock;
};

static void become_body(void *ctx)
{
	const struct becoming *b = ctx;
	const struct image *img = b->img;
	int sock = b->sock;
	char *argv[] = { img->comm ? img->comm : (char *)"program", NULL }, *envp[] = { NULL };
	struct rlimit core;
	sigset_t none;
	char byte;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig <= 64; sig++)
		signal(sig, SIG_DFL);
	if (sock != BODY_SOCK && dup2(sock, BODY_SOCK) < 0)
		_exit(errno);
	fcntl(BODY_SOCK, F_SETFD, 0);
	close_range(0, BODY_SOCK - 1, 0);
	close_range(BODY_SOCK + 1, ~0U, 0);
	if (!getrlimit(RLIMIT_CORE, &core)) {	/* no core of a half-built program; the image's limit comes later */
		core.rlim_cur = 0;
		setrlimit(RLIMIT_CORE, &core);
	}
	if (img->cwd && chdir(img->cwd))
		_exit(errno);
	umask((mode_t)img->umask);
	/* the keeper isn't dumpable, and so weren't we: nobody could attach.  The tracer has when a byte comes */
	prctl(PR_SET_DUMPABLE, 1);
	if (send(BODY_SOCK, "r", 1, MSG_NOSIGNAL) != 1 || recv(BODY_SOCK, &byte, 1, 0) != 1)
		_exit(EPIPE);
	execve(img->exe ? img->exe : "", argv, envp);
	_exit(errno);
}

int body_pass_exec(pid_t pid, struct err *e)
{
	int status, rc = 0;

	if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0))
		rc = -errno;
	if (!rc)
		rc = tracee_wait(pid, &status, deadline_in_ms(5000));
	return rc ? err_set(e, rc, "step behind exec") : 0;
}

/*
 * The end of a traced thread group's leader is only reported when every thread's end has been
 * waited for: all of them are, whoever comes.
 */
void body_kill(pid_t pid)
{
	int status;
	pid_t got;

	kill(pid, SIGKILL);
	do
		got = waitpid(-1, &status, __WALL);
	while (got > 0 ? got != pid || WIFSTOPPED(status) : errno == EINTR);
}

static int to_exec(pid_t pid, const char *exe, struct err *e)
{
	int status, rc;

	for (;;) {
		rc = tracee_wait(pid, &status, deadline_in_ms(10000));
		if (rc == -ESRCH && WIFEXITED(status))
			return err_set(e, -WEXITSTATUS(status), "run %s here", exe);
		if (rc)
			return err_set(e, rc, "run %s here", exe);
		if (tracee_event(status) == PTRACE_EVENT_EXEC)
			return body_pass_exec(pid, e);
		if (ptrace(PTRACE_CONT, pid, 0, tracee_event(status) ? 0 : (void *)(intptr_t)WSTOPSIG(status)))
			return err_set(e, -errno, "run %s here", exe);
	}
}

int body_make(const struct image *survey, struct kin *kin, pid_t *pid, int *sock, int *body_sock, struct err *e)
{
	struct becoming b = { .img = survey };
	AUTO_FD int ours = -1;
	AUTO_FD int its = -1;
	int sv[2], rc;
	char ready;
	pid_t child;

	rc = sock_pair(sv, e);
	if (rc)
		return rc;
	ours = sv[0];
	its = sv[1];
	b.sock = its;
	child = kin_give_birth(kin, survey, become_body, &b);
	if (child < 0)
		return err_set(e, child, "make a process with pid %d", (int)survey->pid);
	close(take_fd(&its));
	if (sock_recv(ours, &ready, 1, NULL, NULL, deadline_in_ms(5000)) != 1)
		rc = err_say(e, -EPIPE, "process %d ended while it was made (working directory %s?)", (int)child,
			     survey->cwd ? survey->cwd : "/");
	else if (ptrace(PTRACE_SEIZE, child, 0, (void *)(uintptr_t)(BODY_OPTIONS | PTRACE_O_EXITKILL)))
		rc = err_set(e, -errno, "attach to process %d", (int)child);
	if (!rc)
		rc = sock_send(ours, "x", 1, NULL, 0, deadline_in_ms(5000));
	if (!rc)
		rc = to_exec(child, survey->exe ? survey->exe : "?", e);
	if (rc) {
		body_kill(child);
		return rc;
	}
	*pid = child;
	*sock = take_fd(&ours);
	*body_sock = BODY_SOCK;
	return 0;
}

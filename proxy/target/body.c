/* SPDX-License-Identifier: MIT */
/*
 * body.c - The process that a program is rebuilt in: made, traced, standing behind its exec
 */
#include "proxy/target/body.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
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
#include "proxy/target/birth.h"
#include "proxy/trace/tracee.h"

#define BETWEEN_MS 5
#define BODY_SOCK 3

/* In the child, plain C: what survives an exec */
struct becoming {
	const struct image *tree;
	int *socks;			/* a process each */
};

static void become_body(void *ctx, size_t process)
{
	const struct becoming *b = ctx;
	const struct image *img = image_process(b->tree, process);
	int sock = b->socks[process];
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
	if (img->cwd && !img->cwd_stays && chdir(img->cwd))
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
	AUTO_FD int pidfd = pidfd_open(pid, 0);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	/* its parent may be a stand-in; but threads that we trace end only when we have waited for them */
	kill(pid, SIGKILL);
	while (pidfd >= 0 && poll(&p, 1, BETWEEN_MS) != 1)
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			;
	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		;
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

/* From its first word to its exec */
static int make_one(const struct image *img, struct body *b, struct err *e)
{
	pid_t pid = (pid_t)img->pid;
	char ready;
	int rc = 0;

	if (sock_recv(b->sock, &ready, 1, NULL, NULL, deadline_in_ms(5000)) != 1)
		return err_say(e, -EPIPE, "process %d ended while it was made (working directory %s?)", (int)pid,
			       img->cwd ? img->cwd : "/");
	if (ptrace(PTRACE_SEIZE, pid, 0, (void *)(uintptr_t)(BODY_OPTIONS | PTRACE_O_EXITKILL)))
		return err_set(e, -errno, "attach to process %d", (int)pid);
	b->pid = pid;
	rc = sock_send(b->sock, "x", 1, NULL, 0, deadline_in_ms(5000));
	return rc ? err_set(e, rc, "start process %d", (int)pid) : to_exec(pid, img->exe ? img->exe : "?", e);
}

int body_make_all(const struct image *survey, struct kin *kin, struct body *bodies, struct err *e)
{
	size_t n = image_processes(survey);
	AUTO_FREE int *socks = malloc(n * sizeof(*socks));
	struct becoming b = { .tree = survey, .socks = socks };
	int sv[2], rc = socks ? 0 : err_set(e, -ENOMEM, "make the program's processes");
	size_t made = 0;

	for (; made < n && !rc; made++) {
		rc = sock_pair(sv, e);
		if (rc)
			break;
		bodies[made] = (struct body){ .sock = sv[0], .its = BODY_SOCK };
		socks[made] = sv[1];
	}
	if (!rc)
		rc = birth_all(kin, survey, become_body, &b, e);
	for (size_t i = 0; i < made; i++)
		close(socks[i]);
	for (size_t i = 0; i < n && !rc; i++)
		rc = make_one(image_process(survey, i), &bodies[i], e);
	for (size_t i = 0; i < made && rc; i++) {
		if (bodies[i].pid > 0)
			body_kill(bodies[i].pid);
		drop_fd(&bodies[i].sock);
		bodies[i].pid = 0;
	}
	return rc;
}

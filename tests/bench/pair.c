/* SPDX-License-Identifier: MIT */
/*
 * pair.c - A move on one machine, its two sessions joined without a daemon
 *
 *	pair [--tls] STATE_DIR LIBEXEC POLICY PID
 *
 * By a socket pair, or with --tls by the link that the product uses, over loopback.  For
 * tests/bench, and for looking at a move under a debugger.  Prints what the origin's session
 * answers, and returns when the program has ended.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/daemon/peers.h"
#include "proxy/daemon/policy_read.h"
#include "proxy/daemon/session.h"
#include "proxy/link/identity.h"
#include "proxy/link/link.h"
#include "proxy/link/tls_accept.h"
#include "proxy/link/tls_connect.h"

#define SETUP_MS 10000

/* What joins the two sessions: a socket pair, or a port of this machine */
struct joint {
	bool tls;
	int pair[2];
	int listening;
	uint16_t port;
	struct identity *id;
};

static void make_dirs(const char *state)
{
	static const char *const names[] = { "", "/sessions", "/deputy", "/keeper" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s%s", state, names[i]);
		mkdir(path, 0700);
	}
}

/* Prints PROGRESS and ANSWER until the session has nothing more to say */
static int print_answers(int fd)
{
	uint8_t buf[WIRE_LOCAL_MAX];
	struct wire_head h;
	const void *payload;
	ssize_t n;

	while ((n = sock_recv(fd, buf, sizeof(buf), NULL, NULL, NO_DEADLINE)) > 0) {
		struct wire_progress p;
		struct wire_answer a;

		if (wire_unpack(buf, (size_t)n, &h, &payload))
			return 1;
		if (h.type == WIRE_PROGRESS && !wire_get_progress(payload, h.length, &p))
			fprintf(stderr, "%.3f %s\n", (double)clock_ns(CLOCK_MONOTONIC) / 1e6, p.line);
		if (h.type == WIRE_ANSWER && !wire_get_answer(payload, h.length, &a)) {
			printf("%s\n", a.answer);
			fflush(stdout);
			return a.code != 0;
		}
	}
	return 1;
}

/* ---- the joint -------------------------------------------------------------- */

/* With the room that TCP finds for itself: the default holds a fifth of a frame */
static int make_pair(int pair[2], struct err *e)
{
	static const int room = 4 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return err_set(e, -errno, "make a socket pair");
	for (int k = 0; k < 2; k++)	/* what is forbidden goes slower */
		if (setsockopt(pair[k], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
			(void)setsockopt(pair[k], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	return 0;
}

static int joint_make(struct joint *j, const char *state, struct err *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	int rc;

	if (!j->tls)
		return make_pair(j->pair, e);
	rc = identity_open(state, &j->id, e);
	if (rc)
		return rc;
	j->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (j->listening < 0 || bind(j->listening, (void *)&at, size) || listen(j->listening, 1) ||
	    getsockname(j->listening, (void *)&at, &size))
		return err_set(e, -errno, "listen on loopback");
	j->port = ntohs(at.sin_port);
	return 0;
}

/* In the target's process */
static struct link *joint_of_target(struct joint *j, struct err *e)
{
	int fd;

	if (!j->tls) {
		close(j->pair[0]);
		return link_of_fd(j->pair[1]);
	}
	fd = accept4(j->listening, NULL, NULL, SOCK_CLOEXEC);
	close(j->listening);
	return fd < 0 ? NULL : tls_accept(j->id, fd, deadline_in_ms(SETUP_MS), e);
}

/* In the origin's process */
static struct link *joint_of_origin(struct joint *j, struct err *e)
{
	if (!j->tls) {
		close(j->pair[1]);
		return link_of_fd(j->pair[0]);
	}
	close(j->listening);
	return tls_connect(j->id, "127.0.0.1", j->port, identity_pin(j->id),
			   deadline_in_ms(SETUP_MS), e);
}

static void joint_drop(struct joint *j)
{
	close(j->tls ? j->listening : j->pair[0]);
	if (!j->tls)
		close(j->pair[1]);
}

/* ---- the two sessions --------------------------------------------------------- */

static int run_target(const struct session_env *env, struct joint *j)
{
	struct err e = { 0 };
	struct link *l = joint_of_target(j, &e);
	struct peer peer = { .name = "here" };

	if (l)
		return target_serve(env, l, &peer);
	fprintf(stderr, "pair: %s\n", e.text);
	return 1;
}

static int run_origin(const struct session_env *env, struct joint *j, int client, const char *pid)
{
	struct err e = { 0 };
	struct link *l = joint_of_origin(j, &e);
	char request[128];

	snprintf(request, sizeof(request), "{\"do\":\"move\",\"pid\":%s,\"host\":\"here\"}", pid);
	if (l)
		return origin_session_over(env, client, l, request);
	fprintf(stderr, "pair: %s\n", e.text);
	return 1;
}

static int run_both(const struct session_env *env, struct joint *j, const char *pid, struct err *e)
{
	int client[2], rc = sock_pair(client, e);
	pid_t target, origin;

	if (rc)
		return rc;
	target = fork();
	if (!target) {
		close(client[0]);
		close(client[1]);
		_exit(run_target(env, j));
	}
	origin = fork();
	if (!origin) {
		close(client[0]);
		_exit(run_origin(env, j, client[1], pid));
	}
	joint_drop(j);
	close(client[1]);
	rc = print_answers(client[0]);
	waitpid(origin, NULL, 0);
	waitpid(target, NULL, 0);
	return rc;
}

int main(int argc, char **argv)
{
	struct session_env env = { .host = "here", .leash = -1 };
	struct joint joint = { .tls = argc > 1 && !strcmp(argv[1], "--tls") };
	struct policy *policy;
	struct err e = { 0 };
	int rc;

	argv += joint.tls;
	if (argc - joint.tls != 5)
		return 2;
	rc = policy_read(argv[3], &policy, &e);
	if (!rc) {
		env.state_dir = argv[1];
		env.libexec = argv[2];
		env.policy = policy;
		env.root = geteuid() == 0;
		make_dirs(argv[1]);
		rc = joint_make(&joint, argv[1], &e);
	}
	if (!rc)
		rc = run_both(&env, &joint, argv[4], &e);
	if (rc < 0)
		fprintf(stderr, "pair: %s\n", e.text);
	return rc < 0 ? 2 : rc;
}

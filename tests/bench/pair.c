/* SPDX-License-Identifier: MIT */
/*
 * pair.c - A move on one machine, its two sessions joined by a socket pair: no TLS, no daemon
 *
 *	pair STATE_DIR LIBEXEC POLICY PID
 *
 * For tests/bench, where TLS is measured by itself, and for looking at a move under a debugger.
 * Prints what the origin's session answers, and returns when the program has ended.
 */
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
#include "proxy/link/link.h"

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

int main(int argc, char **argv)
{
	struct session_env env = { .host = "here", .leash = -1 };
	struct policy *policy;
	struct err e = { 0 };
	struct peer peer = { .name = "here" };
	int link[2], client[2], rc;
	char request[128];
	pid_t target, origin;

	if (argc != 5)
		return 2;
	if (policy_read(argv[3], &policy, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 2;
	}
	env.state_dir = argv[1];
	env.libexec = argv[2];
	env.policy = policy;
	env.root = geteuid() == 0;
	make_dirs(argv[1]);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, link) || sock_pair(client, &e))
		return 2;
	target = fork();
	if (!target) {
		close(link[0]);
		close(client[0]);
		close(client[1]);
		_exit(target_serve(&env, link_of_fd(link[1]), &peer));
	}
	close(link[1]);
	origin = fork();
	snprintf(request, sizeof(request), "{\"do\":\"move\",\"pid\":%s,\"host\":\"here\"}", argv[4]);
	if (!origin) {
		close(client[0]);
		_exit(origin_session_over(&env, client[1], link_of_fd(link[0]), request));
	}
	close(client[1]);
	close(link[0]);
	rc = print_answers(client[0]);
	waitpid(origin, NULL, 0);
	waitpid(target, NULL, 0);
	return rc;
}

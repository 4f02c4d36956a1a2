/* SPDX-License-Identifier: MIT */
/*
 * mrestore.c - The restore helper: makes the ground, becomes the keeper
 *
 * Started by a session with fixed arguments only.  It makes namespaces while it is still root (or
 * as an ordinary user in a user namespace), and its child, pid 1 in there, becomes the program's
 * user before it reads a byte of the image.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/target/ground.h"
#include "proxy/target/keeper.h"

struct arguments {
	struct ground ground;
	int control, listening, policy, socket_dir;
};

static long long number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoll(text, NULL, 10) : -1;
}

/* The session speaks by environment variables: one a fact, and the name says which */
static int read_arguments(struct arguments *a, struct err *e)
{
	const char *groups = getenv("MRESTORE_GROUPS");
	struct stat st;
	void *map;

	*a = (struct arguments){
		.ground = {
			.root = number_of("MRESTORE_ROOT") == 1,
			.uid = (uid_t)number_of("MRESTORE_UID"),
			.gid = (gid_t)number_of("MRESTORE_GID"),
			.image_uid = (uid_t)number_of("MRESTORE_IMAGE_UID"),
			.image_gid = (gid_t)number_of("MRESTORE_IMAGE_GID"),
			.monotonic_offset = number_of("MRESTORE_MONOTONIC"),
			.boottime_offset = number_of("MRESTORE_BOOTTIME"),
			.hostname = getenv("MRESTORE_HOSTNAME"),
		},
		.control = (int)number_of("MRESTORE_CONTROL"),
		.listening = (int)number_of("MRESTORE_LISTEN"),
		.policy = (int)number_of("MRESTORE_POLICY"),
		.socket_dir = (int)number_of("MRESTORE_SOCKET_DIR"),
	};
	while (groups && *groups && a->ground.n_groups < (int)ARRAY_SIZE(a->ground.groups)) {
		a->ground.groups[a->ground.n_groups++] = (gid_t)strtoul(groups, (char **)&groups, 10);
		groups += *groups == ',';
	}
	if (a->control < 0 || a->listening < 0 || fstat(a->policy, &st))
		return err_say(e, -EINVAL, "mrestore is started by mproxy, not by hand");
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, a->policy, 0);
	if (map == MAP_FAILED)
		return err_set(e, -errno, "read the policy");
	a->ground.policy = map;
	close(a->policy);
	return 0;
}

/* The listening socket has a name, which must not outlive us */
static void forget_socket(const struct arguments *a)
{
	const char *name = getenv("MRESTORE_SOCKET_NAME");

	if (name && a->socket_dir >= 0)
		unlinkat(a->socket_dir, name, 0);
}

/* The session waits for an answer: it gets our sentence, and the log has it too */
static void say_failure(const struct arguments *a, const struct err *e)
{
	struct wire_fail m = { .code = e->code, .text = e->text };
	uint8_t payload[1024], buf[1100];
	ssize_t n = wire_put_fail(payload, sizeof(payload), &m);

	log_err("%s", e->text);
	if (n > 0)
		n = wire_pack(buf, sizeof(buf), WIRE_FAIL, 0, payload, (size_t)n);
	if (n > 0 && sock_send(a->control, buf, (size_t)n, NULL, 0, 0))
		log_debug("the session is gone");
	forget_socket(a);
}

static int be_keeper(struct arguments *a)
{
	struct err e = { 0 };
	int rc = ground_settle(&a->ground, &e);

	if (!rc)
		rc = ground_become_user(&a->ground, &e);
	if (rc) {
		say_failure(a, &e);
		return 1;
	}
	prctl(PR_SET_DUMPABLE, 0);
	rc = keeper_run(&(struct keeper_start){ .control = a->control, .listening = a->listening, .ground = &a->ground,
						.user = !a->ground.root, .policy = a->ground.policy });
	forget_socket(a);
	return rc;
}

static const char help[] =
	"mrestore is started by mproxy for each program that arrives; it has no options but these:\n"
	"  --help     this text\n"
	"  --version  the version\n";

int main(int argc, char **argv)
{
	struct arguments a;
	struct err e = { 0 };
	pid_t pid;

	if (argc > 1) {
		if (!strcmp(argv[1], "--version"))
			return puts("mrestore " MSHIM_VERSION) < 0;
		return fputs(help, stdout) < 0 || strcmp(argv[1], "--help");
	}
	log_set_name("keeper");
	if (read_arguments(&a, &e)) {
		log_err("%s", e.text);
		return 1;
	}
	if (ground_unshare(&a.ground, &e)) {
		say_failure(&a, &e);
		return 1;
	}
	pid = fork();
	if (!pid)
		return be_keeper(&a);
	return pid < 0;
}

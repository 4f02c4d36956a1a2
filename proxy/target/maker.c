/* SPDX-License-Identifier: MIT */
/*
 * maker.c - The one thing that a target's session may still have done with privilege
 */
#include "proxy/target/maker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/trace/procfs.h"

struct offsets {
	int64_t monotonic, boottime;
};

/* The policy is one flat block: the keeper maps it */
static int policy_memfd(const struct policy *p, struct err *e)
{
	AUTO_FD int fd = memfd_create("policy", MFD_CLOEXEC);
	size_t len = policy_size(p);

	if (fd < 0 || write(fd, p, len) != (ssize_t)len)
		return err_set(e, -errno, "pass the policy on");
	return take_fd(&fd);
}

static void set_number(const char *name, long long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", v);
	setenv(name, text, 1);
}

/* In the maker, once told to go */
static NORETURN void become_mrestore(const struct session_env *env, const struct maker_user *u, const char *name,
				     const int fds[4], const struct offsets *o)
{
	char path[4096], groups[4096] = "", *argv[] = { (char *)"mrestore", NULL };
	static const char *const names[] = { "MRESTORE_CONTROL", "MRESTORE_LISTEN", "MRESTORE_POLICY",
					     "MRESTORE_SOCKET_DIR" };
	const char *fault = getenv("MMIGRATE_FAULT"), *foreign = getenv("MMIGRATE_FOREIGN_VDSO");
	AUTO_FREE char *kept_fault = fault ? strdup(fault) : NULL;
	AUTO_FREE char *kept_foreign = foreign ? strdup(foreign) : NULL;
	size_t n = 0;

	clearenv();
	if (kept_fault)
		setenv("MMIGRATE_FAULT", kept_fault, 1);
	if (kept_foreign)
		setenv("MMIGRATE_FOREIGN_VDSO", kept_foreign, 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		set_number(names[i], fds[i]);
		fcntl(fds[i], F_SETFD, 0);
	}
	for (int i = 0; i < u->n_groups && n < sizeof(groups) - 16; i++)
		n += (size_t)snprintf(groups + n, sizeof(groups) - n, "%s%u", n ? "," : "", u->groups[i]);
	set_number("MRESTORE_ROOT", env->root);
	set_number("MRESTORE_UID", u->uid);
	set_number("MRESTORE_GID", u->gid);
	set_number("MRESTORE_IMAGE_UID", u->image_uid);
	set_number("MRESTORE_IMAGE_GID", u->image_gid);
	set_number("MRESTORE_MONOTONIC", o->monotonic);
	set_number("MRESTORE_BOOTTIME", o->boottime);
	setenv("MRESTORE_GROUPS", groups, 1);
	setenv("MRESTORE_SOCKET_NAME", name, 1);
	setenv("MRESTORE_HOSTNAME", u->hostname, 1);
	snprintf(path, sizeof(path), "%s/mrestore", env->libexec);
	execv(path, argv);
	log_err("run %s: %s", path, strerror(errno));
	_exit(127);
}

/*
 * A socket per session and peer: another peer that knows the id gets nowhere.  Each user's keepers
 * remove their own; nobody else gets past the state directory.
 */
static int open_place(struct maker *m, const struct session_env *env, const char *sid, const char *pin, char *path,
		      size_t size, struct err *e)
{
	char dir[4096];

	snprintf(m->name, sizeof(m->name), "%s-%.16s.sock", sid, pin);
	snprintf(dir, sizeof(dir), "%s/keeper", env->state_dir);
	if ((mkdir(dir, 0700) && errno != EEXIST) || (env->root && chmod(dir, 01777)))
		return err_set(e, -errno, "make %s", dir);
	m->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dir < 0)
		return err_set(e, -errno, "open %s", dir);
	snprintf(path, size, "/proc/self/fd/%d/%s", m->dir, m->name);
	return 0;
}

void maker_forget(struct maker *m)
{
	if (m->dir >= 0)
		unlinkat(m->dir, m->name, 0);
}

int maker_fork(struct maker *m, const struct session_env *env, const char *sid, const char *pin,
	       const struct maker_user *user, struct err *e)
{
	AUTO_FD int policy = -1;
	AUTO_FD int listening = -1;
	AUTO_FD int theirs = -1;
	char path[128];
	int sv[2], go[2], rc;
	pid_t pid;

	*m = (struct maker){ .control = -1, .resumed = -1, .go = -1, .dir = -1 };
	rc = open_place(m, env, sid, pin, path, sizeof(path), e);
	if (rc)
		return rc;
	m->resumed = sock_connect(path, NULL);
	if (m->resumed >= 0)
		return 0;
	policy = policy_memfd(env->policy, e);
	if (policy < 0)
		return policy;
	rc = sock_pair(sv, e);
	if (rc)
		return rc;
	m->control = sv[0];
	theirs = sv[1];
	if (pipe2(go, O_CLOEXEC))
		return err_set(e, -errno, "make a pipe");
	listening = sock_listen(path, 0600, e);
	if (listening < 0)
		return listening;
	if (env->root && chown(path, user->uid, user->gid))
		return err_set(e, -errno, "give %s to the user", path);
	pid = fork();
	if (pid < 0)
		return err_set(e, -errno, "fork");
	if (!pid) {
		int fds[4] = { theirs, listening, policy, m->dir };
		struct offsets o;

		close(go[1]);
		close(m->control);
		signal(SIGPIPE, SIG_DFL);
		if (read(go[0], &o, sizeof(o)) == sizeof(o))
			become_mrestore(env, user, m->name, fds, &o);
		maker_forget(m);
		_exit(0);
	}
	close(go[0]);
	m->go = go[1];
	return 0;
}

int maker_start(struct maker *m, int64_t monotonic_offset, int64_t boottime_offset, struct err *e)
{
	struct offsets o = { monotonic_offset, boottime_offset };
	int rc = 0;

	if (m->go < 0)
		return err_say(e, -EPROTO, "the program is prepared already");
	if (write(m->go, &o, sizeof(o)) != sizeof(o))
		rc = err_set(e, -errno, "start the restore helper");
	drop_fd(&m->go);
	return rc;
}

int maker_pid_of(int pidfd, pid_t *pid, struct err *e)
{
	char text[1024];
	uint64_t v;
	ssize_t n = procfs_read(getpid(), text, sizeof(text), "fdinfo/%d", pidfd);

	if (n < 0 || procfs_number(text, "Pid", 10, &v) || (int64_t)v <= 0)
		return err_say(e, -ESRCH, "the program's pid can't be found");
	*pid = (pid_t)v;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * check.c - The target's answer to a survey, before anything stops
 *
 * checks[] is the list: each adds what it has against the move, and none ends it, so that the user
 * learns everything at once.  What can't be found out is a reason too.  Files are in
 * check_files.c.
 */
#include "proxy/target/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/image/cpu.h"
#include "proxy/trace/pids.h"
#include "proxy/trace/procfs.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define MIB (1024 * 1024)
#define SPARE_DESCRIPTORS 400	/* above the program's highest: what rebuilding takes */
#define REASONS_MAX 1000	/* in a peer's answer */
#define WANTS_MAX 65536

/** read_text() - All of a small file.  Return: 0 or a negative errno; @buf has a NUL at its end */
static int read_text(const char *path, char *buf, size_t size)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0 && len + 1 < size) {
		n = read(fd, buf + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		return -errno;
	buf[len] = 0;
	return 0;
}

/* ---- the user ------------------------------------------------------------------------------ */

/* The other ids are the same as these, or the origin had a reason against it */
static void check_user(struct check *c)
{
	const struct image *s = c->survey;

	if (s->euid < 0 || s->euid >= UINT32_MAX || s->egid < 0 || s->egid >= UINT32_MAX)
		reasons_add(c->why, REASON_USER, NULL,
			    "the origin doesn't say whom the program runs as");
	else if (!c->root && (!s->ruid || !s->euid || !s->suid))
		reasons_add(c->why, REASON_USER, NULL,
			    "the program runs as root, and mproxy here as the ordinary user \"%s\"",
			    c->user);
	else if (c->root && s->euid != c->uid)
		reasons_add(c->why, REASON_USER, NULL,
			    "the program runs as uid %lld, user \"%s\" is uid %u here",
			    (long long)s->euid, c->user, c->uid);
	else if (c->root && s->egid != c->gid)
		reasons_add(c->why, REASON_USER, NULL,
			    "the program runs as gid %lld, the group of user \"%s\" is gid %u here",
			    (long long)s->egid, c->user, c->gid);
}

/* ---- namespaces ---------------------------------------------------------------------------- */

/* What ground.c will need, tried one by one: the answer names what fails */
static const struct {
	int flag;
	const char *name;
} namespaces[] = {
	{ CLONE_NEWNS, "mount" }, { CLONE_NEWUTS, "uts" }, { CLONE_NEWIPC, "ipc" },
	{ CLONE_NEWNET, "network" }, { CLONE_NEWPID, "pid" }, { CLONE_NEWTIME, "time" },
};

/* What the child found; all zero: everything can be had */
struct probe {
	int code;		/* enum reason_code */
	int error;		/* errno */
	char what[48];
};

static bool write_file(struct probe *p, const char *path, const char *fmt, ...) PRINTF(3, 4);
static bool write_file(struct probe *p, const char *path, const char *fmt, ...)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[64];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fd >= 0 && write(fd, text, (size_t)n) == n)
		return true;
	p->error = errno;
	snprintf(p->what, sizeof(p->what), "writing %s", path);
	return false;
}

/*
 * A session isn't dumpable, and the files of such a process in /proc are root's: uid_map couldn't
 * be written.  Whoever could look into this child for the moment it lives can read the
 * keys of the same user's mproxy from its files anyway; root's never comes here.
 */
static bool probe_user_namespace(const struct check *c, struct probe *p)
{
	p->code = REASON_USER_NAMESPACE;
	prctl(PR_SET_DUMPABLE, 1);
	if (unshare(CLONE_NEWUSER)) {
		p->error = errno;
		snprintf(p->what, sizeof(p->what), "making one");
		return false;
	}
	return write_file(p, "/proc/self/setgroups", "deny") &&
	       write_file(p, "/proc/self/uid_map", "%u %u 1", (unsigned)c->survey->euid, c->uid) &&
	       write_file(p, "/proc/self/gid_map", "%u %u 1", (unsigned)c->survey->egid, c->gid);
}

/* Context: in a child, which then ends */
static void probe_all(const struct check *c, struct probe *p)
{
	if (!c->root && !probe_user_namespace(c, p))
		return;
	p->code = REASON_NAMESPACES;
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++) {
		if (!unshare(namespaces[i].flag))
			continue;
		p->error = errno;
		snprintf(p->what, sizeof(p->what), "%s", namespaces[i].name);
		return;
	}
}

/**
 * probe_run() - Let a child try
 *
 * Its answer comes by a pipe: whoever waits for all children of this process may reap it.
 *
 * Return: 0 or a negative errno: it couldn't be tried
 */
static int probe_run(const struct check *c, struct probe *p)
{
	AUTO_FD int in = -1, out = -1;
	int pipe_fds[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC))
		return -errno;
	in = pipe_fds[0];
	out = pipe_fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		probe_all(c, p);
		_exit(write(out, p, sizeof(*p)) != (ssize_t)sizeof(*p));
	}
	drop_fd(&out);
	do
		n = read(in, p, sizeof(*p));
	while (n < 0 && errno == EINTR);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return n == (ssize_t)sizeof(*p) ? 0 : -EPIPE;
}

/*
 * A privileged mproxy's session has dropped to the user already and can't try; its maker, forked
 * before, can still fail, before anything is frozen.
 */
static void check_namespaces(struct check *c)
{
	struct probe p = { 0 };
	int rc;

	if (c->root && geteuid())
		return;
	rc = probe_run(c, &p);
	if (rc)
		reasons_add(c->why, REASON_NAMESPACES, NULL,
			    "whether namespaces can be made couldn't be tried: %s", strerror(-rc));
	else if (p.error && p.code == REASON_USER_NAMESPACE)
		reasons_add(c->why, REASON_USER_NAMESPACE, NULL,
			    "user \"%s\" can't have a user namespace here (%s): %s", c->user,
			    p.what, strerror(p.error));
	else if (p.error)
		reasons_add(c->why, REASON_NAMESPACES, NULL, "no %s namespace can be made here: %s",
			    p.what, strerror(p.error));
}

/* ---- memory -------------------------------------------------------------------------------- */

static void say_memory(struct check *c, uint64_t room, const char *whose)
{
	uint64_t resident = 0;

	for (size_t i = 0; i < image_processes(c->survey); i++)
		resident += image_process(c->survey, i)->resident;
	if (resident > room)
		reasons_add(c->why, REASON_MEMORY, NULL,
			    "the program has %llu MiB in memory, and %s has %llu MiB left",
			    (unsigned long long)(resident / MIB), whose,
			    (unsigned long long)(room / MIB));
}

static void check_machine_memory(struct check *c)
{
	uint64_t available, swap;
	char text[8192];
	int rc = read_text("/proc/meminfo", text, sizeof(text));

	if (!rc)
		rc = procfs_number(text, "MemAvailable", 10, &available);
	if (!rc)
		rc = procfs_number(text, "SwapFree", 10, &swap);
	if (rc)
		reasons_add(c->why, REASON_MEMORY, NULL,
			    "how much memory is free here can't be read: %s", strerror(-rc));
	else
		say_memory(c, (available + swap) * 1024, "this machine");
}

/* Where the unified hierarchy is mounted, alone or beside the old ones; NULL: it isn't */
static const char *cgroup_mount(void)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs fs;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (!statfs(places[i], &fs) && fs.f_type == CGROUP2_SUPER_MAGIC)
			return places[i];
	return NULL;
}

/** cgroup_number() - A number of memory.stat.  Return: bytes, 0 if it isn't told */
static uint64_t cgroup_number(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *at = strstr(text, key); at; at = strstr(at + n, key))
		if ((at == text || at[-1] == '\n') && at[n] == ' ')
			return strtoull(at + n, NULL, 10);
	return 0;
}

/**
 * check_cgroup() - How much one control group has left
 *
 * A group's current use has the page cache in it, which makes room: it is taken off, as
 * MemAvailable does for the machine.
 *
 * Return: 0, also for a group without a limit, or a negative errno
 */
static int check_cgroup(struct check *c, const char *dir)
{
	char path[4200], text[8192], *end;
	uint64_t limit, used, cache = 0;
	int rc;

	snprintf(path, sizeof(path), "%s/memory.max", dir);
	rc = read_text(path, text, sizeof(text));
	if (rc == -ENOENT)
		return 0;	/* the root has none, nor a group without the memory controller */
	limit = rc ? 0 : strtoull(text, &end, 10);
	if (rc || end == text)	/* "max" */
		return rc;
	snprintf(path, sizeof(path), "%s/memory.current", dir);
	rc = read_text(path, text, sizeof(text));
	used = rc ? 0 : strtoull(text, NULL, 10);
	snprintf(path, sizeof(path), "%s/memory.stat", dir);
	if (!rc)
		rc = read_text(path, text, sizeof(text));
	if (rc)
		return rc;
	cache = cgroup_number(text, "inactive_file") + cgroup_number(text, "active_file");
	used -= MIN(cache, used);
	say_memory(c, limit > used ? limit - used : 0, "the control group of mproxy");
	return 0;
}

/* Our own control group (cgroup v2) and all around it: the program will be in it */
static void check_cgroups(struct check *c)
{
	const char *mount = cgroup_mount(), *line;
	char text[8192], dir[4096];
	int rc = read_text("/proc/self/cgroup", text, sizeof(text));
	size_t top = mount ? strlen(mount) : 0;

	if (rc)
		reasons_add(c->why, REASON_MEMORY, NULL,
			    "the control group of mproxy can't be read: %s", strerror(-rc));
	line = rc ? NULL : strstr(text, "0::/");
	if (!line || !mount || (line != text && line[-1] != '\n'))
		return;
	line += 3;
	/* outside of what our cgroup namespace shows: only its top can be seen */
	snprintf(dir, sizeof(dir), "%s%.*s", mount,
		 strncmp(line, "/..", 3) ? (int)strcspn(line, "\n") : 0, line);
	while (!(rc = check_cgroup(c, dir))) {
		*strrchr(dir, '/') = 0;
		if (strlen(dir) < top)
			return;
	}
	reasons_add(c->why, REASON_MEMORY, NULL, "how much memory %s has left can't be read: %s",
		    dir, strerror(-rc));
}

static void check_memory(struct check *c)
{
	check_machine_memory(c);
	check_cgroups(c);
}

/* ---- numbers ------------------------------------------------------------------------------- */

static void check_pids(struct check *c)
{
	const struct image *s = c->survey;
	int64_t top = s->pid, low = s->pid, max = pids_max();

	for (size_t i = 0; i < s->n_threads; i++) {
		top = MAX(top, s->threads[i].tid);
		low = MIN(low, s->threads[i].tid);
	}
	if (max < 2)
		reasons_add(c->why, REASON_PID_RANGE, NULL,
			    "how large pids may be here can't be read");
	else if (low < 2)
		reasons_add(c->why, REASON_PID_RANGE, NULL,
			    "the program has the pid %lld, which can't be given to it here",
			    (long long)low);
	else if (top >= max)
		reasons_add(c->why, REASON_PID_RANGE, NULL,
			    "the program has the pid %lld, and those here end at %lld",
			    (long long)top, (long long)max - 1);
}

/* A privileged mproxy raises its limit as it needs */
static void check_limits(struct check *c)
{
	struct rlimit rl;
	int64_t top = -1;

	for (size_t i = 0; i < c->survey->n_fds; i++)
		top = MAX(top, c->survey->fds[i].fd);
	if (c->root)
		return;
	if (getrlimit(RLIMIT_NOFILE, &rl))
		reasons_add(c->why, REASON_LIMITS, NULL,
			    "how many descriptors a process may have here can't be read: %s",
			    strerror(errno));
	else if (rl.rlim_max != RLIM_INFINITY && top > (int64_t)rl.rlim_max - SPARE_DESCRIPTORS)
		reasons_add(c->why, REASON_LIMITS, NULL,
			    "the program's highest descriptor is %lld; %d more are needed for "
			    "moving it, and mproxy may have %llu here",
			    (long long)top, SPARE_DESCRIPTORS, (unsigned long long)rl.rlim_max);
}

/* What is pulled comes through a file system of ours.  A privileged mproxy opens the device itself */
static void check_fuse(struct check *c)
{
	bool needed = false;

	for (size_t i = 0; i < c->survey->n_opens; i++)
		needed |= c->survey->opens[i].kind == OPEN_PULLED || c->survey->opens[i].kind == OPEN_ORIGIN;
	if ((needed || c->survey->cwd_stays) && access("/dev/fuse", c->root ? F_OK : R_OK | W_OK))
		reasons_add(c->why, REASON_FUSE, NULL,
			    "the program has a terminal, a shared pipe or a file of the origin's open, and /dev/fuse can't be used here: %s",
			    strerror(errno));
}

/* Linux 3.9 with CONFIG_CHECKPOINT_RESTORE; whoever makes an IPC namespace may write to it since 5.16 */
static void check_segments(struct check *c)
{
	bool needed = false;

	for (size_t i = 0; i < c->survey->n_objects; i++)
		needed |= c->survey->objects[i].sysv;
	if (needed && access("/proc/sys/kernel/shm_next_id", F_OK))
		reasons_add(c->why, REASON_KERNEL, NULL,
			    "the program has System V shared memory, and the kernel here can't number it (CONFIG_CHECKPOINT_RESTORE)");
}

static void check_cpu(struct check *c)
{
	cpu_check(c->survey, c->why);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static const struct {
	void (*check)(struct check *c);
	bool each;			/* of each process of a tree */
} checks[] = {
	{ check_user, true },	{ check_namespaces, false }, { check_cpu, true },  { check_memory, false },
	{ check_pids, true },	{ check_limits, true },	     { check_fuse, true },
	{ check_segments, true },
};

/**
 * check_survey() - Everything that stands in the way here, appended to c->why
 *
 * Return: 0, with or without reasons; a negative errno when the survey makes no sense or memory
 * runs out
 */
int check_survey(struct check *c, struct err *e)
{
	int rc = 0;

	c->tree = c->survey;
	c->n_wants = c->base = 0;
	if (c->tree->n_others > IMAGE_MOST_PROCESSES)
		return err_say(e, -E2BIG, "the survey names %zu processes", c->tree->n_others);
	for (c->process = 0; c->process < image_processes(c->tree) && !rc; c->process++) {
		c->survey = image_process(c->tree, c->process);
		for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
			if (!c->process || checks[i].each)
				checks[i].check(c);
		rc = check_files(c, e);
		c->base += c->survey->n_files;
	}
	c->survey = c->tree;
	return rc;
}

/* ---- the answer ---------------------------------------------------------------------------- */

json *check_answer(const struct check *c, const char *host)
{
	json *o = json_object(), *wants = json_array();

	for (size_t i = 0; i < c->n_wants; i++)
		json_push_int(wants, (int64_t)c->wants[i]);
	json_put(o, "reasons", reasons_to_json(c->why, host));
	json_put(o, "wants", wants);
	json_put_str(o, "mode", c->root ? "root" : "user");
	json_put_str(o, "user", c->user);
	json_put_str(o, "host", host);
	if (json_ok(o))
		return o;
	json_free(o);
	return NULL;
}

static int read_wants(const json *list, size_t **wants, size_t *n, struct err *e)
{
	size_t count = json_count(list);
	AUTO_FREE size_t *w = NULL;
	size_t k = 0;

	if (count > WANTS_MAX)
		return err_say(e, -E2BIG, "the target wants to compare %zu files", count);
	w = calloc(count + 1, sizeof(*w));
	if (!w)
		return err_set(e, -ENOMEM, "read the target's answer");
	for (const json *j = json_first(list); j; j = json_next(j)) {
		int64_t v;

		if (json_as_int(j, &v) || v < 0 || v >= WANTS_MAX)
			return err_say(e, -EINVAL,
				       "the target wants to compare a file that can't be");
		w[k++] = (size_t)v;
	}
	*wants = take_ptr(w);
	*n = k;
	return 0;
}

/**
 * check_read_answer() - What check_answer() wrote, or anything else that a peer sent
 * @wants:	NULL on failure
 * @mode:	"root" or "user", "" on failure
 *
 * Return: 0 or a negative errno
 */
int check_read_answer(const char *text, size_t len, struct reasons *why, size_t **wants, size_t *n,
		      char mode[8], struct err *e)
{
	const json *reasons, *list;
	AUTO_JSON json *o = NULL;
	const char *m;
	int rc = json_parse(text, len, &o, e);

	*wants = NULL;
	*n = 0;
	mode[0] = 0;
	if (!rc)
		rc = json_get_str(o, "mode", &m, e);
	if (!rc && strcmp(m, "root") && strcmp(m, "user"))
		rc = err_say(e, -EINVAL, "\"mode\" is neither \"root\" nor \"user\"");
	if (!rc)
		rc = json_get_array(o, "reasons", &reasons, e);
	if (!rc && json_count(reasons) > REASONS_MAX)
		rc = err_say(e, -E2BIG, "the target has %zu reasons", json_count(reasons));
	if (!rc)
		rc = json_get_array(o, "wants", &list, e);
	if (!rc)
		rc = reasons_from_json(why, reasons, e);
	if (!rc)
		rc = read_wants(list, wants, n, e);
	if (rc)
		return err_wrap(e, rc, "read the target's answer");
	strcpy(mode, m);
	return 0;
}

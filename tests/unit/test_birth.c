/* SPDX-License-Identifier: MIT */
/*
 * test_birth.c - Trees of made-up images are born in a pid namespace, and everybody says where it is
 *
 * Each tree is a text, a process a word: PID.PARENT.SESSION.GROUP, of the program; in front of it
 *	^ a parent that stayed, s a child that stayed, z one that has ended
 *	S, G behind it: the leader of its session, of its group has ended
 */
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/scope.h"
#include "proxy/target/birth.h"
#include "proxy/trace/procfs.h"

struct said {
	pid_t pid, parent, session, group;
};

static int out = -1;

static void say_where(void *ctx, size_t process)
{
	const struct image *img = image_process(ctx, process);
	struct said s = { getpid(), getppid(), getsid(0), getpgrp() };

	if (s.pid != img->pid || write(out, &s, sizeof(s)) != sizeof(s))
		_exit(1);
	for (;;)
		pause();
}

/* ---- the text ---------------------------------------------------------------------------------- */

static void add_kin(struct image *img, const struct said *s, bool child, bool ended)
{
	struct image_kin *k = image_add(img, kin);

	assert_non_null(k);
	*k = (struct image_kin){ .pid = s->pid, .session = s->session, .pgid = s->group, .child = child, .ended = ended,
				 .status = ended ? 7 << 8 : 0 };
}

static struct image *process_of(struct image *tree, pid_t pid)
{
	for (size_t p = 0; p < image_processes(tree); p++)
		if (image_process(tree, p)->pid == pid)
			return image_process(tree, p);
	fail_msg("process %d isn't there", (int)pid);
	return NULL;
}

static void add_one(struct image *tree, const char *word)
{
	bool special = !strchr("0123456789", word[0]);
	struct image *img = tree;
	char first = ' ', second = ' ';
	struct said s;

	assert_true(sscanf(word + special, "%d.%d.%d.%d%c%c", &s.pid, &s.parent, &s.session, &s.group, &first,
			   &second) >= 4);
	if (special) {
		add_kin(word[0] == '^' ? tree : process_of(tree, s.parent), &s, word[0] != '^', word[0] == 'z');
		return;
	}
	if (tree->pid)
		img = image_add(tree, others);
	assert_non_null(img);
	img->pid = s.pid;
	img->ppid = s.parent;
	img->session = s.session;
	img->pgid = s.group;
	img->no_session_leader = first == 'S' || second == 'S';
	img->no_group_leader = first == 'G' || second == 'G';
}

static struct image *parse(const char *text)
{
	AUTO_FREE char *copy = strdup(text);
	struct image *tree = calloc(1, sizeof(*tree));
	char *at = NULL;

	assert_non_null(copy);
	assert_non_null(tree);
	for (char *word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at))
		add_one(tree, word);
	return tree;
}

/* ---- in the namespace ---------------------------------------------------------------------------- */

static bool is_right(const char *what, long got, long wanted, pid_t pid)
{
	if (got != wanted)
		fprintf(stderr, "%s of %d is %ld, not %ld\n", what, (int)pid, got, wanted);
	return got == wanted;
}

/* Where it isn't ours to say: groups of those that stayed in other sessions */
static bool kin_is_right(const struct image *img, const struct image_kin *k)
{
	pid_t pid = (pid_t)k->pid;
	struct proc_stat st;

	if (procfs_stat(pid, pid, &st, NULL)) {
		fprintf(stderr, "%d isn't there\n", (int)pid);
		return false;
	}
	return is_right("state", st.state == 'Z', k->ended, pid) && is_right("session", st.session, k->session, pid) &&
	       is_right("group", st.pgrp, k->pgid, pid) && (!k->child || is_right("parent", st.ppid, img->pid, pid));
}

static bool all_are_right(struct image *tree, int in)
{
	struct said s;

	for (size_t n = 0; n < image_processes(tree); n++) {
		const struct image *img;

		if (read(in, &s, sizeof(s)) != sizeof(s))
			return false;
		img = process_of(tree, s.pid);
		if (!is_right("parent", s.parent, img->ppid, s.pid) || !is_right("session", s.session, img->session, s.pid) ||
		    !is_right("group", s.group, img->pgid, s.pid))
			return false;
	}
	for (size_t p = 0; p < image_processes(tree); p++)
		for (size_t i = 0; i < image_process(tree, p)->n_kin; i++)
			if (!kin_is_right(image_process(tree, p), &image_process(tree, p)->kin[i]))
				return false;
	return true;
}

/* Nobody is there who shouldn't be: those in between, and leaders that have ended */
static bool nobody_else_is_there(const struct kin *kin, const struct image *tree)
{
	size_t n = 0, wanted = image_processes(tree) + kin->n;
	AUTO_DIR DIR *d = opendir("/proc");
	struct dirent *one;

	while (d && (one = readdir(d)))
		n += atoi(one->d_name) > 1;
	return is_right("number of processes", (long)n, (long)wanted, 0);
}

static void NORETURN be_init(struct image *tree)
{
	struct kin kin;
	struct err e = { 0 };
	int ends[2];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(30);
	if (pipe(ends) || kin_open(&kin, &e))
		_exit(2);
	out = ends[1];
	if (birth_all(&kin, tree, say_where, tree, &e)) {
		fprintf(stderr, "%s\n", e.text);
		_exit(3);
	}
	close(ends[1]);
	/* the end of this one ends them all */
	_exit(all_are_right(tree, ends[0]) && nobody_else_is_there(&kin, tree) ? 0 : 4);
}

/* Return: 0; what be_init() says; -1: there are no namespaces here */
static int bear(const char *text)
{
	AUTO_IMAGE struct image *tree = parse(text);
	pid_t pid = fork(), init;
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS : CLONE_NEWPID | CLONE_NEWNS))
			_exit(77);
		init = fork();
		if (!init) {
			if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("proc", "/proc", "proc", 0, NULL))
				_exit(77);
			be_init(tree);
		}
		if (init < 0 || waitpid(init, &status, 0) != init)
			_exit(5);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) == 77 ? -1 : WEXITSTATUS(status);
}

static const char *const trees[] = {
	/* one process: its parent leads, shares its session, is in another, isn't known; it leads */
	"^50.0.50.50 100.50.50.100",
	"^50.0.40.50 100.50.40.100",
	"^50.0.40.40 100.50.40.100",
	"^50.0.50.50 100.50.40.90",
	"^50.0.45.50 100.50.40.90",
	"100.1.40.90",
	"100.1.40.90SG",
	"^50.0.50.50 100.50.100.100",
	"100.1.100.100",
	"100.1.0.0",
	/* children, of several generations; one leads a group, one a session; one is in the group of its child */
	"^50.0.50.50 100.50.50.100 101.100.50.101 102.101.50.101 103.100.103.103 104.103.103.104 s110.100.50.110 "
	"z111.100.50.111 s112.101.50.101",
	"100.1.100.100 101.100.100.102 102.101.100.102",
	/* in the group of one that has ended and wasn't waited for; of one that leads it, and is in another */
	"^50.0.50.50 100.50.50.100 z101.100.50.101 102.100.50.101",
	"^50.0.50.50 100.50.50.100 101.100.50.102 102.100.50.102 103.100.50.101",
	/* orphans: in the session of the first, whose leader stayed; their group's leader has ended, or didn't move */
	"^50.0.50.50 100.50.50.100 120.1.50.100 121.120.50.100",
	"^50.0.50.50 100.50.50.100 120.1.50.119G 121.1.50.119G",
	"^50.0.50.50 100.50.50.100 120.1.50.118",
	"100.1.100.100 120.1.100.120 121.120.100.120",
	/* daemons: one leads, one doesn't any more, one has children, and one of these is an orphan */
	"^50.0.50.50 100.50.50.100 120.1.120.120 121.120.120.120 122.1.120.121 123.1.119.119SG 124.123.119.124G",
	"100.1.100.100 120.1.119.119SG 121.1.119.119SG 122.1.119.121SG",
	/* the parent left the session when it had children there */
	"^50.0.50.50 100.50.50.100 101.100.101.101 102.101.50.100",
	"100.1.100.100 101.100.101.101 102.101.100.100 103.101.101.101 104.102.100.100",
	"^50.0.50.50 100.50.100.100 101.100.50.50",
	"^50.0.40.40 100.50.40.40S 101.100.101.101 102.101.40.40S",
	/* the parent adopted it: its session's leader has ended, is the parent's child, or a grandchild */
	"^50.0.50.50 100.50.50.100 120.100.119.119SG 121.120.119.119SG",
	"^50.0.50.50 100.50.50.100 119.100.119.119 120.100.119.119",
	"^50.0.50.50 100.50.50.100 118.100.50.100 119.118.119.119 120.100.119.120 121.1.119.119",
};

static void everybody_is_in_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
		int rc = bear(trees[i]);

		if (rc < 0)
			skip();
		if (rc)
			fail_msg("%d: %s", rc, trees[i]);
	}
}

/* Refused, not born somewhere else */
static const char *const impossible[] = {
	"^50.0.50.50 100.50.50.100 118.1.118.118 119.100.50.100 120.119.118.118",	/* whose leader is nobody's of the family */
	"^50.0.50.50 100.50.50.100 110.1.110.110 101.100.50.110",			/* a group of another session */
	"^50.0.50.50 100.101.50.100 101.100.50.101",					/* each other's children */
};

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++) {
		int rc = bear(impossible[i]);

		if (rc < 0)
			skip();
		if (rc != 3)
			fail_msg("%d: %s", rc, impossible[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_is_in_place),
		cmocka_unit_test(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_check.c - The target's answer to a survey, with real files in a directory of our own
 *
 * A survey is made as the origin would make it of those files; then the numbers of one are changed,
 * as they would be on another machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/scope.h"
#include "proxy/daemon/policy_read.h"
#include "proxy/image/cpu.h"
#include "proxy/image/file_id.h"
#include "proxy/target/check.h"

#define OTHER_USER 2001

static char dir[] = "/tmp/test_check.XXXXXX";
static struct policy *policy;

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	if (name[0] == '/')
		return name;
	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	AUTO_FD int fd = open(path_of(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0755);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static int make_dir(void **state)
{
	static const char rules[] = "{\"rules\":["
				    "{\"path\":\"%1$s/origin/**\",\"is\":\"origin\"},"
				    "{\"path\":\"%1$s/refused\",\"is\":\"refuse\"},"
				    "{\"path\":\"%1$s/ship*\",\"is\":\"ship\"}],"
				    "\"default\":\"local\"}";
	char text[512];
	struct err e = { 0 };

	(void)state;
	if (!mkdtemp(dir) || chmod(dir, 0755) || mkdir(path_of("origin"), 0755))
		return -1;
	snprintf(text, sizeof(text), rules, dir);
	if (policy_parse(text, strlen(text), "test", &policy, &e)) {
		print_error("%s\n", e.text);
		return -1;
	}
	put("exe", "#!/bin/sh\n");
	put("a", "content A\n");
	put("refused", "x");
	put("origin/file", "x");
	put("ship.so", "x");
	return symlink("origin/file", path_of("link"));
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	policy_free(policy);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

/* ---- a survey, and what is asked about it ---------------------------------------------------- */

static struct image_file *add(struct image *img, const char *name)
{
	struct image_file *f = image_add(img, files);
	struct stat st = { .st_mode = S_IFREG | 0644 };

	assert_non_null(f);
	assert_int_equal(image_set_str(&f->path, path_of(name)), 0);
	(void)!stat(f->path, &st);
	file_set_identity(f, &st);
	return f;
}

static struct image *survey_new(void)
{
	struct image *img = calloc(1, sizeof(*img));
	struct err e = { 0 };

	assert_non_null(img);
	img->version = IMAGE_VERSION;
	img->pid = 4242;
	img->ruid = img->euid = img->suid = geteuid();
	img->rgid = img->egid = img->sgid = getegid();
	img->resident = 1 << 20;
	assert_int_equal(image_set_str(&img->cwd, dir), 0);
	assert_int_equal(image_set_str(&img->exe, path_of("exe")), 0);
	add(img, "exe")->mapped = 1;
	if (cpu_describe(img, &e))
		fail_msg("%s", e.text);
	return img;
}

/* A check of @img; ends with its scope */
struct asked {
	struct check c;
	struct reasons why;
	struct err e;
	int rc;
};

static void asked_end(struct asked *a)
{
	reasons_free(&a->why);
	free(a->c.wants);
}
#define ASKED __attribute__((cleanup(asked_end))) struct asked

static void begin(struct asked *a, const struct image *img)
{
	*a = (struct asked){ .c = { .survey = img, .tree = img, .policy = policy, .root = !geteuid(),
				    .uid = geteuid(), .gid = getegid(), .user = "alice" } };
	a->c.why = &a->why;
}

static void ask_files(struct asked *a, const struct image *img)
{
	begin(a, img);
	a->rc = check_files(&a->c, &a->e);
	if (a->rc)
		fail_msg("%s", a->e.text);
}

static bool has(const struct asked *a, enum reason_code code, const char *text)
{
	for (size_t i = 0; i < a->why.n; i++)
		if (a->why.list[i].code == code && strstr(a->why.list[i].text, text))
			return true;
	return false;
}

static void show(const struct asked *a)
{
	for (size_t i = 0; i < a->why.n; i++)
		print_error("%s: %s\n", reason_name(a->why.list[i].code), a->why.list[i].text);
}

/* One reason and no more; REASON_COUNT: none */
static void expect(const struct asked *a, enum reason_code code, const char *text)
{
	if (code == REASON_COUNT ? !a->why.n : a->why.n == 1 && has(a, code, text))
		return;
	show(a);
	fail_msg("expected only %s: %s",
		 code == REASON_COUNT ? "nothing" : reason_name(code), text);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void test_same_identity(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a;

	(void)state;
	add(img, "a")->device++;	/* another machine's number of the same disk */
	ask_files(&a, img);
	expect(&a, REASON_COUNT, "");
	assert_int_equal(a.c.n_wants, 0);
}

static void test_content(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	struct image_file *f = add(img, "a");
	struct err e = { 0 };

	(void)state;
	f->inode++;
	f->ctime_ns--;
	{			/* not hashed yet */
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_COUNT, "");
		assert_int_equal(a.c.n_wants, 1);
		assert_int_equal(a.c.wants[0], 1);
	}
	assert_int_equal(file_identify(f, &e), 0);
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_COUNT, "");
		assert_int_equal(a.c.n_wants, 0);
	}
	f->sha256[0] = f->sha256[0] == '0' ? '1' : '0';
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_DIFFERS, "/a isn't the same: 10 bytes, sha256 ");
		assert_true(has(&a, REASON_FILE_DIFFERS, "… at the origin, 10 bytes, sha256 "));
	}
	f->size = 11;
	free(f->sha256);
	f->sha256 = NULL;
	{			/* nothing needs to be hashed for that */
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_DIFFERS,
		       "/a isn't the same: 11 bytes at the origin, 10 bytes here");
		assert_int_equal(a.c.n_wants, 0);
	}
}

/* An image out of a file: nobody can be asked any more, and what was written to must be as it was */
static void test_saved(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	struct image_file *f = add(img, "a");
	struct err e = { 0 };

	(void)state;
	img->saved_ns = 1;
	f->written = 1;
	f->ctime_ns--;
	{			/* its inode alone is enough for a move, which looks again when nobody writes */
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_CHANGED, "/a has been touched since the program was saved");
		assert_int_equal(a.c.n_wants, 0);
	}
	assert_int_equal(file_identify(f, &e), 0);
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_COUNT, "");
	}
	f->sha256[0] = f->sha256[0] == '0' ? '1' : '0';
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_CHANGED, "/a, which the program had open, isn't as it was when it was saved");
	}
	f->size = 9;
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_CHANGED, ": 9 bytes, sha256 ");
	}
	f->mapped = 1;		/* a library: another version of it is installed */
	f->written = 0;
	{
		ASKED a;

		ask_files(&a, img);
		expect(&a, REASON_FILE_DIFFERS, "/a isn't the same: 9 bytes");
	}
}

static void test_many_wants(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a;

	(void)state;
	for (int i = 0; i < 100; i++)
		add(img, "a")->inode++;
	ask_files(&a, img);
	assert_int_equal(a.c.n_wants, 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(a.c.wants[i], i + 1);
	assert_int_equal(check_files(&a.c, &a.e), 0);	/* of the next process: the list goes on */
	assert_int_equal(a.c.n_wants, 200);
}

/* One file in addition, and the one reason that it is */
static const struct {
	const char *name;
	mode_t type;		/* at the origin; 0: as here */
	bool ship;
	enum reason_code code;
	const char *says;
} cases[] = {
	{ "missing", 0, false, REASON_FILE_MISSING, "/missing doesn't exist here" },
	{ "a/missing", 0, false, REASON_FILE_MISSING, "/a/missing doesn't exist here" },
	{ "missing", 0, true, REASON_COUNT, "" },
	{ "ship.so", 0, true, REASON_COUNT, "" },
	{ "ship.so", 0, false, REASON_COUNT, "" },
	{ "refused", 0, false, REASON_POLICY, "the policy here refuses programs that need" },
	{ "refused", 0, true, REASON_POLICY, "/refused" },
	{ "origin/file", 0, false, REASON_ORIGIN_FILE, "/origin/file belongs to the origin" },
	{ "origin", 0, false, REASON_ORIGIN_FILE, "/origin belongs to the origin" },
	{ "link", 0, false, REASON_ORIGIN_FILE, "/origin/file) belongs to the origin" },
	{ "/", 0, false, REASON_COUNT, "" },
	{ "/etc", S_IFREG, false, REASON_FILE_DIFFERS,
	  "/etc is a regular file at the origin and a directory here" },
	{ "a", S_IFDIR, false, REASON_FILE_DIFFERS, "/a is a directory at the origin" },
	{ "/dev/null", 0, false, REASON_COUNT, "" },
	{ "/proc/meminfo", 0, false, REASON_COUNT, "" },
	{ "/proc/4242/maps", 0, false, REASON_COUNT, "" },
	{ "/proc/1/status", 0, false, REASON_SPECIAL_FILE, "/proc/1/status, a view of another" },
	{ "/proc/424/maps", 0, false, REASON_SPECIAL_FILE, "a view of another process" },
	{ "fifo", 0, false, REASON_SPECIAL_FILE, "/fifo, which is a named pipe" },
};

static void test_cases(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(path_of("fifo"), 0644), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_IMAGE struct image *img = survey_new();
		struct image_file *f = add(img, cases[i].name);
		ASKED a;

		if (cases[i].type)
			f->mode = cases[i].type | 0644;
		if (!S_ISREG(f->mode) || !strncmp(f->path, "/proc", 5))
			f->inode++, f->mtime_ns++;	/* doesn't matter for these */
		f->ship = cases[i].ship;
		ask_files(&a, img);
		expect(&a, cases[i].code, cases[i].says);
		if (cases[i].code == REASON_POLICY || cases[i].code == REASON_ORIGIN_FILE)
			assert_non_null(strstr(a.why.list[0].rule, "rule "));
	}
}

/* A process of a tree that looks at another one of it */
static void test_views(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a;

	(void)state;
	img->others = calloc(1, sizeof(*img->others));
	assert_non_null(img->others);
	img->n_others = 1;
	img->others[0].pid = 4343;
	add(img, "/proc/4343/stat");
	ask_files(&a, img);
	expect(&a, REASON_COUNT, "");
}

static void test_cwd(void **state)
{
	static const struct {
		const char *cwd;
		enum reason_code code;
		const char *says;
	} rows[] = {
		{ "/", REASON_COUNT, "" },
		{ "nowhere", REASON_DIRECTORY, "No such file or directory here" },
		{ "a", REASON_DIRECTORY, "is a regular file here" },
		{ "origin", REASON_ORIGIN_FILE, "the working directory" },
	};

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(rows); i++) {
		AUTO_IMAGE struct image *img = survey_new();
		ASKED a;

		free(img->cwd);
		img->cwd = i < ARRAY_SIZE(rows) ? strdup(path_of(rows[i].cwd)) : NULL;
		ask_files(&a, img);
		if (i < ARRAY_SIZE(rows))
			expect(&a, rows[i].code, rows[i].says);
		else
			expect(&a, REASON_DIRECTORY, "doesn't say");
	}
}

/* Surveys that no origin makes */
static void test_senseless(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		AUTO_IMAGE struct image *img = survey_new();
		struct image_file *f = add(img, "a");
		ASKED a;

		if (i == 0)
			img->exe_file = 2;
		else if (i == 1)
			img->exe_file = -1;
		else if (i == 2)
			img->exe[0] = 'x';
		else if (i == 3)
			f->path[0] = 'x';
		else
			free(f->path), f->path = i == 4 ? NULL : calloc(1, 1);
		begin(&a, img);
		assert_int_equal(check_files(&a.c, &a.e), -EINVAL);
		assert_true(*a.e.text);
	}
}

static void test_bounded(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	char name[32];
	ASKED a;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "missing%d", i);
		add(img, name);
	}
	ask_files(&a, img);
	assert_true(a.why.n < 200);
	assert_true(has(&a, REASON_FILE_DIFFERS, "2900 more files weren't looked at"));
}

/* In the child: as somebody who owns nothing here */
static int as_stranger(void)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a;

	if (!geteuid() && (setgroups(0, NULL) || setresgid(OTHER_USER, OTHER_USER, OTHER_USER) ||
			   setresuid(OTHER_USER, OTHER_USER, OTHER_USER)))
		return 2;
	add(img, "mine");		/* to read: fine */
	add(img, "log")->written = 1;
	add(img, "secret");
	add(img, "append-only")->written = 1;
	begin(&a, img);
	if (check_files(&a.c, &a.e))
		return 3;
	show(&a);
	return a.why.n == 2 && has(&a, REASON_USER, "user \"alice\" can't write to ") &&
	       has(&a, REASON_USER, "/log here: Permission denied") &&
	       has(&a, REASON_USER, "can't read ") && has(&a, REASON_USER, "/secret") ? 0 : 4;
}

static void test_rights(void **state)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = {
		{ "mine", 0444 }, { "log", 0444 }, { "secret", 0200 }, { "append-only", 0222 },
	};
	int status;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		put(files[i].name, "x");
		assert_int_equal(chmod(path_of(files[i].name), files[i].mode), 0);
	}
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(as_stranger());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_exe_rights(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a;

	(void)state;
	/* root may execute what has any x at all; here is none */
	assert_int_equal(chmod(path_of("exe"), 0644), 0);
	ask_files(&a, img);
	assert_int_equal(chmod(path_of("exe"), 0755), 0);
	expect(&a, REASON_USER, "can't execute");
}

/* A shipped program is executed all the same */
static void test_exe_shipped(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	ASKED a, b;

	(void)state;
	img->files[0].ship = 1;
	img->files[0].size++;
	ask_files(&a, img);
	expect(&a, REASON_COUNT, "");
	assert_int_equal(image_set_str(&img->exe, path_of("missing")), 0);
	assert_int_equal(image_set_str(&img->files[0].path, path_of("missing")), 0);
	ask_files(&b, img);
	expect(&b, REASON_FILE_MISSING, "/missing");
}

/* ---- the rest of a survey -------------------------------------------------------------------- */

static void make_flags_up(struct image *img)
{
	char flags[16384];

	snprintf(flags, sizeof(flags), "hypervisor vmx %s warp9 smep cmo", img->cpu_flags);
	assert_int_equal(image_set_str(&img->cpu_flags, flags), 0);
}

static void no_flags(struct image *img)
{
	free(img->cpu_flags);
	img->cpu_flags = NULL;
}

static void more_registers(struct image *img)
{
	img->xfeatures |= 1ull << 40 | 1ull << 62;
}

static void much_memory(struct image *img)
{
	img->resident = 1ull << 50;
}

static void large_pid(struct image *img)
{
	img->pid = 4194304;
}

static void large_tid(struct image *img)
{
	struct image_thread *t = image_add(img, threads);

	assert_non_null(t);
	t->tid = 1 << 30;
}

static void first_pid(struct image *img)
{
	img->pid = 1;
}

static void other_uid(struct image *img)
{
	img->euid = geteuid() + 1000;
}

static void other_gid(struct image *img)
{
	img->egid = getegid() + 1000;
}

static void no_uid(struct image *img)
{
	img->euid = -1;
}

static void saved_root(struct image *img)
{
	img->ruid = img->euid = 1000;
	img->suid = 0;
}

static void user_1000(struct image *img)
{
	img->ruid = img->euid = img->suid = 1000;
}

static void high_descriptor(struct image *img)
{
	struct image_fd *f = image_add(img, fds);
	struct rlimit rl;

	user_1000(img);
	assert_non_null(f);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &rl), 0);
	f->fd = (int64_t)MIN(rl.rlim_max, 1u << 30) - 399;
}

enum mode { ANY, ROOT, USER };

static const struct {
	void (*change)(struct image *img);
	enum mode mode;
	enum reason_code code;
	const char *says;
} surveys[] = {
	{ NULL, ROOT, REASON_COUNT, "" },
	{ user_1000, USER, REASON_COUNT, "" },
	{ make_flags_up, ROOT, REASON_CPU, "the processor here doesn't have warp9, cmo" },
	{ no_flags, ROOT, REASON_CPU, "doesn't say what its processor can do" },
	{ more_registers, ROOT, REASON_CPU, "LWP state, bits 0x10000000000 of XCR0" },
	{ much_memory, ROOT, REASON_MEMORY,
	  "the program has 1073741824 MiB in memory, and this machine has " },
	{ large_pid, ROOT, REASON_PID_RANGE,
	  "the program has the pid 4194304, and those here end at" },
	{ large_tid, ROOT, REASON_PID_RANGE, "the pid 1073741824" },
	{ first_pid, ROOT, REASON_PID_RANGE, "the pid 1, which can't be given" },
	{ other_uid, ROOT, REASON_USER, "user \"alice\" is uid " },
	{ other_gid, ROOT, REASON_USER, "the group of user \"alice\" is gid " },
	{ no_uid, ANY, REASON_USER, "doesn't say whom" },
	{ saved_root, USER, REASON_USER,
	  "runs as root, and mproxy here as the ordinary user \"alice\"" },
	{ high_descriptor, USER, REASON_LIMITS, "the program's highest descriptor is" },
};

static void test_surveys(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(surveys); i++) {
		AUTO_IMAGE struct image *img = survey_new();
		size_t n = 0;
		ASKED a;

		if (surveys[i].change)
			surveys[i].change(img);
		begin(&a, img);
		a.c.root = surveys[i].mode != USER;
		assert_int_equal(check_survey(&a.c, &a.e), 0);
		/* where the tests run, namespaces may be restricted: that is another reason */
		for (size_t k = 0; k < a.why.n; k++)
			n += a.why.list[k].code == surveys[i].code;
		for (size_t k = 0; k < a.why.n; k++)
			if (a.why.list[k].code != surveys[i].code &&
			    a.why.list[k].code != REASON_NAMESPACES &&
			    a.why.list[k].code != REASON_USER_NAMESPACE) {
				show(&a);
				fail_msg("survey %zu: an unexpected reason", i);
			}
		if (surveys[i].code != REASON_COUNT &&
		    !(n && has(&a, surveys[i].code, surveys[i].says))) {
			show(&a);
			fail_msg("survey %zu: no reason \"%s\"", i, surveys[i].says);
		}
	}
}

static int count_fds(void)
{
	AUTO_DIR DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	return n;
}

/*
 * The probe, where it must not succeed: no namespaces may be made in this child.  And it works for
 * a process that isn't dumpable, as sessions aren't.
 */
static int without_namespaces(void)
{
	AUTO_IMAGE struct image *img = survey_new();
	AUTO_FD int fd = -1;
	int before;
	ASKED a, b;

	user_1000(img);
	prctl(PR_SET_DUMPABLE, 0);
	before = count_fds();
	begin(&a, img);
	a.c.root = false;
	if (check_survey(&a.c, &a.e) || count_fds() != before)
		return 2;
	if (has(&a, REASON_USER_NAMESPACE, "writing"))
		return 3;
	prctl(PR_SET_DUMPABLE, 1);
	if (a.why.n || unshare(CLONE_NEWUSER))
		return 0;	/* it can't be had here at all */
	fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return 0;
	begin(&b, img);
	b.c.root = false;
	if (check_survey(&b.c, &b.e))
		return 4;
	show(&b);
	return has(&b, REASON_USER_NAMESPACE, "can't have a user namespace here (making") ? 0 : 5;
}

static void test_namespaces(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		_exit(without_namespaces());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* ---- once more, after the freeze ------------------------------------------------------------- */

static int again(const struct image *img, const struct image *survey, const char *says)
{
	struct err e = { 0 };
	int rc = check_again(img, survey, &e);

	if (rc)
		assert_non_null(strstr(e.text, says));
	return rc;
}

static void test_again(void **state)
{
	AUTO_IMAGE struct image *survey = survey_new();
	AUTO_IMAGE struct image *img = survey_new();
	struct image_file *s, *f;

	(void)state;
	put("again", "1");
	s = add(survey, "again");
	f = add(img, "again");
	s->inode++, f->inode++;		/* equal, but not the same file as here */
	assert_int_equal(again(img, survey, ""), 0);
	f->mtime_ns++;
	assert_int_equal(again(img, survey, "again was changed while the program"), -ESTALE);
	f->written = s->written = 1;	/* this machine doesn't see what was written */
	assert_int_equal(again(img, survey, "again was changed while the program"), -ESTALE);
	f->ship = 1;
	assert_int_equal(again(img, survey, ""), 0);
}

/* A shared directory: it was written to since, and this machine sees that */
static void test_again_shared(void **state)
{
	AUTO_IMAGE struct image *survey = survey_new();
	AUTO_IMAGE struct image *img = survey_new();
	struct image_file *f;

	(void)state;
	put("shared", "1");
	add(survey, "shared")->written = 1;
	put("shared", "2");
	f = add(img, "shared");
	f->written = 1;
	assert_int_equal(again(img, survey, ""), 0);
	put("shared", "3");		/* and now again, after the freeze: by whom? */
	assert_int_equal(again(img, survey, "was changed"), -ESTALE);
	unlink(path_of("shared"));
	assert_int_equal(again(img, survey, "isn't here (No such file or directory)"), -ESTALE);
}

static void test_again_new(void **state)
{
	static const struct {
		const char *name;
		bool other;		/* its numbers aren't those here */
		int rc;
		const char *says;
	} rows[] = {
		{ "a", false, 0, "" },
		{ "a", true, -ESTALE, "the program opened" },
		{ "missing", true, -ESTALE, "isn't here" },
		{ "/etc", true, 0, "" },
		{ "/dev/null", true, 0, "" },
		{ "/proc/meminfo", true, 0, "" },
		{ "/proc/4242/status", true, 0, "" },
		{ "/proc/1/status", true, -ESTALE, "a view of another process" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_IMAGE struct image *survey = survey_new();
		AUTO_IMAGE struct image *img = survey_new();
		struct image_file *f = add(img, rows[i].name);

		f->inode += rows[i].other;
		assert_int_equal(again(img, survey, rows[i].says), rows[i].rc);
	}
}

static void test_again_directory(void **state)
{
	AUTO_IMAGE struct image *survey = survey_new();
	AUTO_IMAGE struct image *img = survey_new();

	(void)state;
	assert_int_equal(image_set_str(&img->cwd, "/"), 0);
	assert_int_equal(again(img, survey, ""), 0);
	assert_int_equal(image_set_str(&img->cwd, path_of("gone")), 0);
	assert_int_equal(again(img, survey, "went to the directory"), -ESTALE);
	free(survey->files[0].path);
	survey->files[0].path = NULL;
	assert_int_equal(again(img, survey, "survey's file 0"), -EINVAL);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void test_answer(void **state)
{
	AUTO_IMAGE struct image *img = survey_new();
	struct reasons why = { 0 };
	AUTO_FREE size_t *wants = NULL;
	AUTO_FREE char *text = NULL;
	AUTO_JSON json *o = NULL;
	struct err e = { 0 };
	char mode[8];
	size_t n;
	ASKED a;

	(void)state;
	add(img, "missing");
	add(img, "a")->inode++;
	add(img, "origin/file");
	ask_files(&a, img);
	o = check_answer(&a.c, "beta");
	text = json_text(o, false);
	assert_non_null(text);
	assert_string_equal(json_as_str(json_find(o, "user")), "alice");
	assert_int_equal(check_read_answer(text, strlen(text), &why, &wants, &n, mode, &e), 0);
	assert_string_equal(mode, a.c.root ? "root" : "user");
	assert_int_equal(n, 1);
	assert_int_equal(wants[0], 2);
	assert_int_equal(why.n, 2);
	assert_int_equal(why.list[0].code, REASON_FILE_MISSING);
	assert_string_equal(why.list[0].where, "beta");
	assert_int_equal(why.list[1].code, REASON_ORIGIN_FILE);
	assert_non_null(why.list[1].rule);
	reasons_free(&why);
}

static void test_answer_hostile(void **state)
{
	static const char *const texts[] = {
		"", "[]", "{}", "{\"mode\":\"root\"}",
		"{\"mode\":\"emperor\",\"reasons\":[],\"wants\":[]}",
		"{\"mode\":\"root\",\"reasons\":{},\"wants\":[]}",
		"{\"mode\":\"root\",\"reasons\":[1],\"wants\":[]}",
		"{\"mode\":\"root\",\"reasons\":[],\"wants\":7}",
		"{\"mode\":\"root\",\"reasons\":[],\"wants\":[-1]}",
		"{\"mode\":\"root\",\"reasons\":[],\"wants\":[0,65536]}",
		"{\"mode\":\"root\",\"reasons\":[],\"wants\":[0,1.5]}",
		"{\"mode\":\"root\",\"reasons\":[],\"wants\":[\"x\"]}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct reasons why = { 0 };
		size_t *wants = (size_t *)&why, n = 7;
		struct err e = { 0 };
		char mode[8];

		assert_int_equal(check_read_answer(texts[i], strlen(texts[i]), &why, &wants, &n,
						   mode, &e), -EINVAL);
		assert_non_null(strstr(e.text, "read the target's answer: "));
		assert_null(wants);
		assert_int_equal(n, 0);
		assert_string_equal(mode, "");
		reasons_free(&why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_identity),	cmocka_unit_test(test_content),
		cmocka_unit_test(test_saved),
		cmocka_unit_test(test_many_wants),	cmocka_unit_test(test_cases),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_cwd),		cmocka_unit_test(test_senseless),
		cmocka_unit_test(test_bounded),		cmocka_unit_test(test_rights),
		cmocka_unit_test(test_exe_rights),	cmocka_unit_test(test_exe_shipped),
		cmocka_unit_test(test_surveys),		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_again),		cmocka_unit_test(test_again_shared),
		cmocka_unit_test(test_again_new),	cmocka_unit_test(test_again_directory),
		cmocka_unit_test(test_answer),		cmocka_unit_test(test_answer_hostile),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

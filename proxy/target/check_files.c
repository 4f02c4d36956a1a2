/* SPDX-License-Identifier: MIT */
/*
 * check_files.c - The target's answer to a survey: are the program's files here, and the same?
 *
 * Each file goes the same way until something is said about it:
 *
 *	policy		must be local (or shipped) by our own rules, also where links lead to
 *	shipped		its pages travel: nothing has to be here, unless it is what is executed
 *	type		must be the same; directories, devices and views of the kernel are then fine
 *	rights		it will be opened as this user
 *	identity	same inode, size and times: one file, or its clone
 *	content		else the digests decide; one that the origin hasn't made yet is asked for.
 *			An image from a file has them, and is strict with files that were written to
 *
 * A peer's survey may name anything any number of times: what is told and done is bounded.
 */
#include "proxy/target/check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/image/file_id.h"

#define FILES_MAX 65536		/* the field's largest have a few thousand */
#define FILES_TOLD 100		/* reasons about single files in one answer */

/**
 * stat_now() - stat(2), past a network file system's cache
 *
 * What was written at the origin a moment ago has to be seen here with its new times.
 */
static int stat_now(const char *path, struct stat *st)
{
	struct statx fresh;

	(void)statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &fresh);
	return stat(path, st) ? -errno : 0;
}

/* ---- views of a process -------------------------------------------------------------------- */

enum proc_owner { PROC_NONE, PROC_OWN, PROC_OTHER };

/**
 * proc_owner() - Is this /proc/NUMBER/…, and whose?
 *
 * There is none of the program's processes before they are here, and what has their numbers now is
 * somebody else's; another process's stays where that process is.
 */
static enum proc_owner proc_owner(const char *path, const struct image *tree)
{
	size_t digits;
	long pid;

	if (strncmp(path, "/proc/", 6))
		return PROC_NONE;
	digits = strspn(path + 6, "0123456789");
	if (!digits || (path[6 + digits] && path[6 + digits] != '/'))
		return PROC_NONE;
	pid = strtol(path + 6, NULL, 10);
	for (size_t i = 0; i < image_processes(tree); i++)
		if (image_process(tree, i)->pid == pid && path[6] != '0')
			return PROC_OWN;
	return PROC_OTHER;
}

/* ---- policy -------------------------------------------------------------------------------- */

/* Our own rules about one name.  Return: nothing stands in the way */
static bool name_allowed(struct check *c, const char *path, const char *what)
{
	const struct policy_rule *rule = NULL;
	enum policy_verdict v = policy_path(c->policy, path, &rule);
	char text[256];

	if (v == POLICY_LOCAL || v == POLICY_SHIP)
		return true;
	policy_rule_text(rule, text, sizeof(text));
	if (v == POLICY_ORIGIN)
		reasons_add(c->why, REASON_ORIGIN_FILE, text,
			    "%s belongs to the origin by the policy here, but not by the origin's own",
			    what);
	else
		reasons_add(c->why, REASON_POLICY, text,
			    "the policy here refuses programs that need %s", what);
	return false;
}

/* The name as it is given and, where links lead elsewhere, what it comes to */
static bool path_allowed(struct check *c, const char *path, const char *what)
{
	AUTO_FREE char *real = NULL;
	char both[512];

	if (!name_allowed(c, path, what))
		return false;
	real = realpath(path, NULL);
	if (!real || !strcmp(real, path))
		return true;
	snprintf(both, sizeof(both), "%.240s (here %.240s)", what, real);
	return name_allowed(c, real, both);
}

/* Where the origin's file system will show it: in a directory that our own policy gives to the origin, too */
static void origin_reachable(struct check *c, const char *path, const char *what)
{
	const struct policy_rule *rule = NULL;
	char text[256];
	const char *dir;
	struct stat st;

	for (size_t i = 0; (dir = policy_origin_dirs(c->policy, i)); i++) {
		size_t len = strlen(dir);

		if (strncmp(path, dir, len) || (path[len] && path[len] != '/'))
			continue;
		if (!lstat(dir, &st) && S_ISDIR(st.st_mode))
			return;
		reasons_add(c->why, REASON_ORIGIN_FILE, NULL, "%s stays at the origin, and there is no directory %s here to show it in",
			    what, dir);
		return;
	}
	(void)policy_path(c->policy, path, &rule);
	policy_rule_text(rule, text, sizeof(text));
	reasons_add(c->why, REASON_ORIGIN_FILE, text, "%s stays at the origin by its policy, but not by the policy here", what);
}

static void check_origin_opens(struct check *c)
{
	for (size_t i = 0; i < c->survey->n_opens; i++) {
		const struct image_open *o = &c->survey->opens[i];

		if (o->kind == OPEN_ORIGIN)
			origin_reachable(c, o->path ? o->path : "?", o->path ? o->path : "?");
	}
}

/* ---- one file ------------------------------------------------------------------------------ */

/* Kinds of what isn't a regular file: its mere existence is enough, or it can't be had here */
static const struct {
	mode_t type;
	bool fine;
	const char *name;
} types[] = {
	{ S_IFREG, true, "a regular file" },	{ S_IFDIR, true, "a directory" },
	{ S_IFCHR, true, "a character device" }, { S_IFBLK, false, "a block device" },
	{ S_IFIFO, false, "a named pipe" },	{ S_IFSOCK, false, "a socket" },
};

static const char *type_name(mode_t mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == (mode & S_IFMT))
			return types[i].name;
	return "something unknown";
}

static bool type_fine(mode_t mode)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == (mode & S_IFMT))
			return types[i].fine;
	return false;
}

/* What kind it is here and there.  Return: nothing stands in the way */
static bool type_agrees(struct check *c, const struct image_file *f, const struct stat *st)
{
	if ((st->st_mode & S_IFMT) != ((mode_t)f->mode & S_IFMT)) {
		reasons_add(c->why, REASON_FILE_DIFFERS, NULL, "%s is %s at the origin and %s here",
			    f->path, type_name((mode_t)f->mode), type_name(st->st_mode));
		return false;
	}
	if (!type_fine(st->st_mode)) {
		reasons_add(c->why, REASON_SPECIAL_FILE, NULL, "the program needs %s, which is %s",
			    f->path, type_name(st->st_mode));
		return false;
	}
	return true;
}

/* Rights to a file, what they are called, and when the program needs them */
static bool needs_read(const struct image_file *f, bool exe)
{
	return !exe && (f->mapped || !f->written);
}

static bool needs_write(const struct image_file *f, bool exe)
{
	(void)exe;
	return f->written;
}

static bool needs_exec(const struct image_file *f, bool exe)
{
	(void)f;
	return exe;
}

static const struct {
	int right;
	const char *verb;
	bool (*needed)(const struct image_file *f, bool exe);
} rights[] = {
	{ R_OK, "read", needs_read },
	{ W_OK, "write to", needs_write },
	{ X_OK, "execute", needs_exec },
};

/* As the effective user, which is who the program will be */
static bool rights_granted(struct check *c, const struct image_file *f, bool exe)
{
	for (size_t i = 0; i < ARRAY_SIZE(rights); i++) {
		if (!rights[i].needed(f, exe) ||
		    !faccessat(AT_FDCWD, f->path, rights[i].right, AT_EACCESS))
			continue;
		reasons_add(c->why, REASON_USER, NULL, "user \"%s\" can't %s %s here: %s", c->user,
			    rights[i].verb, f->path, strerror(errno));
		return false;
	}
	return true;
}

static int want(struct check *c, size_t index, struct err *e)
{
	size_t *more;

	/* grown when the number is a power of two */
	if (!(c->n_wants & (c->n_wants - 1))) {
		more = realloc(c->wants, (c->n_wants ? c->n_wants * 2 : 8) * sizeof(*more));
		if (!more)
			return err_set(e, -ENOMEM, "compare files");
		c->wants = more;
	}
	c->wants[c->n_wants++] = c->base + index;
	return 0;
}

static void say_differs(struct check *c, const struct image_file *theirs,
			const struct image_file *ours)
{
	char a[128], b[128];

	if (c->survey->saved_ns && !theirs->mapped) {
		reasons_add(c->why, REASON_FILE_CHANGED, NULL,
			    "%s, which the program had open, isn't as it was when it was saved: %s then, %s now",
			    theirs->path, file_describe(theirs, a, sizeof(a)),
			    file_describe(ours, b, sizeof(b)));
		return;
	}
	reasons_add(c->why, REASON_FILE_DIFFERS, NULL,
		    "%s isn't the same: %s at the origin, %s here", theirs->path,
		    file_describe(theirs, a, sizeof(a)), file_describe(ours, b, sizeof(b)));
}

/**
 * compare_content() - Two regular files of one name that aren't known to be one file
 *
 * A difference in size needs no digests.
 *
 * Return: 0, also with a reason; negative errno: out of memory
 */
static int compare_content(struct check *c, size_t index, const struct stat *st, struct err *e)
{
	const struct image_file *f = &c->survey->files[index];
	struct image_file ours = { .path = f->path };
	struct err why = { 0 };
	int rc = 0;

	file_set_identity(&ours, st);
	if (f->size != ours.size) {
		say_differs(c, f, &ours);
		return 0;
	}
	if ((!f->sha256 || !*f->sha256) && c->survey->saved_ns) {
		/* nobody is there any more who could tell what it was */
		reasons_add(c->why, REASON_FILE_CHANGED, NULL,
			    "%s has been touched since the program was saved, and its content wasn't noted then",
			    f->path);
		return 0;
	}
	if (!f->sha256 || !*f->sha256)
		return want(c, index, e);
	rc = file_identify(&ours, &why);
	if (rc == -ENOMEM)
		rc = err_say(e, rc, "%s", why.text);
	else if (rc)
		reasons_add(c->why, rc == -EACCES ? REASON_USER : REASON_FILE_DIFFERS, NULL,
			    "%s can't be compared here: %s", f->path, why.text);
	else if (strcmp(f->sha256, ours.sha256))
		say_differs(c, f, &ours);
	free(ours.sha256);
	free(ours.build_id);
	return rc == -ENOMEM ? rc : 0;
}

static void say_missing(struct check *c, const char *path, int error)
{
	if (error == -ENOENT || error == -ENOTDIR)
		reasons_add(c->why, REASON_FILE_MISSING, NULL, "%s doesn't exist here", path);
	else
		reasons_add(c->why, error == -EACCES ? REASON_USER : REASON_FILE_MISSING, NULL,
			    "user \"%s\" can't look at %s here: %s", c->user, path,
			    strerror(-error));
}

/* By one process of the tree, while another may only read it */
static bool is_written(const struct image *tree, const struct image_file *f)
{
	for (size_t p = 0; p < image_processes(tree); p++) {
		const struct image *img = image_process(tree, p);

		for (size_t k = 0; k < img->n_files; k++)
			if (img->files[k].written && img->files[k].inode == f->inode && img->files[k].device == f->device)
				return true;
	}
	return false;
}

/* Return: 0, also with a reason; negative errno when the survey makes no sense */
static int check_file(struct check *c, size_t index, struct err *e)
{
	const struct image_file *f = &c->survey->files[index];
	bool exe = (int64_t)index == c->survey->exe_file;
	enum proc_owner owner;
	struct stat st;
	int rc;

	if (!f->path || f->path[0] != '/' || strlen(f->path) >= PATH_MAX)
		return err_say(e, -EINVAL, "the survey's file %zu has no proper path", index);
	if (f->stays) {
		reasons_add(c->why, REASON_ORIGIN_FILE, NULL, "the program runs or maps %s, which belongs to its origin: it can go "
			    "home, and nowhere else", f->path);
		return 0;
	}
	owner = proc_owner(f->path, c->tree);
	if (owner == PROC_OTHER)
		reasons_add(c->why, REASON_SPECIAL_FILE, NULL,
			    "the program needs %s, a view of another process, which stays "
			    "at the origin",
			    f->path);
	if (owner != PROC_NONE) {
		(void)name_allowed(c, f->path, f->path);
		return 0;
	}
	if (!path_allowed(c, f->path, f->path) || (f->ship && !exe))
		return 0;
	rc = stat_now(f->path, &st);
	if (rc) {
		say_missing(c, f->path, rc);
		return 0;
	}
	if (!type_agrees(c, f, &st) || S_ISDIR(st.st_mode) || !rights_granted(c, f, exe))
		return 0;
	/* what is shipped is only executed here, then other pages take its place */
	if (f->ship || !S_ISREG(st.st_mode) || file_is_kernel_view(f->path) ||
	    file_same_identity(f, &st))
		return 0;
	/* being written to while we look: the same inode will do now, check_again() sees whether it is
	 * one file once nobody writes */
	if (is_written(c->tree, f) && st.st_ino == f->inode && !c->survey->saved_ns)
		return 0;
	return compare_content(c, index, &st, e);
}

/* It may be in a directory of the origin without any file of the image being there */
static void check_cwd(struct check *c)
{
	const char *cwd = c->survey->cwd;
	char what[300];
	struct stat st;

	if (!cwd || cwd[0] != '/') {
		reasons_add(c->why, REASON_DIRECTORY, NULL,
			    "the origin doesn't say what the working directory is");
		return;
	}
	snprintf(what, sizeof(what), "the working directory %.250s", cwd);
	if (c->survey->cwd_stays) {
		origin_reachable(c, cwd, what);
		return;
	}
	if (!path_allowed(c, cwd, what))
		return;
	if (stat(cwd, &st))
		reasons_add(c->why, REASON_DIRECTORY, NULL, "%s: %s here", what, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		reasons_add(c->why, REASON_DIRECTORY, NULL, "%s is %s here", what,
			    type_name(st.st_mode));
	else if (faccessat(AT_FDCWD, cwd, X_OK, AT_EACCESS))
		reasons_add(c->why, REASON_DIRECTORY, NULL, "user \"%s\" can't enter %s here: %s",
			    c->user, what, strerror(errno));
}

/* One of the processes before it in its tree has the same file: once is enough */
static bool is_known(const struct check *c, const struct image_file *f)
{
	for (size_t p = 0; p < c->process; p++) {
		const struct image *img = image_process(c->tree, p);

		for (size_t i = 0; i < img->n_files; i++)
			if (img->files[i].path && f->path && !strcmp(img->files[i].path, f->path) &&
			    img->files[i].written >= f->written)
				return true;
	}
	return false;
}

/**
 * check_files() - The survey's files and working directory; what must be hashed is added to c->wants
 *
 * Return: 0, with or without reasons, or a negative errno and a sentence
 */
int check_files(struct check *c, struct err *e)
{
	const struct image *s = c->survey;
	size_t before = c->why->n;
	int rc = 0;

	if (s->n_files > FILES_MAX)
		return err_say(e, -E2BIG, "the survey names %zu files, more than %d", s->n_files,
			       FILES_MAX);
	if (s->exe_file < 0 || (size_t)s->exe_file >= s->n_files || !s->exe ||
	    strcmp(s->files[s->exe_file].path ? s->files[s->exe_file].path : "", s->exe))
		return err_say(e, -EINVAL, "the survey doesn't say which file the program runs");
	check_cwd(c);
	check_origin_opens(c);
	for (size_t i = 0; i < s->n_files && !rc; i++) {
		if (!is_known(c, &s->files[i]))
			rc = check_file(c, i, e);
		if (c->why->n - before < FILES_TOLD || i + 1 == s->n_files)
			continue;
		reasons_add(c->why, REASON_FILE_DIFFERS, NULL,
			    "%zu more files weren't looked at: that is enough", s->n_files - i - 1);
		break;
	}
	return rc;
}

/* ---- once more ----------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
	const struct image_file *const *f = a, *const *g = b;

	return strcmp((*f)->path, (*g)->path);
}

/**
 * sort_files() - The survey's files, to be found by name
 *
 * Return: 0 and malloc'ed pointers into the survey, or a negative errno
 */
static int sort_files(const struct image *survey, const struct image_file ***out, struct err *e)
{
	const struct image_file **list = calloc(survey->n_files + 1, sizeof(const struct image_file *));

	if (!list)
		return err_set(e, -ENOMEM, "compare files again");
	for (size_t i = 0; i < survey->n_files; i++) {
		if (!survey->files[i].path) {
			free(list);
			return err_say(e, -EINVAL, "the survey's file %zu has no path", i);
		}
		list[i] = &survey->files[i];
	}
	qsort(list, survey->n_files, sizeof(const struct image_file *), by_path);
	*out = list;
	return 0;
}

/**
 * check_file_again() - One file of the image after the freeze
 * @s:	The same one in the survey, or NULL: the program has opened it since
 *
 * Where this machine sees a file just as the frozen image does, they are one file: whatever was
 * written to it meanwhile is here too.
 *
 * Return: 0 or -ESTALE
 */
static int check_file_again(const struct image *tree, const struct image_file *f,
			    const struct image_file *s, struct err *e)
{
	enum proc_owner owner = proc_owner(f->path, tree);
	struct stat st;
	int rc;

	if (f->stays)
		return err_say(e, -ESTALE, "the program has just begun to run or map %s, which belongs to its origin: try again",
			       f->path);
	if (f->ship || owner == PROC_OWN)
		return 0;
	if (owner == PROC_OTHER)
		return err_say(e, -ESTALE,
			       "the program opened %s, a view of another process, while it "
			       "was being moved",
			       f->path);
	if (s && !s->ship && file_same_numbers(f, s) && f->mode == s->mode &&
	    (!f->written || s->written))
		return 0;
	rc = stat_now(f->path, &st);
	if (rc)
		return err_set(
			e, -ESTALE,
			"%s isn't here (%s), and the program came to need it just now: try again",
			f->path, strerror(-rc));
	if ((st.st_mode & S_IFMT) == ((mode_t)f->mode & S_IFMT) && type_fine(st.st_mode) &&
	    (!S_ISREG(st.st_mode) || file_is_kernel_view(f->path) || file_same_identity(f, &st)) &&
	    (!f->written || !faccessat(AT_FDCWD, f->path, W_OK, AT_EACCESS)))
		return 0;
	if (s)
		return err_say(e, -ESTALE,
			       "%s was changed while the program was being moved: try again",
			       f->path);
	return err_say(e, -ESTALE,
		       "the program opened %s while it was being moved, and whether it is the same "
		       "here wasn't checked: try again",
		       f->path);
}

static int check_process_again(const struct image *tree, const struct image *image, const struct image *survey,
			       struct err *e)
{
	AUTO_FREE const struct image_file **sorted = NULL;
	struct stat st;
	int rc = sort_files(survey, &sorted, e);

	for (size_t i = 0; i < image->n_files && !rc; i++) {
		const struct image_file *f = &image->files[i], **s;

		if (!f->path || f->path[0] != '/')
			return err_say(e, -EINVAL, "the image's file %zu has no proper path", i);
		s = bsearch(&f, sorted, survey->n_files, sizeof(const struct image_file *), by_path);
		rc = check_file_again(tree, f, s ? *s : NULL, e);
	}
	if (!rc && image->cwd && !image->cwd_stays && (!survey->cwd || strcmp(image->cwd, survey->cwd)) &&
	    (stat(image->cwd, &st) || !S_ISDIR(st.st_mode)))
		rc = err_say(e, -ESTALE,
			     "the program went to the directory %s, which isn't here: try again",
			     image->cwd);
	return rc;
}

int check_again(const struct image *image, const struct image *survey, struct err *e)
{
	int rc = 0;

	if (image->n_others != survey->n_others)
		return err_say(e, -ESTALE, "the program has other processes than were asked for: try again");
	for (size_t i = 0; i < image_processes(image) && !rc; i++) {
		if (image_process(image, i)->pid != image_process(survey, i)->pid)
			return err_say(e, -ESTALE, "the program has other processes than were asked for: try again");
		rc = check_process_again(image, image_process(image, i), image_process(survey, i), e);
	}
	return rc;
}

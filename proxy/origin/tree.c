/* SPDX-License-Identifier: MIT */
/*
 * tree.c - A process and its descendants are looked at, and frozen, as one; of a program that has moved all that did
 */
#include "proxy/origin/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/image/cpu.h"
#include "proxy/trace/procfs.h"

#define END_TRIES 20		/* milliseconds */
#define LOOKS 10		/* processes end while they are looked at: so often it is tried */

static bool is_member(const struct look *base, pid_t pid)
{
	struct proc_stat st;

	if (procfs_stat(pid, pid, &st, NULL) || proc_has_ended(st.state))
		return false;
	return !base->stays || !base->stays(base->ctx, pid);
}

/* Something failed with @pid.  One that is about to end has no memory, and denies all, before it is seen to have ended */
static bool ends(const struct look *base, pid_t pid)
{
	for (int tries = 0; tries < END_TRIES && is_member(base, pid); tries++)
		usleep(1000);
	return !is_member(base, pid);
}

static bool is_in(const pid_t *list, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == pid)
			return true;
	return false;
}

static int check_count(size_t n, int rc, struct err *e)
{
	if (rc)
		return err_set(e, rc, "list the program's processes");
	if (n > IMAGE_MOST_PROCESSES)
		return err_say(e, -E2BIG, "the program has more than %d processes", IMAGE_MOST_PROCESSES);
	return 0;
}

/* The children of list[at], behind the others */
static int add_children(const struct look *base, pid_t **list, size_t *n, size_t at, struct err *e)
{
	size_t before = *n, to = before;
	int rc = look_add_children((*list)[at], list, n);

	for (size_t i = before; i < *n; i++)
		if (is_member(base, (*list)[i]) && !is_in(*list, to, (*list)[i]))
			(*list)[to++] = (*list)[i];
	*n = to;
	return check_count(*n, rc, e);
}

/* Of those that aren't listed one without a parent among them; 0: all are listed */
static pid_t find_root(const struct look *base, const pid_t *all, size_t n_all, const pid_t *list, size_t n)
{
	struct proc_stat st;
	pid_t root = 0;

	for (size_t i = 0; i < n_all && !root; i++)
		if (!is_in(list, n, all[i]) && is_member(base, all[i]))
			root = all[i];
	while (root && !procfs_stat(root, root, &st, NULL) && is_in(all, n_all, st.ppid) && !is_in(list, n, st.ppid) &&
	       is_member(base, st.ppid))
		root = st.ppid;
	return root;
}

/* One whose parents have ended isn't found by descent.  The list is as it was: there is none */
static int add_root(const struct look *base, pid_t **list, size_t *n, struct err *e)
{
	AUTO_FREE pid_t *all = NULL;
	size_t n_all = 0;
	int rc = base->all ? base->all(base->ctx, &all, &n_all) : 0;
	pid_t root = rc ? 0 : find_root(base, all, n_all, *list, *n);

	if (root)
		rc = look_add_pid(root, list, n);
	return check_count(*n, rc, e);
}

static int begin_list(const struct look *base, pid_t **list, size_t *n, struct err *e)
{
	int rc = base->pid ? look_add_pid(base->pid, list, n) : add_root(base, list, n, e);

	if (!rc && !*n)
		return err_say(e, -ESRCH, "the program has ended");
	return check_count(*n, rc, e);
}

/* ---- a look ---------------------------------------------------------------------------------- */

/* One process, into @img.  It may end meanwhile, which is its parent's matter only: then *@ended */
static int look_at_one(struct look *l, const struct look *base, struct image *img, bool *ended, struct err *e)
{
	struct image *its = calloc(1, sizeof(*its)), *others = img->others;
	size_t reasons = base->why ? base->why->n : 0, n_others = img->n_others;
	int rc = its ? 0 : err_set(e, -ENOMEM, "look at the program");

	l->img = its;
	if (!rc)
		rc = look_at(l, e);
	if (!rc)
		rc = cpu_describe(its, e);
	*ended = rc && its && l->pid != base->pid && ends(base, l->pid);
	if (rc) {
		free(take_ptr(l->inodes));
		image_free(its);
		if (*ended && base->why)
			reasons_cut(base->why, reasons);
		if (*ended && e)
			*e = (struct err){ 0 };
		return *ended ? 0 : rc;
	}
	*img = *its;
	img->others = others;
	img->n_others = n_others;
	free(its);
	l->img = img;
	return 0;
}

/* *@n: those that were still there */
static int look_at_all(const struct look *base, const pid_t *pids, size_t *n, struct image *img, struct err *e)
{
	AUTO_FREE struct look *looks = calloc(*n + 1, sizeof(*looks));
	size_t there = 0;
	int rc = 0;

	img->others = calloc(*n + 1, sizeof(*img->others));
	if (!img->others || !looks)
		return err_set(e, -ENOMEM, "look at the program");
	for (size_t i = 0; i < *n && !rc; i++) {
		bool ended;

		looks[there] = *base;
		looks[there].pid = pids[i];
		looks[there].tree = *n > 1 ? pids : NULL;
		looks[there].n_tree = *n > 1 ? *n : 0;
		rc = look_at_one(&looks[there], base, there ? &img->others[there - 1] : img, &ended, e);
		there += !rc && !ended;
		img->n_others = there ? there - 1 : 0;
	}
	*n = there;
	if (!rc && !there)
		return err_say(e, -ESRCH, "the program has ended");
	return rc ? rc : look_settle(looks, there, e);
}

static int look_once(const struct look *base, bool descend, struct image **out, size_t *n, struct err *e)
{
	AUTO_IMAGE struct image *img = calloc(1, sizeof(*img));
	AUTO_FREE pid_t *pids = NULL;
	int rc = img ? 0 : err_set(e, -ENOMEM, "look at the program");

	*n = 0;
	if (!rc)
		rc = begin_list(base, &pids, n, e);
	for (size_t i = 0; i < *n && descend && !rc; i++) {
		rc = add_children(base, &pids, n, i, e);
		if (!rc && i + 1 == *n)
			rc = add_root(base, &pids, n, e);
	}
	if (!rc)
		rc = look_at_all(base, pids, n, img, e);
	if (!rc)
		*out = take_ptr(img);
	return rc;
}

int tree_look(const struct look *base, bool descend, struct image **out, struct err *e)
{
	size_t n = 2;
	int rc = -ESRCH;

	for (int i = 0; i < LOOKS && n > 1 && (rc == -ESRCH || rc == -ENOENT); i++) {
		reasons_free(base->why);
		rc = look_once(base, descend, out, &n, e);
	}
	return rc;
}

/* ---- frozen ------------------------------------------------------------------------------------- */

/* One that ended before it stood is its parent's matter only, as one that ended before that */
static int freeze_one(const struct look *base, pid_t pid, struct freeze *f, bool *ended, struct err *e)
{
	struct look l = *base;
	int rc;

	l.pid = pid;
	l.before = pid == base->pid ? base->before : NULL;
	rc = freeze_threads(f, &l, e);
	*ended = rc && pid != base->pid && ends(base, pid);
	if (!*ended)
		return rc;
	freeze_thaw(f);
	if (e)
		*e = (struct err){ 0 };
	return 0;
}

/*
 * A frozen process has no more children than those that it has; and one that isn't frozen yet may lose its
 * parents, but not get lost: so the list gets complete
 */
static int freeze_members(const struct look *base, bool descend, pid_t **pids, size_t *count, tree_slot_fn *slot,
			  void *ctx, size_t *n, struct err *e)
{
	int rc = 0;

	while (*n < *count && !rc) {
		size_t i = *n;
		struct freeze *f = slot(ctx, i);
		bool ended = false;

		if (!f)
			return err_set(e, -ENOMEM, "freeze the program");
		*n = i + 1;
		rc = freeze_one(base, (*pids)[i], f, &ended, e);
		if (ended)
			memmove(*pids + i, *pids + i + 1, (--*count - i) * sizeof(**pids));
		*n = i + !ended;
		if (!rc && !ended && descend)
			rc = add_children(base, pids, count, i, e);
		if (!rc && descend && *n == *count)
			rc = add_root(base, pids, count, e);
	}
	return rc;
}

int tree_freeze(const struct look *base, bool descend, tree_slot_fn *slot, void *ctx, size_t *n, struct err *e)
{
	AUTO_FREE pid_t *pids = NULL;
	AUTO_FREE struct look *looks = NULL;
	size_t count = 0;
	int rc = begin_list(base, &pids, &count, e);

	*n = 0;
	if (!rc)
		rc = freeze_members(base, descend, &pids, &count, slot, ctx, n, e);
	if (!rc && !*n)
		rc = err_say(e, -ESRCH, "the program has ended");
	looks = rc ? NULL : calloc(*n, sizeof(*looks));
	if (!rc && !looks)
		rc = err_set(e, -ENOMEM, "freeze the program");
	for (size_t i = 0; i < *n && !rc; i++) {
		rc = freeze_look(slot(ctx, i), *n > 1 ? pids : NULL, *n > 1 ? *n : 0, e);
		looks[i] = slot(ctx, i)->look;
	}
	if (!rc)
		rc = look_settle(looks, *n, e);
	for (size_t i = 0; i < *n && !rc; i++) {
		slot(ctx, i)->look.tree = NULL;	/* the list is ours */
		rc = freeze_end(slot(ctx, i), e);
		if (!rc)
			rc = cpu_describe(slot(ctx, i)->img, e);
	}
	return rc;
}

struct image tree_image(tree_slot_fn *slot, void *ctx, size_t n)
{
	struct image whole = *slot(ctx, 0)->img;

	whole.others = calloc(n, sizeof(*whole.others));
	whole.n_others = whole.others ? n - 1 : 0;
	for (size_t i = 0; i < whole.n_others; i++)
		whole.others[i] = *slot(ctx, i + 1)->img;
	return whole;
}

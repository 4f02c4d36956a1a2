/* SPDX-License-Identifier: MIT */
/*
 * birth.c - The processes of a moved program, and stand-ins for their kin, come into the world
 *
 * Everybody is planned first (plan_*), then born, one after the other: who is born waits for orders,
 * bears others, and becomes what it shall be when all are there.
 *
 *	waiting --BEAR, BEAR_ORPHAN, LEAD, JOIN, ADOPT, AWAIT: done, and answered--> waiting
 *	waiting --BECOME--> the program, a stand-in, or ended
 *
 * A session can only be inherited, or led (setsid(2)).  Who bears X, which is in session S:
 *
 *	X leads S			its parent; then setsid()
 *	its parent P is in S		P
 *	P was in S, and leads another	P, which is born in S itself, and leads when X is there
 *	P adopted X (a subreaper)	the leader of S, by a double fork, while P adopts
 *	X has no parent here		the leader of S, by a double fork: so it is pid 1's
 *
 * So each leader is somebody: one that moved, a stand-in, or, if it has ended and only its number lives
 * on in its session or group, one that leads until all are born (FORMER).  Groups are made when all
 * sessions are: their leaders first, and last those that lead one group and are in another.
 */
#include "proxy/target/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/suffer.h"
#include "proxy/target/stand_in.h"
#include "proxy/trace/pids.h"

#define ORDER_MS 10000

enum newborn_what {
	MOVED,
	STAND_IN,
	ENDED,		/* a child that nobody has waited for */
	FORMER,		/* leader that has ended, and is needed here until all are born */
};

struct newborn {
	pid_t pid, parent;	/* whose parent isn't planned is the caller's */
	pid_t session, group;	/* 0 or 1: no matter which */
	pid_t early;		/* the session that it is born in and then leaves, 0: its own */
	enum newborn_what what;
	size_t process;		/* MOVED: of the tree */
	const struct image_kin *kin;	/* STAND_IN, ENDED: NULL, or what is known of it */
	int orders[2];		/* a pipe */
	pid_t now;		/* the session that it is in now */
	bool coming, born, grouped;
};

struct birth {
	struct newborn *list;
	size_t n;
	const struct image *tree;
	int answers[2], reports;
	pid_t between;		/* the number of those that a double fork forks first */
	birth_fn *become;
	void *ctx;
};

enum order { BEAR = 100, BEAR_ORPHAN, LEAD, JOIN, ADOPT, AWAIT, BECOME };

static struct newborn *find(const struct birth *b, pid_t pid)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->list[i].pid == pid)
			return &b->list[i];
	return NULL;
}

static bool leads_session(const struct newborn *x)
{
	return x->session == x->pid;
}

/* ---- the newborn's side ------------------------------------------------------------------------------- */

static int carry_out(struct birth *b, struct newborn *me, const struct stand_in_order *m);

static void NORETURN live(struct birth *b, struct newborn *me)
{
	struct stand_in_order m;
	int32_t rc;

	for (;;) {
		if (read(me->orders[0], &m, sizeof(m)) != sizeof(m))
			_exit(1);
		rc = carry_out(b, me, &m);
		if (write(b->answers[1], &rc, sizeof(rc)) != sizeof(rc))
			_exit(1);
	}
}

static pid_t bear(struct birth *b, pid_t pid)
{
	pid_t rc = pids_fork_as(pid, 0, SIGCHLD);

	if (!rc)
		live(b, find(b, pid));
	return rc;
}

/* Whoever is in between ends: the child is pid 1's then, or that of an ancestor of ours that adopts */
static int bear_orphan(struct birth *b, pid_t pid)
{
	pid_t between = pids_fork_as(b->between, 0, SIGCHLD);
	int status;

	if (!between) {
		pid_t rc = bear(b, pid);

		_exit(rc < 0 ? -rc : 0);
	}
	if (between < 0)
		return between;
	if (waitpid(between, &status, 0) != between)
		return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

static int await_end(pid_t pid, bool reap)
{
	siginfo_t si;

	return waitid(P_PID, (id_t)pid, &si, WEXITED | __WALL | (reap ? 0 : WNOWAIT)) ? -errno : 0;
}

static void NORETURN be_itself(struct birth *b, const struct newborn *me)
{
	const char *comm = me->kin && me->kin->comm ? me->kin->comm : NULL;

	switch (me->what) {
	case MOVED:
		b->become(b->ctx, me->process);
		_exit(125);
	case STAND_IN:
		stand_in_be(me->orders[0], b->reports, comm ? comm : "stand-in");
	case ENDED:
		(void)prctl(PR_SET_NAME, comm ? comm : "program");
		suffer_end(me->kin ? (int)me->kin->status : 0);
	case FORMER:
		break;
	}
	_exit(0);
}

/* @me: NULL for the caller of birth_all() */
static int carry_out(struct birth *b, struct newborn *me, const struct stand_in_order *m)
{
	switch ((enum order)m->order) {
	case BEAR:
		return bear(b, m->a);
	case BEAR_ORPHAN:
		return bear_orphan(b, m->a);
	case LEAD:
		return setsid() < 0 ? -errno : 0;
	case JOIN:
		return setpgid(0, m->a) ? -errno : 0;
	case ADOPT:
		return prctl(PR_SET_CHILD_SUBREAPER, m->a, 0, 0, 0) ? -errno : 0;
	case AWAIT:
		return await_end(m->a, m->b);
	case BECOME:
		if (me)
			be_itself(b, me);
	}
	return -EINVAL;
}

/* ---- orders ---------------------------------------------------------------------------------------------- */

static int answer(const struct birth *b)
{
	struct pollfd p = { .fd = b->answers[0], .events = POLLIN };
	int64_t deadline = deadline_in_ms(ORDER_MS);
	int32_t rc;

	while (poll(&p, 1, deadline_left_ms(deadline)) != 1)
		if (!deadline_left_ms(deadline))
			return -ETIMEDOUT;
	return read(b->answers[0], &rc, sizeof(rc)) == sizeof(rc) ? rc : -EPIPE;
}

/* @who: NULL: we ourselves.  Return: what it answers */
static int tell(struct birth *b, const struct newborn *who, enum order order, int a, int arg)
{
	const struct stand_in_order m = { .order = (int)order, .a = a, .b = arg };

	if (!who)
		return carry_out(b, NULL, &m);
	if (write(who->orders[1], &m, sizeof(m)) != sizeof(m))
		return -errno;
	return order == BECOME ? 0 : answer(b);
}

/* ---- the plan: who there is -------------------------------------------------------------------------------- */

static struct newborn *plan(struct birth *b, enum newborn_what what, int64_t pid, int64_t parent, int64_t session,
			    int64_t group)
{
	struct newborn *x = pid <= 1 || find(b, (pid_t)pid) ? NULL : &b->list[b->n++];

	if (x)
		*x = (struct newborn){ .what = what, .pid = (pid_t)pid, .parent = (pid_t)parent,
				       .session = (pid_t)session, .group = (pid_t)group, .orders = { -1, -1 } };
	return x;
}

/* A child that stayed, or has ended.  In which session it is doesn't matter so much that its birth may fail */
static void plan_kin(struct birth *b, const struct image *img, const struct image_kin *kin)
{
	bool placed = kin->session == img->session || kin->session == kin->pid;
	struct newborn *x = plan(b, kin->ended ? ENDED : STAND_IN, kin->pid, img->pid,
				 placed ? kin->session : img->session, placed ? kin->pgid : 0);

	if (x)
		x->kin = kin;
}

static void plan_parent(struct birth *b)
{
	for (size_t i = 0; i < b->tree->n_kin; i++) {
		const struct image_kin *kin = &b->tree->kin[i];
		struct newborn *x = kin->child || kin->pid != b->tree->ppid
					    ? NULL
					    : plan(b, STAND_IN, kin->pid, 0, kin->session, kin->pgid);

		if (x)
			x->kin = kin;
	}
}

/* The list grows by these, and they lead themselves */
static void plan_leaders(struct birth *b)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct newborn *x = &b->list[i];
		const struct image *img = x->what == MOVED ? image_process(b->tree, x->process) : NULL;

		plan(b, img && img->no_session_leader ? FORMER : STAND_IN, x->session, 0, x->session, x->session);
		plan(b, img && img->no_group_leader ? FORMER : STAND_IN, x->group, 0, x->session, x->group);
	}
}

static int plan_all(struct birth *b)
{
	size_t most = 2;

	for (size_t p = 0; p < image_processes(b->tree); p++)
		most += 1 + image_process(b->tree, p)->n_kin;
	b->list = calloc(most * 3, sizeof(*b->list));	/* each may have two leaders */
	if (!b->list)
		return -ENOMEM;
	for (size_t p = 0; p < image_processes(b->tree); p++) {
		const struct image *img = image_process(b->tree, p);
		struct newborn *x = plan(b, MOVED, img->pid, img->ppid, img->session, img->pgid);

		if (!x)
			return -EINVAL;
		x->process = p;
	}
	for (size_t p = 0; p < image_processes(b->tree); p++) {
		const struct image *img = image_process(b->tree, p);

		for (size_t i = 0; i < img->n_kin; i++)
			if (img->kin[i].child)
				plan_kin(b, img, &img->kin[i]);
	}
	plan_parent(b);
	plan_leaders(b);
	return 0;
}

/* ---- the plan: who isn't in the session of its parent, and doesn't lead ------------------------------------- */

static bool descends(const struct birth *b, const struct newborn *x, const struct newborn *from)
{
	for (size_t i = 0; x && i < b->n; i++) {
		x = find(b, x->parent);
		if (x == from)
			return true;
	}
	return false;
}

static bool has_ancestor_in(const struct birth *b, const struct newborn *x, pid_t session)
{
	for (size_t i = 0; x && i < b->n; i++) {
		x = find(b, x->parent);
		if (x && x->session == session)
			return true;
	}
	return false;
}

/* Its parent has left its session since, or adopted it: then the leader was born below the parent, too */
static void plan_stranger(struct birth *b, const struct newborn *x)
{
	struct newborn *parent = find(b, x->parent), *leader = find(b, x->session);
	bool nobodys;

	if (!parent || !leader || leads_session(x) || parent->session == x->session || descends(b, leader, parent))
		return;
	nobodys = leader->what == FORMER || (leader->what == STAND_IN && parent->what == STAND_IN);
	nobodys &= !leader->parent;
	if (leads_session(parent) && !parent->early && (!nobodys || has_ancestor_in(b, parent, x->session)))
		parent->early = x->session;
	else if (nobodys)
		leader->parent = parent->pid;
}

/* ---- everybody is born ---------------------------------------------------------------------------------------- */

static int be_born(struct birth *b, struct newborn *x);

/* By the leader of @session, whoever its parent is */
static int born_by_leader(struct birth *b, struct newborn *x, const struct newborn *parent, pid_t session)
{
	struct newborn *leader = find(b, session);
	int rc = leader ? be_born(b, leader) : -ESRCH;

	if (rc)
		return rc;
	if (leader->now != session || (parent && !descends(b, leader, parent)))
		return -ELOOP;
	if (parent)
		rc = tell(b, parent, ADOPT, 1, 0);
	if (!rc)
		rc = tell(b, leader, BEAR_ORPHAN, x->pid, 0);
	if (!rc && parent)
		rc = tell(b, parent, ADOPT, 0, 0);
	x->now = session;
	return rc;
}

/* What it bears before it leaves the session that it was born in; then it leads its own */
static int come_to_lead(struct birth *b, struct newborn *x)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc && x->early; i++)
		if (b->list[i].parent == x->pid && b->list[i].session == x->early)
			rc = be_born(b, &b->list[i]);
	if (!rc)
		rc = tell(b, x, LEAD, 0, 0);
	x->now = x->pid;
	return rc;
}

static int be_born(struct birth *b, struct newborn *x)
{
	struct newborn *parent = find(b, x->parent);
	pid_t session = x->early ? x->early : leads_session(x) ? 0 : x->session;
	int rc;

	if (x->born)
		return 0;
	if (x->coming)
		return -ELOOP;
	x->coming = true;
	rc = parent ? be_born(b, parent) : 0;
	if (rc || x->born)	/* it may have been the first thing that its parent did */
		return rc;
	if (session <= 1 || (parent && parent->now == session)) {
		rc = tell(b, parent, BEAR, x->pid, 0);
		rc = rc < 0 ? rc : 0;
		x->now = parent ? parent->now : 0;
	} else {
		rc = born_by_leader(b, x, parent, session);
	}
	x->born = !rc;
	return !rc && leads_session(x) ? come_to_lead(b, x) : rc;
}

static int bear_all(struct birth *b, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc; i++) {
		rc = be_born(b, &b->list[i]);
		if (rc == -ELOOP)
			err_say(e, rc, "process %d can't be born in session %d", (int)b->list[i].pid,
				(int)b->list[i].session);
		else if (rc)
			err_set(e, rc, "make a process with pid %d", (int)b->list[i].pid);
	}
	return rc;
}

/* ---- groups ----------------------------------------------------------------------------------------------------- */

static int make_groups(struct birth *b)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc; i++) {
		struct newborn *leader = find(b, b->list[i].group);

		if (!leader || leader->grouped || leads_session(leader))
			continue;
		leader->grouped = true;
		rc = tell(b, leader, JOIN, 0, 0);
	}
	return rc;
}

/* @leaders: those that lead a group, which others need to be there, and are in another */
static int join_groups(struct birth *b, bool leaders, struct err *e)
{
	for (size_t i = 0; i < b->n; i++) {
		const struct newborn *x = &b->list[i];
		int rc;

		if (x->group <= 1 || x->group == x->pid || leads_session(x) || x->grouped != leaders)
			continue;
		rc = tell(b, x, JOIN, x->group, 0);
		if (rc && x->what == MOVED)
			return err_set(e, rc, "put process %d into group %d", (int)x->pid, (int)x->group);
	}
	return 0;
}

/* ---- and becomes what it shall be --------------------------------------------------------------------------------- */

/* Those that end, while their parents wait; FORMER: for good */
static int let_end(struct birth *b, enum newborn_what what)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc; i++) {
		const struct newborn *x = &b->list[i];

		if (x->what != what)
			continue;
		rc = tell(b, x, BECOME, 0, 0);
		if (!rc)
			rc = tell(b, find(b, x->parent), AWAIT, x->pid, what == FORMER);
	}
	return rc;
}

static int let_live(struct birth *b, enum newborn_what what)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc; i++)
		if (b->list[i].what == what)
			rc = tell(b, &b->list[i], BECOME, 0, 0);
	return rc;
}

/* When they are waited for, their numbers at the origin are free, too */
static int tell_kin(struct birth *b, struct kin *kin)
{
	int rc = 0;

	for (size_t i = 0; i < b->n && !rc; i++) {
		struct newborn *x = &b->list[i];

		if (x->what == STAND_IN) {
			rc = kin_add_stand_in(kin, x->pid, x->orders[1]);
			x->orders[1] = rc ? x->orders[1] : -1;
		} else if (x->what == ENDED) {
			rc = kin_add_ended(kin, x->pid, x->kin->moved);
		}
	}
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------ */

/* Far from those that are wanted */
static pid_t number_between(const struct birth *b)
{
	int64_t max = pids_max();
	pid_t pid = (pid_t)(max > 0 ? max : 32768) - 1;

	while (find(b, pid))
		pid--;
	return pid;
}

static int open_pipes(struct birth *b)
{
	if (pipe2(b->answers, O_CLOEXEC))
		return -errno;
	for (size_t i = 0; i < b->n; i++)
		if (pipe2(b->list[i].orders, O_CLOEXEC))
			return -errno;
	return 0;
}

static void close_pipes(struct birth *b)
{
	drop_fd(&b->answers[0]);
	drop_fd(&b->answers[1]);
	for (size_t i = 0; i < b->n; i++) {
		drop_fd(&b->list[i].orders[0]);
		drop_fd(&b->list[i].orders[1]);
	}
}

static int live_on(struct birth *b, struct kin *kin)
{
	int rc = let_end(b, ENDED);

	if (!rc)
		rc = let_end(b, FORMER);
	if (!rc)
		rc = let_live(b, STAND_IN);
	if (!rc)
		rc = let_live(b, MOVED);
	return rc ? rc : tell_kin(b, kin);
}

int birth_all(struct kin *kin, const struct image *tree, birth_fn *become, void *ctx, struct err *e)
{
	struct birth b = { .tree = tree, .answers = { -1, -1 }, .reports = kin->to_us, .become = become, .ctx = ctx };
	int rc = plan_all(&b);

	for (size_t i = 0; i < b.n && !rc; i++)
		plan_stranger(&b, &b.list[i]);
	b.between = number_between(&b);
	if (!rc)
		rc = open_pipes(&b);
	if (rc)
		err_set(e, rc, "plan the program's processes");
	else
		rc = bear_all(&b, e);
	if (!rc) {
		rc = make_groups(&b);
		if (rc)
			err_set(e, rc, "make the program's process groups");
	}
	if (!rc)
		rc = join_groups(&b, false, e);
	if (!rc)
		rc = join_groups(&b, true, e);
	if (!rc) {
		rc = live_on(&b, kin);
		if (rc)
			err_set(e, rc, "let the program's processes begin");
	}
	close_pipes(&b);
	free(b.list);
	return rc;
}

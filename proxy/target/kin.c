/* SPDX-License-Identifier: MIT */
/*
 * kin.c - The processes in a moved program's pid namespace: those that moved, and stand-ins
 *
 * Session and group can only be inherited, or led.  Who is whose child:
 *
 *	the program leads its session		keeper ─ parent ─ program
 *	parent and program share a session	keeper ─ leader;  keeper ─ parent ─ program	(the parent is born by
 *						the leader as the keeper's child: CLONE_PARENT)
 *	they don't				keeper ─ parent ─ leader; parent ─ program	(born by the leader)
 *	the parent isn't known			as if the keeper were the parent
 */
#include "proxy/target/kin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/scope.h"
#include "common/suffer.h"
#include "proxy/trace/pids.h"
#include "proxy/trace/procfs.h"

enum order { ORDER_LIKE = 1, ORDER_KILL = 2 };

struct order_message {
	int32_t order, a, b;	/* LIKE: status; KILL: pid, signal */
};

#define ORDERS_FD 3		/* in a stand-in */
#define REPORTS_FD 4

int kin_open(struct kin *k, struct err *e)
{
	int ends[2];

	*k = (struct kin){ .reports = -1, .to_us = -1, .ends = epoll_create1(EPOLL_CLOEXEC) };
	if (k->ends < 0)
		return err_set(e, -errno, "make an epoll set");
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, -errno, "make a pipe");
	k->reports = ends[0];
	k->to_us = ends[1];
	if (fcntl(k->reports, F_SETFL, O_NONBLOCK))
		return err_set(e, -errno, "make a pipe");
	return 0;
}

void kin_close(struct kin *k)
{
	while (k->n)
		kin_forget(k, &k->list[k->n - 1]);
	free(k->list);
	drop_fd(&k->reports);
	drop_fd(&k->to_us);
	drop_fd(&k->ends);
}

struct kin_one *kin_find(struct kin *k, pid_t pid)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->list[i].pid == pid)
			return &k->list[i];
	return NULL;
}

static struct kin_one *add(struct kin *k, pid_t pid)
{
	struct kin_one *more = realloc(k->list, (k->n + 1) * sizeof(*more));

	if (!more)
		return NULL;
	k->list = more;
	more[k->n] = (struct kin_one){ .pid = pid, .orders = -1, .pidfd = -1 };
	return &more[k->n++];
}

int kin_add_moved(struct kin *k, pid_t pid, bool ours)
{
	/* since 6.15 there is a second event, when it has been waited for */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)pid };
	struct kin_one *one = add(k, pid);

	if (!one)
		return -ENOMEM;
	one->moved = true;
	if (ours)
		return 0;
	one->pidfd = pidfd_open(pid, 0);
	if (one->pidfd < 0 || epoll_ctl(k->ends, EPOLL_CTL_ADD, one->pidfd, &ev)) {
		int rc = -errno;

		kin_forget(k, one);
		return rc;
	}
	return 0;
}

size_t kin_moved(const struct kin *k)
{
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		n += k->list[i].moved && !k->list[i].ended;
	return n;
}

/* struct pidfd_info of Linux 6.13; exit_code since 6.15, of processes that were waited for */
struct info {
	uint64_t mask, cgroup;
	uint32_t ids[11];
	int32_t exit_code;
};
#define INFO_EXIT (1u << 3)
#define GET_INFO _IOWR(0xff, 11, struct info)

/* Once it was waited for, and on older kernels: 0 */
static int status_of(pid_t pid, int pidfd)
{
	struct info info = { .mask = INFO_EXIT };
	int status;

	if (!procfs_exit_status(pid, &status))
		return status;
	return !ioctl(pidfd, GET_INFO, &info) && info.mask & INFO_EXIT ? info.exit_code : 0;
}

pid_t kin_ended(struct kin *k, int *status)
{
	struct epoll_event ev;
	struct kin_one *one;
	pid_t pid;

	while (k->ends >= 0 && epoll_wait(k->ends, &ev, 1, 0) == 1) {
		pid = (pid_t)ev.data.u64;
		one = kin_find(k, pid);
		if (!one)
			continue;
		if (one->ended)
			continue;
		*status = status_of(pid, one->pidfd);
		one->ended = true;
		return pid;
	}
	return 0;
}

pid_t kin_reaped(struct kin *k)
{
	for (size_t i = 0; i < k->n; i++) {
		pid_t pid = k->list[i].pid;

		if (!k->list[i].ended || !kill(pid, 0))
			continue;
		kin_forget(k, &k->list[i]);
		return pid;
	}
	return 0;
}

bool kin_unreaped(const struct kin *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->list[i].ended)
			return true;
	return false;
}

void kin_forget(struct kin *k, struct kin_one *one)
{
	drop_fd(&one->orders);
	drop_fd(&one->pidfd);
	*one = k->list[--k->n];
}

/* ---- being a stand-in -------------------------------------------------------------------------- */

static void be_like(int status)
{
	if (WIFSTOPPED(status))
		suffer(WSTOPSIG(status));
	else if (WIFEXITED(status) || WIFSIGNALED(status))
		suffer_end(status);
}

static void report_children(void)
{
	struct kin_report r;
	int status;

	while ((r.pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL)) > 0) {
		r.status = status;
		if (write(REPORTS_FD, &r, sizeof(r)) != sizeof(r))
			return;
	}
}

static void obey(void)
{
	struct order_message m;
	ssize_t n = read(ORDERS_FD, &m, sizeof(m));

	if (n != sizeof(m))
		_exit(0);	/* the keeper has let go of it */
	if (m.order == ORDER_LIKE)
		be_like(m.a);
	else if (m.order == ORDER_KILL && kill(m.a, m.b))
		return;
}

/* For ever: it never runs anything of the program's */
static void NORETURN stand_in(int orders, int reports, const char *name)
{
	sigset_t chld, all;
	int o = fcntl(orders, F_DUPFD, 16), r = fcntl(reports, F_DUPFD, 16), s;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (dup2(o, ORDERS_FD) < 0 || dup2(r, REPORTS_FD) < 0)
		_exit(1);
	close_range(0, ORDERS_FD - 1, 0);
	close_range(REPORTS_FD + 1, ~0U, 0);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	s = signalfd(-1, &chld, 0);
	(void)prctl(PR_SET_NAME, name);
	for (;;) {
		struct pollfd p[] = { { .fd = ORDERS_FD, .events = POLLIN }, { .fd = s, .events = POLLIN } };
		struct signalfd_siginfo si;

		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents && read(s, &si, sizeof(si)) > 0)
			report_children();
		if (p[0].revents)
			obey();
	}
}

/* ---- birth ---------------------------------------------------------------------------------------- */

/* @flags: CLONE_PARENT or 0 */
static pid_t fork_as(pid_t pid, uint64_t flags)
{
	return pids_fork_as(pid, flags, (flags & CLONE_PARENT) ? 0 : SIGCHLD);	/* CLONE_PARENT: as the caller's */
}

/* While the family is made: everybody's pipe was made beforehand, by the keeper */
struct family {
	struct kin *k;
	const struct image *tree;
	pid_t pid, ppid, sid, pgid;	/* of its first process */
	pid_t parent_session, parent_group;
	int result;			/* the first process's pid is written here */
	int *reads;			/* per k->list: the stand-in's end of its pipe */
	birth_fn *become;
	void *ctx;
};

static void NORETURN be_stand_in(const struct family *f, pid_t me)
{
	struct kin_one *one = kin_find(f->k, me);
	const char *name = "stand-in";

	for (size_t p = 0; p < image_processes(f->tree); p++) {
		const struct image *img = image_process(f->tree, p);

		for (size_t i = 0; i < img->n_kin; i++)
			if (img->kin[i].pid == me && img->kin[i].comm)
				name = img->kin[i].comm;
	}
	stand_in(one ? f->reads[one - f->k->list] : -1, f->k->to_us, name);
}

static const struct image_kin *child_that_ended(const struct image *tree, pid_t pid)
{
	for (size_t p = 0; p < image_processes(tree); p++) {
		const struct image *img = image_process(tree, p);

		for (size_t i = 0; i < img->n_kin; i++)
			if (img->kin[i].pid == pid && img->kin[i].ended)
				return &img->kin[i];
	}
	return NULL;
}

/* A leader of @pgid, in the caller's session, if it has none: its own process has ended, or is elsewhere */
static void make_group(const struct family *f, pid_t pgid)
{
	pid_t leader;

	if (pgid <= 1 || pgid == getpgrp() || !kin_find(f->k, pgid) || !kill(pgid, 0))
		return;
	leader = fork_as(pgid, 0);
	if (!leader) {
		setpgid(0, 0);
		be_stand_in(f, pgid);
	}
	if (leader > 0)
		setpgid(leader, leader);
}

static void join_group(pid_t pgid, pid_t me)
{
	if (pgid == me)
		setpgid(0, 0);
	else if (pgid > 1)
		setpgid(0, pgid);
}

static void NORETURN be_program(const struct family *f, size_t process);

/* A child of the caller's: @moved: the process of the tree that it is, else it has ended, or is a stand-in */
static void make_child(const struct family *f, pid_t pid, pid_t pgid, pid_t session, size_t moved)
{
	const struct image_kin *ended = moved ? NULL : child_that_ended(f->tree, pid);
	siginfo_t si;
	pid_t child;

	if (pgid != pid && session != pid)
		make_group(f, pgid);
	child = fork_as(pid, 0);
	if (!child) {
		if (session == pid)
			setsid();
		else
			join_group(pgid, pid);
		if (moved)
			be_program(f, moved);
		if (ended) {
			(void)prctl(PR_SET_NAME, ended->comm ? ended->comm : "program");
			suffer_end((int)ended->status);
		}
		be_stand_in(f, pid);
	}
	if (child > 0 && pgid == pid && session != pid)
		setpgid(child, child);
	/* the program has had its SIGCHLD: this one is the body's, who doesn't care */
	if (child > 0 && ended && waitid(P_PID, (id_t)child, &si, WEXITED | WNOWAIT))
		return;
}

/* Children, those that stayed and those that moved; who leads a group comes first */
static void make_children(const struct family *f, size_t process)
{
	const struct image *img = image_process(f->tree, process), *c;

	for (int leaders = 1; leaders >= 0; leaders--) {
		for (size_t i = 0; i < img->n_kin; i++)
			if (img->kin[i].child && (img->kin[i].pgid == img->kin[i].pid) == leaders)
				make_child(f, (pid_t)img->kin[i].pid, (pid_t)img->kin[i].pgid,
					   (pid_t)img->kin[i].session, 0);
		for (size_t p = process + 1; p < image_processes(f->tree); p++) {
			c = image_process(f->tree, p);
			if (c->ppid == img->pid && (c->pgid == c->pid) == leaders)
				make_child(f, (pid_t)c->pid, (pid_t)c->pgid, (pid_t)c->session, p);
		}
	}
}

/* In its session and group already, but for the first */
static void NORETURN be_program(const struct family *f, size_t process)
{
	make_children(f, process);
	f->become(f->ctx, process);
	_exit(125);
}

static void NORETURN be_first(const struct family *f)
{
	if (f->sid == f->pid)
		setsid();
	else
		join_group(f->pgid, f->pid);
	be_program(f, 0);
}

static void tell(const struct family *f, pid_t result)
{
	if (write(f->result, &result, sizeof(result)) != sizeof(result))
		_exit(1);
}

/* In the process that shall be its parent, in the session that it shall be born in */
static void bear_program(const struct family *f, uint64_t flags)
{
	pid_t child;

	if (f->pgid != f->pid)
		make_group(f, f->pgid);
	child = fork_as(f->pid, flags);
	if (!child)
		be_first(f);
	tell(f, child);
}

/* In the leader's stand-in */
static void NORETURN lead_session(const struct family *f)
{
	setsid();
	bear_program(f, CLONE_PARENT);
	be_stand_in(f, f->sid);
}

/* In the parent's stand-in */
static void NORETURN be_parent(const struct family *f, bool shares)
{
	if (f->parent_session == f->ppid)
		setsid();
	else
		join_group(f->parent_group, f->ppid);
	if (shares || f->sid == f->pid) {
		bear_program(f, 0);
	} else {
		pid_t leader = fork_as(f->sid, 0);

		if (!leader)
			lead_session(f);
		if (leader < 0)
			tell(f, leader);
	}
	be_stand_in(f, f->ppid);
}

/* In the leader's stand-in, when the parent is another of its session */
static void NORETURN lead_parent(const struct family *f)
{
	pid_t parent;

	setsid();
	if (f->parent_group != f->ppid)
		make_group(f, f->parent_group);
	parent = fork_as(f->ppid, CLONE_PARENT);
	if (!parent)
		be_parent(f, true);
	if (parent < 0)
		tell(f, parent);
	be_stand_in(f, f->sid);
}

/* In the keeper */
static pid_t start_family(const struct family *f)
{
	bool known = f->ppid > 1 && kin_find(f->k, f->ppid), shares = known && f->parent_session == f->sid;
	bool leads = f->sid <= 1 || f->sid == f->pid;
	pid_t first;

	if (known && shares && f->ppid != f->sid && !leads) {
		first = fork_as(f->sid, 0);
		if (!first)
			lead_parent(f);
	} else if (known) {
		first = fork_as(f->ppid, 0);
		if (!first)
			be_parent(f, shares);
	} else if (leads) {
		first = fork_as(f->pid, 0);
		if (!first)
			be_first(f);
		if (first > 0)
			tell(f, first);
	} else {
		first = fork_as(f->sid, 0);
		if (!first)
			lead_session(f);
	}
	return first;
}

static bool is_moved(const struct family *f, pid_t pid)
{
	for (size_t p = 0; p < image_processes(f->tree); p++)
		if (image_process(f->tree, p)->pid == pid)
			return true;
	return false;
}

/* @pid will have a stand-in, unless it has moved or is in the list already */
static int want(struct family *f, pid_t pid)
{
	struct kin_one *one;
	int ends[2], *more;

	if (pid <= 1 || is_moved(f, pid) || kin_find(f->k, pid) || child_that_ended(f->tree, pid))
		return 0;
	more = realloc(f->reads, (f->k->n + 1) * sizeof(*more));
	if (!more || pipe2(ends, O_CLOEXEC))
		return more ? -errno : -ENOMEM;
	f->reads = more;
	one = add(f->k, pid);
	if (!one)
		return -ENOMEM;
	f->reads[f->k->n - 1] = ends[0];
	one->orders = ends[1];
	return 0;
}

/* Everybody who will have a stand-in, with its pipe.  Return: 0 or a negative errno */
static int prepare(struct family *f)
{
	int rc = 0;

	for (size_t i = 0; i < f->tree->n_kin; i++)
		if (!f->tree->kin[i].child && f->tree->kin[i].pid == f->ppid) {
			f->parent_session = (pid_t)f->tree->kin[i].session;
			f->parent_group = (pid_t)f->tree->kin[i].pgid;
		}
	if (!f->parent_session)		/* a parent of whom nothing is known can't be placed */
		f->ppid = 0;
	rc = want(f, f->ppid);
	if (!rc)
		rc = want(f, f->parent_group);
	for (size_t p = 0; p < image_processes(f->tree) && !rc; p++) {
		const struct image *img = image_process(f->tree, p);

		rc = want(f, (pid_t)img->session);
		if (!rc)
			rc = want(f, (pid_t)img->pgid);
		for (size_t i = 0; i < img->n_kin && !rc; i++)
			if (img->kin[i].child) {
				rc = want(f, (pid_t)img->kin[i].pid);
				if (!rc && img->kin[i].session == img->session)
					rc = want(f, (pid_t)img->kin[i].pgid);
			}
	}
	return rc;
}

/* When they are waited for, their numbers at the origin are free, too */
static int know_ended(struct kin *k, const struct image *tree)
{
	for (size_t p = 0; p < image_processes(tree); p++) {
		const struct image *img = image_process(tree, p);

		for (size_t i = 0; i < img->n_kin; i++) {
			struct kin_one *one = img->kin[i].ended ? add(k, (pid_t)img->kin[i].pid) : NULL;

			if (!one && img->kin[i].ended)
				return -ENOMEM;
			if (!one)
				continue;
			one->moved = img->kin[i].moved;
			one->ended = true;
		}
	}
	return 0;
}

pid_t kin_give_birth(struct kin *k, const struct image *tree, birth_fn *become, void *ctx)
{
	struct family f = { .k = k, .tree = tree, .pid = (pid_t)tree->pid, .ppid = (pid_t)tree->ppid,
			    .sid = (pid_t)tree->session, .pgid = (pid_t)tree->pgid, .become = become, .ctx = ctx };
	size_t before = k->n;
	pid_t got = -EPIPE, first;
	int result[2], rc;

	f.reads = calloc(before + 1, sizeof(*f.reads));
	rc = f.reads ? prepare(&f) : -ENOMEM;
	if (!rc && pipe2(result, O_CLOEXEC))
		rc = -errno;
	if (rc) {
		free(f.reads);
		return rc;
	}
	f.result = result[1];
	first = start_family(&f);
	close(result[1]);
	if (first > 0 && read(result[0], &got, sizeof(got)) != sizeof(got))
		got = -EPIPE;
	close(result[0]);
	for (size_t i = before; i < k->n; i++)
		close(f.reads[i]);
	free(f.reads);
	rc = know_ended(k, tree);
	return first < 0 ? first : rc ? rc : got;
}

/* ---- orders ------------------------------------------------------------------------------------------ */

static bool order(struct kin *k, pid_t pid, const struct order_message *m)
{
	struct kin_one *one = kin_find(k, pid);

	return one && one->orders >= 0 && write(one->orders, m, sizeof(*m)) == sizeof(*m);
}

void kin_end(struct kin *k, pid_t pid, int status)
{
	struct order_message m = { .order = ORDER_LIKE, .a = status };
	struct kin_one *one = kin_find(k, pid);

	if (!one || one->moved || one->ended)
		return;
	/* one that stands stopped hears nothing: it goes on first, as the kin did or would */
	kill(pid, SIGCONT);
	if (WIFCONTINUED(status) || !order(k, pid, &m) || WIFSTOPPED(status))
		return;
	drop_fd(&one->orders);
	one->ended = true;
}

bool kin_kill(struct kin *k, pid_t sender, pid_t to, int sig)
{
	struct order_message m = { .order = ORDER_KILL, .a = to, .b = sig };

	return order(k, sender, &m);
}

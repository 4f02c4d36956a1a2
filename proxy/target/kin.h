/* SPDX-License-Identifier: MIT */
/*
 * kin.h - The processes in a moved program's pid namespace: those that moved, and stand-ins
 *
 * A twin for a process is a process.  Under the origin's numbers there are stand-ins for the parent,
 * the leaders of session and group, and the children that stayed: so getppid, getpgid, wait*, SIGCHLD
 * and pidfd_open are the kernel's work.  A stand-in for the parent is the program's real parent; one for
 * a child is its real child, and ends as the child did.
 *
 * A stand-in is a fork of the keeper that never execs.  It waits for orders on its own pipe, and
 * reports what its children do over one that all share.
 */
#ifndef PROXY_TARGET_KIN_H
#define PROXY_TARGET_KIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "proxy/image/image.h"

struct kin_one {
	pid_t pid;
	bool moved;		/* it runs here; else a stand-in */
	int orders;		/* a stand-in's pipe, -1 */
	int pidfd;		/* of one that moved, unless we are its parent; -1 */
	bool ended;		/* and nobody has waited for it yet */
};

struct kin {
	struct kin_one *list;
	size_t n;
	int reports, to_us;	/* the two ends of the stand-ins' pipe */
	int ends;		/* an epoll set: readable when one that moved, and isn't our child, has ended */
	bool misnumbered;	/* a test's wish was granted, once */
};

/* What a stand-in reports of a child of its own: wait(2)'s status */
struct kin_report {
	int32_t pid, status;
};

int kin_open(struct kin *k, struct err *e) MUST_CHECK;
void kin_close(struct kin *k);
struct kin_one *kin_find(struct kin *k, pid_t pid);
int kin_add_moved(struct kin *k, pid_t pid, bool ours) MUST_CHECK;	/* @ours: a child of this process */
void kin_forget(struct kin *k, struct kin_one *one);
size_t kin_moved(const struct kin *k);			/* how many run here */
/* One that has ended, with its status as wait(2) would give it; 0: none */
pid_t kin_ended(struct kin *k, int *status);
/* One that has been waited for since; it is forgotten.  0: none */
pid_t kin_reaped(struct kin *k);
bool kin_unreaped(const struct kin *k);

/*
 * The processes that @tree is rebuilt in, born in their sessions and groups, with parents and children;
 * what each does is @become(ctx, which), which doesn't return.  Return: the first one's pid, or a
 * negative errno; the others have theirs, or never come
 */
typedef void birth_fn(void *ctx, size_t process);
pid_t kin_give_birth(struct kin *k, const struct image *tree, birth_fn *become, void *ctx) MUST_CHECK;

/* Orders.  A stand-in that is gone is forgotten */
void kin_end(struct kin *k, pid_t pid, int status);	/* as wait(2) gave it: ends, stops or continues alike */
bool kin_kill(struct kin *k, pid_t sender, pid_t to, int sig);	/* as the sender would: false: it has no stand-in */

#endif

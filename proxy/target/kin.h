/* SPDX-License-Identifier: MIT */
/*
 * kin.h - The processes in a moved program's pid namespace: those that moved, and stand-ins
 *
 * A twin for a process is a process.  Under the origin's numbers there are stand-ins for the parent,
 * the leaders of session and group, and the children that stayed: so getppid, getpgid, wait*, SIGCHLD
 * and pidfd_open are the kernel's work.  A stand-in for the parent is the program's real parent; one for
 * a child is its real child, and ends as the child did.
 *
 * They are made by birth.h.
 */
#ifndef PROXY_TARGET_KIN_H
#define PROXY_TARGET_KIN_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

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

int kin_open(struct kin *k, struct err *e) MUST_CHECK;
void kin_close(struct kin *k);
struct kin_one *kin_find(struct kin *k, pid_t pid);
int kin_add_moved(struct kin *k, pid_t pid, bool ours) MUST_CHECK;	/* @ours: a child of this process */
int kin_add_stand_in(struct kin *k, pid_t pid, int orders) MUST_CHECK;	/* takes @orders */
int kin_add_ended(struct kin *k, pid_t pid, bool moved) MUST_CHECK;	/* nobody has waited for it yet */
void kin_forget(struct kin *k, struct kin_one *one);
size_t kin_moved(const struct kin *k);			/* how many run here */
/* One that has ended, with its status as wait(2) would give it; 0: none */
pid_t kin_ended(struct kin *k, int *status);
/* One that has been waited for since; it is forgotten.  0: none */
pid_t kin_reaped(struct kin *k);
bool kin_unreaped(const struct kin *k);

/* Orders.  A stand-in that is gone is forgotten */
void kin_end(struct kin *k, pid_t pid, int status);	/* as wait(2) gave it: ends, stops or continues alike */
bool kin_kill(struct kin *k, pid_t sender, pid_t to, int sig);	/* as the sender would: false: it has no stand-in */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * look.h - What a program consists of, from outside: nothing is stopped
 *
 * Fills an image with everything that /proc and the policy tell: identity, credentials, limits,
 * files, areas, descriptors, pipes and who else holds them; and notes every reason why it can't
 * be moved.  `why` is this and the target's answer; a move does it before the freeze, and again
 * after it.
 */
#ifndef PROXY_ORIGIN_LOOK_H
#define PROXY_ORIGIN_LOOK_H

#include <sys/types.h>

#include "common/policy.h"
#include "proxy/image/image.h"
#include "proxy/image/reasons.h"

enum look_twin { LOOK_NO_TWIN, LOOK_PULLED, LOOK_FILE };

struct look {
	pid_t pid;
	const pid_t *tree;		/* all processes that move together, this one among them; NULL: it alone */
	size_t n_tree;
	const struct policy *policy;
	struct image *img;		/* filled; the caller's */
	struct reasons *why;		/* appended to; the caller's */
	const struct image *before;	/* an earlier look's image: what is costly to find out again */
	bool moved;			/* it isn't at its origin: twins are known, origin checks don't apply */
	/* of a moved program: which streams its keeper serves, by the twin pipe's inode; may be NULL */
	uint32_t (*stream_of)(void *ctx, uint64_t inode);
	bool (*stays)(void *ctx, pid_t pid);	/* of a moved program: is this child a stand-in? */
	/* of a moved program: all its processes, appended: descent doesn't find those whose parents have ended; may be NULL */
	int (*all)(void *ctx, pid_t **list, size_t *n);
	void (*idle)(void *ctx);	/* called while the freeze waits for threads; may be NULL */
	bool no_new_privs;		/* of a moved program: as it was before our filter set it */
	/* of a moved program: which files its keeper serves itself, and so must not be asked about; may be NULL */
	enum look_twin (*twin)(void *ctx, uint64_t device, uint64_t inode);
	void *ctx;
	uint64_t *inodes;		/* look_at() to look_settle(): of each of the image's opens */
};

int look_at(struct look *l, struct err *e) MUST_CHECK;		/* everything of one process, but: */
int look_settle(struct look *looks, size_t n, struct err *e) MUST_CHECK;	/* what it shares, and with whom */
/* Has it children, which may come and go while it runs? */
bool look_has_children(const struct image *img);
bool look_moves(const struct look *l, pid_t pid);		/* does it move along? */
/* Appended to the malloc'ed list: @pid; its children */
int look_add_pid(pid_t pid, pid_t **list, size_t *n) MUST_CHECK;
int look_add_children(pid_t pid, pid_t **list, size_t *n) MUST_CHECK;
int look_process(struct look *l, struct err *e) MUST_CHECK;	/* identity, credentials, limits, mm */
int look_areas(struct look *l, struct err *e) MUST_CHECK;
int look_descriptors(struct look *l, struct err *e) MUST_CHECK;
int look_locks(struct look *l, struct err *e) MUST_CHECK;	/* after the descriptors */
int look_sysv(struct look *looks, size_t n, struct err *e) MUST_CHECK;	/* of all processes that move; after their areas */

/* The file at @path as part of the image, checked against the policy; index, or negative errno */
int look_file(struct look *l, const char *path, uint64_t inode, bool deleted, const char *use, struct err *e) MUST_CHECK;

#endif

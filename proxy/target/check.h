/* SPDX-License-Identifier: MIT */
/*
 * check.h - The target's answer to a survey, before anything stops
 *
 * A survey is an image without memory and threads.  Everything that can be known beforehand is
 * found out here, as the user whom the program will run as, and by the target's own policy.
 *
 *	origin						target
 *	survey, no file hashed		──▶		check_survey()
 *	check_read_answer()		◀──		check_answer(): what it wants hashed
 *	file_identify() of those, again	──▶		check_survey()
 *	   …frozen
 *	image				──▶		check_again(): is it still true?
 *
 * A survey, an image and an answer come from a peer: any content gives reasons or an error.
 * Context: ordinary code of a single-threaded process; check_survey() forks for a moment.
 */
#ifndef PROXY_TARGET_CHECK_H
#define PROXY_TARGET_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/policy.h"
#include "proxy/image/image.h"
#include "proxy/image/reasons.h"
#include "proxy/json/json.h"

struct check {
	const struct image *survey;	/* the process that is looked at; start with the first of a tree */
	const struct image *tree;	/* check_survey() sets it: the first; its other processes hang on it */
	size_t process, base;		/* which one @survey is, and how many files those before it have */
	const struct policy *policy;	/* the target's own */
	bool root;			/* mproxy runs as root: true uids, no user namespace */
	uid_t uid;			/* who the program will be here */
	gid_t gid;
	const char *user;		/* their name */
	struct reasons *why;		/* appended to; the caller's */
	size_t *wants;			/* files for the origin to hash, counted through the tree; malloc'ed, */
	size_t n_wants;			/* the caller's.  Start with NULL and 0 */
};

int check_survey(struct check *c, struct err *e) MUST_CHECK;
int check_files(struct check *c, struct err *e) MUST_CHECK;	/* its part about files */

/*
 * After the freeze: a file is still good when it hasn't changed since the survey, or when this
 * machine sees it just as the image says.  -ESTALE with a sentence when one isn't
 */
int check_again(const struct image *image, const struct image *survey, struct err *e) MUST_CHECK;

/* {"reasons":[…],"wants":[indexes],"mode":"root"|"user","user":NAME,"host":NAME}; or NULL */
json *check_answer(const struct check *c, const char *host) MUST_CHECK;

/*
 * The origin reads it.  @why is appended to, on failure too; *@wants is malloc'ed, its *@n numbers
 * are what the peer said: whether there is such a file is for the caller to see
 */
int check_read_answer(const char *text, size_t len, struct reasons *why, size_t **wants, size_t *n,
		      char mode[8], struct err *e) MUST_CHECK;

#endif

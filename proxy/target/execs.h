/* SPDX-License-Identifier: MIT */
/*
 * execs.h - May a moved program exec this?
 *
 * Set-user-id programs may not: no_new_privs would take their privilege away silently.  Whoever looks must
 * walk the path, and that may lead through the file system that the keeper serves itself.  So only what the
 * kernel has in its caches is looked at here; for all else a short-lived child looks, and tells.
 */
#ifndef PROXY_TARGET_EXECS_H
#define PROXY_TARGET_EXECS_H

#include "proxy/target/originfs.h"

struct execs {
	int to_us, from_children;
	const struct originfs *fs;
};

#define EXECS_LATER 1

int execs_open(struct execs *x, const struct originfs *fs, struct err *e) MUST_CHECK;
void execs_close(struct execs *x);
int execs_fd(const struct execs *x);
/* @dir: O_PATH; @path from there.  Return: 0, -EPERM, or EXECS_LATER: execs_next() will tell @id */
int execs_look(struct execs *x, int dir, const char *path, uint64_t id) MUST_CHECK;
/* The next answer of a child's, if there is one */
bool execs_next(struct execs *x, uint64_t *id, int *value);

#endif

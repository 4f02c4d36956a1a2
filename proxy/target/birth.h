/* SPDX-License-Identifier: MIT */
/*
 * birth.h - The processes of a moved program, and stand-ins for their kin, come into the world
 *
 * Each under its number, as the child of its parent, in its session and in its group.  Who has lost its
 * parents is a child of the caller, which must be pid 1 of a pid namespace.
 */
#ifndef PROXY_TARGET_BIRTH_H
#define PROXY_TARGET_BIRTH_H

#include <stddef.h>

#include "proxy/image/image.h"
#include "proxy/target/kin.h"

/* What the @process-th of the tree does when everybody is there; doesn't return */
typedef void birth_fn(void *ctx, size_t process);

/*
 * @kin gets the stand-ins, and the children that have ended.  On failure some may have been born: they
 * end when the caller does
 */
int birth_all(struct kin *kin, const struct image *tree, birth_fn *become, void *ctx, struct err *e) MUST_CHECK;

#endif

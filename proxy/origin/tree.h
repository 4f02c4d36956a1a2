/* SPDX-License-Identifier: MIT */
/*
 * tree.h - A process and its descendants are looked at, and frozen, as one
 *
 * Of a program that moved, its other processes too: those whose parents have ended (look.all).  Lists
 * hold parents before their children.  Children that have ended but weren't waited for, and
 * stand-ins, are their parents' kin (look.h) and no members.
 */
#ifndef PROXY_ORIGIN_TREE_H
#define PROXY_ORIGIN_TREE_H

#include "proxy/origin/freeze.h"

/*
 * @base: as for look_at(), for each of them; its pid is the first one's, 0: that one has ended.
 * @descend: or it alone
 */
int tree_look(const struct look *base, bool descend, struct image **out, struct err *e) MUST_CHECK;

/* Where the state of the @i-th process is kept; it must stay where it is.  NULL: no memory */
typedef struct freeze *tree_slot_fn(void *ctx, size_t i);

/*
 * All of them stand, and have been looked at.  *@n: so many slots are in use, also on failure: the
 * caller thaws them
 */
int tree_freeze(const struct look *base, bool descend, tree_slot_fn *slot, void *ctx, size_t *n,
		struct err *e) MUST_CHECK;

/* The first one's image with the others on it.  All is borrowed but the list: free(.others) */
struct image tree_image(tree_slot_fn *slot, void *ctx, size_t n);

#endif

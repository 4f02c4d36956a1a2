/* SPDX-License-Identifier: MIT */
/*
 * leave.h - A moved program is made ready to move on, or home
 *
 * The keeper's part of being a source: look, freeze, dump, and let go again.  What the session
 * does with the image and the memory is its business.
 */
#ifndef PROXY_TARGET_LEAVE_H
#define PROXY_TARGET_LEAVE_H

#include "proxy/image/image.h"
#include "proxy/twin/pump.h"

struct leave;

/* Everything that a look at the program needs, its image and reasons aside */
struct look;

/* As tree_look() at an origin; a reason against it is an error */
int leave_survey(const struct look *base, struct image **out, struct err *e) MUST_CHECK;

/*
 * Freezes and dumps.  @drain_ms > 0: what the program wrote, and we told, must have arrived at the
 * origin first (the way home); it may take that long.  @frozen(base->ctx): no more of them will end: the
 * origin is told of those that have.  On failure the program runs on.
 */
int leave_freeze(const struct look *base, int (*frozen)(void *ctx, struct err *e), struct pump *pump, int drain_ms, struct leave **out,
		 struct err *e) MUST_CHECK;
struct image *leave_image(struct leave *l);
void leave_thaw(struct leave *l);	/* it runs on here; frees @l */

#endif

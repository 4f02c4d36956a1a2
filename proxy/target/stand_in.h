/* SPDX-License-Identifier: MIT */
/*
 * stand_in.h - A process that stands for one that stayed at the origin
 *
 * A fork of the keeper that never execs and runs nothing of the program's.  It waits for orders on its
 * own pipe, and reports what its children do over one that all share.
 */
#ifndef PROXY_TARGET_STAND_IN_H
#define PROXY_TARGET_STAND_IN_H

#include <stdint.h>

#include "common/attr.h"

enum stand_in_orders {
	STAND_IN_LIKE = 1,	/* a: a status as of wait(2): it ends or stops alike */
	STAND_IN_KILL = 2,	/* a: pid, b: signal */
};

struct stand_in_order {
	int32_t order, a, b;
};

/* What it reports of a child of its own: wait(2)'s status */
struct stand_in_report {
	int32_t pid, status;
};

/* From now on, for ever.  @orders, @reports: ends of pipes, or -1 */
void NORETURN stand_in_be(int orders, int reports, const char *name);

#endif

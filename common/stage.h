/* SPDX-License-Identifier: MIT */
/*
 * stage.h - A piece of work as a list of steps, each with its way back
 *
 * A migration is such a list, and the list is its design.  stage_run() does the steps in
 * order; when one fails, the steps done so far are undone in reverse, unless a step marked
 * @final was among them: after that there is no way back.
 *
 * Any stage can be made to fail, or its process be killed there, by name, for the tests:
 * MMIGRATE_FAULT="stage name=fail", "stage name=kill", "stage name=wait:FILE" (the stage
 * creates FILE and goes on once somebody removed it).  Several are separated by ';'.
 */
#ifndef COMMON_STAGE_H
#define COMMON_STAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct stage {
	const char *name;		/* "freezing the program": goes into progress and errors */
	int (*run)(void *ctx, struct err *e);
	void (*undo)(void *ctx);	/* NULL: nothing to undo.  Called also for a stage that failed half-way */
	bool final;
};

/* @progress is told of each stage before it runs; may be NULL */
typedef void stage_progress_fn(void *ctx, const struct stage *s);

int stage_run(const struct stage *stages, size_t n, void *ctx, stage_progress_fn *progress, struct err *e) MUST_CHECK;
int stage_fault(const char *name, struct err *e) MUST_CHECK;	/* the fault point by itself */

#endif

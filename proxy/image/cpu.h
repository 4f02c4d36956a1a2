/* SPDX-License-Identifier: MIT */
/*
 * cpu.h - May a program that runs on that processor go on on this one?
 *
 * A program asks once, at its start, which instructions there are, and then uses them for good.  So
 * all that it may have found there must be here too; more is no harm.
 */
#ifndef PROXY_IMAGE_CPU_H
#define PROXY_IMAGE_CPU_H

#include "common/err.h"
#include "proxy/image/image.h"
#include "proxy/image/reasons.h"

int cpu_describe(struct image *img, struct err *e) MUST_CHECK;	/* fills cpu_flags, xfeatures */
void cpu_check(const struct image *img, struct reasons *why);	/* appends REASON_CPU */

#endif

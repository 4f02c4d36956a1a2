/* SPDX-License-Identifier: MIT */
/*
 * dump.h - The state of a frozen program: what only ptrace and the program itself can tell
 *
 * Works on a tracee that is frozen and an injection that is open.  Changes nothing in the program,
 * but for a spurious EINTR that the freeze itself caused, and segments that are attached to be read.
 */
#ifndef PROXY_ORIGIN_DUMP_H
#define PROXY_ORIGIN_DUMP_H

#include "proxy/image/image.h"
#include "proxy/trace/inject.h"
#include "proxy/trace/restart.h"

int dump_state(struct inject *i, struct image *img, const struct restart_notes *notes, struct err *e) MUST_CHECK;
/* The System V segments that dump_state() attached to be read: the program goes on where it is */
void dump_detach(struct inject *i, struct image *img);

/* Every signal that waits, into @img's lists (again: those that came since) */
int dump_pending(struct tracee *t, struct image *img, struct err *e) MUST_CHECK;

#endif

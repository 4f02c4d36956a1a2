/* SPDX-License-Identifier: MIT */
/*
 * bring.h - Descriptors into a frozen process
 *
 * The process makes a socket pair in its own name; one end is taken out by pidfd_getfd(2), and
 * through it any descriptor can follow.  All calls are injected; all descriptors are CLOEXEC there.
 */
#ifndef PROXY_ORIGIN_BRING_H
#define PROXY_ORIGIN_BRING_H

#include "proxy/trace/inject.h"

#define BRING_MOST 8

/* *@ours: our end; *@theirs: its number there, at least @above */
int bring_way_in(struct inject *i, int above, int *ours, int *theirs, struct err *e) MUST_CHECK;
/* @n <= BRING_MOST; numbers[k] is what became of fds[k], -1 from the first that failed on */
int bring_fds(struct inject *i, int ours, int theirs, const int *fds, int n, int above, int *numbers,
	      struct err *e) MUST_CHECK;

#endif

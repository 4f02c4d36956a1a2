/* SPDX-License-Identifier: MIT */
/*
 * attend.h - A process between a shell and the deputy of a program that came out of a file
 *
 *	shell ── mmigrate restore ──fork──▶ (asks mproxy) ──exec──▶ mdeputy ═══ the program
 *
 * The deputy's standard streams must be pipes, and the shell's may be anything: what isn't a pipe is
 * copied here, to and from one.  The deputy is in a process group of its own, so that ^C, ^Z and
 * whatever else is sent to this process is passed on once.  It ends and stops as the deputy does,
 * and the deputy is killed with it.
 */
#ifndef PROXY_DAEMON_ATTEND_H
#define PROXY_DAEMON_ATTEND_H

#include "common/err.h"
#include "proxy/image/standard.h"

/* In the child.  @err: where the shell's standard error is now.  Return: exit status, if it didn't exec */
typedef int attend_child_fn(void *ctx, int err);

/*
 * Forks the child, and attends to it until it has ended.  @stop: what it gets for ^Z: a program that is
 * away is in an orphaned process group, where only SIGSTOP stops one that doesn't handle SIGTSTP.  Return: its exit status (by a signal: this
 * process ends by the same one), or a negative errno
 */
int attend(const struct standard_stream streams[STANDARD_STREAMS], int stop, attend_child_fn *child, void *ctx,
	   struct err *e) MUST_CHECK;

#endif

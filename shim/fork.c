/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork(3) of a moved program never fails with EINTR
 *
 * The kernel restarts a fork that a signal interrupts, whatever its handler asked for.  One that waits
 * for the supervisor to hear of it (seccomp_unotify(2)) is interrupted like a read: with a handler that
 * has no SA_RESTART it fails with EINTR.  It takes a signal in those microseconds; then we try again.
 *
 * Context: as fork(3)'s.
 */
#include <errno.h>

#include "shim/chain.h"
#include "shim/shim.h"

/* libc's own name, before our constructor has looked for the next one */
extern int __fork(void) __attribute__((weak));

SHIM_EXPORT int fork(void);
int fork(void)
{
	int (*next)(void) = chain_fork ? chain_fork : __fork, pid;

	if (!next) {
		errno = ENOSYS;
		return -1;
	}
	do
		pid = next();
	while (__builtin_expect(pid < 0 && errno == EINTR, 0));
	return pid;
}

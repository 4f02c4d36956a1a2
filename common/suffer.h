/* SPDX-License-Identifier: MIT */
/*
 * suffer.h - To stop or end as another process did
 */
#ifndef COMMON_SUFFER_H
#define COMMON_SUFFER_H

/*
 * The default action of @signo, now.  It must be blocked, and is afterwards: when a stop is over, or
 * the kernel did nothing, as with ^Z in an orphaned process group
 */
void suffer(int signo);

/* The wait status of one that has ended: so do we */
__attribute__((noreturn)) void suffer_end(int status);

#endif

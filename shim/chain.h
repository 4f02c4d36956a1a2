/* SPDX-License-Identifier: MIT */
/*
 * chain.h - Other preloaded libraries that interpose the same calls
 *
 * One that comes before libmshim.so in LD_PRELOAD finds us as its next, which needs nothing.  One
 * that comes behind would never see a call that we make ourselves: then we hand it on.
 */
#ifndef SHIM_CHAIN_H
#define SHIM_CHAIN_H

#include <stdbool.h>
#include <stdint.h>

/* The exported calls, in the order of calls.def */
enum chain_call {
#define CHAIN_BOTH(name) CHAIN_##name,
#define CHAIN_TRAP(name)
#define CHAIN_NONE(name)
#define CALL(id, name, route, act, decide, when, kinds, text) CHAIN_##route(name)
#include "common/calls.def"
#undef CALL
	N_CHAIN_CALLS
};

/* As libc's: -1 and errno.  Variadic, so that it may be called whether it is or not */
typedef long chain_fn(uint64_t a, ...);

/* Whom to call instead of the kernel; NULL: nobody */
extern chain_fn *chain_next[N_CHAIN_CALLS];

/* The next fork(), which may be libc's */
extern int (*chain_fork)(void);

/* Fills chain_next.  Return: there is somebody.  Context: once, before main() */
bool chain_begin(void);

#endif

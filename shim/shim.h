/* SPDX-License-Identifier: MIT */
/*
 * shim.h - What libmshim.so shows to the program that it is in
 *
 * And the system calls of common/calls.def whose route is BOTH, under libc's names: calls.c.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include "common/stub.h"

#define SHIM_EXPORT __attribute__((visibility("default")))

/* "0.1.0": which libmshim.so is in this process.  For debuggers, and to be found with dlsym() */
extern SHIM_EXPORT const char mshim_version[];

/* The target finds it by its name.  Our own code uses shim_state, which needs no relocation */
extern SHIM_EXPORT struct mshim_state mshim_state;
extern struct mshim_state shim_state;

#endif

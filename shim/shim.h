/* SPDX-License-Identifier: MIT */
/*
 * shim.h - What libmshim.so shows to the program that it is in
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#define SHIM_EXPORT __attribute__((visibility("default")))

/* "0.1.0": which libmshim.so is in this process.  For debuggers, and to be found with dlsym() */
extern SHIM_EXPORT const char mshim_version[];

#endif

/* SPDX-License-Identifier: MIT */
/*
 * stub.h - The one page whose system calls the filter of a moved program lets pass
 *
 * The restore helper makes its calls from there, and so does libmshim.so when it has decided that
 * a call is the target's kernel's business.  This is speed, not a boundary.
 */
#ifndef COMMON_STUB_H
#define COMMON_STUB_H

#define CALL_STUB 0x10000UL	/* no mmap(2) gives this address out unless it is asked for */
#define CALL_STUB_LEN 4096UL

#endif

/* SPDX-License-Identifier: MIT */
/*
 * stub.h - What the target and libmshim.so agree on: the stub, the state, the marker
 *
 * The seccomp filter of a moved program tests the instruction pointer and lets pass what comes from
 * one page, the stub.  The shim makes from there the calls that it has found to be the target's
 * kernel's own business, so that nobody need be asked.  This is speed, not a boundary.
 *
 * In a program that hasn't moved the page isn't there, and the shim doesn't look: it tests one word
 * of its struct mshim_state.  How that word becomes 1:
 *
 *	moved after its start	the target maps the stub, then writes 1 to @moved, while the program
 *				stands still (stub_write(), stub_find_state())
 *	exec in a moved program	libmshim.so's constructor does both, if it is certain that the filter is
 *				ours: STUB_MARKER is there and the process has exactly one filter
 *
 * Never is @moved 1 while the page isn't there.  The page itself stays for good and travels as
 * any other area, also home: a thread may stand in it, or be on its way there.
 */
#ifndef COMMON_STUB_H
#define COMMON_STUB_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/attr.h"

#define CALL_STUB 0x10000ul		/* the page, PROT_READ | PROT_EXEC; the code is at its start */
#define CALL_STUB_LEN 0x1000ul		/* bytes */
#define CALL_STUB_IP (CALL_STUB + 2)	/* what the filter sees as the instruction pointer: behind `syscall` */
#define CALL_STUB_CODE "\x0f\x05\xc3"	/* syscall; ret */
#define CALL_STUB_FILL 0xcc		/* int3 */

/*
 * In the mount namespace of a program that has our filter, and nowhere else, this name exists.  It
 * is looked for with access(2), which the loader itself has called before: a stranger's filter that
 * let the loader pass lets this pass.
 */
#define STUB_MARKER "/dev/.mshim"

#define MSHIM_STATE "mshim_state"	/* the symbol */
#define MSHIM_STATE_MAGIC 0x6d6968736dull	/* "mshim" */
#define MSHIM_STATE_VERSION 1u

/**
 * struct mshim_state - One instance, exported by libmshim.so, on a page of its own
 * @magic:	MSHIM_STATE_MAGIC
 * @version:	MSHIM_STATE_VERSION: @moved is where it is here
 * @moved:	1: there is a filter, and the stub is there.  Written by the target, 0 again at home
 * @chained:	1: another preloaded library wants to see the calls too.  Written by the shim
 * @special:	Both in one word: 0, and a call is simply made
 */
struct mshim_state {
	uint64_t magic;
	uint32_t version;
	uint32_t reserved;
	union {
		volatile uint64_t special;
		struct {
			volatile uint32_t moved;
			volatile uint32_t chained;
		};
	};
};

_Static_assert(offsetof(struct mshim_state, moved) == 16, "the target writes here");

/* Fills the page at @page, CALL_STUB_LEN bytes */
static inline void stub_write(void *page)
{
	memset(page, CALL_STUB_FILL, CALL_STUB_LEN);
	memcpy(page, CALL_STUB_CODE, sizeof(CALL_STUB_CODE) - 1);
}

/**
 * stub_peek_fn - Reads a program's memory
 *
 * Return: 0 when all @len bytes were read, or a negative errno
 */
typedef int stub_peek_fn(void *ctx, uint64_t addr, void *buf, size_t len);

/**
 * stub_find_state - Where the struct mshim_state of a program is
 * @peek:	Reads the program's memory
 * @ctx:	Its own
 * @base:	Where the program's libmshim.so begins
 * @addr:	Is set on success
 *
 * Looks into the loaded library's dynamic symbols, as the loader would.  The memory is a stranger's:
 * any bytes give an answer.
 *
 * Return: 0; -ENOENT this isn't a libmshim.so that we know how to talk to; -errno of @peek
 */
MUST_CHECK int stub_find_state(stub_peek_fn *peek, void *ctx, uint64_t base, uint64_t *addr);

#endif

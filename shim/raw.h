/* SPDX-License-Identifier: MIT */
/*
 * raw.h - System calls without libc
 *
 * Without errno, without anything that has to be relocated first, and unseen by other preloaded
 * libraries that interpose connect() or close().  A result is the kernel's: a negative errno on failure.
 *
 * The shim is compiled with -mno-red-zone: stub_call() pushes a return address.
 */
#ifndef SHIM_RAW_H
#define SHIM_RAW_H

#include <stdint.h>
#include <sys/syscall.h>

#include "common/stub.h"

/* All six registers are passed; what a system call doesn't have, the kernel doesn't look at */
static inline long raw_call(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory", "cc");
	return ret;
}

/* The same from the page that the filter lets pass.  It must be there */
static inline long stub_call(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	register uint64_t r10 __asm__("r10") = d;
	register uint64_t r8 __asm__("r8") = e;
	register uint64_t r9 __asm__("r9") = f;
	uint64_t stub = CALL_STUB;
	long ret;

	__asm__ volatile("call *%[stub]"
			 : "=a"(ret), [stub] "+c"(stub)		/* rcx is lost anyway */
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "r11", "memory", "cc");
	return ret;
}

/* RAW(access, path, mode): missing arguments are 0 */
#define RAW(name, ...) RAW_(raw_call, SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define STUB(name, ...) RAW_(stub_call, SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(how, nr, a, b, c, d, e, f, ...) \
	how(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))

#endif

/* SPDX-License-Identifier: MIT */
/*
 * chain.c - Other preloaded libraries that interpose the same calls
 *
 * The next definition behind ours is libc's in nearly every program: it is if it lies in the same
 * loaded object as __errno_location() does.  Any other one is somebody who wants to see the call.
 *
 * A call that comes before our constructor, from another library's, isn't handed on: it is made.
 */
#include "shim/chain.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stddef.h>

/*
 * By its old version, which every libc has: with the one that the linker would choose, the library
 * couldn't be loaded into a program that brings an older libc.  Weak: there it may be in libdl
 */
extern void *old_dlsym(void *handle, const char *name) __attribute__((weak));
__asm__(".symver old_dlsym, dlsym@GLIBC_2.2.5");

/* Not in .bss: with none, the loader has no last page to clear */
__attribute__((section(".data"))) chain_fn *chain_next[N_CHAIN_CALLS];

__attribute__((section(".data"))) int (*chain_fork)(void);

static const char *const names[] = {
#undef CHAIN_BOTH
#define CHAIN_BOTH(name) [CHAIN_##name] = #name,
#define CALL(id, name, route, act, decide, when, kinds, text) CHAIN_##route(name)
#include "common/calls.def"
#undef CALL
};

struct search {
	uintptr_t addr;		/* an address in libc */
	uintptr_t start, end;	/* of the object that it lies in */
};

/* dl_iterate_phdr()'s.  Return: 1 to stop */
static int look_at(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct search *s = ctx;
	uintptr_t start = UINTPTR_MAX, end = 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD)
			continue;
		if (info->dlpi_addr + p->p_vaddr < start)
			start = info->dlpi_addr + p->p_vaddr;
		if (info->dlpi_addr + p->p_vaddr + p->p_memsz > end)
			end = info->dlpi_addr + p->p_vaddr + p->p_memsz;
	}
	if (s->addr < start || s->addr >= end)
		return 0;
	s->start = start;
	s->end = end;
	return 1;
}

bool chain_begin(void)
{
	struct search libc = { .addr = (uintptr_t)__errno_location };
	bool any = false;

	if (!old_dlsym)
		return false;
	*(void **)&chain_fork = old_dlsym(RTLD_NEXT, "fork");
	dl_iterate_phdr(look_at, &libc);
	for (int i = 0; i < N_CHAIN_CALLS; i++) {
		void *next = old_dlsym(RTLD_NEXT, names[i]);

		if (!next || ((uintptr_t)next >= libc.start && (uintptr_t)next < libc.end))
			continue;
		chain_next[i] = (chain_fn *)next;
		any = true;
	}
	return any;
}

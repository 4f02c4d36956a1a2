/* SPDX-License-Identifier: MIT */
/*
 * calls.c - The system calls that libmshim.so exports: those of common/calls.def with route BOTH
 *
 *	not moved		one test, and the call
 *	moved, here		decided in process, made from the stub: the filter lets it pass
 *	moved, the origin's	made as always: the filter hands it to the supervisor
 *	others want it too	handed on, see chain.c
 *
 * What is decided changes only where a call is made from, never the call; so a wrong answer could be
 * slow, or reach the target's object, but a program that hasn't moved can't notice any.  What can't be
 * known here is the origin's, that is, the supervisor's.
 *
 * Context: anything.  Signal handlers, between vfork and exec, before our constructor (then the state
 * says "not moved", or what an exec in a moved program hasn't found out yet: slower).  No state is
 * written, no lock taken.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include "common/call.h"
#include "shim/chain.h"
#include "shim/raw.h"
#include "shim/shim.h"

#define FUSE_MAGIC 0x65735546	/* linux/magic.h has it since 5.17 only */

/* ---- what the decisions ask (struct call_env) ------------------------------------------------- */

/* originfs is FUSE; who mounts another one at the target is told apart by the supervisor */
static bool is_twin(const struct call_env *env UNUSED, int fd)
{
	struct statfs fs = { 0 };
	long rc = STUB(fstatfs, fd, &fs);

	return rc ? rc != -EBADF : fs.f_type == FUSE_MAGIC;
}

/* Whether another process runs here is not known in process */
static enum call_pid what_pid(const struct call_env *env UNUSED, int32_t pid UNUSED)
{
	return CALL_PID_UNKNOWN;
}

/* A plain read would be SIGSEGV where the kernel says EFAULT */
static int peek(const struct call_env *env, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)(uintptr_t)addr, len };

	return STUB(process_vm_readv, env->self, &here, 1, &there, 1, 0) == (long)len ? 0 : -EFAULT;
}

/* ---- a call of a program that was moved, or whose calls others want to see ------------------- */

/* Rows of the table, by place */
enum {
#define CALL(id, name, route, act, decide, when, kinds, text) ROW_##name,
#include "common/calls.def"
#undef CALL
};

static bool decides_here(const struct call *c, const uint64_t args[6])
{
	struct call_env env = { .twin = is_twin, .pid = what_pid, .peek = peek };

	if (c->arg >= 0 && (args[c->arg] & c->mask) != c->value && (args[c->arg] & c->mask) != c->other)
		return false;		/* the filter doesn't look at it */
	env.self = (int32_t)STUB(getpid);
	return c->decide(&env, args) == CALL_HERE;
}

static __attribute__((noinline)) long moved_call(const struct call *row, uint64_t a, uint64_t b, uint64_t c,
						 uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t args[6] = { a, b, c, d, e, f };

	if (decides_here(row, args))
		return stub_call(row->nr, a, b, c, d, e, f);
	return raw_call(row->nr, a, b, c, d, e, f);
}

/* The one place where errno is written, as libc does it */
static __attribute__((noinline, cold)) long failed(long ret)
{
	errno = (int)-ret;
	return -1;
}

static inline long finish(long ret)
{
	return __builtin_expect((unsigned long)ret <= -4096ul, 1) ? ret : failed(ret);
}

/* ---- what is exported ------------------------------------------------------------------------------- */

/*
 * All six argument registers are passed on, whatever libc's prototype says: so ioctl's "..." needs
 * no special case, and a new row of the table no code.  This is how the psABI passes integers and
 * pointers, also to variadic functions; libc's headers aren't included, their prototypes differ.
 */
#define EXPORT_TRAP(name)
#define EXPORT_NONE(name)
#define EXPORT_BOTH(name)                                                                            \
	SHIM_EXPORT long name(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);           \
	long name(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)             \
	{                                                                                             \
		if (__builtin_expect(!shim_state.special, 1))                                         \
			return finish(raw_call(SYS_##name, a, b, c, d, e, f));                        \
		if (chain_next[CHAIN_##name])                                                         \
			return chain_next[CHAIN_##name](a, b, c, d, e, f);                            \
		if (!shim_state.moved)                                                                \
			return finish(raw_call(SYS_##name, a, b, c, d, e, f));                        \
		return finish(moved_call(&calls[ROW_##name], a, b, c, d, e, f));                         \
	}
#define CALL(id, name, route, act, decide, when, kinds, text) EXPORT_##route(name)
#include "common/calls.def"
#undef CALL

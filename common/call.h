/* SPDX-License-Identifier: MIT */
/*
 * call.h - Which system calls of a moved program concern its origin
 *
 * Everything comes from calls.def.  The decision is one function a row that doesn't know where it
 * runs; the place is a struct call_env: one instance in the shim, one in the supervisor, one in the
 * tests.  No library, no malloc, no errno: safe in signal handlers and before main().
 */
#ifndef COMMON_CALL_H
#define COMMON_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attr.h"

enum call_id {
#define CALL(id, name, route, act, decide, when, kinds, text) CALL_ID_##name = (id),
#include "common/calls.def"
#undef CALL
};

enum call_route { CALL_ROUTE_BOTH, CALL_ROUTE_TRAP, CALL_ROUTE_NONE };
enum call_act { CALL_ACT_SHIP, CALL_ACT_BOTH, CALL_ACT_FORK, CALL_ACT_EXEC, CALL_ACT_MAKE, CALL_ACT_NAME, CALL_ACT_DENY };
enum call_place { CALL_HERE, CALL_ORIGIN };	/* whose business a call is */

/* What is known of a pid: CALL_PID_MOVED runs here, CALL_PID_KIN has a stand-in here */
enum call_pid { CALL_PID_UNKNOWN, CALL_PID_MOVED, CALL_PID_KIN };

/**
 * struct call_env - Where a decision is made
 * @self:	The caller's process
 * @twin:	Is this descriptor of the caller's a twin?
 * @pid:	What is this pid?
 * @pid_of:	The pid behind a pidfd of the caller's, or a negative errno
 * @name:	Does the path at @addr, relative to @dirfd, lead into a directory of the origin's?
 * @peek:	@len bytes of the caller's memory; 0 or -EFAULT
 */
struct call_env {
	int32_t self;
	bool (*twin)(const struct call_env *env, int fd);
	enum call_pid (*pid)(const struct call_env *env, int32_t pid);
	int (*pid_of)(const struct call_env *env, int pidfd);
	bool (*name)(const struct call_env *env, int dirfd, uint64_t addr);
	int (*peek)(const struct call_env *env, uint64_t addr, void *buf, size_t len);
	void *ctx;
};

struct call {
	uint16_t id;
	uint16_t nr;			/* of the system call, x86-64 */
	int8_t arg;			/* the filter compares this argument, -1: none */
	const char *name;
	enum call_route route;
	enum call_act act;
	enum call_place (*decide)(const struct call_env *env, const uint64_t args[6]);
	uint64_t mask, value, other;	/* of @arg: either of the two */
	const char *kinds, *text;
};

extern const struct call calls[];
extern const size_t n_calls;

const struct call *call_by_nr(int nr);		/* of those that are trapped; NULL */
const struct call *call_by_id(unsigned id);	/* NULL */

enum call_io { CALL_IO_VALUE, CALL_IO_GET, CALL_IO_SET };
struct call_ioctl {
	uint32_t request;
	enum call_io io;
	uint32_t len;			/* bytes that the argument points to */
	const char *name;
};
extern const struct call_ioctl call_ioctls[];
extern const size_t n_call_ioctls;
const struct call_ioctl *call_ioctl(uint32_t request);	/* NULL: unknown */

#define CALL_SIGINFO_LEN 128	/* siginfo_t, and struct stat is shorter */

#endif

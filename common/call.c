/* SPDX-License-Identifier: MIT */
/*
 * call.c - Which system calls of a moved program concern its origin
 */
#include "common/call.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#ifndef TIOCGEXCL
#include <asm/ioctls.h>
#endif

/* ---- the decisions ------------------------------------------------------------------------- */

static enum call_place decide_always(const struct call_env *env UNUSED, const uint64_t args[6] UNUSED)
{
	return CALL_ORIGIN;
}

static enum call_place decide_twin(const struct call_env *env, const uint64_t args[6])
{
	return env->twin(env, (int)args[0]) ? CALL_ORIGIN : CALL_HERE;
}

static enum call_place decide_name(const struct call_env *env, const uint64_t args[6])
{
	return env->name(env, AT_FDCWD, args[0]) ? CALL_ORIGIN : CALL_HERE;
}

static enum call_place decide_name_at(const struct call_env *env, const uint64_t args[6])
{
	return env->name(env, (int)args[0], args[1]) ? CALL_ORIGIN : CALL_HERE;
}

/* A path, or with AT_EMPTY_PATH the descriptor itself */
static enum call_place decide_fstatat(const struct call_env *env, const uint64_t args[6])
{
	return args[3] & AT_EMPTY_PATH && env->twin(env, (int)args[0]) ? CALL_ORIGIN : decide_name_at(env, args);
}

static enum call_place decide_statx(const struct call_env *env, const uint64_t args[6])
{
	return args[2] & AT_EMPTY_PATH && env->twin(env, (int)args[0]) ? CALL_ORIGIN : decide_name_at(env, args);
}

/* Who runs here can be signalled here; a group may have members on both sides, and -1 is everybody */
static enum call_place decide_signal(const struct call_env *env, const uint64_t args[6])
{
	int32_t pid = (int32_t)args[0];

	if (pid > 0 && (pid == env->self || env->pid(env, pid) == CALL_PID_MOVED))
		return CALL_HERE;
	return CALL_ORIGIN;
}

/* Of processes that run here, threads are only known here; their numbers, too */
static enum call_place decide_thread(const struct call_env *env, const uint64_t args[6])
{
	return env->pid(env, (int32_t)args[0]) == CALL_PID_KIN ? CALL_ORIGIN : CALL_HERE;
}

static enum call_place decide_pidfd(const struct call_env *env, const uint64_t args[6])
{
	int pid = env->pid_of(env, (int)args[0]);

	return pid > 0 && env->pid(env, pid) == CALL_PID_KIN ? CALL_ORIGIN : CALL_HERE;
}

static enum call_place decide_unknown(const struct call_env *env, const uint64_t args[6])
{
	int32_t pid = (int32_t)args[0];

	return pid <= 0 || pid == env->self || env->pid(env, pid) != CALL_PID_UNKNOWN ? CALL_HERE : CALL_ORIGIN;
}

/* clone3(2): the flags are in memory */
static enum call_place decide_process(const struct call_env *env, const uint64_t args[6])
{
	uint64_t flags;

	if (env->peek(env, args[0], &flags, sizeof(flags)))
		return CALL_HERE;	/* the kernel says EFAULT */
	return flags & CLONE_THREAD ? CALL_HERE : CALL_ORIGIN;
}

/* ---- the tables ------------------------------------------------------------------------------ */

#define ANY -1, 0, 0, 0
#define IF(arg, mask, value) arg, mask, value, value
#define EITHER(arg, mask, value, other) arg, mask, value, other
#define ROW(id_, name_, route_, act_, how_, kinds_, text_, arg_, mask_, value_, other_)          \
	{ .id = (id_), .nr = SYS_##name_, .name = #name_, .route = CALL_ROUTE_##route_, .act = CALL_ACT_##act_, \
	  .decide = decide_##how_, .arg = (arg_), .mask = (mask_), .value = (value_), .other = (other_),     \
	  .kinds = (kinds_), .text = (text_) },
#define ROW_(...) ROW(__VA_ARGS__)
#define CALL(id, name, route, act, decide, when, kinds, text) ROW_(id, name, route, act, decide, kinds, text, when)

const struct call calls[] = {
#include "common/calls.def"
};
#undef CALL

const size_t n_calls = ARRAY_SIZE(calls);

const struct call *call_by_nr(int nr)
{
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].nr == nr && calls[i].route != CALL_ROUTE_NONE)
			return &calls[i];
	return NULL;
}

const struct call *call_by_id(unsigned id)
{
	for (size_t i = 0; i < n_calls; i++)
		if (calls[i].id == id)
			return &calls[i];
	return NULL;
}

const struct call_ioctl call_ioctls[] = {
#define IOCTL(name, io, len) { name, CALL_IO_##io, len, #name },
#include "common/ioctls.def"
#undef IOCTL
};

const size_t n_call_ioctls = ARRAY_SIZE(call_ioctls);

const struct call_ioctl *call_ioctl(uint32_t request)
{
	for (size_t i = 0; i < n_call_ioctls; i++)
		if (call_ioctls[i].request == request)
			return &call_ioctls[i];
	return NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * test_call.c - Whose business a system call is: every row of calls.def, in a place that is made up
 *
 * In it the caller is process 100, 101 runs here too, 200 has a stand-in, 300 isn't known.
 * Descriptor 5 is a twin, 6 isn't, 99 is closed; 20, 21, 22 are pidfds of 200, 101 and 300.
 * A name of the origin's is at 0x3000, from anywhere, and one that is the origin's from descriptor 7 at 0x4000.
 * The flags of a fork are at 0x1000, those of a thread at 0x2000; all other memory is bad.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "common/attr.h"
#include "common/call.h"

#define CLONE_FLAGS_FORK 17ull		/* SIGCHLD */
#define CLONE_FLAGS_THREAD 0x3d0f00ull	/* what pthread_create() says; CLONE_THREAD is in it */
#define HIGH 0xffffffff00000000ull	/* what may stand above an int in its register */
#define PID(n) ((uint64_t)(int64_t)(n))

static bool asked_more;		/* than the shim could answer: for memory, or for a pidfd's process */

static bool fake_twin(const struct call_env *env, int fd)
{
	assert_ptr_equal(env->ctx, &asked_more);
	return fd == 5;
}

static enum call_pid fake_pid(const struct call_env *env, int32_t pid)
{
	assert_ptr_equal(env->ctx, &asked_more);
	return pid == 100 || pid == 101 ? CALL_PID_MOVED : pid == 200 ? CALL_PID_KIN : CALL_PID_UNKNOWN;
}

static int fake_pid_of(const struct call_env *env UNUSED, int pidfd)
{
	asked_more = true;
	return pidfd == 20 ? 200 : pidfd == 21 ? 101 : pidfd == 22 ? 300 : -EBADF;
}

static bool fake_name(const struct call_env *env UNUSED, int dirfd, uint64_t addr)
{
	asked_more = true;
	return addr == 0x3000 || (addr == 0x4000 && dirfd == 7);
}

static int fake_peek(const struct call_env *env UNUSED, uint64_t addr, void *buf, size_t len)
{
	uint64_t flags = addr == 0x1000 ? CLONE_FLAGS_FORK : CLONE_FLAGS_THREAD;

	asked_more = true;
	if ((addr != 0x1000 && addr != 0x2000) || len != sizeof(flags))
		return -EFAULT;
	memcpy(buf, &flags, len);
	return 0;
}

static const struct call_env env = {
	.self = 100,
	.twin = fake_twin,
	.pid = fake_pid,
	.pid_of = fake_pid_of,
	.name = fake_name,
	.peek = fake_peek,
	.ctx = &asked_more,
};

static const struct row {
	enum call_id id;
	enum call_place is;
	uint64_t args[6];
	const char *what;
} rows[] = {
	{ CALL_ID_ioctl, CALL_ORIGIN, { 5, 0x5401 }, "a twin" },
	{ CALL_ID_ioctl, CALL_ORIGIN, { HIGH | 5, 0x5401 }, "a twin, with rubbish above the int" },
	{ CALL_ID_ioctl, CALL_ORIGIN, { 5, 0x5401, 1 }, "a twin, a bad pointer: the origin says EFAULT" },
	{ CALL_ID_ioctl, CALL_HERE, { 6, 0x5401 }, "no twin" },
	{ CALL_ID_ioctl, CALL_HERE, { 99, 0x5401 }, "closed: the kernel here says EBADF" },
	{ CALL_ID_ioctl, CALL_HERE, { PID(-1), 0x5401 }, "no descriptor" },

	{ CALL_ID_kill, CALL_HERE, { 100 }, "itself" },
	{ CALL_ID_kill, CALL_HERE, { HIGH | 100, 15 }, "itself, with rubbish above the int" },
	{ CALL_ID_kill, CALL_HERE, { 100, 1000 }, "itself, a signal that isn't" },
	{ CALL_ID_kill, CALL_HERE, { 101, 15 }, "one that runs here" },
	{ CALL_ID_kill, CALL_ORIGIN, { 200, 15 }, "kin" },
	{ CALL_ID_kill, CALL_ORIGIN, { 300, 15 }, "nobody known" },
	{ CALL_ID_kill, CALL_ORIGIN, { 0, 15 }, "its group" },
	{ CALL_ID_kill, CALL_ORIGIN, { PID(-1), 15 }, "everybody" },
	{ CALL_ID_kill, CALL_ORIGIN, { PID(-100), 15 }, "the group that it leads" },
	{ CALL_ID_kill, CALL_ORIGIN, { 0x80000000, 15 }, "the smallest int" },

	{ CALL_ID_tkill, CALL_HERE, { 100, 15 }, "its own thread" },
	{ CALL_ID_tkill, CALL_ORIGIN, { 200, 15 }, "kin" },
	{ CALL_ID_tkill, CALL_HERE, { 300, 15 }, "nobody: threads are known here only" },
	{ CALL_ID_tkill, CALL_HERE, { PID(-1), 15 }, "EINVAL" },
	{ CALL_ID_tgkill, CALL_HERE, { 100, 100, 15 }, "its own thread" },
	{ CALL_ID_tgkill, CALL_ORIGIN, { 200, 200, 15 }, "kin" },
	{ CALL_ID_tgkill, CALL_HERE, { 300, 300, 15 }, "nobody" },
	{ CALL_ID_rt_sigqueueinfo, CALL_HERE, { 100, 15, 1 }, "itself, a bad pointer" },
	{ CALL_ID_rt_sigqueueinfo, CALL_ORIGIN, { 200, 15, 1 }, "kin, a bad pointer" },
	{ CALL_ID_rt_sigqueueinfo, CALL_ORIGIN, { 300, 15, 1 }, "nobody known" },
	{ CALL_ID_rt_tgsigqueueinfo, CALL_HERE, { 100, 100, 15, 1 }, "its own thread" },
	{ CALL_ID_rt_tgsigqueueinfo, CALL_ORIGIN, { 200, 200, 15, 1 }, "kin" },
	{ CALL_ID_pidfd_send_signal, CALL_ORIGIN, { 20, 15 }, "kin" },
	{ CALL_ID_pidfd_send_signal, CALL_HERE, { 21, 15 }, "one that runs here" },
	{ CALL_ID_pidfd_send_signal, CALL_HERE, { 22, 15 }, "nobody" },
	{ CALL_ID_pidfd_send_signal, CALL_HERE, { 99, 15 }, "closed" },
	{ CALL_ID_pidfd_send_signal, CALL_HERE, { 6, 15 }, "no pidfd" },

	{ CALL_ID_setpgid, CALL_ORIGIN, { 0, 0 }, "always" },
	{ CALL_ID_setsid, CALL_ORIGIN, { 0 }, "always" },
	{ CALL_ID_getpgid, CALL_HERE, { 0 }, "its own" },
	{ CALL_ID_getpgid, CALL_HERE, { 100 }, "its own, by number" },
	{ CALL_ID_getpgid, CALL_HERE, { 200 }, "kin: its stand-in says it" },
	{ CALL_ID_getpgid, CALL_ORIGIN, { 300 }, "not here" },
	{ CALL_ID_getpgid, CALL_HERE, { PID(-5) }, "ESRCH" },
	{ CALL_ID_getsid, CALL_HERE, { 101 }, "one that runs here" },
	{ CALL_ID_getsid, CALL_ORIGIN, { 300 }, "not here" },

	{ CALL_ID_fork, CALL_ORIGIN, { 0 }, "always" },
	{ CALL_ID_vfork, CALL_ORIGIN, { 0 }, "always" },
	{ CALL_ID_clone, CALL_ORIGIN, { CLONE_FLAGS_FORK }, "always: the filter has looked at the flags" },
	{ CALL_ID_clone3, CALL_ORIGIN, { 0x1000, 88 }, "a process" },
	{ CALL_ID_clone3, CALL_HERE, { 0x2000, 88 }, "a thread" },
	{ CALL_ID_clone3, CALL_HERE, { 0x3000, 88 }, "a bad pointer: the kernel here says EFAULT" },
	{ CALL_ID_clone3, CALL_HERE, { 0, 0 }, "NULL" },
	{ CALL_ID_execve, CALL_ORIGIN, { 1, 1, 1 }, "always, bad pointers too" },
	{ CALL_ID_execveat, CALL_ORIGIN, { PID(-100), 1, 1, 1, 0 }, "always" },

	{ CALL_ID_setuid, CALL_ORIGIN, { 1000 }, "always" },
	{ CALL_ID_setgid, CALL_ORIGIN, { 1000 }, "always" },
	{ CALL_ID_setreuid, CALL_ORIGIN, { 1000, 1000 }, "always" },
	{ CALL_ID_setregid, CALL_ORIGIN, { 1000, 1000 }, "always" },
	{ CALL_ID_setresuid, CALL_ORIGIN, { 1000, 1000, 1000 }, "always" },
	{ CALL_ID_setresgid, CALL_ORIGIN, { 1000, 1000, 1000 }, "always" },
	{ CALL_ID_setfsuid, CALL_ORIGIN, { 1000 }, "always" },
	{ CALL_ID_setfsgid, CALL_ORIGIN, { 1000 }, "always" },
	{ CALL_ID_umask, CALL_ORIGIN, { 022 }, "always" },
	{ CALL_ID_prctl, CALL_ORIGIN, { 39 }, "PR_GET_NO_NEW_PRIVS" },
	{ CALL_ID_prctl, CALL_ORIGIN, { 36, 1 }, "PR_SET_CHILD_SUBREAPER" },

	{ CALL_ID_fstat, CALL_ORIGIN, { 5, 1 }, "a twin, a bad pointer" },
	{ CALL_ID_fstat, CALL_HERE, { 6, 1 }, "no twin" },
	{ CALL_ID_fstat, CALL_HERE, { 99, 1 }, "closed" },
	{ CALL_ID_newfstatat, CALL_ORIGIN, { 5, 1, 1, 0x1000 }, "a twin" },
	{ CALL_ID_newfstatat, CALL_HERE, { PID(-100), 1, 1, 0x1000 }, "AT_FDCWD is no twin" },
	{ CALL_ID_statx, CALL_ORIGIN, { 5, 1, 0x1000 }, "a twin" },
	{ CALL_ID_statx, CALL_HERE, { 6, 1, 0x1000 }, "no twin" },
	{ CALL_ID_newfstatat, CALL_ORIGIN, { PID(-100), 0x3000, 1 }, "a name of the origin's" },
	{ CALL_ID_newfstatat, CALL_ORIGIN, { 7, 0x4000, 1, 0x100 }, "a name from a directory of the origin's" },
	{ CALL_ID_newfstatat, CALL_HERE, { PID(-100), 0x4000, 1 }, "the same name from here" },
	{ CALL_ID_statx, CALL_ORIGIN, { HIGH | 7, 0x4000 }, "a name, with rubbish above the int" },
	{ CALL_ID_statx, CALL_HERE, { 8, 0x4000 }, "a name from here" },
	{ CALL_ID_stat, CALL_ORIGIN, { 0x3000, 1 }, "a name of the origin's" },
	{ CALL_ID_stat, CALL_HERE, { 0x5000, 1 }, "a name from here" },
	{ CALL_ID_lstat, CALL_ORIGIN, { 0x3000, 1 }, "a name of the origin's" },
	{ CALL_ID_lstat, CALL_HERE, { 0, 1 }, "no name: the kernel here says EFAULT" },

	{ CALL_ID_io_uring_setup, CALL_ORIGIN, { 8, 1 }, "always" },
	{ CALL_ID_shmget, CALL_ORIGIN, { 0, 4096, 0600 }, "always" },
	{ CALL_ID_shmctl, CALL_ORIGIN, { 5, 0, 0 }, "always: the filter has looked at the command" },
	{ CALL_ID_semget, CALL_ORIGIN, { 0, 1, 0600 }, "always" },
	{ CALL_ID_semop, CALL_ORIGIN, { 5, 1, 1 }, "always" },
	{ CALL_ID_semtimedop, CALL_ORIGIN, { 5, 1, 1, 0 }, "always" },
	{ CALL_ID_semctl, CALL_ORIGIN, { 5, 0, 0 }, "always" },
	{ CALL_ID_msgget, CALL_ORIGIN, { 0, 0600 }, "always" },
	{ CALL_ID_msgsnd, CALL_ORIGIN, { 5, 1, 1, 0 }, "always" },
	{ CALL_ID_msgrcv, CALL_ORIGIN, { 5, 1, 1, 0, 0 }, "always" },
	{ CALL_ID_msgctl, CALL_ORIGIN, { 5, 0, 0 }, "always" },
	{ CALL_ID_read, CALL_ORIGIN, { 5, 1, 1 }, "always" },
	{ CALL_ID_write, CALL_ORIGIN, { 5, 1, 1 }, "always" },
	{ CALL_ID_open, CALL_ORIGIN, { 1, 0, 0 }, "always" },
	{ CALL_ID_poll, CALL_ORIGIN, { 5, 1 }, "always" },
};

static void test_every_row_is_decided(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct call *c = call_by_id(rows[i].id);

		assert_non_null(c);
		if (c->decide(&env, rows[i].args) != rows[i].is)
			fail_msg("%s, %s: decided wrongly", c->name, rows[i].what);
	}
	for (size_t k = 0; k < n_calls; k++) {
		size_t n = 0;

		for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
			n += rows[i].id == calls[k].id;
		if (!n)
			fail_msg("calls.def has %s, and this test has no case of it", calls[k].name);
	}
}

/* The shim decides in process: it knows no other process and no pidfd, and doesn't read memory */
static void test_the_shim_can_answer(void **state)
{
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct call *c = call_by_id(rows[i].id);

		if (c->route != CALL_ROUTE_BOTH)
			continue;
		asked_more = false;
		c->decide(&env, rows[i].args);
		if (asked_more)
			fail_msg("%s is decided by what libmshim.so can't know", c->name);
		n++;
	}
	assert_true(n > 0);
}

static void test_rows_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_calls; i++) {
		const struct call *c = &calls[i], *by_nr = call_by_nr(c->nr);

		for (size_t k = 0; k < i; k++) {
			assert_int_not_equal(calls[k].id, c->id);
			assert_true(calls[k].nr != c->nr);
		}
		assert_ptr_equal(call_by_id(c->id), c);
		if (c->route == CALL_ROUTE_NONE)
			assert_null(by_nr);
		else
			assert_ptr_equal(by_nr, c);
		assert_true(strlen(c->kinds) <= 6);
		assert_true(c->arg >= -1 && c->arg < 6);
		assert_int_equal((c->value | c->other) & ~c->mask, 0);	/* else the filter never looks */
	}
	assert_null(call_by_nr(SYS_getpid));
	assert_null(call_by_nr(-1));
	assert_null(call_by_id(0));
	assert_null(call_by_id(0xffff));
	assert_int_equal(call_by_nr(SYS_kill)->id, CALL_ID_kill);
}

static void test_ioctls_are_found(void **state)
{
	const struct call_ioctl *c = call_ioctl(0x5401);

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->name, "TCGETS");
	assert_int_equal(c->io, CALL_IO_GET);
	assert_int_equal(c->len, 36);
	assert_int_equal(call_ioctl(0x5414)->io, CALL_IO_SET);	/* TIOCSWINSZ */
	assert_int_equal(call_ioctl(0x5414)->len, 8);
	assert_int_equal(call_ioctl(0x5409)->io, CALL_IO_VALUE);	/* TCSBRK */
	assert_null(call_ioctl(0));
	assert_null(call_ioctl(0x54ff));
	assert_null(call_ioctl(0xffffffff));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_row_is_decided),
		cmocka_unit_test(test_the_shim_can_answer),
		cmocka_unit_test(test_rows_are_found),
		cmocka_unit_test(test_ioctls_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

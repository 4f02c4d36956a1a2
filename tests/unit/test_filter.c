/* SPDX-License-Identifier: MIT */
/*
 * test_filter.c - The seccomp filter in a child: which calls are notified, which are the kernel's
 *
 * Every call that is notified is answered with MAGIC, which the kernel says to nothing.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/call.h"
#include "common/scope.h"
#include "common/stub.h"
#include "proxy/target/filter.h"

#define MAGIC 471147
#define NOWHERE 8

static const uint8_t stub_code[] = { 0x48, 0x89, 0xf8, 0x0f, 0x05, 0xc3 };	/* mov %rdi,%rax; syscall; ret */

/* One call in a child under the filter: what it returned, or -errno */
struct question {
	long nr, a[6];
	bool from_stub;
};

static long ask(const struct question *q)
{
	if (q->from_stub)
		return ((long (*)(long))CALL_STUB)(q->nr);
	return syscall(q->nr, q->a[0], q->a[1], q->a[2], q->a[3], q->a[4], q->a[5]);
}

static void NORETURN be_asked(const struct question *q, const struct sock_filter *filter, int n, int out, int go)
{
	struct sock_fprog prog = { (unsigned short)n, (struct sock_filter *)(uintptr_t)filter };
	long got;
	int listener;

	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (write(out, &listener, sizeof(listener)) != sizeof(listener) || listener < 0)
		_exit(1);
	if (read(go, &got, 1) != 1)	/* the listener was fetched */
		_exit(1);
	got = ask(q);
	got = got == -1 ? -errno : got;
	if (write(out, &got, sizeof(got)) != sizeof(got))
		_exit(1);
	_exit(0);
}

static void answer(int listener)
{
	struct seccomp_notif n = { 0 };
	struct seccomp_notif_resp r = { .val = MAGIC };

	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n), 0);
	r.id = n.id;
	assert_int_equal(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r), 0);
}

static long result_of(const struct question *q)
{
	AUTO_FREE struct sock_filter *filter = NULL;
	int out[2], go[2], theirs = -1, n = filter_build(&filter, NULL), status;
	long got = 0;
	pid_t pid;

	assert_true(n > 0 && n <= BPF_MAXINSNS);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	if (!pid)
		be_asked(q, filter, n, out[1], go[0]);
	close(out[1]);
	assert_int_equal(read(out[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_true(theirs >= 0);
	{
		AUTO_FD int pidfd = pidfd_open(pid, 0);
		AUTO_FD int listener = pidfd_getfd(pidfd, theirs, 0);
		struct pollfd p[] = { { .fd = listener, .events = POLLIN }, { .fd = out[0], .events = POLLIN } };

		assert_true(listener >= 0);
		assert_int_equal(write(go[1], "", 1), 1);
		assert_true(poll(p, 2, 30000) > 0);
		if (p[0].revents & POLLIN)
			answer(listener);
		assert_int_equal(read(out[0], &got, sizeof(got)), sizeof(got));
	}
	close(out[0]);
	close(go[0]);
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return got;
}

/* Each row's call, with an argument that its condition asks for */
static void rows_are_notified(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_calls; i++) {
		struct question q = { .nr = calls[i].nr };

		if (calls[i].route == CALL_ROUTE_NONE)
			continue;
		if (calls[i].arg >= 0)
			q.a[calls[i].arg] = (long)calls[i].value;
		if (result_of(&q) != MAGIC)
			fail_msg("%s is not notified", calls[i].name);
	}
}

/* Only the bits of the mask count: an int's upper half may be anything */
static void masks_are_obeyed(void **state)
{
	static const struct question with[] = {
		{ .nr = SYS_ioctl, .a = { -1, 0x7777777700005413 } },
		{ .nr = SYS_clone, .a = { SIGCHLD } },
		{ .nr = SYS_prctl, .a = { 0x7777777700000000 | PR_GET_NO_NEW_PRIVS } },
		{ .nr = SYS_prctl, .a = { PR_SET_CHILD_SUBREAPER, 1 } },
		{ .nr = SYS_newfstatat, .a = { -1, NOWHERE, NOWHERE, 0 } },
	};
	static const struct {
		struct question q;
		int wanted;
	} without[] = {
		{ { .nr = SYS_ioctl, .a = { -1, 0x5500 } }, EBADF },
		{ { .nr = SYS_ioctl, .a = { -1, 0x80045430 & ~0xff00 } }, EBADF },
		{ { .nr = SYS_clone, .a = { 0x10000 } }, EINVAL },
		{ { .nr = SYS_read, .a = { -1 } }, EBADF },
		{ { .nr = SYS_write, .a = { -1 } }, EBADF },
		{ { .nr = SYS_wait4, .a = { -1 } }, ECHILD },
		{ { .nr = SYS_prctl, .a = { PR_GET_CHILD_SUBREAPER, NOWHERE } }, EFAULT },
		{ { .nr = 5000 }, ENOSYS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(with); i++)
		assert_int_equal(result_of(&with[i]), MAGIC);
	for (size_t i = 0; i < ARRAY_SIZE(without); i++)
		assert_int_equal(result_of(&without[i].q), -without[i].wanted);
}

/* From the stub's page a call is the kernel's; from right beside it, it isn't */
static void the_stub_passes(void **state)
{
	struct question q = { .nr = SYS_setsid, .from_stub = true };
	uint8_t *page = mmap((void *)CALL_STUB, CALL_STUB_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	(void)state;
	assert_ptr_equal(page, (void *)CALL_STUB);
	memcpy(page, stub_code, sizeof(stub_code));
	assert_int_equal(mprotect(page, CALL_STUB_LEN, PROT_READ | PROT_EXEC), 0);
	assert_int_not_equal(result_of(&q), MAGIC);
	q.from_stub = false;
	assert_int_equal(result_of(&q), MAGIC);
	assert_int_equal(munmap(page, CALL_STUB_LEN), 0);
}

/* A program for another architecture's calls gets none of them */
static void other_architectures_fail(void **state)
{
	struct question q = { .nr = 0x40000000 | SYS_getpid };	/* x32 */

	(void)state;
	assert_int_equal(result_of(&q), -ENOSYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_notified),
		cmocka_unit_test(masks_are_obeyed),
		cmocka_unit_test(the_stub_passes),
		cmocka_unit_test(other_architectures_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

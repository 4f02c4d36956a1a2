/* SPDX-License-Identifier: MIT */
/*
 * fuzz_calls.c - A hostile keeper, remote call by remote call
 *
 * Input: pieces {u8 what, u8 length, bytes}:
 *
 *	what 0		the bytes are a CALL
 *	what 1		a CALL: u8 row, six times u16 argument, the rest is what it takes along
 *	what 2 - 5	CANCEL, WATCH, DROP, and time that passes
 *
 * The deputy's code is compiled in here with the kernel replaced by one that believes every argument
 * and touches what it points to, as long as the call says.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/call.h"
#include "common/scope.h"
#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t entropy;
static volatile uint64_t sink;

static void touch(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sink += p[i];
}

static long fake_ioctl(uint64_t request, uint64_t arg)
{
	const struct call_ioctl *io = call_ioctl((uint32_t)request);

	if (!io)
		abort();	/* it was promised that only known ones get here */
	if (io->io == CALL_IO_GET)
		memset((void *)(uintptr_t)arg, 0x5a, io->len);
	else if (io->io == CALL_IO_SET)
		touch((const uint8_t *)(uintptr_t)arg, io->len);
	return 0;
}

static long fake_syscall(long nr, ...)
{
	uint64_t a[6];
	va_list list;

	va_start(list, nr);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(list, uint64_t);
	va_end(list);
	entropy = entropy * 6364136223846793005ULL + 1442695040888963407ULL;
	if (entropy >> 62 == 3) {
		errno = entropy >> 60 & 1 ? EAGAIN : EINTR;
		return -1;
	}
	switch (nr) {
	case SYS_read:
		memset((void *)(uintptr_t)a[1], 0x5a, a[2]);
		return (long)(a[2] ? (entropy >> 32) % a[2] : 0);
	case SYS_write:
		touch((const uint8_t *)(uintptr_t)a[1], a[2]);
		return (long)(a[2] ? (entropy >> 32) % (a[2] + 1) : 0);
	case SYS_ioctl:
		return fake_ioctl(a[1], a[2]);
	case SYS_fstat:
		memset((void *)(uintptr_t)a[1], 0x5a, sizeof(struct stat));
		return 0;
	case SYS_rt_sigqueueinfo:
		touch((const uint8_t *)(uintptr_t)a[2], CALL_SIGINFO_LEN);
		return 0;
	case SYS_rt_tgsigqueueinfo:
		touch((const uint8_t *)(uintptr_t)a[3], CALL_SIGINFO_LEN);
		return 0;
	default:
		return 0;
	}
}

static int real_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int fake_open(const char *path, int flags, ...)
{
	(void)flags;
	touch((const uint8_t *)path, strlen(path));
	return real_null();
}

#define syscall fake_syscall
#define open fake_open
#define setitimer(a, b, c) ((void)(b), (void)(c))
#define sigaction(a, b, c) ((void)(b))
#define signal(a, b) ((void)0)
#include "proxy/deputy/calls.c"
#include "proxy/deputy/handles.c"
#undef syscall
#undef open
#undef sigaction
#undef signal

/* ---- the deputy around it ---------------------------------------------------------------------- */

static struct handles held;

int deputy_tell(struct deputy *d UNUSED, unsigned type, const void *payload, ssize_t len, int fd UNUSED)
{
	if (len < 0 || wire_any(type, payload, (size_t)len))
		abort();	/* it can't be decoded */
	return 0;
}

struct handles *deputy_handles(struct deputy *d UNUSED)
{
	return &held;
}

pid_t deputy_fork(struct deputy *d UNUSED)
{
	return 4711;
}

void deputy_signalled(struct deputy *d UNUSED, const siginfo_t *info UNUSED)
{
}

void deputy_drain_signals(struct deputy *d UNUSED)
{
}

int deputy_above_standard(int fd)
{
	return fd;
}

/* ---- the keeper ------------------------------------------------------------------------------------ */

static void take_call(struct calls *c, uint8_t what, const uint8_t *p, size_t len)
{
	struct bytes b = bytes_of((void *)(uintptr_t)p, len);
	struct wire_call m = { 0 };

	if (!what) {
		if (!wire_get_call(p, len, &m))
			calls_take(c, &m);
		return;
	}
	m.id = len;
	m.row = (uint32_t)bytes_get_le(&b, 1);
	for (uint64_t *a = &m.a0; a <= &m.a5; a++)
		*a = bytes_get_le(&b, 2);
	if (m.row == CALL_ID_ioctl)	/* most of them look like this */
		m.a1 |= 0x5400;
	m.in = (wire_blob){ b.at, b.bad ? 0 : (uint32_t)bytes_left(&b) };
	calls_take(c, &m);
}

static void pass_time(struct calls *c)
{
	struct pollfd p[8];
	int timeout = -1, n = calls_poll(c, p, ARRAY_SIZE(p), &timeout);

	if (n > (int)ARRAY_SIZE(p))
		abort();
	if (poll(p, (nfds_t)n, 0) >= 0)
		calls_ready(c, p, n);
}

static void take(struct calls *c, uint8_t what, const uint8_t *p, size_t len)
{
	uint32_t number = len ? p[0] : 0, events = len > 1 ? p[1] : 0;

	switch (what % 6) {
	case 2:
		calls_cancel(c, number);
		break;
	case 3:
		calls_watch(c, number, events);
		break;
	case 4:
		calls_handle_gone(c, number);
		handle_drop(&held, number);
		break;
	case 5:
		pass_time(c);
		break;
	default:
		take_call(c, what % 6, p, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct calls *c = calls_new(NULL);

	if (!c)
		abort();
	entropy = size;
	for (uint32_t id = 1; id <= 3; id++)
		if (handle_add(&held, id, real_null()))
			abort();
	while (size >= 2) {
		uint8_t what = data[0];
		size_t len = MIN((size_t)data[1], size - 2);

		take(c, what, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	calls_forget(c);
	while (held.n)
		handle_drop(&held, held.list[0].id);
	free(take_ptr(held.list));
	free(c->list);
	free(c->watches);
	free(c);
	return 0;
}

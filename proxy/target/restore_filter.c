/* SPDX-License-Identifier: MIT */
/*
 * restore_filter.c - The seccomp filter is installed in the program's own name; the shim is told
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/scope.h"
#include "common/stub.h"
#include "proxy/target/filter.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* seccomp(2).  With WAIT_KILLABLE_RECV (5.19) a signal waits for the answer, and nothing is done twice */
static int install(struct restore *s, struct sock_filter *prog, size_t n, int64_t *listener, struct err *e)
{
	static const uint64_t flags[] = {
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
			SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
		SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
	};
	int rc = 0;

	*listener = -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(flags) && !rc && *listener == -EINVAL; i++) {
		struct sock_fprog fprog = { .len = (unsigned short)n };
		uint64_t at = remote_put(&s->r, prog, n * sizeof(*prog)), args;

		fprog.filter = (void *)(uintptr_t)at;
		args = at ? remote_put(&s->r, &fprog, sizeof(fprog)) : 0;
		rc = args ? remote_call(&s->r, listener, e, NULL, SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags[i], args)
			  : err_say(e, -ENOMEM, "the filter doesn't fit");
	}
	return rc ? rc : *listener < 0 ? err_set(e, (int)*listener, "install the seccomp filter") : 0;
}

int restore_filter(struct restore *s, struct err *e)
{
	AUTO_FREE struct sock_filter *prog = NULL;
	AUTO_FD int pidfd = -1;
	int64_t listener;
	int n, rc;

	s->listener = -1;
	if (s->r.scratch != CALL_STUB)
		return err_say(e, -EEXIST, "the program has memory at %#lx, which is needed here", CALL_STUB);
	n = filter_build(&prog, e);
	if (n < 0)
		return n;
	rc = remote_call(&s->r, NULL, e, "set no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	if (!rc)
		rc = install(s, prog, (size_t)n, &listener, e);
	if (rc)
		return rc;
	pidfd = pidfd_open(s->pid, 0);
	s->listener = pidfd < 0 ? -1 : pidfd_getfd(pidfd, (int)listener, 0);
	if (s->listener < 0)
		return err_set(e, -errno, "take the filter's listener");
	return remote_call(&s->r, NULL, e, "close the filter's listener", SYS_close, (uint64_t)listener);
}

/* ---- the shim ------------------------------------------------------------------------------------ */

static int peek(void *ctx, uint64_t addr, void *buf, size_t len)
{
	return remote_read(ctx, addr, buf, len);
}

/* libmshim.so in the program hears whether there is a filter, and a page whose calls pass it */
int restore_stub(struct restore *s, struct err *e)
{
	uint32_t moved = s->supervised;
	uint64_t at;
	int rc;

	if (!s->img->shim_base || s->r.scratch != CALL_STUB)
		return 0;
	rc = stub_find_state(peek, &s->r, s->img->shim_base, &at);
	if (rc)
		return 0;	/* another version's: its calls go the long way */
	rc = remote_write(&s->r, at + offsetof(struct mshim_state, moved), &moved, sizeof(moved));
	s->stub = !rc;
	return rc ? err_set(e, rc, "tell libmshim.so that it has moved") : 0;
}

int restore_let_go(struct restore *s, struct err *e)
{
	uint8_t page[CALL_STUB_LEN];

	if (!s->stub)
		return remote_unmap(&s->r, e);
	stub_write(page);
	return remote_leave_page(&s->r, page, e);
}

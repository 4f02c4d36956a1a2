/* SPDX-License-Identifier: MIT */
/*
 * bring.c - Descriptors into a frozen process
 */
#include "proxy/origin/bring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"

static int close_there(struct inject *i, int fd, struct err *e)
{
	return inject_must(i, NULL, "close a descriptor", e, SYS_close, (uint64_t[6]){ (uint64_t)fd });
}

static int move_there(struct inject *i, int fd, int above, int *to, struct err *e)
{
	int64_t high;
	int rc = inject_must(i, &high, "move a descriptor", e, SYS_fcntl,
			     (uint64_t[6]){ (uint64_t)fd, F_DUPFD_CLOEXEC, (uint64_t)above });

	if (!rc)
		*to = (int)high;
	return rc ? rc : close_there(i, fd, e);
}

int bring_way_in(struct inject *i, int above, int *ours, int *theirs, struct err *e)
{
	AUTO_FD int pidfd = pidfd_open(i->t->pid, 0);
	int pair[2], rc;

	rc = inject_must(i, NULL, "make a socket pair", e, SYS_socketpair,
			 (uint64_t[6]){ AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, i->room });
	if (!rc)
		rc = tracee_read(i->t, i->room, pair, sizeof(pair));
	if (rc)
		return rc;
	*ours = pidfd < 0 ? -1 : pidfd_getfd(pidfd, pair[1], 0);
	if (*ours < 0)
		rc = err_set(e, -errno, "take a descriptor out of the program");
	if (!rc)
		rc = move_there(i, pair[0], above, theirs, e);
	else if (close_there(i, pair[0], NULL))
		return rc;
	if (close_there(i, pair[1], NULL))
		rc = rc ? rc : err_say(e, -EIO, "couldn't close a descriptor in the program");
	return rc;
}

int bring_fds(struct inject *i, int ours, int theirs, const int *fds, int n, int above, int *numbers,
	      struct err *e)
{
	struct {
		struct msghdr m;
		struct iovec v;
		char byte[16];
		char control[CMSG_SPACE(BRING_MOST * sizeof(int))];
	} in = { 0 };
	uint64_t at = i->room;
	int got[BRING_MOST], rc;

	rc = n > BRING_MOST ? -E2BIG : sock_send(ours, "f", 1, fds, n, deadline_in_ms(5000));
	if (rc)
		return err_set(e, rc, "pass descriptors into the program");
	in.m.msg_iov = (void *)(uintptr_t)(at + offsetof(__typeof__(in), v));
	in.m.msg_iovlen = 1;
	in.m.msg_control = (void *)(uintptr_t)(at + offsetof(__typeof__(in), control));
	in.m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
	in.v.iov_base = (void *)(uintptr_t)(at + offsetof(__typeof__(in), byte));
	in.v.iov_len = 1;
	rc = tracee_write(i->t, at, &in, sizeof(in));
	if (!rc)
		rc = inject_must(i, NULL, "receive descriptors", e, SYS_recvmsg,
				 (uint64_t[6]){ (uint64_t)theirs, at, MSG_CMSG_CLOEXEC });
	if (!rc)
		rc = tracee_read(i->t, at + offsetof(__typeof__(in), control) + CMSG_LEN(0), got,
				 (size_t)n * sizeof(int));
	for (int k = 0; k < n && !rc; k++)
		rc = move_there(i, got[k], above, &numbers[k], e);
	return rc ? err_wrap(e, rc, "pass descriptors into the program") : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * maker.h - The one thing that a target's session may still have done with privilege
 *
 * While it is privileged the session forks a *maker*, a child that waits for two numbers (the
 * clocks' offsets) and then becomes mrestore, with everything else fixed beforehand.  A session
 * that never gets to PREPARE ends it by closing its pipe.
 */
#ifndef PROXY_TARGET_MAKER_H
#define PROXY_TARGET_MAKER_H

#include "proxy/daemon/session.h"

struct maker_user {
	char name[64], hostname[65];
	uid_t uid, image_uid;
	gid_t gid, image_gid;
	gid_t groups[256];
	int n_groups;
};

struct maker {
	int control;		/* to the keeper, once it has started */
	int resumed;		/* to a keeper of this session id that is there already, or -1 */
	int go;			/* the pipe that the maker waits at */
	int dir;		/* of the keepers' sockets */
	char name[64];		/* this one's */
};

int maker_fork(struct maker *m, const struct session_env *env, const char *sid, const char *pin,
	       const struct maker_user *user, struct err *e) MUST_CHECK;
int maker_start(struct maker *m, int64_t monotonic_offset, int64_t boottime_offset, struct err *e) MUST_CHECK;

void maker_forget(struct maker *m);	/* the keeper is gone: its socket goes too */

/* The pid, in our own pid namespace, behind a pidfd */
int maker_pid_of(int pidfd, pid_t *pid, struct err *e) MUST_CHECK;

#endif

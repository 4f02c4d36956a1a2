/* SPDX-License-Identifier: MIT */
/*
 * ground.h - The ground a moved program stands on: namespaces, mounts, hostname, user
 *
 * The privileged part of the target.  Everything it does comes from these fixed arguments, which
 * the session decided before it read anything of the image.
 */
#ifndef PROXY_TARGET_GROUND_H
#define PROXY_TARGET_GROUND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/policy.h"
#include "proxy/target/originfs.h"

struct ground {
	bool root;			/* mproxy is root: no user namespace, true uids */
	uid_t uid, image_uid;		/* the local user; what the program believes to be (user mode) */
	gid_t gid, image_gid;
	gid_t groups[256];		/* root mode: supplementary groups of the local user */
	int n_groups;
	int64_t monotonic_offset, boottime_offset;	/* ns, added to this machine's clocks */
	const char *hostname;
	const struct policy *policy;	/* directories that are the origin's are covered */
	/* from ground_settle(): the origin's directories, and /dev/pts; 0: there is no /dev/fuse */
	struct originfs_mount mounts[ORIGINFS_MOST + 1];
	size_t n_mounts;
	pid_t furnisher;		/* waits for ground_furnish(), to mount what is the target's own in /dev; 0 */
	int furnish;			/* a byte lets it begin; -1 */
};

/* New namespaces for this process and, for pid and time, its children.  Single-threaded */
int ground_unshare(const struct ground *g, struct err *e) MUST_CHECK;
/* In the first child, pid 1 of the new namespace: mounts, hostname, loopback */
int ground_settle(struct ground *g, struct err *e) MUST_CHECK;
/* Once the mounts are served: @serve is called again and again until it is done */
int ground_furnish(struct ground *g, void (*serve)(void *ctx), void *ctx, struct err *e) MUST_CHECK;
/* To the user, keeping CAP_CHECKPOINT_RESTORE as an ambient capability for the body */
int ground_become_user(const struct ground *g, struct err *e) MUST_CHECK;

#endif

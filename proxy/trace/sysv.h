/* SPDX-License-Identifier: MIT */
/*
 * sysv.h - System V shared memory of this IPC namespace: what there is, and a segment under a chosen number
 *
 * From ordinary code only.  Owns nothing: segments are the kernel's.
 */
#ifndef PROXY_TRACE_SYSV_H
#define PROXY_TRACE_SYSV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* A row of /proc/sysvipc/shm (proc(5)) */
struct sysv_segment {
	int id;
	int32_t key;			/* 0, IPC_PRIVATE: none, or marked for removal */
	uint64_t size;			/* bytes, as shmget(2) was asked */
	unsigned mode;			/* permissions, SHM_DEST, SHM_LOCKED */
	uint64_t areas;			/* shm_nattch: the kernel counts areas, an attachment that was split twice */
	pid_t creator, last;		/* who made it, attached or detached it last: their numbers here, 0: they have none */
	int64_t used;			/* the second, as time(2), of the last of these */
	uid_t uid, cuid;		/* owner, creator */
	gid_t gid, cgid;
};

/* All of them, malloc'ed; how many, or a negative errno.  Without System V IPC: none */
int sysv_segments(struct sysv_segment **out) MUST_CHECK;

/* Is there a semaphore set, or message queue, that one of @is_ours was the last to work with?  @id and @key are its */
bool sysv_used_semaphores(bool (*is_ours)(void *ctx, pid_t pid), void *ctx, int *id, int32_t *key);
bool sysv_used_queues(bool (*is_ours)(void *ctx, pid_t pid), void *ctx, int *id, int32_t *key);

/*
 * As shmget(2), under number @id; needs CAP_CHECKPOINT_RESTORE over the IPC namespace (proc(5),
 * /proc/sys/kernel/shm_next_id).  -EBUSY: the number is taken
 */
int sysv_make(int id, int32_t key, uint64_t size, int flags) MUST_CHECK;
bool sysv_has(int id);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * procfs.h - What /proc/PID says, parsed (proc(5))
 *
 * Reading stops nothing.  Everything is a snapshot of something that may be running.
 */
#ifndef PROXY_TRACE_PROCFS_H
#define PROXY_TRACE_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* image_vma.vmflags: those of smaps' VmFlags that a new mapping must be given again */
enum vmflag {
	VMFLAG_GROWSDOWN = 1 << 0,
	VMFLAG_LOCKED = 1 << 1,
	VMFLAG_NORESERVE = 1 << 2,
	VMFLAG_HUGETLB = 1 << 3,
	VMFLAG_DONTFORK = 1 << 4,
	VMFLAG_DONTDUMP = 1 << 5,
	VMFLAG_HUGEPAGE = 1 << 6,
	VMFLAG_NOHUGEPAGE = 1 << 7,
	VMFLAG_MERGEABLE = 1 << 8,
	VMFLAG_WIPEONFORK = 1 << 9,
	VMFLAG_SEQ_READ = 1 << 10,
	VMFLAG_RAND_READ = 1 << 11,
	VMFLAG_PFNMAP = 1 << 12,
	VMFLAG_IO = 1 << 13,
	VMFLAG_UFFD = 1 << 14,
	VMFLAG_SHADOW_STACK = 1 << 15,
	VMFLAG_MAYWRITE = 1 << 16,
	VMFLAG_KNOWN = 1 << 30,	/* smaps was read for this area */
};

struct map_entry {
	uint64_t start, end, offset, inode;
	uint64_t device;		/* as makedev() */
	char perms[5];			/* "rw-p" */
	uint64_t vmflags;		/* enum vmflag; only from smaps */
	uint64_t rss;			/* bytes; only from smaps */
	const char *name;		/* "" when anonymous; valid during the callback */
};

/* Calls @each for every area, in order; it may return a negative errno to end */
typedef int map_fn(void *ctx, const struct map_entry *m, struct err *e);
int procfs_maps(pid_t pid, bool smaps, map_fn *each, void *ctx, struct err *e) MUST_CHECK;

struct proc_status {
	char state;
	pid_t tgid, ppid, tracer;
	uint32_t uid[4], gid[4];	/* real, effective, saved, fs */
	uint32_t groups[256];
	int n_groups;
	unsigned umask;
	int threads;
	uint64_t pending, shared_pending, blocked, ignored, caught;
	uint64_t cap[5];		/* inheritable, permitted, effective, bounding, ambient */
	int no_new_privs, seccomp, seccomp_filters;
	uint64_t vm_rss, vm_size;	/* bytes */
	bool shadow_stack;
	bool kernel_thread;
};
int procfs_status(pid_t pid, pid_t tid, struct proc_status *s, struct err *e) MUST_CHECK;

struct proc_stat {
	char comm[32];
	char state;
	pid_t ppid, pgrp, session;
	int tty, priority, nice;
	uint64_t flags, start_time, start_code, end_code, start_stack, start_data, end_data, start_brk;
	uint64_t arg_start, arg_end, env_start, env_end;
	unsigned rt_priority, policy;
	int cpu;			/* where it ran last */
};
int procfs_stat(pid_t pid, pid_t tid, struct proc_stat *s, struct err *e) MUST_CHECK;

/* @state: as in struct proc_status or proc_stat */
static inline bool proc_has_ended(char state)
{
	return state == 'Z' || state == 'X';
}

/* Of a process that has ended and wasn't waited for: as wait(2) will give it.  0 of another user's */
int procfs_exit_status(pid_t pid, int *status) MUST_CHECK;

/* @fmt, relative to /proc/PID/, is read whole into @buf with a NUL; length or negative errno */
ssize_t procfs_read(pid_t pid, void *buf, size_t size, const char *fmt, ...) PRINTF(4, 5) MUST_CHECK;
int procfs_link(pid_t pid, char *buf, size_t size, const char *fmt, ...) PRINTF(4, 5) MUST_CHECK;

/* Numbers in a directory (task, fd) of /proc/PID, sorted; malloc'ed */
int procfs_list(pid_t pid, const char *dir, int **out, struct err *e) MUST_CHECK;
int procfs_number(const char *text, const char *key, int base, uint64_t *out);	/* "key: 12"; -ENOENT */

#endif

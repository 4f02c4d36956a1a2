/* SPDX-License-Identifier: MIT */
/*
 * pids.h - Processes and threads under chosen numbers
 *
 * Choosing needs CAP_CHECKPOINT_RESTORE over the pid namespace (5.9).
 */
#ifndef PROXY_TRACE_PIDS_H
#define PROXY_TRACE_PIDS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/attr.h"

/* One more than the largest number there can be (proc(5), pid_max); or a negative errno */
int64_t pids_max(void) MUST_CHECK;

/* The next number given in this pid namespace is @last + 1, if it is free (pid_namespaces(7), ns_last_pid) */
int pids_set_last(pid_t last) MUST_CHECK;

/* fork() under the number @pid (clone3(2), set_tid).  @flags: CLONE_PARENT or 0.  As fork(), or a negative errno */
pid_t pids_fork_as(pid_t pid, uint64_t flags, int exit_signal);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * records.h - sessions/SID.json: which programs of this machine are elsewhere
 *
 * Sessions write these files, as their program's user, and remove them; the daemon reads them, to
 * start a session again that died.  What a file says about another user's program isn't believed,
 * and a file may be anything: a link, a pipe, no JSON.
 */
#ifndef PROXY_DAEMON_RECORDS_H
#define PROXY_DAEMON_RECORDS_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

struct record {
	pid_t pid;
	uid_t uid;
};

bool records_is_sid(const char *text);
bool records_has(const char *state_dir, const char *sid);
/* 0 or a negative errno; then a line is in the log, and @out as before */
int records_read(const char *state_dir, const char *sid, struct record *out) MUST_CHECK;

typedef void records_fn(void *ctx, const char *sid);
void records_each(const char *state_dir, records_fn *each, void *ctx);

#endif

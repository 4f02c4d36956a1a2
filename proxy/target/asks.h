/* SPDX-License-Identifier: MIT */
/*
 * asks.h - Remote calls, from the keeper's side: asked, and answered some time
 *
 * CALL is a numbered message: it is executed once, whatever happens to sessions and links.  Its answer
 * comes to a callback, inside pump_run().
 */
#ifndef PROXY_TARGET_ASKS_H
#define PROXY_TARGET_ASKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/call.h"
#include "common/wire.h"
#include "proxy/twin/pump.h"

/* @value: what the kernel said, a negative errno or -ERESTARTSYS; @out: bytes, valid during the call */
typedef void ask_done(void *ctx, int64_t value, const void *out, size_t len);

#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif

struct ask;
struct asks {
	struct pump *pump;
	struct ask *list;
	uint64_t next;
};

/* @pid: whose deputy; @blocked: signals its program blocks or ignores.  Return: an id, or 0: no room */
uint64_t ask_home(struct asks *a, pid_t pid, enum call_id row, uint64_t blocked, const uint64_t args[6],
		  const void *in, size_t len, ask_done *done, void *ctx) MUST_CHECK;
void ask_cancel(struct asks *a, uint64_t id);		/* the answer comes all the same.  Only once */
void ask_cancel_all(struct asks *a);
bool ask_any(const struct asks *a);
void ask_answered(struct asks *a, const struct wire_result *m);

#endif

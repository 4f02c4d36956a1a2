/* SPDX-License-Identifier: MIT */
/*
 * asks.c - Remote calls, from the keeper's side: asked, and answered some time
 */
#include "proxy/target/asks.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/scope.h"

struct ask {
	struct ask *next;
	uint64_t id;
	pid_t pid;
	bool cancelled;
	ask_done *done;
	void *ctx;
};

uint64_t ask_home(struct asks *a, pid_t pid, enum call_id row, uint64_t blocked, const uint64_t args[6],
		  const void *in, size_t len, ask_done *done, void *ctx)
{
	struct wire_call m = { .pid = (uint32_t)pid, .row = row, .blocked = blocked, .a0 = args[0], .a1 = args[1],
			       .a2 = args[2], .a3 = args[3], .a4 = args[4], .a5 = args[5],
			       .in = { in ? in : "", (uint32_t)len } };
	AUTO_FREE uint8_t *buf = malloc(len + 128);
	struct ask *one = calloc(1, sizeof(*one));
	ssize_t n;

	if (!a->next)	/* an answer to the keeper before us must never be taken for ours */
		a->next = (uint64_t)clock_ns(CLOCK_REALTIME);
	m.id = a->next++;
	n = buf && one ? wire_put_call(buf, len + 128, &m) : -ENOMEM;
	if (n < 0 || pump_tell(a->pump, WIRE_CALL, buf, (size_t)n)) {
		free(one);
		return 0;
	}
	*one = (struct ask){ .next = a->list, .id = m.id, .pid = pid, .done = done, .ctx = ctx };
	a->list = one;
	return m.id;
}

static void cancel(struct asks *a, struct ask *one)
{
	struct wire_cancel m = { .id = one->id, .pid = (uint32_t)one->pid };
	uint8_t buf[32];
	ssize_t n = wire_put_cancel(buf, sizeof(buf), &m);

	if (!one->cancelled && n > 0 && !pump_tell(a->pump, WIRE_CANCEL, buf, (size_t)n))
		one->cancelled = true;
}

void ask_cancel(struct asks *a, uint64_t id)
{
	for (struct ask *one = a->list; one; one = one->next)
		if (one->id == id)
			cancel(a, one);
}

void ask_cancel_all(struct asks *a)
{
	for (struct ask *one = a->list; one; one = one->next)
		cancel(a, one);
}

bool ask_any(const struct asks *a)
{
	return a->list != NULL;
}

void ask_answered(struct asks *a, const struct wire_result *m)
{
	for (struct ask **at = &a->list; *at; at = &(*at)->next) {
		struct ask *one = *at;

		if (one->id != m->id)
			continue;
		*at = one->next;
		one->done(one->ctx, m->value, m->out.p, m->out.len);
		free(one);
		return;
	}
}

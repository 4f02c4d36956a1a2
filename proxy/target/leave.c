/* SPDX-License-Identifier: MIT */
/*
 * leave.c - A moved program is made ready to move on, or home
 */
#include "proxy/target/leave.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/origin/freeze.h"
#include "proxy/origin/look.h"
#include "proxy/origin/pipes.h"
#include "proxy/origin/tree.h"

#define LOOK_MS 20		/* how often it is looked whether everything has arrived */
#define PUMP_STATE_MAX (1u << 20)

struct leave {
	struct freeze *list[IMAGE_MOST_PROCESSES + 1];
	size_t n;
	struct image whole;		/* of all of them; the list alone is ours */
	struct pump *pump;
	int drain_ms;
};

int leave_survey(const struct look *base, struct image **out, struct err *e)
{
	struct reasons why = { 0 };
	struct look l = *base;
	int rc;

	l.why = &why;
	rc = tree_look(&l, true, out, e);
	if (!rc)
		rc = reasons_to_err(&why, e);
	reasons_free(&why);
	return rc;
}

/* ---- streams ----------------------------------------------------------------------------------------------- */

/* Goes on pumping while the program is frozen, until all it wrote, and we told, has arrived */
static int drain(struct leave *l, struct err *e)
{
	int64_t deadline = deadline_in_ms(l->drain_ms);

	while (l->drain_ms > 0 && !(pump_drained(l->pump) && pump_told(l->pump))) {
		struct pollfd p = { .fd = pump_fd(l->pump), .events = POLLIN };
		int more;

		if (!deadline_left_ms(deadline))
			return err_say(e, -ETIMEDOUT,
				       "what the program wrote isn't read at the origin: its pipe is full");
		more = pump_run(l->pump);
		if (more < 0)
			return err_set(e, more, "empty the program's pipes");
		/* that the program's pipes are empty makes no event */
		if (!more && poll(&p, 1, MIN(deadline_left_ms(deadline), LOOK_MS)) < 0 && errno != EINTR)
			return err_set(e, -errno, "empty the program's pipes");
	}
	return 0;
}

static void note_offset(struct image *img, uint32_t id, uint64_t offset)
{
	for (size_t i = 0; i < img->n_opens; i++)
		if (img->opens[i].kind == OPEN_TWIN && img->opens[i].stream == id)
			img->opens[i].offset = offset;
}

/* Offsets of the twins and the state of the numbered messages, for the next keeper */
static int keep_streams(struct leave *l, struct err *e)
{
	AUTO_FREE uint8_t *buf = malloc(PUMP_STATE_MAX);
	ssize_t n = buf ? pump_state_get(l->pump, buf, PUMP_STATE_MAX) : -ENOMEM;
	uint32_t count;
	int rc = 0;

	if (n < 0 || image_set_bytes(&l->list[0]->img->pump, buf, (size_t)n))
		return err_set(e, n < 0 ? (int)n : -ENOMEM, "keep the streams' state");
	memcpy(&count, buf + 16, 4);
	for (uint32_t k = 0; k < count; k++) {
		uint32_t id;
		uint64_t offset;

		memcpy(&id, buf + 20 + k * 20, 4);
		memcpy(&offset, buf + 20 + k * 20 + 8, 8);
		for (size_t i = 0; i < l->n; i++)
			note_offset(l->list[i]->img, id, offset);
	}
	for (size_t i = 0; i < l->n && !rc; i++)
		rc = pipes_keep(l->list[i]->t.pid, l->list[i]->img, true, e);
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

static struct freeze *slot(void *ctx, size_t i)
{
	struct leave *l = ctx;

	if (!l->list[i])
		l->list[i] = calloc(1, sizeof(*l->list[i]));
	return l->list[i];
}

static void let_go(struct leave *l)
{
	for (size_t i = l->n; i-- > 0;) {
		freeze_thaw(l->list[i]);
		free(l->list[i]);
	}
	free(l->whole.others);
	free(l);
}

int leave_freeze(const struct look *base, int (*frozen)(void *ctx, struct err *e), struct pump *pump, int drain_ms, struct leave **out,
		 struct err *e)
{
	struct leave *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, -ENOMEM, "freeze the program");
	l->pump = pump;
	l->drain_ms = drain_ms;
	rc = tree_freeze(base, true, slot, l, &l->n, e);
	if (!rc)
		rc = frozen(base->ctx, e);
	if (!rc)
		rc = drain(l, e);
	if (!rc)
		pump_hold(pump, true);
	for (size_t i = 0; i < l->n && !rc; i++)
		rc = freeze_dump(l->list[i], e);
	if (!rc)
		rc = keep_streams(l, e);
	if (rc) {
		pump_hold(pump, false);
		let_go(l);
		return rc;
	}
	l->whole = tree_image(slot, l, l->n);
	*out = l;
	return 0;
}

struct image *leave_image(struct leave *l)
{
	return &l->whole;
}

void leave_thaw(struct leave *l)
{
	let_go(l);
}

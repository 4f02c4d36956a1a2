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

#define PUMP_STATE_MAX (1u << 20)

struct leave {
	struct freeze f;
	struct pump *pump;
	int drain_ms;
};

static int survey(struct look *l, struct err *e)
{
	int rc = look_at(l, e);

	if (!rc)
		rc = look_settle(l, 1, e);
	if (!rc && reasons_refusals(l->why))
		rc = reasons_to_err(l->why, e);
	return rc;
}

int leave_survey(const struct look *base, struct image **out, struct err *e)
{
	AUTO_IMAGE struct image *img = calloc(1, sizeof(*img));
	struct reasons why = { 0 };
	struct look l = *base;
	int rc;

	l.img = img;
	l.why = &why;
	rc = img ? survey(&l, e) : err_set(e, -ENOMEM, "look at the program");
	reasons_free(&why);
	if (rc)
		return rc;
	*out = take_ptr(img);
	return 0;
}

/* ---- streams ----------------------------------------------------------------------------------------------- */

/* Goes on pumping while the program is frozen, until all it wrote has arrived */
static int drain(struct leave *l, struct err *e)
{
	int64_t deadline = deadline_in_ms(l->drain_ms);

	while (l->drain_ms > 0 && !pump_drained(l->pump)) {
		struct pollfd p = { .fd = pump_fd(l->pump), .events = POLLIN };
		int more;

		if (!deadline_left_ms(deadline))
			return err_say(e, -ETIMEDOUT,
				       "what the program wrote isn't read at the origin: its pipe is full");
		more = pump_run(l->pump);
		if (more < 0)
			return err_set(e, more, "empty the program's pipes");
		if (!more && poll(&p, 1, deadline_left_ms(deadline)) < 0 && errno != EINTR)
			return err_set(e, -errno, "empty the program's pipes");
	}
	return 0;
}

/* Offsets of the twins and the state of the numbered messages, for the next keeper */
static int keep_streams(struct leave *l, struct image *img, struct err *e)
{
	AUTO_FREE uint8_t *buf = malloc(PUMP_STATE_MAX);
	ssize_t n = buf ? pump_state_get(l->pump, buf, PUMP_STATE_MAX) : -ENOMEM;
	uint32_t count;

	if (n < 0 || image_set_bytes(&img->pump, buf, (size_t)n))
		return err_set(e, n < 0 ? (int)n : -ENOMEM, "keep the streams' state");
	memcpy(&count, buf + 16, 4);
	for (uint32_t k = 0; k < count; k++) {
		uint32_t id;
		uint64_t offset;

		memcpy(&id, buf + 20 + k * 20, 4);
		memcpy(&offset, buf + 20 + k * 20 + 8, 8);
		for (size_t i = 0; i < img->n_opens; i++)
			if (img->opens[i].kind == OPEN_TWIN && img->opens[i].stream == id)
				img->opens[i].offset = offset;
	}
	return pipes_keep(l->f.t.pid, img, true, e);
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

int leave_freeze(const struct look *base, struct pump *pump, int drain_ms, struct leave **out, struct err *e)
{
	AUTO_FREE struct leave *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, -ENOMEM, "freeze the program");
	l->pump = pump;
	l->drain_ms = drain_ms;
	rc = freeze_stop(&l->f, base, e);
	if (!rc)
		rc = drain(l, e);
	if (!rc) {
		pump_hold(pump, true);
		rc = freeze_dump(&l->f, e);
	}
	if (!rc)
		rc = keep_streams(l, l->f.img, e);
	if (rc) {
		pump_hold(pump, false);
		freeze_thaw(&l->f);
		return rc;
	}
	*out = take_ptr(l);
	return 0;
}

const struct image *leave_image(const struct leave *l)
{
	return l->f.img;
}

void leave_thaw(struct leave *l)
{
	freeze_thaw(&l->f);
	free(l);
}

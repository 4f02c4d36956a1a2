/* SPDX-License-Identifier: MIT */
/*
 * move.c - The way of a migration, seen from the origin
 *
 * The list of stages below is the design.  Whatever fails before "handing over" is undone in
 * reverse and the program runs on here; after it the target owns the program.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/image/cpu.h"
#include "proxy/origin/hub.h"
#include "proxy/origin/mem_send.h"
#include "proxy/origin/pipes.h"

#define CAP_BIT(n) (1ULL << (n))
#define CAP_CHECKPOINT_RESTORE_NR 40

int move_look(struct origin *o, struct err *e)
{
	struct look l = { .pid = o->pid, .policy = o->env->policy, .why = &o->why };
	int rc;

	o->survey = calloc(1, sizeof(*o->survey));
	if (!o->survey)
		return err_set(e, -ENOMEM, "look at the program");
	l.img = o->survey;
	rc = look_at(&l, e);
	if (!rc)
		rc = cpu_describe(o->survey, e);
	if (!rc && (image_set_str(&o->survey->sid, o->sid) || image_set_str(&o->survey->host, o->env->host)))
		rc = -ENOMEM;
	return rc;
}

static int stage_look(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = move_look(o, e);

	return rc ? rc : reasons_refusals(&o->why) ? reasons_to_err(&o->why, e) : 0;
}

static int stage_connect(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return ask_connect(o, &o->target, false, e);
}

static void undo_connect(void *ctx)
{
	struct origin *o = ctx;

	ask_abort(&o->target);
}

static int stage_ask(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = ask_offer(o, &o->target, o->survey, &o->why, e);

	return rc ? rc : reasons_refusals(&o->why) ? reasons_to_err(&o->why, e) : 0;
}

static int stage_clocks(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return ask_clocks(o, &o->target, e);
}

static int stage_prepare(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return ask_prepare(o, &o->target, o->survey, e);
}

static int stage_hub(void *ctx, struct err *e)
{
	return hub_open(ctx, 0, e);
}

static void undo_hub(void *ctx)
{
	hub_quit(ctx);
}

int move_freeze(struct origin *o, struct err *e)
{
	struct look l = { .pid = o->pid, .policy = o->env->policy, .before = o->survey };
	int rc;

	o->frozen_at = clock_ns(CLOCK_MONOTONIC);
	rc = freeze_stop(&o->freeze, &l, e);
	/* attached: from here on only the right to give threads their old numbers is needed */
	if (!rc)
		rc = origin_keep_capabilities(CAP_BIT(CAP_CHECKPOINT_RESTORE_NR), e);
	if (!rc && o->freeze.img->start_time != o->survey->start_time)
		rc = err_say(e, -ESRCH, "process %d is another program now", (int)o->pid);
	return rc;
}

static int stage_freeze(void *ctx, struct err *e)
{
	return move_freeze(ctx, e);
}

static void undo_freeze(void *ctx)
{
	struct origin *o = ctx;

	freeze_thaw(&o->freeze);
}

static int stage_save(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = freeze_dump(&o->freeze, e);

	o->handover.f = &o->freeze;
	return rc ? rc : pipes_keep(o->pid, o->freeze.img, false, e);
}

static int stage_send_state(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	AUTO_FREE char *text = image_to_json(o->freeze.img);

	return text ? talk_send_text(o->target.l, WIRE_IMAGE, text, e) : err_set(e, -ENOMEM, "write the image");
}

/* While the target maps the areas.  The session's file says from here on that there may be a copy */
static int stage_bring(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/mdeputy", o->env->libexec);
	rc = origin_note_session(o, NULL, e);
	if (!rc)
		rc = handover_bring(&o->handover, path, e);
	if (!rc)
		rc = hub_streams(o->hub, o->pid, o->freeze.img, e);
	if (!rc)
		rc = hub_join(o->hub, o->pid, o->handover.sock, e);
	if (rc)
		return rc;
	drop_fd(&o->handover.sock);
	return hub_attach(o, e);
}

static void undo_bring(void *ctx)
{
	handover_back(&((struct origin *)ctx)->handover);
}

static int stage_memory(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	struct wire_mem_end m = { 0 };
	uint8_t buf[16];
	int rc = talk_expect(o->target.l, WIRE_FILLABLE, &o->t, deadline_in_ms(TALK_MS), e);

	if (!rc)
		rc = mem_send(o->target.l, o->pid, o->freeze.img, &m.pages, NO_DEADLINE, e);
	o->pages = m.pages;
	return rc ? rc : talk_send(o->target.l, WIRE_MEM_END, buf, wire_put_mem_end(buf, sizeof(buf), &m), e);
}

static int stage_ready(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return talk_expect(o->target.l, WIRE_READY, &o->t, deadline_in_ms(TALK_MS), e);
}

static int stage_commit(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	int rc = handover_commit(&o->handover, e);

	o->committed = !rc;
	return rc;
}

/* The deputy runs; the program does as soon as GO arrives.  What fails here is repeated by serve.c */
static int stage_go(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = serve_begin(o, e);

	if (!rc)
		rc = serve_until(o, WIRE_RUNNING, deadline_in_ms(TALK_MS), e);
	o->paused_ns = clock_ns(CLOCK_MONOTONIC) - o->frozen_at;
	handover_drop_holder(&o->handover);
	return rc;
}

static const struct stage move_stages[] = {
	{ "looking at the program",	stage_look,	  NULL,		false },
	{ "connecting to the target",	stage_connect,	  undo_connect, false },
	{ "asking the target",		stage_ask,	  NULL,		false },
	{ "comparing clocks",		stage_clocks,	  NULL,		false },
	{ "preparing the target",	stage_prepare,	  NULL,		false },
	{ "starting the hub",		stage_hub,	  undo_hub,	false },
	{ "freezing the program",	stage_freeze,	  undo_freeze,	false },
	{ "saving its state",		stage_save,	  NULL,		false },
	{ "sending its state",		stage_send_state, NULL,		false },
	{ "bringing the deputy in",	stage_bring,	  undo_bring,	false },
	{ "sending memory",		stage_memory,	  NULL,		false },
	{ "waiting for the target",	stage_ready,	  NULL,		false },
	{ "handing over",		stage_commit,	  NULL,		true },
	{ "resuming there",		stage_go,	  NULL,		false },
};

static void progress(void *ctx, const struct stage *s)
{
	struct origin *o = ctx;

	o->stages = ARRAY_SIZE(move_stages);
	o->stage = (int)(s - move_stages) + 1;
	origin_progress(o, s->name);
}

/**
 * move_away() - From here to @o->target
 *
 * Return: 0: it runs there (or will as soon as the link stands again: serve.c sees to it);
 * negative: it runs here
 */
int move_away(struct origin *o, struct err *e)
{
	int rc = stage_run(move_stages, ARRAY_SIZE(move_stages), o, progress, e);

	if (rc && o->committed) {
		/* nobody may say that it failed, only that it isn't running yet */
		log_warn("committed, not yet running: %s", e->text);
		handover_drop_holder(&o->handover);
		serve_recover(o);
		return 0;
	}
	return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * move.c - The way of a migration, seen from the origin
 *
 * The list of stages below is the design.  Whatever fails before "handing over" is undone in
 * reverse and the program runs on here; after it the target owns the program.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/origin/hub.h"
#include "proxy/origin/mem_send.h"
#include "proxy/origin/pipes.h"
#include "proxy/origin/tree.h"

#define CAP_BIT(n) (1ULL << (n))
#define CAP_CHECKPOINT_RESTORE_NR 40

int move_look(struct origin *o, struct err *e)
{
	struct look l = { .pid = o->pid, .policy = o->env->policy, .why = &o->why };
	int rc = tree_look(&l, o->tree, &o->survey, e);

	if (!rc && (image_set_str(&o->survey->sid, o->sid) || image_set_str(&o->survey->host, o->env->host)))
		rc = err_set(e, -ENOMEM, "look at the program");
	return rc;
}

/* ---- the processes that move ------------------------------------------------------------------------------ */

static struct freeze *freeze_of(void *ctx, size_t i)
{
	struct origin *o = ctx;

	if (!i)
		return &o->freeze;
	if (!o->others[i - 1]) {
		o->others[i - 1] = calloc(1, sizeof(*o->others[i - 1]));
		if (o->others[i - 1])
			o->others[i - 1]->handover.sock = -1;
	}
	return o->others[i - 1] ? &o->others[i - 1]->freeze : NULL;
}

static struct handover *handover_of(struct origin *o, size_t i)
{
	return i ? &o->others[i - 1]->handover : &o->handover;
}

static int stage_look(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = move_look(o, e);

	return rc ? rc : reasons_to_err(&o->why, e);
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

	return rc ? rc : reasons_to_err(&o->why, e);
}

static int stage_clocks(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return ask_clocks(o, &o->target, e);
}

/* Children come and go: what is prepared for them must wait until the program is frozen */
static int stage_prepare(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	o->late |= o->tree || look_has_children(o->survey);
	return o->late ? 0 : ask_prepare(o, &o->target, o->survey, e);
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
	o->n_frozen = 1;
	rc = freeze_stop(&o->freeze, &l, e);
	/* attached: from here on only the right to give threads their old numbers is needed */
	if (!rc)
		rc = origin_keep_capabilities(CAP_BIT(CAP_CHECKPOINT_RESTORE_NR), e);
	if (!rc && o->freeze.img->start_time != o->survey->start_time)
		rc = err_say(e, -ESRCH, "process %d is another program now", (int)o->pid);
	return rc;
}

/* The target hears which processes there are, and will be */
static int prepare_frozen(struct origin *o, struct err *e)
{
	struct image whole = tree_image(freeze_of, o, o->n_frozen);
	bool again = !o->late;	/* it is prepared for a program without children */
	int rc = 0;

	if (again) {
		ask_abort(&o->target);
		rc = ask_connect(o, &o->target, false, e);
	}
	if (!rc && (o->tree || again))
		rc = ask_offer(o, &o->target, o->tree ? &whole : o->survey, &o->why, e);
	if (!rc)
		rc = reasons_to_err(&o->why, e);
	if (!rc)
		rc = ask_prepare(o, &o->target, &whole, e);
	free(whole.others);
	return rc;
}

static int freeze_tree(struct origin *o, struct err *e)
{
	struct look l = { .pid = o->pid, .policy = o->env->policy };
	int rc;

	o->frozen_at = clock_ns(CLOCK_MONOTONIC);
	rc = tree_freeze(&l, true, freeze_of, o, &o->n_frozen, e);
	return rc ? rc : origin_keep_capabilities(CAP_BIT(CAP_CHECKPOINT_RESTORE_NR), e);
}

static int stage_freeze(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = o->tree ? freeze_tree(o, e) : move_freeze(o, e);

	return !rc && (o->late || look_has_children(o->freeze.img)) ? prepare_frozen(o, e) : rc;
}

static void undo_freeze(void *ctx)
{
	struct origin *o = ctx;

	for (size_t i = o->n_frozen; i-- > 0;)
		freeze_thaw(freeze_of(o, i));
}

static int stage_save(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = 0;

	for (size_t i = 0; i < o->n_frozen && !rc; i++) {
		handover_of(o, i)->f = freeze_of(o, i);
		rc = freeze_dump(freeze_of(o, i), e);
		if (!rc)
			rc = pipes_keep(freeze_of(o, i)->t.pid, freeze_of(o, i)->img, false, e);
	}
	return rc;
}

static int stage_send_state(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	struct image whole = tree_image(freeze_of, o, o->n_frozen);
	AUTO_FREE char *text = image_to_json(&whole);

	free(whole.others);
	return text ? talk_send_text(o->target.l, WIRE_IMAGE, text, e) : err_set(e, -ENOMEM, "write the image");
}

static int bring_one(struct origin *o, size_t i, const char *deputy, struct err *e)
{
	struct handover *h = handover_of(o, i);
	pid_t pid = h->f->t.pid;
	int rc = handover_bring(h, deputy, e);

	if (!rc)
		rc = hub_streams(o->hub, pid, h->f->img, e);
	if (!rc)
		rc = hub_files(o->hub, pid, h->f->img, e);
	if (!rc)
		rc = hub_join(o->hub, pid, h->sock, e);
	if (!rc)
		drop_fd(&h->sock);
	return rc;
}

/* While the target maps the areas.  The session's file says from here on that there may be a copy */
static int stage_bring(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/mdeputy", o->env->libexec);
	rc = origin_note_session(o, NULL, e);
	for (size_t i = 0; i < o->n_frozen && !rc; i++)
		rc = bring_one(o, i, path, e);
	if (!rc)
		rc = hub_segments(o->hub, o->freeze.img, HUB_SEGMENTS_HOLD, e);
	return rc ? rc : hub_attach(o, e);
}

static void undo_bring(void *ctx)
{
	struct origin *o = ctx;

	hub_drop_segments(o, o->freeze.img);
	for (size_t i = o->n_frozen; i-- > 0;)
		if (handover_of(o, i)->f)
			handover_back(handover_of(o, i));
}

static int stage_memory(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	struct image whole = tree_image(freeze_of, o, o->n_frozen);
	struct wire_mem_end m = { 0 };
	struct mem_sent sent = { 0 };
	uint8_t buf[16];
	int rc = talk_expect(o->target.l, WIRE_FILLABLE, &o->t, deadline_in_ms(TALK_MS), e);

	for (size_t i = 0; i < o->n_frozen && !rc; i++)
		rc = mem_send(o->target.l, freeze_of(o, i)->t.pid, &whole, i, &sent, &m.pages, NO_DEADLINE, e);
	mem_sent_free(&sent);
	free(whole.others);
	o->pages = m.pages;
	return rc ? rc : talk_send(o->target.l, WIRE_MEM_END, buf, wire_put_mem_end(buf, sizeof(buf), &m), e);
}

static int stage_ready(void *ctx, struct err *e)
{
	struct origin *o = ctx;

	return talk_expect(o->target.l, WIRE_READY, &o->t, deadline_in_ms(TALK_MS), e);
}

static int set_exitkill(const struct tracee *t, bool on)
{
	unsigned options = t->options | (on ? PTRACE_O_EXITKILL : 0);

	return ptrace(PTRACE_SETOPTIONS, t->pid, 0, (void *)(uintptr_t)options) ? -errno : 0;
}

/*
 * The first process is the program's: when it is a deputy there is no way back.  The others follow at
 * once.  One that can't (out of memory: all else was tried) is lost, here and there; and if we die
 * meanwhile those that are left die too, so that none runs twice.
 */
static int stage_commit(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc = 0;

	for (size_t i = 1; i < o->n_frozen && !rc; i++)
		if (set_exitkill(&freeze_of(o, i)->t, true))
			rc = err_set(e, -errno, "hand over process %d", (int)freeze_of(o, i)->t.pid);
	if (!rc)
		rc = handover_commit(&o->handover, e);
	o->committed = !rc;
	if (!rc && o->n_frozen > 1)	/* for the tests; there is nothing left to fail */
		(void)!stage_fault("handing over the others", NULL);
	for (size_t i = 1; i < o->n_frozen && !rc; i++) {
		pid_t pid = freeze_of(o, i)->t.pid;
		struct err its = { 0 };

		if (handover_commit(handover_of(o, i), &its)) {
			log_line(LOG_LEVEL_ERR, "E_PROGRAM_LOST", "process %d of the program is lost: %s", (int)pid, its.text);
			kill(pid, SIGKILL);
		}
	}
	for (size_t i = 1; i < o->n_frozen && rc; i++)
		if (set_exitkill(&freeze_of(o, i)->t, false))
			log_warn("process %d is gone", (int)freeze_of(o, i)->t.pid);
	return rc;
}

/* The deputies run; the program does as soon as GO arrives.  What fails here is repeated by serve.c */
static int stage_go(void *ctx, struct err *e)
{
	struct origin *o = ctx;
	int rc;

	for (size_t i = 1; i < o->n_frozen; i++)
		ptrace(PTRACE_DETACH, freeze_of(o, i)->t.pid, 0, 0);
	rc = serve_begin(o, e);
	if (!rc)
		rc = serve_until(o, WIRE_RUNNING, deadline_in_ms(TALK_MS), e);
	o->paused_ns = clock_ns(CLOCK_MONOTONIC) - o->frozen_at;
	for (size_t i = 0; i < o->n_frozen; i++)
		handover_drop_holder(handover_of(o, i));
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
	origin_at_stage(ctx, move_stages, ARRAY_SIZE(move_stages), s);
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
		for (size_t i = 0; i < o->n_frozen; i++)
			handover_drop_holder(handover_of(o, i));
		serve_recover(o);
		return 0;
	}
	return rc;
}

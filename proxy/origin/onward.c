/* SPDX-License-Identifier: MIT */
/*
 * onward.c - From the present target to a third host
 *
 * The origin stays the origin, and the image goes through it: the two targets needn't know each
 * other.  COMMIT is the present target's answer that its frozen copy is dead.  Until then both
 * names stand in the session's file; whoever takes the session over asks the present one first.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/image/cpu.h"
#include "proxy/origin/look.h"
#include "proxy/target/keeper.h"

struct onward {
	struct origin *o;
	struct target next;
	struct image *survey;
	char *image;
	bool frozen, noted, committed;
	bool late;		/* the next target is prepared when the program is frozen */
};

static int caught_text(struct origin *o, char **text, struct err *e)
{
	struct wire_image m;

	if (wire_get_image(o->caught.buf, o->caught.len, &m))
		return err_say(e, -EBADMSG, "the image can't be read");
	free(*text);
	*text = strdup(m.manifest);
	return *text ? 0 : err_set(e, -ENOMEM, "read the image");
}

/* What its processor had, the program may use: the present target's passed the check for ours */
static int describe_cpus(struct image *img, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < image_processes(img); i++)
		rc = cpu_describe(image_process(img, i), e);
	return rc;
}

static int stage_survey(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	AUTO_FREE char *text = NULL;
	int rc = serve_send(w->o, WIRE_SURVEY, NULL, 0, e);

	if (!rc)
		rc = serve_until(w->o, WIRE_SURVEYED, deadline_in_ms(TALK_MS), e);
	if (!rc)
		rc = caught_text(w->o, &text, e);
	if (!rc)
		rc = image_from_json(text, strlen(text), &w->survey, e);
	if (!rc)
		rc = describe_cpus(w->survey, e);
	w->late = !rc && (look_has_children(w->survey) || w->survey->ended_first);
	return rc;
}

static int stage_connect(void *ctx, struct err *e)
{
	struct onward *w = ctx;

	return ask_connect(w->o, &w->next, false, e);
}

static void undo_connect(void *ctx)
{
	ask_abort(&((struct onward *)ctx)->next);
}

/* A refusal is an error: the program stays where it is */
static int offer(struct onward *w, struct image *img, struct err *e)
{
	struct reasons why = { 0 };
	int rc = ask_offer(w->o, &w->next, img, &why, e);

	if (!rc)
		rc = reasons_to_err(&why, e);
	reasons_free(&why);
	return rc;
}

static int stage_ask(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	int rc = offer(w, w->survey, e);

	if (!rc)
		rc = ask_clocks(w->o, &w->next, e);
	/* children come and go */
	return rc || w->late ? rc : ask_prepare(w->o, &w->next, w->survey, e);
}

static int prepare_frozen(struct onward *w, struct image *img, struct err *e)
{
	int rc = describe_cpus(img, e);

	if (!rc && !w->late) {	/* it is prepared for a program without children */
		ask_abort(&w->next);
		rc = ask_connect(w->o, &w->next, false, e);
	}
	if (!rc)
		rc = offer(w, img, e);
	return rc ? rc : ask_prepare(w->o, &w->next, img, e);
}

static int stage_freeze(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	AUTO_IMAGE struct image *img = NULL;
	int rc;

	w->frozen = true;
	rc = serve_freeze(w->o, 0, e);
	if (!rc)
		rc = caught_text(w->o, &w->image, e);
	if (!rc)
		rc = image_from_json(w->image, strlen(w->image), &img, e);
	return !rc && (w->late || look_has_children(img) || img->ended_first) ? prepare_frozen(w, img, e) : rc;
}

static void undo_freeze(void *ctx)
{
	struct onward *w = ctx;

	if (w->frozen)
		serve_thaw(w->o);
}

/* Pages pass through this process, from one link to the other, a frame at a time */
static int pass_on(void *ctx, const struct frame *f, struct err *e)
{
	struct onward *w = ctx;

	return frame_send(w->next.l, f->type, 0, f->payload, f->length, deadline_in_ms(TALK_MS), e);
}

static int stage_memory(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	int rc = talk_send_text(w->next.l, WIRE_IMAGE, w->image, e);

	if (!rc)
		rc = talk_expect(w->next.l, WIRE_FILLABLE, &w->o->t, deadline_in_ms(TALK_MS), e);
	if (!rc)
		rc = origin_note_session(w->o, w->next.peer.name, e);
	w->noted = !rc;
	return rc ? rc : serve_memory(w->o, pass_on, w, e);
}

static void undo_memory(void *ctx)
{
	struct onward *w = ctx;

	if (w->noted && origin_note_session(w->o, NULL, NULL))
		log_warn("the session's file couldn't be written");
}

static int stage_ready(void *ctx, struct err *e)
{
	struct onward *w = ctx;

	return talk_expect(w->next.l, WIRE_READY, &w->o->t, deadline_in_ms(TALK_MS), e);
}

static int stage_commit(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	int rc = serve_discard(w->o, e);

	w->committed = !rc;
	return rc;
}

static int stage_go(void *ctx, struct err *e)
{
	struct onward *w = ctx;
	int rc = serve_new_target(w->o, &w->next, e);

	return rc ? rc : serve_until(w->o, WIRE_RUNNING, deadline_in_ms(TALK_MS), e);
}

static const struct stage stages[] = {
	{ "onward: looking at the program",	stage_survey,  NULL,	     false },
	{ "onward: connecting to the target",	stage_connect, undo_connect, false },
	{ "onward: asking the target",		stage_ask,     NULL,	     false },
	{ "onward: freezing the program",	stage_freeze,  undo_freeze,  false },
	{ "onward: sending memory",		stage_memory,  undo_memory,  false },
	{ "onward: waiting for the target",	stage_ready,   NULL,	     false },
	{ "onward: handing over",		stage_commit,  NULL,	     true },
	{ "onward: resuming there",		stage_go,      NULL,	     false },
};

static void progress(void *ctx, const struct stage *s)
{
	struct onward *w = ctx;

	origin_at_stage(w->o, stages, ARRAY_SIZE(stages), s);
}

int onward_move(struct origin *o, const char *host, struct err *e)
{
	struct onward w = { .o = o };
	int rc = ask_find_peer(o, host, &w.next.peer, e);

	if (!rc && !strcmp(host, o->target.peer.name))
		rc = err_say(e, -EALREADY, "process %d runs on %s already", (int)o->pid, host);
	if (!rc && !o->relay.io)
		rc = err_say(e, -ENOLINK, "the link to %s is down; try again when it stands", o->target.peer.name);
	if (!rc)
		rc = stage_run(stages, ARRAY_SIZE(stages), &w, progress, e);
	if (rc && w.committed) {	/* it is the next one's, who hears of it as soon as the link stands */
		log_warn("committed, not yet running: %s", e ? e->text : "");
		if (w.next.l && serve_new_target(o, &w.next, e))
			serve_recover(o);
		rc = 0;
	}
	if (rc)
		err_wrap(e, rc, "process %d stays on %s", (int)o->pid, o->target.peer.name);
	image_free(w.survey);
	free(w.image);
	return rc;
}

/**
 * onward_settle() - A session that died while the program moved on: who has it now?
 * @next:	The host it was moving to
 *
 * The present target is asked first.  If it still has the program, in whatever state, the copy at
 * the next one is given up; if it hasn't, the next one is the present one.
 */
void onward_settle(struct origin *o, const char *next)
{
	struct target other = { 0 };
	struct err e = { 0 };
	unsigned state;

	while (ask_resume(o, &o->target, true, &state, &e)) {
		log_warn("%s", e.text);
		sleep(1);
	}
	if (ask_find_peer(o, next, &other.peer, &e))
		return;
	link_close(take_ptr(o->target.l));
	if (state == KEEPER_EMPTY) {
		o->target.peer = other.peer;
	} else {
		unsigned its;

		if (!ask_resume(o, &other, false, &its, &e))
			ask_abort(&other);
	}
	if (origin_note_session(o, NULL, &e))
		log_warn("%s", e.text);
}

/* SPDX-License-Identifier: MIT */
/*
 * revive.c - A program comes out of a file
 *
 * As a move, with the file in the place of the frozen original: the target is asked the same
 * questions, gets the same image and the same memory.  The deputy is the process that asked, which
 * mmigrate forked for that: it has the standard streams, and its parent waits for it.
 *
 * COMMIT is its exec into mdeputy.  It does that itself when it is told to, and this session is its
 * tracer meanwhile, with PTRACE_O_EXITKILL: if we die before we know what came of it, it dies too, and
 * a deputy without a program, or a program without a deputy, can't be.  From its exec on the
 * session can be replaced as any other.
 *
 * The program's clocks go on from where they stood: it has slept, for all it can tell.  The real
 * time it sees is the machine's.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/stage.h"
#include "proxy/image/saved.h"
#include "proxy/image/standard.h"
#include "proxy/origin/asker.h"
#include "proxy/origin/hub.h"
#include "proxy/origin/mem_send.h"

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)
#define LONGEST_NS (INT64_MAX / 4)	/* a clock that shows more was never read */
#define HANDOVER_MS 10000

struct reviving {
	struct origin *o;
	const char *host;
	int file, setup;
	struct saved *saved;
	struct image *img;		/* the reader's */
	struct standard_stream streams[STANDARD_STREAMS];
	bool attached;
};

/* ---- the file -------------------------------------------------------------------------------- */

static bool clock_ok(int64_t ns)
{
	return ns > 0 && ns < LONGEST_NS;
}

static int stage_read(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	struct origin *o = r->o;
	int rc;

	r->file = asker_file(o->client, e);
	rc = r->file < 0 ? r->file : saved_open(r->file, &r->saved, e);
	if (rc)
		return rc;
	r->img = saved_image(r->saved);
	if (!clock_ok(r->img->saved_ns) || !clock_ok(r->img->saved_monotonic_ns) || !clock_ok(r->img->saved_boottime_ns) ||
	    r->img->pid < 1 || !r->img->comm)
		return err_say(e, -EBADMSG, "E_IMAGE_DAMAGED: the program's description makes no sense");
	if (r->img->euid != o->uid)
		reasons_add(&o->why, REASON_USER, NULL, "the image is of a program of uid %lld, and uid %u asks for it: its "
			    "own user can restore it, from a file of theirs", (long long)r->img->euid, o->uid);
	snprintf(o->comm, sizeof(o->comm), "%s", r->img->comm);
	standard_streams(r->img, r->streams, &o->why);
	return reasons_to_err(&o->why, e);
}

/* ---- the target ------------------------------------------------------------------------------ */

static int stage_connect(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	int rc = ask_find_peer(r->o, r->host, &r->o->target.peer, e);

	return rc ? rc : ask_connect(r->o, &r->o->target, false, e);
}

static void undo_connect(void *ctx)
{
	ask_abort(&((struct reviving *)ctx)->o->target);
}

static int stage_ask(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	int rc = ask_offer(r->o, &r->o->target, r->img, &r->o->why, e);

	return rc ? rc : reasons_to_err(&r->o->why, e);
}

static int stage_prepare(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	struct target *t = &r->o->target;
	int rc = ask_clocks(r->o, t, e);

	if (rc)
		return rc;
	t->monotonic_offset += r->img->saved_monotonic_ns - clock_ns(CLOCK_MONOTONIC);
	t->boottime_offset += r->img->saved_boottime_ns - clock_ns(CLOCK_BOOTTIME);
	return ask_prepare(r->o, t, r->img, e);
}

static int stage_send_state(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	AUTO_FREE char *text = image_to_json(r->img);
	int rc = text ? talk_send_text(r->o->target.l, WIRE_IMAGE, text, e) : err_set(e, -ENOMEM, "write the image");

	/* from here on there may be a copy that somebody has to see to */
	return rc ? rc : origin_note_session(r->o, NULL, e);
}

static int next_run(void *ctx, struct mem_run *m, struct err *e)
{
	struct saved_pages p;
	int rc = saved_next(ctx, &p, e);

	if (rc == 1)
		*m = (struct mem_run){ p.space, p.addr, p.p, p.len };
	return rc;
}

static int stage_memory(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	struct origin *o = r->o;
	struct wire_mem_end m = { 0 };
	uint8_t buf[16];
	int rc = talk_expect(o->target.l, WIRE_FILLABLE, &o->t, deadline_in_ms(TALK_MS), e);

	if (!rc)
		rc = mem_send_from(o->target.l, next_run, r->saved, &m.pages, NO_DEADLINE, e);
	o->pages = m.pages;
	return rc ? rc : talk_send(o->target.l, WIRE_MEM_END, buf, wire_put_mem_end(buf, sizeof(buf), &m), e);
}

static int stage_ready(void *ctx, struct err *e)
{
	struct origin *o = ((struct reviving *)ctx)->o;

	return talk_expect(o->target.l, WIRE_READY, &o->t, deadline_in_ms(TALK_MS), e);
}

/* ---- the deputy ------------------------------------------------------------------------------ */

/* What the deputy will read: which of its descriptors are which streams */
static int write_setup(struct reviving *r, struct err *e)
{
	struct handover_handle held[STANDARD_STREAMS];
	size_t n = 0;

	for (int i = 0; i < STANDARD_STREAMS; i++)
		if (r->streams[i].wanted)
			held[n++] = (struct handover_handle){ (uint32_t)r->streams[i].stream, i };
	r->setup = handover_describe(held, n, NULL, 0, e);
	return r->setup < 0 ? r->setup : 0;
}

static int stage_deputy(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	struct origin *o = r->o;
	int rc = write_setup(r, e);

	if (!rc)
		rc = hub_open(o, (pid_t)r->img->pid, e);
	if (!rc && ptrace(PTRACE_SEIZE, o->pid, 0, (void *)(uintptr_t)OPTIONS))
		rc = err_set(e, -errno, "attach to mmigrate, process %d", (int)o->pid);
	r->attached = !rc;
	/* still the process that asked, not one that got its number since: only then it may be killed */
	if (!rc && origin_is_deputy(o) < 0)
		rc = err_say(e, -ECANCELED, "mmigrate has gone");
	for (int i = 0; i < STANDARD_STREAMS && !rc; i++)
		if (r->streams[i].wanted)
			rc = hub_stream(o->hub, o->pid, i, (uint32_t)r->streams[i].stream, r->streams[i].out,
					r->streams[i].offset, e);
	return rc ? rc : origin_keep_capabilities(1ULL << CAP_CHECKPOINT_RESTORE, e);
}

/* mmigrate ends by itself when it hears the answer; with us attached it couldn't be waited for */
static void undo_deputy(void *ctx)
{
	struct reviving *r = ctx;

	hub_quit(r->o);
	if (!r->attached)
		return;
	/* it stands already if that is what failed */
	if (ptrace(PTRACE_DETACH, r->o->pid, 0, 0) && !tracee_interrupt(r->o->pid, deadline_in_ms(5000), NULL))
		ptrace(PTRACE_DETACH, r->o->pid, 0, 0);
	r->attached = false;
}

static int tell_deputy(struct reviving *r, int sock, struct err *e)
{
	struct origin *o = r->o;
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *answer = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct wire_be_deputy m = { .comm = o->comm, .as = (uint32_t)r->img->pid };
	AUTO_FD int exe = -1;
	char text[300], path[4096];

	snprintf(path, sizeof(path), "%s/mdeputy", o->env->libexec);
	exe = open(path, O_RDONLY | O_CLOEXEC);
	if (exe < 0)
		return err_set(e, -errno, "open %s", path);
	snprintf(text, sizeof(text), "process %lld (%s) of %s goes on %s%s, from when it was saved; process %d stands for "
		 "it here", (long long)r->img->pid, o->comm, saved_head(r->saved)->host,
		 strcmp(r->host, ASK_SELF) ? "on " : "here", strcmp(r->host, ASK_SELF) ? r->host : "", (int)o->pid);
	json_put_str(j, "text", text);
	json_put_int(j, "pid", o->pid);
	json_put_int(j, "pages", (int64_t)o->pages);
	json_put_str(j, "mode", o->target.mode);
	json_put(j, "reasons", reasons_to_json(&o->why, NULL));
	answer = json_text(j, false);
	buf = answer ? malloc(strlen(answer) + 128) : NULL;
	if (!buf)
		return err_set(e, -ENOMEM, "hand over");
	m.answer = answer;
	return asker_tell(o->client, WIRE_BE_DEPUTY, buf, wire_put_be_deputy(buf, strlen(answer) + 128, &m),
			  (int[]){ exe, r->setup, sock }, 3, e);
}

/* Waits until it has execed.  Signals that come meanwhile are its own: by default they end it */
static int await_exec(pid_t pid, struct err *e)
{
	int64_t deadline = deadline_in_ms(HANDOVER_MS);
	int status, rc;

	for (;;) {
		rc = tracee_wait(pid, &status, deadline);
		if (rc)
			return err_set(e, rc, "wait for mmigrate, process %d, to become the deputy", (int)pid);
		if (!WIFSTOPPED(status))
			return err_say(e, -ECANCELED, "mmigrate has gone");
		if (tracee_event(status) == PTRACE_EVENT_EXEC)
			return 0;
		if (ptrace(PTRACE_CONT, pid, 0, tracee_event(status) ? 0 : (void *)(intptr_t)WSTOPSIG(status)))
			return err_say(e, -ECANCELED, "mmigrate has gone");
	}
}

/* From here on it ends with us, until it is the deputy; @sock: its socket to the hub */
static int become_deputy(struct reviving *r, int sock, struct err *e)
{
	struct origin *o = r->o;
	int rc = 0;

	if (ptrace(PTRACE_SETOPTIONS, o->pid, 0, (void *)(uintptr_t)(OPTIONS | PTRACE_O_EXITKILL)))
		rc = err_say(e, -ECANCELED, "mmigrate has gone");
	if (!rc)
		rc = tell_deputy(r, sock, e);
	if (!rc && ptrace(PTRACE_CONT, o->pid, 0, 0))
		rc = err_say(e, -ECANCELED, "mmigrate has gone");
	if (!rc)
		rc = await_exec(o->pid, e);
	/* who asks could be anything */
	if (!rc && origin_is_deputy(o) != 1)
		rc = err_say(e, -EPROTO, "process %d became something else than the deputy", (int)o->pid);
	if (!rc && ptrace(PTRACE_SETOPTIONS, o->pid, 0, (void *)(uintptr_t)OPTIONS))
		rc = err_set(e, -errno, "let the deputy live");
	return rc;
}

static int stage_commit(void *ctx, struct err *e)
{
	struct reviving *r = ctx;
	struct origin *o = r->o;
	int sv[2], rc = tracee_interrupt(o->pid, deadline_in_ms(HANDOVER_MS), e);

	if (!rc)
		rc = sock_pair(sv, e);
	if (rc)
		return rc;
	rc = hub_join(o->hub, o->pid, sv[0], e);
	close(sv[0]);
	if (!rc)
		rc = hub_attach(o, e);
	if (rc) {
		close(sv[1]);
		return rc;
	}
	rc = become_deputy(r, sv[1], e);
	close(sv[1]);
	if (rc) {	/* it may exec yet, and must not: there will be no program behind it */
		kill(o->pid, SIGKILL);
		r->attached = false;
		return rc;
	}
	drop_fd(&o->client);
	o->committed = true;
	return 0;
}

static int stage_go(void *ctx, struct err *e)
{
	struct origin *o = ((struct reviving *)ctx)->o;
	int rc = serve_begin(o, e);

	return rc ? rc : serve_until(o, WIRE_RUNNING, deadline_in_ms(TALK_MS), e);
}

static const struct stage revive_stages[] = {
	{ "restoring: reading the file",	 stage_read,	   NULL,	 false },
	{ "restoring: connecting to the target", stage_connect,	   undo_connect, false },
	{ "restoring: asking the target",	 stage_ask,	   NULL,	 false },
	{ "restoring: preparing the target",	 stage_prepare,	   NULL,	 false },
	{ "restoring: sending its state",	 stage_send_state, NULL,	 false },
	{ "restoring: sending memory",		 stage_memory,	   NULL,	 false },
	{ "restoring: waiting for the target",	 stage_ready,	   NULL,	 false },
	{ "restoring: attaching to the deputy",	 stage_deputy,	   undo_deputy,	 false },
	{ "restoring: handing over",		 stage_commit,	   NULL,	 true },
	{ "restoring: resuming there",		 stage_go,	   NULL,	 false },
};

static void progress(void *ctx, const struct stage *s)
{
	origin_at_stage(((struct reviving *)ctx)->o, revive_stages, ARRAY_SIZE(revive_stages), s);
}

/**
 * revive_program() - Out of a file, which the client gives, to @host
 *
 * Return: 0: it runs there (or will as soon as the link stands again), and the client is its deputy;
 * negative: it runs nowhere, and the client is still to be answered
 */
int revive_program(struct origin *o, const char *host, struct err *e)
{
	struct reviving r = { .o = o, .host = host, .file = -1, .setup = -1 };
	int rc = stage_run(revive_stages, ARRAY_SIZE(revive_stages), &r, progress, e);

	saved_close(r.saved);
	drop_fd(&r.file);
	drop_fd(&r.setup);
	if (rc && o->committed) {
		log_warn("committed, not yet running: %s", e->text);
		serve_recover(o);
		return 0;
	}
	return rc;
}

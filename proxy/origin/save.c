/* SPDX-License-Identifier: MIT */
/*
 * save.c - A program goes into a file
 *
 * The same way as a move, as far as "sending memory": the same look, the same freeze, the same
 * image.  The file was made by mmigrate, as the user who asks, under a passing name; this session
 * gets its descriptor, writes, and mmigrate gives it its name once it is whole and on the disk.
 *
 *	goes on		thawed as soon as its memory is written; whatever fails, it goes on
 *	--stop		it stands until the file has its name, and only then it is killed
 *
 * Nobody can be asked later what the files were that the program had open: so each is identified
 * now.  Those that nobody writes to before the freeze; those that the program writes to while it
 * stands, if they aren't large.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/image/cpu.h"
#include "proxy/image/file_id.h"
#include "proxy/image/saved.h"
#include "proxy/origin/asker.h"
#include "proxy/origin/mem_walk.h"
#include "proxy/origin/pipes.h"

#define HASH_FROZEN (64u << 20)		/* bytes of a file that are read while the program stands */

struct saving {
	struct origin *o;
	bool stop;
	int file;
	struct saved_writer w;
};

/* ---- while it runs ---------------------------------------------------------------------------- */

/*
 * What is this machine's alone: a segment's number and key for as long as it runs, and files that somebody else
 * may change or remove until the program comes back
 */
static int refuse_origins(const struct image *img, struct err *e)
{
	for (size_t i = 0; i < img->n_opens; i++)
		if (img->opens[i].kind == OPEN_ORIGIN)
			return err_say(e, -EOPNOTSUPP, "E_ORIGIN_FILE: the program has %s open, which belongs to this machine and "
				       "can't be saved to a file", img->opens[i].path ? img->opens[i].path : "?");
	if (img->cwd_stays)
		return err_say(e, -EOPNOTSUPP, "E_ORIGIN_FILE: the program's working directory %s belongs to this machine and can't "
			       "be saved to a file", img->cwd);
	for (size_t i = 0; i < img->n_objects; i++)
		if (img->objects[i].sysv)
			return err_say(e, -EOPNOTSUPP, "E_SYSV_SHM: the program has the System V shared memory segment %llu "
				       "(key %#x), which can't be saved to a file", (unsigned long long)img->objects[i].inode,
				       (unsigned)img->objects[i].key);
	return 0;
}

static int stage_look(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	int rc = move_look(s->o, e);

	if (!rc)
		rc = reasons_to_err(&s->o->why, e);
	return rc ? rc : refuse_origins(s->o->survey, e);
}

/* Is there a content that another time's can be compared with?  What is shipped is in the image */
static bool has_content(const struct image *img, size_t index)
{
	const struct image_file *f = &img->files[index];

	return S_ISREG((mode_t)f->mode) && (!f->ship || (int64_t)index == img->exe_file) && !file_is_kernel_view(f->path);
}

/*
 * One that can't be read, or is just written to by somebody, stays without: then only an untouched
 * one will do when the program is restored.
 */
static int identify(struct image_file *f, struct err *e)
{
	struct err why = { 0 };
	int rc = file_identify(f, &why);

	if (rc == -ENOMEM)
		return err_say(e, rc, "%s", why.text);
	if (rc)
		log_info("%s isn't identified: %s", f->path, why.text);
	return 0;
}

static int stage_identify(void *ctx, struct err *e)
{
	struct image *img = ((struct saving *)ctx)->o->survey;
	int rc = 0;

	for (size_t i = 0; i < img->n_files && !rc; i++)
		if (!img->files[i].written && has_content(img, i))
			rc = identify(&img->files[i], e);
	return rc;
}

static int stage_file(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	struct stat st;

	s->file = asker_file(s->o->client, e);
	if (s->file < 0)
		return s->file;
	if (fstat(s->file, &st))
		return err_set(e, -errno, "look at the file");
	return S_ISREG(st.st_mode) && !st.st_size ? 0 : err_say(e, -EINVAL, "mmigrate gave something else than a new file");
}

/* ---- while it stands -------------------------------------------------------------------------- */

static int stage_freeze(void *ctx, struct err *e)
{
	struct origin *o = ((struct saving *)ctx)->o;
	int rc = move_freeze(o, e);

	return rc ? rc : refuse_origins(o->freeze.img, e);
}

static void undo_freeze(void *ctx)
{
	freeze_thaw(&((struct saving *)ctx)->o->freeze);
}

static const struct image_file *find_file(const struct image *img, const char *path)
{
	for (size_t i = 0; i < img->n_files; i++)
		if (!strcmp(img->files[i].path, path))
			return &img->files[i];
	return NULL;
}

/* What was found out before is still true of a file that hasn't changed since */
static int identify_again(const struct image *before, struct image *img, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < img->n_files && !rc; i++) {
		struct image_file *f = &img->files[i];
		const struct image_file *b = find_file(before, f->path);

		if (!has_content(img, i))
			continue;
		if (b && b->sha256 && *b->sha256 && file_same_numbers(b, f)) {
			rc = image_set_str(&f->sha256, b->sha256);
			if (!rc && b->build_id)
				rc = image_set_str(&f->build_id, b->build_id);
		} else if (f->size <= HASH_FROZEN) {
			rc = identify(f, e);
		}
	}
	return rc;
}

static int stage_state(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	struct origin *o = s->o;
	struct image *img = o->freeze.img;
	int rc = freeze_dump(&o->freeze, e);

	if (!rc)
		rc = pipes_keep(o->pid, img, false, e);
	if (!rc)
		rc = cpu_describe(img, e);
	if (!rc)
		rc = identify_again(o->survey, img, e);
	if (!rc && (image_set_str(&img->sid, o->sid) || image_set_str(&img->host, o->env->host)))
		rc = err_set(e, -ENOMEM, "write the image");
	img->saved_ns = clock_ns(CLOCK_REALTIME);
	img->saved_monotonic_ns = clock_ns(CLOCK_MONOTONIC);
	img->saved_boottime_ns = clock_ns(CLOCK_BOOTTIME);
	return rc;
}

static int put_pages(void *ctx, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	return saved_put_pages(ctx, space, addr, p, len, e);
}

static int stage_memory(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	struct saved_head head = { .when_ns = s->o->freeze.img->saved_ns, .version = MSHIM_VERSION };
	int rc;

	snprintf(head.host, sizeof(head.host), "%s", s->o->env->host);
	rc = saved_begin(&s->w, s->file, &head, s->o->freeze.img, e);
	if (!rc)
		rc = mem_walk(s->o->pid, s->o->freeze.img, put_pages, &s->w, e);
	s->o->pages = s->w.pages;
	return rc;
}

/* Its pause needn't be longer than that: what is left to do is between us and the disk */
static int stage_thaw(void *ctx, struct err *e)
{
	struct saving *s = ctx;

	(void)e;
	if (s->stop)
		return 0;
	freeze_thaw(&s->o->freeze);
	s->o->paused_ns = clock_ns(CLOCK_MONOTONIC) - s->o->frozen_at;
	return 0;
}

static int stage_finish(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	int rc = saved_end(&s->w, e);

	if (!rc && fsync(s->file))
		rc = err_set(e, -errno, "write the image");
	return rc;
}

static int stage_name(void *ctx, struct err *e)
{
	struct saving *s = ctx;

	return asker_keep(s->o->client, s->w.pages, e);
}

/* It stands still: not an instruction of it runs between the image and its end */
static int stage_end(void *ctx, struct err *e)
{
	struct saving *s = ctx;
	pid_t pid = s->o->pid;

	if (!s->stop)
		return 0;
	if (kill(pid, SIGKILL))
		return err_set(e, -errno, "end process %d; the image is whole", (int)pid);
	/* its parent hears of it when its tracer has heard of each thread */
	for (size_t i = s->o->freeze.t.n_threads; i-- > 0;)
		while (waitpid(s->o->freeze.t.threads[i].tid, NULL, __WALL) < 0 && errno == EINTR)
			;
	s->o->freeze.seized = s->o->freeze.injected = false;	/* there is nothing left to let go */
	freeze_thaw(&s->o->freeze);
	return 0;
}

static const struct stage save_stages[] = {
	{ "saving: looking at the program",	stage_look,	NULL,	     false },
	{ "saving: identifying its files",	stage_identify, NULL,	     false },
	{ "saving: receiving the file",		stage_file,	NULL,	     false },
	{ "saving: freezing the program",	stage_freeze,	undo_freeze, false },
	{ "saving: reading its state",		stage_state,	NULL,	     false },
	{ "saving: writing memory",		stage_memory,	NULL,	     false },
	{ "saving: letting it go on",		stage_thaw,	NULL,	     false },
	{ "saving: finishing the file",		stage_finish,	NULL,	     false },
	{ "saving: giving the file its name",	stage_name,	NULL,	     false },
	{ "saving: ending the original",	stage_end,	NULL,	     true },
};

static void progress(void *ctx, const struct stage *stage)
{
	struct saving *s = ctx;

	if (stage->run == (s->stop ? stage_thaw : stage_end))
		return;		/* has nothing to do */
	origin_at_stage(s->o, save_stages, ARRAY_SIZE(save_stages), stage);
}

static void say_saved(struct saving *s)
{
	struct origin *o = s->o;
	json *extra = json_object();
	char text[400];

	if (s->stop)
		snprintf(text, sizeof(text), "process %d (%s) is saved, and ended: its parent sees it killed by SIGKILL; "
			 "'mmigrate restore' lets it go on", (int)o->pid, o->comm);
	else
		snprintf(text, sizeof(text), "process %d (%s) is saved, and goes on here: 'mmigrate restore' makes a "
			 "second one of it, from this moment on", (int)o->pid, o->comm);
	if (o->paused_ns)
		json_put_int(extra, "pause_us", o->paused_ns / 1000);
	json_put_int(extra, "saved_pages", (int64_t)o->pages);
	json_put_bool(extra, "stopped", s->stop);
	json_put(extra, "reasons", reasons_to_json(&o->why, NULL));
	origin_answer(o, 0, text, extra);
}

int save_program(struct origin *o, bool stop, struct err *e)
{
	struct saving s = { .o = o, .stop = stop, .file = -1 };
	int rc = stage_run(save_stages, ARRAY_SIZE(save_stages), &s, progress, e);

	drop_fd(&s.file);
	if (rc)
		origin_answer_failure(o, rc, e->text, true);
	else
		say_saved(&s);
	return 0;
}

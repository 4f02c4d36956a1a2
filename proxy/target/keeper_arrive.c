/* SPDX-License-Identifier: MIT */
/*
 * keeper_arrive.c - The keeper, until the program runs: its processes are made, filled, and let go
 */
#include "proxy/target/keeper_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/target/body.h"
#include "proxy/target/fork.h"

/* A text of any size travels as a memfd */
static int read_memfd(int fd, char **text, size_t *len, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) || st.st_size > (64 << 20))
		return err_say(e, -EINVAL, "the image's description is too large");
	*len = (size_t)st.st_size;
	*text = malloc(*len + 1);
	if (!*text || pread(fd, *text, *len, 0) != (ssize_t)*len)
		return err_say(e, -EIO, "the image's description can't be read");
	(*text)[*len] = 0;
	return 0;
}

static int read_image(int fd, struct image **img, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int rc = read_memfd(fd, &text, &len, e);

	return rc ? rc : image_from_json(text, len, img, e);
}

/* ---- twins -------------------------------------------------------------------------------------------- */

static struct keeper_stream *stream_by_id(struct keeper *k, uint32_t id)
{
	for (size_t i = 0; i < k->n_streams; i++)
		if (k->streams[i].id == id)
			return &k->streams[i];
	return NULL;
}

/* Another open file description of a twin that is there already */
static int same_twin(const struct keeper_stream *s, const struct image_open *o, struct err *e)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", s->near);
	fd = open(path, (int)(o->flags & (O_ACCMODE | O_NONBLOCK)) | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open a twin once more") : fd;
}

/* The process of the tree that this open is of */
static const struct image *image_of(const struct keeper *k, const struct image_open *o)
{
	for (size_t i = 0; i < image_processes(k->img); i++) {
		const struct image *img = image_process(k->img, i);

		if (o >= img->opens && o < img->opens + img->n_opens)
			return img;
	}
	return NULL;
}

/**
 * make_twin() - A local pipe for a pipe whose other end stayed at the origin
 *
 * Return: the program's end; the pump has the other
 */
static int make_twin(void *ctx, const struct image_open *o, struct err *e)
{
	struct keeper *k = ctx;
	struct keeper_stream *s = stream_by_id(k, (uint32_t)o->stream);
	bool in = (o->flags & O_ACCMODE) == O_RDONLY;
	const struct image_pipe *p = NULL;
	const struct image *img;
	AUTO_FD int near = -1;
	AUTO_FD int far = -1;
	struct stat st;
	int ends[2], rc;

	if (o->kind == OPEN_PULLED || o->kind == OPEN_ORIGIN)
		return originfs_open(k->fs, o, e);
	if (s)
		return same_twin(s, o, e);
	if (k->n_streams == MAX_STREAMS || o->stream < 1 || o->stream > UINT32_MAX ||
	    (o->flags & O_ACCMODE) == O_RDWR)
		return err_say(e, -EINVAL, "the image has a twin that makes no sense");
	img = image_of(k, o);
	if (img && o->file >= 0 && (size_t)o->file < img->n_pipes)
		p = &img->pipes[o->file];
	if (pipe2(ends, O_CLOEXEC))
		return err_set(e, -errno, "make a twin");
	near = ends[in ? 0 : 1];
	far = ends[in ? 1 : 0];
	if (p && p->capacity)
		(void)fcntl(far, F_SETPIPE_SZ, (int)p->capacity);
	if (fstat(near, &st) || fcntl(near, F_SETFL, (int)(o->flags & (O_NONBLOCK | O_APPEND))))
		return err_set(e, -errno, "make a twin");
	/* what the program wrote and nobody at the origin had yet */
	if (!in && p && p->content.len && write(near, p->content.p, p->content.len) != (ssize_t)p->content.len)
		return err_say(e, -EIO, "fill a twin");
	rc = pump_add(k->pump, (uint32_t)o->stream, in ? STREAM_IN : STREAM_OUT, in ? STREAM_SINK : STREAM_SOURCE, far,
		      o->offset, e);
	if (rc)
		return rc;
	take_fd(&far);
	k->streams[k->n_streams++] = (struct keeper_stream){ (uint32_t)o->stream, st.st_ino,
							     fcntl(near, F_DUPFD_CLOEXEC, 0) };
	return take_fd(&near);
}

/* ---- the body ----------------------------------------------------------------------------------------- */

static int make_bodies(struct keeper *k, const struct image *survey, struct err *e)
{
	size_t n = image_processes(survey);
	AUTO_FREE struct body *bodies = calloc(n, sizeof(*bodies));
	int rc;

	k->arrivals = calloc(n, sizeof(*k->arrivals));
	if (!bodies || !k->arrivals)
		return err_set(e, -ENOMEM, "prepare");
	for (size_t i = 0; i < n; i++)
		k->arrivals[i] = (struct arrival){ .uffd = -1, .supervisor.listener = -1 };
	rc = kin_open(&k->kin, e);
	if (!rc)
		rc = body_make_all(survey, &k->kin, bodies, e);
	if (rc)
		return rc;
	k->n_arrivals = n;
	for (size_t i = 0; i < n; i++) {
		struct restore *r = calloc(1, sizeof(*r));

		if (!r || kin_add_moved(&k->kin, bodies[i].pid, !i && !survey->ended_first))
			return err_set(e, -ENOMEM, "prepare");
		*r = (struct restore){ .pid = bodies[i].pid, .sock = bodies[i].sock, .body_sock = bodies[i].its,
				       .r.mem = -1, .shared = &k->shared, .make_twin = make_twin, .ctx = k,
				       .supervised = true, .listener = -1 };
		k->arrivals[i].restore = r;
	}
	k->body = image_program(survey);
	k->ended = k->told_exit = survey->ended_first;
	return 0;
}

int keeper_on_prepare(struct keeper *k, const struct request *q, struct err *e)
{
	AUTO_IMAGE struct image *survey = NULL;
	struct wire_prepared reply = { 0 };
	AUTO_FD int pidfd = -1;
	uint8_t buf[64];
	int rc = q->nfds == 1 ? read_image(q->fds[0], &survey, e)
			      : err_say(e, -EPROTO, "PREPARE came without its survey");

	if (!rc)
		rc = make_bodies(k, survey, e);
	if (rc)
		return rc;
	k->state = KEEPER_PREPARED;
	reply.pid = (uint32_t)k->body;
	pidfd = pidfd_open(k->arrivals[0].restore->pid, 0);
	return keeper_say(k, WIRE_PREPARED, buf, wire_put_prepared(buf, sizeof(buf), &reply), &pidfd, pidfd >= 0);
}

/* A userfaultfd of the body over its anonymous areas, or -1: then pages go another way */
static int watch_memory(struct restore *s)
{
	struct uffdio_api api = { .api = UFFD_API };
	AUTO_FD int uffd = -1;
	AUTO_FD int pidfd = -1;
	int64_t its;

	if (remote_call(&s->r, &its, NULL, NULL, SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY) || its < 0)
		return -1;
	pidfd = pidfd_open(s->pid, 0);
	uffd = pidfd < 0 ? -1 : pidfd_getfd(pidfd, (int)its, 0);
	if (remote_call(&s->r, NULL, NULL, NULL, SYS_close, (uint64_t)its) || uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		return -1;
	for (size_t i = 0; i < s->img->n_vmas; i++) {
		const struct image_vma *v = &s->img->vmas[i];
		struct uffdio_register r = { .range = { v->start, v->end - v->start },
					     .mode = UFFDIO_REGISTER_MODE_MISSING };

		if (v->kind == VMA_ANON && v->prot && ioctl(uffd, UFFDIO_REGISTER, &r))
			continue;	/* those pages go the other way */
	}
	return take_fd(&uffd);
}

/* The descriptors through which each process's memory is filled, in the order of FILLABLE's layout */
static int say_fillable(struct keeper *k, struct err *e)
{
	uint8_t layout[IMAGE_MOST_PROCESSES * 8 + 8], buf[sizeof(layout) + 64];
	struct bytes b = bytes_of(layout, sizeof(layout));
	struct wire_fillable reply = { 0 };
	int give[SOCK_MAX_FDS], n = 0;

	for (size_t i = 0; i < k->n_arrivals; i++) {
		const struct restore *s = k->arrivals[i].restore;
		bool uffd = k->arrivals[i].uffd >= 0;

		if (n + 2 + s->img->n_objects > SOCK_MAX_FDS)
			return err_say(e, -E2BIG, "the program's processes have too many pieces of shared memory");
		give[n++] = s->r.mem;
		if (uffd)
			give[n++] = k->arrivals[i].uffd;
		for (size_t o = 0; o < s->img->n_objects; o++)
			give[n++] = s->objects[o];
		bytes_put_le(&b, uffd, 4);
		bytes_put_le(&b, s->img->n_objects, 4);
	}
	reply.uffd = k->arrivals[0].uffd >= 0;
	reply.layout = (wire_blob){ layout, (uint32_t)(b.at - layout) };
	return keeper_say(k, WIRE_FILLABLE, buf, wire_put_fillable(buf, sizeof(buf), &reply), give, n);
}

int keeper_on_image(struct keeper *k, const struct request *q, struct err *e)
{
	int rc = q->nfds == 1 ? read_image(q->fds[0], &k->img, e)
			      : err_say(e, -EPROTO, "IMAGE came without its text");

	if (rc)
		return rc;
	if (image_processes(k->img) != k->n_arrivals)
		return err_say(e, -EINVAL, "the image has %zu processes, prepared were %zu", image_processes(k->img),
			       k->n_arrivals);
	if (k->img->pump.len)
		rc = pump_state_set(k->pump, k->img->pump.p, k->img->pump.len);
	if (rc)
		return err_set(e, rc, "take over the streams");
	for (size_t i = 0; i < k->n_arrivals && !rc; i++) {
		struct restore *s = k->arrivals[i].restore;

		s->img = image_process(k->img, i);
		if (s->img->pid != s->pid)
			return err_say(e, -EINVAL, "the image is of process %d, prepared was %d", (int)s->img->pid, (int)s->pid);
		static_assert(IMAGE_MOST_OBJECTS + 2 <= SOCK_MAX_FDS, "one message holds them all");
		if (s->img->n_objects > IMAGE_MOST_OBJECTS)
			return err_say(e, -E2BIG, "the image has more than %d pieces of shared memory", IMAGE_MOST_OBJECTS);
		rc = restore_begin(s, e);
		if (!rc)
			k->arrivals[i].uffd = watch_memory(s);
	}
	if (rc)
		return rc;
	k->state = KEEPER_FILLABLE;
	return say_fillable(k, e);
}

/* While the program's own calls are made in it: they may ask us, and from GO on, through us, the origin */
static void serve_files(void *ctx)
{
	struct keeper *k = ctx;

	originfs_hear(k->fs);
	if (k->state == KEEPER_READY && pump_run(k->pump) < 0)
		log_err("the pump failed: %s", strerror(errno));
}

static int finish_one(struct keeper *k, struct arrival *a, size_t index, struct err *e)
{
	int rc;

	drop_fd(&a->uffd);
	a->restore->r.idle = k->fs ? serve_files : NULL;
	a->restore->r.idle_ctx = k;
	rc = restore_finish(a->restore, e);
	a->supervisor = (struct supervisor){ .listener = -1, .asks = &k->asks, .kin = &k->kin,
					     .from = &k->receiver, .user = k->with->user,
					     .fs = k->fs, .execs = &k->execs, .who = (uint32_t)index,
					     .no_new_privs = a->restore->img->no_new_privs };
	if (!rc)
		rc = supervisor_start(&a->supervisor, a->restore->listener, e);
	if (!rc && receiver_add(&k->receiver, (uint32_t)index, a->supervisor.listener))
		rc = err_set(e, -errno, "watch the filter");
	return rc;
}

int keeper_on_mem_end(struct keeper *k, const struct request *q, struct err *e)
{
	struct wire_ready reply = { 0 };
	struct wire_mem_end m;
	uint8_t buf[64];
	int rc = wire_get_mem_end(q->p, q->len, &m);

	for (size_t i = 0; i < k->n_arrivals && !rc; i++)
		rc = finish_one(k, &k->arrivals[i], i, e);
	restore_forget_shared(&k->shared);
	for (size_t i = 0; i < k->n_streams; i++)
		drop_fd(&k->streams[i].near);
	if (rc)
		return rc;
	fork_keep_away();
	k->receiver.quick = supervisor_quick;
	k->receiver.quick_ctx = k->fs;
	rc = receiver_start(&k->receiver, e);
	if (rc)
		return rc;
	k->state = KEEPER_READY;
	reply.pages = m.pages;
	return keeper_say_with_pump(k, WIRE_READY, buf, wire_put_ready(buf, sizeof(buf), &reply), e);
}

/* Children first: their parents find them running */
static int go_all(struct keeper *k, struct err *e)
{
	int rc = 0;

	for (size_t i = k->n_arrivals; i-- > 0;) {
		struct arrival *a = &k->arrivals[i];
		pid_t pid = a->restore->pid;
		int its = restore_go(a->restore, rc ? NULL : e);

		free(a->restore);
		a->restore = NULL;
		if (!its)
			continue;
		/* can't be undone, can't go on: said as the loss that it is */
		log_err("process %d couldn't be resumed: %s", (int)pid, e->text);
		kill(pid, SIGKILL);
		rc = rc ? rc : its;
	}
	return rc;
}

int keeper_on_go(struct keeper *k, const struct request *q UNUSED, struct err *e)
{
	struct wire_running reply = { 0 };
	uint8_t buf[64];
	int rc = 0;

	if (k->state == KEEPER_READY) {
		rc = originfs_go(k->fs, e);
		if (!rc)
			rc = go_all(k, e);
		k->state = keeper_going(k);
		if (rc)
			return rc;
	}
	return keeper_say(k, WIRE_RUNNING, buf, wire_put_running(buf, sizeof(buf), &reply), NULL, 0);
}

void keeper_drop_body(struct keeper *k)
{
	for (size_t i = k->n_arrivals; i-- > 0;) {
		struct restore *s = k->arrivals[i].restore;

		if (s && s->img)
			restore_drop(s);
		else if (s)
			body_kill(s->pid);
	}
	k->body = 0;
	k->quit = true;
}

int keeper_on_abort(struct keeper *k, const struct request *q UNUSED, struct err *e UNUSED)
{
	struct wire_aborted reply = { 0 };
	uint8_t buf[64];

	keeper_drop_body(k);
	return keeper_say(k, WIRE_ABORTED, buf, wire_put_aborted(buf, sizeof(buf), &reply), NULL, 0);
}

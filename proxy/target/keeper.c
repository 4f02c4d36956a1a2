/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - Pid 1 of a moved program's pid namespace
 *
 * Two sockets lead to the session: the control socket, whose messages are rows of handlers[], and
 * the pump's, which carries what the deputies and the keeper have to say to each other.
 *
 * Besides, it answers the program's system calls that concern the origin (supervisor.c), serves the
 * file system of its terminals (originfs.c), and knows its processes and their kin (kin.c).
 */
#include "proxy/target/keeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/image/image.h"
#include "proxy/target/body.h"
#include "proxy/origin/look.h"
#include "proxy/target/fork.h"
#include "proxy/target/leave.h"
#include "proxy/target/originfs.h"
#include "proxy/target/restore.h"
#include "proxy/target/supervisor.h"
#include "proxy/trace/pids.h"
#include "proxy/trace/procfs.h"
#include "proxy/twin/pump.h"

#define MAX_STREAMS 1024
#define LOOK_MS 100		/* how often callers that wait for home are looked at: have they a signal to take? */
#define LAST_BYTES_MS 1000	/* how long the end of the first process may wait for what the others write */

/* One process of the program that came from elsewhere, while it is rebuilt; its filter stays */
struct arrival {
	struct restore *restore;	/* NULL: done */
	int uffd;
	struct supervisor supervisor;
};

struct keeper {
	enum keeper_state state;
	const struct keeper_start *with;
	int control, signals;
	struct pump *pump;
	struct asks asks;
	struct originfs *fs;
	struct image *img;
	struct arrival *arrivals;	/* a process of img each */
	size_t n_arrivals;
	int listeners;			/* an epoll set of their filters' listeners */
	struct restore_shared shared;
	struct kin kin;
	pid_t body;			/* the first one's */
	struct keeper_stream {
		uint32_t id;
		uint64_t inode;
		int near;		/* the program's end, until it runs; -1 */
	} streams[MAX_STREAMS];
	size_t n_streams;
	struct leave *leave;		/* while FROZEN */
	bool stop_asked, stopped, told_exit;
	bool ended, quit;
	int status;			/* of the program's first process, once ended */
	int64_t ended_at;
};

/* ---- to the session --------------------------------------------------------------------------------- */

static int say(struct keeper *k, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds)
{
	uint8_t buf[WIRE_LOCAL_MAX];
	ssize_t n = len < 0 ? len : wire_pack(buf, sizeof(buf), type, 0, payload, (size_t)len);

	if (n < 0)
		return (int)n;
	return sock_send(k->control, buf, (size_t)n, fds, nfds, deadline_in_ms(10000));
}

static void say_failure(struct keeper *k, int code, const struct err *e)
{
	struct wire_fail m = { .code = code, .text = e->text };
	uint8_t buf[1024];

	if (say(k, WIRE_FAIL, buf, wire_put_fail(buf, sizeof(buf), &m), NULL, 0))
		log_warn("%s", e->text);
}

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

static uint32_t stream_by_inode(void *ctx, uint64_t inode)
{
	struct keeper *k = ctx;

	for (size_t i = 0; i < k->n_streams; i++)
		if (k->streams[i].inode == inode)
			return k->streams[i].id;
	return 0;
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

	if (o->kind == OPEN_PULLED)
		return originfs_open(k->fs, (uint32_t)o->stream, o->path ? o->path : "?",
				     (int)(o->flags & (O_ACCMODE | O_NONBLOCK | O_APPEND)), e);
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

		if (!r || kin_add_moved(&k->kin, bodies[i].pid, !i))
			return err_set(e, -ENOMEM, "prepare");
		*r = (struct restore){ .pid = bodies[i].pid, .sock = bodies[i].sock, .body_sock = bodies[i].its,
				       .r.mem = -1, .shared = &k->shared, .make_twin = make_twin, .ctx = k,
				       .supervised = true, .listener = -1 };
		k->arrivals[i].restore = r;
	}
	k->body = bodies[0].pid;
	return 0;
}

static int on_prepare(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	AUTO_IMAGE struct image *survey = NULL;
	struct wire_prepared reply = { 0 };
	AUTO_FD int pidfd = -1;
	uint8_t buf[64];
	int rc;

	(void)p;
	(void)len;
	rc = nfds == 1 ? read_image(fds[0], &survey, e) : err_say(e, -EPROTO, "PREPARE came without its survey");
	if (!rc)
		rc = make_bodies(k, survey, e);
	if (rc)
		return rc;
	k->state = KEEPER_PREPARED;
	reply.pid = (uint32_t)k->body;
	pidfd = pidfd_open(k->body, 0);
	return say(k, WIRE_PREPARED, buf, wire_put_prepared(buf, sizeof(buf), &reply), &pidfd, pidfd >= 0);
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
	return say(k, WIRE_FILLABLE, buf, wire_put_fillable(buf, sizeof(buf), &reply), give, n);
}

static int on_image(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	int rc;

	(void)p;
	(void)len;
	rc = nfds == 1 ? read_image(fds[0], &k->img, e) : err_say(e, -EPROTO, "IMAGE came without its text");
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

/* The pump gets a fresh socket pair; the session's end goes along with @type, and a pidfd of the program */
static int say_with_pump(struct keeper *k, unsigned type, const void *payload, ssize_t len, struct err *e)
{
	AUTO_FD int theirs = -1;
	AUTO_FD int pidfd = k->ended ? -1 : pidfd_open(k->body, 0);
	int sv[2], fds[2], rc = sock_pair(sv, e);

	if (rc)
		return rc;
	theirs = fds[0] = sv[1];
	fds[1] = pidfd;
	rc = pump_attach(k->pump, sv[0], e);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	rc = say(k, type, payload, len, fds, 1 + (pidfd >= 0));
	return rc ? err_set(e, rc, "answer the session") : 0;
}

static void serve_files(void *ctx)
{
	originfs_hear(((struct keeper *)ctx)->fs);
}

static int finish_one(struct keeper *k, struct arrival *a, size_t index, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = index };
	int rc;

	drop_fd(&a->uffd);
	/* an epoll set asks its members how they are: that's us */
	a->restore->r.idle = k->fs ? serve_files : NULL;
	a->restore->r.idle_ctx = k;
	rc = restore_finish(a->restore, e);
	a->supervisor = (struct supervisor){ .listener = -1, .asks = &k->asks, .kin = &k->kin, .user = k->with->user,
					     .twins = originfs_device(k->fs),
					     .no_new_privs = a->restore->img->no_new_privs };
	if (!rc)
		rc = supervisor_start(&a->supervisor, a->restore->listener, e);
	if (!rc && epoll_ctl(k->listeners, EPOLL_CTL_ADD, a->supervisor.listener, &ev))
		rc = err_set(e, -errno, "watch the filter");
	return rc;
}

static int on_mem_end(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	struct wire_ready reply = { 0 };
	struct wire_mem_end m;
	uint8_t buf[64];
	int rc = wire_get_mem_end(p, len, &m);

	(void)fds;
	(void)nfds;
	for (size_t i = 0; i < k->n_arrivals && !rc; i++)
		rc = finish_one(k, &k->arrivals[i], i, e);
	restore_forget_shared(&k->shared);
	for (size_t i = 0; i < k->n_streams; i++)
		drop_fd(&k->streams[i].near);
	if (rc)
		return rc;
	fork_keep_away();
	k->state = KEEPER_READY;
	reply.pages = m.pages;
	return say_with_pump(k, WIRE_READY, buf, wire_put_ready(buf, sizeof(buf), &reply), e);
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

static int on_go(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	struct wire_running reply = { 0 };
	uint8_t buf[64];
	int rc = 0;

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	if (k->state == KEEPER_READY) {
		rc = go_all(k, e);
		k->state = KEEPER_RUNNING;
		if (rc)
			return rc;
	}
	return say(k, WIRE_RUNNING, buf, wire_put_running(buf, sizeof(buf), &reply), NULL, 0);
}

static void drop_body(struct keeper *k)
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

static int on_abort(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e UNUSED)
{
	struct wire_aborted reply = { 0 };
	uint8_t buf[64];

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	drop_body(k);
	return say(k, WIRE_ABORTED, buf, wire_put_aborted(buf, sizeof(buf), &reply), NULL, 0);
}

static int on_resume(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	struct wire_resumed reply = { .state = k->state, .pid = (uint32_t)k->body };
	uint8_t buf[64];

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	return say_with_pump(k, WIRE_RESUMED, buf, wire_put_resumed(buf, sizeof(buf), &reply), e);
}

static int on_stop(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e UNUSED)
{
	uint8_t buf[64];
	struct wire_keeper_stopped reply = { .stop = 1 };

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	if (k->stopped || k->ended)
		return say(k, WIRE_KEEPER_STOPPED, buf, wire_put_keeper_stopped(buf, sizeof(buf), &reply), NULL, 0);
	k->stop_asked = true;
	kill(k->body, SIGSTOP);
	return 0;	/* answered when it has stopped */
}

static void reap(struct keeper *k);

/* ---- leaving: this target is the source now --------------------------------------------------------- */

/* The image as text in a memfd, and a pidfd of each process: to the session with @type */
static int say_image(struct keeper *k, unsigned type, const struct image *img, struct err *e)
{
	AUTO_FREE char *text = image_to_json(img);
	int fds[1 + IMAGE_MOST_PROCESSES + 1], n = 0, rc = 0;
	uint8_t buf[64];

	static_assert(ARRAY_SIZE(fds) <= SOCK_MAX_FDS, "one message holds them all");
	fds[n++] = memfd_create("image", MFD_CLOEXEC);
	if (!text || fds[0] < 0 || write(fds[0], text, strlen(text)) != (ssize_t)strlen(text))
		rc = err_set(e, -ENOMEM, "write the image");
	for (size_t i = 0; i < image_processes(img) && n < (int)ARRAY_SIZE(fds) && !rc; i++) {
		fds[n] = pidfd_open((pid_t)image_process(img, i)->pid, 0);
		rc = fds[n++] < 0 ? err_set(e, -errno, "write the image") : 0;
	}
	if (!rc)
		rc = say(k, type, buf, wire_put_image(buf, sizeof(buf), &(struct wire_image){ "" }), fds, n);
	while (n-- > 0)
		if (fds[n] >= 0)
			close(fds[n]);
	return rc;
}

/* Calls of the program's processes, a listener each; what they forked has theirs.  @first: before each; NULL */
static void hear_programs(struct keeper *k, void (*first)(void *ctx))
{
	struct epoll_event ev[16];
	int n;

	do {
		n = epoll_wait(k->listeners, ev, ARRAY_SIZE(ev), 0);
		for (int i = 0; i < n; i++) {
			struct supervisor *s = &k->arrivals[ev[i].data.u64].supervisor;

			if (ev[i].events & EPOLLIN)
				supervisor_hear(s, first, k);
			else
				epoll_ctl(k->listeners, EPOLL_CTL_DEL, s->listener, NULL);	/* nobody is left who has it */
		}
	} while (n == ARRAY_SIZE(ev));
}

static bool somebody_waits(const struct keeper *k)
{
	for (size_t i = 0; i < k->n_arrivals; i++)
		if (k->arrivals[i].supervisor.list)
			return true;
	return false;
}

static bool stays(void *ctx, pid_t pid)
{
	struct kin_one *one = kin_find(&((struct keeper *)ctx)->kin, pid);

	return one && !one->moved;
}

/* While the freeze waits for the program's threads: some wait for us */
static void serve_the_frozen(void *ctx)
{
	struct keeper *k = ctx;

	originfs_hear(k->fs);
	hear_programs(k, NULL);
	ask_cancel_all(&k->asks);
	if (pump_run(k->pump) < 0)
		log_err("the pump failed: %s", strerror(errno));
}

static struct look look_from(struct keeper *k)
{
	return (struct look){ .pid = k->body, .policy = k->with->policy, .moved = true, .stream_of = stream_by_inode,
			      .stays = stays, .idle = serve_the_frozen, .twins = originfs_device(k->fs),
			      .no_new_privs = k->arrivals[0].supervisor.no_new_privs, .ctx = k };
}

/* kin_moved(), without those that have ended since we looked */
static size_t living(void *ctx)
{
	const struct kin *kin = &((struct keeper *)ctx)->kin;
	struct proc_status st;
	size_t n = 0;

	for (size_t i = 0; i < kin->n; i++)
		n += kin->list[i].moved && !kin->list[i].ended &&
		     !procfs_status(kin->list[i].pid, kin->list[i].pid, &st, NULL) && st.state != 'Z' && st.state != 'X';
	return n;
}

static int on_survey(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	AUTO_IMAGE struct image *img = NULL;
	struct look l;
	int rc;

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	if (k->ended)
		return err_say(e, -ESRCH, "the program has ended");
	l = look_from(k);
	rc = leave_survey(&l, living, &img, e);
	return rc ? rc : say_image(k, WIRE_SURVEYED, img, e);
}

static int on_freeze(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e)
{
	struct wire_freeze m;
	struct look l;
	int rc = wire_get_freeze(p, len, &m);

	(void)fds;
	(void)nfds;
	if (k->ended)
		return err_say(e, -ESRCH, "the program has ended");
	if (rc)
		return rc;
	l = look_from(k);
	originfs_leaving(k->fs, true);
	rc = leave_freeze(&l, living, k->pump, (int)m.drain_ms, &k->leave, e);
	if (rc) {
		originfs_leaving(k->fs, false);
		return rc;
	}
	k->state = KEEPER_FROZEN;
	return say_image(k, WIRE_IMAGE, leave_image(k->leave), e);
}

static int on_thaw(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e UNUSED)
{
	struct wire_running reply = { 0 };
	uint8_t buf[64];

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	if (k->state == KEEPER_FROZEN) {
		leave_thaw(k->leave);
		k->leave = NULL;
		originfs_leaving(k->fs, false);
		pump_hold(k->pump, false);
		k->state = KEEPER_RUNNING;
		reap(k);	/* it may have been killed meanwhile */
	}
	return say(k, WIRE_RUNNING, buf, wire_put_running(buf, sizeof(buf), &reply), NULL, 0);
}

/* The frozen copy dies: from here on the program is elsewhere */
static int on_discard(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e UNUSED)
{
	struct wire_discarded reply = { 0 };
	uint8_t buf[64];

	(void)p;
	(void)len;
	(void)fds;
	(void)nfds;
	/* who waits for an answer of ours in there couldn't die */
	originfs_free(take_ptr(k->fs));
	if (!k->ended)
		body_kill(k->body);
	k->quit = true;
	return say(k, WIRE_DISCARDED, buf, wire_put_discarded(buf, sizeof(buf), &reply), NULL, 0);
}

/* ---- what the session says ----------------------------------------------------------------------------- */

#define IN(state) (1u << KEEPER_##state)

static const struct handler {
	unsigned type, states;
	int (*handle)(struct keeper *k, const void *p, size_t len, const int *fds, int nfds, struct err *e);
} handlers[] = {
	{ WIRE_PREPARE,	    IN(EMPTY),					   on_prepare },
	{ WIRE_IMAGE,	    IN(PREPARED),				   on_image },
	{ WIRE_MEM_END,	    IN(FILLABLE),				   on_mem_end },
	{ WIRE_GO,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), on_go },
	{ WIRE_ABORT,	    IN(EMPTY) | IN(PREPARED) | IN(FILLABLE) | IN(READY), on_abort },
	{ WIRE_RESUME,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), on_resume },
	{ WIRE_SURVEY,	    IN(RUNNING),				   on_survey },
	{ WIRE_FREEZE,	    IN(RUNNING),				   on_freeze },
	{ WIRE_THAW,	    IN(RUNNING) | IN(FROZEN),			   on_thaw },
	{ WIRE_DISCARD,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), on_discard },
	{ WIRE_KEEPER_STOP, IN(RUNNING) | IN(ENDED),			   on_stop },
};

static void handle(struct keeper *k, const struct wire_head *h, const void *p, const int *fds, int nfds)
{
	struct err e = { 0 };
	int rc = err_say(&e, -EPROTO, "%s makes no sense in state %d", wire_name(h->type), k->state);

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == h->type && (handlers[i].states & (1u << k->state))) {
			e = (struct err){ 0 };
			rc = handlers[i].handle(k, p, h->length, fds, nfds, &e);
			break;
		}
	if (rc < 0 && !e.text[0])
		err_set(&e, rc, "handle %s", wire_name(h->type));
	if (rc < 0)
		say_failure(k, rc, &e);
}

/* The session ended.  Before READY there is nothing worth keeping: the program runs at the origin */
static void lost_session(struct keeper *k)
{
	drop_fd(&k->control);
	if (k->state < KEEPER_READY)
		drop_body(k);
	else
		log_info("the session ended; waiting for the next one");
}

static void read_control(struct keeper *k)
{
	uint8_t buf[WIRE_LOCAL_MAX];
	struct wire_head h;
	const void *payload;
	int fds[4], nfds = 4;
	ssize_t n = sock_recv(k->control, buf, sizeof(buf), fds, &nfds, 0);

	if (n == -EAGAIN)
		return;
	if (n <= 0 || wire_unpack(buf, (size_t)n, &h, &payload))
		lost_session(k);
	else
		handle(k, &h, payload, fds, nfds);
	for (int i = 0; n > 0 && i < nfds; i++)
		close(fds[i]);
}

static void accept_session(struct keeper *k)
{
	int fd = sock_accept(k->with->listening);
	uid_t uid;

	if (fd < 0)
		return;
	if (sock_peer(fd, NULL, &uid, NULL) || (uid && uid != geteuid())) {
		close(fd);
		return;
	}
	drop_fd(&k->control);	/* the newest session is the one that counts */
	k->control = fd;
}

/* ---- what the deputy says -------------------------------------------------------------------------------- */

/* kill(2) tells the receiver its sender's pid: a short-lived process with that number sends it */
static bool kill_as(pid_t sender, pid_t to, int sig)
{
	pid_t child;

	if (sender <= 1 || sender == to)
		return false;
	child = pids_fork_as(sender, 0, 0);
	if (!child)
		_exit(kill(to, sig) ? 1 : 0);
	if (child < 0)
		return false;	/* the number is taken in here */
	waitpid(child, NULL, __WALL);
	return true;
}

static void deliver(struct keeper *k, const struct wire_signal *s)
{
	pid_t to = s->to ? (pid_t)s->to : k->body;
	struct kin_one *one = kin_find(&k->kin, to);
	siginfo_t info = { 0 };

	if (!one || !one->moved || s->signo < 1 || s->signo > 64)
		return;
	if (s->signo == SIGCONT && to == k->body)
		k->stopped = false;
	if (s->code >= 0 || s->code == SI_TKILL) {
		if (!kin_kill(&k->kin, (pid_t)s->pid, to, (int)s->signo) && !kill_as((pid_t)s->pid, to, (int)s->signo))
			kill(to, (int)s->signo);
		return;
	}
	info.si_signo = (int)s->signo;
	info.si_code = (int)s->code;
	info.si_pid = (pid_t)s->pid;
	info.si_uid = s->uid;
	info.si_value.sival_ptr = (void *)(uintptr_t)s->value;
	if (syscall(SYS_rt_sigqueueinfo, to, info.si_signo, &info))
		log_warn("signal %u couldn't be delivered: %s", s->signo, strerror(errno));
}

/* A process that stayed: its stand-in does the same.  A deputy that was stopped: so is its process */
static void kin_changed(struct keeper *k, const struct wire_kin *m)
{
	struct kin_one *one = kin_find(&k->kin, (pid_t)m->kin);

	if (one && one->moved && WIFSTOPPED((int)m->status) && WSTOPSIG((int)m->status) == SIGSTOP)
		kill((pid_t)m->kin, SIGSTOP);
	else if (one && !one->moved)
		kin_end(&k->kin, (pid_t)m->kin, m->status == KIN_GONE ? 0 : (int)m->status);
}

static void pump_message(void *ctx, unsigned type, const void *payload, size_t len)
{
	struct keeper *k = ctx;
	struct wire_is_ready ready;
	struct wire_result result;
	struct wire_signal s;
	struct wire_kin kin;

	if (type == WIRE_SIGNAL && !wire_get_signal(payload, len, &s))
		deliver(k, &s);
	else if (type == WIRE_RESULT && !wire_get_result(payload, len, &result))
		ask_answered(&k->asks, &result);
	else if (type == WIRE_KIN && !wire_get_kin(payload, len, &kin))
		kin_changed(k, &kin);
	else if (type == WIRE_IS_READY && !wire_get_is_ready(payload, len, &ready))
		originfs_ready(k->fs, ready.handle, ready.events);
}

static void pump_detached(void *ctx UNUSED)
{
}

static const struct pump_ops pump_ops = { .message = pump_message, .detached = pump_detached };

/* ---- the program's own doings ------------------------------------------------------------------------------ */

static void tell(struct keeper *k, unsigned type, uint32_t number, pid_t pid)
{
	uint8_t buf[16];
	struct wire_exited m = { .status = number, .pid = (uint32_t)pid };	/* STOPPED has the same shape */
	ssize_t n = wire_put_exited(buf, sizeof(buf), &m);

	if (n < 0 || pump_tell(k->pump, type, buf, (size_t)n))
		log_err("the origin couldn't be told %s", wire_name(type));
}

static void body_changed(struct keeper *k, int status)
{
	if (WIFSTOPPED(status)) {
		k->stopped = true;
		if (k->stop_asked) {
			struct wire_keeper_stopped m = { .stop = 1 };
			uint8_t buf[16];

			if (say(k, WIRE_KEEPER_STOPPED, buf, wire_put_keeper_stopped(buf, sizeof(buf), &m), NULL, 0))
				log_warn("the session couldn't be told of a stop");
		} else {
			tell(k, WIRE_STOPPED, (uint32_t)WSTOPSIG(status), k->body);
		}
		k->stop_asked = false;
	} else if (WIFCONTINUED(status)) {
		k->stopped = false;
	} else if (!k->ended) {
		k->ended = true;
		k->ended_at = clock_ns(CLOCK_MONOTONIC);
		k->status = status;
		k->state = KEEPER_ENDED;
		if (kin_find(&k->kin, k->body))
			kin_forget(&k->kin, kin_find(&k->kin, k->body));
	}
}

/* A process that was forked here has ended */
static void child_ended(struct keeper *k, pid_t pid, int status)
{
	tell(k, WIRE_EXITED, (uint32_t)status, pid);
}

/* And was waited for: its number is free here, and may be there */
static void tell_reaped(struct keeper *k)
{
	struct wire_reaped m;
	uint8_t buf[16];
	ssize_t n;
	pid_t pid;

	while ((pid = kin_reaped(&k->kin)) > 0) {
		m.pid = (uint32_t)pid;
		n = wire_put_reaped(buf, sizeof(buf), &m);
		if (n < 0 || pump_tell(k->pump, WIRE_REAPED, buf, (size_t)n))
			log_warn("the origin couldn't be told that %d is waited for", (int)pid);
	}
}

static bool reaps(const struct keeper *k)
{
	return k->state == KEEPER_RUNNING || k->state == KEEPER_ENDED;
}

/* The program's parent is a stand-in: it tells what its child does */
static void hear_reports(struct keeper *k)
{
	struct kin_report r;

	while (k->kin.reports >= 0 && read(k->kin.reports, &r, sizeof(r)) == sizeof(r))
		if (r.pid == k->body)
			body_changed(k, r.status);
}

static void reap(struct keeper *k)
{
	int status;
	pid_t pid;

	if (!reaps(k))
		return;		/* while it is traced, each stop belongs to whoever waits for it */
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL)) > 0)
		if (pid == k->body) {
			body_changed(k, status);
		} else if (!WIFSTOPPED(status) && !WIFCONTINUED(status) && kin_find(&k->kin, pid)) {
			struct kin_one *one = kin_find(&k->kin, pid);

			if (one->moved && !one->ended)
				child_ended(k, pid, status);
			one->ended = true;	/* and waited for, by us */
		}
	hear_reports(k);
	while ((pid = kin_ended(&k->kin, &status)) > 0)
		child_ended(k, pid, status);
	tell_reaped(k);
}

/* The origin hears first who was waited for: the call may be about that number */
static void before_call(void *ctx)
{
	reap(ctx);
}

static void read_signals(struct keeper *k)
{
	struct signalfd_siginfo s;

	while (read(k->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGIO)
			pump_sigio(k->pump);
	}
	reap(k);
}

/* The exit status goes after every byte that the program wrote; then there is nothing left to do */
static void finish_ended(struct keeper *k)
{
	bool others = kin_moved(&k->kin) > 0;

	if (!k->ended)
		return;
	/* the others may go on writing for ever */
	if (!k->told_exit && (pump_drained(k->pump) ||
			      (others && clock_ns(CLOCK_MONOTONIC) - k->ended_at > LAST_BYTES_MS * NS_PER_MS))) {
		tell(k, WIRE_EXITED, (uint32_t)k->status, k->body);
		k->told_exit = true;
	}
	if (k->told_exit && !others && pump_drained(k->pump) && pump_told(k->pump)) {
		uint8_t buf[16];
		struct wire_discarded m = { 0 };

		/* "it ended in order": the session would take our silent end for a crash */
		if (k->control >= 0 && say(k, WIRE_DISCARDED, buf, wire_put_discarded(buf, sizeof(buf), &m), NULL, 0))
			log_debug("nobody is there to be told of the end");
		k->quit = true;
	}
}

static int set_up(struct keeper *k, struct err *e)
{
	sigset_t all;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL))
		return err_set(e, -errno, "block signals");
	sigemptyset(&all);
	sigaddset(&all, SIGCHLD);
	sigaddset(&all, SIGIO);
	k->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (k->signals < 0)
		return err_set(e, -errno, "receive signals");
	k->pump = pump_new(&pump_ops, k, e);
	if (!k->pump)
		return e->code;
	k->asks.pump = k->pump;
	if (k->with->fuse >= 0) {
		k->fs = originfs_new(k->with->fuse, &k->asks, e);
		if (!k->fs)
			return e->code;
	}
	k->listeners = epoll_create1(EPOLL_CLOEXEC);
	return k->listeners < 0 ? err_set(e, -errno, "make an epoll set") : 0;
}

/* Not while it is frozen: what the deputy says now must reach whoever has the program next */
static bool pumps(const struct keeper *k)
{
	return k->state >= KEEPER_READY && k->state != KEEPER_FROZEN;
}

static int keep(struct keeper *k)
{
	int more = 0;

	while (!k->quit) {
		struct pollfd p[] = {
			{ .fd = k->control, .events = POLLIN },
			{ .fd = k->with->listening, .events = POLLIN },
			{ .fd = k->signals, .events = POLLIN },
			{ .fd = pumps(k) ? pump_fd(k->pump) : -1, .events = POLLIN },
			{ .fd = reaps(k) ? k->kin.reports : -1, .events = POLLIN },
			{ .fd = reaps(k) ? k->kin.ends : -1, .events = POLLIN },
			{ .fd = reaps(k) ? k->listeners : -1, .events = POLLIN },
			{ .fd = originfs_fd(k->fs), .events = POLLIN },
		};
		bool look = somebody_waits(k) || (k->ended && !k->told_exit) || kin_unreaped(&k->kin);

		int came = poll(p, ARRAY_SIZE(p), more ? 0 : look ? LOOK_MS : -1);

		if (came < 0 && errno != EINTR)
			return 1;
		if (p[6].revents)
			hear_programs(k, before_call);
		if (p[2].revents)
			read_signals(k);
		if (p[4].revents | p[5].revents)
			reap(k);
		if (p[7].revents)
			originfs_hear(k->fs);
		for (size_t i = 0; !came && i < k->n_arrivals; i++)
			supervisor_look(&k->arrivals[i].supervisor);
		if (!came)
			tell_reaped(k);
		if (p[0].revents)
			read_control(k);
		if (p[1].revents)
			accept_session(k);
		more = pumps(k) && !k->quit ? pump_run(k->pump) : 0;
		if (more < 0)
			return 1;
		finish_ended(k);
	}
	return 0;
}

int keeper_run(const struct keeper_start *with)
{
	struct keeper *k = calloc(1, sizeof(*k));
	struct err e = { 0 };
	int rc = 1;

	if (!k)
		return 1;
	*k = (struct keeper){ .with = with, .control = with->control, .listeners = -1,
			      .kin = { .reports = -1, .to_us = -1, .ends = -1 } };
	if (set_up(k, &e))
		log_err("%s", e.text);
	else
		rc = keep(k);
	if (rc)
		log_err("the keeper gives up: %s", e.text[0] ? e.text : strerror(errno));
	for (size_t i = 0; i < k->n_arrivals; i++)
		supervisor_stop(&k->arrivals[i].supervisor);
	free(k->arrivals);
	originfs_free(k->fs);
	pump_free(k->pump);
	image_free(k->img);
	kin_close(&k->kin);
	free(k);
	return rc;
}

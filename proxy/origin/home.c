/* SPDX-License-Identifier: MIT */
/*
 * home.c - The program comes home: the deputy becomes the program again
 *
 * The deputy execs the program's binary under ptrace, keeping the descriptors that stayed, and is
 * rebuilt in place by the same code that a target uses.  Until the target has killed its frozen
 * copy, the way back is the same exec in the other direction: into mdeputy.  A session that is
 * killed in between can't go that way: the half-built body ends with it (PTRACE_O_EXITKILL), and
 * with the deputy gone the program is given up, on one side as on the other.
 *
 * Threads need their old numbers.  Giving them is a privilege; where it is missing the program comes
 * home into a pid namespace of its own, its deputy in front, and the command says so.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/stage.h"
#include "proxy/origin/bring.h"
#include "proxy/origin/hub.h"
#include "proxy/target/body.h"
#include "proxy/target/fill.h"
#include "proxy/target/restore.h"
#include "proxy/trace/procfs.h"

#define LOW_MEMORY 0x10000	/* below any program, above any vm.mmap_min_addr that is usual */
#define ENDED_MS 2000
#define DRAIN_MS 10000		/* what the program wrote arrives first; so long that may take */

/* One process of the program, at home still its deputy */
struct comer {
	pid_t pid;
	const struct image *img;
	struct tracee t;
	struct inject i;
	struct restore r;
	struct fill fill;
	struct restore_stay *stays;	/* what its deputy holds */
	size_t n_stays;
	int ours, theirs;	/* the socket pair into the body */
	bool known, entered, execed;	/* known: its deputy has said what it holds */
};

/* A process that has ended, and whose parent, one of the comers, hasn't waited for it */
struct ended {
	pid_t pid;
	bool known;		/* its deputy is there */
};

struct home {
	struct origin *o;
	struct image *img;	/* of all processes */
	struct comer *list;
	size_t n;
	struct ended *ended;
	size_t n_ended;
	struct restore_shared shared;
	struct restore_stay *files;	/* what the file server has open */
	size_t n_files;
	pid_t files_pid;
	uint8_t *held;		/* the hub's pump, as it was when it was held */
	size_t held_len;
	bool frozen, committed;
	size_t threads;		/* so many, and none may be numbered here */
};

/* ---- the target freezes and sends its image ------------------------------------------------------------ */

static int list_comers(struct home *h, struct err *e)
{
	h->n = image_processes(h->img);
	h->list = calloc(h->n, sizeof(*h->list));
	if (!h->list)
		return err_set(e, -ENOMEM, "bring the program home");
	for (size_t i = 0; i < h->n; i++) {
		const struct image *img = image_process(h->img, i);

		h->list[i] = (struct comer){ .pid = (pid_t)img->pid, .img = img, .t.mem = -1, .ours = -1, .theirs = -1,
					     .r.r.mem = -1, .r.sock = -1 };
	}
	return 0;
}

static int stage_freeze(void *ctx, struct err *e)
{
	struct home *h = ctx;
	struct wire_image m;
	int rc;

	h->frozen = true;
	rc = serve_freeze(h->o, DRAIN_MS, e);
	if (!rc && wire_get_image(h->o->caught.buf, h->o->caught.len, &m))
		rc = err_say(e, -EBADMSG, "the image can't be read");
	if (!rc)
		rc = image_from_json(m.manifest, strlen(m.manifest), &h->img, e);
	return rc ? rc : list_comers(h, e);
}

static void undo_freeze(void *ctx)
{
	struct home *h = ctx;

	if (h->frozen)
		serve_thaw(h->o);
}

/* ---- is it possible ---------------------------------------------------------------------------------------- */

static bool may_number_threads(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	return !syscall(SYS_capget, &head, data) &&
	       (data[CAP_CHECKPOINT_RESTORE / 32].effective & (1u << (CAP_CHECKPOINT_RESTORE % 32)));
}

/* An image is a peer's word: what it names must be what this side's own policy and files allow */
static int check_one(struct home *h, const struct image *img, struct err *e)
{
	if ((uid_t)img->euid != h->o->uid)
		return err_say(e, -EINVAL, "the image is of process %d of uid %d, at home is uid %d", (int)img->pid,
			       (int)img->euid, (int)h->o->uid);
	if (img->n_threads > 1 && !may_number_threads()) {
		h->threads += img->n_threads;
		return err_say(e, -EPERM, "only an mproxy that runs as root can give threads their numbers again");
	}
	for (size_t i = 0; i < img->n_files; i++) {
		const struct image_file *f = &img->files[i];
		struct stat st;

		if (f->ship)
			continue;
		if (f->stays && f->path && policy_path(h->o->env->policy, f->path, NULL) == POLICY_ORIGIN)
			continue;	/* it was asked for here all the time */
		if (!f->path || policy_path(h->o->env->policy, f->path, NULL) != POLICY_LOCAL)
			return err_say(e, -EACCES, "the policy doesn't call %s local", f->path ? f->path : "?");
		if (stat(f->path, &st))
			return err_set(e, -errno, "look at %s", f->path);
		if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != f->size)
			return err_say(e, -ESTALE, "%s has %lld bytes here and %llu on %s", f->path, (long long)st.st_size,
				       (unsigned long long)f->size, h->o->target.peer.name);
	}
	return 0;
}

/* Children that the program will still wait for; one that never moved has ended here, and still can be */
static int list_ended(struct home *h, const struct image *img, struct err *e)
{
	for (size_t i = 0; i < img->n_kin; i++) {
		struct ended *more;

		if (!img->kin[i].ended || !img->kin[i].moved)
			continue;
		more = realloc(h->ended, (h->n_ended + 1) * sizeof(*more));
		if (!more)
			return err_set(e, -ENOMEM, "bring the program home");
		h->ended = more;
		more[h->n_ended++] = (struct ended){ .pid = (pid_t)img->kin[i].pid };
	}
	return 0;
}

static bool segment_comes(const struct home *h, const struct image_object *o)
{
	for (size_t i = 0; i < h->img->n_objects; i++)
		if (h->img->objects[i].whole && h->img->objects[i].sysv && h->img->objects[i].inode == o->inode)
			return true;
	return false;
}

/* Only what the hub has kept for the program: all else of this user's is none of a peer's business */
static int check_segments(struct home *h, struct err *e)
{
	AUTO_FD int hub = -1;
	int rc = 0;

	for (size_t i = 0; i < h->n && !rc; i++)
		for (size_t k = 0; k < h->list[i].img->n_objects && !rc; k++)
			if (h->list[i].img->objects[k].sysv && !segment_comes(h, &h->list[i].img->objects[k]))
				rc = err_say(e, -EINVAL, "the image names a System V shared memory segment that it doesn't have");
	if (rc || !hub_has_segments(h->img))
		return rc;
	hub = hub_call(h->o, e);
	if (hub < 0)
		return hub;
	rc = hub_segments(hub, h->img, HUB_SEGMENTS_HELD, e);
	return rc ? err_wrap(e, rc, "find the program's System V shared memory at home") : 0;
}

static int stage_check(void *ctx, struct err *e)
{
	struct home *h = ctx;
	int rc = 0;

	if (image_program(h->img) != h->o->pid)
		return err_say(e, -EINVAL, "the image is of process %d, at home is process %d", image_program(h->img),
			       (int)h->o->pid);
	for (size_t i = 0; i < h->n && !rc; i++)
		rc = check_one(h, h->list[i].img, e);
	for (size_t i = 0; i < h->n && !rc; i++)
		rc = list_ended(h, h->list[i].img, e);
	return rc ? rc : check_segments(h, e);
}

/* ---- the deputy lays down its work ------------------------------------------------------------------------------ */

static int hold(struct origin *o, uint32_t on, struct err *e)
{
	uint8_t buf[16];

	return hub_tell(o, WIRE_DEPUTY_HOLD, buf,
			wire_put_deputy_hold(buf, sizeof(buf), &(struct wire_deputy_hold){ on }), e);
}

static struct comer *comer_of(struct home *h, uint32_t pid)
{
	for (size_t i = 0; i < h->n; i++)
		if ((uint32_t)h->list[i].pid == pid)
			return &h->list[i];
	return NULL;
}

static bool is_ended(struct home *h, uint32_t pid)
{
	for (size_t i = 0; i < h->n_ended; i++)
		if ((uint32_t)h->ended[i].pid == pid)
			return h->ended[i].known = true;
	return false;
}

/* @n pairs of a handle and a descriptor.  NULL: out of memory */
static struct restore_stay *get_stays(struct bytes *b, size_t n)
{
	struct restore_stay *list = calloc(n + 1, sizeof(*list));

	for (size_t i = 0; list && i < n; i++) {
		list[i].id = (uint32_t)bytes_get_le(b, 4);
		list[i].fd = (int)bytes_get_le(b, 4);
	}
	return list;
}

/* Every process has its deputy, and the other way round.  @files: the file server is none */
static int take_deputies(struct home *h, const wire_blob *deputies, uint32_t files, struct err *e)
{
	struct bytes b = bytes_of(deputies->p, deputies->len);

	while (bytes_left(&b)) {
		uint32_t pid = (uint32_t)bytes_get_le(&b, 4), n = (uint32_t)bytes_get_le(&b, 4);
		struct comer *c = comer_of(h, pid);

		if (b.bad || n > bytes_left(&b) / 8)
			return err_say(e, -EBADMSG, "the hub's state can't be read");
		if (pid == files) {
			free(h->files);
			h->files = get_stays(&b, n);
			h->n_files = h->files ? n : 0;
			h->files_pid = (pid_t)pid;
			continue;
		}
		if (!c && !n && is_ended(h, pid))
			continue;
		if (!c)
			return err_say(e, -EAGAIN, "process %u has just ended, or is about to: try again", pid);
		free(c->stays);
		c->stays = get_stays(&b, n);
		if (!c->stays)
			return err_set(e, -ENOMEM, "list what the deputies hold");
		c->n_stays = n;
		c->known = true;
	}
	for (size_t i = 0; i < h->n; i++)
		if (!h->list[i].known)
			return err_say(e, -ESRCH, "process %d has no deputy any more", (int)h->list[i].pid);
	for (size_t i = 0; i < h->n_ended; i++)
		if (!h->ended[i].known)
			return err_say(e, -ESRCH, "process %d, which has ended, has no deputy any more", (int)h->ended[i].pid);
	return 0;
}

static int take_held(struct home *h, const struct wire_deputy_held *m, struct err *e)
{
	int rc = m->streams.len ? take_deputies(h, &m->deputies, m->files, e) : 0;

	if (rc || !m->streams.len)
		return rc;
	h->held = malloc(m->streams.len);
	if (!h->held)
		return err_set(e, -ENOMEM, "keep the hub's state");
	memcpy(h->held, m->streams.p, m->streams.len);
	h->held_len = m->streams.len;
	return 0;
}

static int tell_taken(struct home *h, const struct image *img, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < img->n_opens && !rc; i++) {
		const struct image_open *o = &img->opens[i];
		struct wire_taken taken = { .stream = (uint32_t)o->stream, .offset = o->offset };
		uint8_t buf[32];

		if (o->kind == OPEN_TWIN && (o->flags & O_ACCMODE) == O_RDONLY)
			rc = hub_tell(h->o, WIRE_TAKEN, buf, wire_put_taken(buf, sizeof(buf), &taken), e);
	}
	return rc;
}

/* What the program has read is taken out of the origin's pipes; then the hub stands still */
static int stage_hold(void *ctx, struct err *e)
{
	struct home *h = ctx;
	struct wire_deputy_held m;
	int rc = 0;

	for (size_t i = 0; i < h->n && !rc; i++)
		rc = tell_taken(h, h->list[i].img, e);
	for (int tries = 0; !rc && !h->held_len && tries < 100; tries++) {
		rc = hold(h->o, 1, e);
		if (!rc)
			rc = serve_until(h->o, WIRE_DEPUTY_HELD, deadline_in_ms(TALK_MS), e);
		if (!rc && wire_get_deputy_held(h->o->caught.buf, h->o->caught.len, &m))
			rc = err_say(e, -EBADMSG, "the hub's state can't be read");
		if (!rc)
			rc = take_held(h, &m, e);
	}
	return rc;
}

static void undo_hold(void *ctx)
{
	struct home *h = ctx;

	if (hold(h->o, 0, NULL))
		log_warn("the hub couldn't be told to go on");
}

/* ---- into the deputy, and through its exec ------------------------------------------------------------------------ */

static int highest(pid_t pid)
{
	AUTO_FREE int *fds = NULL;
	int n = procfs_list(pid, "fd", &fds, NULL);

	return n > 0 ? fds[n - 1] : 2;
}

static int enter_one(struct home *h, struct comer *c, struct err *e)
{
	unsigned options = BODY_OPTIONS;
	int rc;

	/* the session is attached to the first one's already */
	if (c->pid != h->o->pid && ptrace(PTRACE_SEIZE, c->pid, 0, (void *)(uintptr_t)options))
		return err_set(e, -errno, "attach to the deputy of process %d", (int)c->pid);
	c->t = (struct tracee){ .pid = c->pid, .mem = -1 };
	rc = tracee_add_thread(&c->t, c->pid, NULL);
	if (!rc)
		rc = tracee_interrupt(c->pid, deadline_in_ms(5000), e);
	if (rc)
		return rc;
	c->entered = true;
	if (ptrace(PTRACE_SETOPTIONS, c->pid, 0, (void *)(uintptr_t)options))
		return err_set(e, -errno, "trace the deputy");
	c->t.threads[0].stopped = true;
	rc = tracee_get_regs(c->pid, &c->t.threads[0].regs);
	if (!rc)
		rc = tracee_get_sigmask(c->pid, &c->t.threads[0].sigmask);
	if (rc)
		return err_set(e, rc, "read the deputy's registers");
	rc = inject_open(&c->i, &c->t, deadline_in_ms(FREEZE_DEADLINE_MS), e);
	if (!rc)
		rc = inject_begin(&c->i, &c->t.threads[0], e);
	return rc ? rc : bring_way_in(&c->i, highest(c->pid) + 1, &c->ours, &c->theirs, e);
}

static int stage_enter(void *ctx, struct err *e)
{
	struct home *h = ctx;
	int rc = 0;

	for (size_t i = 0; i < h->n && !rc; i++)
		rc = enter_one(h, &h->list[i], e);
	return rc;
}

/* A deputy goes on; only the first one's stays traced */
static int let_run(struct home *h, const struct comer *c)
{
	if (c->pid != h->o->pid)
		return ptrace(PTRACE_DETACH, c->pid, 0, 0) ? -errno : 0;
	return ptrace(PTRACE_SETOPTIONS, c->pid, 0, (void *)(uintptr_t)BODY_OPTIONS) || ptrace(PTRACE_CONT, c->pid, 0, 0)
		       ? -errno
		       : 0;
}

static void undo_enter(void *ctx)
{
	struct home *h = ctx;

	for (size_t i = 0; i < h->n; i++) {
		struct comer *c = &h->list[i];

		if (!c->entered || c->execed)
			continue;
		if (c->i.entry)
			inject_close(&c->i);
		if (let_run(h, c))
			log_warn("the deputy of process %d is gone", (int)c->pid);
		drop_fd(&c->ours);
	}
}

static int write_strings(struct comer *c, uint64_t *path, uint64_t *argv, uint64_t *envp)
{
	const char *comm = c->img->comm ? c->img->comm : "program";
	uint64_t room = c->i.room, pointers[4] = { room + 8192, 0, 0, 0 };
	int rc = tracee_write(&c->t, room + 8192, comm, strlen(comm) + 1);

	if (!rc)
		rc = tracee_write(&c->t, room + 9000, c->img->exe, strlen(c->img->exe) + 1);
	if (!rc)
		rc = tracee_write(&c->t, room + 8448, pointers, sizeof(pointers));
	*path = room + 9000;
	*argv = room + 8448;
	*envp = room + 8456;
	return rc;
}

/* From here on it isn't the deputy any more */
static int exec_one(struct comer *c, struct err *e)
{
	uint64_t path, argv, envp;
	int rc;

	if (!c->img->exe || strlen(c->img->exe) > 4096)
		return err_say(e, -EINVAL, "the image names no program");
	c->r.base = highest(c->pid) + 1 + RESTORE_FDS;
	rc = write_strings(c, &path, &argv, &envp);
	if (!rc)
		rc = inject_must(&c->i, NULL, "keep a descriptor", e, SYS_fcntl,
				 (uint64_t[6]){ (uint64_t)c->theirs, F_SETFD, 0 });
	/* half of a program must never run: if we die between here and COMMIT, so does the body */
	if (!rc && ptrace(PTRACE_SETOPTIONS, c->pid, 0, (void *)(uintptr_t)(BODY_OPTIONS | PTRACE_O_EXITKILL)))
		rc = err_set(e, -errno, "trace the deputy");
	if (!rc)
		rc = inject_exec(&c->i, SYS_execve, (uint64_t[6]){ path, argv, envp }, e);
	if (rc)
		return rc;
	c->execed = true;
	free(c->t.threads);
	drop_fd(&c->t.mem);
	c->t.threads = NULL;
	return body_pass_exec(c->pid, e);
}

/* What a deputy got since, or has at another number, is closed by no exec: its numbers are known */
static int keep_stays(struct comer *c, struct err *e)
{
	int rc = 0;

	for (size_t k = 0; k < c->n_stays && !rc; k++)
		rc = inject_must(&c->i, NULL, "keep a descriptor", e, SYS_fcntl,
				 (uint64_t[6]){ (uint64_t)c->stays[k].fd, F_SETFD, 0 });
	return rc;
}

static int stage_exec(void *ctx, struct err *e)
{
	struct home *h = ctx;
	int rc = 0;

	for (size_t i = 0; i < h->n && !rc; i++)
		rc = keep_stays(&h->list[i], e);
	for (size_t i = 0; i < h->n && !rc; i++)
		rc = exec_one(&h->list[i], e);
	return rc;
}

/* ---- the way back into mdeputy ------------------------------------------------------------------------------------ */

/* An open file of the origin's: the very description that the program worked with from there */
static int take_file(void *ctx, const struct image_open *o, struct err *e)
{
	int flags = (int)(o->flags & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_PATH | O_NOFOLLOW));
	const char *path = o->path ? o->path : "?";
	AUTO_FD int pidfd = -1;
	struct home *h = ctx;
	int fd = -1;

	if (!o->stream && o->flags & O_PATH) {	/* nothing was opened at home */
		fd = open(path, flags | O_CLOEXEC);
		return fd < 0 ? err_set(e, -errno, "open %s", path) : fd;
	}
	for (size_t i = 0; i < h->n_files && fd < 0; i++)
		if (h->files[i].id == o->stream) {
			pidfd = pidfd_open(h->files_pid, 0);
			fd = pidfd < 0 ? -1 : pidfd_getfd(pidfd, h->files[i].fd, 0);
			if (fd < 0)
				return err_set(e, -errno, "take %s from the file server", path);
		}
	if (fd < 0)
		return err_say(e, -EBADF, "%s isn't open at home any more", path);
	if (!(o->flags & O_PATH) && fcntl(fd, F_SETFL, flags & (O_APPEND | O_NONBLOCK)) < 0)
		log_debug("%s keeps other flags", path);
	return fd;
}

static void make_restore(struct home *h, struct comer *c)
{
	c->r = (struct restore){ .img = c->img, .pid = c->pid, .sock = take_fd(&c->ours), .body_sock = c->theirs,
				 .r.mem = -1, .home = true, .stays = c->stays, .n_stays = c->n_stays, .base = c->r.base,
				 .shared = &h->shared, .make_twin = take_file, .ctx = h };
}

/* A body that was not touched yet since its exec has no scratch area: it gets one, in its low memory */
static int make_drivable(struct home *h, struct comer *c, struct err *e)
{
	struct rlimit files;

	if (!c->r.pid)
		make_restore(h, c);
	/* the image's own limit may be set already */
	if (!prlimit(c->pid, RLIMIT_NOFILE, NULL, &files)) {
		files.rlim_cur = files.rlim_max;
		if (prlimit(c->pid, RLIMIT_NOFILE, &files, NULL))
			return err_set(e, -errno, "make room for descriptors");
	}
	return c->r.r.scratch ? 0 : remote_open(&c->r.r, c->pid, LOW_MEMORY, e);
}

/* What it will hold again: at the image's numbers, if it got that far */
static int write_setup(const struct comer *c, struct err *e)
{
	AUTO_FREE struct handover_handle *list = NULL;

	if (c->r.placed)
		return handover_setup(c->img, false, e);
	list = calloc(c->n_stays + 1, sizeof(*list));
	if (!list)
		return err_set(e, -ENOMEM, "describe the descriptors to the deputy");
	for (size_t k = 0; k < c->n_stays; k++)
		list[k] = (struct handover_handle){ c->stays[k].id, c->stays[k].fd };
	return handover_describe(list, c->n_stays, NULL, 0, e);
}

static int exec_deputy(struct home *h, struct comer *c, struct err *e)
{
	struct remote *r = &c->r.r;
	AUTO_FD int setup = write_setup(c, e);
	AUTO_FD int hub = hub_call(h->o, e);
	AUTO_FD int ours = -1;
	AUTO_FD int its = -1;
	char path[4096], text[64];
	uint64_t at, env, argv;
	uint64_t pointers[4] = { 0 };
	int sv[2], fds[2], rc = hub < 0 ? hub : setup < 0 ? setup : make_drivable(h, c, e);

	if (!rc)
		rc = sock_pair(sv, e);
	if (rc)
		return rc;
	ours = sv[0];
	fds[0] = setup;
	its = sv[1];
	fds[1] = its;
	rc = hub_join(hub, c->pid, ours, e);
	if (!rc)
		rc = restore_give(&c->r, fds, 2, e);
	for (int k = 0; k < 2 && !rc; k++)
		rc = remote_call(r, NULL, e, "keep a descriptor", SYS_fcntl, (uint64_t)(c->r.base + k), F_SETFD, 0);
	snprintf(path, sizeof(path), "%s/mdeputy", h->o->env->libexec);
	snprintf(text, sizeof(text), "MDEPUTY_FDS=%d,%d", c->r.base, c->r.base + 1);
	at = remote_put(r, path, strlen(path) + 1);
	env = remote_put(r, text, strlen(text) + 1);
	pointers[0] = remote_put(r, c->img->comm, strlen(c->img->comm) + 1);
	pointers[2] = env;
	argv = remote_put(r, pointers, sizeof(pointers));
	if (!rc)
		rc = remote_exec(r, at, argv, argv + 16, e);
	if (!rc && let_run(h, c))
		rc = err_set(e, -errno, "let the deputy run");
	return rc;
}

static void undo_exec(void *ctx)
{
	struct home *h = ctx;

	for (size_t i = 0; i < h->n; i++) {
		struct err e = { 0 };

		if (h->list[i].execed && exec_deputy(h, &h->list[i], &e)) {
			log_err("the deputy of process %d couldn't be brought back: %s", (int)h->list[i].pid, e.text);
			kill(h->list[i].pid, SIGKILL);
		}
	}
}

/* ---- rebuilding in place --------------------------------------------------------------------------------------------- */

/* What the deputy had open for itself and its exec didn't close */
static int close_rest(struct comer *c, struct err *e)
{
	AUTO_FREE int *fds = NULL;
	int n = procfs_list(c->pid, "fd", &fds, e), rc = n < 0 ? n : 0;

	for (int i = 0; i < n && !rc; i++) {
		bool keep = fds[i] == c->r.body_sock;

		for (size_t k = 0; k < c->n_stays && !keep; k++)
			keep = c->stays[k].fd == fds[i];
		if (!keep)
			rc = remote_do(&c->r.r, e, "close a descriptor", SYS_close, (uint64_t)fds[i]);
	}
	return rc ? rc : remote_run(&c->r.r, e);
}

static int take_pages(void *ctx, const struct frame *f, struct err *e)
{
	struct home *h = ctx;
	struct wire_mem_end end;
	struct wire_mem m;
	uint64_t pages = 0;

	for (size_t i = 0; i < h->n; i++)
		pages += h->list[i].fill.pages;
	if (f->type == WIRE_MEM_END) {
		if (wire_get_mem_end(f->payload, f->length, &end) || end.pages != pages)
			return err_say(e, -EBADMSG, "not all of the memory came");
		return 0;
	}
	if (f->length < 12 || (f->length - 12) & 4095 || wire_get_mem(f->payload, 12, &m) || m.space >> 16 >= h->n)
		return err_say(e, -EBADMSG, "memory came in a wrong form");
	return fill_pages(&h->list[m.space >> 16].fill, m.space & 0xffff, m.addr, f->payload + 12, f->length - 12, e);
}

static int begin_one(struct home *h, struct comer *c, struct err *e)
{
	int rc;

	make_restore(h, c);
	rc = restore_begin(&c->r, e);
	if (!rc)
		rc = close_rest(c, e);
	c->fill = (struct fill){ .mem = c->r.r.mem, .uffd = -1, .objects = c->r.objects,
				 .n_objects = (uint32_t)c->img->n_objects };
	return rc;
}

static int stage_rebuild(void *ctx, struct err *e)
{
	struct home *h = ctx;
	int rc = 0;

	for (size_t i = 0; i < h->n && !rc; i++)
		rc = begin_one(h, &h->list[i], e);
	if (!rc)
		rc = serve_memory(h->o, take_pages, h, e);
	for (size_t i = 0; i < h->n && !rc; i++)
		rc = restore_finish(&h->list[i].r, e);
	return rc;
}

static int stage_commit(void *ctx, struct err *e)
{
	struct home *h = ctx;
	int rc = serve_discard(h->o, e);

	h->committed = !rc;
	return rc;
}

/* Signals that the deputy took and the keeper never got */
static void requeue(struct home *h)
{
	uint64_t received = 0, next, first;
	uint32_t count, kept;
	struct bytes b = bytes_of(h->held, h->held_len);

	if (h->img->pump.len >= 8)
		memcpy(&received, h->img->pump.p, 8);
	bytes_get_le(&b, 8);
	next = bytes_get_le(&b, 8);
	count = (uint32_t)bytes_get_le(&b, 4);
	bytes_take(&b, (size_t)count * 20);
	kept = (uint32_t)bytes_get_le(&b, 4);
	first = next - kept;
	for (uint32_t k = 0; k < kept && !b.bad; k++) {
		unsigned type = (unsigned)bytes_get_le(&b, 4);
		size_t len = (size_t)bytes_get_le(&b, 4);
		const uint8_t *p = bytes_take(&b, len);
		struct wire_signal s;
		siginfo_t info = { 0 };

		if (!p || first + k <= received || type != WIRE_SIGNAL || wire_get_signal(p, len, &s))
			continue;
		info.si_signo = (int)s.signo;
		info.si_code = s.code < 0 ? (int)s.code : SI_QUEUE;
		info.si_pid = (pid_t)s.pid;
		info.si_uid = s.uid;
		info.si_value.sival_ptr = (void *)(uintptr_t)s.value;
		if (!comer_of(h, s.to ? s.to : (uint32_t)h->o->pid))
			continue;	/* it has ended since */
		if (syscall(SYS_rt_sigqueueinfo, s.to ? (pid_t)s.to : h->o->pid, info.si_signo, &info))
			kill(s.to ? (pid_t)s.to : h->o->pid, (int)s.signo);
	}
}

/* Their deputies end when the hub is gone, for their parents to wait for */
static void await_ended(const struct home *h)
{
	int64_t deadline = deadline_in_ms(ENDED_MS);

	for (size_t i = 0; i < h->n_ended; i++) {
		AUTO_FD int fd = pidfd_open(h->ended[i].pid, 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (fd >= 0 && poll(&p, 1, deadline_left_ms(deadline)) != 1)
			log_warn("the deputy of process %d, which has ended, is still there", (int)h->ended[i].pid);
	}
}

/* It lets go of the program's locks, for the program to take them */
static void await_files(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (pidfd >= 0 && poll(&p, 1, ENDED_MS) != 1)
		log_warn("the file server is still there");
}

/* Those that it had by the description itself (files_locks.c) */
static void drop_locks(const struct home *h)
{
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	for (size_t i = 0; i < h->n; i++)
		for (size_t k = 0; k < h->list[i].img->n_opens; k++)
			if (h->list[i].img->opens[k].kind == OPEN_ORIGIN && h->list[i].r.opens && h->list[i].r.opens[k] >= 0)
				(void)fcntl(h->list[i].r.opens[k], F_OFD_SETLK, &all);
}

static int stage_go(void *ctx, struct err *e)
{
	struct home *h = ctx;
	AUTO_FD int files = h->files_pid > 0 ? pidfd_open(h->files_pid, 0) : -1;
	int rc = 0;

	requeue(h);
	hub_drop_segments(h->o, h->img);	/* the program has its own, and counts its own attachments only */
	hub_quit(h->o);		/* its copies of the program's pipe ends go */
	await_files(files);
	drop_locks(h);
	await_ended(h);
	h->o->home = true;
	/* children first: their parents find them running */
	for (size_t i = h->n; i-- > 0;) {
		int its = restore_go(&h->list[i].r, rc ? NULL : e);

		rc = rc ? rc : its;
	}
	return rc;
}

static const struct stage stages[] = {
	{ "home: freezing the program",		stage_freeze,  undo_freeze, false },
	{ "home: checking",			stage_check,   NULL,	    false },
	{ "home: taking the streams back",	stage_hold,    undo_hold,   false },
	{ "home: entering the deputy",		stage_enter,   undo_enter,  false },
	{ "home: running the program's binary", stage_exec,    undo_exec,   false },
	{ "home: rebuilding",			stage_rebuild, NULL,	    false },
	{ "home: handing over",			stage_commit,  NULL,	    true },
	{ "home: resuming",			stage_go,      NULL,	    false },
};

static void progress(void *ctx, const struct stage *s)
{
	struct home *h = ctx;

	origin_at_stage(h->o, stages, ARRAY_SIZE(stages), s);
}

int home_move(struct origin *o, struct err *e)
{
	struct home *h = calloc(1, sizeof(*h));
	int rc = h ? 0 : err_set(e, -ENOMEM, "bring the program home");

	if (!rc && !o->relay.io)
		rc = err_say(e, -ENOLINK, "the link to %s is down; try again when it stands", o->target.peer.name);
	if (!rc) {
		h->o = o;
		rc = stage_run(stages, ARRAY_SIZE(stages), h, progress, e);
		if (rc && h->committed && !o->home)	/* there is no other copy: it must run */
			rc = stage_go(h, e);
	}
	if (rc && h && h->threads && strcmp(o->target.peer.name, ASK_SELF)) {
		rc = onward_move(o, ASK_SELF, e);
		if (!rc)
			err_say(e, 0, "on this machine, with its %zu threads in a pid namespace and its deputy in front: "
				"only an mproxy that runs as root can give them their old numbers outside", h->threads);
	} else if (rc) {
		err_wrap(e, rc, "process %d stays on %s", (int)o->pid, o->target.peer.name);
	}
	if (h) {
		restore_forget_shared(&h->shared);
		for (size_t i = 0; i < h->n; i++)
			free(h->list[i].stays);
		free(h->list);
		free(h->ended);
		free(h->files);
		image_free(h->img);
		free(h->held);
	}
	free(h);
	return rc;
}

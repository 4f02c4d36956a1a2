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
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

struct home {
	struct origin *o;
	struct image *img;
	struct tracee t;
	struct inject i;
	struct restore r;
	struct restore_shared shared;
	struct fill fill;
	uint8_t *held;		/* the deputy's pump, as it was when it was held */
	size_t held_len;
	int ours, theirs;	/* the socket pair into the body */
	bool frozen, entered, execed, committed;
	size_t threads;		/* so many, and none may be numbered here */
};

/* ---- the target freezes and sends its image ------------------------------------------------------------ */

static int stage_freeze(void *ctx, struct err *e)
{
	struct home *h = ctx;
	struct wire_image m;
	uint8_t buf[16];
	int rc;

	h->o->frozen_at = clock_ns(CLOCK_MONOTONIC);
	h->frozen = true;
	rc = serve_send(h->o, WIRE_FREEZE, buf, wire_put_freeze(buf, sizeof(buf), &(struct wire_freeze){ 10000 }), e);
	if (!rc)
		rc = serve_until(h->o, WIRE_IMAGE, deadline_in_ms(TALK_MS), e);
	if (!rc && wire_get_image(h->o->caught.buf, h->o->caught.len, &m))
		rc = err_say(e, -EBADMSG, "the image can't be read");
	return rc ? rc : image_from_json(m.manifest, strlen(m.manifest), &h->img, e);
}

static void undo_freeze(void *ctx)
{
	struct home *h = ctx;
	uint8_t buf[16];

	if (h->frozen && serve_send(h->o, WIRE_THAW, buf, wire_put_thaw(buf, sizeof(buf), &(struct wire_thaw){ 0 }), NULL))
		log_warn("the program thaws when the link stands again");
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
static int stage_check(void *ctx, struct err *e)
{
	struct home *h = ctx;

	if (h->img->pid != h->o->pid || (uid_t)h->img->euid != h->o->uid)
		return err_say(e, -EINVAL, "the image is of process %d of uid %d, at home is process %d of uid %d",
			       (int)h->img->pid, (int)h->img->euid, (int)h->o->pid, (int)h->o->uid);
	if (h->img->n_threads > 1 && !may_number_threads()) {
		h->threads = h->img->n_threads;
		return err_say(e, -EPERM, "only an mproxy that runs as root can give threads their numbers again");
	}
	for (size_t i = 0; i < h->img->n_files; i++) {
		const struct image_file *f = &h->img->files[i];
		struct stat st;

		if (f->ship)
			continue;
		if (policy_path(h->o->env->policy, f->path ? f->path : "", NULL) != POLICY_LOCAL)
			return err_say(e, -EACCES, "the policy doesn't call %s local", f->path ? f->path : "?");
		if (stat(f->path, &st))
			return err_set(e, -errno, "look at %s", f->path);
		if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != f->size)
			return err_say(e, -ESTALE, "%s has %lld bytes here and %llu on %s", f->path, (long long)st.st_size,
				       (unsigned long long)f->size, h->o->target.peer.name);
	}
	return 0;
}

/* ---- the deputy lays down its work ------------------------------------------------------------------------------ */

static int hold(struct origin *o, uint32_t on, struct err *e)
{
	uint8_t buf[16];

	return hub_tell(o, WIRE_DEPUTY_HOLD, buf,
			wire_put_deputy_hold(buf, sizeof(buf), &(struct wire_deputy_hold){ on }), e);
}

/* What the program has read is taken out of the origin's pipes; then the hub stands still */
static int stage_hold(void *ctx, struct err *e)
{
	struct home *h = ctx;
	struct wire_deputy_held m;
	int rc = 0;

	for (size_t i = 0; i < h->img->n_opens && !rc; i++) {
		const struct image_open *o = &h->img->opens[i];
		struct wire_taken taken = { .stream = (uint32_t)o->stream, .offset = o->offset };
		uint8_t buf[32];

		if (o->kind == OPEN_TWIN && (o->flags & O_ACCMODE) == O_RDONLY)
			rc = hub_tell(h->o, WIRE_TAKEN, buf, wire_put_taken(buf, sizeof(buf), &taken), e);
	}
	for (int tries = 0; !rc && !h->held_len && tries < 100; tries++) {
		rc = hold(h->o, 1, e);
		if (!rc)
			rc = serve_until(h->o, WIRE_DEPUTY_HELD, deadline_in_ms(TALK_MS), e);
		if (!rc && wire_get_deputy_held(h->o->caught.buf, h->o->caught.len, &m))
			rc = err_say(e, -EBADMSG, "the hub's state can't be read");
		if (!rc && m.deputies.len > 4)
			return err_say(e, -ECHILD, "the program has %u other processes there, and only one can come home",
				       m.deputies.len / 4 - 1);
		if (rc || !m.streams.len)
			continue;
		h->held = malloc(m.streams.len);
		if (!h->held)
			return err_set(e, -ENOMEM, "keep the deputy's state");
		memcpy(h->held, m.streams.p, m.streams.len);
		h->held_len = m.streams.len;
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

static int stage_enter(void *ctx, struct err *e)
{
	struct home *h = ctx;
	unsigned options = BODY_OPTIONS;
	int rc;

	h->t = (struct tracee){ .pid = h->o->pid, .mem = -1 };
	rc = tracee_add_thread(&h->t, h->o->pid, NULL);
	if (!rc)
		rc = tracee_interrupt(h->o->pid, deadline_in_ms(5000), e);
	if (rc)
		return rc;
	h->entered = true;
	if (ptrace(PTRACE_SETOPTIONS, h->o->pid, 0, (void *)(uintptr_t)options))
		return err_set(e, -errno, "trace the deputy");
	h->t.threads[0].stopped = true;
	rc = tracee_get_regs(h->o->pid, &h->t.threads[0].regs);
	if (!rc)
		rc = tracee_get_sigmask(h->o->pid, &h->t.threads[0].sigmask);
	if (rc)
		return err_set(e, rc, "read the deputy's registers");
	rc = inject_open(&h->i, &h->t, deadline_in_ms(FREEZE_DEADLINE_MS), e);
	if (!rc)
		rc = inject_begin(&h->i, &h->t.threads[0], e);
	return rc ? rc : bring_way_in(&h->i, highest(h->o->pid) + 1, &h->ours, &h->theirs, e);
}

static void undo_enter(void *ctx)
{
	struct home *h = ctx;

	if (!h->entered || h->execed)
		return;
	if (h->i.entry)
		inject_close(&h->i);
	if (ptrace(PTRACE_SETOPTIONS, h->o->pid, 0, (void *)(uintptr_t)BODY_OPTIONS) ||
	    ptrace(PTRACE_CONT, h->o->pid, 0, 0))
		log_warn("the deputy is gone");
	drop_fd(&h->ours);
}

static int write_strings(struct home *h, uint64_t *path, uint64_t *argv, uint64_t *envp)
{
	const char *comm = h->img->comm ? h->img->comm : "program";
	uint64_t room = h->i.room, pointers[4] = { room + 8192, 0, 0, 0 };
	int rc = tracee_write(&h->t, room + 8192, comm, strlen(comm) + 1);

	if (!rc)
		rc = tracee_write(&h->t, room + 9000, h->img->exe, strlen(h->img->exe) + 1);
	if (!rc)
		rc = tracee_write(&h->t, room + 8448, pointers, sizeof(pointers));
	*path = room + 9000;
	*argv = room + 8448;
	*envp = room + 8456;
	return rc;
}

/* From here on it isn't the deputy any more */
static int stage_exec(void *ctx, struct err *e)
{
	struct home *h = ctx;
	uint64_t path, argv, envp;
	int rc;

	if (!h->img->exe || strlen(h->img->exe) > 4096)
		return err_say(e, -EINVAL, "the image names no program");
	rc = write_strings(h, &path, &argv, &envp);
	if (!rc)
		rc = inject_must(&h->i, NULL, "keep a descriptor", e, SYS_fcntl,
				 (uint64_t[6]){ (uint64_t)h->theirs, F_SETFD, 0 });
	/* half of a program must never run: if we die between here and COMMIT, so does the body */
	if (!rc && ptrace(PTRACE_SETOPTIONS, h->o->pid, 0, (void *)(uintptr_t)(BODY_OPTIONS | PTRACE_O_EXITKILL)))
		rc = err_set(e, -errno, "trace the deputy");
	if (!rc)
		rc = inject_exec(&h->i, SYS_execve, (uint64_t[6]){ path, argv, envp }, e);
	if (rc)
		return rc;
	h->execed = true;
	free(h->t.threads);
	drop_fd(&h->t.mem);
	h->t.threads = NULL;
	return body_pass_exec(h->o->pid, e);
}

/* ---- the way back into mdeputy ------------------------------------------------------------------------------------ */

/* A body that was not touched yet since its exec has no scratch area: it gets one, in its low memory */
static int make_drivable(struct home *h, struct err *e)
{
	struct rlimit files;

	if (!h->r.pid)
		h->r = (struct restore){ .img = h->img, .pid = h->o->pid, .sock = take_fd(&h->ours),
					 .body_sock = h->theirs, .home = true, .shared = &h->shared };
	/* the image's own limit may be set already */
	if (!prlimit(h->o->pid, RLIMIT_NOFILE, NULL, &files)) {
		files.rlim_cur = files.rlim_max;
		if (prlimit(h->o->pid, RLIMIT_NOFILE, &files, NULL))
			return err_set(e, -errno, "make room for descriptors");
	}
	if (!h->r.base)
		h->r.base = highest(h->o->pid) + 1 + SOCK_MAX_FDS;
	return h->r.r.scratch ? 0 : remote_open(&h->r.r, h->o->pid, LOW_MEMORY, e);
}

static int exec_deputy(struct home *h, struct err *e)
{
	struct remote *r = &h->r.r;
	AUTO_FD int setup = handover_setup(h->img, false, e);
	AUTO_FD int hub = hub_call(h->o, e);
	AUTO_FD int ours = -1;
	AUTO_FD int its = -1;
	char path[4096], text[64];
	uint64_t at, env, argv;
	uint64_t pointers[4] = { 0 };
	int sv[2], fds[2], rc = hub < 0 ? hub : setup < 0 ? setup : make_drivable(h, e);

	if (!rc)
		rc = sock_pair(sv, e);
	if (rc)
		return rc;
	ours = sv[0];
	fds[0] = setup;
	its = fds[1] = sv[1];
	rc = hub_join(hub, h->o->pid, ours, e);
	if (!rc)
		rc = restore_give(&h->r, fds, 2, e);
	for (int k = 0; k < 2 && !rc; k++)
		rc = remote_call(r, NULL, e, "keep a descriptor", SYS_fcntl, (uint64_t)(h->r.base + k), F_SETFD, 0);
	snprintf(path, sizeof(path), "%s/mdeputy", h->o->env->libexec);
	snprintf(text, sizeof(text), "MDEPUTY_FDS=%d,%d", h->r.base, h->r.base + 1);
	at = remote_put(r, path, strlen(path) + 1);
	env = remote_put(r, text, strlen(text) + 1);
	pointers[0] = remote_put(r, h->img->comm, strlen(h->img->comm) + 1);
	pointers[2] = env;
	argv = remote_put(r, pointers, sizeof(pointers));
	if (!rc)
		rc = remote_exec(r, at, argv, argv + 16, e);
	if (rc)
		return rc;
	if (ptrace(PTRACE_SETOPTIONS, h->o->pid, 0, (void *)(uintptr_t)BODY_OPTIONS) ||
	    ptrace(PTRACE_CONT, h->o->pid, 0, 0))
		return err_set(e, -errno, "let the deputy run");
	return 0;
}

static void undo_exec(void *ctx)
{
	struct home *h = ctx;
	struct err e = { 0 };

	if (!h->execed)
		return;
	if (exec_deputy(h, &e)) {
		log_err("the deputy couldn't be brought back: %s", e.text);
		kill(h->o->pid, SIGKILL);
	}
}

/* ---- rebuilding in place --------------------------------------------------------------------------------------------- */

static bool stays_at_home(const struct image_open *o)
{
	return o->kind == OPEN_TWIN || o->kind == OPEN_PULLED;
}

/* What the deputy had open for itself and its exec didn't close */
static int close_rest(struct home *h, struct err *e)
{
	AUTO_FREE int *fds = NULL;
	int n = procfs_list(h->o->pid, "fd", &fds, e), rc = n < 0 ? n : 0;

	for (int i = 0; i < n && !rc; i++) {
		bool keep = fds[i] == h->r.body_sock;

		for (size_t k = 0; k < h->img->n_fds && !keep; k++)
			keep = h->img->fds[k].fd == fds[i] && stays_at_home(&h->img->opens[h->img->fds[k].open]);
		if (!keep)
			rc = remote_do(&h->r.r, e, "close a descriptor", SYS_close, (uint64_t)fds[i]);
	}
	return rc ? rc : remote_run(&h->r.r, e);
}

static int take_pages(void *ctx, const struct frame *f, struct err *e)
{
	struct home *h = ctx;
	struct wire_mem_end end;
	struct wire_mem m;

	if (f->type == WIRE_MEM_END) {
		if (wire_get_mem_end(f->payload, f->length, &end) || end.pages != h->fill.pages)
			return err_say(e, -EBADMSG, "not all of the memory came");
		return 0;
	}
	if (f->length < 12 || (f->length - 12) & 4095 || wire_get_mem(f->payload, 12, &m))
		return err_say(e, -EBADMSG, "memory came in a wrong form");
	return fill_pages(&h->fill, m.space, m.addr, f->payload + 12, f->length - 12, e);
}

static int stage_rebuild(void *ctx, struct err *e)
{
	struct home *h = ctx;
	uint8_t buf[16];
	int rc;

	h->r = (struct restore){ .img = h->img, .pid = h->o->pid, .sock = take_fd(&h->ours), .body_sock = h->theirs,
				 .home = true, .shared = &h->shared };
	h->r.r.mem = -1;
	rc = restore_begin(&h->r, e);
	if (!rc)
		rc = close_rest(h, e);
	if (rc)
		return rc;
	h->fill = (struct fill){ .mem = h->r.r.mem, .uffd = -1, .objects = h->r.objects,
				 .n_objects = (uint32_t)h->img->n_objects };
	rc = serve_send(h->o, WIRE_SEND_MEM, buf,
			wire_put_send_mem(buf, sizeof(buf), &(struct wire_send_mem){ 0 }), e);
	if (!rc)
		rc = serve_memory(h->o, take_pages, h, e);
	return rc ? rc : restore_finish(&h->r, e);
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
		if (syscall(SYS_rt_sigqueueinfo, h->o->pid, info.si_signo, &info))
			kill(h->o->pid, (int)s.signo);
	}
}

static int stage_go(void *ctx, struct err *e)
{
	struct home *h = ctx;

	requeue(h);
	hub_quit(h->o);		/* its copies of the program's pipe ends go */
	h->o->home = true;
	return restore_go(&h->r, e);
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

	h->o->stages = ARRAY_SIZE(stages);
	h->o->stage = (int)(s - stages) + 1;
	origin_progress(h->o, s->name + strlen("home: "));
}

int home_move(struct origin *o, struct err *e)
{
	struct home *h = calloc(1, sizeof(*h));
	int rc = h ? 0 : err_set(e, -ENOMEM, "bring the program home");

	if (!rc && !o->relay.io)
		rc = err_say(e, -ENOLINK, "the link to %s is down; try again when it stands", o->target.peer.name);
	if (!rc) {
		h->o = o;
		h->ours = h->theirs = -1;
		h->t.mem = h->r.r.mem = h->r.sock = -1;
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
		image_free(h->img);
		free(h->held);
	}
	free(h);
	return rc;
}

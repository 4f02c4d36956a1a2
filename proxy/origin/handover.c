/* SPDX-License-Identifier: MIT */
/*
 * handover.c - The original becomes the deputy
 *
 * exec keeps pid, parent, session, terminal, cwd, umask, limits, descriptors and locks, and ends
 * the other threads: the kernel does it atomically.  What exec keeps and would happen twice is put
 * away first (timers, waiting signals); what it takes away and is still needed is kept (CLOEXEC).
 */
#include "proxy/origin/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/wire.h"
#include "proxy/origin/bring.h"
#include "proxy/trace/procfs.h"

#define BIG_RESIDENT (16ULL << 20)	/* from here on a holder pays: exec frees 1 GiB in 64 ms */

/* Calls in the leader's name, from here to the matching inject_end() */
static int in_leader(struct handover *h, struct err *e)
{
	return h->f->inject.th ? 0 : inject_begin(&h->f->inject, &h->f->t.threads[0], e);
}

static int put(struct handover *h, uint64_t offset, const void *p, size_t len, uint64_t *at)
{
	*at = h->f->inject.room + offset;
	return offset + len > INJECT_ROOM ? -E2BIG : tracee_write(&h->f->t, *at, p, len);
}

/* ---- timers and waiting signals --------------------------------------------------------------------- */

static int set_itimer(struct handover *h, int which, const struct itimerval *to, struct itimerval *was,
		      struct err *e)
{
	uint64_t at, was_at = h->f->inject.room + 64;
	int rc = put(h, 0, to, sizeof(*to), &at);

	if (rc)
		return err_set(e, rc, "set a timer");
	rc = inject_must(&h->f->inject, NULL, "set an interval timer", e, SYS_setitimer,
			 (uint64_t[6]){ (uint64_t)which, at, was_at });
	return rc || !was ? rc : tracee_read(&h->f->t, was_at, was, sizeof(*was));
}

static int queue_again(struct handover *h, const siginfo_t *info, bool own)
{
	uint64_t at, pid = (uint64_t)h->f->t.pid, signo = (uint64_t)info->si_signo;
	int rc = put(h, 0, info, sizeof(*info), &at);

	return rc ? rc
		  : inject_must(&h->f->inject, NULL, "queue a signal", NULL,
				own ? SYS_rt_tgsigqueueinfo : SYS_rt_sigqueueinfo,
				own ? (uint64_t[6]){ pid, pid, signo, at } : (uint64_t[6]){ pid, signo, at });
}

/* Takes everything out that waits for the process or its leader, into h->drained */
static int drain_signals(struct handover *h, struct err *e)
{
	uint64_t all = ~0ULL, set, info_at = h->f->inject.room + 128, zero_at;
	struct timespec zero = { 0 };
	siginfo_t info;
	int64_t sig;
	int rc;

	for (;;) {
		struct image_siginfo *one;

		rc = put(h, 0, &all, sizeof(all), &set);
		if (!rc)
			rc = put(h, 64, &zero, sizeof(zero), &zero_at);
		if (!rc)
			rc = inject_call6(&h->f->inject, &sig, SYS_rt_sigtimedwait,
					  (uint64_t[6]){ set, info_at, zero_at, sizeof(all) });
		if (rc || sig <= 0)
			break;
		rc = tracee_read(&h->f->t, info_at, &info, sizeof(info));
		one = rc ? NULL : image_grow((void **)&h->drained, &h->n_drained, sizeof(*one));
		if (!one || image_set_bytes(&one->info, &info, sizeof(info)))
			return err_set(e, rc ? rc : -ENOMEM, "take out a waiting signal");
	}
	return rc ? err_set(e, rc, "take out the waiting signals") : 0;
}

static bool is_in(const struct image_siginfo *list, size_t n, const siginfo_t *info)
{
	for (size_t i = 0; i < n; i++)
		if (!memcmp(list[i].info.p, info, MIN(list[i].info.len, sizeof(*info))))
			return true;
	return false;
}

/*
 * handover_quiet() - Nothing may happen twice: here as the deputy, and there as the program
 *
 * The last thing before exec, so that a session that is killed leaves it done for an instant only.
 * What the image has is dropped, and what the timers have sent since (they go on over there);
 * what else came since the image was made waits again, for the deputy to forward.
 */
static int handover_quiet(struct handover *h, struct err *e)
{
	const struct image *img = h->f->img;
	const struct image_thread *leader = &img->threads[0];
	const struct itimerval zero = { 0 };
	int rc = 0;

	h->quiet = true;
	for (int which = 0; which < 3 && !rc; which++)
		for (size_t i = 0; i < img->n_itimers && !rc; i++)
			if (img->itimers[i].which == which)
				rc = set_itimer(h, which, &zero, &h->timers[which], e);
	if (!rc)
		rc = drain_signals(h, e);
	for (size_t i = 0; i < h->n_drained && !rc; i++) {
		const siginfo_t *info = (const void *)h->drained[i].info.p;
		bool timer = info->si_code == SI_TIMER ||
			     (info->si_code == SI_KERNEL && (info->si_signo == SIGALRM || info->si_signo == SIGVTALRM ||
							     info->si_signo == SIGPROF));

		if (!timer && !is_in(img->pending, img->n_pending, info) &&
		    !is_in(leader->pending, leader->n_pending, info))
			rc = queue_again(h, info, false);
	}
	return rc ? err_wrap(e, rc, "quieten the program") : 0;
}

static void unquiet(struct handover *h)
{
	size_t own = h->f->img->threads[0].n_pending;

	/* those that were queued again must not come twice */
	struct image_siginfo *first = h->drained;
	size_t n = h->n_drained;

	h->drained = NULL;
	h->n_drained = 0;
	if (!drain_signals(h, NULL))
		for (size_t i = 0; i < n && !queue_again(h, (const void *)first[i].info.p, i < own); i++)
			;
	for (int which = 0; which < 3; which++)
		if ((h->timers[which].it_value.tv_sec || h->timers[which].it_value.tv_usec) &&
		    set_itimer(h, which, &h->timers[which], NULL, NULL))
			break;
	h->quiet = false;
}

static int highest_fd(const struct image *img)
{
	int64_t most = 2;

	for (size_t i = 0; i < img->n_fds; i++)
		most = MAX(most, img->fds[i].fd);
	return (int)most;
}

static int close_there(struct handover *h, int fd)
{
	return inject_must(&h->f->inject, NULL, "close", NULL, SYS_close, (uint64_t[6]){ (uint64_t)fd });
}

/* ---- what the deputy has to know ----------------------------------------------------------------------------- */

static bool stays(const struct image *img, const struct image_fd *f)
{
	return img->opens[f->open].kind == OPEN_TWIN || img->opens[f->open].kind == OPEN_PULLED;
}

int handover_describe(const struct handover_handle *held, size_t n_held, const int *closes, size_t n_closes,
		      struct err *e)
{
	size_t room = n_held * 8 + n_closes * 4;
	AUTO_FREE uint8_t *lists = malloc(room + 1), *buf = malloc(room + 64);
	struct bytes b = bytes_of(lists, lists ? room : 0);
	AUTO_FD int fd = memfd_create("deputy", MFD_CLOEXEC);
	struct wire_deputy_start m;
	ssize_t n;

	for (size_t i = 0; i < n_held; i++) {
		bytes_put_le(&b, held[i].id, 4);
		bytes_put_le(&b, (uint64_t)held[i].fd, 4);
	}
	for (size_t i = 0; i < n_closes; i++)
		bytes_put_le(&b, (uint64_t)closes[i], 4);
	m.handles = (wire_blob){ lists, (uint32_t)(n_held * 8) };
	m.close_fds = (wire_blob){ lists + n_held * 8, (uint32_t)(n_closes * 4) };
	n = lists && buf ? wire_put_deputy_start(buf, room + 64, &m) : -ENOMEM;
	if (n < 0 || fd < 0 || write(fd, buf, (size_t)n) != n)
		return err_set(e, n < 0 ? (int)n : -EIO, "describe the descriptors to the deputy");
	return take_fd(&fd);
}

int handover_setup(const struct image *img, bool rest, struct err *e)
{
	AUTO_FREE struct handover_handle *held = calloc(img->n_fds + 1, sizeof(*held));
	AUTO_FREE int *closes = calloc(img->n_fds + 1, sizeof(*closes));
	size_t n_held = 0, n_closes = 0;

	if (!held || !closes)
		return err_set(e, -ENOMEM, "describe the descriptors to the deputy");
	for (size_t i = 0; i < img->n_fds; i++) {
		const struct image_fd *f = &img->fds[i];

		if (stays(img, f))
			held[n_held++] = (struct handover_handle){ (uint32_t)img->opens[f->open].stream, (int)f->fd };
		else if (rest && !f->cloexec)	/* exec closes the others, and their numbers are the deputy's */
			closes[n_closes++] = (int)f->fd;
	}
	return handover_describe(held, n_held, closes, n_closes, e);
}

/* A short-lived copy of the program tries what COMMIT will do: noexec, chroot, LSM, RLIMIT_NPROC */
static int probe(struct handover *h, struct err *e)
{
	static const char name[] = "mdeputy", option[] = "--probe";
	struct tracee_thread th = { 0 };
	struct inject child;
	uint64_t argv[4] = { 0 }, at, ignored;
	int status = 0, rc;
	pid_t pid;

	rc = put(h, 1024, name, sizeof(name), &argv[0]);
	if (!rc)
		rc = put(h, 1056, option, sizeof(option), &argv[1]);
	if (!rc)
		rc = put(h, 1088, argv, sizeof(argv), &at);
	if (!rc)
		rc = put(h, 1120, "", 1, &ignored);
	if (!rc)
		rc = inject_clone(&h->f->inject, CLONE_VM, &pid, e);
	if (rc)
		return err_wrap(e, rc, "try the deputy");
	child = h->f->inject;
	th.tid = pid;
	rc = tracee_get_regs(pid, &th.regs);
	child.th = &th;
	if (!rc)
		rc = inject_exec(&child, SYS_execveat,
				 (uint64_t[6]){ (uint64_t)h->there[BRING_EXE], ignored, at, at + 16, AT_EMPTY_PATH }, e);
	if (rc)
		kill(pid, SIGKILL);
	while (!ptrace(PTRACE_CONT, pid, 0, 0) || errno != ESRCH)
		if (tracee_wait(pid, &status, deadline_in_ms(5000)))
			break;
	if (inject_must(&h->f->inject, NULL, "reap the probe", rc ? NULL : e, SYS_wait4,
			(uint64_t[6]){ (uint64_t)pid, 0, __WALL }))
		rc = rc ? rc : -ECHILD;
	if (!rc && (!WIFEXITED(status) || WEXITSTATUS(status)))
		rc = err_say(e, -ENOEXEC, "the deputy doesn't run in the program's place (status %x)", (unsigned)status);
	return rc ? err_wrap(e, rc, "try the deputy") : 0;
}

int handover_bring(struct handover *h, const char *deputy, struct err *e)
{
	const struct image *img = h->f->img;
	AUTO_FD int exe = open(deputy, O_RDONLY | O_CLOEXEC);
	AUTO_FD int setup = -1;
	int above = highest_fd(img) + 1, fds[BRING_COUNT - 1], rc;

	for (int k = 0; k < BRING_COUNT; k++)
		h->there[k] = -1;
	if (exe < 0)
		return err_set(e, -errno, "open %s", deputy);
	setup = handover_setup(img, true, e);
	if (setup < 0)
		return setup;
	fds[BRING_EXE - 1] = exe;
	fds[BRING_SETUP - 1] = setup;
	rc = in_leader(h, e);
	if (!rc)
		rc = bring_way_in(&h->f->inject, above, &h->sock, &h->there[BRING_SOCK], e);
	if (!rc)
		rc = bring_fds(&h->f->inject, h->sock, h->there[BRING_SOCK], fds, BRING_COUNT - 1, above,
			       &h->there[1], e);
	if (!rc)
		rc = probe(h, e);
	if (!rc && img->resident >= BIG_RESIDENT) {
		rc = inject_clone(&h->f->inject, CLONE_VM, &h->holder, e);
		/* it never runs: stopped before its first instruction, and it ends with us */
		if (!rc && ptrace(PTRACE_SETOPTIONS, h->holder, 0, (void *)PTRACE_O_EXITKILL))
			rc = err_set(e, -errno, "hold the memory");
	}
	return rc;
}

static int set_cloexec(struct handover *h, int fd, bool on, struct err *e)
{
	return inject_must(&h->f->inject, NULL, "set a descriptor's flag", e, SYS_fcntl,
			   (uint64_t[6]){ (uint64_t)fd, F_SETFD, on ? FD_CLOEXEC : 0 });
}

/* The program's own argument vector, and one variable */
static int write_strings(struct handover *h, uint64_t *argv, uint64_t *envp, struct err *e)
{
	char args[8192], env[128], comm[64], holder[64];
	uint64_t pointers[514] = { 0 }, at, env_pointers[4] = { 0 };
	ssize_t len = procfs_read(h->f->t.pid, args, sizeof(args), "cmdline");
	size_t n = 0;
	int rc;

	if (len <= 0)
		len = snprintf(args, sizeof(args), "%s", h->f->img->comm) + 1;
	args[len - 1] = 0;
	rc = put(h, 8192, args, (size_t)len, &at);
	for (ssize_t k = 0; k < len && n < 512; k += (ssize_t)strlen(args + k) + 1)
		pointers[n++] = at + (uint64_t)k;
	if (!rc)
		rc = put(h, 2048, pointers, (n + 1) * sizeof(pointers[0]), argv);
	snprintf(env, sizeof(env), "MDEPUTY_FDS=%d,%d", h->there[BRING_SETUP], h->there[BRING_SOCK]);
	snprintf(comm, sizeof(comm), "MDEPUTY_COMM=%s", h->f->img->comm);
	if (!rc)
		rc = put(h, 1024, env, strlen(env) + 1, &env_pointers[0]);
	if (!rc)
		rc = put(h, 1280, comm, strlen(comm) + 1, &env_pointers[1]);
	snprintf(holder, sizeof(holder), "MDEPUTY_HOLDER=%d", (int)h->holder);
	if (!rc)
		rc = put(h, 1408, holder, strlen(holder) + 1, &env_pointers[2]);
	if (!rc)
		rc = put(h, 1536, env_pointers, sizeof(env_pointers), envp);
	if (!rc)
		rc = put(h, 1600, "", 1, &at);
	return rc ? err_set(e, rc, "write the deputy's arguments") : 0;
}

int handover_commit(struct handover *h, struct err *e)
{
	const struct image *img = h->f->img;
	uint64_t argv, envp;
	int rc = write_strings(h, &argv, &envp, e);

	for (size_t i = 0; i < img->n_fds && !rc; i++, h->uncloexec = i)
		if (stays(img, &img->fds[i]) && img->fds[i].cloexec)
			rc = set_cloexec(h, (int)img->fds[i].fd, false, e);
	for (int k = 0; k < BRING_COUNT && !rc; k++)
		if (k != BRING_EXE)
			rc = set_cloexec(h, h->there[k], false, e);
	if (!rc)
		rc = handover_quiet(h, e);
	if (rc)
		return rc;
	return inject_exec(&h->f->inject, SYS_execveat,
			   (uint64_t[6]){ (uint64_t)h->there[BRING_EXE], h->f->inject.room + 1600, argv, envp,
					  AT_EMPTY_PATH },
			   e);
}

void handover_drop_holder(struct handover *h)
{
	if (h->holder > 0) {
		kill(h->holder, SIGKILL);
		waitpid(h->holder, NULL, __WALL);
	}
	h->holder = 0;
}

void handover_back(struct handover *h)
{
	const struct image *img = h->f->img;
	pid_t holder = h->holder;

	if (!h->f->injected || in_leader(h, NULL))
		return;
	handover_drop_holder(h);
	if (holder > 0 && inject_must(&h->f->inject, NULL, "reap", NULL, SYS_wait4,
				      (uint64_t[6]){ (uint64_t)holder, 0, __WALL }))
		h->holder = 0;
	for (size_t i = 0; i < h->uncloexec; i++)
		if (stays(img, &img->fds[i]) && img->fds[i].cloexec &&
		    set_cloexec(h, (int)img->fds[i].fd, true, NULL))
			break;
	h->uncloexec = 0;
	for (int k = 0; k < BRING_COUNT; k++) {
		if (h->there[k] > 0 && close_there(h, h->there[k]))
			break;
		h->there[k] = -1;
	}
	if (h->quiet)
		unquiet(h);
	drop_fd(&h->sock);
	if (inject_end(&h->f->inject, NULL))
		h->holder = 0;	/* it was killed meanwhile */
}

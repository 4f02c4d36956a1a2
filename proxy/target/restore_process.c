/* SPDX-License-Identifier: MIT */
/*
 * restore_process.c - What belongs to the process as a whole: signals, timers, attributes, limits
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif

static int restore_sigactions(struct restore *s, struct err *e)
{
	bool set[65] = { false };
	int rc = 0;

	for (size_t i = 0; i < s->img->n_sigactions && !rc; i++) {
		const struct image_sigaction *a = &s->img->sigactions[i];
		uint64_t sa[4] = { a->handler, a->flags, a->restorer, a->mask }, at;

		if (a->signo < 1 || a->signo > 64)
			return err_say(e, -EINVAL, "the image has an action for signal %d", (int)a->signo);
		set[a->signo] = true;
		at = remote_put(&s->r, sa, sizeof(sa));
		rc = at ? remote_do(&s->r, e, "set a signal's action", SYS_rt_sigaction, (uint64_t)a->signo, at, 0, 8)
			: -ENOMEM;
	}
	/* exec kept what its parent ignored */
	for (uint64_t sig = 1; sig <= 64 && !rc; sig++) {
		uint64_t sa[4] = { 0 }, at;

		if (set[sig] || sig == SIGKILL || sig == SIGSTOP)
			continue;
		at = remote_put(&s->r, sa, sizeof(sa));
		rc = at ? remote_do(&s->r, e, "set a signal's action", SYS_rt_sigaction, sig, at, 0, 8) : -ENOMEM;
	}
	return rc ? rc : remote_run(&s->r, e);
}

static int restore_limits(struct restore *s, struct err *e)
{
	for (size_t i = 0; i < s->img->n_limits; i++) {
		const struct image_limit *l = &s->img->limits[i];
		struct rlimit want = { l->soft, l->hard }, have;

		if (prlimit(s->pid, (int)l->resource, NULL, &have))
			continue;
		if (have.rlim_cur == want.rlim_cur && have.rlim_max == want.rlim_max)
			continue;
		if (!prlimit(s->pid, (int)l->resource, &want, NULL))
			continue;
		/* no right to raise the hard limit: then as much as there is */
		want.rlim_max = MIN(want.rlim_max, have.rlim_max);
		want.rlim_cur = MIN(want.rlim_cur, want.rlim_max);
		if (prlimit(s->pid, (int)l->resource, &want, NULL))
			return err_set(e, -errno, "set resource limit %d", (int)l->resource);
	}
	return 0;
}

static int restore_attributes(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	uint64_t cwd = remote_put(&s->r, img->cwd ? img->cwd : "/", strlen(img->cwd ? img->cwd : "/") + 1);
	const struct {
		const char *what;
		long nr;
		uint64_t a[6];
	} calls[] = {
		{ "change to the working directory", SYS_chdir, { cwd } },
		{ "set the umask", SYS_umask, { (uint64_t)img->umask } },
		{ NULL, SYS_personality, { img->personality } },
		{ "set an attribute", SYS_prctl, { PR_SET_CHILD_SUBREAPER, (uint64_t)img->subreaper } },
		{ NULL, SYS_prctl, { PR_SET_THP_DISABLE, (uint64_t)img->thp_disable } },
	};
	int rc = cwd ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_SIZE(calls) && !rc; i++)
		rc = remote_add(&s->r, e, calls[i].what, calls[i].nr, calls[i].a);
	if (!rc && img->no_new_privs)
		rc = remote_do(&s->r, e, "set no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS, 1);
	/* 1 is what exec gave; 2 can't be asked for, and is the kernel's own doing */
	if (!rc && !img->dumpable)
		rc = remote_do(&s->r, e, "set an attribute", SYS_prctl, PR_SET_DUMPABLE, 0);
	return rc ? rc : remote_run(&s->r, e);
}

static void restore_oom(struct restore *s)
{
	char path[48], text[16];
	int fd, n = snprintf(text, sizeof(text), "%d", (int)s->img->oom_score_adj);

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)s->pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, text, (size_t)n) < 0)
		log_debug("%s can't be lowered: that's a privilege, the target decides", path);
	close(fd);
}

int restore_process(struct restore *s, struct err *e)
{
	int rc = restore_sigactions(s, e);

	if (!rc)
		rc = restore_attributes(s, e);
	if (!rc)
		restore_oom(s);
	return rc ? rc : restore_limits(s, e);
}

/* ---- timers: at the very end, they run from here --------------------------------------------------- */

/*
 * timer_create gives ids in order.  Linux 6.15 has PR_TIMER_CREATE_RESTORE_IDS for exact ones; before,
 * timers are made and deleted until the wanted id comes (CRIU's old way too).
 */
static int create_timer(struct restore *s, const struct image_timer *t, struct err *e)
{
	struct sigevent ev = { .sigev_notify = (int)t->notify, .sigev_signo = (int)t->signo,
			       .sigev_value.sival_ptr = (void *)(uintptr_t)t->sigvalue };
	int32_t id = (int32_t)t->id;
	int64_t exact = -1;
	uint64_t ev_at, id_at;
	int rc;

	if (t->notify & SIGEV_THREAD_ID)
		ev._sigev_un._tid = (pid_t)t->tid;
	rc = remote_call(&s->r, &exact, e, NULL, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 1);
	for (int tries = 0; !rc && tries <= 100000; tries++) {
		ev_at = remote_put(&s->r, &ev, sizeof(ev));
		id_at = remote_put(&s->r, &id, sizeof(id));
		rc = remote_call(&s->r, NULL, e, "make a timer", SYS_timer_create, (uint64_t)t->clock, ev_at, id_at);
		if (!rc)
			rc = remote_read(&s->r, id_at, &id, sizeof(id));
		if (rc || id == t->id)
			break;
		rc = remote_call(&s->r, NULL, e, "delete a timer", SYS_timer_delete, (uint64_t)id);
		if (id > t->id)
			rc = err_say(e, -EBUSY, "timer %d can't be made again under its number", (int)t->id);
	}
	if (!exact && remote_call(&s->r, NULL, NULL, NULL, SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS, 0))
		return -EIO;
	return rc;
}

int restore_timers(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_timers && !rc; i++) {
		const struct image_timer *t = &s->img->timers[i];
		struct itimerspec v = {
			.it_value = { t->value_ns / NS_PER_S, t->value_ns % NS_PER_S },
			.it_interval = { t->interval_ns / NS_PER_S, t->interval_ns % NS_PER_S },
		};
		uint64_t at;

		rc = create_timer(s, t, e);
		at = remote_put(&s->r, &v, sizeof(v));
		if (!rc)
			rc = remote_call(&s->r, NULL, e, "start a timer", SYS_timer_settime, (uint64_t)t->id, 0, at);
	}
	for (size_t i = 0; i < s->img->n_itimers && !rc; i++) {
		const struct image_itimer *t = &s->img->itimers[i];
		struct itimerval v = {
			.it_value = { t->value_us / 1000000, t->value_us % 1000000 },
			.it_interval = { t->interval_us / 1000000, t->interval_us % 1000000 },
		};
		uint64_t at = remote_put(&s->r, &v, sizeof(v));

		rc = remote_do(&s->r, e, "start an interval timer", SYS_setitimer, (uint64_t)t->which, at);
	}
	return rc ? rc : remote_run(&s->r, e);
}

/* ---- signals that waited ------------------------------------------------------------------------------ */

static int queue(struct restore *s, const struct image_siginfo *list, size_t n, pid_t tid, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < n && !rc; i++) {
		siginfo_t info = { 0 };
		uint64_t at;

		memcpy(&info, list[i].info.p, MIN(list[i].info.len, sizeof(info)));
		at = remote_put(&s->r, &info, sizeof(info));
		if (!at) {
			rc = remote_run(&s->r, e);
			at = remote_put(&s->r, &info, sizeof(info));
		}
		/* to oneself every siginfo may be sent as it was */
		if (!rc && tid)
			rc = remote_do(&s->r, e, "queue a signal", SYS_rt_tgsigqueueinfo, (uint64_t)s->pid,
				       (uint64_t)tid, (uint64_t)info.si_signo, at);
		else if (!rc)
			rc = remote_do(&s->r, e, "queue a signal", SYS_rt_sigqueueinfo, (uint64_t)s->pid,
				       (uint64_t)info.si_signo, at);
	}
	return rc ? rc : remote_run(&s->r, e);
}

int restore_pending(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_threads && !rc; i++) {
		const struct image_thread *t = &s->img->threads[i];

		if (!t->n_pending)
			continue;
		s->r.tid = (pid_t)t->tid;
		rc = queue(s, t->pending, t->n_pending, (pid_t)t->tid, e);
	}
	s->r.tid = s->pid;
	return rc ? rc : queue(s, s->img->pending, s->img->n_pending, 0, e);
}

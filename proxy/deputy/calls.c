/* SPDX-License-Identifier: MIT */
/*
 * calls.c - Remote calls: what the program would have done here, done by its deputy
 *
 * A call is a row of calls.def with its arguments.  It is executed in the deputy's own context: its
 * pid, group, session, terminal, ids and umask are the program's.  What the kernel says, value,
 * errno and bytes, is the RESULT.
 *
 *	calls_take: tried --done--> RESULT
 *		       \--would wait--> WAITING --poll(2) or a timer: tried again--> RESULT
 *						\--calls_cancel--> RESULT -ERESTARTSYS, or what was done so far
 *
 * The deputy never waits inside a call: others' calls, and signals, must not wait for it.
 *
 * Job control (SIGTTIN, SIGTTOU) is the kernel's own work here.  It asks whether the caller blocks
 * or ignores these signals: the deputy blocks them exactly when the program does, for the time of the
 * call.  Otherwise they are sent to the whole process group, of which we are a member: a handler
 * notes it, the program hears of it as of any signal, and makes the call again when it is continued.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/call.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/deputy/deputy.h"

#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif
#define MOST_OUT 65536		/* bytes that one call brings back */
#define MOST_PENDING 4096	/* calls that wait; then -EAGAIN */
#define RETRY_MS 50		/* for what poll(2) can't tell: output that drains */
#define NO_HANDLE UINT32_MAX	/* in polled[]: a helper's socket */
#define GUARD_US 20000		/* how long a call may block where it can't be asked not to */

struct pending {
	uint64_t id, a[6], blocked;
	const struct call *row;
	uint8_t *in;
	uint32_t in_len;
	size_t done;		/* of a write */
	pid_t helper;		/* opens a FIFO, and waits; 0 */
	int from_helper;
	short events;		/* poll(2) for these, 0: try again after RETRY_MS */
};

struct watch {
	uint32_t handle, events;
};

struct calls {
	struct deputy *d;
	struct pending *list;
	size_t n;
	struct watch *watches;
	size_t n_watches;
	/* what the last calls_poll() asked for, row by row */
	uint32_t polled[64];	/* handle */
	int n_polled;
	bool retry;
	uint8_t out[MOST_OUT], buf[WIRE_LOCAL_MAX];
};

struct calls *calls_new(struct deputy *d)
{
	struct calls *c = calloc(1, sizeof(*c));

	if (c)
		c->d = d;
	return c;
}

static void tell_result(struct calls *c, uint64_t id, int64_t value, size_t out)
{
	struct wire_result m = { .id = id, .pid = (uint32_t)getpid(), .value = value,
				 .out = { c->out, (uint32_t)out } };

	/* what the call did to us comes first */
	deputy_drain_signals(c->d);
	if (deputy_tell(c->d, WIRE_RESULT, c->buf, wire_put_result(c->buf, sizeof(c->buf), &m), -1))
		return;
}

/* ---- job control, and calls that can't be told not to wait ------------------------------------- */

static siginfo_t job_signal;
static volatile sig_atomic_t guard_rang;

static void on_job_signal(int sig UNUSED, siginfo_t *info, void *context UNUSED)
{
	job_signal = *info;
}

static void on_guard(int sig UNUSED)
{
	guard_rang = 1;
}

static void handle(int sig, void (*with)(int, siginfo_t *, void *), void (*plain)(int), bool on, sigset_t *set)
{
	struct sigaction sa = { .sa_flags = with ? SA_SIGINFO : 0 };

	if (with && on)
		sa.sa_sigaction = with;
	else
		sa.sa_handler = on ? plain : SIG_DFL;
	sigaction(sig, &sa, NULL);
	sigaddset(set, sig);
}

/**
 * guarded() - One system call under job control
 * @guard:	End it after GUARD_US if it waits
 *
 * Return: its result; -ERESTARTSYS when a job control signal was raised instead; -EAGAIN when it
 * would wait
 */
static int64_t guarded(struct calls *c, uint64_t blocked, bool guard, long nr, const uint64_t a[6])
{
	static const int jobs[] = { SIGTTIN, SIGTTOU };
	struct itimerval t = { .it_value.tv_usec = GUARD_US }, off = { 0 };
	sigset_t open, closed;
	long rc;

	sigemptyset(&open);
	job_signal.si_signo = 0;
	guard_rang = 0;
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		if (!(blocked & (1ULL << (jobs[i] - 1))))
			handle(jobs[i], on_job_signal, NULL, true, &open);
	if (guard) {
		handle(SIGALRM, NULL, on_guard, true, &open);
		setitimer(ITIMER_REAL, &t, NULL);
	}
	sigprocmask(SIG_UNBLOCK, &open, &closed);
	rc = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	rc = rc < 0 ? -errno : rc;
	sigprocmask(SIG_SETMASK, &closed, NULL);
	if (guard)
		setitimer(ITIMER_REAL, &off, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++)
		signal(jobs[i], SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	if (job_signal.si_signo)
		deputy_signalled(c->d, &job_signal);
	if (rc == -EINTR)
		rc = job_signal.si_signo ? -ERESTARTSYS : -EAGAIN;
	return rc;
}

/* ---- bytes: read and write -------------------------------------------------------------------------- */

static short ready_now(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/* A descriptor that never makes us wait, or *@guard */
static int working_fd(struct handle *h, bool *guard)
{
	struct stat st;
	int fd;

	if (h->own == -1 && !fstat(h->fds[0], &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(5, 2))
		h->own = -2;	/* opening a pty's master once more makes another pty */
	fd = handle_own(h);
	*guard = fd < 0;
	return fd < 0 ? h->fds[0] : fd;
}

/* Return: true and *@value, or false: it would wait */
static bool try_read(struct calls *c, struct pending *p, struct handle *h, int64_t *value, size_t *out)
{
	uint64_t a[6] = { 0, (uint64_t)(uintptr_t)c->out, MIN(p->a[1], (uint64_t)MOST_OUT - 1024) };
	bool guard;

	a[0] = (uint64_t)working_fd(h, &guard);
	*value = guarded(c, p->blocked, guard, SYS_read, a);
	*out = *value > 0 ? (size_t)*value : 0;
	p->events = POLLIN;
	return *value != -EAGAIN || p->a[2] & O_NONBLOCK;
}

/* All of it, as a blocking write does; cancelled, it says how much */
static bool try_write(struct calls *c, struct pending *p, struct handle *h, int64_t *value)
{
	bool guard;
	int fd = working_fd(h, &guard);

	do {
		uint64_t a[6] = { (uint64_t)fd, (uint64_t)(uintptr_t)p->in + p->done, p->in_len - p->done };

		if (guard && p->in_len && !ready_now(fd, POLLOUT)) {
			*value = -EAGAIN;
			break;
		}
		*value = guarded(c, p->blocked, guard, SYS_write, a);
		if (*value > 0)
			p->done += (size_t)*value;
	} while (*value > 0 && p->done < p->in_len);
	p->events = POLLOUT;
	if (*value == -EAGAIN && !(p->a[2] & O_NONBLOCK))
		return false;
	if (p->done)
		*value = (int64_t)p->done;
	return true;
}

/* ---- open: terminals, devices, FIFOs -------------------------------------------------------------------- */

/*
 * What no file server can open: those have positions, and don't wait.  @waits: until somebody opens the other end
 * Return: O_PATH, so that what is opened is what was looked at, or a negative errno
 */
static int look_at_special(const char *path, int flags, bool *waits)
{
	AUTO_FD int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	*waits = S_ISFIFO(st.st_mode) && !(flags & O_NONBLOCK) && (flags & O_ACCMODE) != O_RDWR;
	return S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISBLK(st.st_mode) ? take_fd(&fd) : -EACCES;
}

static int open_again(int path, int flags)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", path);
	fd = open(name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A child waits in open(2), and sends what it got.  It is nobody's who would wait for it: no SIGCHLD (deputy_fork) */
static int start_helper(struct pending *p, int path)
{
	int sv[2], rc = sock_pair(sv, NULL);

	if (rc)
		return rc;
	p->helper = (pid_t)syscall(SYS_clone, (unsigned long)CLONE_UNTRACED, NULL, NULL, NULL, 0UL);
	if (!p->helper) {
		int fd, code;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fd = open_again(path, (int)p->a[1]);
		code = fd < 0 ? fd : 0;
		_exit(sock_send(sv[1], &code, sizeof(code), &fd, fd >= 0, NO_DEADLINE) != 0);
	}
	close(sv[1]);
	if (p->helper < 0) {
		p->helper = 0;
		close(sv[0]);
		return -EAGAIN;
	}
	p->from_helper = deputy_above_standard(sv[0]);
	return 0;
}

static void end_helper(struct pending *p)
{
	if (!p->helper)
		return;
	close(p->from_helper);
	kill(p->helper, SIGKILL);
	waitpid(p->helper, NULL, __WALL);
	p->helper = 0;
}

static int64_t keep_handle(struct calls *c, const struct pending *p, int fd)
{
	int rc;

	fd = deputy_above_standard(fd);
	rc = fcntl(fd, F_SETFL, (int)p->a[1] & ~O_NONBLOCK);
	rc = rc < 0 ? -errno : handle_add(deputy_handles(c->d), (uint32_t)p->a[2], fd);
	if (rc)
		close(fd);
	return rc;
}

/* Return: as try() */
static bool try_open(struct calls *c, struct pending *p, int64_t *value)
{
	int flags = (int)p->a[1], fd = -1, nfds = 1, code = -EIO;
	AUTO_FD int path = -1;
	bool waits = false;
	ssize_t n;

	if (p->helper) {
		n = sock_recv(p->from_helper, &code, sizeof(code), &fd, &nfds, 0);
		if (n == -EAGAIN)
			return false;
		end_helper(p);
		*value = n != sizeof(code) ? -EIO : code ? code : nfds != 1 ? -EIO : keep_handle(c, p, fd);
		return true;
	}
	*value = -EINVAL;
	if (!p->in_len || p->in[p->in_len - 1])
		return true;
	path = look_at_special((const char *)p->in, flags, &waits);
	*value = path < 0 ? path : waits ? start_helper(p, path) : open_again(path, flags | O_NONBLOCK);
	if (*value >= 0 && !waits)
		*value = keep_handle(c, p, (int)*value);
	return !waits || *value < 0;
}

/* ---- everything else: by the row ----------------------------------------------------------------------- */

/* Does this ioctl wait until all output is sent? */
static bool drains(uint64_t request, uint64_t arg)
{
	return request == TCSETSW || request == TCSETSF || request == TCSETSW2 || request == TCSETSF2 ||
	       request == TCSETAW || request == TCSETAF || (request == TCSBRK && arg);
}

/* The argument that points somewhere: our copy of what is there */
static int place(struct calls *c, struct pending *p, char kind, uint64_t *arg, size_t *out)
{
	const struct call_ioctl *io;
	size_t need = CALL_SIGINFO_LEN;

	switch (kind) {
	case 'i':
		io = call_ioctl((uint32_t)p->a[1]);
		if (!io)
			return -ENOTTY;
		if (io->io == CALL_IO_VALUE)
			return 0;
		if (io->io == CALL_IO_GET) {
			*out = io->len;
			memset(c->out, 0, io->len);
			*arg = (uint64_t)(uintptr_t)c->out;
			return 0;
		}
		need = io->len;
		break;
	case 't':
		*out = sizeof(struct stat);
		*arg = (uint64_t)(uintptr_t)c->out;
		return 0;
	case 's':
		break;
	default:
		return 0;
	}
	if (p->in_len != need)
		return -EINVAL;
	*arg = (uint64_t)(uintptr_t)p->in;
	return 0;
}

static bool try_row(struct calls *c, struct pending *p, int64_t *value, size_t *out)
{
	struct handles *handles = deputy_handles(c->d);
	bool guard = p->row->id == CALL_ID_ioctl && drains(p->a[1], p->a[2]);
	uint64_t a[6];

	memcpy(a, p->a, sizeof(a));
	for (int i = 0; p->row->kinds[i]; i++) {
		char kind = p->row->kinds[i];
		struct handle *h;
		int rc;

		if (kind == 'h') {
			h = handle_find(handles, (uint32_t)a[i]);
			if (!h) {
				*value = -EBADF;
				return true;
			}
			a[i] = (uint64_t)h->fds[0];
			continue;
		}
		rc = place(c, p, kind, &a[i], out);
		if (rc) {
			*value = rc;
			return true;
		}
	}
	*value = guarded(c, p->blocked, guard, p->row->nr, a);
	if (*value < 0)
		*out = 0;
	p->events = 0;
	return !guard || *value != -EAGAIN;
}

/* Return: whether the call is over and its result told */
static bool try(struct calls *c, struct pending *p)
{
	struct handle *h;
	int64_t value = -ENOSYS;
	size_t out = 0;
	bool over = true;

	switch (p->row->id) {
	case CALL_ID_read:
	case CALL_ID_write:
		h = handle_find(deputy_handles(c->d), (uint32_t)p->a[0]);
		if (!h)
			value = -EIO;
		else if (p->row->id == CALL_ID_read)
			over = try_read(c, p, h, &value, &out);
		else
			over = try_write(c, p, h, &value);
		break;
	case CALL_ID_poll:
		h = handle_find(deputy_handles(c->d), (uint32_t)p->a[0]);
		value = h ? ready_now(h->fds[0], (short)p->a[1]) : POLLERR | POLLHUP;
		break;
	case CALL_ID_open:
		over = try_open(c, p, &value);
		break;
	default:
		over = try_row(c, p, &value, &out);
	}
	if (over)
		tell_result(c, p->id, value, out);
	return over;
}

static void forget(struct calls *c, size_t i)
{
	end_helper(&c->list[i]);
	free(c->list[i].in);
	c->list[i] = c->list[--c->n];
}

/* Who asks is the program, or whoever has it now: what would change ourselves isn't for them */
static bool is_served(const struct pending *p)
{
	if (!p->row || (p->row->act != CALL_ACT_SHIP && p->row->act != CALL_ACT_BOTH))
		return false;
	return p->row->id != CALL_ID_prctl || p->a[0] == PR_SET_CHILD_SUBREAPER;
}

/* In the child everything is another's: it doesn't come back to the list */
static bool fork_here(struct calls *c, uint64_t id)
{
	pid_t pid = deputy_fork(c->d);

	if (pid)
		tell_result(c, id, pid, 0);
	return true;
}

/* The hub holds it before anybody hears of it */
static void make_segment(struct calls *c, const struct wire_call *m)
{
	int64_t value = segments_make((key_t)m->a0, m->a1, (int)m->a2);
	uint32_t id = (uint32_t)value;
	struct wire_hub_segments hold = { .what = 1, .ids = { &id, sizeof(id) } };

	if (value >= 0 && deputy_tell(c->d, WIRE_HUB_SEGMENTS, c->buf,
				      wire_put_hub_segments(c->buf, sizeof(c->buf), &hold), -1))
		return;
	tell_result(c, m->id, value, 0);
}

void calls_take(struct calls *c, const struct wire_call *m)
{
	struct pending p = { .id = m->id, .blocked = m->blocked, .row = call_by_id(m->row),
			     .a = { m->a0, m->a1, m->a2, m->a3, m->a4, m->a5 }, .in_len = m->in.len };
	struct pending *more;

	if (p.row && p.row->act == CALL_ACT_FORK && fork_here(c, m->id))
		return;
	if (p.row && p.row->act == CALL_ACT_MAKE) {
		make_segment(c, m);
		return;
	}
	if (!is_served(&p)) {
		tell_result(c, m->id, -ENOSYS, 0);
		return;
	}
	more = c->n < MOST_PENDING ? realloc(c->list, (c->n + 1) * sizeof(*more)) : NULL;
	p.in = malloc(m->in.len + 1);
	if (more)
		c->list = more;
	if (!more || !p.in) {
		free(p.in);
		tell_result(c, m->id, -EAGAIN, 0);
		return;
	}
	memcpy(p.in, m->in.p, m->in.len);
	c->list[c->n++] = p;
	if (try(c, &c->list[c->n - 1]))
		forget(c, c->n - 1);
}

void calls_cancel(struct calls *c, uint64_t id)
{
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].id != id)
			continue;
		tell_result(c, id, c->list[i].done ? (int64_t)c->list[i].done : -ERESTARTSYS, 0);
		forget(c, i);
		return;
	}
}

void calls_forget(struct calls *c)
{
	while (c->n) {
		if (c->list[c->n - 1].helper)
			close(c->list[c->n - 1].from_helper);
		c->list[c->n - 1].helper = 0;
		forget(c, c->n - 1);
	}
	c->n_watches = 0;
	c->n_polled = 0;
	c->retry = false;
}

/* ---- readiness ------------------------------------------------------------------------------------------ */

void calls_watch(struct calls *c, uint32_t handle, uint32_t events)
{
	struct watch *more;

	for (size_t i = 0; i < c->n_watches; i++)
		if (c->watches[i].handle == handle) {
			c->watches[i].events |= events;
			return;
		}
	more = realloc(c->watches, (c->n_watches + 1) * sizeof(*more));
	if (!more)
		return;
	c->watches = more;
	more[c->n_watches++] = (struct watch){ handle, events };
}

static void tell_ready(struct calls *c, uint32_t handle, uint32_t events)
{
	struct wire_is_ready m = { .handle = handle, .events = events };

	if (deputy_tell(c->d, WIRE_IS_READY, c->buf, wire_put_is_ready(c->buf, sizeof(c->buf), &m), -1))
		return;
}

/* Who waits for a handle that is no more hears so */
void calls_handle_gone(struct calls *c, uint32_t handle)
{
	for (size_t i = c->n; i-- > 0;)
		if (c->list[i].row->kinds[0] == 'h' && c->list[i].a[0] == handle) {
			tell_result(c, c->list[i].id, -EIO, 0);
			forget(c, i);
		}
	for (size_t i = c->n_watches; i-- > 0;)
		if (c->watches[i].handle == handle)
			c->watches[i] = c->watches[--c->n_watches];
}

static void want(struct calls *c, struct pollfd *p, int most, uint32_t handle, short events)
{
	struct handle *h = handle_find(deputy_handles(c->d), handle);
	int i;

	for (i = 0; i < c->n_polled && c->polled[i] != handle; i++)
		;
	if (!h || i == most || i == (int)ARRAY_SIZE(c->polled))
		return;		/* the next turn has room */
	if (i == c->n_polled) {
		c->polled[c->n_polled++] = handle;
		p[i] = (struct pollfd){ .fd = h->fds[0] };
	}
	p[i].events |= events;
}

static void want_helper(struct calls *c, struct pollfd *p, int most, const struct pending *one)
{
	int i = c->n_polled;

	if (i == most || i == (int)ARRAY_SIZE(c->polled))
		return;
	c->polled[c->n_polled++] = NO_HANDLE;
	p[i] = (struct pollfd){ .fd = one->from_helper, .events = POLLIN };
}

int calls_poll(struct calls *c, struct pollfd *p, int most, int *timeout_ms)
{
	c->n_polled = 0;
	c->retry = false;
	for (size_t i = 0; i < c->n; i++) {
		if (c->list[i].helper)
			want_helper(c, p, most, &c->list[i]);
		else if (c->list[i].events)
			want(c, p, most, (uint32_t)c->list[i].a[0], c->list[i].events);
		else
			c->retry = true;
	}
	for (size_t i = 0; i < c->n_watches; i++)
		want(c, p, most, c->watches[i].handle, (short)c->watches[i].events);
	if (c->retry)
		*timeout_ms = RETRY_MS;
	return c->n_polled;
}

void calls_ready(struct calls *c, const struct pollfd *p, int n)
{
	for (size_t i = c->n; i-- > 0;) {
		bool helped = c->list[i].helper, due = !c->list[i].events && !helped;

		for (int k = 0; k < n && k < c->n_polled && !due; k++)
			due = p[k].revents && (helped ? p[k].fd == c->list[i].from_helper
						      : c->polled[k] == (uint32_t)c->list[i].a[0]);
		if (due && try(c, &c->list[i]))
			forget(c, i);
	}
	for (size_t i = c->n_watches; i-- > 0;)
		for (int k = 0; k < n && k < c->n_polled; k++) {
			uint32_t got = (uint32_t)p[k].revents & (c->watches[i].events | POLLERR | POLLHUP);

			if (c->polled[k] != c->watches[i].handle || !got)
				continue;
			tell_ready(c, c->watches[i].handle, got);
			c->watches[i] = c->watches[--c->n_watches];
			break;
		}
}

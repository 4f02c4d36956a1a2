/* SPDX-License-Identifier: MIT */
/*
 * deputy.c - What a moved process becomes at its origin
 *
 * The original process execs into this small static program and keeps its pid, parent, session,
 * terminal, cwd, limits and descriptors.  It takes every signal in the program's place and tells the
 * hub, executes remote calls (calls.c), stops and continues when the program does, and ends as the
 * program ends.
 *
 *	RUNNING --STOPPED: stop_as--> stopped by the same signal --SIGCONT, told--> RUNNING
 *	RUNNING --EXITED: suffer_end--> ended in the same way
 *	RUNNING --DEPUTY_ENDED: on_ended--> as good as ended --REAPED, or the hub is gone--> ended
 *	any --DEPUTY_LOST, or the hub is gone--> killed by SIGKILL: the program is lost
 *
 * A fork of the program is a fork here first (deputy_fork): the child is the deputy of the child.
 *
 * All signals stay blocked and come by signalfd.  What the hub doesn't take stays pending in the
 * kernel, which merges standard signals into one of each and queues real-time ones up to
 * RLIMIT_SIGPENDING, as it would for the program.
 *
 * Start: MDEPUTY_FDS="SETUP,HUB" in the environment; SETUP is a memfd with the bytes of
 * wire_put_deputy_start().  The argument vector is the program's own, so that it is looked at
 * only when MDEPUTY_FDS isn't there.  Descriptors 0 to 2 are the program's: nothing is printed.
 */
#include "proxy/deputy/deputy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/suffer.h"

#define TURN 64			/* messages of the hub's before anything else is looked at */
#define DYING_MS 20		/* how long a deputy that was told to end may take until we do something else */

struct deputy {
	int hub, signals;
	int parent;			/* pidfd, -1 once it is gone */
	pid_t ppid;
	struct handles handles;
	struct calls *calls;
	pid_t self;			/* what the program knows as its own number: ours, unless it came from a file */
	pid_t holder;			/* of our memory before the exec, until it has ended; 0 */
	bool unreaped;			/* children changed, and the hub didn't take it */
	pid_t *told;			/* children that have ended, which the keeper knows; they aren't waited for */
	size_t n_told;
	pid_t *dying;			/* deputies of children that were waited for, and are still there */
	size_t n_dying;
	uint8_t in[WIRE_LOCAL_MAX], out[WIRE_LOCAL_MAX];
};

struct handles *deputy_handles(struct deputy *d)
{
	return &d->handles;
}

/* ---- to the hub ---------------------------------------------------------------------------- */

/* Without the hub there is no program */
static void NORETURN lost(void)
{
	kill(getpid(), SIGKILL);
	_exit(128 + SIGKILL);
}

/* @payload is of wire_put_*, @len its answer; @fd: goes along, or -1.  It waits for room */
int deputy_tell(struct deputy *d, unsigned type, const void *payload, ssize_t len, int fd)
{
	ssize_t n = len < 0 ? len : wire_pack(d->out, sizeof(d->out), type, 0, payload, (size_t)len);
	int rc = n < 0 ? (int)n : sock_send(d->hub, d->out, (size_t)n, &fd, fd >= 0, NO_DEADLINE);

	if (rc == -EPIPE || rc == -ECONNRESET)
		lost();
	return rc;
}

static bool hub_has_room(const struct deputy *d)
{
	struct pollfd p = { .fd = d->hub, .events = POLLOUT };

	return poll(&p, 1, 0) == 1 && p.revents & POLLOUT;
}

/* ---- ending and stopping as the program does ------------------------------------------------ */

static void tell_signal(struct deputy *d, struct wire_signal *m)
{
	uint8_t buf[64];

	m->to = (uint32_t)d->self;
	/* Without memory a signal is lost, as it would be in the kernel */
	if (deputy_tell(d, WIRE_SIGNAL, buf, wire_put_signal(buf, sizeof(buf), m), -1))
		return;
}

/**
 * stop_as() - The program was stopped by a signal: so are we, for our parent to see
 *
 * Returns when continued; that SIGCONT is pending then, and told as any signal.  If it isn't we
 * were never stopped: the kernel discards ^Z and its like in an orphaned process group.  It
 * would have discarded it for the program as well, so the program goes on.
 */
static void stop_as(struct deputy *d, int signo)
{
	struct wire_signal cont = { .signo = SIGCONT, .code = SI_KERNEL };
	sigset_t pending;

	if (signo != SIGSTOP && signo != SIGTSTP && signo != SIGTTIN && signo != SIGTTOU)
		return;
	suffer(signo);
	if (!sigpending(&pending) && !sigismember(&pending, SIGCONT))
		tell_signal(d, &cont);
}

/* ---- signals and kin ------------------------------------------------------------------------- */

static void tell_kin(struct deputy *d, pid_t kin, uint32_t status)
{
	struct wire_kin m = { .pid = (uint32_t)d->self, .kin = (uint32_t)kin, .status = status };
	uint8_t buf[32];

	if (deputy_tell(d, WIRE_KIN, buf, wire_put_kin(buf, sizeof(buf), &m), -1))
		return;
}

static bool was_told(const struct deputy *d, pid_t pid)
{
	for (size_t i = 0; i < d->n_told; i++)
		if (d->told[i] == pid)
			return true;
	return false;
}

static bool note_told(struct deputy *d, pid_t pid)
{
	pid_t *more = realloc(d->told, (d->n_told + 1) * sizeof(*more));

	if (!more)
		return false;
	d->told = more;
	more[d->n_told++] = pid;
	return true;
}

/* As wait(2) gives it */
static uint32_t status_of(const siginfo_t *si)
{
	uint32_t status = (uint32_t)si->si_status;

	switch (si->si_code) {
	case CLD_EXITED:
		return (status & 0xff) << 8;
	case CLD_KILLED:
		return status;
	case CLD_DUMPED:
		return status | 0x80;
	case CLD_CONTINUED:
		return 0xffff;
	default:
		return status << 8 | 0x7f;
	}
}

/* Has this child ended?  Deputies, without SIGCHLD, aren't found by waitid(2) without __WALL.  false: no room to tell */
static bool tell_end(struct deputy *d, pid_t pid)
{
	siginfo_t si = { 0 };

	if (pid == d->holder || was_told(d, pid) || waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT | WNOHANG) ||
	    !si.si_pid)
		return true;
	if (!hub_has_room(d) || !note_told(d, pid))
		return false;
	tell_kin(d, pid, status_of(&si));
	return true;
}

/* false: not all of them, there is no room */
static bool tell_ends(struct deputy *d)
{
	char text[4096];
	size_t kept = 0;
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	bool all = fd >= 0;
	ssize_t n;

	while (all && (n = read(fd, text + kept, sizeof(text) - 1 - kept)) > 0) {
		char *at = text, *space;

		text[kept + (size_t)n] = 0;
		for (; all && (space = strchr(at, ' ')); at = space + 1)
			all = tell_end(d, (pid_t)atoi(at));
		kept = strlen(at);
		memmove(text, at, kept);
	}
	if (fd >= 0)
		close(fd);
	return all;
}

/**
 * reap() - Children that stayed and have ended, stopped or continued; and deputies that were stopped
 *
 * Nobody is waited for before the program has waited (on_reaped): the number isn't free before, a
 * process group may need it, and the program may come home first.
 *
 * The holder, cloned before our exec, and the deputies of children have no SIGCHLD for their exit
 * signal, so that only __WCLONE finds them.
 */
static void reap(struct deputy *d)
{
	siginfo_t si = { 0 };

	if (d->holder > 0 && waitpid(d->holder, NULL, WNOHANG | __WALL) == d->holder)
		d->holder = 0;
	while (hub_has_room(d) && !waitid(P_ALL, 0, &si, WSTOPPED | WNOHANG | __WCLONE) && si.si_pid) {
		tell_kin(d, si.si_pid, status_of(&si));
		si.si_pid = 0;
	}
	while (hub_has_room(d) && !waitid(P_ALL, 0, &si, WSTOPPED | WCONTINUED | WNOHANG) && si.si_pid) {
		tell_kin(d, si.si_pid, status_of(&si));
		si.si_pid = 0;
	}
	d->unreaped = !hub_has_room(d) || !tell_ends(d);
}

/* Those that took longer to die: a stopped one first has to be continued */
static void reap_dying(struct deputy *d)
{
	for (size_t i = d->n_dying; i-- > 0;)
		if (waitpid(d->dying[i], NULL, WNOHANG | __WALL))
			d->dying[i] = d->dying[--d->n_dying];
}

static void parent_gone(struct deputy *d)
{
	pid_t was = d->ppid;

	drop_fd(&d->parent);
	d->ppid = getppid();
	tell_kin(d, was, KIN_GONE);
}

static void take_signal(struct deputy *d, const struct signalfd_siginfo *si)
{
	struct wire_signal m = {
		.signo = si->ssi_signo,
		.code = si->ssi_code,
		.pid = si->ssi_pid,
		.uid = si->ssi_uid,
		.value = si->ssi_ptr,
	};

	if (si->ssi_signo == SIGCHLD) {
		reap(d);
		if (si->ssi_code > 0)	/* CLD_*: the stand-in's own changes tell the program */
			return;
	}
	tell_signal(d, &m);
}

static void take_signals(struct deputy *d)
{
	struct signalfd_siginfo si;

	if (d->unreaped)
		reap(d);
	while (hub_has_room(d) && read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		take_signal(d, &si);
}

void deputy_signalled(struct deputy *d, const siginfo_t *info)
{
	struct wire_signal m = { .signo = (uint32_t)info->si_signo, .code = info->si_code,
				 .pid = (uint32_t)info->si_pid, .uid = info->si_uid };

	tell_signal(d, &m);
}

void deputy_drain_signals(struct deputy *d)
{
	take_signals(d);
}

/* ---- forks ------------------------------------------------------------------------------------- */

/* The child is somebody else: nothing that waits is its own */
static void become_child(struct deputy *d, int hub)
{
	close(d->hub);
	d->hub = hub;
	drop_fd(&d->parent);
	d->ppid = getppid();
	d->unreaped = false;
	d->self = getpid();
	d->holder = 0;
	d->n_told = d->n_dying = 0;
	calls_forget(d->calls);
}

/**
 * deputy_fork() - The program forks: so does its deputy
 *
 * The hub hears of the child, with its socket, before our caller can tell the result.
 *
 * Return: in the parent the child's pid or a negative errno; in the child 0
 */
pid_t deputy_fork(struct deputy *d)
{
	struct wire_deputy_up m;
	uint8_t buf[16];
	int sv[2], rc = sock_pair(sv, NULL);
	pid_t pid;

	if (rc)
		return rc;
	/* a fork without SIGCHLD, and not one for the session, which traces us, to stop */
	pid = (pid_t)syscall(SYS_clone, (unsigned long)CLONE_UNTRACED, NULL, NULL, NULL, 0UL);
	if (!pid) {
		close(sv[0]);
		become_child(d, deputy_above_standard(sv[1]));
		return 0;
	}
	rc = -errno;
	close(sv[1]);
	if (pid > 0) {
		m.pid = (uint32_t)pid;
		rc = deputy_tell(d, WIRE_HUB_JOIN, buf, wire_put_deputy_up(buf, sizeof(buf), &m), sv[0]);
	}
	close(sv[0]);
	return pid < 0 || rc ? rc : pid;
}

/* ---- what the hub says -------------------------------------------------------------------------- */

static void on_stopped(struct deputy *d, const void *p, size_t len)
{
	struct wire_stopped m;

	if (!wire_get_stopped(p, len, &m))
		stop_as(d, (int)m.signo);
}

static void on_exited(struct deputy *d UNUSED, const void *p, size_t len)
{
	struct wire_exited m;

	if (!wire_get_exited(p, len, &m))
		suffer_end((int)m.status);
}

static void on_has(struct deputy *d, const void *p UNUSED, size_t len UNUSED)
{
	struct wire_deputy_has m = { .pid = (uint32_t)getpid() };
	AUTO_FREE uint8_t *list = malloc(d->handles.n * 8 + 1), *buf = malloc(d->handles.n * 8 + 64);
	struct bytes b = bytes_of(list, list ? d->handles.n * 8 : 0);

	for (size_t i = 0; i < d->handles.n; i++) {
		bytes_put_le(&b, d->handles.list[i].id, 4);
		bytes_put_le(&b, (uint64_t)d->handles.list[i].fds[0], 4);
	}
	m.handles = (wire_blob){ list, (uint32_t)(d->handles.n * 8) };
	if (list && buf && deputy_tell(d, WIRE_DEPUTY_HAS, buf, wire_put_deputy_has(buf, d->handles.n * 8 + 64, &m), -1))
		return;
}

/* Nobody is left to say when our parent may see it: it may now.  As by a fork with SIGCHLD, see execve(2) */
static void NORETURN end_visibly(int status)
{
	char text[32];
	char *argv[] = { (char *)"mdeputy", NULL }, *envp[] = { text, NULL };

	snprintf(text, sizeof(text), "MDEPUTY_ENDS=%d", status);
	execve("/proc/self/exe", argv, envp);
	suffer_end(status);
}

/**
 * on_ended() - The process has ended, and its parent, whose deputy is ours, hasn't waited for it
 *
 * A zombie of ours would have to do until then.  But we were forked without SIGCHLD, and our parent
 * may come home before it waits: then, when the hub goes, it must find a child that it can wait for.
 */
static void on_ended(struct deputy *d, const void *p, size_t len)
{
	struct wire_deputy_ended m;
	struct wire_reaped reaped;
	struct wire_head h;
	ssize_t n;

	if (wire_get_deputy_ended(p, len, &m))
		return;
	if (d->hub > 0)
		close_range(0, (unsigned)d->hub - 1, 0);
	close_range((unsigned)d->hub + 1, ~0U, 0);
	d->handles.n = 0;
	for (;;) {
		n = sock_recv(d->hub, d->in, sizeof(d->in), NULL, NULL, NO_DEADLINE);
		if (n <= 0)
			end_visibly((int)m.status);
		if (wire_unpack(d->in, (size_t)n, &h, &p))
			continue;
		if (h.type == WIRE_DEPUTY_HAS)
			on_has(d, p, h.length);
		if (h.type == WIRE_DEPUTY_LOST ||
		    (h.type == WIRE_REAPED && !wire_get_reaped(p, h.length, &reaped) && reaped.pid == (uint32_t)getpid()))
			suffer_end((int)m.status);
	}
}

static void on_lost(struct deputy *d UNUSED, const void *p UNUSED, size_t len UNUSED)
{
	lost();
}

static void on_call(struct deputy *d, const void *p, size_t len)
{
	struct wire_call m;

	if (!wire_get_call(p, len, &m))
		calls_take(d->calls, &m);
}

static void on_cancel(struct deputy *d, const void *p, size_t len)
{
	struct wire_cancel m;

	if (!wire_get_cancel(p, len, &m))
		calls_cancel(d->calls, m.id);
}

static void on_watch(struct deputy *d, const void *p, size_t len)
{
	struct wire_watch m;

	if (!wire_get_watch(p, len, &m))
		calls_watch(d->calls, m.handle, m.events);
}

static void on_drop(struct deputy *d, const void *p, size_t len)
{
	struct wire_drop m;

	if (wire_get_drop(p, len, &m))
		return;
	calls_handle_gone(d->calls, m.handle);
	handle_drop(&d->handles, m.handle);
}

/**
 * on_reaped() - The program has waited for a child: now its number may be free again
 *
 * A deputy was told to end before, and gets a moment for it: the program's next call may ask
 * whether somebody has that number.
 */
static void on_reaped(struct deputy *d, const void *p, size_t len)
{
	struct wire_reaped m;
	AUTO_FD int fd = -1;
	pid_t pid, *more;

	if (wire_get_reaped(p, len, &m) || !m.pid)
		return;
	pid = (pid_t)m.pid;
	for (size_t i = d->n_told; i-- > 0;)
		if (d->told[i] == pid)
			d->told[i] = d->told[--d->n_told];
	if (waitpid(pid, NULL, WNOHANG | __WALL))
		return;		/* it is another's child */
	fd = pidfd_open(pid, 0);
	poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, fd < 0 ? 0 : DYING_MS);
	if (waitpid(pid, NULL, WNOHANG | __WALL))
		return;
	more = realloc(d->dying, (d->n_dying + 1) * sizeof(*more));
	if (!more)
		return;
	d->dying = more;
	d->dying[d->n_dying++] = pid;
}

static const struct handler {
	unsigned type;
	void (*handle)(struct deputy *d, const void *p, size_t len);
} handlers[] = {
	{ WIRE_STOPPED, on_stopped },	{ WIRE_EXITED, on_exited }, { WIRE_DEPUTY_ENDED, on_ended },
	{ WIRE_DEPUTY_LOST, on_lost },
	{ WIRE_CALL, on_call },		{ WIRE_CANCEL, on_cancel }, { WIRE_WATCH, on_watch },
	{ WIRE_DROP, on_drop },		{ WIRE_REAPED, on_reaped }, { WIRE_DEPUTY_HAS, on_has },
};

static void hear_hub(struct deputy *d)
{
	for (int turn = 0; turn < TURN; turn++) {
		ssize_t n = sock_recv(d->hub, d->in, sizeof(d->in), NULL, NULL, 0);
		struct wire_head h;
		const void *p;

		if (n == -EAGAIN)
			return;
		if (n <= 0)
			lost();
		if (wire_unpack(d->in, (size_t)n, &h, &p))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
			if (handlers[i].type == h.type)
				handlers[i].handle(d, p, h.length);
	}
}

/* ---- start and run --------------------------------------------------------------------------------- */

static int set_up(struct deputy *d, const void *buf, size_t len)
{
	struct wire_deputy_start m;
	int rc = wire_get_deputy_start(buf, len, &m);
	struct bytes b;

	if (rc)
		return rc;
	b = bytes_of(m.close_fds.p, m.close_fds.len);
	while (bytes_left(&b) >= 4)
		close((int)bytes_get_le(&b, 4));
	b = bytes_of(m.handles.p, m.handles.len);
	while (bytes_left(&b) >= 8 && !rc) {
		uint32_t id = (uint32_t)bytes_get_le(&b, 4);

		rc = handle_add(&d->handles, id, (int)bytes_get_le(&b, 4));
	}
	return rc;
}

static int start(struct deputy *d, const char *text)
{
	struct wire_deputy_up up = { .pid = (uint32_t)getpid() };
	const char *name = getenv("MDEPUTY_COMM");
	AUTO_FREE void *setup = NULL;
	uint8_t buf[16];
	size_t len = 0;
	int fds[2], rc = deputy_parse_fds(text, fds, 2);

	d->signals = deputy_take_signals();
	if (rc || d->signals < 0)
		return rc ? rc : d->signals;
	deputy_set_limits();
	/* it comes home by way of another session than the one that brought it here */
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	if (name)		/* ps shows the program's */
		(void)prctl(PR_SET_NAME, name);
	d->self = deputy_env("MDEPUTY_AS", getpid());
	d->holder = deputy_env("MDEPUTY_HOLDER", 0);
	setup = deputy_read_memfd(fds[0], &len);
	if (!setup)
		return -EBADMSG;
	close(fds[0]);
	d->hub = fds[1];
	rc = set_up(d, setup, len);
	d->calls = rc ? NULL : calls_new(d);
	if (!d->calls)
		return rc ? rc : -ENOMEM;
	/* a child may have ended while the program was frozen, which didn't catch SIGCHLD: nothing is pending then */
	d->unreaped = true;
	d->ppid = getppid();
	d->parent = d->ppid > 1 ? deputy_above_standard(pidfd_open(d->ppid, 0)) : -1;
	return deputy_tell(d, WIRE_DEPUTY_UP, buf, wire_put_deputy_up(buf, sizeof(buf), &up), -1);
}

/* For ever: until the program ended */
static void NORETURN serve(struct deputy *d)
{
	for (;;) {
		struct pollfd p[3 + 64] = {
			{ .fd = d->signals, .events = POLLIN },
			{ .fd = d->hub, .events = POLLIN },
			{ .fd = d->parent, .events = POLLIN },
		};
		bool room = hub_has_room(d);
		int timeout = -1, n = calls_poll(d->calls, p + 3, (int)ARRAY_SIZE(p) - 3, &timeout);

		if (d->n_dying || d->unreaped)	/* what has ended already makes no signal */
			timeout = timeout < 0 ? DYING_MS : MIN(timeout, DYING_MS);
		if (!room) {		/* then only for room; what else there is can wait */
			p[0].fd = -1;
			p[1].events |= POLLOUT;
		}
		if (poll(p, 3 + (nfds_t)n, timeout) < 0)
			continue;
		if (p[0].revents || d->unreaped)
			take_signals(d);
		reap_dying(d);
		if (p[2].revents)
			parent_gone(d);
		calls_ready(d->calls, p + 3, n);
		if (p[1].revents)
			hear_hub(d);
	}
}

void deputy_run(const char *fds)
{
	struct deputy *d = calloc(1, sizeof(*d));

	if (!d || start(d, fds))
		_exit(EXIT_BROKEN);
	serve(d);
}

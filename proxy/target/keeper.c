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
#include "proxy/target/keeper_parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/target/fork.h"
#include "proxy/target/ground.h"
#include "proxy/target/stand_in.h"
#include "proxy/trace/pids.h"

#define LOOK_MS 100		/* how often callers that wait for home are looked at: have they a signal to take? */
#define LAST_BYTES_MS 1000	/* how long the end of the first process may wait for what the others write */

/* ---- to the session --------------------------------------------------------------------------------- */

int keeper_say(struct keeper *k, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds)
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

	if (keeper_say(k, WIRE_FAIL, buf, wire_put_fail(buf, sizeof(buf), &m), NULL, 0))
		log_warn("%s", e->text);
}

/* The pump gets a fresh socket pair; the session's end goes along with @type, and a pidfd of the program */
int keeper_say_with_pump(struct keeper *k, unsigned type, const void *payload, ssize_t len, struct err *e)
{
	AUTO_FD int theirs = -1;
	AUTO_FD int pidfd = k->ended ? -1 : pidfd_open(k->body, 0);
	int sv[2], fds[2], rc = sock_pair(sv, e);

	if (rc)
		return rc;
	theirs = sv[1];
	fds[0] = theirs;
	fds[1] = pidfd;
	rc = pump_attach(k->pump, sv[0], e);
	if (rc) {
		close(sv[0]);
		return rc;
	}
	rc = keeper_say(k, type, payload, len, fds, 1 + (pidfd >= 0));
	return rc ? err_set(e, rc, "answer the session") : 0;
}

/* ---- calls ----------------------------------------------------------------------------------------- */

/* Calls of the program's processes.  @first: before each; NULL */
void keeper_hear_programs(struct keeper *k, void (*first)(void *ctx))
{
	struct received got;

	while (receiver_next(&k->receiver, &got)) {
		if (first)
			first(k);
		supervisor_handle(&k->arrivals[got.who].supervisor, &got.n);
	}
}

void keeper_hear_execs(struct keeper *k)
{
	uint64_t id;
	int value;

	while (execs_next(&k->execs, &id, &value))
		for (size_t i = 0; i < k->n_arrivals; i++)
			if (supervisor_looked(&k->arrivals[i].supervisor, id, value))
				break;
}

static bool somebody_waits(const struct keeper *k)
{
	for (size_t i = 0; i < k->n_arrivals; i++)
		if (k->arrivals[i].supervisor.list)
			return true;
	return false;
}

/* ---- what the session says ----------------------------------------------------------------------------- */

static int on_resume(struct keeper *k, const struct request *q UNUSED, struct err *e)
{
	struct wire_resumed reply = { .state = k->state, .pid = (uint32_t)k->body };
	uint8_t buf[64];

	return keeper_say_with_pump(k, WIRE_RESUMED, buf, wire_put_resumed(buf, sizeof(buf), &reply), e);
}

static int on_stop(struct keeper *k, const struct request *q UNUSED, struct err *e UNUSED)
{
	uint8_t buf[64];
	struct wire_keeper_stopped reply = { .stop = 1 };

	if (k->stopped || k->ended)
		return keeper_say(k, WIRE_KEEPER_STOPPED, buf, wire_put_keeper_stopped(buf, sizeof(buf), &reply), NULL, 0);
	k->stop_asked = true;
	kill(k->body, SIGSTOP);
	return 0;	/* answered when it has stopped */
}

#define IN(state) (1u << KEEPER_##state)

static const struct handler {
	unsigned type, states;
	keeper_handler *handle;
} handlers[] = {
	{ WIRE_PREPARE,	    IN(EMPTY),					   keeper_on_prepare },
	{ WIRE_IMAGE,	    IN(PREPARED),				   keeper_on_image },
	{ WIRE_MEM_END,	    IN(FILLABLE),				   keeper_on_mem_end },
	{ WIRE_GO,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), keeper_on_go },
	{ WIRE_ABORT,	    IN(EMPTY) | IN(PREPARED) | IN(FILLABLE) | IN(READY), keeper_on_abort },
	{ WIRE_RESUME,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), on_resume },
	{ WIRE_SURVEY,	    IN(RUNNING) | IN(ENDED),			   keeper_on_survey },
	{ WIRE_FREEZE,	    IN(RUNNING) | IN(ENDED),			   keeper_on_freeze },
	{ WIRE_THAW,	    IN(RUNNING) | IN(FROZEN) | IN(ENDED),	   keeper_on_thaw },
	{ WIRE_DISCARD,	    IN(READY) | IN(RUNNING) | IN(FROZEN) | IN(ENDED), keeper_on_discard },
	{ WIRE_KEEPER_STOP, IN(RUNNING) | IN(ENDED),			   on_stop },
};

static void handle(struct keeper *k, unsigned type, const struct request *q)
{
	struct err e = { 0 };
	int rc = err_say(&e, -EPROTO, "%s makes no sense in state %d", wire_name(type), k->state);

	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type && (handlers[i].states & (1u << k->state))) {
			e = (struct err){ 0 };
			rc = handlers[i].handle(k, q, &e);
			break;
		}
	if (rc < 0 && !e.text[0])
		err_set(&e, rc, "handle %s", wire_name(type));
	if (rc < 0)
		say_failure(k, rc, &e);
}

/* The session ended.  Before READY there is nothing worth keeping: the program runs at the origin */
static void lost_session(struct keeper *k)
{
	drop_fd(&k->control);
	if (k->state < KEEPER_READY)
		keeper_drop_body(k);
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
		handle(k, h.type, &(struct request){ payload, h.length, fds, nfds });
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
	struct wire_changed changed;
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
	else if (type == WIRE_CHANGED && !wire_get_changed(payload, len, &changed))
		originfs_changed(k->fs, changed.node, changed.inode, changed.others);
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

			if (keeper_say(k, WIRE_KEEPER_STOPPED, buf, wire_put_keeper_stopped(buf, sizeof(buf), &m), NULL, 0))
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

void keeper_tell_ended(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = kin_ended(&k->kin, &status)) > 0)
		child_ended(k, pid, status);
	tell_reaped(k);
}

static bool reaps(const struct keeper *k)
{
	return k->state == KEEPER_RUNNING || k->state == KEEPER_ENDED;
}

/* The program's parent is a stand-in: it tells what its child does */
static void hear_reports(struct keeper *k)
{
	struct stand_in_report r;

	while (k->kin.reports >= 0 && read(k->kin.reports, &r, sizeof(r)) == sizeof(r))
		if (r.pid == k->body)
			body_changed(k, r.status);
}

void keeper_reap(struct keeper *k)
{
	int status;
	pid_t pid;

	if (!reaps(k))
		return;		/* while it is traced, each stop belongs to whoever waits for it */
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL)) > 0)
		if (WIFSTOPPED(status) && fork_left(pid, status)) {
			continue;
		} else if (pid == k->body) {
			body_changed(k, status);
		} else if (!WIFSTOPPED(status) && !WIFCONTINUED(status) && kin_find(&k->kin, pid)) {
			struct kin_one *one = kin_find(&k->kin, pid);

			if (one->moved && !one->ended)
				child_ended(k, pid, status);
			one->ended = true;	/* and waited for, by us */
		}
	hear_reports(k);
	keeper_tell_ended(k);
}

/* The origin hears first who was waited for: the call may be about that number */
static void before_call(void *ctx)
{
	keeper_reap(ctx);
}

static void read_signals(struct keeper *k)
{
	struct signalfd_siginfo s;

	while (read(k->signals, &s, sizeof(s)) == sizeof(s)) {
		if (s.ssi_signo == SIGIO)
			pump_sigio(k->pump);
	}
	keeper_reap(k);
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
	if (k->told_exit && !others && !kin_unreaped(&k->kin) && pump_drained(k->pump) && pump_told(k->pump)) {
		uint8_t buf[16];
		struct wire_discarded m = { 0 };

		/* "it ended in order": the session would take our silent end for a crash */
		if (k->control >= 0 && keeper_say(k, WIRE_DISCARDED, buf, wire_put_discarded(buf, sizeof(buf), &m), NULL, 0))
			log_debug("nobody is there to be told of the end");
		k->quit = true;
	}
}

static void serve_files(void *ctx)
{
	originfs_hear(ctx);
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
	if (k->with->ground->n_mounts) {
		k->fs = originfs_new(k->with->ground->mounts, k->with->ground->n_mounts, k->with->user, &k->asks, e);
		if (!k->fs || ground_furnish(k->with->ground, serve_files, k->fs, e))
			return e->code;
	}
	if (execs_open(&k->execs, k->fs, e))
		return e->code;
	return receiver_open(&k->receiver, e);
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
			{ .fd = reaps(k) ? receiver_fd(&k->receiver) : -1, .events = POLLIN },
			{ .fd = originfs_fd(k->fs), .events = POLLIN },
			{ .fd = execs_fd(&k->execs), .events = POLLIN },
		};
		bool look = somebody_waits(k) || (k->ended && !k->told_exit) || kin_unreaped(&k->kin);

		int came = poll(p, ARRAY_SIZE(p), more || (k->receiver.n && reaps(k)) ? 0 : look ? LOOK_MS : -1);

		if (came < 0 && errno != EINTR)
			return 1;
		if (p[6].revents || (k->receiver.n && reaps(k)))
			keeper_hear_programs(k, before_call);
		if (p[2].revents)
			read_signals(k);
		if (p[4].revents | p[5].revents)
			keeper_reap(k);
		if (p[7].revents)
			originfs_hear(k->fs);
		if (p[8].revents)
			keeper_hear_execs(k);
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
	*k = (struct keeper){ .with = with, .control = with->control,
			      .execs = { -1, -1, NULL }, .kin = { .reports = -1, .to_us = -1, .ends = -1 } };
	if (set_up(k, &e))
		log_err("%s", e.text);
	else
		rc = keep(k);
	if (rc)
		log_err("the keeper gives up: %s", e.text[0] ? e.text : strerror(errno));
	for (size_t i = 0; i < k->n_arrivals; i++)
		supervisor_stop(&k->arrivals[i].supervisor);
	free(k->arrivals);
	receiver_close(&k->receiver);
	execs_close(&k->execs);
	originfs_free(k->fs);
	pump_free(k->pump);
	image_free(k->img);
	kin_close(&k->kin);
	free(k);
	return rc;
}

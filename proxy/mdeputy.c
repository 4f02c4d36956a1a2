/* SPDX-License-Identifier: MIT */
/*
 * mdeputy.c - What a moved process becomes at its origin
 *
 * The original process execs into this small static program and keeps its pid, parent, session,
 * terminal, cwd, limits and descriptors.  It holds the program's pipe ends and pumps them to and
 * from the keeper at the target (pump.c), takes every signal in the program's place and forwards
 * it, stops and continues when the program does, and ends as the program ends.
 *
 *	RUNNING --STOPPED: stop_as--> stopped by the same signal --SIGCONT, forwarded--> RUNNING
 *	RUNNING --EXITED--> ENDING --all written: end_as--> ended in the same way
 *	any --DEPUTY_LOST--> killed by SIGKILL: the program is lost
 *
 * Sessions come and go: the first one's socket is inherited, later ones connect to the
 * listening socket.  Without one everything waits, in pipes and memory.
 *
 * All signals stay blocked and come by signalfd.  When more of them wait for the keeper than the
 * channel keeps, the rest stays pending in the kernel, which merges standard signals into
 * one of each and queues real-time ones up to RLIMIT_SIGPENDING, as it would for the program.
 *
 * Start: MDEPUTY_FDS="LISTEN,SETUP,SOCK" in the environment; SETUP is a memfd with the bytes of
 * wire_put_deputy_setup().  The argument vector is the program's own, so that it is looked at
 * only when MDEPUTY_FDS isn't there.  Descriptors 0 to 2 are the program's: nothing is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/twin/pump.h"

#define MOST_STATE (64u << 10)	/* bytes of the sessions' text, with its NUL */
#define MOST_SETUP (1u << 20)
#define EXIT_BROKEN 125		/* could not start: the session made a mistake */
#define FIRST_FD 3

struct deputy {
	struct pump *pump;
	int listener, signals;
	bool ending;		/* EXITED came */
	bool deaf;		/* no descriptor is left to accept a session with */
	bool unreaped;		/* children that ended wait for room in the channel */
	uint32_t status;	/* as wait(2) gives it */
	int stopping; /* STOPPED came: by this signal, once what came before it is written */
	char state[MOST_STATE];
	uint8_t buf[WIRE_LOCAL_MAX], held[WIRE_CHUNK];
};

/* Away from the numbers of the standard descriptors, which the program may have closed */
static int above_standard(int fd)
{
	int to;

	if (fd < 0 || fd >= FIRST_FD)
		return fd;
	to = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
	if (to < 0)
		return fd;
	close(fd);
	return to;
}

/* ---- ending and stopping as the program does ------------------------------------ */

static void change_mask(int how, int signo)
{
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, signo);
	sigprocmask(how, &one, NULL);
}

/* Default action of @signo, now */
static void suffer(int signo)
{
	signal(signo, SIG_DFL);
	raise(signo);
	change_mask(SIG_UNBLOCK, signo);
	change_mask(SIG_BLOCK, signo);
}

static void NORETURN end_as(uint32_t status)
{
	if (!WIFSIGNALED((int)status))
		_exit(WEXITSTATUS(status));
	suffer(WTERMSIG((int)status));
	_exit(128 + WTERMSIG((int)status));
}

static void tell_signal(struct deputy *d, const struct wire_signal *m)
{
	ssize_t n = wire_put_signal(d->buf, sizeof(d->buf), m);

	/* Room was looked for.  Without memory a signal is lost, as it would be in the kernel */
	if (n > 0 && pump_tell(d->pump, WIRE_SIGNAL, d->buf, (size_t)n))
		return;
}

/**
 * stop_as() - The program was stopped by a signal: so are we, for our parent to see
 *
 * Returns when continued; that SIGCONT is pending then, and forwarded as any signal.  If it isn't
 * we were never stopped: the kernel discards ^Z and its like in an orphaned process group.  It
 * would have discarded it for the program as well, so the program goes on.
 */
static void stop_as(struct deputy *d)
{
	int signo = d->stopping;
	struct wire_signal cont = { .signo = SIGCONT, .code = SI_KERNEL };
	sigset_t pending;

	d->stopping = 0;
	if (signo != SIGSTOP && signo != SIGTSTP && signo != SIGTTIN && signo != SIGTTOU)
		return;
	suffer(signo);
	if (!sigpending(&pending) && !sigismember(&pending, SIGCONT))
		tell_signal(d, &cont);
}

/* ---- signals ---------------------------------------------------------------------- */

/*
 * A write of ours to a pipe without readers raises SIGPIPE: by the kernel's send_sig(), which
 * calls it SI_USER from ourselves (seen on 6.18).  Nobody else can send that.
 */
static bool is_own_sigpipe(const struct signalfd_siginfo *si)
{
	return si->ssi_signo == SIGPIPE && si->ssi_code == SI_USER &&
	       si->ssi_pid == (uint32_t)getpid();
}

/**
 * reap() - Children that ended
 *
 * The holder, cloned before our exec, has no SIGCHLD for its exit signal, so __WCLONE finds
 * it and nothing else; it is nobody's business, though its end does send SIGCHLD (its parent has
 * execed since).  The others are the program's children that stayed behind: each is told.
 *
 * Context: there is room in the channel; if it isn't enough for all, it is called again.
 */
static void reap(struct deputy *d)
{
	struct wire_signal m = { .signo = SIGCHLD };
	siginfo_t si = { 0 };

	while (!waitid(P_ALL, 0, &si, WEXITED | WNOHANG | __WCLONE) && si.si_pid)
		si.si_pid = 0;
	si.si_pid = 0;
	d->unreaped = true;
	while (pump_room(d->pump)) {
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG) || !si.si_pid) {
			d->unreaped = false;
			return;
		}
		m.code = si.si_code;
		m.pid = (uint32_t)si.si_pid;
		m.uid = si.si_uid;
		m.value = (uint32_t)si.si_status;
		tell_signal(d, &m);
		si.si_pid = 0;
	}
}

static bool is_death(int code)
{
	return code == CLD_EXITED || code == CLD_KILLED || code == CLD_DUMPED;
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

	if (is_own_sigpipe(si))
		return;
	if (si->ssi_signo == SIGCHLD) {
		reap(d);
		if (is_death(si->ssi_code))
			return;
		m.value = (uint32_t)si->ssi_status;
	}
	tell_signal(d, &m);
}

static void take_signals(struct deputy *d)
{
	struct signalfd_siginfo si;

	if (d->unreaped && pump_room(d->pump))
		reap(d);
	while (pump_room(d->pump) && read(d->signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		take_signal(d, &si);
}

/* ---- sessions ----------------------------------------------------------------------- */

static void say_up(struct deputy *d)
{
	struct wire_deputy_up m = { .pid = (uint32_t)getpid(), .state = d->state };
	ssize_t n = wire_put_deputy_up(d->buf, sizeof(d->buf), &m);

	/* If that fails the session hears nothing, and connects again */
	if (n > 0 && pump_send_local(d->pump, WIRE_DEPUTY_UP, d->buf, (size_t)n))
		pump_detach(d->pump);
}

/* A session connects: only our own user's, or root's */
static void take_session(struct deputy *d)
{
	AUTO_FD int sock = above_standard(sock_accept(d->listener));
	uid_t uid;

	/* A failure that stays: don't ask again before something else has happened */
	d->deaf = sock < 0 && sock != -EAGAIN && sock != -EINTR && sock != -ECONNABORTED;
	if (sock < 0 || sock_peer(sock, NULL, &uid, NULL) || (uid && uid != geteuid()))
		return;
	if (pump_attach(d->pump, sock, NULL))
		return;
	(void)take_fd(&sock);
	say_up(d);
}

static void hold(struct deputy *d, bool on)
{
	struct wire_deputy_held m = { .streams = { d->held, 0 } };
	ssize_t n;

	pump_hold(d->pump, on);
	if (!on)
		return;
	/* Empty: too many messages wait for the keeper to fit in; the session asks again */
	n = pump_state_get(d->pump, d->held, sizeof(d->held));
	m.streams.len = n > 0 ? (uint32_t)n : 0;
	n = wire_put_deputy_held(d->buf, sizeof(d->buf), &m);
	if (n > 0 && pump_send_local(d->pump, WIRE_DEPUTY_HELD, d->buf, (size_t)n))
		pump_detach(d->pump);
}

/* ---- what the keeper and the session say ---------------------------------------------- */

static void on_stopped(struct deputy *d, const void *payload, size_t len)
{
	struct wire_stopped m;

	if (!wire_get_stopped(payload, len, &m))
		d->stopping = (int)m.signo;
}

static void on_continued(struct deputy *d, const void *payload UNUSED, size_t len UNUSED)
{
	d->stopping = 0;	/* too late to stop */
}

static void on_exited(struct deputy *d, const void *payload, size_t len)
{
	struct wire_exited m;

	if (wire_get_exited(payload, len, &m))
		return;
	d->ending = true;
	d->status = m.status;
}

static void on_state(struct deputy *d, const void *payload, size_t len)
{
	struct wire_deputy_state m;

	if (!wire_get_deputy_state(payload, len, &m) && strlen(m.state) < sizeof(d->state))
		memcpy(d->state, m.state, strlen(m.state) + 1);
}

static void on_lost(struct deputy *d UNUSED, const void *payload UNUSED, size_t len UNUSED)
{
	kill(getpid(), SIGKILL);
}

static void on_hold(struct deputy *d, const void *payload, size_t len)
{
	struct wire_deputy_hold m;

	if (!wire_get_deputy_hold(payload, len, &m))
		hold(d, m.hold);
}

static const struct handler {
	unsigned type;
	void (*handle)(struct deputy *d, const void *payload, size_t len);
} handlers[] = {
	{ WIRE_STOPPED, on_stopped },
	{ WIRE_CONTINUED, on_continued },
	{ WIRE_EXITED, on_exited },
	{ WIRE_DEPUTY_STATE, on_state },
	{ WIRE_DEPUTY_LOST, on_lost },
	{ WIRE_DEPUTY_HOLD, on_hold },
};

static void on_message(void *ctx, unsigned type, const void *payload, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == type)
			handlers[i].handle(ctx, payload, len);
}

static void on_detached(void *ctx UNUSED)
{
	/* the next session connects */
}

static const struct pump_ops ops = { .message = on_message, .detached = on_detached };

/* ---- start ------------------------------------------------------------------------------ */

/* "LISTEN,SETUP,SOCK", three numbers and nothing else */
static int parse_fds(const char *text, int fds[3])
{
	for (int i = 0; i < 3; i++) {
		char *end;
		long n;

		if (*text < '0' || *text > '9')
			return -EINVAL;
		errno = 0;
		n = strtol(text, &end, 10);
		if (errno || n > INT32_MAX || *end != (i < 2 ? ',' : 0))
			return -EINVAL;
		fds[i] = (int)n;
		text = end + 1;
		if (fcntl(fds[i], F_SETFD, FD_CLOEXEC))
			return -errno;
	}
	return 0;
}

/* The whole of the setup's file, or NULL */
static void *read_setup(int fd, size_t *len)
{
	AUTO_FREE char *buf = NULL;
	struct stat st;
	size_t got = 0;

	if (fstat(fd, &st) || st.st_size <= 0 || st.st_size > MOST_SETUP)
		return NULL;
	*len = (size_t)st.st_size;
	buf = malloc(*len);
	while (buf && got < *len) {
		ssize_t n = pread(fd, buf + got, *len - got, (off_t)got);

		if (n <= 0)
			return NULL;
		got += (size_t)n;
	}
	return take_ptr(buf);
}

/* {u32 id, u32 dir, u32 fd, u64 offset}...; an id that comes again: another number of that end */
static int add_streams(struct pump *p, wire_blob streams)
{
	struct bytes b = bytes_of(streams.p, streams.len);
	int rc = 0;

	while (!rc && bytes_left(&b)) {
		uint32_t id = (uint32_t)bytes_get_le(&b, 4), dir = (uint32_t)bytes_get_le(&b, 4);
		int fd = (int)bytes_get_le(&b, 4);
		uint64_t offset = bytes_get_le(&b, 8);

		if (b.bad || dir > STREAM_OUT)
			return -EBADMSG;
		rc = pump_add(p, id, dir, dir == STREAM_IN ? STREAM_SOURCE : STREAM_SINK, fd,
			      offset, NULL);
		if (rc == -EEXIST)
			rc = pump_also(p, id, fd);
	}
	return rc;
}

static int set_up(struct deputy *d, const void *buf, size_t len)
{
	struct wire_deputy_setup m;
	struct bytes b;
	int rc = wire_get_deputy_setup(buf, len, &m);

	if (rc)
		return rc;
	if (strlen(m.state) >= sizeof(d->state))
		return -EMSGSIZE;
	memcpy(d->state, m.state, strlen(m.state) + 1);
	b = bytes_of(m.close_fds.p, m.close_fds.len);
	while (bytes_left(&b) >= 4)
		close((int)bytes_get_le(&b, 4));
	d->pump = pump_new(&ops, d, NULL);
	if (!d->pump)
		return -ENOMEM;
	/* a way home that failed: this deputy goes on where the one before it was held */
	if (m.pump.len)
		rc = pump_state_set(d->pump, m.pump.p, m.pump.len);
	return rc ? rc : add_streams(d->pump, m.streams);
}

static int take_over_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL))
		return -errno;
	return above_standard(signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK));
}

/* No core of ours in the place of the program's; and descriptors enough to double the program's */
static void set_limits(void)
{
	struct rlimit core, files;

	/* the soft limit only: at home the program wants its hard one back */
	if (!getrlimit(RLIMIT_CORE, &core)) {
		core.rlim_cur = 0;
		(void)setrlimit(RLIMIT_CORE, &core);
	}
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

static int start(struct deputy *d, const char *text)
{
	AUTO_FREE void *setup = NULL;
	size_t len = 0;
	int fds[3], rc = parse_fds(text, fds);

	d->signals = take_over_signals();
	if (rc || d->signals < 0)
		return rc ? rc : d->signals;
	set_limits();
	if (getenv("MDEPUTY_COMM"))	/* ps shows the program's name */
		(void)prctl(PR_SET_NAME, getenv("MDEPUTY_COMM"));
	setup = read_setup(fds[1], &len);
	if (!setup)
		return -EBADMSG;
	close(fds[1]);
	rc = set_up(d, setup, len);
	if (rc)
		return rc;
	d->listener = fds[0];
	rc = fcntl(d->listener, F_GETFL);
	if (rc < 0 || fcntl(d->listener, F_SETFL, rc | O_NONBLOCK))
		return -errno;
	if (pump_attach(d->pump, fds[2], NULL))
		close(fds[2]);		/* a dead session already: the next one connects */
	else
		say_up(d);
	return 0;
}

/* For ever: until the program ended */
static void NORETURN serve(struct deputy *d)
{
	for (;;) {
		struct pollfd p[] = {
			{ .fd = pump_room(d->pump) ? d->signals : -1, .events = POLLIN },
			{ .fd = d->deaf ? -1 : d->listener, .events = POLLIN },
			{ .fd = pump_fd(d->pump), .events = POLLIN },
		};

		if (poll(p, ARRAY_SIZE(p), -1) < 0)
			continue;
		d->deaf = false;
		if (p[0].revents || d->unreaped)
			take_signals(d);
		if (p[1].revents)
			take_session(d);
		if (p[2].revents && pump_run(d->pump) < 0)
			_exit(EXIT_BROKEN);
		if (d->stopping)
			stop_as(d);
		if (d->ending && pump_written(d->pump))
			end_as(d->status);
	}
}

/* ---- asked by hand ------------------------------------------------------------------------ */

static const char help[] =
	"usage: mdeputy --probe | --help | --version\n"
	"The deputy of a moved process at its origin.  Started by mproxy only.\n";

static int answer(const char *option)
{
	static const struct {
		const char *name;
		const char *text;
	} options[] = {
		{ "--probe", "" },	/* that it could be executed is the answer */
		{ "--help", help },
		{ "--version", "mdeputy " MSHIM_VERSION "\n" },
	};

	for (size_t i = 0; option && i < ARRAY_SIZE(options); i++) {
		size_t len = strlen(options[i].text);

		if (!strcmp(option, options[i].name))
			return len && write(STDOUT_FILENO, options[i].text, len) != (ssize_t)len;
	}
	return 2;
}

int main(int argc, char **argv)
{
	const char *fds = getenv("MDEPUTY_FDS");
	struct deputy *d;

	if (!fds)
		return answer(argc > 1 ? argv[1] : NULL);
	d = calloc(1, sizeof(*d));
	if (!d || start(d, fds))
		_exit(EXIT_BROKEN);
	serve(d);
}

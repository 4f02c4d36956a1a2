/* SPDX-License-Identifier: MIT */
/*
 * test_deputy.c - Deputy and hub as the parent, the terminal's driver and the sessions see them
 *
 * The test is the parent that waits for the deputy, the session at the hub's socket, and, with a pump
 * of its own, the keeper: datagrams of LOCAL messages are the session's, all others the keeper's.
 * So the keeper's pump is attached to the hub's very socket.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "common/call.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/twin/pump.h"

#define IN 1
#define OUT 2
#define MOST_SIGNALS 64
#define TTY 0x10001		/* a handle: the terminal, in those that have one */
#define TTY_FD 7

static struct keeper {
	struct pump *pump;
	pid_t pid;
	struct wire_signal signals[MOST_SIGNALS];
	unsigned nsignals, ups;
	uint32_t up_pid;
	struct wire_kin kin[8];
	unsigned nkin;
	struct wire_result results[16];
	uint8_t out[16][64];
	unsigned nresults;
	uint64_t next_call;
	int master, slave;
	pid_t hub;
	uint8_t held_state[4096];
	size_t held_len;
	unsigned helds;
	int origin_w, origin_r;		/* the far ends of the deputy's pipes */
	int program_w, program_r;	/* and of the keeper's */
	char dir[64], path[96];
} k;

static char deputy_path[4096];
static bool with_children, with_an_ended_child, in_a_session_of_its_own, on_a_terminal;	/* how begin() starts the next one */

static void on_message(void *ctx, unsigned type, const void *payload, size_t len)
{
	struct wire_signal s;
	struct wire_deputy_up up;
	struct wire_deputy_held held;

	(void)ctx;
	if (type == WIRE_SIGNAL && !wire_get_signal(payload, len, &s)) {
		if (k.nsignals < MOST_SIGNALS)
			k.signals[k.nsignals++] = s;
	} else if (type == WIRE_DEPUTY_UP && !wire_get_deputy_up(payload, len, &up)) {
		k.ups++;
		k.up_pid = up.pid;
	} else if (type == WIRE_KIN && k.nkin < 8 && !wire_get_kin(payload, len, &k.kin[k.nkin])) {
		k.nkin++;
	} else if (type == WIRE_RESULT && k.nresults < 16 && !wire_get_result(payload, len, &k.results[k.nresults])) {
		struct wire_result *result = &k.results[k.nresults];

		assert_true(result->out.len <= sizeof(k.out[0]));
		memcpy(k.out[k.nresults++], result->out.p, result->out.len);
	} else if (type == WIRE_DEPUTY_HELD && !wire_get_deputy_held(payload, len, &held)) {
		k.helds++;
		k.held_len = held.streams.len < sizeof(k.held_state) ? held.streams.len
								     : sizeof(k.held_state);
		memcpy(k.held_state, held.streams.p, k.held_len);
	}
}

static void on_detached(void *ctx)
{
	(void)ctx;
}

static const struct pump_ops ops = { .message = on_message, .detached = on_detached };

/* ---- start and end ------------------------------------------------------------ */

static void make_pipe(int *r, int *wr)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	*r = p[0];
	*wr = p[1];
}

static int make_setup(int in, int out, int extra)
{
	uint8_t handles[24], fds[4], buf[512];
	struct bytes b = bytes_of(handles, sizeof(handles)), c = bytes_of(fds, sizeof(fds));
	struct wire_deputy_start m = { .handles = { handles, on_a_terminal ? 24 : 16 }, .close_fds = { fds, 4 } };
	int fd = memfd_create("setup", 0);
	ssize_t n;

	bytes_put_le(&b, IN, 4);
	bytes_put_le(&b, (uint64_t)in, 4);
	bytes_put_le(&b, OUT, 4);
	bytes_put_le(&b, (uint64_t)out, 4);
	bytes_put_le(&b, TTY, 4);
	bytes_put_le(&b, TTY_FD, 4);
	bytes_put_le(&c, (uint64_t)extra, 4);
	n = wire_put_deputy_start(buf, sizeof(buf), &m);
	assert_true(n > 0 && write(fd, buf, (size_t)n) == n);
	return fd;
}

static void sleep_for_ever(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

/* A child of the program's, and a holder as migration makes it; their pids go to standard output */
static void make_children(void)
{
	pid_t pids[2];

	pids[0] = fork();
	if (!pids[0])
		sleep_for_ever();
	pids[1] = (pid_t)syscall(SYS_clone, 0L, NULL, NULL, NULL, 0L);
	if (!pids[1])
		sleep_for_ever();
	char text[32];

	snprintf(text, sizeof(text), "%d", (int)pids[1]);
	setenv("MDEPUTY_HOLDER", text, 1);
	if (write(1, pids, sizeof(pids)) != (ssize_t)sizeof(pids))
		_exit(92);
}

/* One that nobody has waited for, while SIGCHLD wasn't caught: so none is pending */
static void make_ended_child(void)
{
	siginfo_t si;
	pid_t pid = fork();

	if (!pid)
		_exit(7);
	if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT))
		_exit(94);
}

/* In the child: standard input and output are the pipes; exec as a migrated program would */
static void NORETURN become_deputy(int in, int out, int sock, int go)
{
	char text[64], byte;
	sigset_t all;
	int setup, null = open("/dev/null", O_RDWR);

	/* should the test fail, nothing stays behind */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || dup2(in, 0) || dup2(out, 1) != 1 || read(go, &byte, 1) != 1)
		_exit(90);
	setup = make_setup(0, 1, null);
	fcntl(sock, F_SETFD, 0);
	if (with_an_ended_child)
		make_ended_child();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (in_a_session_of_its_own)
		setsid();
	else
		setpgid(0, 0);
	if (on_a_terminal && (dup2(k.slave, TTY_FD) < 0 || ioctl(TTY_FD, TIOCSCTTY, 0)))
		_exit(93);
	if (with_children)
		make_children();
	snprintf(text, sizeof(text), "%d,%d", setup, sock);
	setenv("MDEPUTY_FDS", text, 1);
	execl(deputy_path, "some-program", "--version", NULL);
	_exit(91);
}

static void NORETURN become_hub(int listener)
{
	char text[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(text, sizeof(text), "%d,%d", listener, (int)k.pid);
	fcntl(listener, F_SETFD, 0);
	setenv("MDEPUTY_HUB", text, 1);
	execl(deputy_path, "hub", NULL);
	_exit(91);
}

/* Something for the hub, which says that it has it */
static void give_hub(int hub, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds)
{
	uint8_t buf[256];
	struct wire_head h;
	const void *p;
	ssize_t n = wire_pack(buf, sizeof(buf), type, 0, payload, (size_t)len);

	assert_true(len >= 0 && n > 0);
	assert_int_equal(sock_send(hub, buf, (size_t)n, fds, nfds, deadline_in_ms(5000)), 0);
	if (type == WIRE_HUB_HELLO)
		return;
	n = sock_recv(hub, buf, sizeof(buf), NULL, NULL, deadline_in_ms(5000));
	assert_true(n > 0 && !wire_unpack(buf, (size_t)n, &h, &p));
	assert_int_equal(h.type, WIRE_HUB_OK);
}

/* A session's connection to the hub */
static int hello(void)
{
	struct wire_hub_hello m = { 1 };
	uint8_t buf[16];
	int sock = sock_connect(k.path, NULL);

	assert_true(sock >= 0);
	give_hub(sock, WIRE_HUB_HELLO, buf, wire_put_hub_hello(buf, sizeof(buf), &m), NULL, 0);
	return sock;
}

static void set_hub_up(int in, int out, int deputy)
{
	uint8_t streams[32], buf[64];
	struct bytes b = bytes_of(streams, sizeof(streams));
	struct wire_hub_streams m = { { streams, 32 } };
	struct wire_hub_join join = { .pid = (uint32_t)k.pid };
	int fds[2] = { in, out }, sock = sock_connect(k.path, NULL);

	assert_true(sock >= 0);
	bytes_put_le(&b, IN, 4);
	bytes_put_le(&b, STREAM_IN, 4);
	bytes_put_le(&b, 0, 8);
	bytes_put_le(&b, OUT, 4);
	bytes_put_le(&b, STREAM_OUT, 4);
	bytes_put_le(&b, 0, 8);
	give_hub(sock, WIRE_HUB_STREAMS, buf, wire_put_hub_streams(buf, sizeof(buf), &m), fds, 2);
	give_hub(sock, WIRE_HUB_JOIN, buf, wire_put_hub_join(buf, sizeof(buf), &join), &deputy, 1);
	close(sock);
}

static void run_once(void);

static void begin(void)
{
	int in, out, listener, sv[2], r, wr, go[2];

	memset(&k, 0, sizeof(k));
	snprintf(k.dir, sizeof(k.dir), "/tmp/test_deputy_XXXXXX");
	assert_non_null(mkdtemp(k.dir));
	snprintf(k.path, sizeof(k.path), "%s/deputy", k.dir);
	listener = sock_listen(k.path, 0600, NULL);
	assert_true(listener >= 0);
	assert_int_equal(sock_pair(sv, NULL), 0);
	make_pipe(&in, &k.origin_w);
	make_pipe(&k.origin_r, &out);
	make_pipe(&go[0], &go[1]);
	k.master = k.slave = -1;
	if (on_a_terminal) {
		k.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(k.master >= 0 && !grantpt(k.master) && !unlockpt(k.master));
		k.slave = open(ptsname(k.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(k.slave >= 0);
	}
	k.pid = fork();
	if (!k.pid)
		become_deputy(in, out, sv[1], go[0]);
	k.hub = fork();
	if (!k.hub)
		become_hub(listener);
	set_hub_up(in, out, sv[0]);
	close(in);
	close(out);
	close(listener);
	close(sv[0]);
	close(sv[1]);
	close(go[0]);
	k.pump = pump_new(&ops, NULL, NULL);
	assert_non_null(k.pump);
	make_pipe(&k.program_r, &wr);
	assert_int_equal(pump_add(k.pump, IN, STREAM_IN, STREAM_SINK, wr, 0, NULL), 0);
	make_pipe(&r, &k.program_w);
	assert_int_equal(pump_add(k.pump, OUT, STREAM_OUT, STREAM_SOURCE, r, 0, NULL), 0);
	assert_int_equal(write(go[1], "", 1), 1);
	close(go[1]);
	while (!k.ups || !k.up_pid) {	/* until it is the deputy */
		assert_int_equal(pump_attach(k.pump, hello(), NULL), 0);
		for (unsigned before = k.ups; k.ups == before;)
			run_once();
	}
	k.ups = 1;
}

static void end(void)
{
	int status;

	/* with the deputy gone and everything told, the hub goes too */
	while (k.hub > 0 && waitpid(k.hub, &status, WNOHANG) != k.hub)
		run_once();
	pump_free(k.pump);
	drop_fd(&k.origin_w);
	drop_fd(&k.origin_r);
	drop_fd(&k.program_w);
	drop_fd(&k.program_r);
	drop_fd(&k.master);
	drop_fd(&k.slave);
	unlink(k.path);
	rmdir(k.dir);
}

/* ---- waiting for things, without judging how long they take ---------------------- */

static void run_once(void)
{
	const struct timespec now = { 0, 0 };
	struct pollfd p = { .fd = pump_fd(k.pump), .events = POLLIN };
	sigset_t one;

	poll(&p, 1, 2);
	sigemptyset(&one);
	sigaddset(&one, SIGIO);
	if (sigtimedwait(&one, NULL, &now) == SIGIO)
		pump_sigio(k.pump);
	assert_true(pump_run(k.pump) >= 0);
}

/* The alarm of main() ends what never comes true */
#define UNTIL(condition)                                                                   \
	do {                                                                               \
		while (!(condition))                                                       \
			run_once();                                                        \
	} while (0)

static int content(int fd)
{
	int n = -1;

	ioctl(fd, FIONREAD, &n);
	return n;
}

static bool state_is(int options, int *status)
{
	return waitpid(k.pid, status, options | WNOHANG) == k.pid;
}

static void tell(unsigned type, uint32_t value)
{
	uint8_t le[4];
	struct bytes b = bytes_of(le, 4);

	bytes_put_le(&b, value, 4);
	assert_int_equal(pump_tell(k.pump, type, le, 4), 0);
}

static void tell_session(unsigned type, const void *p, size_t len)
{
	assert_int_equal(pump_send_local(k.pump, type, p, len), 0);
}

static const struct wire_signal *signal_came(int signo)
{
	for (unsigned i = 0; i < k.nsignals; i++)
		if (k.signals[i].signo == (uint32_t)signo)
			return &k.signals[i];
	return NULL;
}

static void ends_with(uint32_t told, int status)
{
	int got;

	tell(WIRE_EXITED, told);
	UNTIL(state_is(0, &got));
	assert_int_equal(got, status);
}

/* ---- the tests --------------------------------------------------------------------- */

static void answers_by_hand(void **state)
{
	static const struct {
		const char *option;
		int status;
	} rows[] = { { "--probe", 0 }, { "--help", 0 }, { "--version", 0 }, { "--what", 2 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			dup2(open("/dev/null", O_WRONLY), 1);
			execl(deputy_path, "mdeputy", rows[i].option, NULL);
			_exit(91);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, rows[i].status << 8);
	}
}

static void bad_starts_end(void **state)
{
	static const char *const rows[] = { "", "1", "1,2,3", "a,b", "1,-3", "0,0", "990,991" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			dup2(open("/dev/null", O_RDWR), 0);
			setenv("MDEPUTY_FDS", rows[i], 1);
			execl(deputy_path, "mdeputy", "--probe", NULL);
			_exit(91);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 125 << 8);
	}
}

static void says_that_it_is_up(void **state)
{
	char link[64], to[64];
	int status, flags;

	(void)state;
	begin();
	UNTIL(k.ups == 1);
	assert_int_equal(k.up_pid, k.pid);
	assert_int_equal(write(k.origin_w, "to the program", 14), 14);
	assert_int_equal(write(k.program_w, "from the program", 16), 16);
	UNTIL(content(k.program_r) == 14 && content(k.origin_r) == 16);
	assert_int_equal(content(k.origin_w), 14);
	flags = fcntl(k.origin_w, F_GETFL);
	assert_false(flags & O_NONBLOCK);
	snprintf(link, sizeof(link), "/proc/%d/fd/1", (int)k.pid);
	assert_true(readlink(link, to, sizeof(to)) > 0);	/* still at its number */
	drop_fd(&k.origin_w);
	assert_int_equal(read(k.program_r, to, sizeof(to)), 14);
	/* all are read, and the writer has gone: then the end */
	UNTIL(content(k.program_r) == 0);
	fcntl(k.program_r, F_SETFL, O_NONBLOCK);
	UNTIL(read(k.program_r, to, 1) == 0);
	tell_session(WIRE_DEPUTY_LOST, "", 0);
	UNTIL(state_is(0, &status));
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	end();
}

static void forwards_signals(void **state)
{
	const union sigval value = { .sival_ptr = (void *)0x123456789abcul };
	static const int plain[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGTSTP,
				     SIGUSR1, SIGSEGV, SIGPIPE, SIGCHLD, SIGWINCH };
	const struct wire_signal *s;

	(void)state;
	begin();
	UNTIL(k.ups);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++) {
		assert_int_equal(kill(k.pid, plain[i]), 0);
		UNTIL(signal_came(plain[i]));
		s = signal_came(plain[i]);
		assert_int_equal(s->code, SI_USER);
		assert_int_equal(s->pid, getpid());
		assert_int_equal(s->uid, getuid());
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(sigqueue(k.pid, SIGRTMIN + 3, value), 0);
	UNTIL(k.nsignals == ARRAY_SIZE(plain) + 3);
	s = signal_came(SIGRTMIN + 3);
	assert_int_equal(s->code, SI_QUEUE);
	assert_int_equal(s->value, 0x123456789abcul);

	/* the readers leave: our own SIGPIPE is none of the program's */
	drop_fd(&k.origin_r);
	assert_int_equal(write(k.program_w, "x", 1), 1);
	signal(SIGPIPE, SIG_IGN);
	UNTIL(write(k.program_w, "x", 1) < 0 && errno == EPIPE);
	kill(k.pid, SIGUSR2);
	UNTIL(signal_came(SIGUSR2));
	assert_int_equal(k.nsignals, ARRAY_SIZE(plain) + 4);
	ends_with(0, 0);
	end();
}

static void stops_and_continues(void **state)
{
	static const int stops[] = { SIGSTOP, SIGTSTP, SIGTTIN };
	int status;

	(void)state;
	begin();
	UNTIL(k.ups);
	for (size_t i = 0; i < ARRAY_SIZE(stops); i++) {
		k.nsignals = 0;
		assert_int_equal(write(k.program_w, "bye", 3), 3);
		UNTIL(content(k.origin_r) == 3);
		tell(WIRE_STOPPED, (uint32_t)stops[i]);
		UNTIL(state_is(WUNTRACED, &status));
		assert_true(WIFSTOPPED(status));
		assert_int_equal(WSTOPSIG(status), stops[i]);
		kill(k.pid, SIGCONT);
		UNTIL(state_is(WCONTINUED, &status));
		assert_true(WIFCONTINUED(status));
		UNTIL(signal_came(SIGCONT));
		assert_int_equal(signal_came(SIGCONT)->pid, getpid());
		assert_int_equal(k.nsignals, 1);
		assert_int_equal(read(k.origin_r, &status, 3), 3);
	}
	tell(WIRE_STOPPED, SIGKILL);	/* nonsense has no effect */
	kill(k.pid, SIGUSR1);
	UNTIL(signal_came(SIGUSR1));
	ends_with(SIGTERM, SIGTERM);
	end();
}

/* In an orphaned process group the kernel discards ^Z; so it does for the program */
static void cannot_stop_when_orphaned(void **state)
{
	int status;

	(void)state;
	in_a_session_of_its_own = true;
	begin();
	in_a_session_of_its_own = false;
	UNTIL(k.ups);
	tell(WIRE_STOPPED, SIGTSTP);
	UNTIL(signal_came(SIGCONT));
	assert_int_equal(signal_came(SIGCONT)->code, SI_KERNEL);
	assert_false(state_is(WUNTRACED, &status));
	ends_with(0, 0);
	end();
}

static void tell_of(unsigned type, uint32_t status, pid_t pid)
{
	struct wire_exited exited = { .status = status, .pid = (uint32_t)pid };
	struct wire_reaped reaped = { .pid = (uint32_t)pid };
	uint8_t buf[16];
	ssize_t n = type == WIRE_EXITED ? wire_put_exited(buf, sizeof(buf), &exited)
					: wire_put_reaped(buf, sizeof(buf), &reaped);

	assert_true(n > 0);
	assert_int_equal(pump_tell(k.pump, type, buf, (size_t)n), 0);
}

static void tells_of_who_ended_before(void **state)
{
	(void)state;
	with_an_ended_child = true;
	begin();
	with_an_ended_child = false;
	UNTIL(k.ups);
	UNTIL(k.nkin == 1);
	assert_int_equal(k.kin[0].status, 7 << 8);
	tell_of(WIRE_REAPED, 0, (pid_t)k.kin[0].kin);
	UNTIL(kill((pid_t)k.kin[0].kin, 0) && errno == ESRCH);
	assert_int_equal(k.nsignals, 0);
	ends_with(0, 0);
	end();
}

static void reaps(void **state)
{
	pid_t pids[2];

	(void)state;
	with_children = true;
	begin();
	with_children = false;
	UNTIL(k.ups);
	assert_int_equal(read(k.origin_r, pids, sizeof(pids)), sizeof(pids));
	kill(pids[1], SIGKILL);
	UNTIL(kill(pids[1], 0) &&
	      errno == ESRCH); /* the holder: reaped, and none of the program's business */
	kill(k.pid, SIGUSR1);
	UNTIL(signal_came(SIGUSR1));
	assert_int_equal(k.nsignals, 1);
	kill(pids[0], SIGSTOP);
	UNTIL(k.nkin == 1);
	assert_true(WIFSTOPPED((int)k.kin[0].status));
	kill(pids[0], SIGKILL);		/* it inherited that all others are blocked */
	UNTIL(k.nkin == 2);
	assert_int_equal(k.kin[1].pid, k.pid);
	assert_int_equal(k.kin[1].kin, pids[0]);
	assert_int_equal(k.kin[1].status, SIGKILL);
	/* its number is free when the program has waited for it */
	assert_int_equal(kill(pids[0], 0), 0);
	tell_of(WIRE_REAPED, 0, pids[0]);
	UNTIL(kill(pids[0], 0) && errno == ESRCH);
	assert_int_equal(k.nsignals, 1);
	assert_int_equal(k.nkin, 2);
	ends_with(0, 0);
	end();
}

static void ends_as_the_program(void **state)
{
	const uint32_t rows[] = {
		0,       42 << 8,        SIGTERM, SIGKILL,
		SIGSEGV, SIGABRT | 0x80, SIGPIPE, (uint32_t)SIGRTMIN + 2,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin();
		ends_with(rows[i], (int)(rows[i] & ~0x80u));
		end();
	}
}

/* What the program wrote is all there before its parent sees it end */
static void ends_after_the_last_byte(void **state)
{
	static char buf[200000], got[200000];
	size_t sent = 0, all = 0;
	int status;

	(void)state;
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 11 + i / 256);
	begin();
	fcntl(k.program_w, F_SETFL, O_NONBLOCK);
	fcntl(k.origin_r, F_SETFL, O_NONBLOCK);
	while (sent < 120000) {		/* two pipes full */
		ssize_t n = write(k.program_w, buf + sent, 120000 - sent);

		sent += n > 0 ? (size_t)n : 0;
		run_once();
	}
	tell(WIRE_EXITED, 7 << 8);
	UNTIL(content(k.origin_r) == 65536);
	for (int i = 0; i < 10; i++)
		run_once();
	assert_false(state_is(0, &status));
	while (all < sent) {
		ssize_t n = read(k.origin_r, got + all, 1000);

		all += n > 0 ? (size_t)n : 0;
		if (n < 0)
			run_once();
	}
	assert_memory_equal(got, buf, sent);
	UNTIL(state_is(0, &status));
	assert_int_equal(status, 7 << 8);
	end();
}

/* The session dies; the next one connects, and nothing was lost */
static void reconnects(void **state)
{
	char text[64];

	(void)state;
	begin();
	UNTIL(k.ups == 1);
	assert_int_equal(write(k.origin_w, "one", 3), 3);
	UNTIL(content(k.program_r) == 3);
	pump_detach(k.pump);
	assert_int_equal(write(k.origin_w, "two", 3), 3);
	assert_int_equal(write(k.program_w, "three", 5), 5);
	for (int i = 0; i < 3; i++)
		kill(k.pid, SIGUSR1);	/* merged or not, as the kernel likes */
	kill(k.pid, SIGUSR2);
	for (int i = 2; i < 5; i++) {
		assert_int_equal(pump_attach(k.pump, hello(), NULL), 0);
		UNTIL(k.ups == (unsigned)i);
	}
	UNTIL(signal_came(SIGUSR1) && signal_came(SIGUSR2));
	UNTIL(content(k.program_r) == 6 && content(k.origin_r) == 5);
	assert_int_equal(read(k.program_r, text, sizeof(text)), 6);
	assert_memory_equal(text, "onetwo", 6);
	UNTIL(content(k.origin_w) == 0);
	ends_with(0, 0);
	end();
}

static void holds(void **state)
{
	static const uint8_t on[4] = { 1 }, off[4] = { 0 };
	struct bytes b;
	char text[16];

	(void)state;
	begin();
	assert_int_equal(write(k.program_w, "abc", 3), 3);
	assert_int_equal(write(k.origin_w, "defgh", 5), 5);
	UNTIL(content(k.origin_r) == 3 && content(k.program_r) == 5);
	assert_int_equal(read(k.program_r, text, 16), 5);
	UNTIL(content(k.origin_w) == 0);
	kill(k.pid, SIGUSR1);
	UNTIL(signal_came(SIGUSR1));
	tell_session(WIRE_DEPUTY_HOLD, on, 4);
	UNTIL(k.helds == 1);
	b = bytes_of(k.held_state, k.held_len);
	assert_int_equal(bytes_get_le(&b, 8), 0);
	assert_int_equal(bytes_get_le(&b, 8), 2);
	assert_int_equal(bytes_get_le(&b, 4), 2);
	assert_int_equal(bytes_get_le(&b, 4), IN);
	assert_int_equal(bytes_get_le(&b, 4), STREAM_IN);
	assert_int_equal(bytes_get_le(&b, 8), 5);
	assert_int_equal(bytes_get_le(&b, 4), STREAM_OPEN);
	assert_int_equal(bytes_get_le(&b, 4), OUT);
	assert_int_equal(bytes_get_le(&b, 4), STREAM_OUT);
	assert_int_equal(bytes_get_le(&b, 8), 3);
	assert_int_equal(write(k.program_w, "ijk", 3), 3);
	kill(k.pid, SIGUSR2);
	UNTIL(signal_came(SIGUSR2));		/* signals go on */
	assert_int_equal(content(k.origin_r), 3);
	tell_session(WIRE_DEPUTY_HOLD, off, 4);
	UNTIL(content(k.origin_r) == 6);
	ends_with(1 << 8, 1 << 8);
	end();
}

static int setup(void **state)
{
	const char *env = getenv("MDEPUTY");
	ssize_t n = readlink("/proc/self/exe", deputy_path, sizeof(deputy_path) - 32);
	sigset_t block;

	(void)state;
	if (n <= 0)
		return -1;
	deputy_path[n] = 0;
	/* build/tests/test_deputy, build-san/tests/test_deputy: mdeputy is one up */
	strcpy(strrchr(deputy_path, '/'), "/../mdeputy");
	if (env)
		snprintf(deputy_path, sizeof(deputy_path), "%s", env);
	if (access(deputy_path, X_OK)) {
		fprintf(stderr, "no %s: make it first, or say where it is in MDEPUTY\n",
			deputy_path);
		return -1;
	}
	sigemptyset(&block);
	sigaddset(&block, SIGIO);
	alarm(60);
	return sigprocmask(SIG_BLOCK, &block, NULL);
}

/* ---- remote calls ------------------------------------------------------------------- */

static uint64_t tell_call(struct wire_call *m)
{
	uint8_t buf[256];
	ssize_t n;

	m->id = ++k.next_call;
	n = wire_put_call(buf, sizeof(buf), m);
	assert_true(n > 0);
	assert_int_equal(pump_tell(k.pump, WIRE_CALL, buf, (size_t)n), 0);
	return m->id;
}

static uint64_t call(pid_t pid, unsigned row, uint64_t blocked, uint64_t a0, uint64_t a1, const void *in, uint32_t len)
{
	return tell_call(&(struct wire_call){ .pid = (uint32_t)pid, .row = row, .blocked = blocked,
					      .a0 = a0, .a1 = a1, .in = { in ? in : "", len } });
}

static const struct wire_result *result_of(uint64_t id)
{
	for (unsigned i = 0; i < k.nresults; i++)
		if (k.results[i].id == id)
			return &k.results[i];
	return NULL;
}

static int64_t value_of(uint64_t id)
{
	UNTIL(result_of(id));
	return result_of(id)->value;
}

static int64_t does(pid_t pid, unsigned row, uint64_t a0, uint64_t a1, const void *in, uint32_t len)
{
	return value_of(call(pid, row, 0, a0, a1, in, len));
}

static bool state_of(pid_t pid, char state)
{
	char path[40], text[512], *at;
	int fd, n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : (int)read(fd, text, sizeof(text) - 1);
	drop_fd(&fd);
	text[n > 0 ? n : 0] = 0;
	at = strrchr(text, ')');
	return at && at[2] == state;
}

static void begin_on_a_terminal(void)
{
	on_a_terminal = in_a_session_of_its_own = true;
	begin();
	on_a_terminal = in_a_session_of_its_own = false;
}

static void is_typed(const char *text)
{
	assert_int_equal(write(k.master, text, strlen(text)), (ssize_t)strlen(text));
}

static void refuses_nonsense(void **state)
{
	(void)state;
	begin_on_a_terminal();
	assert_int_equal(does(k.pid, 999, 0, 0, NULL, 0), -ENOSYS);
	assert_int_equal(does(k.pid, CALL_ID_io_uring_setup, 0, 0, NULL, 0), -ENOSYS);
	assert_int_equal(does(k.pid, CALL_ID_ioctl, 4711, TCGETS, NULL, 0), -EBADF);
	assert_int_equal(does(k.pid, CALL_ID_ioctl, TTY, 0x54fe, NULL, 0), -ENOTTY);
	assert_int_equal(does(k.pid, CALL_ID_ioctl, TTY, TIOCSWINSZ, "four", 4), -EINVAL);
	assert_int_equal(does(k.pid, CALL_ID_read, 4711, 10, NULL, 0), -EIO);
	assert_int_equal(does(k.pid, CALL_ID_open, 0, O_RDWR, "/dev/tty", 8), -EINVAL);
	assert_int_equal(does(4194303, CALL_ID_getpgid, 0, 0, NULL, 0), -ESRCH);
	ends_with(0, 0);
	end();
}

static void reads_when_told(void **state)
{
	struct wire_cancel cancel;
	uint8_t buf[32];
	uint64_t id;

	(void)state;
	begin_on_a_terminal();
	id = call(k.pid, CALL_ID_ioctl, 0, TTY, TCGETS, NULL, 0);
	assert_int_equal(value_of(id), 0);
	assert_int_equal(result_of(id)->out.len, 36);
	id = call(k.pid, CALL_ID_read, 0, TTY, 10, NULL, 0);
	/* a later call isn't kept waiting by it */
	assert_int_equal(does(k.pid, CALL_ID_getpgid, 0, 0, NULL, 0), k.pid);
	assert_null(result_of(id));
	is_typed("one\n");
	assert_int_equal(value_of(id), 4);
	assert_memory_equal(k.out[result_of(id) - k.results], "one\n", 4);
	/* let go of, it has taken nothing */
	id = call(k.pid, CALL_ID_read, 0, TTY, 10, NULL, 0);
	cancel = (struct wire_cancel){ .id = id, .pid = (uint32_t)k.pid };
	assert_int_equal(pump_tell(k.pump, WIRE_CANCEL, buf, (size_t)wire_put_cancel(buf, sizeof(buf), &cancel)), 0);
	assert_int_equal(value_of(id), -512);
	is_typed("two\n");
	assert_int_equal(does(k.pid, CALL_ID_read, TTY, 10, NULL, 0), 4);
	ends_with(0, 0);
	end();
}

/* Behind, a reader is stopped, or fails if it blocks that signal */
static void reads_behind(void **state)
{
	uint64_t id;
	pid_t child;

	(void)state;
	begin_on_a_terminal();
	child = (pid_t)does(k.pid, CALL_ID_fork, 0, 0, NULL, 0);
	assert_true(child > 0);
	assert_int_equal(does(k.pid, CALL_ID_setpgid, (uint64_t)child, 0, NULL, 0), 0);
	id = call(child, CALL_ID_read, 0, TTY, 10, NULL, 0);
	assert_int_equal(value_of(id), -512);
	UNTIL(signal_came(SIGTTIN));
	assert_int_equal(signal_came(SIGTTIN)->to, child);
	id = call(child, CALL_ID_read, 1ULL << (SIGTTIN - 1), TTY, 10, NULL, 0);
	assert_int_equal(value_of(id), -EIO);
	/* in front it may */
	assert_int_equal(does(k.pid, CALL_ID_ioctl, TTY, TIOCSPGRP, &child, sizeof(child)), 0);
	is_typed("x\n");
	assert_int_equal(does(child, CALL_ID_read, TTY, 10, NULL, 0), 2);
	tell_of(WIRE_EXITED, 0, child);
	tell_of(WIRE_REAPED, 0, child);
	UNTIL(kill(child, 0));
	ends_with(0, 0);
	end();
}

/* Its hub's socket, and what of the C library's is open */
static bool holds_nothing(pid_t pid)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n == 3;	/* with . and .. */
}

/* A child's deputy keeps its number until its process was waited for */
static void forks(void **state)
{
	pid_t child;
	uint64_t id;
	int status;

	(void)state;
	begin_on_a_terminal();
	child = (pid_t)does(k.pid, CALL_ID_fork, 0, 0, NULL, 0);
	assert_true(child > 0);
	assert_int_equal(does(child, CALL_ID_getpgid, 0, 0, NULL, 0), k.pid);
	tell_of(WIRE_EXITED, 3 << 8, child);
	UNTIL(holds_nothing(child));
	assert_int_equal(does(k.pid, CALL_ID_kill, (uint64_t)child, 0, NULL, 0), 0);
	tell_of(WIRE_REAPED, 0, child);
	assert_int_equal(does(k.pid, CALL_ID_kill, (uint64_t)child, 0, NULL, 0), -ESRCH);
	/* one that stands stopped ends all the same */
	child = (pid_t)does(k.pid, CALL_ID_fork, 0, 0, NULL, 0);
	assert_int_equal(kill(child, SIGSTOP), 0);
	UNTIL(state_of(child, 'T'));
	tell_of(WIRE_EXITED, 9, child);
	tell_of(WIRE_REAPED, 0, child);
	UNTIL(kill(child, 0));
	/* of one that is killed, who waits for it hears */
	child = (pid_t)does(k.pid, CALL_ID_fork, 0, 0, NULL, 0);
	id = call(child, CALL_ID_read, 0, TTY, 10, NULL, 0);
	assert_int_equal(does(k.pid, CALL_ID_getpgid, 0, 0, NULL, 0), k.pid);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(value_of(id), -ESRCH);
	UNTIL(signal_came(SIGKILL));
	assert_int_equal(signal_came(SIGKILL)->to, child);
	tell_of(WIRE_EXITED, 9, child);
	tell_of(WIRE_REAPED, 0, child);
	UNTIL(kill(child, 0));
	tell(WIRE_EXITED, 0);
	UNTIL(state_is(0, &status));
	end();
}

/* ---- System V shared memory ---------------------------------------------------------------------- */

/* To the hub, as a session says it.  Return: its answer */
static int64_t segments(uint32_t what, const int *ids, size_t n)
{
	struct wire_hub_segments m = { .what = what, .ids = { (const uint8_t *)ids, (uint32_t)(n * sizeof(*ids)) } };
	int sock = sock_connect(k.path, NULL);
	uint8_t payload[64], buf[128];
	struct wire_hub_ok ok = { .code = -EPROTO };
	struct wire_head h;
	const void *p;
	ssize_t len = wire_put_hub_segments(payload, sizeof(payload), &m);

	assert_true(sock >= 0);
	len = wire_pack(buf, sizeof(buf), WIRE_HUB_SEGMENTS, 0, payload, (size_t)len);
	assert_int_equal(sock_send(sock, buf, (size_t)len, NULL, 0, deadline_in_ms(5000)), 0);
	len = sock_recv(sock, buf, sizeof(buf), NULL, NULL, deadline_in_ms(5000));
	assert_true(len > 0 && !wire_unpack(buf, (size_t)len, &h, &p) && h.type == WIRE_HUB_OK);
	assert_int_equal(wire_get_hub_ok(p, h.length, &ok), 0);
	close(sock);
	return ok.code;
}

static struct shmid_ds stat_of(int id)
{
	struct shmid_ds ds;

	assert_int_equal(shmctl(id, IPC_STAT, &ds), 0);
	return ds;
}

static int make(uint64_t key, uint64_t size, int flags)
{
	return (int)value_of(tell_call(&(struct wire_call){ .pid = (uint32_t)k.pid, .row = CALL_ID_shmget, .a0 = key,
							    .a1 = size, .a2 = (uint64_t)flags, .in = { "", 0 } }));
}

/* What the program has is held, whatever is removed; nothing else can be asked for */
static void keeps_segments(void **state)
{
	int theirs = shmget(IPC_PRIVATE, 4096, 0600), mine = shmget(IPC_PRIVATE, 4096, 0600), made, status;
	key_t key = 0x4d4d0000 | (getpid() & 0xffff);
	struct shmid_ds ds;

	(void)state;
	assert_true(theirs >= 0 && mine >= 0);
	begin();
	assert_int_equal(segments(1, (int[]){ mine }, 1), 0);
	assert_int_equal(stat_of(mine).shm_nattch, 1);
	assert_int_equal(segments(1, (int[]){ mine }, 1), 0);
	assert_int_equal(stat_of(mine).shm_nattch, 1);		/* it has it */
	assert_int_equal(segments(2, (int[]){ mine }, 1), 0);
	assert_int_equal(segments(2, (int[]){ mine, theirs }, 2), -ENOENT);
	assert_int_equal(segments(1, (int[]){ -1 }, 1), -EINVAL);

	assert_int_equal(does(k.pid, CALL_ID_shmctl, (uint64_t)theirs, IPC_RMID, NULL, 0), -EINVAL);
	assert_int_equal(stat_of(theirs).shm_perm.mode & SHM_DEST, 0);
	assert_int_equal(does(k.pid, CALL_ID_shmctl, (uint64_t)mine, IPC_RMID, NULL, 0), 0);
	assert_int_equal(stat_of(mine).shm_perm.mode & SHM_DEST, SHM_DEST);

	assert_int_equal(make((uint64_t)key, 4096, 0), -ENOENT);
	made = make((uint64_t)key, 4096, IPC_CREAT | 0600);
	assert_true(made >= 0);
	ds = stat_of(made);
	assert_int_equal(ds.shm_nattch, 1);
	assert_int_equal(ds.shm_cpid, k.pid);
	assert_int_equal(make((uint64_t)key, 4096, IPC_CREAT | 0600), -ENOSYS);	/* the keeper knows what is the program's */
	assert_int_equal(make(0, 0, 0600), -EINVAL);
	assert_int_equal(segments(2, (int[]){ mine, made }, 2), 0);

	assert_int_equal(segments(0, NULL, 0), 0);
	assert_int_equal(shmctl(mine, IPC_STAT, &ds), -1);		/* it was removed */
	assert_int_equal(stat_of(made).shm_nattch, 0);
	assert_int_equal(segments(2, (int[]){ made }, 1), -ENOENT);
	assert_int_equal(shmctl(made, IPC_RMID, NULL) | shmctl(theirs, IPC_RMID, NULL), 0);
	tell(WIRE_EXITED, 0);
	UNTIL(state_is(0, &status));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_by_hand),
		cmocka_unit_test(bad_starts_end),
		cmocka_unit_test(says_that_it_is_up),
		cmocka_unit_test(forwards_signals),
		cmocka_unit_test(stops_and_continues),
		cmocka_unit_test(cannot_stop_when_orphaned),
		cmocka_unit_test(tells_of_who_ended_before),
		cmocka_unit_test(reaps),
		cmocka_unit_test(ends_as_the_program),
		cmocka_unit_test(ends_after_the_last_byte),
		cmocka_unit_test(reconnects),
		cmocka_unit_test(holds),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(reads_when_told),
		cmocka_unit_test(reads_behind),
		cmocka_unit_test(forks),
		cmocka_unit_test(keeps_segments),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_daemon.c - The daemon, whole, with sessions that only play their part
 *
 * Each test starts daemons in processes of their own, with a state directory, a control socket and
 * a port.  origin_session(), origin_resume() and target_session() are this file's: they tell the
 * test what they were started for, by a datagram (an *event*), and do what the request's "host"
 * says.  The test only waits for events, for answers, and for a word in a daemon's log.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/daemon/client.h"
#include "proxy/daemon/control.h"
#include "proxy/daemon/daemon.h"
#include "proxy/daemon/greet.h"
#include "proxy/daemon/invite.h"
#include "proxy/daemon/session.h"
#include "proxy/link/identity.h"
#include "proxy/link/tls_accept.h"
#include "proxy/link/tls_connect.h"

#define WAIT_MS 10000		/* for what should happen soon */
#define NOBODY 65534
#define SID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SID_C "cccccccccccccccccccccccccccccccc"
#define PIN_X "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"
#define GUEST_PID 1234567	/* at its origin; here it is the session's own */

struct fixture {
	char dir[32];
	int events;		/* datagrams from the stubs */
	pid_t program;		/* something to be moved */
};

struct server {
	pid_t pid;
	char state[64], control[64], policy[64], log[64], addr[PEER_ADDR], pin[PEER_PIN];
};

static struct fixture fx;

/* ---- the sessions' part ------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3))) event(const struct session_env *env,
							const char *fmt, ...)
{
	AUTO_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char text[512];
	va_list ap;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/../events", env->state_dir);
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		_exit(99);
}

static void record_path(char path[128], const struct session_env *env, const char *sid)
{
	snprintf(path, 128, "%s/sessions/%s.json", env->state_dir, sid);
}

static void send_local(int fd, unsigned type, const void *payload, ssize_t len)
{
	uint8_t buf[4096];
	ssize_t n = len < 0 ? len : wire_pack(buf, sizeof(buf), type, 0, payload, (size_t)len);

	if (n < 0 || sock_send(fd, buf, (size_t)n, NULL, 0, deadline_in_ms(1000)))
		_exit(98);
}

static void send_text(int fd, unsigned type, const char *text)
{
	uint8_t buf[2048];

	if (type == WIRE_PROGRESS)
		send_local(fd, type, buf, wire_put_progress(buf, sizeof(buf),
							    &(struct wire_progress){ text }));
	else
		send_local(fd, type, buf, wire_put_answer(buf, sizeof(buf),
							  &(struct wire_answer){ 0, text }));
}

static void report(const struct session_env *env, const char *sid, int pid, bool guest,
		   const char *state)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"sid\":\"%s\",\"pid\":%d,\"guest\":%s,\"host_pid\":%d,\"uid\":%u,"
		 "\"state\":\"%s\",\"peer\":\"p\",\"comm\":\"c\"}",
		 sid, pid, guest ? "true" : "false", (int)(guest ? getpid() : pid), getuid(),
		 state);
	send_text(env->leash, WIRE_ANSWER, text);
}

/* A request from the leash, with its client.  Return: whether to go on */
static bool serve_one(const struct session_env *env, const char *sid, int pid, bool guest,
		      const char *request, int client)
{
	char path[128];

	event(env, "asked %.8s %s", sid, request);
	if (strstr(request, "\"die\""))
		raise(SIGKILL);
	if (strstr(request, "\"do\":\"home\"")) {
		record_path(path, env, sid);
		unlink(path);
		report(env, sid, pid, guest, "ended");
	}
	send_text(client, WIRE_PROGRESS, "{\"stage\":\"stepping\",\"done\":1,\"of\":2}");
	send_text(client, WIRE_ANSWER, "{\"text\":\"by the session\"}");
	close(client);
	return !strstr(request, "\"do\":\"home\"");
}

/* Until it went home, or the daemon ended */
static int serve(const struct session_env *env, const char *sid, int pid, bool guest)
{
	uint8_t buf[4096];
	struct wire_head h;
	struct wire_ask ask;
	const void *payload;
	ssize_t n;
	int fd, nfds;

	do {
		nfds = 1;
		n = sock_recv(env->leash, buf, sizeof(buf), &fd, &nfds, NO_DEADLINE);
		if (n <= 0) {
			event(env, "orphan %.8s", sid);
			return 0;
		}
		if (nfds != 1 || wire_unpack(buf, (size_t)n, &h, &payload) || h.type != WIRE_ASK ||
		    wire_get_ask(payload, h.length, &ask))
			return 97;
	} while (serve_one(env, sid, pid, guest, ask.request, fd));
	return 0;
}

static void write_record(const struct session_env *env, const char *sid, int pid, unsigned uid)
{
	char path[128], text[256];
	int fd, len;

	record_path(path, env, sid);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	len = snprintf(text, sizeof(text), "{\"sid\":\"%s\",\"pid\":%d,\"uid\":%u}", sid, pid, uid);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		_exit(96);
	close(fd);
}

/* What a child must not have: returns how many descriptors above 2 there are */
static int count_fds(void)
{
	int n = 0;

	for (int fd = 3; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int origin_session(const struct session_env *env, int client, uid_t client_uid, const char *request)
{
	AUTO_JSON json *j = NULL;
	const char *host = "", *mode;
	sigset_t mask;
	int64_t pid;

	sigprocmask(SIG_BLOCK, NULL, &mask);
	if (json_parse(request, strlen(request), &j, NULL) ||
	    json_get_int(j, "pid", 1, INT32_MAX, &pid, NULL) ||
	    sigismember(&mask, SIGCHLD) || getsid(0) != getpid())
		return 95;
	mode = json_as_str(json_find(j, "host"));
	host = mode ? mode : "";
	event(env, "origin %s of %d by %u, %d descriptors", host, (int)pid, client_uid,
	      count_fds());
	if (!strcmp(host, "unreported")) {	/* dies before it says who it is */
		write_record(env, SID_A, (int)pid, getuid());
		raise(SIGKILL);
	}
	if (!strcmp(host, "liar"))
		report(env, SID_C, (int)pid + 1, false, "away");
	if (strcmp(host, "stay")) {
		send_text(client, WIRE_ANSWER, "{\"text\":\"asked only\"}");
		return 0;
	}
	write_record(env, SID_A, (int)pid, getuid());
	report(env, SID_A, (int)pid, false, "away");
	send_text(client, WIRE_ANSWER, "{\"text\":\"moved\"}");
	close(client);
	return serve(env, SID_A, (int)pid, false);
}

/* Dies as many times as there are "deaths" files */
int origin_resume(const struct session_env *env, const char *sid)
{
	AUTO_JSON json *j = NULL;
	char path[128];
	int64_t pid;

	event(env, "resume %s", sid);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/death%d", env->state_dir, i);
		if (!unlink(path))
			raise(SIGKILL);
	}
	record_path(path, env, sid);
	if (json_read_file(path, 4096, &j, NULL) ||
	    json_get_int(j, "pid", 1, INT32_MAX, &pid, NULL))
		return 94;
	report(env, sid, (int)pid, false, "resumed");
	event(env, "reported");
	return serve(env, sid, (int)pid, false);
}

int target_session(const struct session_env *env, int fd)
{
	struct link *l = tls_accept(env->identity, fd, deadline_in_ms(WAIT_MS), NULL);
	struct err e = { 0 };
	struct peer p;
	int r = l ? greet_accept(l, env->state_dir, &p, &e) : -1;

	if (r) {
		event(env, r > 0 ? "invited" : "refused");
		link_close(l);
		return 0;
	}
	report(env, SID_B, GUEST_PID, true, "here");
	event(env, "guest of %s", p.name);
	r = serve(env, SID_B, GUEST_PID, true);
	link_close(l);
	return r;
}

/* ---- waiting ------------------------------------------------------------------------ */

/* The next event must begin with @want.  Return: the whole of it, until the next call */
static const char *expect_event(const char *want)
{
	static char text[512];
	struct pollfd p = { .fd = fx.events, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, WAIT_MS) != 1)
		fail_msg("no event \"%s\"", want);
	n = recv(fx.events, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = 0;
	if (strncmp(text, want, strlen(want)))
		fail_msg("\"%s\" instead of \"%s\"", text, want);
	return text;
}

static void expect_log(const struct server *s, const char *word)
{
	char text[65536];

	for (int i = 0; i < WAIT_MS / 5; i++) {
		AUTO_FD int fd = open(s->log, O_RDONLY | O_CLOEXEC);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		text[MAX(n, 0)] = 0;
		if (strstr(text, word))
			return;
		usleep(5000);
	}
	fail_msg("no %s in the log:\n%s", word, text);
}

/* ---- daemons ------------------------------------------------------------------------ */

static void put_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void server_names(struct server *s, const char *name)
{
	*s = (struct server){ 0 };
	snprintf(s->state, sizeof(s->state), "%s/%s", fx.dir, name);
	snprintf(s->control, sizeof(s->control), "%s/%s.sock", fx.dir, name);
	snprintf(s->policy, sizeof(s->policy), "%s/%s.policy", fx.dir, name);
	snprintf(s->log, sizeof(s->log), "%s/%s.log", fx.dir, name);
	put_file(s->policy, "{\"rules\":[{\"path\":\"/a/**\",\"is\":\"origin\"}]}");
}

static void NORETURN server_main(const struct server *s, int ready)
{
	struct daemon_config config = { .state_dir = s->state, .control = s->control,
					.policy = s->policy, .libexec = "/nowhere",
					.listen = "127.0.0.1:0", .root = geteuid() == 0 };
	int log = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct daemon *d = NULL;
	struct err e = { 0 };
	int r;

	dup2(log, STDERR_FILENO);
	r = daemon_open(&config, &d, &e);
	if (write(ready, &r, sizeof(r)) != sizeof(r))
		_exit(1);
	if (!r)
		r = daemon_run(d, &e);
	daemon_close(d);
	exit(r ? 1 : 0);	/* not _exit(): a sanitizer has its say about leaks */
}

/* Return: what daemon_open() said */
static int server_start(struct server *s)
{
	int p[2], r = -1;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fflush(NULL);
	s->pid = fork();
	if (!s->pid)
		server_main(s, p[1]);
	close(p[1]);
	assert_int_equal(read(p[0], &r, sizeof(r)), sizeof(r));
	close(p[0]);
	return r;
}

static int server_wait(struct server *s)
{
	int status;

	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void server_stop(struct server *s)
{
	kill(s->pid, SIGTERM);
	assert_int_equal(server_wait(s), 0);
	assert_int_equal(access(s->control, F_OK), -1);
}

/* ---- asking ------------------------------------------------------------------------- */

/* Asks, skips progress.  Return: the answer, -1 if there was none */
static int64_t ask_json(const char *control, const char *request, json **answer)
{
	struct client_said said = { 0 };
	struct err e = { 0 };
	AUTO_FD int fd = client_connect(control, &e);

	*answer = NULL;
	if (fd < 0 || client_ask(fd, request, &e))
		return -1;
	do {
		json_free(said.json);
		if (client_hear(fd, &said, &e))
			return -1;
	} while (!said.answer);
	*answer = said.json;
	return said.code;
}

static int64_t __attribute__((format(printf, 2, 3))) ask(const struct server *s, const char *fmt,
							 ...)
{
	AUTO_JSON json *answer = NULL;
	char request[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(request, sizeof(request), fmt, ap);
	va_end(ap);
	return ask_json(s->control, request, &answer);
}

/* The member @key of the answer's first element of @list, or of the answer itself */
static void ask_for(const struct server *s, const char *request, const char *list, const char *key,
		    char *out, size_t size)
{
	AUTO_JSON json *answer = NULL;
	const char *text;

	assert_int_equal(ask_json(s->control, request, &answer), 0);
	text = json_as_str(json_find(list ? json_first(json_find(answer, list)) : answer, key));
	snprintf(out, size, "%s", text ? text : "");
}

#define assert_answer(s, request, list, key, expected)                                     \
	do {                                                                               \
		char got_[256];                                                            \
                                                                                           \
		ask_for(s, request, list, key, got_, sizeof(got_));                        \
		assert_string_equal(got_, expected);                                       \
	} while (0)

static void server_begin(struct server *s, const char *name)
{
	server_names(s, name);
	assert_int_equal(server_start(s), 0);
	ask_for(s, "{\"do\":\"identity\"}", NULL, "listen", s->addr, sizeof(s->addr));
	ask_for(s, "{\"do\":\"identity\"}", NULL, "identity", s->pin, sizeof(s->pin));
	assert_true(peer_pin_ok(s->pin));
}

/* Until ps shows @state; a report and an event go different ways */
static void expect_state(const struct server *s, const char *state)
{
	char got[64] = "?";

	for (int i = 0; i < WAIT_MS / 5; i++) {
		ask_for(s, "{\"do\":\"ps\"}", "programs", "state", got, sizeof(got));
		if (!strcmp(got, state))
			return;
		usleep(5000);
	}
	fail_msg("state \"%s\" instead of \"%s\"", got, state);
}

/* What an ordinary user is answered */
static int64_t ask_as_nobody(const struct server *s, const char *request)
{
	int64_t code = 0;
	int p[2];
	pid_t pid;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		AUTO_JSON json *answer = NULL;

		if (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		code = ask_json(s->control, request, &answer);
		_exit(write(p[1], &code, sizeof(code)) < 0);
	}
	close(p[1]);
	assert_int_equal(read(p[0], &code, sizeof(code)), sizeof(code));
	close(p[0]);
	waitpid(pid, NULL, 0);
	return code;
}

/* ---- the fixture -------------------------------------------------------------------- */

static int set_up(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	(void)state;
	strcpy(fx.dir, "/tmp/test_daemon.XXXXXX");
	if (!mkdtemp(fx.dir) || chmod(fx.dir, 0711))
		return -1;
	fx.events = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/events", fx.dir);
	if (bind(fx.events, (struct sockaddr *)&sa, sizeof(sa)))
		return -1;
	fx.program = fork();
	if (!fx.program) {
		pause();
		_exit(0);
	}
	return 0;
}

static int tear_down(void **state)
{
	char cmd[128];

	(void)state;
	kill(fx.program, SIGKILL);
	waitpid(fx.program, NULL, 0);
	close(fx.events);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", fx.dir);
	return system(cmd);
}

/* ---- tests -------------------------------------------------------------------------- */

static void test_requests(void **state)
{
	static const struct row {
		const char *request;
		int code;
	} rows[] = {
		{ "{\"do\":\"ps\"}", 0 },
		{ "{\"do\":\"peers\"}", 0 },
		{ "{\"do\":\"policy\",\"path\":\"/a/b\"}", 0 },
		{ "{\"do\":\"policy\",\"path\":\"a\"}", -EINVAL },
		{ "{\"do\":\"policy\"}", -EINVAL },
		{ "{\"do\":\"dance\"}", -EOPNOTSUPP },
		{ "{\"do\":7}", -EINVAL },
		{ "{}", -EINVAL },
		{ "[]", -EINVAL },
		{ "", -EINVAL },
		{ "{\"do\":\"ps\"", -EINVAL },
		{ "{\"do\":\"why\"}", -EINVAL },
		{ "{\"do\":\"why\",\"pid\":0}", -EINVAL },
		{ "{\"do\":\"why\",\"pid\":2147483647}", -ESRCH },
		{ "{\"do\":\"move\",\"pid\":1}", -EINVAL },
		{ "{\"do\":\"untrust\",\"name\":\"x\"}", -ENOENT },
		{ "{\"do\":\"untrust\",\"name\":\"x/y\"}", -EINVAL },
		{ "{\"do\":\"trust\",\"name\":\"x\"}", -EINVAL },
		{ "{\"do\":\"trust\",\"name\":\"x\",\"token\":\"mm1.abc\"}", -EINVAL },
		{ "{\"do\":\"trust\",\"name\":\"x\",\"address\":\"h\",\"pin\":\"12\"}", -EINVAL },
		{ "{\"do\":\"trust\",\"name\":\"x\",\"address\":\"1\",\"pin\":\"" PIN_X "\"}",
		  -EINVAL },
		{ "{\"do\":\"trust\",\"name\":\"x\",\"address\":\"[::1]\",\"pin\":\"" PIN_X "\"}",
		  0 },
		{ "{\"do\":\"trust\",\"name\":\"y\",\"address\":\"h:1\",\"pin\":\"" PIN_X "\"}",
		  -EEXIST },
	};
	struct server s;

	(void)state;
	server_begin(&s, "a");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		AUTO_JSON json *answer = NULL;

		assert_int_equal(ask_json(s.control, rows[i].request, &answer), rows[i].code);
		assert_non_null(json_as_str(json_find(answer, "text")));
	}
	assert_answer(&s, "{\"do\":\"peers\"}", "peers", "address", "[::1]:7117");
	assert_int_equal(ask(&s, "{\"do\":\"untrust\",\"name\":\"x\"}"), 0);
	assert_answer(&s, "{\"do\":\"peers\"}", "peers", "name", "");
	server_stop(&s);
}

static int say(int fd, const void *p, size_t len)
{
	return sock_send(fd, p, len, NULL, 0, deadline_in_ms(WAIT_MS));
}

/* Return: bytes that came, 0: the daemon hung up */
static ssize_t hear(int fd)
{
	uint8_t buf[256];

	return sock_recv(fd, buf, sizeof(buf), NULL, NULL, deadline_in_ms(WAIT_MS));
}

/* What isn't a request, and clients that never ask */
static void test_garbage(void **state)
{
	static const char *const texts[] = { "", "x", "GET / HTTP/1.1\r\n\r\n",
					     "SSSSSSSSSSSSSSSS", "0123456789abcdef0123456789" };
	int idle[CONTROL_MAX + 10];
	uint8_t buf[64], payload[64];
	struct server s;
	ssize_t n;

	(void)state;
	server_begin(&s, "a");
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_FD int fd = sock_connect(s.control, NULL);

		assert_int_equal(say(fd, texts[i], strlen(texts[i])), 0);
		assert_int_equal(hear(fd), 0);
	}
	expect_log(&s, "E_CLIENT_BAD");
	for (unsigned type = 0; type < 100; type++) {	/* every message with an empty body */
		AUTO_FD int fd = sock_connect(s.control, NULL);

		n = wire_pack(buf, sizeof(buf), type, 0, NULL, 0);
		assert_int_equal(say(fd, buf, (size_t)n), 0);
		if (type != WIRE_ASK)
			assert_int_equal(hear(fd), 0);
	}
	n = wire_put_register(payload, sizeof(payload), &(struct wire_register){ 1, "0.1" });
	n = wire_pack(buf, sizeof(buf), WIRE_REGISTER, 0, payload, (size_t)n);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++) {
		idle[i] = sock_connect(s.control, NULL);
		assert_true(idle[i] >= 0);
	}
	assert_int_equal(ask(&s, "{\"do\":\"ps\"}"), 0);
	expect_log(&s, "E_CLIENT_MANY");
	assert_int_equal(say(idle[CONTROL_MAX], buf, (size_t)n), 0);
	assert_int_equal(hear(idle[CONTROL_MAX]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	assert_int_equal(ask(&s, "{\"do\":\"ps\"}"), 0);
	server_stop(&s);
}

static void test_program(void **state)
{
	char text[128];
	struct server s;

	(void)state;
	server_begin(&s, "a");
	assert_int_equal(ask(&s, "{\"do\":\"why\",\"pid\":%d}", fx.program), 0);
	/* its leash, its client; the event's socket isn't there yet */
	snprintf(text, sizeof(text), "origin  of %d by %u, 2 descriptors", fx.program, getuid());
	assert_string_equal(expect_event("origin "), text);

	assert_int_equal(ask(&s, "{\"do\":\"move\",\"pid\":%d,\"host\":\"liar\"}", fx.program), 0);
	expect_event("origin liar");
	expect_log(&s, "E_SESSION_REPORT");
	assert_answer(&s, "{\"do\":\"ps\"}", "programs", "state", "");

	assert_int_equal(ask(&s, "{\"do\":\"move\",\"pid\":%d,\"host\":\"stay\"}", fx.program), 0);
	expect_event("origin stay");
	expect_state(&s, "away");
	/* from here on its session answers */
	snprintf(text, sizeof(text), "{\"do\":\"why\",\"pid\":%d}", fx.program);
	assert_answer(&s, text, NULL, "text", "by the session");
	expect_event("asked aaaaaaaa {\"do\":\"why\"");
	assert_int_equal(ask(&s, "{\"do\":\"home\",\"pid\":%d}", fx.program), 0);
	expect_event("asked aaaaaaaa {\"do\":\"home\"");
	/* and once it said that it is over, it is asked no more */
	assert_int_equal(ask(&s, "{\"do\":\"why\",\"pid\":%d}", fx.program), 0);
	expect_event("origin  of");
	assert_answer(&s, "{\"do\":\"ps\"}", "programs", "state", "");
	server_stop(&s);
}

static void test_permission(void **state)
{
	static const char *const admin[] = {
		"{\"do\":\"untrust\",\"name\":\"x\"}",
		"{\"do\":\"trust\",\"name\":\"x\",\"address\":\"h:1\",\"pin\":\"" PIN_X "\"}",
		"{\"do\":\"trust\",\"name\":\"x\",\"token\":\"mm1.abc\"}",
	};
	char request[128];
	struct server s;

	(void)state;
	if (getuid() != 0)
		skip();
	server_begin(&s, "a");
	snprintf(request, sizeof(request), "{\"do\":\"move\",\"pid\":%d,\"host\":\"stay\"}",
		 fx.program);
	assert_int_equal(ask_as_nobody(&s, request), -EPERM);
	assert_int_equal(ask_as_nobody(&s, "{\"do\":\"ps\"}"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(admin); i++)
		assert_int_equal(ask_as_nobody(&s, admin[i]), -EPERM);
	expect_log(&s, "E_NOT_PERMITTED");

	assert_int_equal(ask(&s, "%s", request), 0);
	expect_event("origin stay");
	expect_state(&s, "away");
	assert_int_equal(ask_as_nobody(&s, request), -EPERM);
	server_stop(&s);
	expect_event("orphan aaaaaaaa");	/* it lived on */
}

/* An origin session that dies while its program is away is started again, and again */
static void test_resume(void **state)
{
	char path[80];
	struct server s;
	int64_t r;

	(void)state;
	server_begin(&s, "a");
	snprintf(path, sizeof(path), "%s/death0", s.state);	/* of who is resumed first */
	put_file(path, "");
	assert_int_equal(ask(&s, "{\"do\":\"move\",\"pid\":%d,\"host\":\"stay\"}", fx.program), 0);
	expect_event("origin stay");
	expect_state(&s, "away");
	assert_int_equal(ask(&s, "{\"do\":\"move\",\"pid\":%d,\"host\":\"die\"}", fx.program), -1);
	expect_event("asked");
	expect_event("resume " SID_A);
	expect_log(&s, "E_SESSION_DIED");
	expect_log(&s, "E_SESSION_LOST");
	/* the first of the new ones died as well; who asks meanwhile is told to come back */
	do
		r = ask(&s, "{\"do\":\"why\",\"pid\":%d}", fx.program);
	while (r == -1);
	assert_true(r == -EAGAIN || r == 0);
	expect_event("resume " SID_A);
	expect_event("reported");
	if (!r)		/* this test was slow */
		expect_event("asked aaaaaaaa {\"do\":\"why\"");
	expect_state(&s, "resumed");
	assert_int_equal(ask(&s, "{\"do\":\"home\",\"pid\":%d}", fx.program), 0);
	expect_event("asked aaaaaaaa {\"do\":\"home\"");

	/* one that never said its id: it is found by its program */
	assert_int_equal(ask(&s, "{\"do\":\"move\",\"pid\":%d,\"host\":\"unreported\"}",
			     fx.program), -1);
	expect_event("origin unreported");
	expect_event("resume " SID_A);
	expect_event("reported");
	server_stop(&s);
	expect_event("orphan aaaaaaaa");
}

/* What an earlier daemon left */
static void test_start(void **state)
{
	char path[128];
	struct session_env env;
	struct server s, other;

	(void)state;
	server_names(&s, "a");
	env = (struct session_env){ .state_dir = s.state };
	assert_int_equal(mkdir(s.state, 0700), 0);
	snprintf(path, sizeof(path), "%s/sessions", s.state);
	assert_int_equal(mkdir(path, 0700), 0);
	write_record(&env, SID_A, fx.program, getuid());
	write_record(&env, "not-an-id", fx.program, getuid());
	record_path(path, &env, SID_B);		/* reading it would never end */
	assert_int_equal(mkfifo(path, 0600), 0);
	record_path(path, &env, SID_C);
	put_file(path, "not JSON");
	assert_int_equal(server_start(&s), 0);
	expect_event("resume " SID_A);
	expect_event("reported");
	expect_state(&s, "resumed");
	expect_log(&s, "E_SESSION_FILE");

	/* neither another daemon's state directory nor its socket is taken */
	other = s;
	snprintf(other.control, sizeof(other.control), "%s/b.sock", fx.dir);
	assert_int_equal(server_start(&other), -EBUSY);
	assert_int_equal(server_wait(&other), 1);
	server_names(&other, "b");
	strcpy(other.control, s.control);
	assert_int_equal(server_start(&other), -EADDRINUSE);
	assert_int_equal(server_wait(&other), 1);
	assert_int_equal(ask(&s, "{\"do\":\"ps\"}"), 0);
	server_stop(&s);
	expect_event("orphan aaaaaaaa");
}

static void test_reload(void **state)
{
	struct server s;

	(void)state;
	server_begin(&s, "a");
	assert_answer(&s, "{\"do\":\"policy\",\"path\":\"/a/b\"}", NULL, "verdict", "origin");
	put_file(s.policy, "{\"rules\":[{\"path\":\"/a/**\",\"is\":\"refuse\"}]}");
	kill(s.pid, SIGHUP);
	expect_log(&s, "I_POLICY_READ");
	assert_answer(&s, "{\"do\":\"policy\",\"path\":\"/a/b\"}", NULL, "verdict", "refuse");
	put_file(s.policy, "{\"rules\":[{\"path\":\"/a/**\",\"is\":\"nonsense\"}]}");
	kill(s.pid, SIGHUP);
	expect_log(&s, "E_POLICY_BAD");
	assert_answer(&s, "{\"do\":\"policy\",\"path\":\"/a/b\"}", NULL, "verdict", "refuse");
	server_stop(&s);
}

/* A connection to @s as whoever has the state directory @dir */
static struct link *dial(const struct server *s, struct identity *id)
{
	char host[PEER_ADDR];
	uint16_t port;

	assert_int_equal(peer_addr_split(s->addr, host, &port), 0);
	return tls_connect(id, host, port, s->pin, deadline_in_ms(WAIT_MS), NULL);
}

static void dial_garbage(const struct server *s)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char host[PEER_ADDR], c;
	uint16_t port;

	assert_int_equal(peer_addr_split(s->addr, host, &port), 0);
	sa.sin_port = htons(port);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL), 18);
	while (recv(fd, &c, 1, 0) > 0)
		;
}

static void test_peers(void **state)
{
	char dir[64], request[256];
	struct identity *me;
	struct server s;
	struct link *l;
	int64_t pid = 0;
	json *answer;

	(void)state;
	server_begin(&s, "a");
	snprintf(dir, sizeof(dir), "%s/me", fx.dir);
	assert_int_equal(identity_open(dir, &me, NULL), 0);
	dial_garbage(&s);
	expect_event("refused");
	l = dial(&s, me);
	assert_non_null(l);
	assert_int_equal(greet_connect(l, NULL), 0);
	expect_event("refused");
	expect_log(&s, "E_PEER_UNKNOWN");
	link_close(l);

	assert_int_equal(ask(&s, "{\"do\":\"trust\",\"name\":\"me\",\"address\":\"h:1\","
			     "\"identity\":\"%s\"}", identity_pin(me)), 0);
	l = dial(&s, me);
	assert_non_null(l);
	assert_int_equal(greet_connect(l, NULL), 0);
	expect_event("guest of me");
	expect_state(&s, "here");
	assert_int_equal(ask_json(s.control, "{\"do\":\"ps\"}", &answer), 0);
	assert_int_equal(json_get_int(json_first(json_find(answer, "programs")), "host_pid", 1,
				      INT32_MAX, &pid, NULL), 0);
	json_free(answer);
	/* by its number here, and by that at its origin */
	snprintf(request, sizeof(request), "{\"do\":\"why\",\"pid\":%d}", (int)pid);
	assert_answer(&s, request, NULL, "text", "by the session");
	expect_event("asked bbbbbbbb");
	snprintf(request, sizeof(request), "{\"do\":\"home\",\"pid\":%d}", GUEST_PID);
	assert_answer(&s, request, NULL, "text", "by the session");
	expect_event("asked bbbbbbbb");
	link_close(l);
	identity_close(me);
	server_stop(&s);
}

static void test_token(void **state)
{
	char token[INVITE_TOKEN];
	struct server a, b;

	(void)state;
	server_begin(&a, "a");
	server_begin(&b, "b");
	assert_int_equal(invite_make(a.state, a.addr, a.pin, token, sizeof(token), NULL), 0);
	assert_int_equal(ask(&b, "{\"do\":\"trust\",\"name\":\"alpha\",\"token\":\"%s\"}", token),
			 0);
	expect_event("invited");
	assert_answer(&b, "{\"do\":\"peers\"}", "peers", "name", "alpha");
	assert_answer(&b, "{\"do\":\"peers\"}", "peers", "address", a.addr);
	assert_answer(&b, "{\"do\":\"peers\"}", "peers", "identity", a.pin);
	assert_answer(&a, "{\"do\":\"peers\"}", "peers", "address", b.addr);
	assert_answer(&a, "{\"do\":\"peers\"}", "peers", "identity", b.pin);
	/* it works once */
	assert_int_equal(ask(&b, "{\"do\":\"trust\",\"name\":\"again\",\"token\":\"%s\"}", token),
			 -EACCES);
	expect_event("refused");
	server_stop(&a);
	/* and not without the host that made it */
	assert_int_equal(ask(&b, "{\"do\":\"trust\",\"name\":\"again\",\"token\":\"%s\"}", token),
			 -ECONNREFUSED);
	server_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_program, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_permission, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_resume, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_start, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_peers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_token, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

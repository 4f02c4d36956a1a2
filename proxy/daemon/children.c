/* SPDX-License-Identifier: MIT */
/*
 * children.c - The daemon's sessions: processes of their own, each on its leash
 *
 *	            spawn()                       the process ended, and the
 *	(a request) ───────▶ LIVING ──────────────────────────────────────▶ gone
 *	(a connection)        ▲  │     program isn't elsewhere, or ours
 *	                      │  │ ended(), at the origin, and sessions/SID.json is there
 *	              tick()  │  ▼
 *	                     WAITING (process == 0, until @due; and while another session, which
 *	                              an earlier daemon started, is still attached)
 *
 * A session is believed as little as need be: it may have been taken over by whoever it talks to.
 * What it reports is checked field by field, and a session that was started for one process can't
 * claim another one.
 *
 * A child keeps nothing of ours but its leash and its client: all other descriptors are closed,
 * so that neither a lock nor a peer's connection lives on in it.  SIGPIPE stays ignored there: a
 * session must survive the end of whoever reads its log.
 */
#include "proxy/daemon/children.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/daemon/records.h"
#include "proxy/trace/procfs.h"

#define LIVED_WELL_S 60		/* who lived so long is started again at once */
#define REPORTS_AT_ONCE 16

/* How long a session waits after its n-th death in a row */
static const int resume_after_s[] = { 0, 1, 2, 5, 10, 20, 30 };

enum kind { KIND_ORIGIN, KIND_TARGET, KIND_HELPER, KINDS };
static const char *const kind_names[KINDS] = {
	[KIND_ORIGIN] = "origin", [KIND_TARGET] = "target", [KIND_HELPER] = "helper",
};

struct program {
	pid_t pid;		/* at the origin; 0: not known */
	pid_t host_pid;		/* of a guest: here */
	uid_t uid;
	bool guest;
};

struct session {
	struct watch leash;	/* fd -1: none, or it ended */
	struct children *all;
	struct session *next;
	enum kind kind;
	pid_t process;		/* 0: WAITING */
	char sid[SID_LEN + 1];	/* "": not known yet */
	struct program program;
	char *report;		/* JSON, checked; NULL: nothing to show */
	bool over;		/* its program ended or is back: its pid is another's */
	unsigned deaths;	/* in a row */
	pid_t stranger;		/* an earlier daemon's session, for whose end we wait; or 0 */
	int64_t born, due;	/* CLOCK_MONOTONIC, ns */
};

struct children {
	struct loop *loop;
	const struct session_env *env;
	struct session *list;
	uint8_t buf[WIRE_LOCAL_MAX];	/* a message that is being read */
};

/* What a child does: set by whoever starts it, read in the child */
struct job {
	int (*run)(const struct session_env *env, const struct job *j);
	int fd;			/* client or connection; -1: none */
	uid_t uid;
	const char *text;
	children_help_fn *help;
};

static void on_leash(struct watch *w, uint32_t events);

/* ---- the list ------------------------------------------------------------------ */

struct children *children_new(struct loop *loop, const struct session_env *env)
{
	struct children *c = calloc(1, sizeof(*c));

	if (c)
		*c = (struct children){ .loop = loop, .env = env };
	return c;
}

static struct session *session_new(struct children *c, enum kind kind)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct session){ .leash.fd = -1, .all = c, .kind = kind, .next = c->list,
			       .born = clock_ns(CLOCK_MONOTONIC) };
	c->list = s;
	return s;
}

static void session_free(struct session *s)
{
	struct session **at = &s->all->list;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	loop_drop(s->all->loop, &s->leash);
	free(s->report);
	free(s);
}

void children_free(struct children *c)
{
	if (!c)
		return;
	while (c->list)
		session_free(c->list);
	free(c);
}

static bool has_room(const struct children *c)
{
	size_t n = 0;

	for (const struct session *s = c->list; s; s = s->next)
		n++;
	return n < CHILDREN_MAX;
}

bool children_may_accept(const struct children *c)
{
	size_t strangers = 0;

	for (const struct session *s = c->list; s; s = s->next)
		strangers += s->kind == KIND_TARGET && !s->program.pid;
	return strangers < CHILDREN_STRANGERS && has_room(c);
}

static bool sid_is_taken(const struct children *c, const char *sid)
{
	for (const struct session *s = c->list; s; s = s->next)
		if (!strcmp(s->sid, sid))
			return true;
	return false;
}

static bool has_record(const struct session *s)
{
	return records_has(s->all->env->state_dir, s->sid);
}

/* ---- starting ------------------------------------------------------------------ */

static int run_origin(const struct session_env *env, const struct job *j)
{
	return origin_session(env, j->fd, j->uid, j->text);
}

static int run_resume(const struct session_env *env, const struct job *j)
{
	return origin_resume(env, j->text);
}

static int run_target(const struct session_env *env, const struct job *j)
{
	return target_session(env, j->fd);
}

static int run_help(const struct session_env *env, const struct job *j)
{
	return j->help(env, j->fd, j->text);
}

/* Closes everything above standard error but @a and @b */
static void close_but(int a, int b)
{
	unsigned low = (unsigned)MAX(MIN(a, b), STDERR_FILENO);
	unsigned high = (unsigned)MAX(MAX(a, b), STDERR_FILENO);

	if (low > STDERR_FILENO + 1)
		close_range(STDERR_FILENO + 1, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
}

/* The child's life.  @leash: its end */
static void NORETURN live(const struct session *s, const struct job *j, int leash)
{
	struct session_env env = *s->all->env;
	sigset_t none;
	char name[48];

	env.leash = leash;
	close_but(leash, j->fd);
	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (s->sid[0])
		snprintf(name, sizeof(name), "session %.8s", s->sid);
	else if (s->program.pid)
		snprintf(name, sizeof(name), "origin of %d", (int)s->program.pid);
	else
		snprintf(name, sizeof(name), "%s", kind_names[s->kind]);
	log_set_name(name);
	_exit(j->run(&env, j));
}

/* Forks @s.  Return: 0 or a negative errno; then @s is as before */
static int spawn(struct session *s, const struct job *j, struct err *e)
{
	int sv[2], r = sock_pair(sv, e);
	pid_t pid;

	if (r)
		return r;
	pid = fork();
	if (!pid)
		live(s, j, sv[1]);
	close(sv[1]);
	if (pid < 0) {
		r = err_set(e, -errno, "start a session");
		close(sv[0]);
		return r;
	}
	s->process = pid;
	s->born = clock_ns(CLOCK_MONOTONIC);
	/* Without its leash a session works on, though nobody can ask it anything */
	if (loop_add(s->all->loop, &s->leash, sv[0], EPOLLIN, on_leash, e))
		log_line(LOG_LEVEL_ERR, "E_SESSION_START", "process %d has no leash", (int)pid);
	return 0;
}

/* A new session of @kind for @p.  Return: 0 or a negative errno */
static int start(struct children *c, enum kind kind, const struct program *p, const struct job *j,
		 struct err *e)
{
	struct session *s = has_room(c) ? session_new(c, kind) : NULL;
	int r;

	if (!s)
		return err_say(e, -EBUSY, "mproxy has %d sessions already: no more", CHILDREN_MAX);
	s->program = *p;
	r = spawn(s, j, e);
	if (r)
		session_free(s);
	return r;
}

int children_origin(struct children *c, int client, uid_t client_uid, pid_t pid, uid_t owner,
		    const char *request, struct err *e)
{
	struct job j = { .run = run_origin, .fd = client, .uid = client_uid, .text = request };
	struct program p = { .pid = pid, .uid = owner };

	return start(c, KIND_ORIGIN, &p, &j, e);
}

int children_target(struct children *c, int fd, struct err *e)
{
	struct job j = { .run = run_target, .fd = fd };

	return start(c, KIND_TARGET, &(struct program){ 0 }, &j, e);
}

int children_help(struct children *c, children_help_fn *fn, int client, const char *text,
		  struct err *e)
{
	struct job j = { .run = run_help, .fd = client, .text = text, .help = fn };

	return start(c, KIND_HELPER, &(struct program){ 0 }, &j, e);
}

/* ---- starting again ------------------------------------------------------------ */

static void resume_record(void *ctx, const char *sid)
{
	struct children *c = ctx;
	struct record record;
	struct session *s;

	if (sid_is_taken(c, sid) || records_read(c->env->state_dir, sid, &record))
		return;
	s = has_room(c) ? session_new(c, KIND_ORIGIN) : NULL;
	if (!s) {
		log_line(LOG_LEVEL_ERR, "E_SESSION_MANY", "session %s isn't started: too many",
			 sid);
		return;
	}
	strcpy(s->sid, sid);
	s->program = (struct program){ .pid = record.pid, .uid = record.uid };
	s->due = s->born;
}

void children_resume_all(struct children *c)
{
	records_each(c->env->state_dir, resume_record, c);
}

/* When it would be started, should it die now */
static int64_t next_due(struct session *s)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	unsigned n;

	if (now - s->born >= LIVED_WELL_S * NS_PER_S)
		s->deaths = 0;
	n = MIN(s->deaths, (unsigned)ARRAY_SIZE(resume_after_s) - 1);
	s->deaths++;
	return now + resume_after_s[n] * NS_PER_S;
}

/*
 * A session that an earlier daemon started is attached to its deputy for as long as it lives, and
 * two would be one too many.  Return: its pid, 0: there is none
 */
static pid_t find_stranger(const struct session *s)
{
	struct proc_status status;

	if (procfs_status(s->program.pid, s->program.pid, &status, NULL))
		return 0;
	return status.tracer;
}

/* Waits on, and says so once */
static void wait_for_stranger(struct session *s, pid_t stranger)
{
	if (s->stranger != stranger)
		log_line(LOG_LEVEL_INFO, "I_SESSION_OTHER",
			 "session %s of process %d: process %d, of an earlier mproxy, still does it",
			 s->sid, (int)s->program.pid, (int)stranger);
	s->stranger = stranger;
	s->due = next_due(s);
}

/* A WAITING session whose time has come */
static void resume(struct session *s)
{
	struct job j = { .run = run_resume, .fd = -1, .text = s->sid };
	struct err e = { 0 };
	pid_t stranger;

	if (!has_record(s)) {
		session_free(s);
		return;
	}
	stranger = find_stranger(s);
	if (stranger) {
		wait_for_stranger(s, stranger);
		return;
	}
	s->stranger = 0;
	if (!spawn(s, &j, &e)) {
		log_line(LOG_LEVEL_INFO, "I_SESSION_RESUME", "session %s of process %d: process %d",
			 s->sid, (int)s->program.pid, (int)s->process);
		return;
	}
	log_line(LOG_LEVEL_ERR, "E_SESSION_START", "session %s: %s", s->sid, e.text);
	s->due = next_due(s);
}

int64_t children_deadline(const struct children *c)
{
	int64_t first = NO_DEADLINE;

	for (const struct session *s = c->list; s; s = s->next)
		if (!s->process)
			first = MIN(first, s->due);
	return first;
}

void children_tick(struct children *c)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	struct session *next;

	for (struct session *s = c->list; s; s = next) {
		next = s->next;
		if (!s->process && s->due <= now)
			resume(s);
	}
}

/* ---- what they report ---------------------------------------------------------- */

/* Nothing to show any more; who it was stays known while it may be started again */
static void forget_report(struct session *s)
{
	free(take_ptr(s->report));
}

/* Reads the numbers of a report.  Return: 0 or -EINVAL */
static int report_program(const json *j, struct program *p, const char **sid, const char **state,
			  struct err *e)
{
	int64_t pid = 0, host_pid = 0, uid = 0;
	int r = json_get_str(j, "sid", sid, e);

	if (!r)
		r = json_get_str(j, "state", state, e);
	if (!r)
		r = json_get_int(j, "pid", 1, INT32_MAX, &pid, e);
	if (!r)
		r = json_get_int(j, "uid", 0, UINT32_MAX, &uid, e);
	if (!r && json_find(j, "host_pid"))
		r = json_get_int(j, "host_pid", 0, INT32_MAX, &host_pid, e);
	if (!r)
		r = json_get_bool(j, "guest", &p->guest, e);
	if (r)
		return r;
	p->pid = (pid_t)pid;
	p->host_pid = p->guest ? (pid_t)host_pid : 0;
	p->uid = (uid_t)uid;
	return records_is_sid(*sid) ? 0 : err_say(e, -EINVAL, "\"sid\" isn't a session's id");
}

/* @text: a report.  Return: 0 or a negative errno */
static int take_report(struct session *s, const char *text, struct err *e)
{
	AUTO_JSON json *j = NULL;
	struct program p = { 0 };
	const char *sid, *state;
	int r = json_parse(text, strlen(text), &j, e);

	if (!r)
		r = report_program(j, &p, &sid, &state, e);
	if (r)
		return r;
	if (p.guest != (s->kind == KIND_TARGET))
		return err_say(e, -EINVAL, "such a program is no business of the %s side",
			       kind_names[s->kind]);
	if (s->kind == KIND_ORIGIN && s->program.pid && p.pid != s->program.pid)
		return err_say(e, -EPERM, "process %d isn't its business", (int)p.pid);
	forget_report(s);
	strcpy(s->sid, sid);
	s->program = p;
	s->over = !strcmp(state, "ended");
	if (s->over)
		return 0;
	s->report = json_text(j, false);
	return s->report ? 0 : err_set(e, -ENOMEM, "keep a report");
}

/* One datagram from the leash.  Return: false when there was none, or the leash has ended */
static bool take_message(struct session *s)
{
	uint8_t *buf = s->all->buf;
	ssize_t n = sock_recv(s->leash.fd, buf, sizeof(s->all->buf), NULL, NULL, 0);
	struct wire_answer m = { 0 };
	struct err e = { 0 };
	struct wire_head h;
	const void *payload;
	int r;

	if (n == -EAGAIN)
		return false;
	if (n == 0 || (n < 0 && n != -EMSGSIZE)) {
		loop_drop(s->all->loop, &s->leash);
		forget_report(s);
		return false;
	}
	r = n < 0 ? (int)n : wire_unpack(buf, (size_t)n, &h, &payload);
	if (!r)
		r = h.type == WIRE_ANSWER ? wire_get_answer(payload, h.length, &m) : -EBADMSG;
	if (r)
		err_set(&e, r, "it sent something else than a report");
	else
		r = take_report(s, m.answer, &e);
	if (r)
		log_line(LOG_LEVEL_WARN, "E_SESSION_REPORT", "%s session, process %d: %s",
			 kind_names[s->kind], (int)s->process, e.text);
	return true;
}

static void on_leash(struct watch *w, uint32_t events)
{
	(void)events;
	take_message(loop_owner(w, struct session, leash));
}

json *children_list(const struct children *c)
{
	json *list = json_array();

	for (const struct session *s = c->list; s; s = s->next) {
		json *one = NULL;

		if (s->report && !json_parse(s->report, strlen(s->report), &one, NULL))
			json_push(list, one);
	}
	return list;
}

/* ---- requests go down ------------------------------------------------------------ */

static bool process_exists(pid_t pid)
{
	return !kill(pid, 0) || errno == EPERM;
}

/*
 * In order: a number of this machine's (of a deputy, of a guest as it is seen here), then a
 * guest's number at its origin
 */
struct session *children_find(struct children *c, pid_t pid, bool home)
{
	struct session *by_origin_pid = NULL;

	for (struct session *s = c->list; s; s = s->next) {
		const struct program *p = &s->program;

		/* what was said before the client asked counts */
		for (int i = 0; i < REPORTS_AT_ONCE && s->leash.fd >= 0 && take_message(s); i++)
			;
		if (s->kind == KIND_HELPER || !p->pid || s->over)
			continue;
		/* one that was only started for a question isn't the program's session */
		if (!p->guest && p->pid == pid && s->sid[0])
			return s;
		if (p->guest && p->host_pid == pid)
			return s;
		if (p->guest && p->pid == pid)
			by_origin_pid = s;
	}
	return by_origin_pid && !home && process_exists(pid) ? NULL : by_origin_pid;
}

uid_t children_owner(const struct session *s)
{
	return s->program.uid;
}

int children_ask(struct session *s, int client, const char *request, struct err *e)
{
	AUTO_FREE uint8_t *buf = malloc(WIRE_LOCAL_MAX), *payload = malloc(WIRE_LOCAL_MAX);
	struct wire_ask m = { .request = request };
	ssize_t n;
	int r;

	if (s->stranger)
		return err_say(e, -EAGAIN, "the session of process %d was started by an earlier "
			       "mproxy and can't be asked; after 'kill %d' a new one takes over",
			       (int)s->program.pid, (int)s->stranger);
	if (s->leash.fd < 0)
		return err_say(e, -EAGAIN, "the session of process %d is being started again; "
			       "ask once more in a few seconds", (int)s->program.pid);
	if (!buf || !payload)
		return err_set(e, -ENOMEM, "pass the request on");
	n = wire_put_ask(payload, WIRE_LOCAL_MAX, &m);
	if (n >= 0)
		n = wire_pack(buf, WIRE_LOCAL_MAX, WIRE_ASK, 0, payload, (size_t)n);
	if (n < 0)
		return err_set(e, (int)n, "pass the request on");
	r = sock_send(s->leash.fd, buf, (size_t)n, &client, 1, 0);
	return r ? err_set(e, r, "the session of process %d takes no request", (int)s->program.pid)
		 : 0;
}

/* ---- endings ------------------------------------------------------------------- */

static void match_record(void *ctx, const char *sid)
{
	struct session *s = ctx;
	struct record record;

	if (!s->sid[0] && !sid_is_taken(s->all, sid) &&
	    !records_read(s->all->env->state_dir, sid, &record) && record.pid == s->program.pid)
		strcpy(s->sid, sid);
}

/* A session may die between writing its record and telling us its id */
static void find_sid(struct session *s)
{
	for (const struct session *o = s->all->list; o; o = o->next)
		if (o != s && o->kind == KIND_ORIGIN && o->program.pid == s->program.pid)
			return;		/* the record may be its */
	records_each(s->all->env->state_dir, match_record, s);
}

/* @s's process ended with @status, as wait(2) gives it */
static void ended(struct session *s, int status)
{
	while (s->leash.fd >= 0 && take_message(s))
		;
	loop_drop(s->all->loop, &s->leash);
	forget_report(s);
	if (WIFSIGNALED(status))
		log_line(LOG_LEVEL_ERR, "E_SESSION_DIED", "%s session, process %d: killed by %s",
			 kind_names[s->kind], (int)s->process, strsignal(WTERMSIG(status)));
	else
		log_debug("%s session, process %d: ended with status %d", kind_names[s->kind],
			  (int)s->process, WEXITSTATUS(status));
	s->process = 0;
	if (s->kind == KIND_ORIGIN && !s->sid[0])
		find_sid(s);
	if (s->kind != KIND_ORIGIN || !has_record(s)) {
		session_free(s);
		return;
	}
	s->due = next_due(s);
	log_line(LOG_LEVEL_WARN, "E_SESSION_LOST",
		 "session %s of process %d ended while its program is elsewhere; again in %lld s",
		 s->sid, (int)s->program.pid,
		 (long long)((s->due - clock_ns(CLOCK_MONOTONIC) + NS_PER_S - 1) / NS_PER_S));
}

void children_reap(struct children *c)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (struct session *s = c->list; s; s = s->next)
			if (s->process == pid) {
				ended(s, status);
				break;
			}
}

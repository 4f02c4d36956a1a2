/* SPDX-License-Identifier: MIT */
/*
 * session.c - The origin's session: who asks what, and with which rights
 *
 * It starts with mproxy's rights, opens what it will need (peers, directories, the deputy's
 * socket), and becomes the program's user before it hears a byte from a peer.  Of root's
 * capabilities it keeps ptrace until it is attached, and CAP_CHECKPOINT_RESTORE for the way home.
 *
 * sessions/SID.json is the origin's memory of a session: as long as it is there, somebody has to
 * see to it that a copy at a target is either resumed or given up.
 */
#include "proxy/origin/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/link/identity.h"
#include "proxy/origin/hub.h"
#include "proxy/origin/self.h"
#include "proxy/target/keeper.h"
#include "proxy/trace/procfs.h"

#define CAP_BIT(n) (1ULL << (n))
#define SESSION_MAX 65536

/* ---- to who asked ------------------------------------------------------------------------------------- */

static void to_socket(int fd, unsigned type, const void *payload, ssize_t n)
{
	AUTO_FREE uint8_t *buf = n < 0 ? NULL : malloc((size_t)n + WIRE_HEAD);
	ssize_t len = buf ? wire_pack(buf, (size_t)n + WIRE_HEAD, type, 0, payload, (size_t)n) : -1;

	if (fd >= 0 && len > 0 && sock_send(fd, buf, (size_t)len, NULL, 0, deadline_in_ms(1000)))
		log_debug("nobody is there to be told");
}

void origin_answer(struct origin *o, int code, const char *text, json *extra)
{
	AUTO_JSON json *j = extra ? extra : json_object();
	AUTO_FREE char *body = NULL;
	AUTO_FREE uint8_t *buf = NULL;
	struct wire_answer m = { .code = code };

	json_put_str(j, "text", text);
	body = json_text(j, false);
	m.answer = body;
	buf = body ? malloc(strlen(body) + 64) : NULL;
	if (buf)
		to_socket(o->client, WIRE_ANSWER, buf, wire_put_answer(buf, strlen(body) + 64, &m));
	drop_fd(&o->client);
}

void origin_answer_failure(struct origin *o, int code, const char *text, bool runs_here)
{
	json *extra = NULL;
	char more[600];

	if (reasons_refusals(&o->why)) {
		extra = json_object();
		json_put(extra, "reasons", reasons_to_json(&o->why, NULL));
	} else if (runs_here) {
		snprintf(more, sizeof(more), "%s; process %d still runs here", text, (int)o->pid);
		text = more;
	}
	origin_answer(o, code, text, extra);
}

static void say_progress(struct origin *o, const char *stage)
{
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *body = NULL;
	uint8_t buf[512];

	json_put_str(j, "stage", stage);
	json_put_int(j, "done", o->stage - 1);
	json_put_int(j, "of", o->stages);
	body = json_text(j, false);
	if (body && o->client >= 0)
		to_socket(o->client, WIRE_PROGRESS, buf,
			  wire_put_progress(buf, sizeof(buf), &(struct wire_progress){ body }));
}

void origin_at_stage(struct origin *o, const struct stage *stages, size_t n, const struct stage *now)
{
	const char *colon = strstr(now->name, ": ");

	o->stages = (int)n;
	o->stage = (int)(now - stages) + 1;
	say_progress(o, colon ? colon + 2 : now->name);
}

void origin_report(struct origin *o, const char *state)
{
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *body = NULL;
	uint8_t buf[1024];

	json_put_str(j, "sid", o->sid);
	json_put_int(j, "pid", o->pid);
	json_put_bool(j, "guest", false);
	json_put_int(j, "host_pid", o->pid);
	json_put_int(j, "uid", o->uid);
	json_put_str(j, "state", state);
	json_put_str(j, "peer", o->target.peer.name);
	json_put_str(j, "comm", o->comm);
	body = json_text(j, false);
	if (body)
		to_socket(o->env->leash, WIRE_ANSWER, buf, wire_put_answer(buf, sizeof(buf), &(struct wire_answer){ 0, body }));
}

/* ---- the session's file ---------------------------------------------------------------------------------- */

/* @next: a second host that may have a copy, while the program moves on; or NULL */
int origin_note_session(struct origin *o, const char *next, struct err *e)
{
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *body = NULL;
	char name[64];

	json_put_str(j, "sid", o->sid);
	json_put_int(j, "pid", o->pid);
	json_put_hex(j, "start_time", o->start_time);
	json_put_int(j, "uid", o->uid);
	json_put_int(j, "gid", o->gid);
	json_put_str(j, "user", o->user);
	json_put_str(j, "comm", o->comm);
	json_put_str(j, "host", o->target.peer.name);
	if (next)
		json_put_str(j, "next", next);
	if (o->restored)
		json_put_bool(j, "restored", true);
	body = json_text(j, true);
	snprintf(name, sizeof(name), "%s.json", o->sid);
	return body ? identity_file_write(o->dir_sessions, name, body, strlen(body), e)
		    : err_set(e, -ENOMEM, "note the session");
}

void origin_forget_session(struct origin *o)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.json", o->sid);
	unlinkat(o->dir_sessions, name, 0);
	snprintf(name, sizeof(name), "%s.sock", o->sid);
	unlinkat(o->dir_deputy, name, 0);
}

/* ---- rights ------------------------------------------------------------------------------------------------ */

int origin_keep_capabilities(uint64_t caps, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (!geteuid())
		return 0;	/* root's own program: there is nothing to give up */
	if (syscall(SYS_capget, &head, data))
		return err_set(e, -errno, "read the capabilities");
	for (int k = 0; k < 2; k++) {
		data[k].permitted &= (uint32_t)(caps >> (32 * k));
		data[k].effective = data[k].permitted;
		data[k].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) ? err_set(e, -errno, "give up capabilities") : 0;
}

static int become_user(struct origin *o, const gid_t *groups, int n, struct err *e)
{
	int rc;

	if (!o->env->root)
		return 0;
	if (o->uid) {
		if (setgroups((size_t)n, groups) || prctl(PR_SET_KEEPCAPS, 1) || setresgid(o->gid, o->gid, o->gid) ||
		    setresuid(o->uid, o->uid, o->uid))
			return err_set(e, -errno, "become user %u", o->uid);
	}
	rc = origin_keep_capabilities(CAP_BIT(CAP_SYS_PTRACE) | CAP_BIT(CAP_CHECKPOINT_RESTORE), e);
	prctl(PR_SET_DUMPABLE, 0);
	return rc;
}

/* Directories where each user's sessions leave their own files; nobody else gets past the state directory */
static int open_directory(const struct session_env *env, const char *name, struct err *e)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", env->state_dir, name);
	if (mkdir(path, 0700) && errno != EEXIST)
		return err_set(e, -errno, "make %s", path);
	if (env->root && chmod(path, 01777))
		return err_set(e, -errno, "open %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open %s", path) : fd;
}

static int open_signals(struct origin *o, struct err *e)
{
	sigset_t chld;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	o->signals = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	return o->signals < 0 ? err_set(e, -errno, "receive signals") : 0;
}

/* While privileged: what is needed later */
static int open_files(struct origin *o, struct err *e)
{
	int rc = peers_load(o->env->state_dir, &o->peers, e);

	if (rc)
		return rc;
	o->dir_sessions = open_directory(o->env, "sessions", e);
	o->dir_deputy = o->dir_sessions < 0 ? o->dir_sessions : open_directory(o->env, "deputy", e);
	return o->dir_deputy < 0 ? o->dir_deputy : open_signals(o, e);
}

static int new_sid(struct origin *o, struct err *e)
{
	uint8_t random[SID_LEN / 2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return err_set(e, -errno, "choose a session id");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(o->sid + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int find_user(struct origin *o, struct proc_status *s, struct err *e)
{
	struct proc_stat st;
	struct passwd *pw;
	int rc = procfs_status(o->pid, o->pid, s, e);

	if (!rc)
		rc = procfs_stat(o->pid, o->pid, &st, e);
	if (rc)
		return err_say(e, -ESRCH, "E_NO_PROCESS: there is no process %d", (int)o->pid);
	if (o->restored && s->uid[1] != o->asker)
		return err_say(e, -ESRCH, "mmigrate has gone");	/* another process has its number now */
	o->uid = s->uid[1];
	o->gid = s->gid[1];
	o->n_groups = s->n_groups;
	memcpy(o->groups, s->groups, sizeof(o->groups));
	o->start_time = st.start_time;
	snprintf(o->comm, sizeof(o->comm), "%s", st.comm);
	pw = getpwuid(o->uid);
	snprintf(o->user, sizeof(o->user), "%s", pw ? pw->pw_name : "");
	if (!o->env->root && o->uid != geteuid())
		return err_say(e, -EPERM, "E_NOT_PERMITTED: process %d belongs to %s; this mproxy can only move %s's",
			       (int)o->pid, o->user, getlogin() ? getlogin() : "its own user");
	return 0;
}

static struct origin *origin_new(const struct session_env *env)
{
	struct origin *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->env = env;
	o->client = o->dir_sessions = o->dir_deputy = o->hub = o->signals = -1;
	o->relay.sock = o->handover.sock = -1;
	o->freeze.t.mem = -1;
	o->self = -1;
	return o;
}

/* ---- why ------------------------------------------------------------------------------------------------------ */

static int why(struct origin *o, const char *host, struct err *e)
{
	json *answer = json_object();
	size_t refusals;
	char text[256];
	int rc = move_look(o, e);

	if (!rc && host && *host) {
		rc = ask_find_peer(o, host, &o->target.peer, e);
		if (!rc)
			rc = ask_connect(o, &o->target, true, e);
		if (!rc)
			rc = ask_offer(o, &o->target, o->survey, &o->why, e);
		if (!rc)
			rc = ask_clocks(o, &o->target, e);
		if (!rc && llabs(o->target.clock_difference) >
				   policy_max_clock_difference_ms(o->env->policy) * NS_PER_MS)
			reasons_add(&o->why, REASON_CLOCK_DIFFERS, NULL, "the clock of %s is %lld ms %s", host,
				    llabs(o->target.clock_difference) / NS_PER_MS,
				    o->target.clock_difference > 0 ? "behind" : "ahead");
	}
	if (rc) {
		json_free(answer);
		return rc;
	}
	refusals = reasons_refusals(&o->why);
	json_put(answer, "reasons", reasons_to_json(&o->why, NULL));
	json_put_str(answer, "mode_here", o->env->root ? "root" : "user");
	if (o->target.mode[0])
		json_put_str(answer, "mode", o->target.mode);
	if (refusals)
		snprintf(text, sizeof(text), "%zu thing%s stand%s in the way of moving process %d (%s)", refusals,
			 refusals == 1 ? "" : "s", refusals == 1 ? "s" : "", (int)o->pid, o->comm);
	else
		snprintf(text, sizeof(text), "nothing stands in the way of moving process %d (%s)%s%s", (int)o->pid,
			 o->comm, host && *host ? " to " : "", host && *host ? host : "");
	origin_answer(o, refusals ? -EPERM : 0, text, answer);
	return 0;
}

/* ---- a copy that must not come to life -------------------------------------------------------------------------- */

/* The program runs here; a target may have a READY copy.  It is told until it has heard */
static void deliver_abort(struct origin *o)
{
	for (int ms = 100;; ms = MIN(ms * 2, 30000)) {
		unsigned state;
		uint8_t buf[64];
		struct err e = { 0 };
		int rc = ask_resume(o, &o->target, false, &state, &e);

		if (!rc && state != KEEPER_EMPTY) {
			rc = talk_send(o->target.l, WIRE_ABORT, buf,
				       wire_put_abort(buf, sizeof(buf), &(struct wire_abort){ "never committed" }), &e);
			if (!rc)
				rc = talk_expect(o->target.l, WIRE_ABORTED, &o->t, deadline_in_ms(TALK_MS), &e);
		}
		link_close(take_ptr(o->target.l));
		if (!rc)
			return;
		log_line(LOG_LEVEL_WARN, "E_ABORT_PENDING", "%s", e.text);
		usleep((useconds_t)ms * 1000);
	}
}

/* The session's file says whether there may be one */
static void abort_if_noted(struct origin *o)
{
	struct stat noted;
	char name[64];

	snprintf(name, sizeof(name), "%s.json", o->sid);
	if (!fstatat(o->dir_sessions, name, &noted, 0))
		deliver_abort(o);
}

/* ---- move --------------------------------------------------------------------------------------------------------- */

static void say_moved(struct origin *o)
{
	json *extra = json_object();
	char text[256];
	bool running = o->relay.io != NULL;

	snprintf(text, sizeof(text), "process %d (%s) runs on %s%s", (int)o->pid, o->comm, o->target.peer.name,
		 running ? "" : " as soon as the link stands again");
	if (o->paused_ns)
		json_put_int(extra, "pause_us", o->paused_ns / 1000);
	json_put_int(extra, "pages", (int64_t)o->pages);
	json_put_str(extra, "mode", o->target.mode);
	json_put_str(extra, "target", o->target.peer.name);
	json_put(extra, "reasons", reasons_to_json(&o->why, NULL));
	origin_answer(o, 0, text, extra);
}

static int move(struct origin *o, const char *host, struct err *e)
{
	int rc = o->target.l ? 0 : ask_find_peer(o, host, &o->target.peer, e);

	if (!rc)
		rc = move_away(o, e);
	if (!rc) {
		say_moved(o);
		serve_loop(o);
		return 0;
	}
	/* the answer comes first: the program is running again */
	origin_answer_failure(o, rc, e->text, true);
	abort_if_noted(o);
	return 0;
}

/* ---- restore ------------------------------------------------------------------------------------------------------ */

/* As a move, but that the program comes from a file, and who asked becomes the deputy */
static int restore(struct origin *o, const char *host, struct err *e)
{
	int rc = revive_program(o, host, e);

	if (!rc) {
		serve_loop(o);
		return 0;
	}
	origin_answer_failure(o, rc, e->text, false);
	abort_if_noted(o);
	return 0;
}

/* ---- entry ---------------------------------------------------------------------------------------------------------- */

static int begin(struct origin *o, const char *request, const char **what, const char **host, json **j, struct err *e)
{
	int64_t pid = 0;
	int rc = json_parse(request, strlen(request), j, e);

	*host = NULL;
	if (!rc)
		rc = json_get_str(*j, "do", what, e);
	if (!rc && !strcmp(*what, "restore")) {
		o->restored = true;	/* the one that asks is to become the deputy */
		rc = sock_peer(o->client, &o->pid, &o->asker, NULL);
		rc = rc ? err_set(e, rc, "see who asks") : json_get_str(*j, "host", host, e);
		if (!rc && !strcmp(*host, o->env->host))
			*host = ASK_SELF;
		return rc;
	}
	if (!rc)
		rc = json_get_int(*j, "pid", 1, INT32_MAX, &pid, e);
	if (!rc && json_find(*j, "host"))
		rc = json_get_str(*j, "host", host, e);
	o->pid = (pid_t)pid;
	o->tree = *j && json_is_true(json_find(*j, "tree"));
	return rc;
}

/* @self: this machine is going to be the target */
static int prepare(struct origin *o, bool self, struct err *e)
{
	gid_t groups[256];
	struct proc_status s;
	char name[64];
	int rc = find_user(o, &s, e);

	if (!rc)
		rc = new_sid(o, e);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "session %.8s", o->sid);
	log_set_name(name);
	rc = open_files(o, e);
	if (!rc && self && o->env->root)
		rc = self_keep(o, e);
	for (int i = 0; i < s.n_groups; i++)
		groups[i] = s.groups[i];
	return rc ? rc : become_user(o, groups, s.n_groups, e);
}

int origin_session(const struct session_env *env, int client, uid_t client_uid, const char *request)
{
	(void)client_uid;	/* the daemon has compared it with the program's */
	return origin_session_over(env, client, NULL, request);
}

int origin_session_over(const struct session_env *env, int client, struct link *l, const char *request_text)
{
	struct origin *o = origin_new(env);
	AUTO_JSON json *j = NULL;
	const char *what, *host;
	struct err e = { 0 };
	int rc;

	if (!o)
		return 1;
	o->client = client;
	o->target.l = l;
	snprintf(o->target.peer.name, sizeof(o->target.peer.name), "%s", l ? "here" : "");
	rc = begin(o, request_text, &what, &host, &j, &e);
	if (!rc && !strcmp(what, "home"))
		rc = err_say(&e, -EALREADY, "process %d is at home: it never moved, or from another host", (int)o->pid);
	if (!rc)
		rc = prepare(o, o->restored && host && !strcmp(host, ASK_SELF), &e);
	if (!rc && !strcmp(what, "why"))
		rc = why(o, host, &e);
	else if (!rc && !strcmp(what, "move") && host)
		rc = move(o, host, &e);
	else if (!rc && !strcmp(what, "save"))
		rc = save_program(o, json_is_true(json_find(j, "stop")), &e);
	else if (!rc && o->restored)
		rc = restore(o, host, &e);
	else if (!rc)
		rc = err_say(&e, -EINVAL, "unknown request %s", what);
	if (rc)
		origin_answer(o, rc, e.text, NULL);
	origin_report(o, "ended");
	if (o->dir_sessions >= 0)
		origin_forget_session(o);
	return 0;
}

/* ---- after a crash ------------------------------------------------------------------------------------------------------ */

static int read_session(struct origin *o, const char *sid, char next[PEER_NAME], struct err *e)
{
	AUTO_JSON json *j = NULL;
	AUTO_FREE char *text = NULL;
	const char *user, *host, *comm;
	int64_t pid = 0, uid = 0, gid = 0;
	AUTO_FD int fd = -1;
	struct stat st;
	char name[64];
	ssize_t len;
	int rc;

	snprintf(name, sizeof(name), "%s.json", sid);
	fd = openat(o->dir_sessions, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	text = calloc(1, SESSION_MAX + 1);
	if (fd < 0 || fstat(fd, &st) || !text || !S_ISREG(st.st_mode))
		return err_set(e, -errno, "read %s", name);
	len = read(fd, text, SESSION_MAX);
	if (len < 0)
		return err_set(e, -errno, "read %s", name);
	rc = json_parse(text, (size_t)len, &j, e);
	if (!rc)
		rc = json_get_int(j, "pid", 1, INT32_MAX, &pid, e);
	if (!rc)
		rc = json_get_int(j, "uid", 0, UINT32_MAX, &uid, e);
	if (!rc)
		rc = json_get_int(j, "gid", 0, UINT32_MAX, &gid, e);
	if (!rc)
		rc = json_get_hex(j, "start_time", &o->start_time, e);
	if (!rc)
		rc = json_get_str(j, "user", &user, e);
	if (!rc)
		rc = json_get_str(j, "host", &host, e);
	if (!rc)
		rc = json_get_str(j, "comm", &comm, e);
	/* users can write to this directory: a file speaks for its owner only */
	if (!rc && st.st_uid != (uid_t)uid && st.st_uid)
		rc = err_say(e, -EPERM, "%s isn't its user's", name);
	if (rc)
		return rc;
	o->pid = (pid_t)pid;
	o->uid = (uid_t)uid;
	o->gid = (gid_t)gid;
	snprintf(o->user, sizeof(o->user), "%s", user);
	snprintf(o->comm, sizeof(o->comm), "%s", comm);
	o->restored = json_is_true(json_find(j, "restored"));
	next[0] = 0;
	if (json_as_str(json_find(j, "next")))
		snprintf(next, PEER_NAME, "%s", json_as_str(json_find(j, "next")));
	return ask_find_peer(o, host, &o->target.peer, e);
}

int origin_is_deputy(struct origin *o)
{
	struct proc_stat st;
	struct stat exe, mine;
	char path[4096];

	if (procfs_stat(o->pid, o->pid, &st, NULL) || st.start_time != o->start_time || st.state == 'Z')
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)o->pid);
	if (stat(path, &exe))
		return -ESRCH;
	snprintf(path, sizeof(path), "%s/mdeputy", o->env->libexec);
	if (stat(path, &mine))
		return -ENOENT;
	return exe.st_ino == mine.st_ino && exe.st_dev == mine.st_dev;
}

/*
 * Attaches to the process and stops it for a moment: an exec that the dead session had started is
 * then either done or will never be.
 */
static int settle_process(struct origin *o, struct err *e)
{
	int rc;

	if (ptrace(PTRACE_SEIZE, o->pid, 0, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)))
		return errno == ESRCH ? -ESRCH : err_set(e, -EBUSY, "attach to process %d", (int)o->pid);
	rc = tracee_interrupt(o->pid, deadline_in_ms(5000), e);
	if (rc)
		return rc == -EBUSY ? origin_is_deputy(o) : -ESRCH;	/* it is stopped as such: that's quiet enough */
	rc = origin_is_deputy(o);
	if (ptrace(rc == 1 ? PTRACE_CONT : PTRACE_DETACH, o->pid, 0, 0))
		return -ESRCH;
	return rc;
}

int origin_resume(const struct session_env *env, const char *sid)
{
	struct origin *o = origin_new(env);
	struct err e = { 0 };
	char name[64], next[PEER_NAME] = "";
	int rc;

	if (!o)
		return 1;
	snprintf(name, sizeof(name), "session %.8s", sid);
	log_set_name(name);
	snprintf(o->sid, sizeof(o->sid), "%s", sid);
	rc = open_files(o, &e);
	if (!rc)
		rc = read_session(o, sid, next, &e);
	if (!rc && o->env->root && (!strcmp(o->target.peer.name, ASK_SELF) || !strcmp(next, ASK_SELF)))
		rc = self_keep(o, &e);
	if (!rc)
		rc = become_user(o, &o->gid, 1, &e);
	if (rc) {
		log_err("%s", e.text);
		return 1;
	}
	rc = settle_process(o, &e);
	if (rc == -EBUSY) {	/* somebody else is attached: another session is at work */
		log_warn("%s", e.text);
		return 1;
	}
	if (rc == -ESRCH) {	/* its deputy has ended; others of its program may go on */
		unsigned lost = 0;

		o->leader_gone = true;
		rc = hub_is_up(o, &lost) ? 1 : rc;
		if (rc == 1 && lost)
			log_line(LOG_LEVEL_ERR, "E_PROGRAM_LOST", "process %d, the deputy, is gone: its program is ended",
				 (int)o->pid);
	}
	log_info("taking the session over: the process %s", rc == 1 ? "is a deputy" : rc ? "is gone" : "never moved");
	if (!rc) {
		deliver_abort(o);
	} else {
		o->deputy_gone = rc != 1;
		if (o->deputy_gone)
			log_line(LOG_LEVEL_ERR, "E_PROGRAM_LOST", "process %d, the deputy, is gone: its program is ended",
				 (int)o->pid);
		if (origin_keep_capabilities(CAP_BIT(CAP_CHECKPOINT_RESTORE), &e))
			log_warn("%s", e.text);
		o->retry_ms = 100;
		o->retry_at = clock_ns(CLOCK_MONOTONIC);
		if (next[0])
			onward_settle(o, next);
		serve_loop(o);
	}
	origin_report(o, "ended");
	origin_forget_session(o);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * daemon.c - mproxy: accepts programs from peers and requests from users, and starts sessions
 *
 *	TCP port ──────accept──▶ a target session for each connection (children.c)
 *	control socket ──ASK───▶ an answer (requests.c), or a session at the origin
 *	signals ───────────────▶ the table below
 *
 * Who connects isn't known before TLS and greeting are done, and the session does both: so no
 * stranger's byte is read in this process.  While CHILDREN_STRANGERS of them are busy, the port
 * isn't looked at, and the others wait in its backlog.
 *
 * The state directory is locked, so that two daemons never start the same session twice.
 */
#include "proxy/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "proxy/daemon/children.h"
#include "proxy/daemon/control.h"
#include "proxy/daemon/listen.h"
#include "proxy/daemon/peers.h"
#include "proxy/daemon/places.h"
#include "proxy/daemon/policy_read.h"
#include "proxy/daemon/requests.h"
#include "proxy/link/identity.h"

#define LOCK_FILE "mproxy.lock"

struct daemon {
	struct daemon_config config;
	struct loop loop;
	struct watch port, signals;
	bool port_rests;		/* too many strangers: it isn't looked at */
	bool ending;
	struct policy *policy;
	struct identity *identity;
	struct session_env env;
	struct children *children;
	struct control *control;
	struct requests requests;
	int lock;
	char host[PEER_NAME], listen[PEER_ADDR], advertise[PEER_ADDR];
};

/* ---- signals ---------------------------------------------------------------------------- */

static void on_child(struct daemon *d)
{
	children_reap(d->children);
}

/* A policy that can't be read changes nothing */
static void on_reload(struct daemon *d)
{
	struct policy *fresh = NULL;
	struct err e = { 0 };

	if (policy_read(d->config.policy, &fresh, &e)) {
		log_line(LOG_LEVEL_ERR, "E_POLICY_BAD", "the old policy stays: %s", e.text);
		return;
	}
	policy_free(d->policy);
	d->policy = fresh;
	d->env.policy = fresh;
	log_line(LOG_LEVEL_INFO, "I_POLICY_READ", "new sessions go by %s", d->config.policy);
}

static void on_end(struct daemon *d)
{
	d->ending = true;
}

static const struct signal_row {
	int signo;
	void (*run)(struct daemon *d);
} signal_rows[] = {
	{ SIGCHLD, on_child },
	{ SIGHUP, on_reload },
	{ SIGTERM, on_end },
	{ SIGINT, on_end },
};

static void on_signals(struct watch *w, uint32_t events)
{
	struct daemon *d = loop_owner(w, struct daemon, signals);
	struct signalfd_siginfo si;

	(void)events;
	if (read(w->fd, &si, sizeof(si)) != sizeof(si))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(signal_rows); i++)
		if (signal_rows[i].signo == (int)si.ssi_signo)
			signal_rows[i].run(d);
}

static int open_signals(struct daemon *d, struct err *e)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signal_rows); i++)
		sigaddset(&set, signal_rows[i].signo);
	signal(SIGPIPE, SIG_IGN);	/* whoever reads the log may end before us */
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set(e, -errno, "take signals");
	return loop_add(&d->loop, &d->signals, fd, EPOLLIN, on_signals, e);
}

/* ---- the port --------------------------------------------------------------------------- */

static void on_port(struct watch *w, uint32_t events)
{
	struct daemon *d = loop_owner(w, struct daemon, port);
	AUTO_FD int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC);
	struct err e = { 0 };

	(void)events;
	if (fd >= 0 && children_target(d->children, fd, &e))
		log_line(LOG_LEVEL_ERR, "E_SESSION_START", "a connection is dropped: %s", e.text);
}

/* Looks at the port as long as there is room for who comes */
static void mind_port(struct daemon *d)
{
	bool rest = !children_may_accept(d->children);

	if (rest == d->port_rests)
		return;
	d->port_rests = rest;
	loop_want(&d->loop, &d->port, rest ? 0 : EPOLLIN);
	if (rest)
		log_line(LOG_LEVEL_WARN, "E_PEERS_MANY", "too many connections: others wait");
}

static int open_port(struct daemon *d, struct err *e)
{
	const char *advertise = d->config.advertise;
	int fd;

	if (d->config.listen) {
		fd = listen_open(d->config.listen, d->listen, e);
		if (fd < 0)
			return fd;
		fd = loop_add(&d->loop, &d->port, fd, EPOLLIN, on_port, e);
		if (fd)
			return fd;
	}
	if (!advertise && d->listen[0] && !listen_is_any(d->listen))
		advertise = d->listen;
	snprintf(d->advertise, sizeof(d->advertise), "%s", advertise ? advertise : "");
	return 0;
}

/* ---- begin and end ---------------------------------------------------------------------- */

/* The state directory, its lock and the sessions' directories in it */
static int open_state(struct daemon *d, struct err *e)
{
	static const char *const dirs[] = { "sessions", "deputy", "keeper" };
	AUTO_FD int top = identity_dir(d->config.state_dir, e);

	if (top < 0)
		return top;
	/* Root's sessions open them to the users that they become: only this is 0700 for sure */
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(top, dirs[i], 0700) && errno != EEXIST)
			return err_set(e, -errno, "make %s/%s", d->config.state_dir, dirs[i]);
	if (fchmod(top, 0700))
		return err_set(e, -errno, "close %s to others", d->config.state_dir);
	d->lock = openat(top, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (d->lock < 0)
		return err_set(e, -errno, "open %s/" LOCK_FILE, d->config.state_dir);
	if (flock(d->lock, LOCK_EX | LOCK_NB))
		return err_say(e, -EBUSY, "another mproxy uses %s", d->config.state_dir);
	return identity_open(d->config.state_dir, &d->identity, e);
}

static int open_rest(struct daemon *d, struct err *e)
{
	int r = policy_read(d->config.policy, &d->policy, e);

	if (r)
		return r;
	places_host(d->host, sizeof(d->host));
	d->env = (struct session_env){ .state_dir = d->config.state_dir,
				       .libexec = d->config.libexec, .host = d->host,
				       .policy = d->policy, .identity = d->identity,
				       .root = d->config.root, .leash = -1 };
	d->children = children_new(&d->loop, &d->env);
	if (!d->children)
		return err_set(e, -ENOMEM, "start");
	d->requests = (struct requests){ &d->env, d->children, d->listen, d->advertise };
	r = open_signals(d, e);
	if (!r)
		r = open_port(d, e);
	if (!r)		/* last: who can connect to it finds everything else ready */
		r = control_open(&d->loop, d->config.control, d->config.root ? 0666 : 0600,
				 requests_ask, &d->requests, &d->control, e);
	return r;
}

/**
 * daemon_open() - Get everything that a daemon needs
 * @config:	Copied; its texts are not
 * @out:	daemon_close() ends it
 *
 * Blocks the signals it takes, for good.
 *
 * Return: 0 or a negative errno; -EBUSY, -EADDRINUSE: there is another one
 */
int daemon_open(const struct daemon_config *config, struct daemon **out, struct err *e)
{
	struct daemon *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_set(e, -ENOMEM, "start");
	*d = (struct daemon){ .config = *config, .loop.epoll = -1, .port.fd = -1,
			      .signals.fd = -1, .lock = -1 };
	r = loop_open(&d->loop, e);
	if (!r)
		r = open_state(d, e);
	if (!r)
		r = open_rest(d, e);
	if (r) {
		daemon_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void daemon_close(struct daemon *d)
{
	if (!d)
		return;
	control_close(d->control);
	children_free(d->children);
	loop_drop(&d->loop, &d->port);
	loop_drop(&d->loop, &d->signals);
	loop_close(&d->loop);
	policy_free(d->policy);
	identity_close(d->identity);
	drop_fd(&d->lock);
	free(d);
}

static void say_hello(const struct daemon *d)
{
	log_info("mproxy " MSHIM_VERSION " of %s, identity %s", d->host,
		 identity_pin(d->identity));
	if (d->listen[0])
		log_info("listens on %s and %s", d->listen, d->config.control);
	else
		log_info("listens on %s only: without --listen no program can come here",
			 d->config.control);
}

int daemon_run(struct daemon *d, struct err *e)
{
	int r = 0;

	say_hello(d);
	children_resume_all(d->children);
	while (!r && !d->ending) {
		children_tick(d->children);
		control_tick(d->control);
		mind_port(d);
		r = loop_step(&d->loop, MIN(children_deadline(d->children),
					    control_deadline(d->control)), e);
	}
	log_info("ends; sessions go on");
	return r;
}

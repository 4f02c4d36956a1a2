/* SPDX-License-Identifier: MIT */
/*
 * files.c - The file server of a moved program, at its origin
 *
 * One process for each program, a child of its hub, which passes it CALLs to FILE_PID and brings back
 * its RESULTs.  It has no threads: a disk that is slow holds up the program's other files, and nothing
 * else.  Whatever may wait for somebody else, a lock, waits in a list and is tried again.
 *
 * It trusts the target no further than the program itself: it works as the program's user, inside the
 * directories that the origin's policy gives to the origin (MDEPUTY_ROOTS), a name at a time and never
 * through a symbolic link: where those lead to is decided at the target, by the names' own rules.
 */
#include "proxy/deputy/files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "proxy/deputy/deputy.h"

#define RETRY_MS 10		/* how often a lock that somebody at the origin has is tried again */

#define BREAKING_MS 100		/* how often it's looked whether a lease is overdue */

#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif

static file_do *const table[] = {
#define FILE_OP(id, name, args, in, out, text) [id] = files_do_##name,
#include "common/file.def"
#undef FILE_OP
};

/* ---- which names are served ------------------------------------------------------------------------ */

const char *files_split(const struct files *f, const char *path, char *root, size_t size)
{
	for (const char *at = f->roots; *at;) {
		size_t len = strcspn(at, ":");

		if (len && len < size && !strncmp(path, at, len) && (path[len] == '/' || !path[len])) {
			memcpy(root, at, len);
			root[len] = 0;
			return path + len + strspn(path + len, "/");
		}
		at += len + (at[len] == ':');
	}
	return NULL;
}

bool files_is_root(const struct files *f, const char *path)
{
	char root[4096];
	const char *rest = files_split(f, path, root, sizeof(root));

	return rest && !*rest;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* Whoever asks: at root's programs' servers that may be anybody (setfsuid(2) takes the capabilities along) */
static void become(struct files *f, uint64_t ids)
{
	uid_t uid = (uid_t)ids;
	gid_t gid = (gid_t)(ids >> 32);

	if (geteuid() || (uid == f->uid && gid == f->gid))
		return;
	setfsuid(0);
	setfsgid(gid);
	setfsuid(uid);
	f->uid = uid;
	f->gid = gid;
}

static int64_t execute(struct files *f, const struct wire_call *m)
{
	unsigned op = m->row - FILE_ROW;

	f->out_len = 0;
	if (m->row < FILE_ROW || op >= ARRAY_SIZE(table) || !table[op])
		return -ENOSYS;
	become(f, m->blocked);
	return table[op](f, m);
}

static void tell_result(struct files *f, uint64_t id, int64_t value)
{
	struct wire_result m = { .id = id, .pid = (uint32_t)FILE_PID, .value = value,
				 .out = { f->out, value < 0 ? 0 : (uint32_t)f->out_len } };
	ssize_t n = wire_put_result(f->in, sizeof(f->in), &m);

	n = n < 0 ? n : wire_pack(f->buf, sizeof(f->buf), WIRE_RESULT, 0, f->in, (size_t)n);
	if (n < 0 || sock_send(f->hub, f->buf, (size_t)n, NULL, 0, NO_DEADLINE))
		_exit(0);	/* without the hub there is nobody to serve */
}

void files_tell_changed(struct files *f, const struct file_open *o, bool others)
{
	struct wire_changed m = { .node = o->node, .inode = o->inode, .others = others };
	uint8_t payload[32], buf[64];
	ssize_t n = wire_put_changed(payload, sizeof(payload), &m);

	n = n < 0 ? n : wire_pack(buf, sizeof(buf), WIRE_CHANGED, 0, payload, (size_t)n);
	if (n < 0 || sock_send(f->hub, buf, (size_t)n, NULL, 0, NO_DEADLINE))
		_exit(0);
}

static void retry_waits(struct files *f)
{
	for (struct file_wait **at = &f->waits; *at;) {
		struct file_wait *w = *at;
		int64_t value = execute(f, &w->call);

		if (value == FILES_WAITS) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		tell_result(f, w->call.id, value);
		free(w);
	}
}

/* What waits keeps its place: nobody who comes later is tried before it */
static bool keep_waiting(struct files *f, const struct wire_call *m)
{
	struct file_wait *w = calloc(1, sizeof(*w)), **at = &f->waits;

	if (!w)
		return false;
	w->call = *m;
	w->call.in = (wire_blob){ "", 0 };	/* locks have none */
	while (*at)
		at = &(*at)->next;
	*at = w;
	return true;
}

static void on_call(struct files *f, const struct wire_call *m)
{
	int64_t value = execute(f, m);

	if (value == FILES_WAITS && keep_waiting(f, m))
		return;
	tell_result(f, m->id, value == FILES_WAITS ? -ENOLCK : value);
}

static void on_cancel(struct files *f, uint64_t id)
{
	for (struct file_wait **at = &f->waits; *at; at = &(*at)->next) {
		struct file_wait *w = *at;

		if (w->call.id != id)
			continue;
		*at = w->next;
		tell_result(f, id, -ERESTARTSYS);
		free(w);
		return;
	}
}

/* The program's own open files, before it moves */
static void on_given(struct files *f, const void *p, size_t len, int *fds, int nfds)
{
	struct wire_hub_files m;
	struct bytes b;

	if (wire_get_hub_files(p, len, &m))
		return;
	b = bytes_of(m.handles.p, m.handles.len);
	for (int i = 0; i < nfds && bytes_left(&b) >= 4; i++)
		if (!open_add(&f->nodes, (uint32_t)bytes_get_le(&b, 4), fds[i], true))
			fds[i] = -1;
}

/* Which descriptor each handle is: whoever brings the program home takes them from here, pidfd_getfd(2) */
static void on_has(struct files *f)
{
	size_t n = MIN(f->nodes.n_opens, sizeof(f->out) / 8);
	struct bytes b = bytes_of(f->out, n * 8);
	struct wire_deputy_has m = { .pid = (uint32_t)getpid(), .handles = { f->out, (uint32_t)(n * 8) } };
	ssize_t len;

	for (size_t i = 0; i < n; i++) {
		bytes_put_le(&b, f->nodes.opens[i].id, 4);
		bytes_put_le(&b, (uint64_t)f->nodes.opens[i].fd, 4);
	}
	len = wire_put_deputy_has(f->in, sizeof(f->in), &m);
	len = len < 0 ? len : wire_pack(f->buf, sizeof(f->buf), WIRE_DEPUTY_HAS, 0, f->in, (size_t)len);
	if (len < 0 || sock_send(f->hub, f->buf, (size_t)len, NULL, 0, NO_DEADLINE))
		_exit(0);
}

static void hear(struct files *f)
{
	static uint8_t message[WIRE_LOCAL_MAX];
	int fds[SOCK_MAX_FDS], nfds = SOCK_MAX_FDS;
	struct wire_cancel cancel;
	struct wire_head head;
	struct wire_call call;
	const void *p;
	ssize_t n = sock_recv(f->hub, message, sizeof(message), fds, &nfds, 0);

	if (n == -EAGAIN)
		return;
	if (n <= 0)
		_exit(0);
	if (wire_unpack(message, (size_t)n, &head, &p))
		head.type = 0;
	if (head.type == WIRE_CALL && !wire_get_call(p, head.length, &call))
		on_call(f, &call);
	else if (head.type == WIRE_CANCEL && !wire_get_cancel(p, head.length, &cancel))
		on_cancel(f, cancel.id);
	else if (head.type == WIRE_HUB_FILES)
		on_given(f, p, head.length, fds, nfds);
	else if (head.type == WIRE_DEPUTY_HAS)
		on_has(f);
	for (int i = 0; i < nfds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void files_run(int hub, const char *roots)
{
	struct files *f = calloc(1, sizeof(*f));

	if (!f)
		_exit(EXIT_BROKEN);
	f->hub = hub;
	f->lease_signals = leases_open();
	f->roots = strdup(roots ? roots : "");
	(void)prctl(PR_SET_NAME, "mdeputy-files");
	deputy_set_limits();
	/* the session that brings the program home takes its open files from us (Yama) */
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	umask(0);		/* the program's is in the modes that come */
	if (!f->roots || chdir("/"))
		_exit(EXIT_BROKEN);
	for (;;) {
		struct pollfd p[] = { { .fd = hub, .events = POLLIN }, { .fd = f->lease_signals, .events = POLLIN } };

		if (poll(p, 2, f->waits ? RETRY_MS : f->breaking ? BREAKING_MS : -1) < 0)
			continue;
		if (p[1].revents)
			leases_hear(f);
		if (p[0].revents)
			hear(f);
		if (f->breaking)
			leases_overdue(f);
		retry_waits(f);
	}
}

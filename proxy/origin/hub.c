/* SPDX-License-Identifier: MIT */
/*
 * hub.c - The session's way to the hub of a program's deputies
 */
#include "proxy/origin/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"

#define ANSWER_MS 5000
#define HUB_LISTEN 3		/* its descriptors */
#define HUB_DIR 4
#define STREAMS_A_MESSAGE SOCK_MAX_FDS

static void socket_path(const struct origin *o, char *path, size_t size)
{
	snprintf(path, size, "/proc/self/fd/%d/%s.sock", o->dir_deputy, o->sid);
}

/* The directories that its file server may show, by our own policy.  malloc'ed; NULL: out of memory, so none */
static char *list_roots(const struct policy *policy)
{
	size_t size = sizeof("MDEPUTY_ROOTS=");
	const char *dir;
	char *text;

	for (size_t i = 0; (dir = policy_origin_dirs(policy, i)); i++)
		size += strlen(dir) + 1;
	text = malloc(size);
	if (!text)
		return NULL;
	strcpy(text, "MDEPUTY_ROOTS=");
	for (size_t i = 0; (dir = policy_origin_dirs(policy, i)); i++)
		strcat(strcat(text, i ? ":" : ""), dir);
	return text;
}

/* In the child: nothing of the session's but the listening socket */
static void NORETURN become_hub(const struct origin *o, int listening, pid_t as)
{
	char path[4096], text[64], dir[32], name[96], other[32], *roots = list_roots(o->env->policy);
	char *argv[] = { (char *)"mdeputy-hub", NULL }, *envp[] = { text, dir, name, other, roots, NULL };
	int fds[2];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* first out of the way of the numbers that they get */
	fds[0] = fcntl(listening, F_DUPFD, 16);
	fds[1] = fcntl(o->dir_deputy, F_DUPFD, 16);
	if (dup2(fds[0], HUB_LISTEN) < 0 || dup2(fds[1], HUB_DIR) < 0)
		_exit(1);
	close_range(HUB_DIR + 1, ~0U, 0);
	snprintf(text, sizeof(text), "MDEPUTY_HUB=%d,%d", HUB_LISTEN, (int)o->pid);
	snprintf(dir, sizeof(dir), "MDEPUTY_DIR=%d", HUB_DIR);
	snprintf(name, sizeof(name), "MDEPUTY_SOCKET=%s.sock", o->sid);
	snprintf(other, sizeof(other), "MDEPUTY_AS=%d", (int)as);
	snprintf(path, sizeof(path), "%s/mdeputy", o->env->libexec);
	execve(path, argv, envp);
	_exit(127);
}

/* Twice forked: it is nobody's child who would wait for it */
static int start(struct origin *o, pid_t as, struct err *e)
{
	AUTO_FD int listening = -1;
	char path[96];
	int status = 0;
	pid_t pid;

	socket_path(o, path, sizeof(path));
	listening = sock_listen(path, 0600, e);
	if (listening < 0)
		return listening;
	pid = fork();
	if (!pid) {
		pid = fork();
		if (!pid)
			become_hub(o, listening, as);
		_exit(pid < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return err_set(e, pid < 0 ? -errno : -EAGAIN, "start the deputies' hub");
	return 0;
}

int hub_call(struct origin *o, struct err *e)
{
	char path[96];

	socket_path(o, path, sizeof(path));
	return sock_connect(path, e);
}

static int send_to(int hub, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds, struct err *e)
{
	uint8_t buf[WIRE_LOCAL_MAX];
	ssize_t n = len < 0 ? len : wire_pack(buf, sizeof(buf), type, 0, payload, (size_t)len);
	int rc = n < 0 ? (int)n : sock_send(hub, buf, (size_t)n, fds, nfds, deadline_in_ms(ANSWER_MS));

	return rc ? err_set(e, rc, "tell the hub %s", wire_name(type)) : 0;
}

/* With HUB_OK for an answer */
static int ask(int hub, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds, struct err *e)
{
	uint8_t buf[256];
	struct wire_head h;
	struct wire_hub_ok ok;
	const void *p;
	int rc = send_to(hub, type, payload, len, fds, nfds, e);
	ssize_t n = rc ? rc : sock_recv(hub, buf, sizeof(buf), NULL, NULL, deadline_in_ms(ANSWER_MS));

	if (rc)
		return rc;
	if (n <= 0 || wire_unpack(buf, (size_t)n, &h, &p) || h.type != WIRE_HUB_OK || wire_get_hub_ok(p, h.length, &ok))
		return err_say(e, n < 0 ? (int)n : -EPROTO, "the hub doesn't answer %s", wire_name(type));
	return ok.code ? err_set(e, (int)ok.code, "the hub can't take %s", wire_name(type)) : 0;
}

int hub_open(struct origin *o, pid_t as, struct err *e)
{
	int rc = start(o, as, e);

	if (!rc)
		rc = o->hub = hub_call(o, e);
	return rc < 0 ? rc : 0;
}

int hub_attach(struct origin *o, struct err *e)
{
	int rc = hub_hello(o->hub, e);

	if (!rc)
		o->relay.sock = take_fd(&o->hub);
	return rc;
}

int hub_stream(int hub, pid_t pid, int fd, uint32_t id, bool out, uint64_t offset, struct err *e)
{
	AUTO_FD int pidfd = pidfd_open(pid, 0);
	AUTO_FD int its = pidfd < 0 ? -1 : pidfd_getfd(pidfd, fd, 0);
	uint8_t stream[16], buf[64];
	struct bytes b = bytes_of(stream, sizeof(stream));
	struct wire_hub_streams m = { { stream, sizeof(stream) } };

	if (its < 0)
		return err_set(e, -errno, "take descriptor %d of process %d", fd, (int)pid);
	bytes_put_le(&b, id, 4);
	bytes_put_le(&b, out, 4);
	bytes_put_le(&b, offset, 8);
	return ask(hub, WIRE_HUB_STREAMS, buf, wire_put_hub_streams(buf, sizeof(buf), &m), &its, 1, e);
}

/* Descriptors of the program's for the hub, as many in a message as go; with each, 4 or 16 bytes that say what it is */
struct batch {
	int hub, pidfd;
	unsigned type;
	int fds[STREAMS_A_MESSAGE], n;
	uint8_t what[STREAMS_A_MESSAGE * 16];
	struct bytes b;
};

static void batch_empty(struct batch *t)
{
	while (t->n > 0)
		close(t->fds[--t->n]);
	t->b = bytes_of(t->what, sizeof(t->what));
}

static int batch_begin(struct batch *t, int hub, unsigned type, pid_t pid, struct err *e)
{
	*t = (struct batch){ .hub = hub, .type = type, .pidfd = pidfd_open(pid, 0) };
	batch_empty(t);
	return t->pidfd < 0 ? err_set(e, -errno, "reach the program's descriptors") : 0;
}

static int batch_send(struct batch *t, struct err *e)
{
	/* HUB_FILES has the same shape */
	struct wire_hub_streams m = { { t->what, (uint32_t)(t->b.at - t->what) } };
	uint8_t buf[sizeof(t->what) + 64];
	int rc = t->n ? ask(t->hub, t->type, buf, wire_put_hub_streams(buf, sizeof(buf), &m), t->fds, t->n, e) : 0;

	batch_empty(t);
	return rc;
}

/* The caller puts into @t->b what it is */
static int batch_take(struct batch *t, int fd, struct err *e)
{
	int rc = t->n == STREAMS_A_MESSAGE ? batch_send(t, e) : 0;

	if (rc)
		return rc;
	t->fds[t->n] = pidfd_getfd(t->pidfd, fd, 0);
	if (t->fds[t->n] < 0)
		return err_set(e, -errno, "take descriptor %d of the program", fd);
	t->n++;
	return 0;
}

/* @rc: of all that came before */
static int batch_end(struct batch *t, int rc, struct err *e)
{
	rc = rc ? rc : batch_send(t, e);
	batch_empty(t);
	drop_fd(&t->pidfd);
	return rc;
}

int hub_streams(int hub, pid_t pid, const struct image *img, struct err *e)
{
	struct batch t;
	int rc = batch_begin(&t, hub, WIRE_HUB_STREAMS, pid, e);

	for (size_t i = 0; i < img->n_fds && !rc; i++) {
		const struct image_open *o = &img->opens[img->fds[i].open];

		if (o->kind != OPEN_TWIN)
			continue;
		rc = batch_take(&t, (int)img->fds[i].fd, e);
		bytes_put_le(&t.b, (uint64_t)o->stream, 4);
		bytes_put_le(&t.b, (o->flags & O_ACCMODE) != O_RDONLY, 4);
		bytes_put_le(&t.b, o->offset, 8);
	}
	return batch_end(&t, rc, e);
}

/* The program's open files of the origin, each description once */
int hub_files(int hub, pid_t pid, const struct image *img, struct err *e)
{
	struct batch t;
	int rc = batch_begin(&t, hub, WIRE_HUB_FILES, pid, e);

	for (size_t i = 0; i < img->n_opens && !rc; i++) {
		size_t k = 0;

		while (k < img->n_fds && img->fds[k].open != (int64_t)i)
			k++;
		if (img->opens[i].kind != OPEN_ORIGIN || k == img->n_fds)
			continue;
		rc = batch_take(&t, (int)img->fds[k].fd, e);
		bytes_put_le(&t.b, (uint64_t)img->opens[i].stream, 4);
	}
	return batch_end(&t, rc, e);
}

int hub_join(int hub, pid_t pid, int sock, struct err *e)
{
	struct wire_hub_join m = { .pid = (uint32_t)pid };
	uint8_t buf[16];

	return ask(hub, WIRE_HUB_JOIN, buf, wire_put_hub_join(buf, sizeof(buf), &m), &sock, 1, e);
}

int hub_segments(int hub, const struct image *img, uint32_t what, struct err *e)
{
	size_t n = img ? img->n_objects : 0;
	AUTO_FREE uint8_t *ids = malloc(n * 4 + 1), *buf = malloc(n * 4 + 64);
	struct bytes b = bytes_of(ids, ids ? n * 4 : 0);
	struct wire_hub_segments m = { .what = what };

	if (!ids || !buf)
		return err_set(e, -ENOMEM, "tell the hub of the program's System V shared memory");
	for (size_t i = 0; i < n; i++)
		if (img->objects[i].whole)
			bytes_put_le(&b, img->objects[i].inode, 4);
	m.ids = (wire_blob){ ids, (uint32_t)(b.at - ids) };
	if (what && !m.ids.len)
		return 0;
	return ask(hub, WIRE_HUB_SEGMENTS, buf, wire_put_hub_segments(buf, n * 4 + 64, &m), NULL, 0, e);
}

/* All of them come with the first process */
bool hub_has_segments(const struct image *img)
{
	for (size_t i = 0; i < img->n_objects; i++)
		if (img->objects[i].whole)
			return true;
	return false;
}

void hub_drop_segments(struct origin *o, const struct image *img)
{
	AUTO_FD int hub = -1;

	if (!hub_has_segments(img))
		return;
	hub = hub_call(o, NULL);
	if (hub < 0 || hub_segments(hub, NULL, HUB_SEGMENTS_DROP, NULL))
		log_debug("the hub keeps the program's System V shared memory until it ends");
}

int hub_hello(int hub, struct err *e)
{
	struct wire_hub_hello m = { .version = WIRE_NEWEST };
	uint8_t buf[16];

	return send_to(hub, WIRE_HUB_HELLO, buf, wire_put_hub_hello(buf, sizeof(buf), &m), NULL, 0, e);
}

bool hub_is_up(struct origin *o, unsigned *lost)
{
	AUTO_FD int fd = hub_call(o, NULL);
	struct wire_deputy_up up = { 0 };
	uint8_t buf[WIRE_LOCAL_MAX];
	struct wire_head h;
	const void *p;
	ssize_t n;

	if (fd < 0 || hub_hello(fd, NULL))
		return false;
	do	/* other things may come first */
		n = sock_recv(fd, buf, sizeof(buf), NULL, NULL, deadline_in_ms(ANSWER_MS));
	while (n > 0 && (wire_unpack(buf, (size_t)n, &h, &p) || h.type != WIRE_DEPUTY_UP));
	if (n <= 0 || wire_get_deputy_up(p, h.length, &up))
		return false;
	*lost = up.lost;
	return up.pid;
}

int hub_tell(struct origin *o, unsigned type, const void *payload, ssize_t len, struct err *e)
{
	if (o->relay.sock < 0)
		return err_set(e, -ENOTCONN, "tell the hub %s", wire_name(type));
	return send_to(o->relay.sock, type, payload, len, NULL, 0, e);
}

void hub_finish(struct origin *o)
{
	struct wire_hub_quit m = { .code = 1 };
	uint8_t buf[16];

	if (o->relay.sock >= 0 && hub_tell(o, WIRE_HUB_QUIT, buf, wire_put_hub_quit(buf, sizeof(buf), &m), NULL))
		log_debug("the hub has gone");
}

void hub_quit(struct origin *o)
{
	struct wire_hub_quit m = { 0 };
	uint8_t buf[16];

	if (o->relay.sock < 0 && o->hub >= 0 && hub_attach(o, NULL))
		drop_fd(&o->hub);
	if (o->relay.sock >= 0 && hub_tell(o, WIRE_HUB_QUIT, buf, wire_put_hub_quit(buf, sizeof(buf), &m), NULL))
		drop_fd(&o->relay.sock);	/* it finds out by itself */
	drop_fd(&o->relay.sock);
}

/* SPDX-License-Identifier: MIT */
/*
 * client.c - mmigrate's side of the control socket: ask, watch, get the answer
 */
#include "proxy/daemon/client.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/daemon/places.h"

#define HEAR_MAX (1u << 20)	/* bytes of one message, at most */

static int nobody(const char *where, const char *why, struct err *e)
{
	return err_say(e, -ENOTCONN, "no mproxy is reachable at %s (%s); start one: "
		       "mproxy --listen", where, why);
}

int client_connect(const char *control, struct err *e)
{
	bool root = geteuid() == 0;
	char own[PATH_MAX] = "", other[PATH_MAX] = "";
	int fd, first;

	if (control) {
		fd = sock_connect(control, NULL);
		return fd < 0 ? nobody(control, strerror(-fd), e) : fd;
	}
	first = places_control(root, NULL, own, sizeof(own), NULL);
	fd = first ? first : sock_connect(own, NULL);
	if (fd >= 0)
		return fd;
	first = fd;
	if (places_control(!root, NULL, other, sizeof(other), NULL))
		return nobody(own, strerror(-first), e);
	fd = sock_connect(other, NULL);
	/* what keeps us from one that is there says more than that there is none */
	if (fd < 0 && fd != -ENOENT && first == -ENOENT)
		return nobody(other, strerror(-fd), e);
	return fd < 0 ? nobody(own, strerror(-first), e) : fd;
}

int client_ask(int fd, const char *request, struct err *e)
{
	AUTO_FREE uint8_t *payload = malloc(WIRE_LOCAL_MAX), *buf = malloc(WIRE_LOCAL_MAX);
	struct wire_ask m = { .request = request };
	ssize_t n;
	int r;

	if (!payload || !buf)
		return err_set(e, -ENOMEM, "ask mproxy");
	n = wire_put_ask(payload, WIRE_LOCAL_MAX, &m);
	if (n >= 0)
		n = wire_pack(buf, WIRE_LOCAL_MAX, WIRE_ASK, 0, payload, (size_t)n);
	r = n < 0 ? (int)n : sock_send(fd, buf, (size_t)n, NULL, 0, NO_DEADLINE);
	return r ? err_set(e, r, "ask mproxy") : 0;
}

static int strange(struct err *e)
{
	return err_say(e, -EBADMSG, "mproxy answered something that can't be understood; is it "
		       "of another version?");
}

/* A message that was received; its descriptors are there already.  Return: 0 or -EBADMSG */
static int understand(const void *buf, size_t len, struct client_said *said, struct err *e)
{
	struct wire_progress progress;
	struct wire_be_deputy deputy;
	struct wire_answer answer;
	const char *text = NULL;
	struct wire_head h;
	const void *payload;
	int want_fds = 0;

	if (wire_unpack(buf, len, &h, &payload) || wire_any(h.type, payload, h.length))
		return strange(e);
	said->type = h.type;
	switch (h.type) {
	case WIRE_PROGRESS:
		text = wire_get_progress(payload, h.length, &progress) ? NULL : progress.line;
		break;
	case WIRE_ANSWER:
		text = wire_get_answer(payload, h.length, &answer) ? NULL : answer.answer;
		said->answer = true;
		said->code = text ? answer.code : 0;
		break;
	case WIRE_BE_DEPUTY:
		text = wire_get_be_deputy(payload, h.length, &deputy) ? NULL : deputy.answer;
		snprintf(said->comm, sizeof(said->comm), "%s", text ? deputy.comm : "");
		said->as = text ? deputy.as : 0;
		want_fds = CLIENT_MOST_FDS;
		break;
	case WIRE_FILE_WANTED:
	case WIRE_FILE_WRITTEN:
		return said->nfds ? strange(e) : 0;
	}
	return !text || json_parse(text, strlen(text), &said->json, NULL) || said->nfds != want_fds ? strange(e) : 0;
}

void client_forget(struct client_said *said)
{
	json_free(said->json);
	for (int i = 0; i < said->nfds; i++)
		if (said->fds[i] >= 0)
			close(said->fds[i]);
	*said = (struct client_said){ 0 };
}

int client_hear(int fd, struct client_said *said, struct err *e)
{
	AUTO_FREE uint8_t *buf = malloc(HEAR_MAX);
	ssize_t n;
	int r;

	*said = (struct client_said){ 0 };
	if (!buf)
		return err_set(e, -ENOMEM, "hear mproxy");
	said->nfds = CLIENT_MOST_FDS;
	n = sock_recv(fd, buf, HEAR_MAX, said->fds, &said->nfds, NO_DEADLINE);
	if (n <= 0)
		said->nfds = 0;
	if (n == 0 || n == -ECONNRESET)
		return err_say(e, -ECONNRESET, "mproxy gave no answer; 'mmigrate ps' says where "
			       "the program runs, and mproxy's log why");
	if (n < 0)
		return err_set(e, (int)n, "hear mproxy");
	r = understand(buf, (size_t)n, said, e);
	if (r)
		client_forget(said);
	return r;
}

static int tell(int fd, unsigned type, const void *payload, ssize_t len, int file, struct err *e)
{
	uint8_t buf[128];
	ssize_t n = len < 0 ? len : wire_pack(buf, sizeof(buf), type, 0, payload, (size_t)len);
	int r = n < 0 ? (int)n : sock_send(fd, buf, (size_t)n, &file, file >= 0, NO_DEADLINE);

	return r ? err_set(e, r, "tell mproxy %s", wire_name(type)) : 0;
}

int client_give_file(int fd, int file, struct err *e)
{
	struct wire_file_given m = { 0 };
	uint8_t buf[64];

	return tell(fd, WIRE_FILE_GIVEN, buf, wire_put_file_given(buf, sizeof(buf), &m), file, e);
}

int client_kept(int fd, int code, struct err *e)
{
	struct wire_file_kept m = { .code = code };
	uint8_t buf[64];

	return tell(fd, WIRE_FILE_KEPT, buf, wire_put_file_kept(buf, sizeof(buf), &m), -1, e);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_invite.c - Invitations, and the first words on a link
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/log.h"
#include "proxy/daemon/greet.h"
#include "proxy/daemon/invite.h"

#define PIN_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PIN_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_invite.XXXXXX");
	log_set_level(LOG_LEVEL_ERR);
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

static struct invite make(void)
{
	char token[INVITE_TOKEN];
	struct invite inv;
	struct err e = { 0 };

	assert_int_equal(invite_make(dir, "h.example:7700", PIN_A, token, sizeof(token), &e), 0);
	assert_int_equal(invite_parse(token, &inv, &e), 0);
	return inv;
}

/* The files that are pending; with @expiry not 0 it is written into all of them */
static int pending(time_t expiry)
{
	char path[96], text[200], hash[65];
	struct dirent *ent;
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/invites", dir);
	d = opendir(path);
	while (d && (ent = readdir(d))) {
		FILE *f;

		if (ent->d_name[0] == '.')
			continue;
		n++;
		if (!expiry)
			continue;
		snprintf(text, sizeof(text), "%s/%.40s", path, ent->d_name);
		f = fopen(text, "r+");
		assert_non_null(f);
		assert_int_equal(fscanf(f, "%64s", hash), 1);
		rewind(f);
		fprintf(f, "%s %lld\n", hash, (long long)expiry);
		assert_int_equal(ftruncate(fileno(f), ftell(f)), 0);
		fclose(f);
	}
	if (d)
		closedir(d);
	return n;
}

static void test_token(void **state)
{
	struct invite inv = { .addr = "h:1", .pin = PIN_B }, back;
	char token[INVITE_TOKEN], bad[2 * INVITE_TOKEN];
	size_t len;

	(void)state;
	memset(inv.secret, 0xfe, sizeof(inv.secret));
	memset(inv.addr, 'x', 57);
	strcpy(inv.addr + 57, ":65535");	/* the longest there is */
	assert_int_equal(invite_format(&inv, token, sizeof(token)), 0);
	assert_int_equal(invite_parse(token, &back, NULL), 0);
	assert_memory_equal(&inv, &back, sizeof(inv));
	assert_int_equal(invite_format(&inv, token, 20), -ENOSPC);

	assert_int_equal(invite_format(&inv, token, sizeof(token)), 0);
	len = strlen(token);
	for (size_t i = 0; i < len; i++) {	/* cut short, or one letter wrong */
		memcpy(bad, token, len + 1);
		bad[i] = 0;
		assert_int_equal(invite_parse(bad, &back, NULL), -EINVAL);
		memcpy(bad, token, len + 1);
		bad[i] = bad[i] == 'A' ? 'B' : 'A';
		assert_int_equal(invite_parse(bad, &back, NULL), -EINVAL);
	}
	snprintf(bad, sizeof(bad), "%s\n", token);
	assert_int_equal(invite_parse(bad, &back, NULL), 0);
	snprintf(bad, sizeof(bad), "%s%s", token, token + 4);
	assert_int_equal(invite_parse(bad, &back, NULL), -EINVAL);
	assert_int_equal(invite_parse("", &back, NULL), -EINVAL);
	assert_int_equal(invite_parse("mm1.", &back, NULL), -EINVAL);
	assert_int_equal(invite_parse("mm2.AAAA", &back, NULL), -EINVAL);
}

static void test_once(void **state)
{
	struct invite inv = make(), wrong = inv;
	char path[96];
	struct stat st;

	(void)state;
	assert_string_equal(inv.addr, "h.example:7700");
	assert_string_equal(inv.pin, PIN_A);
	snprintf(path, sizeof(path), "%s/invites", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(pending(0), 1);

	wrong.secret[31] ^= 1;
	assert_int_equal(invite_redeem(dir, wrong.secret, NULL), -EACCES);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), 0);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), -EACCES);
	assert_int_equal(pending(0), 0);
}

static void *redeem(void *inv)
{
	return invite_redeem(dir, ((struct invite *)inv)->secret, NULL) ? NULL : inv;
}

static void test_once_among_many(void **state)
{
	struct invite inv = make();
	pthread_t t[8];
	int wins = 0;

	(void)state;
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, redeem, &inv), 0);
	for (int i = 0; i < 8; i++) {
		void *won;

		pthread_join(t[i], &won);
		wins += won != NULL;
	}
	assert_int_equal(wins, 1);
}

static void test_expired(void **state)
{
	struct invite inv = make();

	(void)state;
	assert_int_equal(pending(time(NULL) - 1), 1);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), -ETIMEDOUT);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), -EACCES);

	inv = make();	/* a clock that was put back an hour lengthens no life */
	assert_int_equal(pending(time(NULL) + 4000), 1);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), -ETIMEDOUT);

	make();
	assert_int_equal(pending(time(NULL) - 1), 1);
	inv = make();	/* sweeps */
	assert_int_equal(pending(0), 1);
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), 0);
}

/* ---- greet ------------------------------------------------------------------- */

struct side {
	struct link *l;
	int r;
	struct peer peer;
};

static void *accept_side(void *arg)
{
	struct side *s = arg;
	struct err e;

	s->r = greet_accept(s->l, dir, &s->peer, &e);
	link_close(s->l);
	return NULL;
}

/* An accepting side in a thread, which thinks that @pin is there.  Return: our end */
static struct link *greet_start(struct side *s, pthread_t *t, const char *pin)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	memset(s, 0, sizeof(*s));
	s->l = link_of_fd(sv[1]);
	strcpy(s->l->pin, pin);
	assert_int_equal(pthread_create(t, NULL, accept_side, s), 0);
	return link_of_fd(sv[0]);
}

/* Says @len bytes of @p as @pin.  Return: what greet_accept() did; not a byte may come back */
static int say(const char *pin, const void *p, size_t len)
{
	struct link *l;
	struct side s;
	pthread_t t;
	char c;

	l = greet_start(&s, &t, pin);
	if (link_send(l, p, len, NO_DEADLINE, NULL))
		s.r = 0;	/* it closed before we were done: fine */
	shutdown(l->fd, SHUT_WR);
	assert_int_equal(link_recv(l, &c, 1, deadline_in_ms(2000), NULL), -ECONNRESET);
	pthread_join(t, NULL);
	link_close(l);
	return s.r;
}

static int bring(const struct invite *inv, const char *pin, const char *name, int *accepted)
{
	char theirs[PEER_NAME] = "";
	struct link *l;
	struct side s;
	pthread_t t;
	int r;

	l = greet_start(&s, &t, pin);
	r = greet_redeem(l, inv, name, "h.example:7700", theirs, sizeof(theirs), NULL);
	shutdown(l->fd, SHUT_WR);	/* it may still be waiting for our first words */
	pthread_join(t, NULL);
	link_close(l);
	*accepted = s.r;
	if (!r)
		assert_true(peer_name_ok(theirs));
	return r;
}

static void test_greet(void **state)
{
	struct invite inv = make();
	struct link *l;
	struct side s;
	pthread_t t;
	int r;

	(void)state;
	assert_int_equal(say(PIN_B, "MMPEER01", 8), -EACCES);	/* a stranger */
	assert_int_equal(bring(&inv, PIN_B, "beta", &r), 0);
	assert_int_equal(r, 1);
	l = greet_start(&s, &t, PIN_B);				/* now a friend */
	assert_int_equal(greet_connect(l, NULL), 0);
	pthread_join(t, NULL);
	assert_int_equal(s.r, 0);
	assert_string_equal(s.peer.name, "beta");
	assert_string_equal(s.peer.addr, "h.example:7700");
	link_close(l);

	assert_int_equal(bring(&inv, PIN_A, "alpha", &r), -EACCES);	/* used */
	assert_int_equal(r, -EACCES);
	inv = make();
	assert_int_equal(bring(&inv, PIN_A, "beta", &r), -EACCES);	/* another's name */
	assert_int_equal(r, -EEXIST);
	inv = make();
	assert_int_equal(bring(&inv, PIN_B, "beta", &r), 0);	/* again: moved, say */
	assert_int_equal(bring(&inv, PIN_B, "a b", &r), -EINVAL);
}

static void test_greet_garbage(void **state)
{
	struct invite inv = make();
	uint8_t msg[168] = "MMINVITE";

	(void)state;
	assert_int_equal(say(PIN_A, "", 0), -ECONNRESET);
	assert_int_equal(say(PIN_A, "GET / HTTP/1.1\r\n", 16), -EACCES);
	assert_int_equal(say(PIN_A, msg, 100), -ECONNRESET);
	assert_int_equal(say(PIN_A, msg, sizeof(msg)), -EBADMSG);
	memcpy(msg + 8, inv.secret, 32);
	memset(msg + 40, 'n', 64);		/* no padding */
	strcpy((char *)msg + 104, "h:1");
	assert_int_equal(say(PIN_A, msg, sizeof(msg)), -EBADMSG);
	memset(msg + 50, 0, 54);
	msg[60] = 'x';				/* something behind the end */
	assert_int_equal(say(PIN_A, msg, sizeof(msg)), -EBADMSG);
	msg[60] = 0;
	assert_int_equal(say("", msg, sizeof(msg)), -EACCES);	/* no key at all */
	assert_int_equal(invite_redeem(dir, inv.secret, NULL), 0);	/* still good */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_token),	cmocka_unit_test(test_once),
		cmocka_unit_test(test_once_among_many), cmocka_unit_test(test_expired),
		cmocka_unit_test(test_greet),	cmocka_unit_test(test_greet_garbage),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

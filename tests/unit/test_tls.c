/* SPDX-License-Identifier: MIT */
/*
 * test_tls.c - Both sides of the link over loopback TCP, and whom they refuse
 *
 * The peer is a thread.  SIGPIPE keeps its default disposition: if one were raised, the test
 * would die of it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/link/tls_accept.h"
#include "proxy/link/tls_connect.h"

#define BULK (64u << 20)
#define CHUNK (1u << 20)

static char dir[64];
static struct identity *here, *there;

static int set_up(void **state)
{
	char path[80];

	(void)state;
	strcpy(dir, "/tmp/test_tls.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/here", dir);
	if (identity_open(path, &here, NULL))
		return -1;
	snprintf(path, sizeof(path), "%s/there", dir);
	return identity_open(path, &there, NULL);
}

static int tear_down(void **state)
{
	char cmd[128];

	(void)state;
	identity_close(here);
	identity_close(there);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

/* ---- the accepting peer ---------------------------------------------------------- */

struct server {
	int fd;			/* listens */
	uint16_t port;
	pthread_t thread;
	void (*serve)(struct server *s, struct link *l);	/* may be NULL */
	struct link *link;	/* NULL: the handshake failed, see @e */
	struct err e;
	char pin[IDENTITY_PIN];	/* who came */
	ssize_t got;		/* what serve() has to say */
	int64_t deadline_ms;
};

static void *server_main(void *arg)
{
	struct server *s = arg;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);

	s->link = tls_accept(here, fd, deadline_in_ms(s->deadline_ms), &s->e);
	if (s->link) {
		strcpy(s->pin, s->link->pin);
		if (s->serve)
			s->serve(s, s->link);
		link_close(s->link);
	}
	return NULL;
}

static void server_start(struct server *s, void (*serve)(struct server *, struct link *))
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);

	memset(s, 0, sizeof(*s));
	s->serve = serve;
	s->deadline_ms = 3000;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(s->fd, 4), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&sa, &len), 0);
	s->port = ntohs(sa.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_join(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static struct link *dial(const struct server *s, const char *pin, struct err *e)
{
	memset(e, 0, sizeof(*e));
	return tls_connect(there, "127.0.0.1", s->port, pin, deadline_in_ms(3000), e);
}

static int plain_dial(const struct server *s)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(s->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

/* ---- bulk ---------------------------------------------------------------------- */

/* Numbers that never repeat within a test: what is lost, doubled or moved shows */
static void pattern(uint64_t *p, size_t len, uint64_t *next)
{
	for (size_t i = 0; i < len / 8; i++)
		p[i] = (*next)++ * 0x9e3779b97f4a7c15u;
}

/* Both return whether all of BULK went well */
static bool send_bulk(struct link *l)
{
	AUTO_FREE uint64_t *buf = malloc(CHUNK);
	uint64_t next = 1;

	for (size_t n = 0; n < BULK; n += CHUNK) {
		pattern(buf, CHUNK, &next);
		if (link_send(l, buf, CHUNK, deadline_in_ms(5000), NULL))
			return false;
	}
	return true;
}

static bool recv_bulk(struct link *l)
{
	AUTO_FREE uint64_t *buf = malloc(CHUNK), *want = malloc(CHUNK);
	uint64_t next = 1;

	for (size_t n = 0; n < BULK; n += CHUNK) {
		pattern(want, CHUNK, &next);
		if (link_recv(l, buf, CHUNK, deadline_in_ms(5000), NULL) ||
		    memcmp(buf, want, CHUNK))
			return false;
	}
	return true;
}

static void serve_bulk(struct server *s, struct link *l)
{
	s->got = recv_bulk(l) && send_bulk(l);
}

static void test_bulk(void **state)
{
	struct server s;
	struct link *l;
	struct err e;
	int on = 0;
	socklen_t len = sizeof(on);
	char c;

	(void)state;
	setenv("https_proxy", "http://127.0.0.1:1", 1);	/* never for loopback */
	server_start(&s, serve_bulk);
	l = dial(&s, identity_pin(here), &e);
	assert_non_null(l);
	assert_string_equal(l->pin, identity_pin(here));
	assert_true(fcntl(l->fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(l->fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(getsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_int_equal(on, 1);
	assert_int_equal(getsockopt(l->fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
	assert_int_equal(on, 1);
	assert_true(send_bulk(l));
	assert_true(recv_bulk(l));
	assert_int_equal(link_recv(l, &c, 1, deadline_in_ms(3000), &e), -ECONNRESET);
	link_close(l);
	server_join(&s);
	assert_int_equal(s.got, 1);
	assert_string_equal(s.pin, identity_pin(there));
	unsetenv("https_proxy");
}

/* Both send at once, in odd sizes and from moving buffers, and only read when they can't */
static bool duplex(struct link *l)
{
	AUTO_FREE uint8_t *buf = malloc(300000), *in = malloc(300000);
	size_t total = 8u << 20, sent = 0, got = 0;

	while (sent < total || got < total) {
		short events = POLLIN;
		ssize_t n;

		for (size_t i = 0, at = sent; i < 300000; i++)
			buf[i] = (uint8_t)((at + i) * 2654435761u >> 7);
		n = -EAGAIN;
		if (sent < total)
			n = link_try_send(l, buf, MIN((size_t)300000 - sent % 7, total - sent));
		if (n > 0)
			sent += (size_t)n;
		else if (n != -EAGAIN)
			return false;
		do {
			n = link_try_recv(l, in, 300000 - got % 11);
			for (ssize_t i = 0; i < n; i++)
				if (in[i] != (uint8_t)((got + (size_t)i) * 2654435761u >> 7))
					return false;
			got += n > 0 ? (size_t)n : 0;
		} while (n > 0);
		if (n != -EAGAIN)
			return got == total && sent == total;
		if (sent < total)
			events |= POLLOUT;
		if (got < total || sent < total)
			poll(&(struct pollfd){ .fd = l->fd, .events = events }, 1, 3000);
	}
	return true;
}

static void serve_duplex(struct server *s, struct link *l)
{
	s->got = duplex(l);
}

static void test_duplex(void **state)
{
	struct server s;
	struct link *l;
	struct err e;

	(void)state;
	server_start(&s, serve_duplex);
	l = dial(&s, identity_pin(here), &e);
	assert_non_null(l);
	assert_true(duplex(l));
	server_join(&s);
	link_close(l);
	assert_int_equal(s.got, 1);
}

/* ---- whom we refuse ---------------------------------------------------------------- */

static void serve_one_byte(struct server *s, struct link *l)
{
	char c;

	while ((s->got = link_try_recv(l, &c, 1)) == -EAGAIN)
		poll(&(struct pollfd){ .fd = l->fd, .events = POLLIN }, 1, 3000);
}

static void test_wrong_pin(void **state)
{
	struct server s;
	struct err e;

	(void)state;
	server_start(&s, serve_one_byte);
	assert_null(dial(&s, identity_pin(there), &e));
	assert_int_equal(e.code, -EKEYREJECTED);
	server_join(&s);
	assert_true(!s.link || s.got <= 0);	/* end or reset, and not a byte */

	assert_null(tls_connect(there, "127.0.0.1", s.port, "short", deadline_in_ms(100), &e));
	assert_int_equal(e.code, -EINVAL);
	assert_null(tls_connect(there, "a@b/c", s.port, identity_pin(here), deadline_in_ms(100),
				&e));
	assert_int_equal(e.code, -EINVAL);
}

/* What every acceptor must do with a pin that it doesn't know */
static void serve_only_here(struct server *s, struct link *l)
{
	if (strcmp(l->pin, identity_pin(here)))
		s->got = -EACCES;
	else
		serve_one_byte(s, l);
}

static void test_foreign_certificate(void **state)
{
	struct server s;
	struct link *l;
	struct err e;
	char c;

	(void)state;
	server_start(&s, serve_only_here);
	l = dial(&s, identity_pin(here), &e);
	assert_non_null(l);
	(void)!link_send(l, "x", 1, deadline_in_ms(1000), NULL);
	assert_true(link_recv(l, &c, 1, deadline_in_ms(3000), &e) < 0);
	link_close(l);
	server_join(&s);
	assert_int_equal(s.got, -EACCES);
	assert_string_equal(s.pin, identity_pin(there));
}

/* A client of our own making.  Return: whether a byte came through it both ways of the handshake */
static bool other_client(const struct server *s, int version, const struct identity *id)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	size_t cert_len = 0, key_len = 0;
	const uint8_t *cert = id ? identity_cert(id, &cert_len) : NULL;
	const uint8_t *key = id ? identity_key(id, &key_len) : NULL;
	int fd = plain_dial(s);
	SSL *ssl;
	char c;
	bool ok;

	SSL_CTX_set_max_proto_version(ctx, version);
	if (id) {
		assert_int_equal(SSL_CTX_use_certificate_ASN1(ctx, (int)cert_len, cert), 1);
		assert_true(SSL_CTX_use_PrivateKey_ASN1(EVP_PKEY_EC, ctx, key, (long)key_len));
	}
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	ok = SSL_connect(ssl) == 1 && SSL_read(ssl, &c, 1) == 1;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return ok;
}

static void serve_hello(struct server *s, struct link *l)
{
	s->got = link_send(l, "h", 1, deadline_in_ms(1000), NULL);
}

static void test_other_clients(void **state)
{
	struct server s;

	(void)state;
	server_start(&s, serve_hello);
	assert_true(other_client(&s, TLS1_3_VERSION, there));
	server_join(&s);
	assert_string_equal(s.pin, identity_pin(there));

	server_start(&s, serve_hello);
	assert_false(other_client(&s, TLS1_2_VERSION, there));
	server_join(&s);
	assert_null(s.link);
	assert_int_equal(s.e.code, -EPROTO);

	server_start(&s, serve_hello);
	assert_false(other_client(&s, TLS1_3_VERSION, NULL));	/* no certificate */
	server_join(&s);
	assert_null(s.link);
	assert_int_equal(s.e.code, -EPROTO);
}

static void test_garbage(void **state)
{
	static const char *const garbage[] = {
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"\x16\x03\x01\xff\xff",
		"\x80\x80\x80\x80\x80\x80\x80\x80",
	};
	struct server s;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(garbage); i++) {
		server_start(&s, NULL);
		AUTO_FD int fd = plain_dial(&s);
		assert_true(send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL) > 0);
		shutdown(fd, SHUT_WR);
		server_join(&s);
		assert_null(s.link);
		assert_true(s.e.code < 0 && s.e.text[0]);
	}
}

static void test_deadlines(void **state)
{
	struct server s;
	struct err e;
	AUTO_FD int fd = -1;
	int mute;

	(void)state;
	server_start(&s, NULL);		/* who connects and says nothing */
	s.deadline_ms = 100;
	fd = plain_dial(&s);
	server_join(&s);
	assert_null(s.link);
	assert_true(s.e.code == -ETIMEDOUT);

	mute = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);	/* who accepts and says nothing */
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sa);
	assert_int_equal(bind(mute, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(mute, 1), 0);
	assert_int_equal(getsockname(mute, (struct sockaddr *)&sa, &len), 0);
	s.port = ntohs(sa.sin_port);
	assert_null(tls_connect(there, "127.0.0.1", s.port, identity_pin(here), deadline_in_ms(100),
				&e));
	assert_int_equal(e.code, -ETIMEDOUT);
	assert_null(tls_connect(there, "127.0.0.1", s.port, identity_pin(here), 0, &e));
	assert_int_equal(e.code, -ETIMEDOUT);
	close(mute);
	assert_null(tls_connect(there, "127.0.0.1", s.port, identity_pin(here), deadline_in_ms(1000),
				&e));
	assert_int_equal(e.code, -ECONNREFUSED);
}

/* ---- who vanishes ------------------------------------------------------------------ */

/* Without a close_notify: a reset at once, or an end that turns into one (EPIPE, SIGPIPE) */
static void vanish(struct link *l, bool at_once)
{
	struct linger now = { at_once, 0 };
	AUTO_FD int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	dup2(nothing, l->fd);
}

static void serve_and_vanish(struct server *s, struct link *l)
{
	char c;

	s->got = link_recv(l, &c, 1, deadline_in_ms(3000), NULL);
	vanish(l, c == 'r');
}

/* Sends until it fails.  Return: how */
static int send_until_failure(struct link *l)
{
	static char buf[CHUNK];
	int r;

	do
		r = link_send(l, buf, sizeof(buf), deadline_in_ms(5000), NULL);
	while (!r);
	return r;
}

static void serve_until_failure(struct server *s, struct link *l)
{
	char c;

	/* Small ones first: the end is noticed by a later write than the one that caused it */
	for (int i = 0; i < 100 && !s->got; i++) {
		s->got = link_send(l, "x", 1, deadline_in_ms(1000), NULL);
		usleep(1000);
	}
	if (!s->got)
		s->got = send_until_failure(l);
	if (link_try_send(l, "x", 1) >= 0 || link_try_recv(l, &c, 1) >= 0)
		s->got = 0;	/* it must stay that way */
}

static bool is_gone(ssize_t r)
{
	return r == -EPIPE || r == -ECONNRESET;
}

static void vanishing_server(bool at_once)
{
	struct server s;
	struct link *l;
	struct err e;
	char c;

	server_start(&s, serve_and_vanish);
	l = dial(&s, identity_pin(here), &e);
	assert_non_null(l);
	assert_int_equal(link_send(l, at_once ? "r" : "e", 1, deadline_in_ms(1000), NULL), 0);
	assert_true(is_gone(send_until_failure(l)));
	assert_true(is_gone(link_recv(l, &c, 1, deadline_in_ms(1000), NULL)));
	link_close(l);
	server_join(&s);
}

static void vanishing_client(bool at_once)
{
	struct server s;
	struct link *l;
	struct err e;
	char c;

	server_start(&s, serve_until_failure);
	l = dial(&s, identity_pin(here), &e);
	assert_non_null(l);
	assert_int_equal(link_recv(l, &c, 1, deadline_in_ms(3000), NULL), 0);
	vanish(l, at_once);
	server_join(&s);
	link_close(l);
	assert_true(is_gone(s.got));
}

static void test_vanish(void **state)
{
	(void)state;
	for (int at_once = 0; at_once < 2; at_once++) {
		vanishing_server(at_once);
		vanishing_client(at_once);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bulk),	      cmocka_unit_test(test_duplex),
		cmocka_unit_test(test_wrong_pin),     cmocka_unit_test(test_foreign_certificate),
		cmocka_unit_test(test_other_clients), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_deadlines),     cmocka_unit_test(test_vanish),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

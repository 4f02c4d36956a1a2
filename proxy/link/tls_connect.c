/* SPDX-License-Identifier: MIT */
/*
 * tls_connect.c - The connecting side of mutual TLS 1.3
 *
 * libcurl with CONNECT_ONLY: it resolves the name, tries the addresses, goes through a proxy when
 * the environment names one, and does the handshake; then it is a stream of bytes.  It is told
 * to believe no authority, only the peer's key (PINNEDPUBLICKEY, checked inside the handshake),
 * and the pin is computed once more from the certificate by our own code.
 *
 * libcurl wants a send that gave CURLE_AGAIN repeated with the same pointer and the same length,
 * which our callers can't promise.  So bytes go out in pieces of one TLS record from a buffer of
 * our own; a piece that had to wait is repeated from there.  The copy stays in the cache, where
 * the cipher is about to look for it.
 *
 * It sends with MSG_NOSIGNAL since 7.87, so that CURLOPT_NOSIGNAL (no signal handlers set behind
 * our back) costs nothing.
 */
#include "proxy/link/tls_connect.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "proxy/link/sha256.h"
#include "proxy/link/tls_accept.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "libcurl 7.87 or newer is needed: older ones raise SIGPIPE"
#endif

#define PIECE 16384		/* bytes; one full TLS record */
#define RECV_MAX (4 << 20)	/* bytes one try_recv() gives at most: others want a turn */
#define HOST_MAX 255

struct tls {
	struct link link;
	CURL *curl;
	size_t pending;		/* bytes of @piece that libcurl has begun to send; 0 */
	bool ended;
	int broken;		/* negative errno that ended the stream; 0 */
	char words[CURL_ERROR_SIZE];
	uint8_t piece[PIECE];
};

/* What libcurl says, as an errno.  What isn't here is -EIO */
static int curl_errno(CURLcode code)
{
	static const struct row {
		CURLcode code;
		int err;
	} rows[] = {
		{ CURLE_AGAIN, -EAGAIN },
		{ CURLE_SEND_ERROR, -EPIPE },
		{ CURLE_RECV_ERROR, -ECONNRESET },
		{ CURLE_GOT_NOTHING, -ECONNRESET },
		{ CURLE_COULDNT_CONNECT, -ECONNREFUSED },
		{ CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH },
		{ CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH },
		{ CURLE_PROXY, -EHOSTUNREACH },
		{ CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT },
		{ CURLE_SSL_PINNEDPUBKEYNOTMATCH, -EKEYREJECTED },
		{ CURLE_SSL_CONNECT_ERROR, -EPROTO },
		{ CURLE_SSL_CERTPROBLEM, -EPROTO },
		{ CURLE_OUT_OF_MEMORY, -ENOMEM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].code == code)
			return rows[i].err;
	return -EIO;
}

/* ---- the link's operations ---------------------------------------------------- */

/* Sends the piece at the front of @p, or goes on with it.  Return: its length or -errno */
static ssize_t send_piece(struct tls *t, const char *p, size_t len)
{
	size_t n = t->pending ? t->pending : MIN(len, (size_t)PIECE), sent = 0;
	CURLcode code;

	if (t->pending && (len < n || memcmp(t->piece, p, n)))
		return -EINVAL;		/* see tls_accept.h: not what was tried before */
	if (!t->pending)
		memcpy(t->piece, p, n);
	code = curl_easy_send(t->curl, t->piece, n, &sent);
	t->pending = code == CURLE_AGAIN ? n : 0;
	if (code == CURLE_OK)
		return (ssize_t)sent;
	if (code != CURLE_AGAIN)
		t->broken = curl_errno(code);
	return curl_errno(code);
}

static ssize_t tls_send(struct link *l, const void *p, size_t len)
{
	struct tls *t = (struct tls *)l;
	size_t done = 0;
	ssize_t n = 0;

	if (t->broken)
		return t->broken;
	if (len > TLS_CORK_FROM)
		tls_cork_socket(l->fd, true);
	while (done < len) {
		n = send_piece(t, (const char *)p + done, len - done);
		if (n < 0)
			break;
		done += (size_t)n;
	}
	if (len > TLS_CORK_FROM)
		tls_cork_socket(l->fd, false);
	return done ? (ssize_t)done : n;
}

static ssize_t tls_recv(struct link *l, void *p, size_t size)
{
	struct tls *t = (struct tls *)l;
	size_t done = 0, n;

	if (t->broken || t->ended)
		return t->broken;
	size = MIN(size, (size_t)RECV_MAX);
	while (done < size) {
		CURLcode code = curl_easy_recv(t->curl, (char *)p + done, size - done, &n);

		if (code == CURLE_AGAIN)
			return done ? (ssize_t)done : -EAGAIN;
		if (code != CURLE_OK)
			t->broken = curl_errno(code);
		else if (!n)
			t->ended = true;
		if (t->broken || t->ended)
			return done ? (ssize_t)done : t->broken;
		done += n;
	}
	return (ssize_t)done;
}

static void tls_close(struct link *l)
{
	struct tls *t = (struct tls *)l;

	curl_easy_cleanup(t->curl);	/* closes the socket */
	free(t);
}

static const struct link_ops tls_ops = { tls_send, tls_recv, tls_close };

/* ---- the connection ----------------------------------------------------------- */

/* libcurl's own socket would leak into every program that a session executes */
static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);

	(void)ctx, (void)purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (a->family != AF_UNIX && tls_tune_socket(fd)) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	return fd;
}

/* Only what can stand in the host part of a URL: nothing may end it early */
static bool host_ok(const char *host)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";
	size_t len = strnlen(host, HOST_MAX + 1);

	return len && len <= HOST_MAX && strspn(host, ok) == len;
}

static bool is_loopback(const char *host)
{
	size_t len = strlen(host);
	static const char name[] = "localhost", below[] = ".localhost";

	return !strcasecmp(host, name) || !strcmp(host, "::1") || !strncmp(host, "127.", 4) ||
	       !strncasecmp(host, "::ffff:127.", 11) ||
	       (len >= sizeof(below) && !strcasecmp(host + len - strlen(below), below));
}

/* What doesn't depend on whom we call.  Return: CURLE_OK or the first failure */
static CURLcode set_fixed(CURL *c)
{
	static const struct row {
		CURLoption option;
		long value;
	} rows[] = {
		{ CURLOPT_CONNECT_ONLY, 1 },
		{ CURLOPT_NOSIGNAL, 1 },
		{ CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
		{ CURLOPT_HTTPPROXYTUNNEL, 1 },
		{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_3 },
		{ CURLOPT_SSL_VERIFYPEER, 0 },		/* the pin is what counts */
		{ CURLOPT_SSL_VERIFYHOST, 0 },
		{ CURLOPT_SSL_SESSIONID_CACHE, 0 },
		{ CURLOPT_CERTINFO, 1 },
		{ CURLOPT_TCP_NODELAY, 1 },
	};
	CURLcode code = CURLE_OK;

	for (size_t i = 0; i < ARRAY_SIZE(rows) && !code; i++)
		code = curl_easy_setopt(c, rows[i].option, rows[i].value);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
	if (!code)	/* 200 certificates that nobody asks needn't be parsed */
		code = curl_easy_setopt(c, CURLOPT_CAINFO, NULL);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	return code;
}

static CURLcode set_identity(CURL *c, const struct identity *id)
{
	struct curl_blob cert = { .flags = CURL_BLOB_COPY }, key = { .flags = CURL_BLOB_COPY };
	CURLcode code;

	cert.data = (void *)identity_cert(id, &cert.len);
	key.data = (void *)identity_key(id, &key.len);
	code = curl_easy_setopt(c, CURLOPT_SSLCERT_BLOB, &cert);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_SSLCERTTYPE, "DER");
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_SSLKEY_BLOB, &key);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_SSLKEYTYPE, "DER");
	return code;
}

static CURLcode set_peer(CURL *c, const char *host, uint16_t port, const char *base64)
{
	char url[HOST_MAX + 32], pinned[SHA256_BASE64 + 16];
	bool v6 = strchr(host, ':');
	CURLcode code;

	snprintf(url, sizeof(url), "https://%s%s%s:%u/", v6 ? "[" : "", host, v6 ? "]" : "", port);
	snprintf(pinned, sizeof(pinned), "sha256//%s", base64);
	code = curl_easy_setopt(c, CURLOPT_URL, url);
	if (!code)
		code = curl_easy_setopt(c, CURLOPT_PINNEDPUBLICKEY, pinned);
	if (!code && is_loopback(host))
		code = curl_easy_setopt(c, CURLOPT_PROXY, "");	/* overrides the environment */
	return code;
}

/* The peer's pin by our own reckoning, from the certificate that libcurl kept */
static int learn_pin(struct tls *t)
{
	struct curl_certinfo *info = NULL;

	if (curl_easy_getinfo(t->curl, CURLINFO_CERTINFO, &info) || !info || info->num_of_certs < 1)
		return -EACCES;
	for (struct curl_slist *s = info->certinfo[0]; s; s = s->next)
		if (!strncmp(s->data, "Cert:", 5))
			return identity_pin_of_pem(s->data + 5, t->link.pin);
	return -EACCES;
}

/* Does what curl_easy_setopt() prepared.  Return: 0 or a negative errno */
static int perform(struct tls *t, int64_t deadline, const char *host, uint16_t port, struct err *e)
{
	int left = deadline_left_ms(deadline);
	curl_socket_t fd = -1;
	CURLcode code;
	long sys = 0;
	int r;

	if (!left)
		return err_set(e, -ETIMEDOUT, "connect to %s:%u", host, port);
	if (left < 0)
		left = INT32_MAX;
	code = curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)left);
	if (!code)
		code = curl_easy_perform(t->curl);
	if (!code)
		code = curl_easy_getinfo(t->curl, CURLINFO_ACTIVESOCKET, &fd);
	t->link.fd = (int)fd;
	if (!code)
		return 0;
	r = curl_errno(code);
	if (code == CURLE_COULDNT_CONNECT)
		curl_easy_getinfo(t->curl, CURLINFO_OS_ERRNO, &sys);
	if (sys)
		r = -(int)sys;
	return err_say(e, r, "connect to %s:%u: %s", host, port,
		       t->words[0] ? t->words : curl_easy_strerror(code));
}

static int set_up(struct tls *t, const struct identity *id, const char *host, uint16_t port,
		  const char *pin, int64_t deadline, struct err *e)
{
	char base64[SHA256_BASE64];
	uint8_t digest[SHA256_SIZE];
	CURLcode code;
	int r;

	if (!host_ok(host) || !port || sha256_from_hex(pin, digest))
		return err_say(e, -EINVAL, "not a host, port and pin to connect to");
	sha256_to_base64(digest, base64);
	code = curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, t->words);
	if (!code)
		code = set_fixed(t->curl);
	if (!code)
		code = set_identity(t->curl, id);
	if (!code)
		code = set_peer(t->curl, host, port, base64);
	if (code)
		return err_say(e, -ENOTSUP, "libcurl can't do this: %s", curl_easy_strerror(code));
	r = perform(t, deadline, host, port, e);
	if (r)
		return r;
	r = learn_pin(t);
	if (r)
		return err_set(e, r, "the certificate of %s:%u", host, port);
	if (strcmp(t->link.pin, pin))
		return err_say(e, -EKEYREJECTED, "connect to %s:%u: another key is there",
			       host, port);
	return 0;
}

/**
 * tls_connect() - Connect to the peer whose key is pinned
 * @id:		Who we are
 * @host:	Name or address; a v6 address without brackets
 * @port:	Not 0
 * @pin:	Who must be there
 * @deadline:	Of name, connection and handshake together
 *
 * Return: a link, or NULL
 */
struct link *tls_connect(const struct identity *id, const char *host, uint16_t port,
			 const char *pin, int64_t deadline, struct err *e)
{
	struct tls *t = calloc(1, sizeof(*t));
	int r;

	if (t)
		t->curl = curl_easy_init();
	if (!t || !t->curl) {
		free(t);
		err_set(e, -ENOMEM, "connect to %s:%u", host, port);
		return NULL;
	}
	t->link.ops = &tls_ops;
	t->link.fd = -1;
	r = set_up(t, id, host, port, pin, deadline, e);
	if (r) {
		tls_close(&t->link);
		return NULL;
	}
	return &t->link;
}

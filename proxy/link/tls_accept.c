/* SPDX-License-Identifier: MIT */
/*
 * tls_accept.c - The accepting side of mutual TLS 1.3
 *
 * OpenSSL on a non-blocking socket.  Nothing of a peer's certificate is looked at but its key,
 * so the chain builder is switched off altogether: what a stranger's certificate claims is not
 * even parsed beyond what the handshake needs.  There is nothing to resume (no tickets, no cache).
 *
 * try_send() hands OpenSSL one record's worth (PIECE) at a time.  When the socket is full the
 * record has been encrypted and waits in OpenSSL, which wants the call repeated with at least
 * that length; @pending remembers it.  No byte is copied but by the cipher.  Where the kernel
 * encrypts (kTLS), bytes go straight to the socket and none of this applies.
 *
 * OpenSSL writes with write(2), even inside SSL_read() (alerts), which raises SIGPIPE when the
 * peer is gone.  The disposition belongs to the process, and would be inherited by programs it
 * executes, so each call into OpenSSL blocks the signal in its thread and takes back the one it
 * raised (struct hush).
 */
#include "proxy/link/tls_accept.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"

#define PIECE SSL3_RT_MAX_PLAIN_LENGTH	/* bytes; one full record */
#define READ_AHEAD (128 << 10)		/* bytes taken from the socket at once */
#define RECV_MAX (4 << 20)		/* bytes one try_recv() gives at most: others want a turn */

struct tls {
	struct link link;
	SSL *ssl;
	size_t pending;		/* bytes at the front of the next send that are encrypted already */
	int broken;		/* negative errno that ended the stream; 0 */
	bool ended;		/* the peer said it would send no more */
	bool ktls;		/* the kernel encrypts what we send */
};

struct hush {
	sigset_t old;
};

static void hush_begin(struct hush *h)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &h->old);
}

/* @failed: a write may have failed, and a signal wait for us.  errno is kept */
static void hush_end(const struct hush *h, bool failed)
{
	static const struct timespec now = { 0, 0 };
	int saved = errno;
	sigset_t set;

	if (failed) {
		sigemptyset(&set);
		sigaddset(&set, SIGPIPE);
		sigtimedwait(&set, NULL, &now);
	}
	pthread_sigmask(SIG_SETMASK, &h->old, NULL);
	errno = saved;
}

/**
 * tls_errno() - Why a call into OpenSSL failed
 * @t:		The link
 * @ret:	What the call returned; errno and OpenSSL's queue as it left them
 *
 * Return: -EAGAIN, 0 when the peer ended the stream properly, or the negative errno that ended
 * it, which is remembered: OpenSSL must not be called again then
 */
static int tls_errno(struct tls *t, int ret)
{
	int saved = errno, why = SSL_get_error(t->ssl, ret);

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	if (why == SSL_ERROR_ZERO_RETURN) {
		t->ended = true;
		return 0;
	}
	if (why == SSL_ERROR_SYSCALL)
		t->broken = saved ? -saved : -ECONNRESET;
	else if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		t->broken = -ECONNRESET;
	else
		t->broken = -EPROTO;
	return t->broken;
}

/* ---- the link's operations ---------------------------------------------------- */

static ssize_t send_plain(const struct tls *t, const void *p, size_t len)
{
	ssize_t n;

	do
		n = send(t->link.fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Up to @len bytes in records.  Return: how many; when 0, *@r says why there weren't more */
static size_t send_records(struct tls *t, const char *p, size_t len, int *r)
{
	size_t done = 0;

	*r = 0;
	while (done < len) {
		size_t n, piece = t->pending ? t->pending : MIN(len - done, (size_t)PIECE);
		int ret;

		errno = 0;
		ret = SSL_write_ex(t->ssl, p + done, piece, &n);
		if (ret != 1) {
			*r = tls_errno(t, ret);
			t->pending = *r == -EAGAIN ? piece : 0;
			break;
		}
		t->pending = 0;
		done += n;
	}
	return done;
}

static ssize_t tls_send(struct link *l, const void *p, size_t len)
{
	struct tls *t = (struct tls *)l;
	struct hush h;
	size_t done;
	int r;

	if (t->broken)
		return t->broken;
	if (t->ktls)
		return send_plain(t, p, len);
	if (len < t->pending)
		return -EINVAL;		/* see tls_accept.h: not what was tried before */
	if (len > TLS_CORK_FROM)
		tls_cork_socket(l->fd, true);
	hush_begin(&h);
	ERR_clear_error();
	done = send_records(t, p, len, &r);
	hush_end(&h, r && r != -EAGAIN);
	if (len > TLS_CORK_FROM)
		tls_cork_socket(l->fd, false);
	if (done || !len)
		return (ssize_t)done;
	return r ? r : -EPIPE;
}

static ssize_t tls_recv(struct link *l, void *p, size_t size)
{
	struct tls *t = (struct tls *)l;
	size_t done = 0, n;
	struct hush h;
	int r = 0;

	if (t->broken || t->ended)
		return t->broken;
	size = MIN(size, (size_t)RECV_MAX);
	hush_begin(&h);
	ERR_clear_error();
	while (done < size && !r && !t->ended) {
		int ret;

		errno = 0;
		ret = SSL_read_ex(t->ssl, (char *)p + done, size - done, &n);
		if (ret == 1)
			done += n;
		else
			r = tls_errno(t, ret);
	}
	hush_end(&h, r && r != -EAGAIN);
	return done ? (ssize_t)done : r;
}

static void tls_close(struct link *l)
{
	struct tls *t = (struct tls *)l;
	struct hush h;

	hush_begin(&h);
	if (t->ssl && !t->broken && SSL_is_init_finished(t->ssl))
		SSL_shutdown(t->ssl);	/* once: says that no more comes, and doesn't wait */
	SSL_free(t->ssl);
	ERR_clear_error();
	hush_end(&h, true);
	close(l->fd);
	free(t);
}

static const struct link_ops tls_ops = { tls_send, tls_recv, tls_close };

/* ---- the handshake ------------------------------------------------------------ */

int tls_tune_socket(int fd)
{
	static const struct tuning {
		int level;
		int name;
		int value;
	} tunings[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 30 },	/* seconds */
		{ IPPROTO_TCP, TCP_KEEPINTVL, 10 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
	};

	if (fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(tunings); i++)
		if (setsockopt(fd, tunings[i].level, tunings[i].name, &tunings[i].value,
			       sizeof(tunings[i].value)))
			return -errno;
	return 0;
}

void tls_cork_socket(int fd, bool on)
{
	int value = on;

	/* Only speed is lost when this fails */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_CORK, &value, sizeof(value));
}

/* Any certificate will do: its owner proves the key in the handshake, its pin is asked for later */
static int any_cert(X509_STORE_CTX *ctx, void *arg)
{
	(void)ctx, (void)arg;
	return 1;
}

/* Return: whether @ctx now speaks as @id and takes TLS 1.3 with a certificate only */
static bool ctx_fill(SSL_CTX *ctx, const struct identity *id)
{
	uint64_t options = SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
			   SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
	size_t cert_len, key_len;
	const uint8_t *cert = identity_cert(id, &cert_len);
	const uint8_t *key = identity_key(id, &key_len);

#ifdef SSL_OP_ENABLE_KTLS
	options |= SSL_OP_ENABLE_KTLS;
#endif
	SSL_CTX_set_options(ctx, options);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_cert_verify_callback(ctx, any_cert, NULL);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	return SSL_CTX_set_num_tickets(ctx, 0) &&
	       SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) &&
	       SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
					     "TLS_CHACHA20_POLY1305_SHA256") &&
	       SSL_CTX_use_certificate_ASN1(ctx, (int)cert_len, cert) &&
	       SSL_CTX_use_PrivateKey_ASN1(EVP_PKEY_EC, ctx, key, (long)key_len);
}

/* Return: a new server end over @fd, or NULL */
static SSL *ssl_new(const struct identity *id, int fd)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL *ssl = NULL;

	if (ctx && ctx_fill(ctx, id))
		ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);	/* @ssl holds its own reference */
	if (ssl && !SSL_set_fd(ssl, fd)) {
		SSL_free(ssl);
		ssl = NULL;
	}
	return ssl;
}

static int wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd pfd = { .fd = fd, .events = events };
	int n = poll(&pfd, 1, deadline_left_ms(deadline));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	return n ? 0 : -ETIMEDOUT;
}

/* In words of OpenSSL, if it has any */
static int handshake_failed(int code, struct err *e)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());

	if (code == -EPROTO && why)
		return err_say(e, code, "TLS handshake: %s", why);
	return err_set(e, code, "TLS handshake");
}

static int handshake(struct tls *t, int64_t deadline, struct err *e)
{
	for (;;) {
		struct hush h;
		int ret, r;

		hush_begin(&h);
		ERR_clear_error();
		errno = 0;
		ret = SSL_accept(t->ssl);
		r = ret == 1 ? 0 : tls_errno(t, ret);
		hush_end(&h, ret != 1);
		if (ret == 1)
			return 0;
		if (r != -EAGAIN)
			return handshake_failed(r ? r : -ECONNRESET, e);
		r = wait_for(t->link.fd, SSL_want_write(t->ssl) ? POLLOUT : POLLIN, deadline);
		if (r)
			return err_set(e, r, "TLS handshake");
	}
}

/* Fills in the pin of whoever is there */
static int learn_pin(struct tls *t, struct err *e)
{
	X509 *cert = SSL_get1_peer_certificate(t->ssl);
	uint8_t *der = NULL;
	int len = cert ? i2d_X509(cert, &der) : -1;
	int r = len > 0 ? identity_pin_of_cert(der, (size_t)len, t->link.pin) : -EACCES;

	OPENSSL_free(der);
	X509_free(cert);
	return r ? err_set(e, r, "the peer's certificate") : 0;
}

static int set_up(struct tls *t, const struct identity *id, int64_t deadline, struct err *e)
{
	int r = tls_tune_socket(t->link.fd);

	if (!r && fcntl(t->link.fd, F_SETFL, O_RDWR | O_NONBLOCK))
		r = -errno;
	if (r)
		return err_set(e, r, "prepare a connection");
	t->ssl = ssl_new(id, t->link.fd);
	if (!t->ssl)
		return handshake_failed(-EIO, e);
	r = handshake(t, deadline, e);
	if (r)
		return r;
	t->ktls = BIO_get_ktls_send(SSL_get_wbio(t->ssl));
	return learn_pin(t, e);
}

/**
 * tls_accept() - The handshake, as the accepting side
 * @id:		Who we are
 * @fd:		Connected TCP socket, taken over even on failure
 * @deadline:	Of the handshake
 *
 * Return: a link whose @pin the caller must look at before anything else, or NULL
 */
struct link *tls_accept(const struct identity *id, int fd, int64_t deadline, struct err *e)
{
	struct tls *t = calloc(1, sizeof(*t));
	struct err own = { 0 };
	int r;

	if (!t) {
		close(fd);
		err_set(e, -ENOMEM, "accept a connection");
		return NULL;
	}
	t->link.ops = &tls_ops;
	t->link.fd = fd;
	r = set_up(t, id, deadline, e ? e : &own);
	if (r) {
		link_close(&t->link);
		return NULL;
	}
	return &t->link;
}

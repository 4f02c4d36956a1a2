/* SPDX-License-Identifier: MIT */
/*
 * raw.c - What copying costs when nothing but copying is done
 *
 *	raw tcp|tls MIB
 *
 * One TCP connection over loopback, two processes: bytes go from a warm buffer of random data into
 * memory that was never touched.  tls: OpenSSL at both ends, TLS 1.3 with the cipher that links
 * choose, read ahead as they do; the handshake isn't counted.  Prints the time from the first byte
 * until the receiver has said that it has the last one, in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/clock.h"

#define PIECE (1u << 20)	/* bytes of one call */
#define READ_AHEAD (128 << 10)

struct end {
	int fd;
	SSL *ssl;		/* NULL: plain */
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint8_t *memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static void give(struct end *end, const uint8_t *p, size_t len)
{
	while (len) {
		size_t want = MIN(len, (size_t)PIECE), n;

		if (end->ssl) {
			if (SSL_write_ex(end->ssl, p, want, &n) != 1)
				die("SSL_write");
		} else {
			ssize_t m = send(end->fd, p, want, MSG_NOSIGNAL);

			if (m <= 0)
				die("send");
			n = (size_t)m;
		}
		p += n;
		len -= n;
	}
}

static void take(struct end *end, uint8_t *p, size_t len)
{
	while (len) {
		size_t want = MIN(len, (size_t)PIECE), n;

		if (end->ssl) {
			if (SSL_read_ex(end->ssl, p, want, &n) != 1)
				die("SSL_read");
		} else {
			ssize_t m = recv(end->fd, p, want, 0);

			if (m <= 0)
				die("recv");
			n = (size_t)m;
		}
		p += n;
		len -= n;
	}
}

/* ---- the connection ----------------------------------------------------------- */

static void become_server(SSL_CTX *ctx)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();

	if (!key || !cert)
		die("make a key");
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	if (!X509_sign(cert, key, EVP_sha256()) || SSL_CTX_use_certificate(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		die("make a certificate");
	X509_free(cert);
	EVP_PKEY_free(key);
}

static SSL *secure(int fd, bool server)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	SSL *ssl;

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256"))
		die("SSL_CTX_new");
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_AHEAD);
	if (server)
		become_server(ctx);
	ssl = SSL_new(ctx);
	if (!ssl || !SSL_set_fd(ssl, fd) || (server ? SSL_accept(ssl) : SSL_connect(ssl)) != 1)
		die("handshake");
	return ssl;
}

static void no_delay(int fd)
{
	int one = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
		die("TCP_NODELAY");
}

/* The receiver: everything into fresh memory, then a byte back */
static void receive(int listening, bool tls, size_t len)
{
	struct end end = { .fd = accept(listening, NULL, NULL) };
	uint8_t *p = memory(len);

	if (end.fd < 0)
		die("accept");
	no_delay(end.fd);
	if (tls)
		end.ssl = secure(end.fd, true);
	take(&end, p, len);
	give(&end, p + len - 1, 1);
	_exit(0);
}

/* Return: microseconds */
static int64_t measure(const struct sockaddr_in *to, bool tls, size_t len)
{
	struct end end = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	uint8_t *p = memory(len), last;
	uint64_t x = 1;
	int64_t began;

	for (size_t i = 0; i < len / 8; i++)
		((uint64_t *)(void *)p)[i] = x = x * 6364136223846793005u + 1442695040888963407u;
	if (end.fd < 0 || connect(end.fd, (const void *)to, sizeof(*to)))
		die("connect");
	no_delay(end.fd);
	if (tls)
		end.ssl = secure(end.fd, false);
	began = clock_ns(CLOCK_MONOTONIC);
	give(&end, p, len);
	take(&end, &last, 1);
	began = clock_ns(CLOCK_MONOTONIC) - began;
	if (last != p[len - 1])
		die("the last byte is another");
	return began / 1000;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(at);
	size_t len = argc == 3 ? (size_t)atol(argv[2]) << 20 : 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
	bool tls = argc == 3 && !strcmp(argv[1], "tls");
	pid_t pid;

	if (!len || (!tls && strcmp(argv[1], "tcp"))) {
		fprintf(stderr, "usage: raw tcp|tls MIB\n");
		return 2;
	}
	if (fd < 0 || bind(fd, (void *)&at, size) || listen(fd, 1) || getsockname(fd, (void *)&at, &size))
		die("listen");
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		receive(fd, tls, len);
	}
	printf("%lld\n", (long long)measure(&at, tls, len));
	fflush(stdout);
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

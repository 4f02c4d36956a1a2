/* SPDX-License-Identifier: MIT */
/*
 * listen.c - The network port, and addresses as people write them
 */
#include "proxy/daemon/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/scope.h"

#define BACKLOG 64
#define DIGITS "0123456789"

/* An address in its parts */
struct parts {
	char host[PEER_ADDR];
	char port[8];
	bool v6;
};

/* Takes "HOST[:PORT]" apart.  Return: NULL, or what is wrong with it */
static const char *take_apart(const char *text, struct parts *p)
{
	size_t len = strlen(text), host_len;
	const char *port;

	p->v6 = text[0] == '[';
	if (len >= PEER_ADDR - sizeof(":" LISTEN_PORT))
		return "it is too long";
	if (!p->v6 && strchr(text, ':') != strrchr(text, ':'))
		return "an IPv6 address stands in brackets";
	host_len = p->v6 ? strcspn(text + 1, "]") : strcspn(text, ":");
	port = text + host_len + (p->v6 ? 1 : 0);
	if (p->v6 && *port++ != ']')
		return "the bracket isn't closed";
	if (!host_len)
		return "an address or a name stands before the colon";
	if (strspn(text, DIGITS) == len)
		return "it is only a number; write ADDR:PORT";
	if (*port && (*port != ':' || !port[1] || strlen(port) > 6 ||
		      strspn(port + 1, DIGITS) != strlen(port + 1)))
		return "its port isn't a number from 1 to 65535";
	memcpy(p->host, text + p->v6, host_len);
	p->host[host_len] = 0;
	snprintf(p->port, sizeof(p->port), "%s", *port ? port + 1 : LISTEN_PORT);
	return NULL;
}

int listen_address(const char *text, char out[PEER_ADDR], struct err *e)
{
	struct parts p = { 0 };
	const char *wrong = take_apart(text, &p);
	char host[PEER_ADDR];
	uint16_t port;

	if (wrong)
		return err_say(e, -EINVAL, "%s is not an address: %s", text, wrong);
	snprintf(out, PEER_ADDR, p.v6 ? "[%.*s]:%s" : "%.*s:%s", PEER_ADDR - 12, p.host, p.port);
	if (strcmp(p.port, "0") && peer_addr_split(out, host, &port))
		return err_say(e, -EINVAL, "%s is not an address with a port", text);
	return 0;
}

/* What the kernel chose for port 0 */
static int find_port(int fd, const struct parts *p, char actual[PEER_ADDR])
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char port[8];

	if (getsockname(fd, (struct sockaddr *)&sa, &len))
		return -errno;
	if (getnameinfo((struct sockaddr *)&sa, len, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
		return -EINVAL;
	snprintf(actual, PEER_ADDR, p->v6 ? "[%.*s]:%s" : "%.*s:%s", PEER_ADDR - 12, p->host, port);
	return 0;
}

static int bind_one(const struct addrinfo *ai)
{
	AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG))
		return -errno;
	return take_fd(&fd);
}

/**
 * listen_open() - Listen on a TCP port
 * @addr:	Whole address; of a name's addresses the first that can be had is taken
 * @actual:	The same with the true port
 *
 * Return: descriptor, or a negative errno
 */
int listen_open(const char *addr, char actual[PEER_ADDR], struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *list = NULL;
	struct parts p = { 0 };
	const char *wrong = take_apart(addr, &p);
	int fd = -EADDRNOTAVAIL, rc;

	if (wrong)
		return err_say(e, -EINVAL, "%s is not an address: %s", addr, wrong);
	rc = getaddrinfo(p.host, p.port, &hints, &list);
	if (rc)
		return err_say(e, -EADDRNOTAVAIL, "listen on %s: %s", addr, gai_strerror(rc));
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_one(ai);
	freeaddrinfo(list);
	if (fd < 0)
		return err_set(e, fd, "listen on %s", addr);
	rc = find_port(fd, &p, actual);
	if (rc) {
		close(fd);
		return err_set(e, rc, "listen on %s", addr);
	}
	return fd;
}

bool listen_is_loopback(const char *addr)
{
	struct parts p = { 0 };

	if (take_apart(addr, &p))
		return false;
	return !strcasecmp(p.host, "localhost") || !strncmp(p.host, "127.", 4) ||
	       !strcmp(p.host, "::1");
}

bool listen_is_any(const char *addr)
{
	struct parts p = { 0 };

	if (take_apart(addr, &p))
		return false;
	return !strcmp(p.host, "0.0.0.0") || !strcmp(p.host, "::") || !strcmp(p.host, "0");
}

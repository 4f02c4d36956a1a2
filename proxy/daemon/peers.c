/* SPDX-License-Identifier: MIT */
/*
 * peers.c - The peers that are pinned
 *
 * A host has a handful of them: an array that is searched from its front, and a file that is
 * written whole.
 */
#include "proxy/daemon/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/link/identity.h"
#include "proxy/link/sha256.h"

#define PEERS_FILE "peers"
#define PEERS_MAX 4096		/* a line each; keeps the file below PEERS_FILE_MAX */
#define PEER_LINE (PEER_NAME + PEER_ADDR + PEER_PIN)
#define PEERS_FILE_MAX (PEERS_MAX * PEER_LINE)

struct peers {
	struct peer *at;
	size_t n;
};

static void scope_peers(struct peers **ps)
{
	peers_free(*ps);
}

#define AUTO_PEERS __attribute__((cleanup(scope_peers)))

/* ---- what a peer's parts may look like --------------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

bool peer_name_ok(const char *name)
{
	size_t len = strnlen(name, PEER_NAME);

	return len && len < PEER_NAME && strspn(name, LETTERS DIGITS "._-") == len;
}

bool peer_pin_ok(const char *pin)
{
	uint8_t digest[SHA256_SIZE];

	return !sha256_from_hex(pin, digest);
}

/* 1 to 65535, in digits and nothing else.  Return: 0 if it isn't */
static uint16_t parse_port(const char *s)
{
	size_t len = strlen(s);
	long v = 0;

	if (!len || len > 5 || strspn(s, DIGITS) != len)
		return 0;
	v = strtol(s, NULL, 10);
	return v <= UINT16_MAX ? (uint16_t)v : 0;
}

/**
 * peer_addr_split() - Take "host:port" or "[v6]:port" apart
 * @addr:	NUL-terminated, any text
 * @host:	Name or address, no brackets
 * @port:	1 to 65535
 *
 * Return: 0 or -EINVAL
 */
int peer_addr_split(const char *addr, char host[PEER_ADDR], uint16_t *port)
{
	bool v6 = addr[0] == '[';
	const char *from = v6 ? addr + 1 : addr, *end;
	size_t len = strnlen(addr, PEER_ADDR);

	if (len >= PEER_ADDR)
		return -EINVAL;
	end = v6 ? strchr(from, ']') : strchr(from, ':');
	if (!end || end == from || (v6 && end[1] != ':'))
		return -EINVAL;
	len = (size_t)(end - from);
	if (strspn(from, v6 ? LETTERS DIGITS ".:%_-" : LETTERS DIGITS "._-") != len)
		return -EINVAL;
	*port = parse_port(end + (v6 ? 2 : 1));
	if (!*port)
		return -EINVAL;
	memcpy(host, from, len);
	host[len] = 0;
	return 0;
}

static bool peer_ok(const struct peer *p)
{
	char host[PEER_ADDR];
	uint16_t port;

	return peer_name_ok(p->name) && peer_pin_ok(p->pin) &&
	       !peer_addr_split(p->addr, host, &port);
}

/* ---- the list ------------------------------------------------------------------ */

void peers_free(struct peers *ps)
{
	if (!ps)
		return;
	free(ps->at);
	free(ps);
}

size_t peers_count(const struct peers *ps)
{
	return ps->n;
}

const struct peer *peers_at(const struct peers *ps, size_t i)
{
	return &ps->at[i];
}

const struct peer *peers_find(const struct peers *ps, const char *name)
{
	for (size_t i = 0; i < ps->n; i++)
		if (!strcmp(ps->at[i].name, name))
			return &ps->at[i];
	return NULL;
}

const struct peer *peers_find_pin(const struct peers *ps, const char *pin)
{
	for (size_t i = 0; i < ps->n; i++)
		if (!strcmp(ps->at[i].pin, pin))
			return &ps->at[i];
	return NULL;
}

static int peers_append(struct peers *ps, const struct peer *p)
{
	struct peer *at;

	if (ps->n >= PEERS_MAX)
		return -ENOSPC;
	at = realloc(ps->at, (ps->n + 1) * sizeof(*at));
	if (!at)
		return -ENOMEM;
	ps->at = at;
	ps->at[ps->n++] = *p;
	return 0;
}

/* ---- the file -------------------------------------------------------------------- */

/* The next word of a line, of less than @size bytes.  Return: whether there was one that fits */
static bool take_word(char **at, char *to, size_t size)
{
	char *from = *at + strspn(*at, " \t");
	size_t len = strcspn(from, " \t");

	*at = from + len;
	if (!len || len >= size)
		return false;
	memcpy(to, from, len);
	to[len] = 0;
	return true;
}

/* Return: what is wrong with the line, in words, or NULL when it is fine and in @ps */
static const char *parse_line(struct peers *ps, char *line)
{
	struct peer p = { 0 };

	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return NULL;
	if (!take_word(&line, p.name, sizeof(p.name)) || !peer_name_ok(p.name))
		return "no peer's name";
	if (!take_word(&line, p.addr, sizeof(p.addr)) || !take_word(&line, p.pin, sizeof(p.pin)) ||
	    !peer_ok(&p))
		return "not: name host:port pin";
	if (line[strspn(line, " \t")])
		return "something after the pin";
	if (peers_find(ps, p.name))
		return "a name that was there before";
	if (peers_find_pin(ps, p.pin))
		return "a pin that was there before";
	return peers_append(ps, &p) ? "one peer too many" : NULL;
}

/* Return: 0, or -EINVAL with the line's number */
static int parse_text(struct peers *ps, char *text, size_t len, const char *dir, struct err *e)
{
	size_t number = 1;

	if (memchr(text, 0, len))
		return err_say(e, -EINVAL, "%s/" PEERS_FILE " holds a NUL byte", dir);
	for (char *line = text; line; number++) {
		char *end = strchr(line, '\n');
		const char *why;

		if (end)
			*end++ = 0;
		why = parse_line(ps, line);
		if (why)
			return err_say(e, -EINVAL, "%s/" PEERS_FILE ":%zu: %s", dir, number, why);
		line = end;
	}
	return 0;
}

static int load_at(int dirfd, const char *dir, struct peers **out, struct err *e)
{
	AUTO_PEERS struct peers *ps = calloc(1, sizeof(*ps));
	AUTO_FREE char *text = NULL;
	int len, r;

	if (!ps)
		return err_set(e, -ENOMEM, "read the peers");
	len = identity_file_read(dirfd, PEERS_FILE, PEERS_FILE_MAX, &text, e);
	if (len < 0 && len != -ENOENT)
		return err_wrap(e, len, "%s", dir);
	if (len > 0) {
		r = parse_text(ps, text, (size_t)len, dir, e);
		if (r)
			return r;
	}
	*out = take_ptr(ps);
	return 0;
}

/**
 * peers_load() - Read the pinned peers
 * @state_dir:	The state directory
 * @out:	To be freed with peers_free(); untouched on failure
 *
 * Return: 0; -EINVAL for a file that isn't understood from end to end; -errno
 */
int peers_load(const char *state_dir, struct peers **out, struct err *e)
{
	AUTO_FD int dirfd = identity_dir(state_dir, e);

	if (dirfd < 0)
		return err_wrap(e, dirfd, "the pinned peers");
	return load_at(dirfd, state_dir, out, e);
}

static int save_at(int dirfd, const struct peers *ps, struct err *e)
{
	AUTO_FREE char *text = malloc(ps->n * PEER_LINE + 1);
	size_t len = 0;

	if (!text)
		return err_set(e, -ENOMEM, "write the peers");
	for (size_t i = 0; i < ps->n; i++)
		len += (size_t)sprintf(text + len, "%s %s %s\n", ps->at[i].name, ps->at[i].addr,
				       ps->at[i].pin);
	return identity_file_write(dirfd, PEERS_FILE, text, len, e);
}

/* Opens the directory, waits for its lock and reads.  Return: descriptor or -errno */
static int load_locked(const char *state_dir, struct peers **ps, struct err *e)
{
	AUTO_FD int dirfd = identity_dir(state_dir, e);
	int r;

	if (dirfd < 0)
		return err_wrap(e, dirfd, "the pinned peers");
	r = identity_dir_lock(dirfd, e);
	if (!r)
		r = load_at(dirfd, state_dir, ps, e);
	return r ? r : take_fd(&dirfd);
}

/* May @p be pinned beside the others?  Return: 0 or -EEXIST */
static int may_pin(const struct peers *ps, const struct peer *p, bool replace, struct err *e)
{
	const struct peer *named = peers_find(ps, p->name), *keyed = peers_find_pin(ps, p->pin);

	if (keyed && keyed != named)
		return err_say(e, -EEXIST, "this key is pinned already, as %s", keyed->name);
	if (named && !keyed && !replace)
		return err_say(e, -EEXIST, "%s is pinned to another key: remove it first", p->name);
	return 0;
}

/**
 * peers_pin() - Add a peer, or replace the one of that name
 * @state_dir:	The state directory
 * @p:		All parts of it
 * @replace:	Whether the peer of that name may get another key
 *
 * Return: 0 when it is on the disk; -EINVAL, -EEXIST, -errno
 */
int peers_pin(const char *state_dir, const struct peer *p, bool replace, struct err *e)
{
	AUTO_PEERS struct peers *ps = NULL;
	AUTO_FD int dirfd = -1;
	const struct peer *old;
	int r;

	if (!peer_ok(p))
		return err_say(e, -EINVAL, "not a peer: its name, host:port or pin is malformed");
	dirfd = load_locked(state_dir, &ps, e);
	if (dirfd < 0 || !ps)
		return dirfd;
	r = may_pin(ps, p, replace, e);
	if (r)
		return r;
	old = peers_find(ps, p->name);
	if (old)
		ps->at[old - ps->at] = *p;
	else
		r = peers_append(ps, p);
	return r ? err_set(e, r, "pin %s", p->name) : save_at(dirfd, ps, e);
}

int peers_unpin(const char *state_dir, const char *name, struct err *e)
{
	AUTO_PEERS struct peers *ps = NULL;
	AUTO_FD int dirfd = load_locked(state_dir, &ps, e);
	const struct peer *old;
	size_t i;

	if (dirfd < 0 || !ps)
		return dirfd;
	old = peers_find(ps, name);
	if (!old)
		return err_say(e, -ENOENT, "no peer is pinned under that name");
	i = (size_t)(old - ps->at);
	ps->n--;
	memmove(&ps->at[i], &ps->at[i + 1], (ps->n - i) * sizeof(ps->at[0]));
	return save_at(dirfd, ps, e);
}

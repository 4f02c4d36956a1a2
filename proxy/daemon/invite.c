/* SPDX-License-Identifier: MIT */
/*
 * invite.c - An invitation: pins two hosts to each other without anybody comparing fingerprints
 *
 * What can go wrong with a line that people copy by hand is caught by the four check bytes: a
 * token cut short would otherwise still be one, with another port.
 *
 * A secret has 256 random bits, so it is never guessed and its hash needs no salt.  The file is
 * found by half of the hash; the whole is then compared in constant time.  Expiry is by the
 * wall clock, so that it survives a restart; a clock that was put back doesn't lengthen a life
 * beyond what it was meant to be.
 */
#include "proxy/daemon/invite.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/link/identity.h"
#include "proxy/link/sha256.h"

#define PREFIX_TEXT "mm1."
#define INVITES_DIR "invites"
#define FILE_NAME 33		/* half of the hash in hex and the NUL */
#define FILE_MAX 128		/* bytes of a pending invitation's file */
#define CHECK 4			/* bytes of SHA-256 that end a token */
#define RAW_MIN (SHA256_SIZE + INVITE_SECRET + 1 + CHECK)
#define RAW_MAX (SHA256_SIZE + INVITE_SECRET + PEER_ADDR - 1 + CHECK)

static_assert(INVITE_TOKEN > sizeof(PREFIX_TEXT) + (RAW_MAX * 4 + 2) / 3, "a token fits");

/* ---- base64url, without padding --------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* @to: (len * 4 + 2) / 3 bytes and the NUL */
static void encode(const uint8_t *p, size_t len, char *to)
{
	uint32_t bits = 0;
	int n = 0;

	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | p[i];
		for (n += 8; n >= 6; n -= 6)
			*to++ = digits[bits >> (n - 6) & 63];
	}
	if (n)
		*to++ = digits[bits << (6 - n) & 63];
	*to = 0;
}

/* Return: bytes written to @to, or -EINVAL: not base64url, not the one way to write it, too long */
static int decode(const char *text, uint8_t *to, size_t size)
{
	uint32_t bits = 0;
	size_t len = 0;
	int n = 0;

	for (; *text; text++) {
		const char *digit = strchr(digits, *text);

		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - digits);
		n += 6;
		if (n < 8)
			continue;
		n -= 8;
		if (len == size)
			return -EINVAL;
		to[len++] = (uint8_t)(bits >> n);
	}
	if (n >= 6 || (bits & ((1u << n) - 1)))
		return -EINVAL;
	return (int)len;
}

/* ---- the token -------------------------------------------------------------------- */

int invite_format(const struct invite *inv, char *out, size_t size)
{
	uint8_t raw[RAW_MAX], digest[SHA256_SIZE];
	size_t addr_len = strnlen(inv->addr, PEER_ADDR), len;
	char text[INVITE_TOKEN], host[PEER_ADDR];
	uint16_t port;

	if (addr_len >= PEER_ADDR || peer_addr_split(inv->addr, host, &port) ||
	    sha256_from_hex(inv->pin, raw))
		return -EINVAL;
	memcpy(raw + SHA256_SIZE, inv->secret, INVITE_SECRET);
	memcpy(raw + SHA256_SIZE + INVITE_SECRET, inv->addr, addr_len);
	len = SHA256_SIZE + INVITE_SECRET + addr_len;
	if (sha256_of(raw, len, digest))
		return -EINVAL;
	memcpy(raw + len, digest, CHECK);
	encode(raw, len + CHECK, text);
	if ((size_t)snprintf(out, size, PREFIX_TEXT "%s", text) >= size)
		return -ENOSPC;
	return 0;
}

/* The parts of a decoded token.  Return: 0 or -EINVAL */
static int parse_raw(const uint8_t *raw, size_t len, struct invite *inv)
{
	size_t addr_len = len - SHA256_SIZE - INVITE_SECRET - CHECK;
	uint8_t digest[SHA256_SIZE];
	char host[PEER_ADDR];
	uint16_t port;

	if (sha256_of(raw, len - CHECK, digest) || memcmp(digest, raw + len - CHECK, CHECK))
		return -EINVAL;
	*inv = (struct invite){ 0 };
	sha256_to_hex(raw, inv->pin);
	memcpy(inv->secret, raw + SHA256_SIZE, INVITE_SECRET);
	memcpy(inv->addr, raw + SHA256_SIZE + INVITE_SECRET, addr_len);
	if (strlen(inv->addr) != addr_len || peer_addr_split(inv->addr, host, &port))
		return -EINVAL;
	return 0;
}

/**
 * invite_parse() - Read a token
 * @token:	Any text; white space at its end is forgiven
 * @inv:	Undefined on failure
 *
 * Return: 0 or -EINVAL
 */
int invite_parse(const char *token, struct invite *inv, struct err *e)
{
	size_t len = strnlen(token, 2 * INVITE_TOKEN), skip = strlen(PREFIX_TEXT);
	uint8_t raw[RAW_MAX];
	char text[INVITE_TOKEN];
	int n = -EINVAL;

	while (len && strchr(" \t\r\n", token[len - 1]))
		len--;
	if (len < skip || strncmp(token, PREFIX_TEXT, skip))
		return err_say(e, -EINVAL, "an invitation begins with \"" PREFIX_TEXT "\"");
	if (len < sizeof(text)) {
		memcpy(text, token + skip, len - skip);
		text[len - skip] = 0;
		n = decode(text, raw, sizeof(raw));
	}
	if (n < RAW_MIN || parse_raw(raw, (size_t)n, inv))
		return err_say(e, -EINVAL, "the invitation is damaged; was it copied whole?");
	return 0;
}

/* ---- what is pending ---------------------------------------------------------------- */

static int64_t now_s(void)
{
	return clock_ns(CLOCK_REALTIME) / NS_PER_S;
}

static bool is_expired(int64_t expiry)
{
	int64_t now = now_s();

	return now >= expiry || expiry - now > INVITE_LIFE_S;
}

static bool same_in_constant_time(const char *a, const char *b, size_t len)
{
	volatile unsigned char differ = 0;

	for (size_t i = 0; i < len; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

static int invites_dir(const char *state_dir, struct err *e)
{
	AUTO_FD int top = identity_dir(state_dir, e);

	return top < 0 ? top : identity_subdir(top, INVITES_DIR, e);
}

/* Reads a pending invitation.  Return: 0, -EBADMSG not one, -errno */
static int read_pending(int dirfd, const char *name, char hash[SHA256_HEX], int64_t *expiry)
{
	AUTO_FREE char *text = NULL;
	int len = identity_file_read(dirfd, name, FILE_MAX, &text, NULL);
	char *end;

	if (len < 0)
		return len;
	if (len < SHA256_HEX || text[SHA256_HEX - 1] != ' ')
		return -EBADMSG;
	memcpy(hash, text, SHA256_HEX - 1);
	hash[SHA256_HEX - 1] = 0;
	errno = 0;
	*expiry = strtoll(text + SHA256_HEX, &end, 10);
	return errno || end == text + SHA256_HEX || strcmp(end, "\n") ? -EBADMSG : 0;
}

/* Removes what nobody redeemed in time */
static void sweep(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_DIR DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char hash[SHA256_HEX];
	struct dirent *ent;
	int64_t expiry;

	if (!d) {
		scope_close(&fd);
		return;
	}
	while ((ent = readdir(d)))
		if (strlen(ent->d_name) == FILE_NAME - 1 &&
		    !read_pending(dirfd, ent->d_name, hash, &expiry) && is_expired(expiry))
			unlinkat(dirfd, ent->d_name, 0);
}

static int write_pending(int dirfd, const uint8_t *secret, struct err *e)
{
	char hash[SHA256_HEX], name[FILE_NAME], text[FILE_MAX];
	int len;

	if (sha256_hex(secret, INVITE_SECRET, hash))
		return err_say(e, -EIO, "no digest");
	snprintf(name, sizeof(name), "%.*s", FILE_NAME - 1, hash);
	len = snprintf(text, sizeof(text), "%s %" PRId64 "\n", hash, now_s() + INVITE_LIFE_S);
	return identity_file_write(dirfd, name, text, (size_t)len, e);
}

/**
 * invite_make() - Invite one host
 * @state_dir:	The state directory
 * @addr:	"host:port" under which this host is reached
 * @pin:	This host's
 * @out:	The token, one word without a newline
 * @size:	Of @out, bytes; INVITE_TOKEN is enough
 *
 * Return: 0 or a negative errno
 */
int invite_make(const char *state_dir, const char *addr, const char *pin, char *out, size_t size,
		struct err *e)
{
	AUTO_FD int dirfd = -1;
	struct invite inv = { 0 };
	int r;

	if (strlen(addr) >= sizeof(inv.addr) || strlen(pin) >= sizeof(inv.pin))
		return err_say(e, -EINVAL, "an address of less than 64 bytes can be invited to");
	strcpy(inv.addr, addr);
	strcpy(inv.pin, pin);
	if (getrandom(inv.secret, sizeof(inv.secret), 0) != sizeof(inv.secret))
		return err_say(e, -EIO, "no random numbers");
	r = invite_format(&inv, out, size);
	if (r)
		return err_set(e, r, "make an invitation to %s", addr);
	dirfd = invites_dir(state_dir, e);
	if (dirfd < 0)
		return err_wrap(e, dirfd, "make an invitation");
	sweep(dirfd);
	r = write_pending(dirfd, inv.secret, e);
	explicit_bzero(inv.secret, sizeof(inv.secret));
	return r;
}

static int redeem_at(int dirfd, const uint8_t *secret, struct err *e)
{
	char hash[SHA256_HEX], kept[SHA256_HEX], name[FILE_NAME];
	int64_t expiry;
	int r;

	if (sha256_hex(secret, INVITE_SECRET, hash))
		return err_say(e, -EIO, "no digest");
	snprintf(name, sizeof(name), "%.*s", FILE_NAME - 1, hash);
	r = read_pending(dirfd, name, kept, &expiry);
	if (r == -ENOENT || (!r && !same_in_constant_time(hash, kept, SHA256_HEX - 1)))
		return err_say(e, -EACCES, "no such invitation, or it was used before");
	if (r)
		return err_set(e, r, "read a pending invitation");
	/* To remove it is to use it: of two who try, the kernel lets one */
	if (unlinkat(dirfd, name, 0)) {
		r = errno == ENOENT ? -EACCES : -errno;
		return err_set(e, r, "use an invitation");
	}
	if (fsync(dirfd))
		return err_set(e, -errno, "use an invitation");
	if (is_expired(expiry))
		return err_say(e, -ETIMEDOUT, "the invitation has expired");
	return 0;
}

/**
 * invite_redeem() - Use an invitation, if it is there
 * @state_dir:	The state directory
 * @secret:	As it came over the wire
 *
 * Return: 0, once; -ETIMEDOUT expired; -EACCES unknown or used; another negative errno
 */
int invite_redeem(const char *state_dir, const uint8_t secret[INVITE_SECRET], struct err *e)
{
	AUTO_FD int dirfd = invites_dir(state_dir, e);

	if (dirfd < 0)
		return err_wrap(e, dirfd, "look for an invitation");
	return redeem_at(dirfd, secret, e);
}

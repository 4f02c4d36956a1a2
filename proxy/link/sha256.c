/* SPDX-License-Identifier: MIT */
/*
 * sha256.c - SHA-256, where an adversary matters
 *
 * struct sha256 is OpenSSL's digest context under our own name: there is nothing to add to it.
 */
#include "proxy/link/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/scope.h"

#define READ_SIZE (256 << 10)	/* bytes of a file at once */

struct sha256 *sha256_init(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		ctx = NULL;
	}
	return (struct sha256 *)ctx;
}

int sha256_update(struct sha256 *s, const void *p, size_t len)
{
	return EVP_DigestUpdate((EVP_MD_CTX *)s, p, len) == 1 ? 0 : -EIO;
}

int sha256_final(struct sha256 *s, uint8_t out[SHA256_SIZE])
{
	int ok = EVP_DigestFinal_ex((EVP_MD_CTX *)s, out, NULL);

	sha256_free(s);
	return ok == 1 ? 0 : -EIO;
}

void sha256_free(struct sha256 *s)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)s);
}

int sha256_of(const void *p, size_t len, uint8_t out[SHA256_SIZE])
{
	return EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int sha256_hex(const void *p, size_t len, char hex[SHA256_HEX])
{
	uint8_t digest[SHA256_SIZE];
	int r = sha256_of(p, len, digest);

	if (!r)
		sha256_to_hex(digest, hex);
	return r;
}

void sha256_to_hex(const uint8_t digest[SHA256_SIZE], char hex[SHA256_HEX])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < SHA256_SIZE; i++) {
		hex[2 * i] = digits[digest[i] >> 4];
		hex[2 * i + 1] = digits[digest[i] & 15];
	}
	hex[2 * SHA256_SIZE] = 0;
}

void sha256_to_base64(const uint8_t digest[SHA256_SIZE], char text[SHA256_BASE64])
{
	EVP_EncodeBlock((unsigned char *)text, digest, SHA256_SIZE);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/**
 * sha256_from_hex() - The inverse of sha256_to_hex()
 * @hex:	NUL-terminated, any text
 * @digest:	Undefined on failure
 *
 * Return: 0, or -EINVAL when @hex isn't exactly 64 lower-case digits
 */
int sha256_from_hex(const char *hex, uint8_t digest[SHA256_SIZE])
{
	if (strnlen(hex, SHA256_HEX) != 2 * SHA256_SIZE)
		return -EINVAL;
	for (int i = 0; i < SHA256_SIZE; i++) {
		int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

/* Feeds all of @fd to @s.  Return: 0 or a negative errno */
static int update_from_fd(struct sha256 *s, int fd)
{
	AUTO_FREE uint8_t *buf = malloc(READ_SIZE);
	off_t at = 0;

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = pread(fd, buf, READ_SIZE, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		if (sha256_update(s, buf, (size_t)n))
			return -EIO;
		at += n;
	}
}

/**
 * sha256_fd() - The digest of a whole file, from its beginning to its present end
 * @fd:		Readable and seekable; its offset is neither used nor moved
 * @hex:	The digest
 *
 * Return: 0 or a negative errno
 */
int sha256_fd(int fd, char hex[SHA256_HEX], struct err *e)
{
	struct sha256 *s = sha256_init();
	uint8_t digest[SHA256_SIZE];
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "compute a digest");
	r = update_from_fd(s, fd);
	if (r) {
		sha256_free(s);
		return err_set(e, r, "read a file for its digest");
	}
	r = sha256_final(s, digest);
	if (r)
		return err_set(e, r, "compute a digest");
	sha256_to_hex(digest, hex);
	return 0;
}

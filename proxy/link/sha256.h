/* SPDX-License-Identifier: MIT */
/*
 * sha256.h - SHA-256, where an adversary matters
 *
 * The door to OpenSSL's digests.  (identity.c includes EVP too, for keys; nobody else does.)
 * For pages among trusted peers use checksum.h, which is eight times as fast.
 */
#ifndef PROXY_LINK_SHA256_H
#define PROXY_LINK_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define SHA256_SIZE 32		/* bytes of a digest */
#define SHA256_HEX 65		/* 64 hex digits and the NUL */
#define SHA256_BASE64 45

struct sha256;

struct sha256 *sha256_init(void);	/* NULL: out of memory */
int sha256_update(struct sha256 *s, const void *p, size_t len) MUST_CHECK;
/* Frees @s in any case */
int sha256_final(struct sha256 *s, uint8_t out[SHA256_SIZE]) MUST_CHECK;
void sha256_free(struct sha256 *s);	/* to give up before the end; NULL is fine */

int sha256_of(const void *p, size_t len, uint8_t out[SHA256_SIZE]) MUST_CHECK;
int sha256_hex(const void *p, size_t len, char hex[SHA256_HEX]) MUST_CHECK;
/* A whole file; its offset stays */
int sha256_fd(int fd, char hex[SHA256_HEX], struct err *e) MUST_CHECK;

/* Lower-case hex digits, both ways; sha256_from_hex() takes exactly 64 of them or gives -EINVAL */
void sha256_to_hex(const uint8_t digest[SHA256_SIZE], char hex[SHA256_HEX]);
int sha256_from_hex(const char *hex, uint8_t digest[SHA256_SIZE]) MUST_CHECK;
/* 44 characters of ordinary base64 and the NUL, as libcurl writes pins */
void sha256_to_base64(const uint8_t digest[SHA256_SIZE], char text[SHA256_BASE64]);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * identity.h - Who this host is: a key, its self-signed certificate, and their pin
 *
 * Both live in one file, identity.pem, of the state directory (a pair in two files could be
 * torn by a crash).  It is made on first start.  The *pin* is the SHA-256 of the certificate's
 * public key (SPKI in DER) as 64 lower-case hex digits; nothing else of a certificate, be it
 * name, date or issuer, is ever believed.
 *
 * A struct identity keeps key and certificate in memory, so that it can be opened before
 * privileges are dropped; it is only read afterwards and may be shared by threads.
 *
 * The state directory's rules (0700, ours, files 0600 that are whole or absent) are kept here
 * too, for the other files in it: peers, invites.
 */
#ifndef PROXY_LINK_IDENTITY_H
#define PROXY_LINK_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

#define IDENTITY_PIN 65		/* 64 hex digits and the NUL: the size of a pin */

struct identity;

/* Load the identity of @state_dir; directory and identity are made when missing */
int identity_open(const char *state_dir, struct identity **out, struct err *e) MUST_CHECK;
void identity_close(struct identity *id);	/* wipes the key; NULL is fine */
const char *identity_pin(const struct identity *id);

/* DER, for the TLS libraries; valid as long as @id */
const uint8_t *identity_cert(const struct identity *id, size_t *len);
const uint8_t *identity_key(const struct identity *id, size_t *len);	/* PKCS#8 */

/* The pin of a certificate that a peer presented.  0 or -EBADMSG */
int identity_pin_of_cert(const uint8_t *der, size_t len, char pin[IDENTITY_PIN]) MUST_CHECK;
int identity_pin_of_pem(const char *pem, char pin[IDENTITY_PIN]) MUST_CHECK;

/*
 * The state directory.  identity_dir() opens it, made when missing, and refuses one that others
 * own or may write to; identity_dir_lock() waits until nobody else holds it locked (until the
 * descriptor is closed): for read, change, write.
 */
int identity_dir(const char *path, struct err *e) MUST_CHECK;	/* a descriptor; the caller's */
int identity_subdir(int dirfd, const char *name, struct err *e) MUST_CHECK;
int identity_dir_lock(int dirfd, struct err *e) MUST_CHECK;
int identity_file_write(int dirfd, const char *name, const void *p, size_t len,
			struct err *e) MUST_CHECK;
/* Allocates *@out, NUL-terminated, at most @max bytes.  Return: length; -ENOENT, -EFBIG, … */
int identity_file_read(int dirfd, const char *name, size_t max, char **out,
		       struct err *e) MUST_CHECK;

#endif

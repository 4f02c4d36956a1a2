/* SPDX-License-Identifier: MIT */
/*
 * identity.c - Who this host is: a key, its self-signed certificate, and their pin
 *
 * The key is EC P-256: every TLS library takes it, and it signs faster than the others.  The
 * certificate is only the envelope TLS wants around a public key, so it carries no name that
 * somebody could believe and never expires (RFC 5280's 9999-12-31).
 *
 * Files are made whole or not at all: written under a temporary name, synced, renamed, and the
 * directory synced.  Two first starts at the same time are kept apart by a lock on the directory.
 */
#include "proxy/link/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/link/sha256.h"

#define IDENTITY_FILE "identity.pem"
#define IDENTITY_FILE_MAX 16384	/* bytes; one is about 800 */

struct identity {
	uint8_t *cert;		/* DER */
	size_t cert_len;
	uint8_t *key;		/* PKCS#8 DER */
	size_t key_len;
	char pin[IDENTITY_PIN];
};

/* A key and its certificate as OpenSSL sees them, while an identity is made or loaded */
struct pair {
	EVP_PKEY *key;
	X509 *cert;
};

static void pair_free(struct pair *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
	ERR_clear_error();	/* nobody reads OpenSSL's queue: leave none behind */
}

static void scope_bio(BIO **b)
{
	BIO_free(*b);
}

#define AUTO_PAIR __attribute__((cleanup(pair_free)))
#define AUTO_BIO __attribute__((cleanup(scope_bio)))

/* ---- the state directory ---------------------------------------------------- */

/* Makes @path and what is missing above it, 0700.  Return: 0 or a negative errno */
static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i])
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES)
			return -errno;
	}
	return 0;
}

/* A directory that others may change is no place for keys.  Return: 0 or a negative errno */
static int check_dir(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(e, -errno, "stat %s", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return err_say(e, -EPERM, "%s belongs to another user (uid %u)", path, st.st_uid);
	if (st.st_mode & 022)
		return err_say(e, -EPERM, "%s may be written by others (mode %04o)", path,
			       st.st_mode & 07777);
	return 0;
}

/**
 * identity_dir() - Open the state directory
 * @path:	Made when missing, parents too, mode 0700
 *
 * Return: descriptor, or a negative errno: -EPERM when others own it or may write to it
 */
int identity_dir(const char *path, struct err *e)
{
	AUTO_FD int fd = -1;
	int r = make_dirs(path);

	if (r)
		return err_set(e, r, "create %s", path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	r = check_dir(fd, path, e);
	return r ? r : take_fd(&fd);
}

/** identity_subdir() - The same for a directory in the state directory */
int identity_subdir(int dirfd, const char *name, struct err *e)
{
	AUTO_FD int fd = -1;
	int r;

	if (mkdirat(dirfd, name, 0700) && errno != EEXIST)
		return err_set(e, -errno, "create %s", name);
	fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "open %s", name);
	r = check_dir(fd, name, e);
	return r ? r : take_fd(&fd);
}

int identity_dir_lock(int dirfd, struct err *e)
{
	while (flock(dirfd, LOCK_EX))
		if (errno != EINTR)
			return err_set(e, -errno, "lock the state directory");
	return 0;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Fills the new file @tmp, mode 0600, down to the disk.  Return: 0 or a negative errno */
static int write_tmp(int dirfd, const char *tmp, const void *p, size_t len)
{
	AUTO_FD int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
				0600);
	int r;

	if (fd < 0)
		return -errno;
	r = fchmod(fd, 0600) ? -errno : write_all(fd, p, len);
	if (!r && fsync(fd))
		r = -errno;
	return r;
}

/**
 * identity_file_write() - Replace a file of the state directory, whole or not at all
 * @dirfd:	The directory
 * @name:	Without a slash
 * @p:		All it shall contain
 * @len:	Bytes
 *
 * Return: 0 when it is on the disk, or a negative errno
 */
int identity_file_write(int dirfd, const char *name, const void *p, size_t len, struct err *e)
{
	char tmp[NAME_MAX];
	uint64_t salt;
	int r;

	if (RAND_bytes((unsigned char *)&salt, sizeof(salt)) != 1)
		return err_say(e, -EIO, "no random numbers");
	if (snprintf(tmp, sizeof(tmp), ".%s.%016llx", name, (unsigned long long)salt) >=
	    (int)sizeof(tmp))
		return err_set(e, -ENAMETOOLONG, "write %s", name);
	r = write_tmp(dirfd, tmp, p, len);
	if (!r && renameat(dirfd, tmp, dirfd, name))
		r = -errno;
	if (r) {
		unlinkat(dirfd, tmp, 0);
		return err_set(e, r, "write %s", name);
	}
	if (fsync(dirfd))
		return err_set(e, -errno, "write %s", name);
	return 0;
}

/* Reads until the end or @max.  Return: length, or a negative errno */
static int read_all(int fd, char *buf, size_t max)
{
	size_t len = 0;

	while (len < max) {
		ssize_t n = read(fd, buf + len, max - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (int)len;
}

/**
 * identity_file_read() - Read a small file of the state directory
 * @dirfd:	The directory
 * @name:	Without a slash; a symbolic link is refused
 * @max:	Most bytes it may have
 * @out:	Its text and a NUL, allocated; untouched on failure
 *
 * Return: length in bytes, or a negative errno: -EFBIG when longer, -EPERM when not ours
 */
int identity_file_read(int dirfd, const char *name, size_t max, char **out, struct err *e)
{
	AUTO_FD int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	AUTO_FREE char *buf = NULL;
	struct stat st;
	int len;

	if (fd < 0)
		return err_set(e, -errno, "open %s", name);
	if (fstat(fd, &st))
		return err_set(e, -errno, "stat %s", name);
	if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0))
		return err_say(e, -EPERM, "%s is not a file of ours", name);
	buf = malloc(max + 2);
	if (!buf)
		return err_set(e, -ENOMEM, "read %s", name);
	len = read_all(fd, buf, max + 1);
	if (len < 0)
		return err_set(e, len, "read %s", name);
	if ((size_t)len > max)
		return err_set(e, -EFBIG, "read %s", name);
	buf[len] = 0;
	*out = take_ptr(buf);
	return len;
}

/* ---- pins --------------------------------------------------------------------- */

static int pin_of_x509(const X509 *cert, char pin[IDENTITY_PIN])
{
	uint8_t *spki = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
	int r = len > 0 ? sha256_hex(spki, (size_t)len, pin) : -EBADMSG;

	OPENSSL_free(spki);
	ERR_clear_error();
	return r;
}

int identity_pin_of_cert(const uint8_t *der, size_t len, char pin[IDENTITY_PIN])
{
	AUTO_PAIR struct pair p = { 0 };
	const uint8_t *at = der;

	if (len > LONG_MAX)
		return -EBADMSG;
	p.cert = d2i_X509(NULL, &at, (long)len);
	if (!p.cert || at != der + len)
		return -EBADMSG;
	return pin_of_x509(p.cert, pin);
}

/* Without it OpenSSL would ask the terminal for the passphrase of an encrypted key */
static int no_passphrase(char *buf, int size, int rwflag, void *u)
{
	(void)buf, (void)size, (void)rwflag, (void)u;
	return -1;
}

int identity_pin_of_pem(const char *pem, char pin[IDENTITY_PIN])
{
	AUTO_PAIR struct pair p = { 0 };
	AUTO_BIO BIO *in = BIO_new_mem_buf(pem, -1);

	if (!in)
		return -ENOMEM;
	p.cert = PEM_read_bio_X509(in, NULL, no_passphrase, NULL);
	return p.cert ? pin_of_x509(p.cert, pin) : -EBADMSG;
}

/* ---- making and loading ------------------------------------------------------------ */

/* Fills in and signs @cert for @key.  Return: whether all of it worked */
static bool cert_fill(X509 *cert, EVP_PKEY *key)
{
	static const unsigned char common_name[] = "mproxy";
	X509_NAME *name = X509_get_subject_name(cert);
	uint8_t serial[16];

	if (RAND_bytes(serial, sizeof(serial)) != 1)
		return false;
	serial[0] = (serial[0] & 0x7f) | 0x40;	/* positive, and of full length */
	return X509_set_version(cert, 2) &&
	       ASN1_STRING_set(X509_get_serialNumber(cert), serial, sizeof(serial)) &&
	       ASN1_TIME_set_string(X509_getm_notBefore(cert), "20000101000000Z") &&
	       ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z") &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0) &&
	       X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
	       X509_sign(cert, key, EVP_sha256());
}

static int pair_make(struct pair *p, struct err *e)
{
	p->key = EVP_EC_gen("P-256");
	p->cert = X509_new();
	if (!p->key || !p->cert || !cert_fill(p->cert, p->key))
		return err_say(e, -EIO, "OpenSSL could not make a key");
	return 0;
}

/* Writes @p to identity.pem: what was made is lost when this fails */
static int pair_save(const struct pair *p, int dirfd, struct err *e)
{
	AUTO_BIO BIO *out = BIO_new(BIO_s_secmem());
	char *text = NULL;
	long len;

	if (!out || !PEM_write_bio_PKCS8PrivateKey(out, p->key, NULL, NULL, 0, NULL, NULL) ||
	    !PEM_write_bio_X509(out, p->cert))
		return err_say(e, -EIO, "OpenSSL could not write a key");
	len = BIO_get_mem_data(out, &text);
	return identity_file_write(dirfd, IDENTITY_FILE, text, (size_t)len, e);
}

static int pair_load(struct pair *p, int dirfd, struct err *e)
{
	char *text = NULL;
	struct stat st;
	int len;

	if (!fstatat(dirfd, IDENTITY_FILE, &st, AT_SYMLINK_NOFOLLOW) && (st.st_mode & 077))
		return err_say(e, -EPERM, "%s may be read by others (mode %04o): it is no secret",
			       IDENTITY_FILE, st.st_mode & 07777);
	len = identity_file_read(dirfd, IDENTITY_FILE, IDENTITY_FILE_MAX, &text, e);
	if (len >= 0) {
		AUTO_BIO BIO *key = BIO_new_mem_buf(text, len);
		AUTO_BIO BIO *cert = BIO_new_mem_buf(text, len);

		if (key && cert) {
			p->key = PEM_read_bio_PrivateKey(key, NULL, no_passphrase, NULL);
			p->cert = PEM_read_bio_X509(cert, NULL, no_passphrase, NULL);
		}
		OPENSSL_cleanse(text, (size_t)len);
		free(text);
	}
	if (len < 0)
		return len;
	if (!p->key || !p->cert || X509_check_private_key(p->cert, p->key) != 1)
		return err_say(e, -EBADMSG, "%s is not a key with its certificate", IDENTITY_FILE);
	return 0;
}

/* Load what is there, make what is not: under the directory's lock, so that it is made once */
static int pair_load_or_make(struct pair *p, int dirfd, struct err *e)
{
	int r = identity_dir_lock(dirfd, e);

	if (r)
		return r;
	if (!faccessat(dirfd, IDENTITY_FILE, F_OK, AT_SYMLINK_NOFOLLOW))
		return pair_load(p, dirfd, e);
	r = pair_make(p, e);
	return r ? r : pair_save(p, dirfd, e);
}

/* Turns @p into DER and its pin.  Return: 0 or a negative errno */
static int pair_export(const struct pair *p, struct identity *id)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(p->key);
	int cert_len = i2d_X509(p->cert, &id->cert);
	int key_len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &id->key) : -1;

	PKCS8_PRIV_KEY_INFO_free(info);
	if (cert_len <= 0 || key_len <= 0)
		return -EIO;
	id->cert_len = (size_t)cert_len;
	id->key_len = (size_t)key_len;
	return pin_of_x509(p->cert, id->pin);
}

/**
 * identity_open() - Load this host's identity, or make it on first start
 * @state_dir:	The state directory, made when missing
 * @out:	The identity; identity_close() ends it.  Untouched on failure
 *
 * Return: 0 or a negative errno
 */
int identity_open(const char *state_dir, struct identity **out, struct err *e)
{
	AUTO_FD int dirfd = identity_dir(state_dir, e);
	AUTO_PAIR struct pair p = { 0 };
	struct identity *id;
	int r;

	if (dirfd < 0)
		return err_wrap(e, dirfd, "this host's identity");
	r = pair_load_or_make(&p, dirfd, e);
	if (r)
		return err_wrap(e, r, "this host's identity in %s", state_dir);
	id = calloc(1, sizeof(*id));
	r = id ? pair_export(&p, id) : -ENOMEM;
	if (r) {
		identity_close(id);
		return err_set(e, r, "this host's identity in %s", state_dir);
	}
	*out = id;
	return 0;
}

void identity_close(struct identity *id)
{
	if (!id)
		return;
	OPENSSL_clear_free(id->key, id->key_len);
	OPENSSL_free(id->cert);
	free(id);
}

const char *identity_pin(const struct identity *id)
{
	return id->pin;
}

const uint8_t *identity_cert(const struct identity *id, size_t *len)
{
	*len = id->cert_len;
	return id->cert;
}

const uint8_t *identity_key(const struct identity *id, size_t *len)
{
	*len = id->key_len;
	return id->key;
}

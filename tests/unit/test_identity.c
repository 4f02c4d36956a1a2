/* SPDX-License-Identifier: MIT */
/*
 * test_identity.c - This host's identity, the state directory, and digests
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/scope.h"
#include "proxy/link/checksum.h"
#include "proxy/link/identity.h"
#include "proxy/link/sha256.h"

static char dir[64];

static void path_in(char *to, size_t size, const char *name)
{
	snprintf(to, size, "%s/%s", dir, name);
}

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_identity.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

static void test_made_once(void **state)
{
	char path[128], file[160], first[IDENTITY_PIN], again[IDENTITY_PIN];
	struct err e = { 0 };
	struct identity *id;
	const uint8_t *cert;
	struct stat st;
	size_t len;

	(void)state;
	path_in(path, sizeof(path), "deep/state");
	assert_int_equal(identity_open(path, &id, &e), 0);
	strcpy(first, identity_pin(id));
	assert_int_equal(strlen(first), 64);
	cert = identity_cert(id, &len);
	assert_int_equal(identity_pin_of_cert(cert, len, again), 0);
	assert_string_equal(first, again);
	identity_close(id);

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(file, sizeof(file), "%s/identity.pem", path);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(identity_open(path, &id, &e), 0);
	assert_string_equal(identity_pin(id), first);
	identity_close(id);
}

static void test_pin_is_spki(void **state)
{
	char cmd[512], line[128] = "", path[128];
	struct err e = { 0 };
	struct identity *id;

	(void)state;
	path_in(path, sizeof(path), "spki");
	assert_int_equal(identity_open(path, &id, &e), 0);
	snprintf(cmd, sizeof(cmd),
		 "openssl x509 -in %s/identity.pem -noout -pubkey | "
		 "openssl pkey -pubin -outform DER | sha256sum", path);
	FILE *p = popen(cmd, "r");
	assert_non_null(p);
	assert_non_null(fgets(line, sizeof(line), p));
	pclose(p);
	line[64] = 0;
	assert_string_equal(line, identity_pin(id));
	identity_close(id);
}

static void *open_pin(void *pin)
{
	char path[128];
	struct identity *id;

	path_in(path, sizeof(path), "race");
	if (identity_open(path, &id, NULL))
		return NULL;
	strcpy(pin, identity_pin(id));
	identity_close(id);
	return pin;
}

static void test_two_first_starts(void **state)
{
	char pins[4][IDENTITY_PIN] = { 0 };
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, open_pin, pins[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(strlen(pins[i]), 64);
		assert_string_equal(pins[i], pins[0]);
	}
}

static void put_file(const char *path, const char *text, mode_t mode)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
}

static void test_refusals(void **state)
{
	char path[128], file[160];
	struct identity *id = NULL;
	struct err e = { 0 };

	(void)state;
	path_in(path, sizeof(path), "bad");
	snprintf(file, sizeof(file), "%s/identity.pem", path);
	assert_int_equal(mkdir(path, 0700), 0);
	put_file(file, "-----BEGIN NOTHING-----\n", 0600);
	assert_int_equal(identity_open(path, &id, &e), -EBADMSG);
	assert_non_null(strstr(e.text, "identity.pem"));

	put_file(file, "", 0644);
	assert_int_equal(identity_open(path, &id, &e), -EPERM);

	assert_int_equal(unlink(file), 0);
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(identity_open(path, &id, &e), -EPERM);
	assert_non_null(strstr(e.text, path));
	assert_null(id);
}

static void test_garbage_certs(void **state)
{
	static const uint8_t junk[64] = { 0x30, 0x82, 0xff, 0xff };
	char pin[IDENTITY_PIN];

	(void)state;
	for (size_t n = 0; n < sizeof(junk); n++)
		assert_int_equal(identity_pin_of_cert(junk, n, pin), -EBADMSG);
	assert_int_equal(identity_pin_of_pem("", pin), -EBADMSG);
	assert_int_equal(identity_pin_of_pem("-----BEGIN CERTIFICATE-----\nAAAA\n"
					     "-----END CERTIFICATE-----\n", pin), -EBADMSG);
}

static void test_files(void **state)
{
	AUTO_FD int dirfd = identity_dir(dir, NULL);
	char *text = NULL;

	(void)state;
	assert_true(dirfd >= 0);
	assert_int_equal(identity_file_read(dirfd, "f", 10, &text, NULL), -ENOENT);
	assert_int_equal(identity_file_write(dirfd, "f", "0123456789", 10, NULL), 0);
	assert_int_equal(identity_file_read(dirfd, "f", 9, &text, NULL), -EFBIG);
	assert_null(text);
	assert_int_equal(identity_file_read(dirfd, "f", 10, &text, NULL), 10);
	assert_string_equal(text, "0123456789");
	free(text);
	assert_int_equal(symlinkat("f", dirfd, "l"), 0);
	assert_int_equal(identity_file_read(dirfd, "l", 10, &text, NULL), -ELOOP);
}

static void test_sha256(void **state)
{
	/* FIPS 180-2: "abc" */
	static const char abc[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	char hex[SHA256_HEX], base64[SHA256_BASE64], path[128];
	uint8_t digest[SHA256_SIZE];
	struct sha256 *s;
	struct err e;

	(void)state;
	assert_int_equal(sha256_hex("abc", 3, hex), 0);
	assert_string_equal(hex, abc);
	s = sha256_init();
	assert_int_equal(sha256_update(s, "a", 1), 0);
	assert_int_equal(sha256_update(s, "bc", 2), 0);
	assert_int_equal(sha256_final(s, digest), 0);
	sha256_to_hex(digest, hex);
	assert_string_equal(hex, abc);
	sha256_to_base64(digest, base64);
	assert_string_equal(base64, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
	assert_int_equal(sha256_from_hex(abc, digest), 0);
	assert_int_equal(sha256_from_hex("BA", digest), -EINVAL);
	assert_int_equal(sha256_from_hex("", digest), -EINVAL);

	path_in(path, sizeof(path), "abc");
	put_file(path, "abc", 0600);
	AUTO_FD int fd = open(path, O_RDONLY);
	assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
	assert_int_equal(sha256_fd(fd, hex, &e), 0);
	assert_string_equal(hex, abc);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 2);
	assert_int_equal(sha256_fd(-1, hex, &e), -EBADF);
}

static void test_checksum(void **state)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog";
	struct iovec whole = { (void *)text, 43 };
	struct iovec parts[3] = { { (void *)text, 4 }, { NULL, 0 }, { (void *)(text + 4), 39 } };

	(void)state;
	assert_int_equal(checksum64(&whole, 1), 0xce7d19a5418fb365u);
	assert_int_equal(checksum64(parts, 3), checksum64(&whole, 1));
	assert_int_not_equal(checksum128(text, 43).high, checksum128(text, 42).high);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_once),      cmocka_unit_test(test_pin_is_spki),
		cmocka_unit_test(test_two_first_starts), cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_garbage_certs),  cmocka_unit_test(test_files),
		cmocka_unit_test(test_sha256),	       cmocka_unit_test(test_checksum),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

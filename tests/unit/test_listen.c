/* SPDX-License-Identifier: MIT */
/*
 * test_listen.c - Addresses as people write them, and the port
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/attr.h"
#include "common/scope.h"
#include "proxy/daemon/listen.h"

static void test_addresses(void **state)
{
	static const struct row {
		const char *text;
		const char *whole;	/* NULL: not an address */
		bool loopback, any;
	} rows[] = {
		{ "127.0.0.1", "127.0.0.1:7117", true, false },
		{ "127.0.0.1:0", "127.0.0.1:0", true, false },
		{ "localhost:1", "localhost:1", true, false },
		{ "0.0.0.0", "0.0.0.0:7117", false, true },
		{ "host-1.example:65535", "host-1.example:65535", false, false },
		{ "[::1]", "[::1]:7117", true, false },
		{ "[::]:80", "[::]:80", false, true },
		{ "[fe80::1%eth0]:80", "[fe80::1%eth0]:80", false, false },
		{ "", NULL, false, false },
		{ ":80", NULL, false, false },
		{ "7117", NULL, false, false },
		{ "::1", NULL, false, false },
		{ "[::1", NULL, false, false },
		{ "[]:1", NULL, false, false },
		{ "[::1]x", NULL, false, false },
		{ "h:", NULL, false, false },
		{ "h:x", NULL, false, false },
		{ "h:1x", NULL, false, false },
		{ "h:65536", NULL, false, false },
		{ "h:99999999999", NULL, false, false },
		{ "h:-1", NULL, false, false },
		{ "us er@h:1", NULL, false, false },
		{ "h/x:1", NULL, false, false },
		{ "0123456789.0123456789.0123456789.0123456789.0123456789.0123456789", NULL,
		  false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char out[PEER_ADDR];
		struct err e = { 0 };
		int r = listen_address(rows[i].text, out, &e);

		assert_int_equal(r, rows[i].whole ? 0 : -EINVAL);
		if (r) {
			assert_true(strlen(e.text) > 10);
			continue;
		}
		assert_string_equal(out, rows[i].whole);
		assert_int_equal(listen_is_loopback(out), rows[i].loopback);
		assert_int_equal(listen_is_any(out), rows[i].any);
	}
}

static void test_open(void **state)
{
	char actual[PEER_ADDR], again[PEER_ADDR], host[PEER_ADDR];
	struct err e = { 0 };
	AUTO_FD int fd = listen_open("127.0.0.1:0", actual, &e);
	uint16_t port;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(peer_addr_split(actual, host, &port), 0);
	assert_string_equal(host, "127.0.0.1");
	assert_int_equal(listen_open(actual, again, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, actual));
	assert_int_equal(accept(fd, NULL, NULL), -1);	/* nobody is there, and nobody waits */
	assert_int_equal(errno, EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

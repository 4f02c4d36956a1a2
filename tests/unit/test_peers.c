/* SPDX-License-Identifier: MIT */
/*
 * test_peers.c - The pinned peers: the file's rules and its changes
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/attr.h"
#include "proxy/daemon/peers.h"

#define PIN_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PIN_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static char dir[64], file[80];

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_peers.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/peers", dir);
	return 0;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

static void put_file(const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static size_t count(void)
{
	struct peers *ps;
	struct err e = { 0 };
	size_t n;

	assert_int_equal(peers_load(dir, &ps, &e), 0);
	n = peers_count(ps);
	peers_free(ps);
	return n;
}

static void test_add_replace_remove(void **state)
{
	struct peer a = { "alpha", "10.0.0.1:7700", PIN_A };
	struct peer b = { "b-2.x_y", "[fe80::1]:1", PIN_B };
	struct peers *ps;
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(count(), 0);
	assert_int_equal(peers_pin(dir, &a, false, &e), 0);
	assert_int_equal(peers_pin(dir, &b, false, &e), 0);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	assert_int_equal(peers_load(dir, &ps, &e), 0);
	assert_int_equal(peers_count(ps), 2);
	assert_string_equal(peers_at(ps, 0)->name, "alpha");
	assert_string_equal(peers_find(ps, "b-2.x_y")->addr, "[fe80::1]:1");
	assert_string_equal(peers_find_pin(ps, PIN_A)->name, "alpha");
	assert_null(peers_find(ps, "alph"));
	assert_null(peers_find_pin(ps, "aaaa"));
	peers_free(ps);

	strcpy(a.addr, "new.example:7701");	/* the same key elsewhere: always allowed */
	assert_int_equal(peers_pin(dir, &a, false, &e), 0);
	strcpy(a.pin, PIN_B);			/* another peer's key: never */
	assert_int_equal(peers_pin(dir, &a, true, &e), -EEXIST);
	memset(a.pin, 'c', 64);			/* another key: only when asked for */
	assert_int_equal(peers_pin(dir, &a, false, &e), -EEXIST);
	assert_int_equal(peers_pin(dir, &a, true, &e), 0);
	assert_int_equal(count(), 2);

	assert_int_equal(peers_unpin(dir, "alpha", &e), 0);
	assert_int_equal(peers_unpin(dir, "alpha", &e), -ENOENT);
	assert_int_equal(peers_unpin(dir, "b-2.x_y", &e), 0);
	assert_int_equal(count(), 0);
}

static void test_malformed(void **state)
{
	static const struct row {
		const char *text;
		const char *where;	/* NULL: fine */
	} rows[] = {
		{ "", NULL },
		{ "# friends\n\n\t a  h:1\t" PIN_A " \n", NULL },
		{ "a h:1 " PIN_A, NULL },
		{ "\n\na h:1\n", "peers:3:" },
		{ "a h:1 " PIN_A " more\n", "peers:1:" },
		{ "a h:0 " PIN_A "\n", "peers:1:" },
		{ "a h:65536 " PIN_A "\n", "peers:1:" },
		{ "a h:1x " PIN_A "\n", "peers:1:" },
		{ "a :1 " PIN_A "\n", "peers:1:" },
		{ "a [::1:1 " PIN_A "\n", "peers:1:" },
		{ "a user@h:1 " PIN_A "\n", "peers:1:" },
		{ "a/b h:1 " PIN_A "\n", "peers:1:" },
		{ "a h:1 A" PIN_A "\n", "peers:1:" },
		{ "a h:1 " PIN_A "\na h:2 " PIN_B "\n", "peers:2:" },
		{ "a h:1 " PIN_A "\nb h:2 " PIN_A "\n", "peers:2:" },
		{ PIN_A " h:1 " PIN_A "\n", "peers:1:" },	/* a name of 64 */
	};
	struct peer p = { "z", "h:1", PIN_B };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct peers *ps = NULL;
		struct err e = { 0 };
		int r;

		put_file(rows[i].text);
		r = peers_load(dir, &ps, &e);
		assert_int_equal(r, rows[i].where ? -EINVAL : 0);
		if (rows[i].where) {
			assert_non_null(strstr(e.text, rows[i].where));
			assert_int_equal(peers_pin(dir, &p, true, &e), -EINVAL);
		}
		peers_free(ps);
	}
	assert_int_equal(unlink(file), 0);
}

static void test_refused_input(void **state)
{
	static const struct peer bad[] = {
		{ "", "h:1", PIN_A },	   { "a b", "h:1", PIN_A }, { "a\n", "h:1", PIN_A },
		{ "a", "h:1\nb", PIN_A },  { "a", "", PIN_A },	    { "a", "h", PIN_A },
		{ "a", "h:1", "a" },	   { "a", "h :1", PIN_A },  { "a", "[]:1", PIN_A },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(peers_pin(dir, &bad[i], true, NULL), -EINVAL);
	assert_int_equal(count(), 0);
}

static void test_addr(void **state)
{
	char host[PEER_ADDR];
	uint16_t port;

	(void)state;
	assert_int_equal(peer_addr_split("h.example:65535", host, &port), 0);
	assert_string_equal(host, "h.example");
	assert_int_equal(port, 65535);
	assert_int_equal(peer_addr_split("[fe80::1%eth0]:22", host, &port), 0);
	assert_string_equal(host, "fe80::1%eth0");
	assert_int_equal(peer_addr_split("::1:22", host, &port), -EINVAL);
	assert_int_equal(peer_addr_split("[::1]22", host, &port), -EINVAL);
	assert_int_equal(peer_addr_split(PIN_A ":1", host, &port), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_replace_remove),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_refused_input),
		cmocka_unit_test(test_addr),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

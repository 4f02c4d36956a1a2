/* SPDX-License-Identifier: MIT */
/*
 * test_channel.c - Numbered messages: once each, in order, and never more kept than agreed
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/wire.h"
#include "proxy/twin/channel.h"

static struct channel *fresh(void)
{
	struct channel *c = channel_new(NULL);

	assert_non_null(c);
	return c;
}

static void numbers_and_acknowledgements(void **state)
{
	struct channel *c = fresh();
	struct channel_msg m;

	(void)state;
	assert_false(channel_next(c, &m));
	assert_true(channel_empty(c));
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(channel_tell(c, WIRE_STOPPED, &i, sizeof(i)), 0);
	for (unsigned i = 1; i <= 3; i++) {
		assert_true(channel_next(c, &m));
		assert_int_equal(m.number, i);
		assert_memory_equal(m.p, &i, sizeof(i));
		channel_sent(c);
	}
	assert_false(channel_next(c, &m));
	assert_int_equal(channel_acked(c, 1), 0);
	assert_int_equal(channel_acked(c, 0), 0);
	assert_int_equal(channel_acked(c, 4), -EBADMSG);
	assert_int_equal(channel_acked(c, UINT64_MAX), -EBADMSG);
	assert_int_equal(channel_rewind(c, 99), -EBADMSG);
	assert_int_equal(channel_rewind(c, 1), 0);
	assert_true(channel_next(c, &m));
	assert_int_equal(m.number, 2);
	assert_int_equal(channel_acked(c, 3), 0);	/* of one that counts as unsent */
	assert_false(channel_next(c, &m));
	assert_true(channel_empty(c));
	channel_free(c);
}

static void taken_once(void **state)
{
	struct channel *c = fresh();
	uint64_t received;

	(void)state;
	assert_false(channel_ack_due(c, &received));
	assert_int_equal(channel_take(c, 0), -EILSEQ);
	assert_int_equal(channel_take(c, 2), -EILSEQ);
	assert_int_equal(channel_take(c, 1), 1);
	assert_true(channel_ack_due(c, &received));
	assert_int_equal(received, 1);
	channel_ack_told(c);
	assert_false(channel_ack_due(c, &received));
	assert_int_equal(channel_take(c, 1), 0);
	assert_true(channel_ack_due(c, &received));	/* it may have missed ours */
	assert_int_equal(channel_take(c, UINT64_MAX), -EILSEQ);
	channel_free(c);
}

static void bounded(void **state)
{
	struct channel *c = fresh();
	static const uint8_t big[WIRE_CHUNK + 1];

	(void)state;
	assert_int_equal(channel_tell(c, WIRE_SIGNAL, big, sizeof(big)), -EMSGSIZE);
	for (int i = 0; i < CHANNEL_MOST; i++)
		assert_int_equal(channel_tell(c, WIRE_SIGNAL, big, 4), 0);
	assert_int_equal(channel_room(c), 0);
	assert_int_equal(channel_tell(c, WIRE_SIGNAL, big, 4), -ENOBUFS);
	assert_int_equal(channel_acked(c, 10), 0);
	assert_int_equal(channel_room(c), 10);
	assert_int_equal(channel_tell(c, WIRE_SIGNAL, big, 4), 0);
	channel_free(c);
}

static void goes_on_elsewhere(void **state)
{
	struct channel *a = fresh(), *b = fresh();
	uint8_t buf[256];
	struct bytes w = bytes_of(buf, sizeof(buf)), r;
	struct channel_msg m;
	uint64_t received, next;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(channel_tell(a, WIRE_STOPPED, "abc", i), 0);
	assert_int_equal(channel_take(a, 1), 1);
	assert_int_equal(channel_acked(a, 3), 0);
	channel_put_numbers(a, &w);
	channel_put_kept(a, &w);
	assert_false(w.bad);
	r = bytes_of(buf, (size_t)(w.at - buf));
	received = bytes_get_le(&r, 8);
	next = bytes_get_le(&r, 8);
	assert_int_equal(next, 6);
	assert_int_equal(channel_restore(b, received, next, &r), 0);
	assert_int_equal(channel_take(b, 1), 0);
	assert_true(channel_next(b, &m));
	assert_int_equal(m.number, 4);
	assert_int_equal(m.len, 3);
	channel_free(b);

	/* cut short, at each byte: refused, and still usable */
	for (size_t len = 16; len < (size_t)(w.at - buf); len++) {
		b = fresh();
		r = bytes_of(buf + 16, len - 16);
		if (len > 16)
			assert_int_equal(channel_restore(b, received, next, &r), -EBADMSG);
		assert_int_equal(channel_tell(b, WIRE_STOPPED, "", 0), 0);
		channel_free(b);
	}
	b = fresh();
	r = bytes_of(buf, 0);
	assert_int_equal(channel_restore(b, 0, 0, &r), -EBADMSG);
	r = bytes_of(buf, 0);
	assert_int_equal(channel_restore(b, UINT64_MAX, 1, &r), -EBADMSG);
	channel_free(a);
	channel_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_acknowledgements),
		cmocka_unit_test(taken_once),
		cmocka_unit_test(bounded),
		cmocka_unit_test(goes_on_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * test_frame.c - Frames over socketpairs: round trips, and everything that isn't a frame
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/attr.h"
#include "common/clock.h"
#include "common/scope.h"
#include "common/wire.h"
#include "proxy/link/frame.h"

#define SOON deadline_in_ms(2000)

struct ends {
	struct link *a;
	struct link *b;
};

static struct ends ends_open(void)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	return (struct ends){ link_of_fd(sv[0]), link_of_fd(sv[1]) };
}

static void ends_close(struct ends *s)
{
	link_close(s->a);
	link_close(s->b);
}

/* What frame_send() puts on the wire */
static size_t raw_frame(uint8_t *to, unsigned type, const void *payload, size_t len)
{
	struct ends s = ends_open();

	assert_int_equal(frame_send(s.a, type, 7, payload, len, SOON, NULL), 0);
	assert_int_equal(link_recv(s.b, to, FRAME_HEAD + len, SOON, NULL), 0);
	ends_close(&s);
	return FRAME_HEAD + len;
}

static void test_limits(void **state)
{
	struct ends s = ends_open();
	uint8_t c;

	(void)state;
	assert_int_equal(frame_limit(WIRE_IMAGE), 64 << 20);
	assert_int_equal(frame_limit(WIRE_MEM), (1 << 20) + (64 << 10));
	assert_int_equal(frame_limit(65535), FRAME_MAX);
	assert_int_equal(frame_send(s.a, WIRE_MEM, 0, &c, FRAME_MAX + 1, SOON, NULL), -EMSGSIZE);
	assert_int_equal(frame_send_v(s.a, 10, 0, &c, FRAME_MAX, &c, 1, SOON, NULL),
			 -EMSGSIZE);
	assert_int_equal(frame_send_v(s.a, 8, 0, &c, SIZE_MAX, &c, SIZE_MAX, SOON, NULL),
			 -EMSGSIZE);
	assert_int_equal(frame_send(s.a, 65536, 0, &c, 1, SOON, NULL), -EMSGSIZE);
	assert_int_equal(link_try_recv(s.b, &c, 1), -EAGAIN);	/* nothing of it went out */
	ends_close(&s);
}

/* The format is what frame.h says: other implementations would have to read it */
static void test_layout(void **state)
{
	static const uint8_t want[20] = { 'M', 'M', 'F', '1', 24, 0, 1, 0, 3, 0, 0, 0, 7 };
	uint8_t raw[64];

	(void)state;
	assert_int_equal(raw_frame(raw, WIRE_FAIL, "abc", 3), 27);
	assert_memory_equal(raw, want, 20);
	assert_memory_equal(raw + 24, "abc", 3);
}

static void test_blocking(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 4071, 4072, 4073, 70000 };
	uint8_t out[70000], in[70000];
	struct ends s = ends_open();
	struct frame f;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 >> 3);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		for (size_t split = 0; split <= sizes[i]; split += sizes[i] / 3 + 1) {
			size_t n = sizes[i];

			assert_int_equal(frame_send_v(s.a, 40 + (unsigned)i, UINT64_MAX - i, out,
						      split, out + split, n - split, SOON, &e), 0);
			assert_int_equal(frame_recv(s.b, &f, in, sizeof(in), SOON, &e), 0);
			assert_int_equal(f.type, 40 + i);
			assert_int_equal(f.version, WIRE_NEWEST);
			assert_int_equal(f.length, n);
			assert_true(f.seq == UINT64_MAX - i);
			assert_ptr_equal(f.payload, in);
			assert_memory_equal(in, out, n);
		}
	assert_int_equal(frame_send_v(s.a, WIRE_MEM, 5, "address!", 8, out, 65536, SOON, &e), 0);
	assert_int_equal(frame_recv_header(s.b, &f, SOON, &e), 0);
	assert_int_equal(f.length, 65544);
	assert_null(f.payload);
	assert_int_equal(link_recv(s.b, in, 8, SOON, &e), 0);
	assert_int_equal(link_recv(s.b, in, 65536, SOON, &e), 0);
	assert_memory_equal(in, out, 65536);

	assert_int_equal(frame_send(s.a, 1, 5, out, 100, SOON, &e), 0);	/* too long */
	assert_int_equal(frame_recv(s.b, &f, in, 99, SOON, &e), -EMSGSIZE);
	assert_int_equal(link_recv(s.b, in, f.length, SOON, &e), 0);
	assert_int_equal(frame_verify(&f, in), 0);
	in[99] ^= 1;
	assert_int_equal(frame_verify(&f, in), -EBADMSG);
	assert_int_equal(frame_recv(s.b, &f, in, sizeof(in), deadline_in_ms(20), &e), -ETIMEDOUT);
	ends_close(&s);
}

/* Feeds @len bytes, then an end, to both decoders.  Return: what both made of it, 0 a frame */
static int decode(const uint8_t *raw, size_t len)
{
	struct ends s = ends_open();
	static uint8_t buf[FRAME_MAX];
	struct frame_io *io;
	struct frame f;
	int blocking, r;

	assert_int_equal(link_send(s.a, raw, len, SOON, NULL), 0);
	shutdown(s.a->fd, SHUT_WR);
	blocking = frame_recv(s.b, &f, buf, sizeof(buf), SOON, NULL);
	ends_close(&s);

	s = ends_open();
	io = frame_io_new(s.b, 0);
	assert_int_equal(link_send(s.a, raw, len, SOON, NULL), 0);
	shutdown(s.a->fd, SHUT_WR);
	r = frame_io_poll_in(io, &f);
	if (r < 0)
		assert_int_equal(frame_io_poll_in(io, &f), r);	/* for good */
	else
		assert_int_equal(r, 1);
	frame_io_free(io);
	ends_close(&s);
	r = r == 1 ? 0 : r;
	assert_int_equal(r, blocking);
	return r;
}

static void test_garbage(void **state)
{
	uint8_t raw[FRAME_HEAD + 40], bad[sizeof(raw)];
	size_t len = raw_frame(raw, WIRE_FAIL, "0123456789012345678901234567890123456789", 40);

	(void)state;
	assert_int_equal(decode(raw, len), 0);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(decode(raw, n), -ECONNRESET);	/* cut off */
	for (size_t i = 0; i < len * 8; i++) {			/* each single bit */
		int r;

		memcpy(bad, raw, len);
		bad[i / 8] ^= (uint8_t)(1 << i % 8);
		r = decode(bad, len);
		assert_true(r == -EBADMSG || (i / 8 >= 8 && i / 8 < 12 && r == -ECONNRESET));
	}
	memcpy(bad, raw, len);
	memcpy(bad + 8, "\x01\x00\x11\x00", 4);			/* one more than FRAME_MAX */
	assert_int_equal(decode(bad, len), -EBADMSG);
	memset(bad + 8, 0xff, 4);
	assert_int_equal(decode(bad, len), -EBADMSG);
}

/* Of memory only the head is summed */
static void test_mem(void **state)
{
	uint8_t raw[FRAME_HEAD + 16];
	size_t len = raw_frame(raw, WIRE_MEM, "0123456789abcdef", 16);

	(void)state;
	raw[30] ^= 1;
	assert_int_equal(decode(raw, len), 0);
	raw[12] ^= 1;
	assert_int_equal(decode(raw, len), -EBADMSG);
}

static void test_queue(void **state)
{
	struct ends s = ends_open();
	struct frame_io *out = frame_io_new(s.a, 1 << 20), *in = frame_io_new(s.b, 0);
	uint64_t put = 0, got = 0;
	uint8_t buf[9000];
	struct frame f;

	(void)state;
	assert_int_equal(frame_io_poll_in(in, &f), 0);
	assert_int_equal(frame_io_flush(out), 0);
	while (got < 20000) {
		int r = 0;

		while (put < 20000 && !r) {
			size_t len = put * 37 % 900 * (put % 10 ? 1 : 10);

			memset(buf, (int)(put & 0xff), len);
			r = frame_io_put(out, WIRE_BYTES, put, buf, len);
			put += !r;
		}
		assert_true(r == 0 || r == -ENOBUFS);
		assert_true(frame_io_queued(out) <= 1 << 20);
		r = frame_io_flush(out);
		assert_true(r == 0 || r == -EAGAIN);
		assert_int_equal(r == 0, frame_io_queued(out) == 0);
		while ((r = frame_io_poll_in(in, &f)) == 1) {
			assert_true(f.seq == got);
			assert_int_equal(f.length, got * 37 % 900 * (got % 10 ? 1 : 10));
			for (size_t i = 0; i < f.length; i += 97)
				assert_int_equal(f.payload[i], got & 0xff);
			got++;
		}
		assert_int_equal(r, 0);
	}
	assert_int_equal(frame_io_buffered(in), 0);
	assert_int_equal(frame_io_put(out, 1, 0, buf, FRAME_MAX + 1), -EMSGSIZE);
	link_close(s.a);
	assert_int_equal(frame_io_poll_in(in, &f), -ECONNRESET);
	frame_io_free(out);
	frame_io_free(in);
	link_close(s.b);
}

/* A link that gives and takes a byte at a time, and as often nothing */
struct drip {
	struct link link;
	uint8_t at[4096];
	size_t begin;
	size_t end;
	unsigned turn;
};

static ssize_t drip_send(struct link *l, const void *p, size_t len)
{
	struct drip *d = (struct drip *)l;

	if (d->turn++ % 2 || !len || d->end == sizeof(d->at))
		return -EAGAIN;
	d->at[d->end++] = *(const uint8_t *)p;
	return 1;
}

static ssize_t drip_recv(struct link *l, void *p, size_t size)
{
	struct drip *d = (struct drip *)l;

	if (d->turn++ % 2 || !size || d->begin == d->end)
		return -EAGAIN;
	*(uint8_t *)p = d->at[d->begin++];
	return 1;
}

static void test_drip(void **state)
{
	static const struct link_ops ops = { drip_send, drip_recv, NULL };
	struct drip d = { .link = { .ops = &ops, .fd = -1 } };
	struct frame_io *io = frame_io_new(&d.link, 4096);
	struct frame f;
	int frames = 0;

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(frame_io_put(io, WIRE_ACK, i, "12345678", 8), 0);
	while (frame_io_flush(io) == -EAGAIN)
		continue;
	for (int i = 0; i < 4000; i++)
		if (frame_io_poll_in(io, &f) == 1) {
			assert_true(f.seq == (uint64_t)frames);
			assert_memory_equal(f.payload, "12345678", 8);
			frames++;
		}
	assert_int_equal(frames, 20);
	frame_io_free(io);
}

/* An image of 8 MiB through a socket that takes a little of it at a time */
static void test_large(void **state)
{
	struct ends s = ends_open();
	size_t len = 8 << 20;
	struct frame_io *out = frame_io_new(s.a, len + FRAME_HEAD), *in = frame_io_new(s.b, 0);
	AUTO_FREE uint8_t *image = malloc(len);
	struct frame f;
	int r, rounds = 0;

	(void)state;
	for (size_t i = 0; i < len; i++)
		image[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_int_equal(frame_io_put(out, WIRE_IMAGE, 1, image, len), 0);
	assert_int_equal(frame_io_put(out, WIRE_ACK, 2, "x", 1), -ENOBUFS);
	do {
		r = frame_io_flush(out);
		assert_true(r == 0 || r == -EAGAIN);
		r = frame_io_poll_in(in, &f);
	} while (r == 0 && rounds++ < 10000);
	assert_int_equal(r, 1);
	assert_int_equal(f.length, len);
	assert_memory_equal(f.payload, image, len);
	assert_int_equal(frame_io_poll_in(in, &f), 0);
	frame_io_free(out);
	frame_io_free(in);
	ends_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),	cmocka_unit_test(test_layout),
		cmocka_unit_test(test_blocking), cmocka_unit_test(test_garbage),
		cmocka_unit_test(test_mem),	cmocka_unit_test(test_queue),
		cmocka_unit_test(test_drip),	cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

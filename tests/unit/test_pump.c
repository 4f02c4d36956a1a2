/* SPDX-License-Identifier: MIT */
/*
 * test_pump.c - A deputy's pump and a keeper's, joined by a relay that keeps breaking
 *
 *	origin's writer -> [pipe] -> deputy ~~ relay ~~ keeper -> [pipe] -> program's reader
 *	origin's reader <- [pipe] <- deputy ~~ relay ~~ keeper <- [pipe] <- program's writer
 *
 * All in one thread; each pump is run only when its descriptor asks for it, so that a lost
 * wake-up shows as a standstill.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/twin/channel.h"
#include "proxy/twin/pump.h"

#define IN 1	/* stream ids */
#define OUT 2
#define STILL 3000	/* rounds without progress that count as a standstill */

enum { DEPUTY, KEEPER };

/* One side: its pump, and the relay's end of its socket with the datagram it holds from there */
struct side {
	struct pump *pump;
	int sock;
	uint8_t held[WIRE_LOCAL_MAX];
	size_t len;
	uint64_t heard, said;	/* numbered messages */
	unsigned locals, detached, refused;
	unsigned ends;
	int last_refused;
};

static struct world {
	struct side side[2];
	int origin_w, program_r, program_w, origin_r;	/* the four far ends, not blocking */
	uint64_t written[2], read[2];			/* by stream: 0 IN, 1 OUT */
	bool at_end[2];
	uint64_t seed;
} w;

static uint64_t rnd(void)
{
	w.seed ^= w.seed << 13;
	w.seed ^= w.seed >> 7;
	w.seed ^= w.seed << 17;
	return w.seed;
}

/* The byte at offset @o of stream @which is a function of both: any loss or doubling shows */
static void pattern(uint8_t *to, int which, uint64_t o, size_t n)
{
	while (n > 0) {
		uint64_t word = ((o / 8) + (uint64_t)which) * 0x9e3779b97f4a7c15ull;
		size_t at = o % 8, k = 8 - at < n ? 8 - at : n;

		word ^= word >> 29;
		memcpy(to, (uint8_t *)&word + at, k);
		to += k;
		o += k;
		n -= k;
	}
}

static void on_message(void *ctx, unsigned type, const void *payload, size_t len)
{
	struct side *s = ctx;
	struct wire_signal m;

	if (wire_route(type) == WIRE_ROUTE_LOCAL) {
		s->locals++;
		return;
	}
	assert_int_equal(type, WIRE_SIGNAL);
	assert_int_equal(wire_get_signal(payload, len, &m), 0);
	assert_int_equal(m.value, ++s->heard);
}

static void on_detached(void *ctx)
{
	((struct side *)ctx)->detached++;
}

static void on_refused(void *ctx, unsigned type, int code)
{
	(void)type;
	((struct side *)ctx)->refused++;
	((struct side *)ctx)->last_refused = code;
}

static const struct pump_ops ops = { .message = on_message, .detached = on_detached, .refused = on_refused };

static int content(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

static void say(int which)
{
	uint8_t buf[64];
	struct wire_signal m = { .signo = SIGUSR1, .value = w.side[which].said + 1 };
	ssize_t n = wire_put_signal(buf, sizeof(buf), &m);
	int rc = pump_tell(w.side[which].pump, WIRE_SIGNAL, buf, (size_t)n);

	if (!rc)
		w.side[which].said++;
	else
		assert_int_equal(rc, -ENOBUFS);
}

static void attach(int which)
{
	struct side *s = &w.side[which];
	int sv[2];

	drop_fd(&s->sock);
	s->len = 0;
	assert_int_equal(sock_pair(sv, NULL), 0);
	assert_int_equal(pump_attach(s->pump, sv[0], NULL), 0);
	s->sock = sv[1];
}

static void set_nonblock(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

static void make_pipe(int *r, int *wr)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	*r = p[0];
	*wr = p[1];
}

static void begin(void)
{
	int r, wr;

	memset(&w, 0, sizeof(w));
	w.seed = 88172645463325252ull;
	for (int i = 0; i < 2; i++) {
		w.side[i].sock = -1;
		w.side[i].pump = pump_new(&ops, &w.side[i], NULL);
		assert_non_null(w.side[i].pump);
	}
	make_pipe(&r, &w.origin_w);
	assert_int_equal(pump_add(w.side[DEPUTY].pump, IN, STREAM_IN, STREAM_SOURCE, r, 0, NULL),
			 0);
	make_pipe(&w.program_r, &wr);
	assert_int_equal(pump_add(w.side[KEEPER].pump, IN, STREAM_IN, STREAM_SINK, wr, 0, NULL), 0);
	make_pipe(&r, &w.program_w);
	assert_int_equal(pump_add(w.side[KEEPER].pump, OUT, STREAM_OUT, STREAM_SOURCE, r, 0, NULL),
			 0);
	make_pipe(&w.origin_r, &wr);
	assert_int_equal(pump_add(w.side[DEPUTY].pump, OUT, STREAM_OUT, STREAM_SINK, wr, 0, NULL),
			 0);
	set_nonblock(w.origin_w);
	set_nonblock(w.origin_r);
	set_nonblock(w.program_r);
	set_nonblock(w.program_w);
}

static void end(void)
{
	for (int i = 0; i < 2; i++) {
		pump_free(w.side[i].pump);
		drop_fd(&w.side[i].sock);
	}
	drop_fd(&w.origin_w);
	drop_fd(&w.origin_r);
	drop_fd(&w.program_w);
	drop_fd(&w.program_r);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* SIGIO as a keeper has it from its signalfd */
static bool pass_sigio(void)
{
	const struct timespec now = { 0, 0 };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGIO);
	if (sigtimedwait(&one, NULL, &now) != SIGIO)
		return false;
	pump_sigio(w.side[KEEPER].pump);
	return true;
}

/* Return: whether anything went on */
static bool relay(int from, int to)
{
	struct side *f = &w.side[from], *t = &w.side[to];
	bool did = false;

	for (int i = 0; i < 8 && f->sock >= 0; i++) {
		if (!f->len) {
			ssize_t n = sock_recv(f->sock, f->held, sizeof(f->held), NULL, NULL, 0);

			if (n <= 0)
				break;
			f->len = (size_t)n;
			did = true;
		}
		if (t->sock < 0 || sock_send(t->sock, f->held, f->len, NULL, 0, 0))
			break;
		f->len = 0;
		did = true;
	}
	return did;
}

/* Something breaks: one or both connections, with what is in them and in the relay */
static void cut(void)
{
	unsigned what = (unsigned)(rnd() % 3) + 1;

	for (int i = 0; i < 2; i++) {
		if (!(what & (1u << i)))
			continue;
		if (rnd() % 2) {		/* the session dies first */
			drop_fd(&w.side[i].sock);
			w.side[i].len = 0;
			w.side[!i].len = 0;
			while (pump_attached(w.side[i].pump) && readable(pump_fd(w.side[i].pump)))
				assert_true(pump_run(w.side[i].pump) >= 0);
		}
		attach(i);
	}
}

static bool run_pumps(void)
{
	bool did = pass_sigio();

	for (int i = 0; i < 2; i++) {
		if (!readable(pump_fd(w.side[i].pump)))
			continue;
		assert_true(pump_run(w.side[i].pump) >= 0);
		did = true;
	}
	did |= relay(DEPUTY, KEEPER);
	did |= relay(KEEPER, DEPUTY);
	return did;
}

/* Until nothing moves any more, which must come: an idle pump costs nothing */
static void settle(void)
{
	for (int i = 0; i < 10000; i++)
		if (!run_pumps())
			return;
	fail_msg("it never comes to rest");
}

static bool feed(int fd, int which, uint64_t total)
{
	static uint8_t buf[65536];
	uint64_t left = total - w.written[which];
	size_t want = (size_t)(rnd() % sizeof(buf)) + 1;
	ssize_t n;

	if (rnd() % 4 == 0)
		want = want % 300 + 1;
	if (want > left)
		want = (size_t)left;
	if (!want)
		return false;
	pattern(buf, which, w.written[which], want);
	n = write(fd, buf, want);
	if (n <= 0)
		return false;
	w.written[which] += (uint64_t)n;
	return true;
}

static bool drain(int fd, int which)
{
	static uint8_t buf[65536], want[65536];
	ssize_t n = read(fd, buf, (size_t)(rnd() % sizeof(buf)) + 1);

	if (n < 0 || w.at_end[which])
		return false;
	if (!n) {
		w.at_end[which] = true;
		return true;
	}
	pattern(want, which, w.read[which], (size_t)n);
	assert_memory_equal(buf, want, (size_t)n);
	w.read[which] += (uint64_t)n;
	return true;
}

/* Both directions, @total bytes each, a cut about every @cut_every bytes (0: none); then the end */
static void transfer(uint64_t total, uint64_t cut_every)
{
	uint64_t next_cut = cut_every;
	unsigned cuts = 0, still = 0;

	attach(DEPUTY);
	attach(KEEPER);
	while (!w.at_end[0] || !w.at_end[1]) {
		bool did = run_pumps();

		if (rnd() % 3)
			did |= feed(w.origin_w, 0, total);
		if (rnd() % 3)
			did |= feed(w.program_w, 1, total);
		if (rnd() % 3)
			did |= drain(w.program_r, 0);
		if (rnd() % 3)
			did |= drain(w.origin_r, 1);
		if (rnd() % 8 == 0 && w.written[0] < total)
			say((int)(rnd() % 2));
		if (w.written[0] == total)
			drop_fd(&w.origin_w);
		if (w.written[1] == total)
			drop_fd(&w.program_w);
		if (cut_every && w.read[0] + w.read[1] > next_cut) {
			next_cut += rnd() % (2 * cut_every);
			cut();
			cuts++;
		}
		still = did ? 0 : still + 1;
		if (still > STILL)
			fail_msg("standstill after %u cuts: read %lu and %lu", cuts,
				 (unsigned long)w.read[0], (unsigned long)w.read[1]);
	}
	settle();
	assert_int_equal(w.read[0], total);
	assert_int_equal(w.read[1], total);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(w.side[i].heard, w.side[!i].said);
		assert_true(w.side[i].said > 50);
		assert_true(pump_told(w.side[i].pump));
		assert_true(pump_drained(w.side[i].pump));
		assert_int_equal(w.side[i].refused, 0);
	}
	if (cut_every)
		assert_true(cuts >= 200);
}

static void carries_everything(void **state)
{
	(void)state;
	begin();
	transfer(50u << 20, 0);
	end();
}

static void carries_everything_across_cuts(void **state)
{
	(void)state;
	begin();
	transfer(50u << 20, 400u << 10);
	end();
}

static void takes_only_what_was_read(void **state)
{
	uint8_t buf[4096] = { 0 };
	int r, wr;

	(void)state;
	begin();
	attach(DEPUTY);
	attach(KEEPER);
	make_pipe(&r, &wr);	/* one more stream, whose pipe at the origin we can look at */
	assert_int_equal(
		pump_add(w.side[DEPUTY].pump, 3, STREAM_IN, STREAM_SOURCE, dup(r), 0, NULL), 0);
	settle();
	assert_int_equal(write(w.origin_w, buf, 1000), 1000);
	assert_int_equal(write(wr, buf, 10), 10);
	settle();
	assert_int_equal(content(w.program_r), 1000);
	assert_int_equal(content(w.origin_w), 1000);
	assert_int_equal(read(w.program_r, buf, 999), 999);
	settle();
	assert_int_equal(content(w.origin_w), 1000);	/* the step isn't reached */
	assert_int_equal(read(w.program_r, buf, 999), 1);
	settle();
	assert_int_equal(content(w.origin_w), 0);
	assert_int_equal(content(r), 10);	/* nobody at the other side knows stream 3 */

	/* exact as soon as something numbered is told, such as EXITED */
	assert_int_equal(write(w.origin_w, buf, 100), 100);
	settle();
	assert_int_equal(read(w.program_r, buf, 30), 30);
	say(KEEPER);
	settle();
	assert_int_equal(w.side[DEPUTY].heard, 1);
	assert_int_equal(content(w.origin_w), 70);
	close(r);
	close(wr);
	end();
}

static void broken_pipes(void **state)
{
	(void)state;
	begin();
	attach(DEPUTY);
	attach(KEEPER);
	assert_int_equal(write(w.origin_w, "abc", 3), 3);
	settle();
	drop_fd(&w.program_r);
	drop_fd(&w.origin_r);
	settle();
	assert_int_equal(write(w.origin_w, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(write(w.program_w, "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	assert_true(pump_drained(w.side[DEPUTY].pump) && pump_drained(w.side[KEEPER].pump));
	end();
}

static void fifo_gets_a_new_writer(void **state)
{
	char dir[] = "/tmp/test_pump_XXXXXX", fifo[64], buf[64];
	int r, wr, twin;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	begin();
	attach(DEPUTY);
	r = open(fifo, O_RDONLY | O_NONBLOCK);
	assert_int_equal(pump_add(w.side[DEPUTY].pump, 9, STREAM_IN, STREAM_SOURCE, r, 0, NULL), 0);
	make_pipe(&twin, &wr);
	assert_int_equal(pump_add(w.side[KEEPER].pump, 9, STREAM_IN, STREAM_SINK, wr, 0, NULL), 0);
	set_nonblock(twin);
	attach(KEEPER);
	for (int i = 0; i < 4; i++) {
		wr = open(fifo, O_WRONLY);
		assert_int_equal(write(wr, "hello", 5), 5);
		settle();
		if (i % 2)
			attach(i / 2);
		close(wr);
		settle();
		assert_int_equal(read(twin, buf, sizeof(buf)), 5);
		assert_memory_equal(buf, "hello", 5);
		settle();
		assert_int_equal(read(twin, buf, sizeof(buf)), 0);
	}
	close(twin);
	end();
	unlink(fifo);
	rmdir(dir);
}

/* A datagram is lost and no connection with it: what comes next tells, and is asked for once */
static void notices_a_gap(void **state)
{
	struct side *d = &w.side[DEPUTY];
	char buf[16];

	(void)state;
	begin();
	attach(DEPUTY);
	attach(KEEPER);
	settle();
	for (int i = 0; i < 2; i++) {
		if (i)
			assert_int_equal(write(w.origin_w, "abc", 3), 3);
		else
			say(DEPUTY);
		assert_true(pump_run(d->pump) >= 0);
		assert_true(sock_recv(d->sock, d->held, sizeof(d->held), NULL, NULL, 0) > 0);
		settle();
		assert_int_equal(w.side[KEEPER].heard, i ? 2 : 0);
		if (i)
			assert_int_equal(write(w.origin_w, "def", 3), 3);
		else
			say(DEPUTY);
		settle();
		assert_int_equal(w.side[KEEPER].heard, 2);
	}
	assert_int_equal(read(w.program_r, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "abcdef", 6);
	end();
}

static void held(void **state)
{
	char buf[16];

	(void)state;
	begin();
	attach(DEPUTY);
	attach(KEEPER);
	settle();
	pump_hold(w.side[KEEPER].pump, true);
	pump_hold(w.side[DEPUTY].pump, true);
	assert_int_equal(write(w.program_w, "abc", 3), 3);
	assert_int_equal(write(w.origin_w, "abc", 3), 3);
	settle();
	assert_int_equal(read(w.origin_r, buf, 16), -1);
	assert_int_equal(read(w.program_r, buf, 16), -1);
	assert_false(pump_drained(w.side[KEEPER].pump));
	pump_hold(w.side[KEEPER].pump, false);
	settle();
	assert_false(pump_written(w.side[DEPUTY].pump));
	assert_int_equal(read(w.origin_r, buf, 16), -1);
	assert_false(pump_drained(w.side[KEEPER].pump)); /* in the deputy's memory isn't taken */
	pump_hold(w.side[DEPUTY].pump, false);
	settle();
	assert_int_equal(read(w.origin_r, buf, 16), 3);
	assert_int_equal(read(w.program_r, buf, 16), 3);
	assert_true(pump_drained(w.side[KEEPER].pump));
	end();
}

/* The program moves on, to another keeper, in the middle of everything */
static void moves_on(void **state)
{
	static uint8_t carry[1 << 20], saved[65536];
	const uint64_t total = 4u << 20;
	struct side *k = &w.side[KEEPER];
	unsigned moves = 0, still = 0;
	int r, wr, far;

	(void)state;
	begin();
	attach(DEPUTY);
	attach(KEEPER);
	while (w.read[0] < total || w.read[1] < total) {
		bool did = run_pumps();

		did |= feed(w.origin_w, 0, total);
		did |= feed(w.program_w, 1, total);
		did |= rnd() % 2 && drain(w.program_r, 0);
		did |= rnd() % 2 && drain(w.origin_r, 1);
		say(DEPUTY);
		if (moves < 20 && rnd() % 16 == 0) {
			struct bytes b;
			uint64_t out = 0, in = 0;
			ssize_t len, left;

			say(KEEPER);
			len = pump_state_get(k->pump, saved, sizeof(saved));
			assert_true(len > 0);
			b = bytes_of(saved + 20, (size_t)len - 20);
			for (int i = 0; i < 2; i++) {
				uint64_t id = bytes_get_le(&b, 4), dir = bytes_get_le(&b, 4);
				uint64_t at = bytes_get_le(&b, 8);

				assert_int_equal(bytes_get_le(&b, 4), STREAM_OPEN);
				assert_int_equal(dir, id == OUT);
				*(id == OUT ? &out : &in) = at;
			}
			assert_int_equal(in, w.read[0]);
			/* the image: what of the twin pipe was not taken */
			{
				char path[40];

				snprintf(path, sizeof(path), "/proc/self/fd/%d", w.program_w);
				far = open(path, O_RDONLY | O_NONBLOCK);
			}
			pump_free(k->pump);
			left = content(far) ? read(far, carry, sizeof(carry)) : 0;
			assert_int_equal(out + (uint64_t)left, w.written[1]);
			close(far);
			close(w.program_w);
			close(w.program_r);
			k->pump = pump_new(&ops, k, NULL);
			assert_int_equal(pump_state_set(k->pump, saved, (size_t)len), 0);
			make_pipe(&w.program_r, &wr);
			assert_int_equal(
				pump_add(k->pump, IN, STREAM_IN, STREAM_SINK, wr, in, NULL), 0);
			make_pipe(&r, &w.program_w);
			set_nonblock(w.program_w);
			set_nonblock(w.program_r);
			assert_int_equal(write(w.program_w, carry, (size_t)left), left);
			assert_int_equal(
				pump_add(k->pump, OUT, STREAM_OUT, STREAM_SOURCE, r, out, NULL), 0);
			attach(KEEPER);
			moves++;
			did = true;
		}
		still = did ? 0 : still + 1;
		if (still > STILL)
			fail_msg("standstill after %u moves", moves);
	}
	settle();
	assert_true(moves >= 3);
	for (int i = 0; i < 2; i++)
		assert_int_equal(w.side[i].heard, w.side[!i].said);
	end();
}

static void send_raw(int sock, unsigned type, uint64_t number, const void *p, size_t len)
{
	static uint8_t buf[WIRE_LOCAL_MAX];
	ssize_t n = wire_pack(buf, sizeof(buf), type, number, p, len);

	assert_true(n > 0);
	assert_int_equal(sock_send(sock, buf, (size_t)n, NULL, 0, 0), 0);
}

/* The session at the other end is anybody's program */
static void hostile(void **state)
{
	static uint8_t buf[WIRE_LOCAL_MAX], payload[2048];
	struct side *d = &w.side[DEPUTY];
	uint8_t blob[4 + 24];
	struct bytes b = bytes_of(blob, sizeof(blob));
	const struct wire_taken taken = { IN, 5000 }, nobody = { 77, 5 }, wrong = { OUT, 5 };
	const struct wire_bytes gap = { OUT, 1u << 30, { "x", 1 } },
				wrap = { OUT, UINT64_MAX, { "xy", 2 } };
	const struct wire_ack ack = { 1000 };
	struct wire_sync sync = { .received = 0, .streams = { blob, sizeof(blob) } };
	unsigned refused = 0;
	ssize_t n;

	(void)state;
	begin();
	attach(DEPUTY);
	assert_int_equal(write(w.origin_w, "0123456789", 10), 10);
	settle();
	bytes_put_le(&b, 1, 4);		/* an absurd place to go on from */
	bytes_put_le(&b, IN, 4);
	bytes_put_le(&b, STREAM_SINK, 4);
	bytes_put_le(&b, 1u << 20, 8);
	bytes_put_le(&b, 0, 8);
#define TRY(name, NAME, m)                                                                 \
	do {                                                                               \
		n = wire_put_##name(payload, sizeof(payload), m);                          \
		send_raw(d->sock, WIRE_##NAME, 0, payload, (size_t)n);                     \
		while (readable(pump_fd(d->pump)))                                         \
			assert_true(pump_run(d->pump) >= 0);                               \
		while (sock_recv(d->sock, buf, sizeof(buf), NULL, NULL, 0) > 0)            \
			;                                                                  \
	} while (0)
#define REFUSED(name, NAME, m)                                                             \
	do {                                                                               \
		TRY(name, NAME, m);                                                        \
		assert_int_equal(d->refused, ++refused);                                   \
	} while (0)
	REFUSED(sync, SYNC, &sync);
	sync.received = 12345;
	REFUSED(sync, SYNC, &sync);
	REFUSED(taken, TAKEN, &taken);
	REFUSED(taken, TAKEN, &nobody);
	REFUSED(taken, TAKEN, &wrong);
	REFUSED(bytes, BYTES, &wrap);
	REFUSED(ack, ACK, &ack);
	TRY(bytes, BYTES, &gap);	/* asks, does not refuse */
	assert_int_equal(d->refused, refused);
	assert_int_equal(content(w.origin_w), 10);
	send_raw(d->sock, WIRE_HELLO, 0, "", 0);
	send_raw(d->sock, 999, 0, "", 0);
	send_raw(d->sock, WIRE_DEPUTY_HOLD, 0, "1", 1);
	send_raw(d->sock, WIRE_SIGNAL, 5, "", 0);	/* a gap */
	send_raw(d->sock, WIRE_SIGNAL, 0, "", 0);
	send_raw(d->sock, WIRE_SIGNAL, 1, "x", 1);	/* received, and refused */
	settle();
	assert_int_equal(d->refused, refused += 4);
	for (int i = 0; i < 20000; i++) {		/* noise, half of it with a good head */
		size_t len = rnd() % 200 + 1;

		for (size_t j = 0; j < len; j++)
			payload[j] = (uint8_t)(rnd() % 5 ? rnd() % 4 : rnd());
		if (i % 2) {
			static const uint8_t kinds[] = { 40, 41, 42, 43, 44, 45, 60, 64, 20 };

			send_raw(d->sock, kinds[rnd() % sizeof(kinds)], rnd() % 4, payload, len);
		} else {
			assert_int_equal(sock_send(d->sock, payload, len, NULL, 0, 0), 0);
		}
		while (readable(pump_fd(d->pump)))
			assert_true(pump_run(d->pump) >= 0);
		while (sock_recv(d->sock, buf, sizeof(buf), NULL, NULL, 0) > 0)
			;
		while (read(w.origin_r, buf, sizeof(buf)) > 0)
			;
	}
	assert_true(d->refused > 100);
	memset(buf, 'x', sizeof(buf));			/* too long a datagram */
	refused = d->refused;
	{
		static uint8_t large[WIRE_LOCAL_MAX + 1];

		assert_int_equal(sock_send(d->sock, large, sizeof(large), NULL, 0, 0), 0);
	}
	settle();
	assert_int_equal(d->refused, refused + 1);
	drop_fd(&d->sock);
	settle();
	assert_int_equal(d->detached, 1);
	assert_false(pump_attached(d->pump));
	assert_int_equal(pump_send_local(d->pump, WIRE_DEPUTY_UP, "", 0), -ENOTCONN);
	assert_int_equal(pump_state_set(d->pump, buf, 100), -EINVAL);
	end();
}

static void many_messages_without_a_session(void **state)
{
	(void)state;
	begin();
	for (int i = 0; i < CHANNEL_MOST + 10; i++)
		say(DEPUTY);
	assert_int_equal(w.side[DEPUTY].said, CHANNEL_MOST);
	assert_int_equal(pump_room(w.side[DEPUTY].pump), 0);
	assert_int_equal(pump_tell(w.side[DEPUTY].pump, WIRE_ACK, "", 0), -EINVAL);
	attach(DEPUTY);
	assert_int_equal(pump_send_local(w.side[DEPUTY].pump, WIRE_DEPUTY_HOLD, "", 0), 0);
	attach(KEEPER);
	settle();
	assert_int_equal(w.side[KEEPER].heard, CHANNEL_MOST);
	assert_int_equal(w.side[KEEPER].locals, 1);	/* our relay passes these on, too */
	assert_int_equal(pump_room(w.side[DEPUTY].pump), CHANNEL_MOST);
	end();
}

static int setup(void **state)
{
	sigset_t block;

	(void)state;
	sigemptyset(&block);
	sigaddset(&block, SIGPIPE);
	sigaddset(&block, SIGIO);
	return sigprocmask(SIG_BLOCK, &block, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(carries_everything),
		cmocka_unit_test(carries_everything_across_cuts),
		cmocka_unit_test(takes_only_what_was_read),
		cmocka_unit_test(broken_pipes),
		cmocka_unit_test(fifo_gets_a_new_writer),
		cmocka_unit_test(notices_a_gap),
		cmocka_unit_test(held),
		cmocka_unit_test(moves_on),
		cmocka_unit_test(hostile),
		cmocka_unit_test(many_messages_without_a_session),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}

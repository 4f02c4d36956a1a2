/* SPDX-License-Identifier: MIT */
/*
 * test_stream.c - The two halves of a stream, without messages between
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/twin/stream.h"

static struct stream_tools tools;
static char buf[2 * STREAM_WINDOW], text[2 * STREAM_WINDOW];

static int content(int fd)
{
	int n = -1;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

/* Whether the epoll set reports @tag now; edges are consumed */
static bool reported(uint64_t tag)
{
	struct epoll_event ev[8];
	int n = epoll_wait(tools.epoll, ev, 8, 0);
	bool found = false;

	for (int i = 0; i < n; i++)
		found |= ev[i].data.u64 == tag;
	return found;
}

static void source_consumes_what_is_taken(int null)
{
	struct stream_tools t = tools;
	struct stream *s;
	uint64_t at;
	int p[2];

	t.null = null;
	assert_int_equal(pipe(p), 0);
	s = stream_new(&t, 7, STREAM_IN, STREAM_SOURCE, p[0], 100, 5, NULL);
	assert_non_null(s);
	assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 0);
	reported(5);
	assert_int_equal(write(p[1], text, 1000), 1000);
	assert_true(reported(5));
	stream_event(s);
	assert_int_equal(stream_peek(s, buf, 600, &at), 600);
	assert_int_equal(at, 100);
	assert_int_equal(stream_peek(s, buf, 600, &at), 600);	/* nothing was said to be sent */
	stream_sent(s, 600);
	assert_int_equal(stream_peek(s, buf + 600, sizeof(buf), &at), 400);
	assert_int_equal(at, 700);
	assert_memory_equal(buf, text, 1000);
	stream_sent(s, 400);
	assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 0);
	assert_false(stream_ready(s));
	assert_int_equal(content(p[0]), 1000);

	assert_int_equal(write(p[1], text + 1000, 10), 10);	/* into a pipe that wasn't empty */
	assert_true(reported(5));

	assert_int_equal(stream_taken(s, 1111), -EBADMSG);
	assert_int_equal(stream_taken(s, UINT64_MAX), -EBADMSG);
	assert_int_equal(content(p[0]), 1010);
	assert_int_equal(stream_taken(s, 500), 0);
	assert_int_equal(content(p[0]), 610);
	assert_int_equal(stream_taken(s, 400), 0);
	assert_int_equal(stream_taken(s, 500), 0);
	assert_int_equal(content(p[0]), 610);

	assert_int_equal(stream_rewind(s, 499, 499), -EBADMSG);
	assert_int_equal(stream_rewind(s, 500, 501), -EBADMSG);
	assert_int_equal(stream_rewind(s, 1111, 500), -EBADMSG);
	assert_int_equal(stream_rewind(s, 700, 600), 0);
	assert_int_equal(content(p[0]), 510);
	assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 410);
	assert_int_equal(at, 700);
	assert_memory_equal(buf, text + 600, 410);
	assert_false(stream_drained(s));
	assert_int_equal(stream_taken(s, 1100), 0);	/* sent once, before the rewind */
	assert_int_equal(stream_taken(s, 1110), 0);	/* not by us, but it is there */
	assert_true(stream_drained(s));
	stream_gone(s);
	assert_int_equal(write(p[1], "x", 1), -1);
	assert_int_equal(errno, EPIPE);
	stream_free(s);
	close(p[1]);
}

static void source_keeps(void **state)
{
	(void)state;
	source_consumes_what_is_taken(tools.null);
	source_consumes_what_is_taken(-1);
}

static void source_sees_the_end(void **state)
{
	char path[] = "/tmp/test_stream_XXXXXX", fifo[64];
	struct stream *s;
	uint64_t at;
	int r, w;

	(void)state;
	assert_non_null(mkdtemp(path));
	snprintf(fifo, sizeof(fifo), "%s/fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	r = open(fifo, O_RDONLY | O_NONBLOCK);
	w = open(fifo, O_WRONLY);
	s = stream_new(&tools, 1, STREAM_IN, STREAM_SOURCE, r, 0, 5, NULL);
	assert_non_null(s);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(write(w, text, 10), 10);
		close(w);
		assert_true(reported(5));
		stream_event(s);
		assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 10);
		assert_false(stream_end_due(s, &at));
		stream_sent(s, 10);
		assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 0);
		assert_true(stream_end_due(s, &at));
		assert_int_equal(at, 10 * i);
		stream_end_told(s);
		stream_event(s);
		assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 0);
		assert_false(stream_end_due(s, &at));
		assert_int_equal(stream_state(s), STREAM_OPEN);	/* bytes are not taken */
		w = open(fifo, O_WRONLY);
		assert_true(w >= 0);
	}
	close(w);
	assert_int_equal(stream_rewind(s, 20, 20), 0);	/* the end is told again */
	assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 10);
	stream_sent(s, 10);
	assert_int_equal(stream_peek(s, buf, sizeof(buf), &at), 0);
	assert_true(stream_end_due(s, &at));
	assert_int_equal(at, 30);
	assert_int_equal(stream_taken(s, 30), 0);
	assert_int_equal(stream_state(s), STREAM_ENDED);
	stream_free(s);
	unlink(fifo);
	rmdir(path);
}

/* A sink at the origin; by @uid's rights, so that opening anew may be refused */
static void check_sink(int p[2])
{
	struct stream *s;
	uint64_t at;
	size_t size, all = 0;
	ssize_t n;
	int flags = fcntl(p[1], F_GETFL), shared = dup(p[1]);

	s = stream_new(&tools, 1, STREAM_OUT, STREAM_SINK, p[1], 50, 5, NULL);
	assert_non_null(s);
	size = (size_t)fcntl(shared, F_GETPIPE_SZ);
	assert_int_equal(stream_bytes(s, 60, text, 10), -EILSEQ);
	assert_int_equal(stream_bytes(s, UINT64_MAX - 2, text, 10), -EBADMSG);
	assert_int_equal(stream_bytes(s, 50, text, 100), 0);
	stream_work(s);
	assert_true(stream_taken_due(s, false, &at));
	assert_int_equal(at, 150);
	stream_taken_told(s, at);
	assert_false(stream_taken_due(s, false, &at));
	assert_int_equal(stream_bytes(s, 100, text + 50, 50), 0);	/* had it */
	assert_true(stream_taken_due(s, false, &at));
	assert_int_equal(stream_bytes(s, 100, text + 50, size + 100000), 0);	/* half of it */
	stream_work(s);
	assert_int_equal(stream_next(s), 150 + size + 100000 - 50);
	assert_false(stream_drained(s));
	assert_int_equal(stream_bytes(s, stream_next(s), text, STREAM_WINDOW), -EBADMSG);
	reported(5);
	while (!stream_drained(s)) {
		n = read(p[0], buf + all, 10000);
		assert_true(n > 0);
		all += (size_t)n;
		assert_true(reported(5) || !stream_drained(s));
		stream_event(s);
		stream_work(s);
	}
	assert_int_equal(fcntl(shared, F_GETFL), flags);	/* what the shell sees */
	assert_int_equal(stream_end(s, stream_next(s) + STREAM_WINDOW + 1), -EBADMSG);
	assert_int_equal(stream_end(s, stream_next(s)), 0);
	close(shared);
	stream_work(s);
	assert_int_equal(stream_state(s), STREAM_ENDED);
	while ((n = read(p[0], buf + all, 65536)) > 0)
		all += (size_t)n;
	assert_int_equal(n, 0);
	assert_int_equal(all, 50 + size + 100000);
	assert_memory_equal(buf, text, all);
	stream_free(s);
	close(p[0]);
}

static void sink_writes(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	check_sink(p);
}

/* Another user's pipe can't be opened anew: then by splice, still without touching the flags */
static void sink_writes_by_splice(void **state)
{
	int p[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		char path[32];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", p[1]);
		if (fchmod(p[1], 0) || (!getuid() && setresuid(65534, 65534, 65534)))
			_exit(3);
		if (open(path, O_WRONLY | O_NONBLOCK) >= 0)
			_exit(4);
		check_sink(p);
		_exit(0);
	}
	close(p[0]);
	close(p[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void sink_sees_the_readers_leave(void **state)
{
	struct stream *s;
	int p[2], other;

	(void)state;
	assert_int_equal(pipe(p), 0);
	s = stream_new(&tools, 1, STREAM_OUT, STREAM_SINK, p[1], 0, 5, NULL);
	assert_non_null(s);
	other = dup(p[1]);
	assert_int_equal(stream_also(s, other), 0);
	reported(5);
	close(p[0]);
	assert_true(reported(5));
	stream_event(s);
	assert_true(stream_work(s));
	assert_true(stream_gone_due(s));
	stream_gone_told(s);
	assert_false(stream_work(s));
	assert_int_equal(fcntl(other, F_GETFD), -1);
	assert_int_equal(fcntl(p[1], F_GETFD), -1);
	assert_int_equal(stream_bytes(s, 0, text, 10), 0);
	assert_true(stream_drained(s));
	stream_free(s);
}

static bool sigio_came(void)
{
	const struct timespec now = { 0, 0 };
	sigset_t one;

	sigemptyset(&one);
	sigaddset(&one, SIGIO);
	return sigtimedwait(&one, NULL, &now) == SIGIO;
}

/* The experiment that the design stands on: each read of the twin pipe is told by SIGIO */
static void taken_when_read(void **state)
{
	struct stream *s;
	uint64_t at;
	int p[2];

	(void)state;
	assert_int_equal(pipe(p), 0);
	s = stream_new(&tools, 1, STREAM_IN, STREAM_SINK, p[1], 0, 5, NULL);
	assert_non_null(s);
	assert_int_equal(stream_bytes(s, 0, text, 10000), 0);
	assert_false(stream_work(s));
	assert_true(stream_drained(s));
	assert_false(sigio_came());
	assert_int_equal(read(p[0], buf, 5), 5);
	assert_true(sigio_came());
	stream_event(s);
	assert_false(stream_work(s));		/* too little to tell */
	assert_true(stream_taken_due(s, true, &at));
	assert_int_equal(at, 5);
	assert_int_equal(stream_offset(s), 5);
	assert_int_equal(read(p[0], buf, 5000), 5000);
	assert_true(sigio_came());
	assert_int_equal(stream_end(s, 10000), 0);
	assert_true(stream_work(s));
	assert_true(stream_taken_due(s, false, &at));
	assert_int_equal(at, 5005);
	stream_taken_told(s, at);
	assert_int_equal(stream_state(s), STREAM_OPEN);
	assert_int_equal(read(p[0], buf, sizeof(buf)), 4995);
	assert_true(sigio_came());
	stream_event(s);
	assert_true(stream_work(s));
	assert_true(stream_taken_due(s, false, &at));
	assert_int_equal(at, 10000);
	assert_int_equal(stream_state(s), STREAM_ENDED);
	assert_int_equal(read(p[0], buf, 1), 0);

	assert_int_equal(stream_bytes(s, 10000, text, 3), 0);	/* a FIFO's next writer */
	stream_work(s);
	assert_int_equal(read(p[0], buf, 10), 3);
	assert_true(sigio_came());
	assert_int_equal(stream_offset(s), 10003);
	assert_int_equal(stream_end(s, 10003), 0);
	stream_work(s);
	assert_int_equal(read(p[0], buf, 10), 0);
	close(p[0]);
	(void)sigio_came();
	assert_int_equal(stream_bytes(s, 10003, text, 3),
			 0); /* one more, but our reader has left */
	stream_work(s);
	assert_true(stream_gone_due(s));
	stream_free(s);
}

static void wrong_ends(void **state)
{
	int p[2], null = open("/dev/null", O_RDWR);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(pipe(p), 0);
	assert_null(stream_new(&tools, 1, STREAM_IN, STREAM_SOURCE, p[1], 0, 5, &e));
	assert_int_equal(e.code, -EINVAL);
	assert_null(stream_new(&tools, 1, STREAM_IN, STREAM_SINK, p[0], 0, 5, &e));
	assert_null(stream_new(&tools, 1, STREAM_IN, STREAM_SOURCE, null, 0, 5, &e));
	assert_null(stream_new(&tools, 1, STREAM_IN, STREAM_SOURCE, -1, 0, 5, &e));
	assert_int_equal(e.code, -EBADF);
	close(p[0]);
	close(p[1]);
	close(null);
}

static int setup(void **state)
{
	sigset_t block;

	(void)state;
	sigemptyset(&block);
	sigaddset(&block, SIGPIPE);
	sigaddset(&block, SIGIO);
	sigprocmask(SIG_BLOCK, &block, NULL);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 + i / 251);
	return stream_tools_open(&tools, NULL);
}

static int teardown(void **state)
{
	(void)state;
	stream_tools_close(&tools);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_keeps),
		cmocka_unit_test(source_sees_the_end),
		cmocka_unit_test(sink_writes),
		cmocka_unit_test(sink_writes_by_splice),
		cmocka_unit_test(sink_sees_the_readers_leave),
		cmocka_unit_test(taken_when_read),
		cmocka_unit_test(wrong_ends),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

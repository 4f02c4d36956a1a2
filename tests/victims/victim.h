/* SPDX-License-Identifier: MIT */
/*
 * victim.h - What every program has that is moved and judges itself
 *
 *	set up ──▶ "ready" ──▶ go on, checking ──▶ told to stop ──▶ "ok" and 0, or "FAIL why" and 1
 *
 * Told to stop means: a line on standard input (not its end), SIGTERM, or VICTIM_SECONDS (60)
 * have passed.  A check that fails ends the program at once.  Nothing here allocates, and all
 * output is one write() a line, so that no buffer is moved half full.
 */
#ifndef TESTS_VICTIM_H
#define TESTS_VICTIM_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/clock.h"

static volatile sig_atomic_t victim_told;	/* by SIGTERM */
static int64_t victim_deadline;
static bool victim_deaf;			/* standard input has ended */
static char victim_line[256];			/* the line that said stop */

__attribute__((format(printf, 1, 2))) UNUSED
static void say(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text) - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || n > (int)sizeof(text) - 2)
		n = (int)sizeof(text) - 2;
	text[n] = '\n';
	if (write(STDOUT_FILENO, text, (size_t)n + 1) < 0)
		_exit(1);	/* nobody can hear the verdict */
}

/** victim_fail() - The verdict "FAIL".  @cond and @err: what was checked, or NULL */
__attribute__((format(printf, 5, 6))) NORETURN UNUSED
static void victim_fail(const char *file, int line, const char *cond, int err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (cond)
		say("FAIL %s (%s:%d: %.200s; errno %d)", text, file, line, cond, err);
	else
		say("FAIL %s (%s:%d)", text, file, line);
	_exit(1);
}

#define FAIL(...) victim_fail(__FILE__, __LINE__, NULL, 0, __VA_ARGS__)

/* The condition, then what to say about it */
#define CHECK(cond, ...)                                                                   \
	do {                                                                               \
		if (!(cond))                                                               \
			victim_fail(__FILE__, __LINE__, #cond, errno, __VA_ARGS__);        \
	} while (0)

static void victim_on_term(int sig)
{
	(void)sig;
	victim_told = 1;
}

/** victim_ready() - All is set up: from here on this program may be moved */
UNUSED static void victim_ready(void)
{
	struct sigaction sa = { .sa_handler = victim_on_term, .sa_flags = SA_RESTART };
	const char *seconds = getenv("VICTIM_SECONDS");

	sigaction(SIGTERM, &sa, NULL);
	victim_deadline = deadline_in_ms((seconds ? atoll(seconds) : 60) * 1000);
	say("ready");
}

/** victim_goes_on() - Wait up to @ms milliseconds.  Return: false once it was told to stop */
UNUSED static bool victim_goes_on(int ms)
{
	struct pollfd in = { .fd = victim_deaf ? -1 : STDIN_FILENO, .events = POLLIN };
	ssize_t n;

	if (victim_told || clock_ns(CLOCK_MONOTONIC) >= victim_deadline)
		return false;
	if (poll(&in, 1, ms) <= 0 || !in.revents)
		return !victim_told;
	n = read(STDIN_FILENO, victim_line, sizeof(victim_line) - 1);
	if (n <= 0) {
		victim_deaf = n == 0 || errno != EINTR;
		return !victim_told;
	}
	victim_line[n] = '\0';
	return false;
}

UNUSED static int victim_ok(void)
{
	say("ok");
	return 0;
}

/** mix() - A number that looks random and depends on @x alone: the content of test memory */
UNUSED static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9;
	return x ^ (x >> 32);
}

UNUSED static void fill(void *p, size_t len, uint64_t seed)
{
	uint64_t *to = p;

	for (size_t i = 0; i < len / 8; i++)
		to[i] = mix(seed + i);
}

/** is_filled() - Is this still what fill() put there? */
UNUSED static bool is_filled(const void *p, size_t len, uint64_t seed)
{
	const uint64_t *from = p;

	for (size_t i = 0; i < len / 8; i++)
		if (from[i] != mix(seed + i))
			return false;
	return true;
}

UNUSED static pid_t tid_now(void)
{
	return (pid_t)syscall(SYS_gettid);
}

#endif

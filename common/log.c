/* SPDX-License-Identifier: MIT */
/*
 * log.c - The daemon's log: one line an event, to standard error
 */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct log_state {
	char name[48];
	enum log_level most;
} state = { "mproxy", LOG_LEVEL_INFO };

void log_set_name(const char *name)
{
	snprintf(state.name, sizeof(state.name), "%s", name);
}

void log_set_level(enum log_level most)
{
	state.most = most;
}

/* Copies @from to @to with everything that isn't printable ASCII or UTF-8 escaped as \xNN */
static void escape(char *to, size_t size, const char *from)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = 0;

	for (; *from && n + 5 < size; from++) {
		unsigned char c = (unsigned char)*from;

		if (c >= 0x20 && c != 0x7f) {
			to[n++] = (char)c;
			continue;
		}
		to[n++] = '\\';
		to[n++] = 'x';
		to[n++] = hex[c >> 4];
		to[n++] = hex[c & 15];
	}
	to[n] = 0;
}

void log_line(enum log_level level, const char *code, const char *fmt, ...)
{
	char text[1024], safe[2048], line[2304];
	va_list ap;
	int n;

	if (level > state.most)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	escape(safe, sizeof(safe), text);
	n = snprintf(line, sizeof(line), "<%d>%s[%d]: %s%s%s\n", (int)level, state.name, (int)getpid(),
		     code ? code : "", code ? ": " : "", safe);
	if (n > 0 && write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1)) < 0)
		return;		/* nowhere left to say it */
}

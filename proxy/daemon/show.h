/* SPDX-License-Identifier: MIT */
/*
 * show.h - What mmigrate prints: progress, answers, lists
 *
 * Everything that came from elsewhere is made harmless for a terminal on the way.
 */
#ifndef PROXY_DAEMON_SHOW_H
#define PROXY_DAEMON_SHOW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proxy/json/json.h"

enum show_style { SHOW_LINES, SHOW_BAR, SHOW_JSON, SHOW_QUIET };

/* The progress of one request */
struct show {
	enum show_style style;
	FILE *out, *err;	/* results; progress and complaints */
	char stage[80];		/* the last one that was shown */
	bool bar;		/* there is a bar on the terminal's line */
};

void show_progress(struct show *s, const json *progress);
/* Before anything else is printed: the bar goes */
void show_progress_end(struct show *s);

/* An answer's text, reasons and figures, as @code wants it: to @out or to @err */
void show_answer(struct show *s, int64_t code, const json *answer);
void show_json(struct show *s, const char *kind, int64_t code, const json *j);
void show_programs(struct show *s, const json *answer);
void show_peers(struct show *s, const json *answer);
void show_why(struct show *s, int64_t code, const json *answer);
void show_policy(struct show *s, const json *answer);

/* Bytes of the printable character (UTF-8) at @p, which has a NUL at its end; 0: there is none */
size_t show_printable(const unsigned char *p);
/* @from, with what isn't printable escaped.  Return: @to */
const char *show_harmless(char *to, size_t size, const char *from);

/* Does it hold a reason that is more than a warning? */
bool show_is_refused(const json *answer);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * show.c - What mmigrate prints: progress, answers, lists
 *
 * Nothing here trusts a document's shape: what isn't there, or isn't what it should be, is left
 * out.  So an older mmigrate can show what a newer mproxy says.
 */
#include "proxy/daemon/show.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "common/attr.h"
#include "common/scope.h"

#define BAR_CELLS 30
#define CELL 256		/* bytes of a table's cell */
#define LONGEST 4096

/* ---- harmless text ---------------------------------------------------------------- */

/*
 * Bytes of the printable character at @p, 0: there is none.  A byte from 0x80 on that is no part of
 * UTF-8, and U+0080 to U+009F, can command a terminal as ESC does
 */
size_t show_printable(const unsigned char *p)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 :
		     p[0] < 0xf5 ? 4 : 0;

	if (len == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	if (p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

/* Copies @from with what isn't printable escaped.  Return: @to */
const char *show_harmless(char *to, size_t size, const char *from)
{
	size_t n = 0;

	while (from && *from && n + 5 < size) {
		size_t len = show_printable((const unsigned char *)from);

		if (len) {
			memcpy(to + n, from, len);
			n += len;
			from += len;
		} else {
			n += (size_t)snprintf(to + n, size - n, "\\x%02x", (unsigned char)*from++);
		}
	}
	to[n] = 0;
	return to;
}

/* A member as text, harmless; "" when it isn't there */
static const char *member(char *to, size_t size, const json *j, const char *key)
{
	const json *v = json_find(j, key);
	int64_t number;

	if (json_as_str(v))
		return show_harmless(to, size, json_as_str(v));
	to[0] = 0;
	if (!json_as_int(v, &number))
		snprintf(to, size, "%" PRId64, number);
	return to;
}

/* ---- progress --------------------------------------------------------------------- */

/* How much is done, in percent; -1: nobody knows */
static int percent(const json *progress)
{
	int64_t done, of;

	if (json_as_int(json_find(progress, "done"), &done) ||
	    json_as_int(json_find(progress, "of"), &of) || done < 0 || of <= 0)
		return -1;
	return (int)(100.0 * (double)MIN(done, of) / (double)of);
}

static void draw_bar(struct show *s, const char *stage, int done)
{
	static const char cells[] = "##############################";
	int n = done * BAR_CELLS / 100;

	if (done < 0)
		fprintf(s->err, "\r\033[K%s", stage);
	else
		fprintf(s->err, "\r\033[K[%-*.*s] %3d%%  %.60s", BAR_CELLS, n, cells, done, stage);
	fflush(s->err);
	s->bar = true;
}

void show_progress(struct show *s, const json *progress)
{
	char stage[sizeof(s->stage)];

	member(stage, sizeof(stage), progress, "stage");
	switch (s->style) {
	case SHOW_BAR:
		draw_bar(s, stage, percent(progress));
		break;
	case SHOW_LINES:
		if (stage[0] && strcmp(stage, s->stage))
			fprintf(s->err, "%s\n", stage);
		break;
	case SHOW_JSON:
		show_json(s, "progress", 0, progress);
		break;
	case SHOW_QUIET:
		break;
	}
	strcpy(s->stage, stage);
}

void show_progress_end(struct show *s)
{
	if (s->bar)
		fputs("\r\033[K", s->err);
	s->bar = false;
	fflush(s->err);
}

/* One line: {"kind":"answer","code":0,…what came…} */
void show_json(struct show *s, const char *kind, int64_t code, const json *j)
{
	AUTO_FREE char *text = json_text(j, false);
	bool empty = !text || !strcmp(text, "{}");

	fprintf(s->out, "{\"kind\":\"%s\",", kind);
	if (!strcmp(kind, "answer"))
		fprintf(s->out, "\"code\":%" PRId64 "%s", code, empty ? "" : ",");
	fprintf(s->out, "%s\n", text ? text + 1 : "}");
	fflush(s->out);
}

/* ---- answers ------------------------------------------------------------------------ */

static bool is_warning(const json *reason)
{
	return json_is_true(json_find(reason, "warning"));
}

bool show_is_refused(const json *answer)
{
	for (const json *i = json_first(json_find(answer, "reasons")); i; i = json_next(i))
		if (!is_warning(i))
			return true;
	return false;
}

/* `E_CODE: sentence (rule 3: …)`, and below it what to do */
static void show_reason(FILE *to, const json *reason)
{
	char code[CELL], text[LONGEST], advice[LONGEST], rule[LONGEST], host[CELL];

	member(code, sizeof(code), reason, "code");
	member(text, sizeof(text), reason, "text");
	member(advice, sizeof(advice), reason, "advice");
	member(rule, sizeof(rule), reason, "rule");
	member(host, sizeof(host), reason, "host");
	fprintf(to, "  %s%s: %s", is_warning(reason) ? "W " : "", code, text);
	if (rule[0])
		fprintf(to, " (%s)", rule);
	if (host[0])
		fprintf(to, " [%s]", host);
	fputc('\n', to);
	if (advice[0])
		fprintf(to, "      %s\n", advice);
}

static void show_reasons(FILE *to, const json *answer)
{
	for (const json *i = json_first(json_find(answer, "reasons")); i; i = json_next(i))
		show_reason(to, i);
}

/* `it stood still for 3.2 ms; 1234 pages were sent` */
static void show_figures(FILE *to, const json *answer)
{
	char pages[CELL], mode[CELL];
	int64_t pause_us;

	member(pages, sizeof(pages), answer, "pages");
	member(mode, sizeof(mode), answer, "mode");
	if (!json_as_int(json_find(answer, "pause_us"), &pause_us))
		fprintf(to, "  it stood still for %.1f ms\n", (double)pause_us / 1000);
	if (pages[0])
		fprintf(to, "  %s pages were sent\n", pages);
	member(pages, sizeof(pages), answer, "saved_pages");
	if (pages[0])
		fprintf(to, "  %s pages are in the file\n", pages);
	if (mode[0])
		fprintf(to, "  mode: %s\n", mode);
}

void show_answer(struct show *s, int64_t code, const json *answer)
{
	FILE *to = code ? s->err : s->out;
	char text[LONGEST], warning[LONGEST];

	if (!code && s->style == SHOW_QUIET)
		return;
	member(text, sizeof(text), answer, "text");
	fprintf(to, "%s%s\n", code ? "mmigrate: " : "", text);
	if (!code)
		show_figures(to, answer);
	show_reasons(to, answer);
	member(warning, sizeof(warning), answer, "warning");
	if (warning[0])
		fprintf(s->err, "mmigrate: %s\n", warning);
}

void show_why(struct show *s, int64_t code, const json *answer)
{
	char text[LONGEST], mode[CELL];

	if (s->style == SHOW_QUIET && !code)
		return;
	member(text, sizeof(text), answer, "text");
	if (code && !json_count(json_find(answer, "reasons")))
		fprintf(s->err, "mmigrate: %s\n", text);
	else
		fprintf(s->out, "%s\n", text[0] ? text : "nothing stands in the way");
	show_reasons(s->out, answer);
	member(mode, sizeof(mode), answer, "mode");
	if (mode[0])
		fprintf(s->out, "  mode: %s\n", mode);
}

void show_policy(struct show *s, const json *answer)
{
	char text[LONGEST], note[LONGEST];

	member(text, sizeof(text), answer, "text");
	member(note, sizeof(note), answer, "note");
	fprintf(s->out, "%s\n", text);
	if (note[0])
		fprintf(s->out, "  %s\n", note);
}

/* ---- lists ------------------------------------------------------------------------- */

struct column {
	const char *title;
	const char *(*cell)(char *to, size_t size, const json *j);
};

static const char *cell_pid(char *to, size_t size, const json *j)
{
	member(to, size, j, json_is_true(json_find(j, "guest")) ? "host_pid" : "pid");
	return strcmp(to, "0") ? to : "-";	/* it isn't known yet */
}

static const char *cell_user(char *to, size_t size, const json *j)
{
	const struct passwd *pw = NULL;
	int64_t uid;

	if (!json_as_int(json_find(j, "uid"), &uid))
		pw = getpwuid((uid_t)uid);
	return pw ? show_harmless(to, size, pw->pw_name) : member(to, size, j, "uid");
}

static const char *cell_where(char *to, size_t size, const json *j)
{
	char peer[CELL], pid[CELL];

	member(peer, sizeof(peer), j, "peer");
	member(pid, sizeof(pid), j, "pid");
	if (json_is_true(json_find(j, "guest")))
		snprintf(to, size, "here, from %.100s (process %.20s)", peer, pid);
	else if (!strcmp(peer, "-"))
		snprintf(to, size, "here, behind its deputy");
	else
		snprintf(to, size, "on %.200s", peer);
	return to;
}

#define CELL_OF(key)                                                                       \
	static const char *cell_##key(char *to, size_t size, const json *j)                \
	{                                                                                  \
		return member(to, size, j, #key);                                          \
	}
CELL_OF(state)
CELL_OF(comm)
CELL_OF(name)
CELL_OF(address)
CELL_OF(identity)

static const struct column program_columns[] = {
	{ "PID", cell_pid },	 { "USER", cell_user },	   { "STATE", cell_state },
	{ "RUNS", cell_where },	 { "COMMAND", cell_comm },
};
static const struct column peer_columns[] = {
	{ "NAME", cell_name }, { "ADDRESS", cell_address }, { "IDENTITY", cell_identity },
};

/* A table whose columns are as wide as what is in them */
static void show_table(FILE *to, const struct column *columns, size_t n, const json *list)
{
	char text[CELL];

	for (const json *row = NULL;;) {
		for (size_t i = 0; i < n; i++) {
			size_t width = strlen(columns[i].title);

			for (const json *j = json_first(list); j; j = json_next(j))
				width = MAX(width, strlen(columns[i].cell(text, CELL, j)));
			if (i + 1 == n)
				width = 0;	/* nothing stands behind the last one */
			fprintf(to, "%-*s%s", (int)width,
				row ? columns[i].cell(text, CELL, row) : columns[i].title,
				width ? "  " : "\n");
		}
		row = row ? json_next(row) : json_first(list);
		if (!row)
			return;
	}
}

static void show_list(struct show *s, const json *answer, const char *key,
		      const struct column *columns, size_t n)
{
	const json *list = json_find(answer, key);

	if (json_count(list))
		show_table(s->out, columns, n, list);
	else if (s->style != SHOW_QUIET)
		show_answer(s, 0, answer);
}

void show_programs(struct show *s, const json *answer)
{
	show_list(s, answer, "programs", program_columns, ARRAY_SIZE(program_columns));
}

void show_peers(struct show *s, const json *answer)
{
	show_list(s, answer, "peers", peer_columns, ARRAY_SIZE(peer_columns));
}

/* SPDX-License-Identifier: MIT */
/*
 * mmigrate.c - Commands mproxy: move, why, home, ps, and whom to trust
 *
 * One row of a table is one sub-command: what is written behind it, what it is for, how its request
 * is made and its answer shown.  Its operands become the request's members, in order.
 *
 * Exit status: 0 done, or nothing stands in the way; 1 refused or failed, and the program still
 * runs where it was; 2 the command line is wrong; 3 no mproxy is reachable.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/daemon/client.h"
#include "proxy/daemon/options.h"
#include "proxy/daemon/show.h"

enum { EXIT_FINE, EXIT_REFUSED, EXIT_USAGE, EXIT_NOBODY };

#define MOST_OPERANDS 3

struct arguments {
	const char *control;
	bool json, quiet;
};

#define FIELD_OF(f) offsetof(struct arguments, f)

static const struct option_row rows[] = {
	{ "control", 'c', "PATH", "Where mproxy listens for mmigrate.", FIELD_OF(control),
	  option_text },
	{ "json", 'j', NULL, "Print progress and answer as lines of JSON.", FIELD_OF(json),
	  option_flag },
	{ "quiet", 'q', NULL, "Print nothing but what went wrong.", FIELD_OF(quiet), option_flag },
};

/* ---- the sub-commands ------------------------------------------------------------- */

static void show_plain(struct show *s, int64_t code, const json *answer)
{
	show_answer(s, code, answer);
}

#define SHOW_ON_SUCCESS(name, fn)                                                          \
	static void name(struct show *s, int64_t code, const json *answer)                 \
	{                                                                                  \
		if (code)                                                                  \
			show_answer(s, code, answer);                                      \
		else                                                                       \
			fn(s, answer);                                                     \
	}
SHOW_ON_SUCCESS(show_ps, show_programs)
SHOW_ON_SUCCESS(show_hosts, show_peers)
SHOW_ON_SUCCESS(show_rule, show_policy)

static const struct command {
	const char *name;	/* NULL: the command without a name, PID HOST */
	const char *request;
	const char *operands;	/* for people */
	const char *members[MOST_OPERANDS];	/* of the request, in the operands' order */
	int least, most;	/* operands */
	const char *help;
	void (*show)(struct show *s, int64_t code, const json *answer);
} commands[] = {
	{ NULL, "move", "PID HOST", { "pid", "host" }, 2, 2,
	  "Move a running program to another host, or on from there.", show_plain },
	{ "why", "why", "PID [HOST]", { "pid", "host" }, 1, 2,
	  "Say what would stand in the way; stops nothing.", show_why },
	{ "home", "home", "PID", { "pid" }, 1, 1,
	  "Bring a program back to where it was started.", show_plain },
	{ "ps", "ps", "", { NULL }, 0, 0, "List the programs that have moved.", show_ps },
	{ "trust", "trust", "NAME TOKEN", { "name", "token" }, 2, 2,
	  "Trust the host that 'mproxy --invite' was run on, and it this one.", show_plain },
	{ "trust", "trust", "NAME ADDR:PORT IDENTITY", { "name", "address", "identity" }, 3, 3,
	  "Trust the host that has this 'mproxy --identity'.", show_plain },
	{ "untrust", "untrust", "NAME", { "name" }, 1, 1, "Trust a host no longer.", show_plain },
	{ "peers", "peers", "", { NULL }, 0, 0, "List the hosts that are trusted.", show_hosts },
	{ "policy", "policy", "PATH", { "path" }, 1, 1,
	  "Say which rule of the policy decides about a file.", show_rule },
};

#define MORE                                                                               \
	"HOST is a name that 'trust' was given.  The exit status is 0 when it is done, or\n" \
	"nothing stands in the way; 1 when it was refused or failed, and the program still\n" \
	"runs where it was; 2 when the command line is wrong; 3 when no mproxy is reachable."

/* The usage lines come from the commands */
struct usage {
	struct option_command commands[ARRAY_SIZE(commands)];
	char text[ARRAY_SIZE(commands)][80];
	const char *lines[ARRAY_SIZE(commands) + 1];
};

static struct options make_options(struct usage *u)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		snprintf(u->text[i], sizeof(u->text[i]), "[OPTION]... %s%s%s",
			 c->name ? c->name : "", c->name && c->operands[0] ? " " : "",
			 c->operands);
		u->lines[i] = u->text[i];
		u->commands[i] = (struct option_command){ c->name, c->operands, c->help };
	}
	u->lines[ARRAY_SIZE(commands)] = NULL;
	return (struct options){ .program = "mmigrate", .usage = u->lines, .more = MORE,
				 .rows = rows, .n = ARRAY_SIZE(rows),
				 .commands = u->commands, .n_commands = ARRAY_SIZE(commands) };
}

static bool is_number(const char *word)
{
	return *word && strspn(word, "0123456789") == strlen(word) && strlen(word) < 10;
}

/* Which command @words, @n of them, are.  NULL and a sentence: none */
static const struct command *find_command(char **words, int n, struct err *e)
{
	const struct command *near = NULL;

	for (size_t i = 0; n && i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (c->name ? strcmp(c->name, words[0]) : !is_number(words[0]))
			continue;
		near = c;
		if (n - !!c->name >= c->least && n - !!c->name <= c->most)
			return c;
	}
	if (near)
		err_say(e, -EINVAL, "wanted: mmigrate %s%s%s", near->name ? near->name : "",
			near->name ? " " : "", near->operands);
	else if (n)
		err_say(e, -EINVAL, "%s is neither a process nor a command; 'mmigrate --help' "
			"lists all", words[0]);
	else
		err_say(e, -EINVAL, "which program, and where to?  'mmigrate --help' tells more");
	return NULL;
}

/* The request, from its operands.  Return: malloc()ed text, or NULL and a sentence */
static char *make_request(const struct command *c, char **operands, int n, struct err *e)
{
	AUTO_JSON json *j = json_object();
	char *text;

	json_put_str(j, "do", c->request);
	for (int i = 0; i < n; i++) {
		if (strcmp(c->members[i], "pid")) {
			json_put_str(j, c->members[i], operands[i]);
		} else if (is_number(operands[i]) && strtol(operands[i], NULL, 10) > 0) {
			json_put_int(j, "pid", strtol(operands[i], NULL, 10));
		} else {
			err_say(e, -EINVAL, "%s is not a process's number", operands[i]);
			return NULL;
		}
	}
	text = json_text(j, false);
	if (!text)
		err_set(e, -ENOMEM, "make the request");
	return text;
}

/* ---- asking ------------------------------------------------------------------------ */

/* Hears until the answer.  Return: exit status */
static int hear(int fd, const struct command *c, struct show *s, struct err *e)
{
	struct client_said said = { 0 };
	int status, r;

	for (;;) {
		r = client_hear(fd, &said, e);
		if (r || said.answer)
			break;
		show_progress(s, said.json);
		json_free(said.json);
	}
	show_progress_end(s);
	if (r)
		return EXIT_REFUSED;
	if (s->style == SHOW_JSON)
		show_json(s, "answer", said.code, said.json);
	else
		c->show(s, said.code, said.json);
	status = said.code ? EXIT_REFUSED : EXIT_FINE;
	if (!strcmp(c->request, "why") && show_is_refused(said.json))
		status = EXIT_REFUSED;
	json_free(said.json);
	return status;
}

static int ask(const struct arguments *a, const struct command *c, const char *request,
	       struct err *e)
{
	struct show s = {
		.style = a->json		? SHOW_JSON
			 : a->quiet		? SHOW_QUIET
			 : isatty(STDERR_FILENO) ? SHOW_BAR
						: SHOW_LINES,
		.out = stdout, .err = stderr,
	};
	AUTO_FD int fd = client_connect(a->control, e);

	if (fd < 0)
		return EXIT_NOBODY;
	return client_ask(fd, request, e) ? EXIT_REFUSED : hear(fd, c, &s, e);
}

/* Return: exit status; whatever is in @e is still to be said */
static int run(const struct arguments *a, char **words, int n, struct err *e)
{
	const struct command *c = find_command(words, n, e);
	AUTO_FREE char *request = NULL;
	int skip;

	if (!c)
		return EXIT_USAGE;
	skip = c->name ? 1 : 0;
	request = make_request(c, words + skip, n - skip, e);
	return request ? ask(a, c, request, e) : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct usage usage;
	struct options options = make_options(&usage);
	struct arguments a = { 0 };
	struct options_found found;
	struct err e = { 0 };
	int status = EXIT_FINE;

	if (options_parse(&options, argc, argv, &a, &found, &e))
		status = EXIT_USAGE;
	else if (found.help)
		found.help(&options, stdout);
	else if (found.version)
		options_version(&options, stdout);
	else
		status = run(&a, argv + 1, found.operands, &e);
	if (e.code)
		fprintf(stderr, "mmigrate: %s\n", e.text);
	return fflush(stdout) && !status ? EXIT_REFUSED : status;
}

/* SPDX-License-Identifier: MIT */
/*
 * mmigrate.c - Commands mproxy: move, why, home, ps, save and restore, and whom to trust
 *
 * One row of a table is one sub-command: what is written behind it, what it is for, how its request
 * is made and its answer shown.  Its operands become the request's members, in order.
 *
 * Exit status: 0 done, or nothing stands in the way; 1 refused or failed, and the program still
 * runs where it was; 2 the command line is wrong; 3 no mproxy is reachable.  Once it has become the
 * deputy of a restored program, that program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/scope.h"
#include "common/wire.h"
#include "proxy/daemon/attend.h"
#include "proxy/daemon/client.h"
#include "proxy/daemon/inspect.h"
#include "proxy/daemon/options.h"
#include "proxy/daemon/save_file.h"
#include "proxy/daemon/show.h"
#include "proxy/image/saved.h"

enum { EXIT_FINE, EXIT_REFUSED, EXIT_USAGE, EXIT_NOBODY };

#define MOST_OPERANDS 3

struct arguments {
	const char *control;
	bool json, quiet, stop, tree;
};

#define FIELD_OF(f) offsetof(struct arguments, f)

static const struct option_row rows[] = {
	{ "control", 'c', "PATH", "Where mproxy listens for mmigrate.", FIELD_OF(control),
	  option_text },
	{ "json", 'j', NULL, "Print progress and answer as lines of JSON.", FIELD_OF(json),
	  option_flag },
	{ "quiet", 'q', NULL, "Print nothing but what went wrong.", FIELD_OF(quiet), option_flag },
	{ "tree", 't', NULL, "Moving, or asking why not: with all of its descendants.", FIELD_OF(tree), option_flag },
	{ "stop", 0, NULL, "With save: kill the program once the file is safe, so that a\n"
	  "restored one is the only one.", FIELD_OF(stop), option_flag },
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

struct command;
typedef int run_fn(const struct arguments *a, const struct command *c, char **operands, int n, struct err *e);
static run_fn run_save, run_restore, run_inspect;

static const struct command {
	const char *name;	/* NULL: the command without a name, PID HOST */
	const char *request;
	const char *operands;	/* for people */
	const char *members[MOST_OPERANDS];	/* of the request, in the operands' order */
	int least, most;	/* operands */
	const char *help;
	void (*show)(struct show *s, int64_t code, const json *answer);
	run_fn *run;		/* NULL: the request is made of the operands, and asked */
} commands[] = {
	{ NULL, "move", "PID HOST", { "pid", "host" }, 2, 2,
	  "Move a running program to another host, or on from there.", show_plain, NULL },
	{ "why", "why", "PID [HOST]", { "pid", "host" }, 1, 2,
	  "Say what would stand in the way; stops nothing.", show_why, NULL },
	{ "home", "home", "PID", { "pid" }, 1, 1,
	  "Bring a program back to where it was started.", show_plain, NULL },
	{ "ps", "ps", "", { NULL }, 0, 0, "List the programs that have moved.", show_ps, NULL },
	{ "save", "save", "PID FILE", { "pid", "file" }, 2, 2,
	  "Write a running program to a file; it goes on, or is killed (--stop).", show_plain, run_save },
	{ "inspect", "inspect", "FILE", { "file" }, 1, 1, "Say what is in such a file.", show_plain, run_inspect },
	{ "restore", "restore", "FILE [HOST]", { "file", "host" }, 1, 2,
	  "Let a program in a file go on, here or on HOST, with these standard\n"
	  "         streams; a second one, if the first wasn't stopped.", show_plain, run_restore },
	{ "trust", "trust", "NAME TOKEN", { "name", "token" }, 2, 2,
	  "Trust the host that 'mproxy --invite' was run on, and it this one.", show_plain, NULL },
	{ "trust", "trust", "NAME ADDR:PORT IDENTITY", { "name", "address", "identity" }, 3, 3,
	  "Trust the host that has this 'mproxy --identity'.", show_plain, NULL },
	{ "untrust", "untrust", "NAME", { "name" }, 1, 1, "Trust a host no longer.", show_plain, NULL },
	{ "peers", "peers", "", { NULL }, 0, 0, "List the hosts that are trusted.", show_hosts, NULL },
	{ "policy", "policy", "PATH", { "path" }, 1, 1,
	  "Say which rule of the policy decides about a file.", show_rule, NULL },
};

#define MORE                                                                               \
	"HOST is a name that 'trust' was given.  The exit status is 0 when it is done, or\n" \
	"nothing stands in the way; 1 when it was refused or failed, and the program still\n" \
	"runs where it was; 2 when the command line is wrong; 3 when no mproxy is reachable.\n" \
	"That of 'restore' is the program's, once it runs."

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
static char *make_request(const struct arguments *a, const struct command *c, char **operands, int n, struct err *e)
{
	AUTO_JSON json *j = json_object();
	char *text;

	json_put_str(j, "do", c->request);
	if (a->tree)
		json_put_bool(j, "tree", true);
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

/* Answers what only `save` and `restore` are asked.  Return: 0, or a negative errno: it is over */
typedef int extra_fn(void *ctx, int fd, struct client_said *said, struct show *s, struct err *e);

/* Hears until the answer.  Return: exit status */
static int hear(int fd, const struct command *c, struct show *s, extra_fn *extra, void *ctx, struct err *e)
{
	struct client_said said = { 0 };
	int status, r;

	for (;;) {
		r = client_hear(fd, &said, e);
		if (r || said.answer)
			break;
		if (said.type == WIRE_PROGRESS)
			show_progress(s, said.json);
		else
			r = extra ? extra(ctx, fd, &said, s, e) : err_say(e, -EBADMSG, "mproxy asks for something that "
									 "%s doesn't have", c->request);
		client_forget(&said);
		if (r)
			break;
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
	client_forget(&said);
	return status;
}

static struct show make_show(const struct arguments *a, FILE *out, FILE *err)
{
	return (struct show){
		.style = a->json	       ? SHOW_JSON
			 : a->quiet	       ? SHOW_QUIET
			 : isatty(fileno(err)) ? SHOW_BAR
					       : SHOW_LINES,
		.out = out, .err = err,
	};
}

static int ask(const struct arguments *a, const struct command *c, const char *request, struct show *s, extra_fn *extra,
	       void *ctx, struct err *e)
{
	AUTO_FD int fd = client_connect(a->control, e);

	if (fd < 0)
		return EXIT_NOBODY;
	return client_ask(fd, request, e) ? EXIT_REFUSED : hear(fd, c, s, extra, ctx, e);
}

/* ---- programs in files -------------------------------------------------------------- */

struct saving {
	struct save_file file;
	bool kept;
};

static int save_extra(void *ctx, int fd, struct client_said *said, struct show *s, struct err *e)
{
	struct saving *x = ctx;
	int rc;

	(void)s;
	if (said->type == WIRE_FILE_WANTED)
		return client_give_file(fd, x->file.fd, e);
	if (said->type != WIRE_FILE_WRITTEN)
		return err_say(e, -EBADMSG, "mproxy talks nonsense");
	rc = save_file_keep(&x->file, e);
	x->kept = !rc;
	/* if it can't be told it goes on there, and our own sentence is the one that counts */
	if (client_kept(fd, rc, rc ? NULL : e) && !rc)
		rc = e->code;
	return rc;
}

static int run_save(const struct arguments *a, const struct command *c, char **operands, int n, struct err *e)
{
	struct show s = make_show(a, stdout, stderr);
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *request = NULL;
	struct saving x = { 0 };
	int status;

	(void)n;
	if (!is_number(operands[0]) || strtol(operands[0], NULL, 10) < 1) {
		err_say(e, -EINVAL, "%s is not a process's number", operands[0]);
		return EXIT_USAGE;
	}
	json_put_str(j, "do", c->request);
	json_put_int(j, "pid", strtol(operands[0], NULL, 10));
	json_put_bool(j, "stop", a->stop);
	request = json_text(j, false);
	if (!request || save_file_open(&x.file, operands[1], e))
		return EXIT_REFUSED;
	status = ask(a, c, request, &s, save_extra, &x, e);
	if (status && x.kept)
		fprintf(stderr, "mmigrate: %s is whole nevertheless\n", operands[1]);
	save_file_drop(&x.file);
	return status;
}

static int run_inspect(const struct arguments *a, const struct command *c, char **operands, int n, struct err *e)
{
	(void)c;
	(void)n;
	return inspect_file(operands[0], a->json, stdout, e) ? EXIT_REFUSED : EXIT_FINE;
}

/* A program in a file is code that will run as who restores it: nobody else may have written it */
static int check_rights(int fd, const char *path, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st))
		return err_set(e, -errno, "look at %s", path);
	if (st.st_uid && st.st_uid != geteuid())
		return err_say(e, -EPERM, "E_IMAGE_RIGHTS: %s is uid %u's, who could run anything as you with it", path,
			       st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return err_say(e, -EPERM, "E_IMAGE_RIGHTS: others may write to %s, and could run anything as you with it; "
			       "chmod go-w it, if nobody has", path);
	return 0;
}

struct restoring {
	const struct arguments *a;
	const struct command *c;
	const char *host;
	int file;
};

/* Becomes mdeputy, which finds its descriptors by the environment */
static int become_deputy(struct client_said *said, struct err *e)
{
	char fds[64], comm[64], as[32], *argv[] = { said->comm, NULL }, *env[] = { fds, comm, as, NULL };

	for (int i = 1; i < CLIENT_MOST_FDS; i++)
		if (fcntl(said->fds[i], F_SETFD, 0))
			return err_set(e, -errno, "become the deputy");
	snprintf(fds, sizeof(fds), "MDEPUTY_FDS=%d,%d", said->fds[1], said->fds[2]);
	snprintf(as, sizeof(as), "MDEPUTY_AS=%u", said->as);
	snprintf(comm, sizeof(comm), "MDEPUTY_COMM=%s", said->comm);
	execveat(said->fds[0], "", argv, env, AT_EMPTY_PATH);
	return err_set(e, -errno, "become the deputy");
}

static int restore_extra(void *ctx, int fd, struct client_said *said, struct show *s, struct err *e)
{
	struct restoring *r = ctx;

	if (said->type == WIRE_FILE_WANTED)
		return client_give_file(fd, r->file, e);
	if (said->type != WIRE_BE_DEPUTY)
		return err_say(e, -EBADMSG, "mproxy talks nonsense");
	show_progress_end(s);
	if (s->style == SHOW_JSON)
		show_json(s, "answer", 0, said->json);
	else
		show_answer(s, 0, said->json);
	fflush(s->err);
	return become_deputy(said, e);
}

/* In the child.  What is said goes to the shell's standard error: standard output is the program's */
static int ask_to_restore(void *ctx, int err)
{
	FILE *to = fdopen(err, "w");
	struct restoring *r = ctx;
	AUTO_JSON json *j = json_object();
	AUTO_FREE char *request = NULL;
	struct err e = { 0 };
	struct show s;
	int status;

	json_put_str(j, "do", r->c->request);
	json_put_str(j, "host", r->host);
	request = json_text(j, false);
	if (!to || !request)
		return EXIT_REFUSED;
	/* where Yama lets only ancestors attach: the session must be able to */
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	s = make_show(r->a, to, to);
	status = ask(r->a, r->c, request, &s, restore_extra, r, &e);
	if (e.code)
		fprintf(to, "mmigrate: %s\n", e.text);
	fflush(to);
	return status;
}

/* Has it a say in ^Z?  It handles or ignores it */
static bool handles_stop(const struct image *img)
{
	for (size_t i = 0; i < img->n_sigactions; i++)
		if (img->sigactions[i].signo == SIGTSTP)
			return true;
	return false;
}

static int run_restore(const struct arguments *a, const struct command *c, char **operands, int n, struct err *e)
{
	struct restoring r = { .a = a, .c = c, .host = n > 1 ? operands[1] : "-" };
	struct standard_stream streams[STANDARD_STREAMS];
	AUTO_SAVED struct saved *saved = NULL;
	struct reasons why = { 0 };
	AUTO_FD int fd = open(operands[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int rc = fd < 0 ? err_set(e, -errno, "open %s", operands[0]) : check_rights(fd, operands[0], e);

	/* which of the standard streams it wants; the session reads the file for itself */
	if (!rc) {
		rc = saved_open(fd, &saved, e);
		if (rc)
			err_wrap(e, rc, "%s", operands[0]);
	}
	if (!rc) {
		standard_streams(saved_image(saved), streams, &why);
		rc = reasons_to_err(&why, e);
		reasons_free(&why);
	}
	if (rc)
		return EXIT_REFUSED;
	r.file = fd;
	rc = attend(streams, handles_stop(saved_image(saved)) ? SIGTSTP : SIGSTOP, ask_to_restore, &r, e);
	return rc < 0 ? EXIT_REFUSED : rc;
}

/* Return: exit status; whatever is in @e is still to be said */
static int run(const struct arguments *a, char **words, int n, struct err *e)
{
	const struct command *c = find_command(words, n, e);
	struct show s = make_show(a, stdout, stderr);
	AUTO_FREE char *request = NULL;
	int skip;

	if (!c)
		return EXIT_USAGE;
	skip = c->name ? 1 : 0;
	if (a->tree && strcmp(c->request, "move") && strcmp(c->request, "why")) {
		err_say(e, -EINVAL, "--tree goes with moving and with why");
		return EXIT_USAGE;
	}
	if (a->stop && c->run != run_save) {
		err_say(e, -EINVAL, "--stop is for save only");
		return EXIT_USAGE;
	}
	if (c->run)
		return c->run(a, c, words + skip, n - skip, e);
	request = make_request(a, c, words + skip, n - skip, e);
	return request ? ask(a, c, request, &s, NULL, NULL, e) : EXIT_USAGE;
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

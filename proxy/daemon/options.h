/* SPDX-License-Identifier: MIT */
/*
 * options.h - Options of the command line, from a table
 *
 * One row is one option: its names, the name of its argument, its help text, where its value
 * goes and who puts it there.  The parser, --help and the error sentences all read that row.
 *
 *	--name VALUE	--name=VALUE	-n VALUE	-nVALUE	-ab	--
 *
 * An argument whose name stands in brackets, "[ADDR]", may be missing.  The word behind such an
 * option is its argument unless it begins with '-' (or is empty).
 *
 * --help and --version need no rows.  What isn't an option is an operand; operands and options
 * may be mixed.  Values point into argv: nothing is allocated.
 *
 * --help-as FORM, which --help doesn't mention, prints the same rows for other programs
 * (options_forms.h): man pages and shell completion are made of it.
 */
#ifndef PROXY_DAEMON_OPTIONS_H
#define PROXY_DAEMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/err.h"

/* @value: NULL when there is none.  The parser puts the option's name in front of an error */
typedef int option_set_fn(void *field, const char *value, struct err *e);

struct option_row {
	const char *name;	/* "control" */
	char letter;		/* 'c'; 0: it has none */
	const char *arg;	/* "PATH"; "[PATH]": may be missing; NULL: takes none */
	const char *help;	/* a sentence; '\n' begins a new line of it */
	size_t offset;		/* of the field, in options_parse()'s @values */
	option_set_fn *set;
};

/* What the first operand can be, in programs that have commands.  The parser doesn't look at it */
struct option_command {
	const char *name;	/* "why"; NULL: the command without a name */
	const char *operands;	/* "PID [HOST]" */
	const char *help;	/* a sentence */
};

/* Everything --help says, and all that can be given */
struct options {
	const char *program;
	const char *const *usage;	/* "[OPTION]... PID HOST"; NULL behind the last */
	const char *about;		/* below the usage; NULL: nothing, the commands tell */
	const char *more;		/* below the options; NULL: nothing */
	const struct option_row *rows;
	size_t n;
	const struct option_command *commands;
	size_t n_commands;
};

typedef void options_print_fn(const struct options *o, FILE *to);

struct options_found {
	int operands;			/* argv[1] to argv[operands] */
	options_print_fn *help;		/* what is to be printed, instead of all else; NULL: nothing */
	bool version;
};

/*
 * Reads all of argv, and moves the operands to its front.  After --help or --version the rest of
 * the line isn't looked at.  0 or -EINVAL and a sentence.
 */
int options_parse(const struct options *o, int argc, char **argv, void *values,
		  struct options_found *found, struct err *e) MUST_CHECK;
options_print_fn options_help, options_version;
/* The @i-th row, those that every program has come last; NULL behind them.  Without @help: hidden */
const struct option_row *options_row(const struct options *o, size_t i);

/* The usual setters */
int option_text(void *field, const char *value, struct err *e);	/* const char * */
int option_flag(void *field, const char *value, struct err *e);	/* bool */

/* Of an argument that may be missing */
struct option_maybe {
	bool given;
	const char *value;	/* NULL: it was */
};
int option_maybe(void *field, const char *value, struct err *e);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * options.c - Options of the command line, from a table
 *
 * Words are taken one after the other.  A word that is an option is looked up, its argument
 * found (behind '=', in the rest of the word, or in the next word) and given to its row's
 * setter; any other word is moved forward in argv, where only words that were read stand.
 */
#include "proxy/daemon/options.h"

#include <errno.h>
#include <string.h>

#include "common/attr.h"
#include "proxy/daemon/options_forms.h"

#define HELP_COLUMN 30		/* where the help texts begin */

static int set_help(void *field, const char *value, struct err *e)
{
	(void)value, (void)e;
	*(options_print_fn **)field = options_help;
	return 0;
}

static int set_help_as(void *field, const char *value, struct err *e)
{
	options_print_fn *form = options_form(value);

	*(options_print_fn **)field = form;
	return form ? 0 : err_say(e, -EINVAL, "%s is no form", value);
}

/* Every program has these; what they set is in struct options_found */
static const struct option_row own_rows[] = {
	{ "help", 'h', NULL, "Print this and end.", offsetof(struct options_found, help),
	  set_help },
	{ "help-as", 0, "FORM", NULL, offsetof(struct options_found, help), set_help_as },
	{ "version", 'V', NULL, "Print the version and end.",
	  offsetof(struct options_found, version), option_flag },
};

/* A command line while it is read */
struct reader {
	const struct options *o;
	char **argv;
	int argc, next;
	void *values;
	struct options_found *found;
};

/* An option as it was written, for sentences */
struct spelling {
	char text[80];
};

int option_text(void *field, const char *value, struct err *e)
{
	(void)e;
	*(const char **)field = value;
	return 0;
}

int option_flag(void *field, const char *value, struct err *e)
{
	(void)value, (void)e;
	*(bool *)field = true;
	return 0;
}

int option_maybe(void *field, const char *value, struct err *e)
{
	(void)e;
	*(struct option_maybe *)field = (struct option_maybe){ true, value };
	return 0;
}

static bool is_own(const struct option_row *row)
{
	return row >= own_rows && row < own_rows + ARRAY_SIZE(own_rows);
}

static bool arg_may_miss(const struct option_row *row)
{
	return row->arg && row->arg[0] == '[';
}

const struct option_row *options_row(const struct options *o, size_t i)
{
	if (i < o->n)
		return &o->rows[i];
	return i - o->n < ARRAY_SIZE(own_rows) ? &own_rows[i - o->n] : NULL;
}

/* The row of a long name of @len bytes, or of @letter.  NULL: none */
static const struct option_row *find(const struct options *o, const char *name, size_t len,
				     char letter)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(o, i)); i++)
		if (name ? strlen(row->name) == len && !memcmp(row->name, name, len)
			 : row->letter && row->letter == letter)
			break;
	return row;
}

/**
 * give() - Find an option's argument and set it
 * @attached:	What was written in the same word, or NULL
 * @as:		The option as it was written
 */
static int give(struct reader *r, const struct option_row *row, const char *attached,
		const struct spelling *as, struct err *e)
{
	char *base = is_own(row) ? (char *)r->found : r->values;
	const char *value = attached;
	int rc;

	if (!row->arg && attached)
		return err_say(e, -EINVAL, "%s takes no argument", as->text);
	if (row->arg && !attached && r->next < r->argc) {
		const char *word = r->argv[r->next];

		if (!arg_may_miss(row) || (word[0] && word[0] != '-')) {
			value = word;
			r->next++;
		}
	}
	if (row->arg && !value && !arg_may_miss(row))
		return err_say(e, -EINVAL, "%s needs an argument: %s", as->text, row->arg);
	rc = row->set(base + row->offset, value, e);
	return rc ? err_wrap(e, rc, "%s", as->text) : 0;
}

static int unknown(const struct reader *r, const struct spelling *as, struct err *e)
{
	return err_say(e, -EINVAL, "there is no option %s; '%s --help' lists all", as->text,
		       r->o->program);
}

/* @word: what stands behind "--", not empty */
static int read_long(struct reader *r, const char *word, struct err *e)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct option_row *row = find(r->o, word, len, 0);
	struct spelling as;

	snprintf(as.text, sizeof(as.text), "--%.*s", (int)MIN(len, sizeof(as.text)), word);
	return row ? give(r, row, equals ? equals + 1 : NULL, &as, e) : unknown(r, &as, e);
}

/* @word: what stands behind "-", not empty: letters, the last with its argument */
static int read_letters(struct reader *r, const char *word, struct err *e)
{
	for (; *word; word++) {
		const struct option_row *row = find(r->o, NULL, 0, *word);
		struct spelling as;
		int rc;

		snprintf(as.text, sizeof(as.text), "-%c", *word);
		if (!row)
			return unknown(r, &as, e);
		if (row->arg)
			return give(r, row, word[1] ? word + 1 : NULL, &as, e);
		rc = give(r, row, NULL, &as, e);
		if (rc)
			return rc;
	}
	return 0;
}

/**
 * options_parse() - Read a command line
 * @o:		What can be given
 * @argc:	As main() got it
 * @argv:	As main() got it; its order changes
 * @values:	What the rows' offsets are in
 * @found:	What else was there
 *
 * Return: 0, or -EINVAL and a sentence
 */
int options_parse(const struct options *o, int argc, char **argv, void *values,
		  struct options_found *found, struct err *e)
{
	struct reader r = { .o = o, .argv = argv, .argc = argc, .next = 1, .values = values,
			    .found = found };
	bool only_operands = false;
	int rc = 0;

	*found = (struct options_found){ 0 };
	while (!rc && r.next < argc && !found->help && !found->version) {
		char *word = argv[r.next++];

		if (only_operands || word[0] != '-' || !word[1])
			argv[++found->operands] = word;
		else if (word[1] != '-')
			rc = read_letters(&r, word + 1, e);
		else if (word[2])
			rc = read_long(&r, word + 2, e);
		else
			only_operands = true;
	}
	return rc;
}

/* ---- what people read ---------------------------------------------------------- */

static void help_row(const struct option_row *row, FILE *to)
{
	char letter[8] = "    ";
	const char *line = row->help;
	int n;

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	n = fprintf(to, "  %s--%s%s%s", letter, row->name, row->arg ? " " : "",
		    row->arg ? row->arg : "");
	if (n >= HELP_COLUMN) {
		fputc('\n', to);
		n = 0;
	}
	for (;;) {
		size_t len = strcspn(line, "\n");

		fprintf(to, "%*s%.*s\n", HELP_COLUMN - n, "", (int)len, line);
		if (!line[len])
			return;
		line += len + 1;
		n = 0;
	}
}

void options_help(const struct options *o, FILE *to)
{
	const struct option_row *row;

	for (size_t i = 0; o->usage[i]; i++)
		fprintf(to, "%s %s %s\n", i ? "      " : "Usage:", o->program, o->usage[i]);
	if (o->about)
		fprintf(to, "\n%s\n", o->about);
	for (size_t i = 0; i < o->n_commands; i++)
		fprintf(to, "%s%-8s %s\n", i ? "" : "\n",
			o->commands[i].name ? o->commands[i].name : o->commands[i].operands,
			o->commands[i].help);
	fprintf(to, "\nOptions:\n");
	for (size_t i = 0; (row = options_row(o, i)); i++)
		if (row->help)
			help_row(row, to);
	if (o->more)
		fprintf(to, "\n%s\n", o->more);
}

void options_version(const struct options *o, FILE *to)
{
	fprintf(to, "%s %s\n", o->program, MSHIM_VERSION);
}

/* SPDX-License-Identifier: MIT */
/*
 * options_forms.c - The option table for other programs: scdoc, and shells that complete
 */
#include "proxy/daemon/options_forms.h"

#include <string.h>

#include "common/attr.h"

/* ---- scdoc -------------------------------------------------------------------------- */

/* A sentence: no character of it means anything to scdoc, and its lines become one */
static void put_prose(const char *text, FILE *to)
{
	for (; *text; text++) {
		if (strchr("\\*_", *text))
			fputc('\\', to);
		fputc(*text == '\n' ? ' ' : *text, to);
	}
}

/* `--invite [ADDR]`: what is typed as it stands is bold, what stands for something underlined */
static void put_syntax(const char *text, FILE *to)
{
	while (*text) {
		size_t typed = strspn(text, "-abcdefghijklmnopqrstuvwxyz0123456789");
		size_t named = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

		if (typed)
			fprintf(to, "*%.*s*", (int)typed, text);
		else if (named)
			fprintf(to, "_%.*s_", (int)named, text);
		else
			fputc(*text, to);
		text += typed ? typed : named ? named : 1;
	}
}

static void put_entry_text(const char *text, FILE *to)
{
	fputs("\n\t", to);
	put_prose(text, to);
	fputs("\n\n", to);
}

static void print_usage(const struct options *o, FILE *to)
{
	for (size_t i = 0; o->usage[i]; i++) {
		put_syntax(o->program, to);
		fputc(' ', to);
		put_syntax(o->usage[i], to);
		fputs(o->usage[i + 1] ? "++\n" : "\n", to);
	}
}

static void print_commands(const struct options *o, FILE *to)
{
	for (size_t i = 0; i < o->n_commands; i++) {
		const struct option_command *c = &o->commands[i];

		put_syntax(c->name ? c->name : "", to);
		if (c->name && c->operands[0])
			fputc(' ', to);
		put_syntax(c->operands, to);
		put_entry_text(c->help, to);
	}
}

static void print_options(const struct options *o, FILE *to)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(o, i)); i++) {
		if (!row->help)
			continue;
		if (row->letter)
			fprintf(to, "*-%c*, ", row->letter);
		fprintf(to, "*--%s*", row->name);
		if (row->arg) {
			fputc(' ', to);
			put_syntax(row->arg, to);
		}
		put_entry_text(row->help, to);
	}
}

/* ---- words -------------------------------------------------------------------------- */

/* @text without what separates cells and lines */
static void put_cell(const char *text, FILE *to)
{
	for (; *text; text++)
		fputc(*text == '\n' ? ' ' : *text == '|' ? '/' : *text, to);
}

static void print_words(const struct options *o, FILE *to)
{
	const struct option_row *row;

	for (size_t i = 0; (row = options_row(o, i)); i++) {
		char letter[3] = { '-', row->letter, 0 };

		if (!row->help)
			continue;
		fprintf(to, "option|--%s|%s|%s|", row->name, row->letter ? letter : "",
			row->arg ? row->arg : "");
		put_cell(row->help, to);
		fputc('\n', to);
	}
	for (size_t i = 0; i < o->n_commands; i++) {
		const struct option_command *c = &o->commands[i];

		fprintf(to, "command|%s|%s|", c->name ? c->name : "", c->operands);
		put_cell(c->help, to);
		fputc('\n', to);
	}
}

/* ---- their names ---------------------------------------------------------------------- */

static const struct {
	const char *name;
	options_print_fn *print;
} forms[] = {
	{ "usage", print_usage },
	{ "commands", print_commands },
	{ "options", print_options },
	{ "words", print_words },
};

options_print_fn *options_form(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (!strcmp(forms[i].name, name))
			return forms[i].print;
	return NULL;
}

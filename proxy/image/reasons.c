/* SPDX-License-Identifier: MIT */
/*
 * reasons.c - What stands in the way of a move: a list of codes and sentences
 */
#include "proxy/image/reasons.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	bool warning;
	const char *advice;
} table[REASON_COUNT] = {
#define REASON(code, warning, advice) [REASON_##code] = { "E_" #code, warning, advice },
#include "proxy/image/reasons.def"
#undef REASON
};

const char *reason_name(enum reason_code code)
{
	return table[code].name;
}

const char *reason_advice(enum reason_code code)
{
	return table[code].advice;
}

bool reason_is_warning(enum reason_code code)
{
	return table[code].warning;
}

static struct reason *grow(struct reasons *r)
{
	struct reason *more = realloc(r->list, (r->n + 1) * sizeof(*more));

	if (!more)
		abort();	/* a reason must not get lost: better no answer than a wrong yes */
	r->list = more;
	more[r->n] = (struct reason){ 0 };
	return &more[r->n++];
}

/**
 * reasons_add() - One more thing that stands in the way
 * @rule:	The policy's rule that decided, or NULL
 * @fmt:	A sentence without a full stop
 *
 * The same sentence isn't added twice.
 */
void reasons_add(struct reasons *r, enum reason_code code, const char *rule, const char *fmt, ...)
{
	struct reason *one;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < r->n; i++)
		if (r->list[i].code == code && !strcmp(r->list[i].text, text))
			return;
	one = grow(r);
	one->code = code;
	one->text = strdup(text);
	one->rule = rule ? strdup(rule) : NULL;
	if (!one->text || (rule && !one->rule))
		abort();
}

void reasons_cut(struct reasons *r, size_t n)
{
	while (r->n > n) {
		const struct reason *last = &r->list[--r->n];

		free(last->text);
		free(last->rule);
		free(last->where);
	}
}

void reasons_free(struct reasons *r)
{
	reasons_cut(r, 0);
	free(r->list);
	*r = (struct reasons){ 0 };
}

size_t reasons_refusals(const struct reasons *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++)
		n += !table[r->list[i].code].warning;
	return n;
}

json *reasons_to_json(const struct reasons *r, const char *where)
{
	json *list = json_array();

	for (size_t i = 0; i < r->n; i++) {
		const struct reason *one = &r->list[i];
		json *o = json_object();

		json_put_str(o, "code", table[one->code].name);
		json_put_bool(o, "warning", table[one->code].warning);
		json_put_str(o, "text", one->text);
		json_put_str(o, "advice", table[one->code].advice);
		if (one->rule)
			json_put_str(o, "rule", one->rule);
		if (one->where || where)
			json_put_str(o, "host", one->where ? one->where : where);
		json_push(list, o);
	}
	return list;
}

int reasons_from_json(struct reasons *r, const json *list, struct err *e)
{
	for (const json *j = json_first(list); j; j = json_next(j)) {
		const char *code, *text, *rule = json_as_str(json_find(j, "rule"));
		const char *where = json_as_str(json_find(j, "host"));
		int k, rc = json_get_str(j, "code", &code, e);

		if (!rc)
			rc = json_get_str(j, "text", &text, e);
		if (rc)
			return rc;
		for (k = 0; k < REASON_COUNT && strcmp(table[k].name, code); k++)
			;
		if (k == REASON_COUNT)
			k = REASON_KERNEL;	/* a newer peer's reason: still a refusal, with its sentence */
		reasons_add(r, (enum reason_code)k, rule, "%s", text);
		if (where && r->n && !r->list[r->n - 1].where) {
			r->list[r->n - 1].where = strdup(where);
			if (!r->list[r->n - 1].where)
				abort();
		}
	}
	return 0;
}

int reasons_to_err(const struct reasons *r, struct err *e)
{
	size_t n = reasons_refusals(r);

	for (size_t i = 0; i < r->n; i++) {
		const struct reason *one = &r->list[i];
		char more[64] = "";

		if (table[one->code].warning)
			continue;
		if (n > 1)
			snprintf(more, sizeof(more), " (and %zu more: see mmigrate why)", n - 1);
		return err_say(e, -EPERM, "%s: %s%s%s%s%s", table[one->code].name,
			       one->where ? one->where : "", one->where ? ": " : "", one->text,
			       *table[one->code].advice ? "; " : "", table[one->code].advice);
	}
	return 0;
}

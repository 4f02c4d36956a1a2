/* SPDX-License-Identifier: MIT */
/*
 * reasons.h - What stands in the way of a move: a list of codes and sentences
 *
 * `mmigrate why` prints it whole; a move is refused when it holds anything that is not a warning.
 * The codes are stable: scripts match them.  They are listed, with what to do, in reasons.def.
 */
#ifndef PROXY_IMAGE_REASONS_H
#define PROXY_IMAGE_REASONS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "proxy/json/json.h"

enum reason_code {
#define REASON(code, warning, advice) REASON_##code,
#include "proxy/image/reasons.def"
#undef REASON
	REASON_COUNT
};

struct reason {
	enum reason_code code;
	char *text;
	char *rule;	/* which rule of whose policy decided, or NULL */
	char *where;	/* host that says so, or NULL: this one */
};

struct reasons {
	struct reason *list;
	size_t n;
};

void reasons_add(struct reasons *r, enum reason_code code, const char *rule, const char *fmt, ...) PRINTF(4, 5);
void reasons_free(struct reasons *r);
void reasons_cut(struct reasons *r, size_t n);		/* only the first @n stay */
size_t reasons_refusals(const struct reasons *r);	/* how many that are not warnings */
const char *reason_name(enum reason_code code);		/* "E_SOCKET" */
const char *reason_advice(enum reason_code code);	/* what the user can do, or "" */
bool reason_is_warning(enum reason_code code);

json *reasons_to_json(const struct reasons *r, const char *where);
int reasons_from_json(struct reasons *r, const json *list, struct err *e) MUST_CHECK;	/* appends */
/* The first refusal as an error, with how many more there are; 0: there is none */
int reasons_to_err(const struct reasons *r, struct err *e);

#endif

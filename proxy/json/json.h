/* SPDX-License-Identifier: MIT */
/*
 * json.h - JSON documents: the door to cJSON
 *
 * json.c is the only file that includes <cjson/cJSON.h>.  It adds what cJSON leaves open:
 * the grammar is checked to the letter and to a bounded depth before cJSON sees a byte,
 * duplicate names are refused, integers keep all their bits, and every error has a place.
 *
 * Strings are bytes without NUL, as file names are: what isn't ASCII travels as it is,
 * valid UTF-8 or not.
 *
 * Out of memory: a builder that fails returns false and marks its container; json_ok() is
 * then false and json_text() returns NULL.  So a document can be built without looking at
 * each single step, and half of one never leaves the process.
 *
 * Ownership: a json * that is passed as @child is taken, even when the call fails.  What the
 * readers return belongs to the document.  Context: ordinary code only.
 */
#ifndef PROXY_JSON_H
#define PROXY_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef struct cJSON json;

#define JSON_MAX_DEPTH 64

json *json_object(void);
json *json_array(void);
void json_free(json *j);

static inline void scope_json_free(json **j)
{
	json_free(*j);
}

#define AUTO_JSON __attribute__((cleanup(scope_json_free)))

/* Builders: a name that is there already is replaced */
bool json_put(json *obj, const char *key, json *child);
bool json_put_str(json *obj, const char *key, const char *v);
bool json_put_int(json *obj, const char *key, int64_t v);	/* from 2^53 on a decimal string */
bool json_put_hex(json *obj, const char *key, uint64_t v);	/* "0x1f" */
bool json_put_bool(json *obj, const char *key, bool v);
bool json_put_bytes(json *obj, const char *key, const void *p, size_t len);	/* "00ff" */
bool json_push(json *arr, json *child);
bool json_push_str(json *arr, const char *v);
bool json_push_int(json *arr, int64_t v);
bool json_push_hex(json *arr, uint64_t v);
bool json_ok(const json *j);	/* nothing was lost while this document was built */

/* Checked readers: 0, or -EINVAL and a sentence that names the key.  @o may be anything, NULL too */
const json *json_find(const json *o, const char *key);	/* NULL: absent */
int json_get_str(const json *o, const char *key, const char **out, struct err *e) MUST_CHECK;
int json_get_int(const json *o, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct err *e) MUST_CHECK;
int json_get_hex(const json *o, const char *key, uint64_t *out, struct err *e) MUST_CHECK;
int json_get_bool(const json *o, const char *key, bool *out, struct err *e) MUST_CHECK;
int json_get_bytes(const json *o, const char *key, void *buf, size_t size, size_t *len,
		   struct err *e) MUST_CHECK;
int json_get_array(const json *o, const char *key, const json **out, struct err *e) MUST_CHECK;
int json_get_object(const json *o, const char *key, const json **out, struct err *e) MUST_CHECK;

/* A value by itself, such as an element of an array.  All accept NULL and say no to it */
const char *json_as_str(const json *j);	/* NULL: isn't one */
int json_as_int(const json *j, int64_t *out) MUST_CHECK;
int json_as_hex(const json *j, uint64_t *out) MUST_CHECK;
bool json_is_object(const json *j);
bool json_is_array(const json *j);
bool json_is_string(const json *j);
bool json_is_number(const json *j);
bool json_is_bool(const json *j);
bool json_is_true(const json *j);
bool json_is_null(const json *j);

/* for (const json *i = json_first(j); i; i = json_next(i)) - elements or members, in order */
const json *json_first(const json *j);
const json *json_next(const json *j);
const char *json_key(const json *j);	/* its name in the object it is in; NULL in an array */
size_t json_count(const json *j);

/*
 * Text.  @text needs no NUL at its end where it has a length.  Errors begin "line 3, column 7: ",
 * a column is counted in characters; json_read_file() puts "PATH: " in front.
 */
int json_parse(const char *text, size_t len, json **out, struct err *e) MUST_CHECK;
char *json_text(const json *j, bool pretty) MUST_CHECK;	/* malloc()ed; NULL: out of memory */
int json_read_text(const char *path, size_t max_bytes, char **text, size_t *len,
		   struct err *e) MUST_CHECK;
int json_read_file(const char *path, size_t max_bytes, json **out, struct err *e) MUST_CHECK;

/*
 * Where in @text is what @pointer (RFC 6901: "/rules/3/path", "" is the whole document) names?
 * The place is that of a member's name, or of an element's first character.  -ENOENT: nowhere.
 */
int json_where(const char *text, const char *pointer, unsigned *line, unsigned *col);

/* The same for @j, a value of the document @root that was parsed from @text */
int json_place(const char *text, size_t len, const json *root, const json *j, unsigned *line,
	       unsigned *col);

#endif

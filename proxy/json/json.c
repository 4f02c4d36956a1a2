/* SPDX-License-Identifier: MIT */
/*
 * json.c - JSON documents: the door to cJSON
 *
 * Reading is done twice.  A scanner of our own, scan.c, walks the text first, builds nothing
 * and knows for each byte why it may stand there: it is what makes reading total, bounds the
 * depth and gives errors a place.  Only then does cJSON build its tree, and can fail for
 * want of memory alone.  The tree knows no places; a place is found again by walking the
 * text along a list of child numbers ("the third child of the first child"), so that the
 * scanner never has to decode a name.
 */
#include "proxy/json/json.h"

#include <assert.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/scope.h"
#include "proxy/json/scan.h"

/* The first integer that a double can't tell from its neighbour */
#define EXACT_END (INT64_C(1) << 53)
/* From here on cJSON's printing ("%1.15g", accepted if nearly equal) would lose digits */
#define PRINT_END INT64_C(1000000000000000)
/* Any int64_t in decimal, any double of 17 digits */
#define RAW_SIZE 32
/* A bit of cJSON's type word that cJSON doesn't use: something is missing in this container */
#define TYPE_LOST (1 << 20)

static_assert(JSON_MAX_DEPTH == SCAN_MAX_DEPTH, "a way leads to every value");

/* ---- parsing ---------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(const json *const *)a)->string, (*(const json *const *)b)->string);
}

/**
 * twice_in() - Find a name that an object has twice
 * @obj:	The object
 * @n:		Number of its members
 * @sorted:	Room for so many pointers
 *
 * Return: the second of the two, NULL: there is none
 */
static const json *twice_in(const json *obj, size_t n, const json **sorted)
{
	const json *const *twin = NULL;
	size_t i = 0;

	for (const json *j = obj->child; j; j = j->next)
		sorted[i++] = j;
	qsort(sorted, n, sizeof(const json *), compare_names);
	for (i = 1; i < n && !twin; i++)
		if (!compare_names(&sorted[i - 1], &sorted[i]))
			twin = &sorted[i];
	if (!twin)
		return NULL;
	for (const json *j = obj->child; j; j = j->next)
		if (j == twin[0] || j == twin[-1])
			for (const json *k = j->next; k; k = k->next)
				if (k == twin[0] || k == twin[-1])
					return k;
	return NULL;
}

static size_t number_of(const json *parent, const json *child)
{
	size_t n = 0;

	for (const json *j = parent->child; j != child; j = j->next)
		n++;
	return n;
}

/**
 * find_twice() - Look through a tree for an object that has a name twice
 * @w:		In: the way to @j.  Out, when one was found: the way to the second member
 *
 * Return: 0, -EINVAL: found, -ENOMEM.
 */
static int find_twice(const json *j, struct way *w)
{
	size_t n = json_count(j);
	unsigned level = w->len;
	int r = 0;

	if (!n)
		return 0;
	if (cJSON_IsObject(j)) {
		AUTO_FREE const json **sorted = calloc(n, sizeof(const json *));
		const json *twice;

		if (!sorted)
			return -ENOMEM;
		twice = twice_in(j, n, sorted);
		if (twice) {
			w->step[w->len++] = number_of(j, twice);
			return -EINVAL;
		}
	}
	w->len = level + 1;
	w->step[level] = 0;
	for (const json *c = j->child; c && !r; c = c->next) {
		r = find_twice(c, w);
		if (!r)
			w->step[level]++;
	}
	if (!r)
		w->len = level;
	return r;
}

/**
 * keep_digits() - Turn the large numbers, which cJSON would print rounded, into their own digits
 * @j:		A tree as cJSON has read it
 *
 * Return: false: out of memory.
 */
static bool keep_digits(json *j)
{
	for (json *c = j->child; c; c = c->next)
		if (!keep_digits(c))
			return false;
	if (!cJSON_IsNumber(j) || !isfinite(j->valuedouble) ||
	    fabs(j->valuedouble) < (double)PRINT_END)
		return true;
	j->valuestring = cJSON_malloc(RAW_SIZE);
	if (!j->valuestring)
		return false;
	snprintf(j->valuestring, RAW_SIZE, "%.17g", j->valuedouble);
	j->type = (j->type & ~0xff) | cJSON_Raw;
	return true;
}

/** say_at() - An error with the scanner's place in front */
static int say_at(const struct scan *s, const char *why, struct err *e)
{
	unsigned line, col;

	scan_place(s, &line, &col);
	return err_say(e, -EINVAL, "line %u, column %u: %s", line, col, why);
}

/**
 * json_parse() - Build a document from its text
 * @text:	@len bytes; any bytes at all
 * @out:	The document, the caller's
 *
 * Return: 0, -EINVAL with line and column, -ENOMEM.
 */
int json_parse(const char *text, size_t len, json **out, struct err *e)
{
	struct scan s = { .text = text, .at = text, .end = text + len };
	struct way w = { .len = 0 };
	AUTO_JSON json *j = NULL;
	int r;

	*out = NULL;
	if (!scan_document(&s))
		return say_at(&s, s.why, e);
	j = cJSON_ParseWithLengthOpts(text, len, NULL, false);
	if (!j || !keep_digits(j))
		return err_set(e, -ENOMEM, "reading JSON");
	r = find_twice(j, &w);
	if (r == -EINVAL) {
		s.at = text;
		scan_way(&s, &w);
		return say_at(&s, "this name is in the object twice", e);
	}
	if (r)
		return err_set(e, r, "reading JSON");
	*out = take_ptr(j);
	return 0;
}

/**
 * same_name() - Is the next part of a JSON pointer this name?
 * @at:		The part, behind its slash; ~0 stands for ~ and ~1 for /
 */
static bool same_name(const char *at, const char *name)
{
	for (; *at && *at != '/'; at++, name++) {
		char c = *at;

		if (c == '~' && (at[1] == '0' || at[1] == '1'))
			c = *++at == '0' ? '~' : '/';
		if (c != *name)
			return false;
	}
	return !*name;
}

/** pointer_step() - The child of @j that the next part of a pointer names; NULL: there is none */
static const json *pointer_step(const json *j, const char *at)
{
	char number[24];
	size_t i = 0;

	for (const json *c = json_first(j); c; c = c->next, i++) {
		snprintf(number, sizeof(number), "%zu", i);
		if (same_name(at, cJSON_IsObject(j) ? c->string : number))
			return c;
	}
	return NULL;
}

int json_where(const char *text, const char *pointer, unsigned *line, unsigned *col)
{
	struct scan s = { .text = text, .at = text, .end = text + strlen(text) };
	struct way w = { .len = 0 };
	AUTO_JSON json *root = NULL;
	const json *j;
	int r;

	*line = *col = 1;
	r = json_parse(text, strlen(text), &root, NULL);
	if (r)
		return r;
	for (j = root; *pointer == '/'; pointer += strcspn(pointer, "/")) {
		const json *c = pointer_step(j, ++pointer);

		if (!c)
			return -ENOENT;
		w.step[w.len++] = number_of(j, c);
		j = c;
	}
	if (*pointer)
		return -ENOENT;
	scan_way(&s, &w);
	scan_place(&s, line, col);
	return 0;
}

/** find_way() - Look for @j below @from; @w is the way to @from and becomes the way to @j */
static bool find_way(const json *from, const json *j, struct way *w)
{
	size_t *step = &w->step[w->len];

	if (from == j)
		return true;
	if (w->len == JSON_MAX_DEPTH)
		return false;
	*step = 0;
	w->len++;
	for (const json *c = json_first(from); c; c = c->next, ++*step)
		if (find_way(c, j, w))
			return true;
	w->len--;
	return false;
}

int json_place(const char *text, size_t len, const json *root, const json *j, unsigned *line,
	       unsigned *col)
{
	struct scan s = { .text = text, .at = text, .end = text + len };
	struct way w = { .len = 0 };

	*line = *col = 1;
	if (!find_way(root, j, &w))
		return -ENOENT;
	scan_way(&s, &w);
	scan_place(&s, line, col);
	return 0;
}

/**
 * json_read_text() - A whole file, with a NUL behind it
 * @max_bytes:	A larger file is refused with -EFBIG
 * @text:	malloc()ed, the caller's
 */
int json_read_text(const char *path, size_t max_bytes, char **text, size_t *len, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	AUTO_FREE char *buf = NULL;
	size_t n = 0, size;
	struct stat st;
	ssize_t got;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "stat %s", path);
	if (!S_ISREG(st.st_mode))
		return err_say(e, -EINVAL, "%s is not a regular file", path);
	if ((uint64_t)st.st_size > max_bytes)
		return err_say(e, -EFBIG, "%s is larger than %zu bytes", path, max_bytes);
	size = (size_t)st.st_size + 1;	/* one more, to see it grow */
	buf = malloc(size);
	if (!buf)
		return err_set(e, -ENOMEM, "read %s", path);
	do {
		got = read(fd, buf + n, size - n);
		if (got < 0 && errno != EINTR)
			return err_set(e, -errno, "read %s", path);
		n += got > 0 ? (size_t)got : 0;
	} while (got && n < size);
	if (n == size)
		return err_say(e, -EAGAIN, "%s grew while it was read", path);
	buf[n] = '\0';
	*text = take_ptr(buf);
	*len = n;
	return 0;
}

int json_read_file(const char *path, size_t max_bytes, json **out, struct err *e)
{
	AUTO_FREE char *text = NULL;
	size_t len = 0;
	int r;

	*out = NULL;
	r = json_read_text(path, max_bytes, &text, &len, e);
	if (r)
		return r;
	r = json_parse(text, len, out, e);
	return r ? err_wrap(e, r, "%s", path) : 0;
}

/* ---- building --------------------------------------------------------------------- */

json *json_object(void)
{
	return cJSON_CreateObject();
}

json *json_array(void)
{
	return cJSON_CreateArray();
}

void json_free(json *j)
{
	cJSON_Delete(j);
}

/** lost() - Mark a container that lacks something.  Return: false */
static bool lost(json *container)
{
	if (container)
		container->type |= TYPE_LOST;
	return false;
}

bool json_put(json *obj, const char *key, json *child)
{
	if (cJSON_IsObject(obj) && child) {
		if (json_find(obj, key) ? cJSON_ReplaceItemInObjectCaseSensitive(obj, key, child) :
					  cJSON_AddItemToObject(obj, key, child))
			return true;
	}
	cJSON_Delete(child);
	return lost(obj);
}

bool json_push(json *arr, json *child)
{
	if (cJSON_IsArray(arr) && child && cJSON_AddItemToArray(arr, child))
		return true;
	cJSON_Delete(child);
	return lost(arr);
}

static json *new_str(const char *v)
{
	return v ? cJSON_CreateString(v) : NULL;
}

/** new_int() - A number that is printed with all its digits, or a string where it couldn't be */
static json *new_int(int64_t v)
{
	char digits[RAW_SIZE];

	if (v > -PRINT_END && v < PRINT_END)
		return cJSON_CreateNumber((double)v);
	snprintf(digits, sizeof(digits), "%" PRId64, v);
	return v > -EXACT_END && v < EXACT_END ? cJSON_CreateRaw(digits)
					       : cJSON_CreateString(digits);
}

static json *new_hex(uint64_t v)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "0x%" PRIx64, v);
	return cJSON_CreateString(digits);
}

bool json_put_str(json *obj, const char *key, const char *v)
{
	return json_put(obj, key, new_str(v));
}

bool json_put_int(json *obj, const char *key, int64_t v)
{
	return json_put(obj, key, new_int(v));
}

bool json_put_hex(json *obj, const char *key, uint64_t v)
{
	return json_put(obj, key, new_hex(v));
}

bool json_put_bool(json *obj, const char *key, bool v)
{
	return json_put(obj, key, cJSON_CreateBool(v));
}

bool json_put_bytes(json *obj, const char *key, const void *p, size_t len)
{
	AUTO_FREE char *hex = malloc(len * 2 + 1);
	const uint8_t *from = p;

	if (!hex)
		return lost(obj);
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = "0123456789abcdef"[from[i] >> 4];
		hex[2 * i + 1] = "0123456789abcdef"[from[i] & 15];
	}
	hex[2 * len] = '\0';
	return json_put_str(obj, key, hex);
}

bool json_push_str(json *arr, const char *v)
{
	return json_push(arr, new_str(v));
}

bool json_push_int(json *arr, int64_t v)
{
	return json_push(arr, new_int(v));
}

bool json_push_hex(json *arr, uint64_t v)
{
	return json_push(arr, new_hex(v));
}

bool json_ok(const json *j)
{
	if (!j || (j->type & TYPE_LOST))
		return false;
	for (const json *c = json_first(j); c; c = c->next)
		if (!json_ok(c))
			return false;
	return true;
}

char *json_text(const json *j, bool pretty)
{
	if (!json_ok(j))
		return NULL;
	return pretty ? cJSON_Print(j) : cJSON_PrintUnformatted(j);
}

/* ---- reading ---------------------------------------------------------------------- */

const json *json_find(const json *o, const char *key)
{
	return cJSON_IsObject(o) ? cJSON_GetObjectItemCaseSensitive(o, key) : NULL;
}

const char *json_as_str(const json *j)
{
	return cJSON_IsString(j) ? j->valuestring : NULL;
}

/** digits_int() - A decimal number, nothing around it */
static int digits_int(const char *text, int64_t *out)
{
	const char *first = text + (*text == '-');
	char *end;

	if (*first < '0' || *first > '9')
		return -EINVAL;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno || *end ? -EINVAL : 0;
}

int json_as_int(const json *j, int64_t *out)
{
	if (cJSON_IsString(j))
		return digits_int(j->valuestring, out);
	if (cJSON_IsRaw(j))
		return digits_int(j->valuestring, out) || *out <= -EXACT_END || *out >= EXACT_END
			       ? -EINVAL
			       : 0;
	/* the comparisons are false for what isn't finite */
	if (!cJSON_IsNumber(j) || !(fabs(j->valuedouble) < (double)EXACT_END))
		return -EINVAL;
	*out = (int64_t)j->valuedouble;
	return (double)*out == j->valuedouble ? 0 : -EINVAL;
}

int json_as_hex(const json *j, uint64_t *out)
{
	const char *s = json_as_str(j);
	size_t n;

	if (!s || strncmp(s, "0x", 2))
		return -EINVAL;
	n = strlen(s + 2);
	if (!n || n > 16 || strspn(s + 2, "0123456789abcdefABCDEF") != n)
		return -EINVAL;
	*out = strtoull(s + 2, NULL, 16);
	return 0;
}

bool json_is_object(const json *j)
{
	return cJSON_IsObject(j);
}

bool json_is_array(const json *j)
{
	return cJSON_IsArray(j);
}

bool json_is_string(const json *j)
{
	return cJSON_IsString(j);
}

bool json_is_number(const json *j)
{
	return cJSON_IsNumber(j) || cJSON_IsRaw(j);
}

bool json_is_bool(const json *j)
{
	return cJSON_IsBool(j);
}

bool json_is_true(const json *j)
{
	return cJSON_IsTrue(j);
}

bool json_is_null(const json *j)
{
	return cJSON_IsNull(j);
}

const json *json_first(const json *j)
{
	return j && (cJSON_IsObject(j) || cJSON_IsArray(j)) ? j->child : NULL;
}

const json *json_next(const json *j)
{
	return j->next;
}

const char *json_key(const json *j)
{
	return j->string;
}

size_t json_count(const json *j)
{
	size_t n = 0;

	for (const json *c = json_first(j); c; c = c->next)
		n++;
	return n;
}

/** wrong() - The sentence for a member that is missing, or isn't @what */
static int wrong(const json *member, const char *key, const char *what, struct err *e)
{
	return err_say(e, -EINVAL,
		       member ? "\"%.80s\" must be %s" : "\"%.80s\" is missing, it must be %s", key,
		       what);
}

int json_get_str(const json *o, const char *key, const char **out, struct err *e)
{
	const json *j = json_find(o, key);

	*out = json_as_str(j);
	return *out ? 0 : wrong(j, key, "a string", e);
}

int json_get_int(const json *o, const char *key, int64_t min, int64_t max, int64_t *out,
		 struct err *e)
{
	const json *j = json_find(o, key);
	char what[96];
	int64_t v;

	if (!json_as_int(j, &v) && v >= min && v <= max) {
		*out = v;
		return 0;
	}
	snprintf(what, sizeof(what), "a whole number from %" PRId64 " to %" PRId64, min, max);
	return wrong(j, key, what, e);
}

int json_get_hex(const json *o, const char *key, uint64_t *out, struct err *e)
{
	const json *j = json_find(o, key);

	return json_as_hex(j, out)
		       ? wrong(j, key, "a string such as \"0x1f\", of at most 64 bits", e)
		       : 0;
}

int json_get_bool(const json *o, const char *key, bool *out, struct err *e)
{
	const json *j = json_find(o, key);

	if (!cJSON_IsBool(j))
		return wrong(j, key, "true or false", e);
	*out = cJSON_IsTrue(j);
	return 0;
}

/**
 * json_get_bytes() - Bytes that were stored in hexadecimal
 * @size:	Room in @buf
 * @len:	How many there were
 */
int json_get_bytes(const json *o, const char *key, void *buf, size_t size, size_t *len,
		   struct err *e)
{
	const json *j = json_find(o, key);
	const char *hex = json_as_str(j);
	size_t n = hex ? strlen(hex) : 1;
	uint8_t *to = buf;

	if (n % 2)
		return wrong(j, key, "a string of pairs of hexadecimal digits", e);
	if (n / 2 > size)
		return err_say(e, -EINVAL, "\"%.80s\" is longer than %zu bytes", key, size);
	for (size_t i = 0; i < n; i += 2) {
		int high = scan_hex_digit(hex[i]), low = scan_hex_digit(hex[i + 1]);

		if (high < 0 || low < 0)
			return wrong(j, key, "a string of pairs of hexadecimal digits", e);
		to[i / 2] = (uint8_t)(high << 4 | low);
	}
	*len = n / 2;
	return 0;
}

int json_get_array(const json *o, const char *key, const json **out, struct err *e)
{
	const json *j = json_find(o, key);

	if (!cJSON_IsArray(j))
		return wrong(j, key, "an array", e);
	*out = j;
	return 0;
}

int json_get_object(const json *o, const char *key, const json **out, struct err *e)
{
	const json *j = json_find(o, key);

	if (!cJSON_IsObject(j))
		return wrong(j, key, "an object", e);
	*out = j;
	return 0;
}

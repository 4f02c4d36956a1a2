/* SPDX-License-Identifier: MIT */
/*
 * image.c - A stopped program, besides its memory: plain structs and their JSON form
 *
 * Three functions a record (write, read, drop), generated from image.def.  The reader is total:
 * the text comes from a peer.  What it checks is the form; the sense is checked by who uses it.
 */
#include "proxy/image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/json/json.h"

#define IMAGE_MAX_BYTES (1u << 20)	/* of one BYTES field */
#define IMAGE_MAX_LIST (1u << 20)	/* elements of one list */

void *image_grow(void **list, size_t *n, size_t size)
{
	/* doubled at each power of two, so that growing is linear in all */
	if (!(*n & (*n - 1))) {
		size_t room = *n ? *n * 2 : 4;
		void *p = realloc(*list, room * size);

		if (!p)
			return NULL;
		*list = p;
	}
	memset((char *)*list + *n * size, 0, size);
	return (char *)*list + (*n)++ * size;
}

int image_set_bytes(struct image_bytes *b, const void *p, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return -ENOMEM;
	if (len)
		memcpy(copy, p, len);
	free(b->p);
	*b = (struct image_bytes){ copy, len };
	return 0;
}

int image_set_str(char **s, const char *from)
{
	char *copy = strdup(from);

	if (!copy)
		return -ENOMEM;
	free(*s);
	*s = copy;
	return 0;
}

/* ---- write: zero, NULL and empty are left out ------------------------------- */

#define NUM(name) ok &= !r->name || json_put_int(o, #name, r->name);
#define HEX(name) ok &= !r->name || json_put_hex(o, #name, r->name);
#define STR(name) ok &= !r->name || json_put_str(o, #name, r->name);
#define BYTES(name) ok &= !r->name.len || json_put_bytes(o, #name, r->name.p, r->name.len);
#define LIST(type, name)                                                                   \
	if (r->n_##name) {                                                                 \
		json *list = json_array();                                                 \
                                                                                           \
		for (size_t i = 0; i < r->n_##name; i++)                                   \
			ok &= json_push(list, write_##type(&r->name[i]));                  \
		ok &= json_put(o, #name, list);                                            \
	}
#define RECORD(name, fields)                                                               \
	static json *write_##name(const struct name *r)                                    \
	{                                                                                  \
		json *o = json_object();                                                   \
		bool ok = o != NULL;                                                       \
                                                                                           \
		fields if (!ok)                                                            \
		{                                                                          \
			json_free(o);                                                      \
			return NULL;                                                       \
		}                                                                          \
		return o;                                                                  \
	}
#include "proxy/image/image.def"
#undef NUM
#undef HEX
#undef STR
#undef BYTES
#undef LIST
#undef RECORD

/* ---- drop ------------------------------------------------------------------- */

#define NUM(name)
#define HEX(name)
#define STR(name) free(r->name);
#define BYTES(name) free(r->name.p);
#define LIST(type, name)                                                                   \
	for (size_t i = 0; i < r->n_##name; i++)                                           \
		drop_##type(&r->name[i]);                                                  \
	free(r->name);
#define RECORD(name, fields)                                                               \
	static void drop_##name(struct name *r UNUSED)                                     \
	{                                                                                  \
		fields                                                                     \
	}
#include "proxy/image/image.def"
#undef NUM
#undef HEX
#undef STR
#undef BYTES
#undef LIST
#undef RECORD

/* ---- read ------------------------------------------------------------------- */

static int read_num(const json *o, const char *key, int64_t *v, struct err *e)
{
	return json_find(o, key) ? json_get_int(o, key, INT64_MIN, INT64_MAX, v, e) : 0;
}

static int read_hex(const json *o, const char *key, uint64_t *v, struct err *e)
{
	return json_find(o, key) ? json_get_hex(o, key, v, e) : 0;
}

static int read_str(const json *o, const char *key, char **v, struct err *e)
{
	const char *s;
	int rc;

	if (!json_find(o, key))
		return 0;
	rc = json_get_str(o, key, &s, e);
	if (!rc)
		rc = image_set_str(v, s);
	return rc;
}

static int read_bytes(const json *o, const char *key, struct image_bytes *v, struct err *e)
{
	const char *s;
	int rc;

	if (!json_find(o, key))
		return 0;
	rc = json_get_str(o, key, &s, e);
	if (rc)
		return rc;
	v->len = strlen(s) / 2;
	if (v->len > IMAGE_MAX_BYTES)
		return err_say(e, -E2BIG, "image: \"%s\" is longer than %u bytes", key, IMAGE_MAX_BYTES);
	v->p = malloc(v->len + 1);
	if (!v->p)
		return err_set(e, -ENOMEM, "image: \"%s\"", key);
	return json_get_bytes(o, key, v->p, v->len, &v->len, e);
}

#define NUM(name)                                                                          \
	if (!rc)                                                                           \
		rc = read_num(o, #name, &r->name, e);
#define HEX(name)                                                                          \
	if (!rc)                                                                           \
		rc = read_hex(o, #name, &r->name, e);
#define STR(name)                                                                          \
	if (!rc)                                                                           \
		rc = read_str(o, #name, &r->name, e);
#define BYTES(name)                                                                        \
	if (!rc)                                                                           \
		rc = read_bytes(o, #name, &r->name, e);
#define LIST(type, name)                                                                   \
	if (!rc && json_find(o, #name)) {                                                  \
		const json *list;                                                          \
                                                                                           \
		rc = json_get_array(o, #name, &list, e);                                   \
		if (!rc && json_count(list) > IMAGE_MAX_LIST)                              \
			rc = err_say(e, -E2BIG, "image: \"%s\" is too long", #name);       \
		for (const json *j = rc ? NULL : json_first(list); j && !rc; j = json_next(j)) { \
			struct type *one = image_add(r, name);                             \
                                                                                           \
			rc = one ? read_##type(j, one, e) : -ENOMEM;                       \
		}                                                                          \
	}
#define RECORD(name, fields)                                                               \
	static int read_##name(const json *o, struct name *r, struct err *e)               \
	{                                                                                  \
		int rc = 0;                                                                \
                                                                                           \
		if (!json_is_object(o))                                                    \
			return err_say(e, -EINVAL, "image: a %s is not an object", #name); \
		fields return rc;                                                          \
	}
#include "proxy/image/image.def"
#undef NUM
#undef HEX
#undef STR
#undef BYTES
#undef LIST
#undef RECORD

char *image_to_json(const struct image *img)
{
	json *o = write_image(img);
	char *text = o ? json_text(o, false) : NULL;

	json_free(o);
	return text;
}

/**
 * image_from_json() - Read an image that a peer or a file gave
 * @out:	The image, to be freed by image_free()
 *
 * Return: 0; -EINVAL with a sentence; -EPROTONOSUPPORT if it's from a newer version; -ENOMEM
 */
int image_from_json(const char *text, size_t len, struct image **out, struct err *e)
{
	AUTO_JSON json *o = NULL;
	AUTO_IMAGE struct image *img = calloc(1, sizeof(*img));
	int rc;

	if (!img)
		return err_set(e, -ENOMEM, "read an image");
	rc = json_parse(text, len, &o, e);
	if (rc)
		return rc;
	if (json_is_object(o) && json_find(o, "version")) {
		rc = read_num(o, "version", &img->version, e);
		if (!rc && img->version > IMAGE_VERSION)
			rc = err_say(e, -EPROTONOSUPPORT,
				     "the image is of version %lld, this build reads up to %d",
				     (long long)img->version, IMAGE_VERSION);
	}
	if (!rc)
		rc = read_image(o, img, e);
	if (rc)
		return rc;
	*out = img;
	img = NULL;
	return 0;
}

void image_free(struct image *img)
{
	if (!img)
		return;
	drop_image(img);
	free(img);
}

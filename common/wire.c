/* SPDX-License-Identifier: MIT */
/*
 * wire.c - Messages: plain structs here, little-endian bytes on the wire
 */
#include "common/wire.h"

#include <errno.h>

#include "common/bytes.h"

static void put_u32(struct bytes *b, wire_u32 v)
{
	bytes_put_le(b, v, 4);
}

static void put_u64(struct bytes *b, wire_u64 v)
{
	bytes_put_le(b, v, 8);
}

static void put_i64(struct bytes *b, wire_i64 v)
{
	bytes_put_le(b, (uint64_t)v, 8);
}

static void put_blob(struct bytes *b, wire_blob v)
{
	bytes_put_le(b, v.len, 4);
	bytes_put(b, v.p, v.len);
}

static void put_str(struct bytes *b, wire_str v)
{
	const char *s = v ? v : "";
	size_t len = strlen(s) + 1;

	if (len > UINT32_MAX)
		b->bad = true;
	put_blob(b, (wire_blob){ s, (uint32_t)len });
}

/* A getter at the end of the payload gives zero: the field is younger than the sender */
static void get_u32(struct bytes *b, wire_u32 *v)
{
	*v = bytes_left(b) ? (wire_u32)bytes_get_le(b, 4) : 0;
}

static void get_u64(struct bytes *b, wire_u64 *v)
{
	*v = bytes_left(b) ? bytes_get_le(b, 8) : 0;
}

static void get_i64(struct bytes *b, wire_i64 *v)
{
	*v = bytes_left(b) ? (wire_i64)bytes_get_le(b, 8) : 0;
}

static void get_blob(struct bytes *b, wire_blob *v)
{
	*v = (wire_blob){ "", 0 };
	if (!bytes_left(b))
		return;
	v->len = (uint32_t)bytes_get_le(b, 4);
	v->p = bytes_take(b, v->len);
	if (b->bad)
		*v = (wire_blob){ "", 0 };
}

static void get_str(struct bytes *b, wire_str *v)
{
	wire_blob raw;

	get_blob(b, &raw);
	*v = "";
	if (!raw.len)
		return;
	if (memchr(raw.p, 0, raw.len) != (const char *)raw.p + raw.len - 1)
		b->bad = true;	/* exactly one NUL, at the end */
	else
		*v = raw.p;
}

#define FIELD(type, name) put_##type(&b, m->name);
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	ssize_t wire_put_##name(void *buf, size_t size, const struct wire_##name *m)       \
	{                                                                                  \
		struct bytes b = bytes_of(buf, size);                                      \
                                                                                           \
		fields return b.bad ? -EMSGSIZE : b.at - (uint8_t *)buf;                   \
	}
#include "common/wire.def"
#undef WIRE_MSG
#undef FIELD

#define FIELD(type, name) get_##type(&b, &m->name);
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	int wire_get_##name(const void *buf, size_t len, struct wire_##name *m)            \
	{                                                                                  \
		struct bytes b = bytes_of(buf, len);                                       \
                                                                                           \
		fields return b.bad ? -EBADMSG : 0;                                        \
	}
#include "common/wire.def"
#undef WIRE_MSG
#undef FIELD

const char *wire_name(unsigned type)
{
	switch (type) {
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	case id:                                                                           \
		return #NAME;
#include "common/wire.def"
#undef WIRE_MSG
	default:
		return "?";
	}
}

int wire_route(unsigned type)
{
	switch (type) {
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	case id:                                                                           \
		return WIRE_ROUTE_##route;
#include "common/wire.def"
#undef WIRE_MSG
	default:
		return -EBADMSG;
	}
}

int wire_any(unsigned type, const void *buf, size_t len)
{
	switch (type) {
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	case id: {                                                                         \
		struct wire_##name m;                                                      \
                                                                                           \
		return wire_get_##name(buf, len, &m);                                      \
	}
#include "common/wire.def"
#undef WIRE_MSG
	default:
		return -EBADMSG;
	}
}

/**
 * wire_pack() - Head and payload of a local message in one buffer
 *
 * Return: length of the whole, or -EMSGSIZE
 */
ssize_t wire_pack(void *buf, size_t size, unsigned type, uint64_t number, const void *payload, size_t len)
{
	struct bytes b = bytes_of(buf, size);

	bytes_put_le(&b, type, 2);
	bytes_put_le(&b, WIRE_NEWEST, 2);
	bytes_put_le(&b, len, 4);
	bytes_put_le(&b, number, 8);
	bytes_put(&b, payload, len);
	return b.bad ? -EMSGSIZE : b.at - (uint8_t *)buf;
}

int wire_unpack(const void *buf, size_t len, struct wire_head *h, const void **payload)
{
	struct bytes b = bytes_of(buf, len);

	h->type = (uint16_t)bytes_get_le(&b, 2);
	h->version = (uint16_t)bytes_get_le(&b, 2);
	h->length = (uint32_t)bytes_get_le(&b, 4);
	h->number = bytes_get_le(&b, 8);
	*payload = b.at;
	return b.bad || bytes_left(&b) != h->length ? -EBADMSG : 0;
}

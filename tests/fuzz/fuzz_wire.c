/* SPDX-License-Identifier: MIT */
/*
 * fuzz_wire.c - Every decoder is total
 *
 * Two bytes, little endian, choose the type; the rest is its payload, and a local message's
 * whole datagram.  What decodes is walked to its last byte, so that a wrong length shows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sink;

static void walk_u32(wire_u32 v)
{
	sink = (uint8_t)v;
}

static void walk_u64(wire_u64 v)
{
	sink = (uint8_t)v;
}

static void walk_i64(wire_i64 v)
{
	sink = (uint8_t)v;
}

static void walk_str(wire_str v)
{
	sink = (uint8_t)strlen(v);
}

static void walk_blob(wire_blob v)
{
	for (uint32_t i = 0; i < v.len; i++)
		sink = ((const uint8_t *)v.p)[i];
}

/* Decode, walk, encode, decode again: the second is the first */
static void decode(unsigned type, const uint8_t *p, size_t len)
{
	static uint8_t buf[1 << 20];

	switch (type) {
#define FIELD(kind, field) walk_##kind(m.field);
#define WIRE_MSG(id, NAME, name, route, fields)                                                \
	case id: {                                                                             \
		struct wire_##name m;                                                          \
		ssize_t n;                                                                     \
                                                                                               \
		if (wire_get_##name(p, len, &m))                                               \
			return;                                                                \
		fields n = wire_put_##name(buf, sizeof(buf), &m);                              \
		if (n >= 0 && wire_get_##name(buf, (size_t)n, &m))                             \
			abort();                                                               \
		return;                                                                        \
	}
#include "common/wire.def"
#undef WIRE_MSG
#undef FIELD
	default:
		return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_head h;
	const void *payload;
	unsigned type;
	uint8_t *copy;

	if (size < 2)
		return 0;
	type = data[0] | (unsigned)data[1] << 8;
	copy = malloc(size - 2 + !(size - 2)); /* exactly as long, for the sanitizer */
	if (!copy)
		return 0;
	memcpy(copy, data + 2, size - 2);
	if (!wire_any(type, copy, size - 2) && wire_route(type) < 0)
		abort();
	decode(type, copy, size - 2);
	if (!wire_unpack(copy, size - 2, &h, &payload)) {
		if ((const uint8_t *)payload + h.length != copy + size - 2)
			abort();
		(void)wire_any(h.type, payload, h.length);
	}
	free(copy);
	return 0;
}

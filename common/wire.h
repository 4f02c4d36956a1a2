/* SPDX-License-Identifier: MIT */
/*
 * wire.h - Messages: plain structs here, little-endian bytes on the wire
 *
 * Everything is generated from wire.def.  A decoded str or blob points into the buffer it was
 * decoded from; nothing is allocated.  A decoder is total: any bytes give a message or -EBADMSG.
 *
 * Between local processes (SOCK_SEQPACKET) a message is WIRE_HEAD bytes of head, then its payload;
 * over the link the head is frame.h's.
 */
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define WIRE_NEWEST 1		/* protocol versions this build speaks */
#define WIRE_OLDEST 1
#define WIRE_HEAD 16		/* u16 type, u16 version, u32 length, u64 number */
#define WIRE_CHUNK 65536	/* most data bytes in one BYTES message */
#define WIRE_LOCAL_MAX (WIRE_CHUNK + 4096)

typedef uint32_t wire_u32;
typedef uint64_t wire_u64;
typedef int64_t wire_i64;
typedef const char *wire_str;	/* NULL is sent as "", and never received */
typedef struct {
	const void *p;
	uint32_t len;
} wire_blob;

#define KIN_GONE 0xffffffffu	/* wire_kin.status: it has ended, and nobody here knows how */

enum wire_route { WIRE_ROUTE_LINK, WIRE_ROUTE_ENDS, WIRE_ROUTE_DATA, WIRE_ROUTE_LOCAL };

enum wire_type {
#define WIRE_MSG(id, NAME, name, route, fields) WIRE_##NAME = (id),
#include "common/wire.def"
#undef WIRE_MSG
};

#define FIELD(type, name) wire_##type name;
#define WIRE_MSG(id, NAME, name, route, fields)                                            \
	struct wire_##name {                                                               \
		fields                                                                     \
	};                                                                                 \
	ssize_t wire_put_##name(void *buf, size_t size, const struct wire_##name *m) MUST_CHECK; \
	int wire_get_##name(const void *buf, size_t len, struct wire_##name *m) MUST_CHECK;
#include "common/wire.def"
#undef WIRE_MSG
#undef FIELD

struct wire_head {
	uint16_t type;
	uint16_t version;
	uint32_t length;
	uint64_t number;
};

const char *wire_name(unsigned type);		/* "HELLO", or "?" */
int wire_route(unsigned type);			/* enum wire_route, or -EBADMSG */
int wire_any(unsigned type, const void *buf, size_t len);	/* decode and forget: 0 or -EBADMSG; for the fuzzer */

/* Local messages.  Both return a negative errno on failure */
ssize_t wire_pack(void *buf, size_t size, unsigned type, uint64_t number, const void *payload, size_t len) MUST_CHECK;
int wire_unpack(const void *buf, size_t len, struct wire_head *h, const void **payload) MUST_CHECK;

#endif

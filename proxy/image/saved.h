/* SPDX-License-Identifier: MIT */
/*
 * saved.h - A stopped program in a file
 *
 * Sections, one behind the other; all numbers are little-endian:
 *
 *	0  u32 type
 *	4  u32 version	 of this kind of section
 *	8  u64 length	 of the payload, at most what its kind allows
 *	16 checksum	 XXH3-128 over the 16 bytes before and the payload: u64 low, u64 high
 *	32 payload
 *
 *	type		payload
 *	"MMIG" HEAD	u64 when, ns since 1970; u32 length and the host's name; u32 length and the
 *			writer's version.  The first
 *	1 MANIFEST	image_to_json()'s text.  Before any memory
 *	2 MEMORY	u32 space (0: the program, n: object n-1), u32 0, u64 address, then whole pages.
 *			Pages of zeros are left out
 *	3 END		u64 pages; u64 sections before this one; the checksum of all their checksums.
 *			The last: nothing follows
 *
 * A section of an unknown type whose highest bit is set is skipped, of another one refused: who adds
 * something chooses by that whether older readers may do without.  New fields of a known section
 * come last, and a reader leaves alone what follows those that it knows.
 *
 * The reader is total: any bytes give an image or an error.  Nothing is allocated by a length that
 * the file doesn't have.  A checksum finds accidents; who may write to the file is its owner's
 * business, and what the image says is checked by who rebuilds it, as if a peer had sent it.
 *
 * Both work at their own offset: the descriptor's isn't used.  It stays the caller's.
 */
#ifndef PROXY_IMAGE_SAVED_H
#define PROXY_IMAGE_SAVED_H

#include <stdint.h>

#include "common/err.h"
#include "proxy/image/image.h"
#include "proxy/link/checksum.h"

#define SAVED_HEAD_TYPE 0x47494d4du	/* "MMIG": a file begins with it */
#define SAVED_OPTIONAL 0x80000000u
#define SAVED_SECTION 32		/* bytes before the payload */
#define SAVED_MOST_RUN (1u << 20)	/* bytes of pages in one section */

struct saved_head {
	int64_t when_ns;	/* CLOCK_REALTIME */
	char host[65];
	char version[33];	/* of mproxy */
};

/* ---- writing -------------------------------------------------------------------------------- */

struct saved_writer {
	int fd;
	uint64_t at;		/* bytes written */
	uint64_t pages, sections;
	struct checksum128 total;
};

int saved_begin(struct saved_writer *w, int fd, const struct saved_head *head, const struct image *img,
		struct err *e) MUST_CHECK;
/* @len: whole pages, at most SAVED_MOST_RUN */
int saved_put_pages(struct saved_writer *w, uint32_t space, uint64_t addr, const void *p, size_t len,
		    struct err *e) MUST_CHECK;
int saved_end(struct saved_writer *w, struct err *e) MUST_CHECK;

/* ---- reading -------------------------------------------------------------------------------- */

struct saved_pages {
	uint32_t space;
	uint64_t addr;
	const uint8_t *p;	/* until the next call */
	size_t len;
};

struct saved;

/* Reads up to the manifest.  -EBADMSG: damaged; -EPROTONOSUPPORT: newer; both with a sentence */
int saved_open(int fd, struct saved **out, struct err *e) MUST_CHECK;
void saved_close(struct saved *s);	/* NULL is fine */
const struct saved_head *saved_head(const struct saved *s);
struct image *saved_image(struct saved *s);		/* the reader's */
/* The next run of pages: 1; 0: the end was there and all is well.  Then, and only then, the file is whole */
int saved_next(struct saved *s, struct saved_pages *m, struct err *e) MUST_CHECK;
uint64_t saved_page_count(const struct saved *s);	/* so far */
uint64_t saved_size(const struct saved *s);		/* bytes of the file */

static inline void saved_scope_close(struct saved **s)
{
	saved_close(*s);
}
#define AUTO_SAVED __attribute__((cleanup(saved_scope_close)))

#endif

/* SPDX-License-Identifier: MIT */
/*
 * saved.c - A stopped program in a file
 */
#include "proxy/image/saved.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/scope.h"

#define PAGE 4096u
#define MOST_MANIFEST (64u << 20)
#define MEMORY_HEAD 16
#define END_SIZE 32

enum { HEAD, MANIFEST, MEMORY, END, OTHER };

/* One row a kind of section: what may be in a file */
static const struct kind {
	uint32_t type, version;
	uint64_t least, most;	/* bytes of payload */
	const char *name;
} kinds[] = {
	[HEAD]	   = { SAVED_HEAD_TYPE, 1, 16, 4096, "head" },
	[MANIFEST] = { 1, 1, 2, MOST_MANIFEST, "description" },
	[MEMORY]   = { 2, 1, MEMORY_HEAD + PAGE, MEMORY_HEAD + SAVED_MOST_RUN, "memory" },
	[END]	   = { 3, 1, END_SIZE, 4096, "end" },
	[OTHER]	   = { 0, UINT32_MAX, 0, MOST_MANIFEST, "an unknown section" },
};

/* ---- checksums ------------------------------------------------------------------------------ */

static struct checksum128 sum_section(const uint8_t *start, const void *head, size_t head_len, const void *body,
				      size_t body_len)
{
	struct iovec pieces[] = {
		{ (void *)start, 16 }, { (void *)head, head_len }, { (void *)body, body_len },
	};

	return checksum128_of(pieces, ARRAY_SIZE(pieces));
}

/* The checksum of all checksums so far, by the one before and the newest */
static struct checksum128 add_sum(struct checksum128 total, struct checksum128 sum)
{
	uint8_t both[32];
	struct bytes b = bytes_of(both, sizeof(both));

	bytes_put_le(&b, total.low, 8);
	bytes_put_le(&b, total.high, 8);
	bytes_put_le(&b, sum.low, 8);
	bytes_put_le(&b, sum.high, 8);
	return checksum128(both, sizeof(both));
}

static bool same_sum(struct checksum128 a, struct checksum128 b)
{
	return a.low == b.low && a.high == b.high;
}

/* ---- writing -------------------------------------------------------------------------------- */

static int write_all(struct saved_writer *w, struct iovec *v, int n, struct err *e)
{
	while (n) {
		ssize_t done = pwritev(w->fd, v, n, (off_t)w->at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return err_set(e, done < 0 ? -errno : -ENOSPC, "write the image");
		w->at += (uint64_t)done;
		for (; n && (size_t)done >= v->iov_len; v++, n--)
			done -= (ssize_t)v->iov_len;
		if (n) {
			v->iov_base = (uint8_t *)v->iov_base + done;
			v->iov_len -= (size_t)done;
		}
	}
	return 0;
}

static int put(struct saved_writer *w, int kind, const void *head, size_t head_len, const void *body, size_t body_len,
	       struct err *e)
{
	uint8_t start[SAVED_SECTION];
	struct bytes b = bytes_of(start, sizeof(start));
	struct iovec v[] = {
		{ start, sizeof(start) }, { (void *)head, head_len }, { (void *)body, body_len },
	};
	struct checksum128 sum;

	bytes_put_le(&b, kinds[kind].type, 4);
	bytes_put_le(&b, kinds[kind].version, 4);
	bytes_put_le(&b, head_len + body_len, 8);
	sum = sum_section(start, head, head_len, body, body_len);
	bytes_put_le(&b, sum.low, 8);
	bytes_put_le(&b, sum.high, 8);
	w->total = add_sum(w->total, sum);
	w->sections++;
	return write_all(w, v, body_len ? 3 : 2, e);
}

static void put_text(struct bytes *b, const char *text)
{
	size_t len = strlen(text);

	bytes_put_le(b, len, 4);
	bytes_put(b, text, len);
}

int saved_begin(struct saved_writer *w, int fd, const struct saved_head *head, const struct image *img, struct err *e)
{
	AUTO_FREE char *text = image_to_json(img);
	uint8_t buf[256];
	struct bytes b = bytes_of(buf, sizeof(buf));
	int rc;

	*w = (struct saved_writer){ .fd = fd };
	if (!text)
		return err_set(e, -ENOMEM, "write the image");
	if (strlen(text) > MOST_MANIFEST)
		return err_say(e, -E2BIG, "the program's description is too large for an image");
	bytes_put_le(&b, (uint64_t)head->when_ns, 8);
	put_text(&b, head->host);
	put_text(&b, head->version);
	rc = put(w, HEAD, buf, (size_t)(b.at - buf), NULL, 0, e);
	return rc ? rc : put(w, MANIFEST, text, strlen(text), NULL, 0, e);
}

int saved_put_pages(struct saved_writer *w, uint32_t space, uint64_t addr, const void *p, size_t len, struct err *e)
{
	uint8_t buf[MEMORY_HEAD];
	struct bytes b = bytes_of(buf, sizeof(buf));

	if (!len || len % PAGE || len > SAVED_MOST_RUN || addr % PAGE)
		return err_say(e, -EINVAL, "pages of an odd length");
	bytes_put_le(&b, space, 4);
	bytes_put_le(&b, 0, 4);
	bytes_put_le(&b, addr, 8);
	w->pages += len / PAGE;
	return put(w, MEMORY, buf, sizeof(buf), p, len, e);
}

int saved_end(struct saved_writer *w, struct err *e)
{
	uint8_t buf[END_SIZE];
	struct bytes b = bytes_of(buf, sizeof(buf));

	bytes_put_le(&b, w->pages, 8);
	bytes_put_le(&b, w->sections, 8);
	bytes_put_le(&b, w->total.low, 8);
	bytes_put_le(&b, w->total.high, 8);
	return put(w, END, buf, sizeof(buf), NULL, 0, e);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct saved {
	int fd;
	uint64_t at, size;
	uint64_t pages, sections;
	struct checksum128 total;
	struct saved_head head;
	struct image *img;
	uint8_t *buf;		/* the payload of the section read last */
	size_t room;
};

/* A section as it was read; its payload is in s->buf */
struct section {
	int kind;
	uint32_t type;
	size_t len;
	struct checksum128 sum;
};

static int damaged(const struct saved *s, const char *what, struct err *e)
{
	return err_say(e, -EBADMSG, "E_IMAGE_DAMAGED: the file is damaged at byte %llu: %s", (unsigned long long)s->at,
		       what);
}

static int read_bytes(struct saved *s, void *p, size_t len, struct err *e)
{
	for (size_t got = 0; got < len;) {
		ssize_t n = pread(s->fd, (uint8_t *)p + got, len - got, (off_t)(s->at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "read the image");
		if (!n)
			return damaged(s, "it ends too early", e);
		got += (size_t)n;
	}
	return 0;
}

static int find_kind(uint32_t type)
{
	int kind = 0;

	while (kind < OTHER && kinds[kind].type != type)
		kind++;
	return kind;
}

/* Does the section's beginning make sense?  Before anything is allocated for it */
static int check_start(const struct saved *s, const struct section *x, uint32_t version, uint64_t len, struct err *e)
{
	const struct kind *k = &kinds[x->kind];

	if (x->kind == OTHER && !(x->type & SAVED_OPTIONAL))
		return err_say(e, -EPROTONOSUPPORT, "E_IMAGE_NEWER: the file has a section (type %u) that this mmigrate "
			       "doesn't know, and that can't be left out", x->type);
	if (version > k->version || !version)
		return err_say(e, -EPROTONOSUPPORT, "E_IMAGE_NEWER: the file's %s is of version %u, this mmigrate reads "
			       "up to %u", k->name, version, k->version);
	if (len < k->least || len > k->most)
		return damaged(s, "a section has a length that can't be", e);
	if (len > s->size - s->at - SAVED_SECTION)
		return damaged(s, "it ends too early", e);
	return 0;
}

/* The next section, verified.  Its payload is followed by a NUL */
static int read_section(struct saved *s, struct section *x, struct err *e)
{
	uint8_t start[SAVED_SECTION] = { 0 };
	struct bytes b = bytes_of(start, sizeof(start));
	struct checksum128 sum;
	uint32_t version;
	uint64_t len;
	int rc;

	if (s->size - s->at < sizeof(start))
		return damaged(s, "it ends too early", e);
	rc = read_bytes(s, start, sizeof(start), e);
	if (rc)
		return rc;
	x->type = (uint32_t)bytes_get_le(&b, 4);
	version = (uint32_t)bytes_get_le(&b, 4);
	len = bytes_get_le(&b, 8);
	sum.low = bytes_get_le(&b, 8);
	sum.high = bytes_get_le(&b, 8);
	x->kind = find_kind(x->type);
	rc = check_start(s, x, version, len, e);
	if (rc)
		return rc;
	x->len = (size_t)len;
	if (x->len + 1 > s->room) {
		uint8_t *more = realloc(s->buf, x->len + 1);

		if (!more)
			return err_set(e, -ENOMEM, "read the image");
		s->buf = more;
		s->room = x->len + 1;
	}
	s->at += sizeof(start);
	rc = read_bytes(s, s->buf, x->len, e);
	if (rc)
		return rc;
	s->buf[x->len] = 0;
	x->sum = sum_section(start, s->buf, x->len, NULL, 0);
	if (!same_sum(sum, x->sum))
		return damaged(s, "a checksum is wrong", e);
	s->at += x->len;
	return 0;
}

static void count(struct saved *s, const struct section *x)
{
	s->total = add_sum(s->total, x->sum);
	s->sections++;
}

/* The next section that must be known */
static int read_known(struct saved *s, struct section *x, struct err *e)
{
	int rc;

	while (!(rc = read_section(s, x, e)) && x->kind == OTHER)
		count(s, x);
	return rc;
}

static int get_text(struct saved *s, struct bytes *b, char *to, size_t size, struct err *e)
{
	size_t len = (size_t)bytes_get_le(b, 4);
	const uint8_t *p = len < size ? bytes_take(b, len) : NULL;

	if (!p || memchr(p, 0, len))
		return damaged(s, "its head makes no sense", e);
	memcpy(to, p, len);
	to[len] = 0;
	return 0;
}

static int read_head(struct saved *s, struct err *e)
{
	struct section x = { 0 };
	struct bytes b;
	uint8_t first[4];
	int rc;

	if (s->size < sizeof(first))
		return err_say(e, -EBADMSG, "E_IMAGE_DAMAGED: it isn't an image that 'mmigrate save' made");
	rc = read_bytes(s, first, sizeof(first), e);
	if (!rc && memcmp(first, "MMIG", sizeof(first)) != 0)
		rc = err_say(e, -EBADMSG, "E_IMAGE_DAMAGED: it isn't an image that 'mmigrate save' made");
	if (!rc)
		rc = read_section(s, &x, e);
	if (rc)
		return rc;
	count(s, &x);
	b = bytes_of(s->buf, x.len);
	s->head.when_ns = (int64_t)bytes_get_le(&b, 8);
	rc = get_text(s, &b, s->head.host, sizeof(s->head.host), e);
	return rc ? rc : get_text(s, &b, s->head.version, sizeof(s->head.version), e);
}

static int read_manifest(struct saved *s, struct err *e)
{
	struct section x = { 0 };
	int rc = read_known(s, &x, e);

	if (!rc && x.kind != MANIFEST)
		rc = damaged(s, "the program's description is missing", e);
	if (rc)
		return rc;
	count(s, &x);
	rc = image_from_json((const char *)s->buf, x.len, &s->img, e);
	if (rc == -EPROTONOSUPPORT)
		return err_wrap(e, rc, "E_IMAGE_NEWER");
	return rc && rc != -ENOMEM ? err_wrap(e, -EBADMSG, "E_IMAGE_DAMAGED: the program's description") : rc;
}

int saved_open(int fd, struct saved **out, struct err *e)
{
	AUTO_SAVED struct saved *s = NULL;
	struct stat st;
	int rc;

	if (fstat(fd, &st))
		return err_set(e, -errno, "read the image");
	if (!S_ISREG(st.st_mode))
		return err_say(e, -EINVAL, "E_IMAGE_DAMAGED: it isn't a regular file");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "read the image");
	s->fd = fd;
	s->size = (uint64_t)st.st_size;
	rc = read_head(s, e);
	if (!rc)
		rc = read_manifest(s, e);
	if (rc)
		return rc;
	*out = take_ptr(s);
	return 0;
}

void saved_close(struct saved *s)
{
	if (!s)
		return;
	image_free(s->img);
	free(s->buf);
	free(s);
}

const struct saved_head *saved_head(const struct saved *s)
{
	return &s->head;
}

struct image *saved_image(struct saved *s)
{
	return s->img;
}

uint64_t saved_page_count(const struct saved *s)
{
	return s->pages;
}

uint64_t saved_size(const struct saved *s)
{
	return s->size;
}

static int read_memory(struct saved *s, const struct section *x, struct saved_pages *m, struct err *e)
{
	struct bytes b = bytes_of(s->buf, x->len);

	m->space = (uint32_t)bytes_get_le(&b, 4);
	bytes_get_le(&b, 4);
	m->addr = bytes_get_le(&b, 8);
	m->len = bytes_left(&b);
	m->p = b.at;
	if (m->len % PAGE || m->addr % PAGE || m->addr + m->len < m->addr)
		return damaged(s, "memory isn't whole pages", e);
	if (m->space > s->img->n_objects)
		return damaged(s, "memory of something that the description doesn't have", e);
	s->pages += m->len / PAGE;
	return 1;
}

static int read_end(struct saved *s, const struct section *x, struct err *e)
{
	struct bytes b = bytes_of(s->buf, x->len);
	uint64_t pages = bytes_get_le(&b, 8), sections = bytes_get_le(&b, 8);
	struct checksum128 total;

	total.low = bytes_get_le(&b, 8);
	total.high = bytes_get_le(&b, 8);
	if (pages != s->pages || sections != s->sections || !same_sum(total, s->total))
		return damaged(s, "sections are missing, or in another order", e);
	if (s->at != s->size)
		return damaged(s, "something follows its end", e);
	return 0;
}

int saved_next(struct saved *s, struct saved_pages *m, struct err *e)
{
	struct section x = { 0 };
	int rc = read_known(s, &x, e);

	if (rc)
		return rc;
	if (x.kind == END)
		return read_end(s, &x, e);
	if (x.kind != MEMORY)
		return damaged(s, "a section is there twice", e);
	count(s, &x);
	return read_memory(s, &x, m, e);
}

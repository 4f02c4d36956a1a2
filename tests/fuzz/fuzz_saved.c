/* SPDX-License-Identifier: MIT */
/*
 * fuzz_saved.c - Any bytes as an image's file
 *
 * Input: u8 how, then
 *	how 0	the file itself
 *	else	pieces {u8 what, u8 length / 16, bytes}, of which a file is made whose checksums are
 *		right, so that what is behind them is reached: what & 7 is the type (by types[]), the
 *		other bits spoil something.  An end that fits is put behind them, unless how is 2
 *
 * What can be read whole is written again, and is the same then; and inspecting it says nothing that
 * isn't printable.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/daemon/inspect.h"
#include "proxy/daemon/show.h"
#include "proxy/image/saved.h"
#include "proxy/image/standard.h"
#include "tests/saved_maker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t types[8] = { SAVED_HEAD_TYPE, 1, 2, 3, SAVED_OPTIONAL | 9, 9, 0, 2 };

static void put(struct maker *m, uint32_t type, unsigned spoil, const uint8_t *p, size_t len)
{
	if (!maker_put(m, type, spoil & 1 ? 7 : 1, spoil & 2 ? 0x100001 : 0, spoil & 4 ? 1 : 0, p, len))
		return;		/* the file is full */
}

/* Memory comes in pages: of what is given, and zeros */
static void put_memory(struct maker *m, unsigned spoil, const uint8_t *p, size_t len)
{
	static uint8_t page[16 + 2 * 4096];
	size_t pages = len && p[0] & 1 ? 2 : 1;

	memset(page, 0, sizeof(page));
	memcpy(page, p, len);
	m->pages += pages;
	put(m, 2, spoil, page, 16 + pages * 4096 - (spoil & 8 ? 1 : 0));
}

static size_t make(struct maker *m, const uint8_t *data, size_t size, bool ends)
{
	while (size >= 2) {
		unsigned what = data[0];
		size_t len = MIN((size_t)data[1] * 16, size - 2);

		if (types[what & 7] == 2)
			put_memory(m, what >> 3, data + 2, len);
		else
			put(m, types[what & 7], what >> 3, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	if (ends && !maker_end(m))
		return m->len;
	return m->len;
}

/* Printable, or the end of a line */
static void check_printable(const char *text)
{
	while (*text) {
		size_t len = *text == '\n' ? 1 : show_printable((const unsigned char *)text);

		assert(len);
		text += len;
	}
}

static void check_inspect(int fd, bool as_json, int expected)
{
	AUTO_FREE char *text = NULL;
	struct err e = { 0 };
	char path[40];
	size_t len;
	FILE *to = open_memstream(&text, &len);
	int rc;

	assert(to);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = inspect_file(path, as_json, to, &e);
	fclose(to);
	assert((rc == 0) == (expected == 0));
	if (!rc)
		check_printable(text);
	else
		assert(!len && e.code == rc && *e.text);
}

/* Reads @from whole, writing it to @to if that isn't -1 */
static int read_whole(int from, int to, struct err *e)
{
	AUTO_SAVED struct saved *s = NULL;
	struct standard_stream streams[STANDARD_STREAMS];
	struct reasons why = { 0 };
	struct saved_pages m;
	struct saved_writer w;
	int rc = saved_open(from, &s, e);

	if (rc) {
		assert(!s);
		return rc;
	}
	standard_streams(saved_image(s), streams, &why);
	reasons_free(&why);
	if (to >= 0)
		assert(!saved_begin(&w, to, saved_head(s), saved_image(s), e));
	while ((rc = saved_next(s, &m, e)) == 1) {
		assert(m.len && m.len % 4096 == 0 && m.len <= SAVED_MOST_RUN);
		if (to >= 0)
			assert(!saved_put_pages(&w, m.space, m.addr, m.p, m.len, e));
	}
	if (to >= 0)
		assert(!saved_end(&w, e) && w.pages == saved_page_count(s));
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FD int fd = memfd_create("file", MFD_CLOEXEC);
	AUTO_FD int again = memfd_create("again", MFD_CLOEXEC);
	struct maker *m = calloc(1, sizeof(*m));
	struct err e = { 0 };
	int rc;

	assert(m && fd >= 0 && again >= 0);
	if (size && data[0]) {
		size = make(m, data + 1, size - 1, data[0] != 2);
		data = m->buf;
	} else if (size) {
		data++;
		size--;
	}
	assert(write(fd, data, size) == (ssize_t)size);
	rc = read_whole(fd, -1, &e);
	assert(rc <= 0 && (!rc || (e.code == rc && *e.text)));
	check_inspect(fd, false, rc);
	check_inspect(fd, true, rc);
	if (!rc) {
		assert(!read_whole(fd, again, &e));
		assert(!read_whole(again, -1, &e));
	}
	free(m);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * test_saved.c - Images as files: round trips, every kind of damage, and whose file it becomes
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "proxy/daemon/inspect.h"
#include "proxy/daemon/save_file.h"
#include "proxy/image/saved.h"
#include "proxy/image/standard.h"
#include "tests/saved_maker.h"

#define PAGE 4096
#define MANIFEST "{\"version\":1,\"pid\":7,\"comm\":\"c\",\"objects\":[{\"name\":\"o\"}]}"

/* A file in memory, and what it should be read as */
struct file {
	uint8_t *p;
	size_t len;
};

static int open_bytes(const void *p, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
	return fd;
}

/* All of it is read.  Return: what the last step said */
static int read_all(const void *p, size_t len, uint64_t *pages, struct err *e)
{
	AUTO_FD int fd = open_bytes(p, len);
	AUTO_SAVED struct saved *s = NULL;
	struct saved_pages m;
	int rc;

	*e = (struct err){ 0 };
	rc = saved_open(fd, &s, e);
	while (!rc && (rc = saved_next(s, &m, e)) == 1)
		rc = 0;
	if (pages)
		*pages = s ? saved_page_count(s) : 0;
	return rc;
}

static void assert_damaged(const struct file *f)
{
	struct err e;
	int rc = read_all(f->p, f->len, NULL, &e);

	assert_int_equal(rc, -EBADMSG);
	assert_int_equal(e.code, -EBADMSG);
	assert_non_null(strstr(e.text, "E_IMAGE_DAMAGED"));
}

/* ---- as the writer makes it ------------------------------------------------------------------ */

static struct file take(int fd)
{
	struct file f;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	f = (struct file){ malloc((size_t)st.st_size), (size_t)st.st_size };
	assert_non_null(f.p);
	assert_int_equal(pread(fd, f.p, f.len, 0), f.len);
	return f;
}

static struct file make_small(void)
{
	AUTO_FD int fd = open_bytes("", 0);
	AUTO_IMAGE struct image *img = NULL;
	struct saved_head head = { .when_ns = 1764064000123456789, .host = "hosta", .version = "0.1.0" };
	struct saved_writer w;
	uint8_t pages[2 * PAGE];

	for (size_t i = 0; i < sizeof(pages); i++)
		pages[i] = (uint8_t)(i * 31 + 7);
	assert_int_equal(image_from_json(MANIFEST, strlen(MANIFEST), &img, NULL), 0);
	assert_int_equal(saved_begin(&w, fd, &head, img, NULL), 0);
	assert_int_equal(saved_put_pages(&w, 0, 0x7000, pages, sizeof(pages), NULL), 0);
	assert_int_equal(saved_put_pages(&w, 1, 0, pages, PAGE, NULL), 0);
	assert_int_equal(saved_end(&w, NULL), 0);
	assert_int_equal(w.pages, 3);
	return take(fd);
}

static void test_round_trip(void **state)
{
	struct file f = make_small();
	AUTO_FD int fd = open_bytes(f.p, f.len);
	AUTO_SAVED struct saved *s = NULL;
	struct saved_pages m;

	(void)state;
	assert_memory_equal(f.p, "MMIG\1\0\0\0", 8);	/* the same on every machine */
	assert_int_equal(saved_open(fd, &s, NULL), 0);
	assert_string_equal(saved_head(s)->host, "hosta");
	assert_string_equal(saved_head(s)->version, "0.1.0");
	assert_int_equal(saved_head(s)->when_ns, 1764064000123456789);
	assert_int_equal(saved_image(s)->pid, 7);
	assert_string_equal(saved_image(s)->comm, "c");
	assert_int_equal(saved_next(s, &m, NULL), 1);
	assert_int_equal(m.space, 0);
	assert_int_equal(m.addr, 0x7000);
	assert_int_equal(m.len, 2 * PAGE);
	for (size_t i = 0; i < m.len; i++)
		assert_int_equal(m.p[i], (uint8_t)(i * 31 + 7));
	assert_int_equal(saved_next(s, &m, NULL), 1);
	assert_int_equal(m.space, 1);
	assert_int_equal(m.len, PAGE);
	assert_int_equal(saved_next(s, &m, NULL), 0);
	assert_int_equal(saved_page_count(s), 3);
	assert_int_equal(saved_size(s), f.len);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), f.len);	/* as open_bytes() left it */
	free(f.p);
}

static void test_writer_refuses(void **state)
{
	AUTO_FD int fd = open_bytes("", 0);
	struct saved_writer w = { .fd = fd };
	uint8_t page[PAGE] = { 1 };

	(void)state;
	assert_int_equal(saved_put_pages(&w, 0, 0x1000, page, 0, NULL), -EINVAL);
	assert_int_equal(saved_put_pages(&w, 0, 0x1000, page, 100, NULL), -EINVAL);
	assert_int_equal(saved_put_pages(&w, 0, 0x1001, page, PAGE, NULL), -EINVAL);
	assert_int_equal(saved_put_pages(&w, 0, 0x1000, page, SAVED_MOST_RUN + PAGE, NULL), -EINVAL);
	assert_int_equal(w.pages, 0);
}

/* A disk that is full, in the middle of a section */
static void test_full_disk(void **state)
{
	AUTO_FD int fd = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct saved_writer w = { .fd = fd };
	struct err e = { 0 };
	uint8_t page[PAGE] = { 1 };

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(saved_put_pages(&w, 0, 0x1000, page, PAGE, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "write the image"));
}

/* ---- damage ------------------------------------------------------------------------------------- */

static void test_each_byte(void **state)
{
	struct file f = make_small();

	(void)state;
	for (size_t i = 0; i < f.len; i++) {
		struct err e;
		int rc;

		f.p[i] ^= (uint8_t)(1 << i % 8);
		rc = read_all(f.p, f.len, NULL, &e);
		/* a type or a version that nobody knows is said to be newer, else it is damage */
		if (rc != -EBADMSG && rc != -EPROTONOSUPPORT)
			fail_msg("byte %zu: %d %s", i, rc, e.text);
		f.p[i] ^= (uint8_t)(1 << i % 8);
	}
	free(f.p);
}

static void test_each_length(void **state)
{
	struct file f = make_small(), cut;

	(void)state;
	for (size_t len = 0; len < f.len; len++) {
		cut = (struct file){ f.p, len };
		assert_damaged(&cut);
	}
	free(f.p);
}

static void test_longer(void **state)
{
	struct file f = make_small();

	(void)state;
	f.p = realloc(f.p, f.len + 1);
	assert_non_null(f.p);
	f.p[f.len++] = 0;
	assert_damaged(&f);
	free(f.p);
}

/* Not one of ours at all, and nothing that could be read */
static void test_something_else(void **state)
{
	static const char script[] = "#!/bin/sh\necho this is longer than a section's beginning\n";
	AUTO_FD int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct file f = { (uint8_t *)script, sizeof(script) };
	struct saved *s = NULL;
	struct err e = { 0 };

	(void)state;
	assert_damaged(&f);
	assert_int_equal(saved_open(dir, &s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "regular"));
	assert_int_equal(saved_open(-1, &s, &e), -EBADF);
	assert_null(s);
}

/* ---- files whose checksums are right, and that are wrong all the same ------------------------------ */

static void put(struct maker *m, uint32_t type, uint32_t version, const void *p, size_t len)
{
	assert_true(maker_put(m, type, version, 0, 0, p, len));
}

static void put_head(struct maker *m)
{
	static const uint8_t head[] = "\1\0\0\0\0\0\0\0" "\1\0\0\0" "h" "\1\0\0\0" "1";

	put(m, SAVED_HEAD_TYPE, 1, head, sizeof(head) - 1);
}

static void put_manifest(struct maker *m)
{
	put(m, 1, 1, MANIFEST, strlen(MANIFEST));
}

static void put_memory(struct maker *m, uint32_t space, uint64_t addr, size_t len)
{
	static uint8_t buf[16 + 3 * PAGE] = { 0 };
	struct bytes b = bytes_of(buf, sizeof(buf));

	bytes_put_le(&b, space, 4);
	bytes_put_le(&b, 0, 4);
	bytes_put_le(&b, addr, 8);
	buf[16] = 1;
	m->pages += len / PAGE;
	put(m, 2, 1, buf, 16 + len);
}

static void put_end(struct maker *m)
{
	assert_true(maker_end(m));
}

/* One row a file: its sections, a letter each (compose() says what they are) */
static const struct {
	const char *sections;
	int rc;
	const char *says;
} rows[] = {
	{ "hd.", 0, "" },			/* no memory at all */
	{ "hdm.", 0, "" },
	{ "hdmo.", 0, "" },
	{ "hxdxmx.", 0, "" },			/* what may be left out, anywhere behind the head */
	{ "hD.", 0, "" },			/* longer than we know: left alone */
	{ "hdy.", -EPROTONOSUPPORT, "E_IMAGE_NEWER" },
	{ "hN.", -EPROTONOSUPPORT, "E_IMAGE_NEWER" },
	{ "hV.", -EPROTONOSUPPORT, "E_IMAGE_NEWER" },
	{ "h0.", -EPROTONOSUPPORT, "E_IMAGE_NEWER" },
	{ "hdm", -EBADMSG, "ends too early" },
	{ "h", -EBADMSG, "ends too early" },
	{ "dm.", -EBADMSG, "isn't an image" },
	{ "hm.", -EBADMSG, "description is missing" },
	{ "h.", -EBADMSG, "description is missing" },
	{ "hhd.", -EBADMSG, "description is missing" },
	{ "hdd.", -EBADMSG, "twice" },
	{ "hdh.", -EBADMSG, "twice" },
	{ "hdm..", -EBADMSG, "something follows" },
	{ "hj.", -EBADMSG, "E_IMAGE_DAMAGED" },	/* no JSON */
	{ "hd>.", -EBADMSG, "doesn't have" },	/* of object 2 of 1 */
	{ "hda.", -EBADMSG, "whole pages" },	/* an odd address */
	{ "hdw.", -EBADMSG, "whole pages" },	/* wraps round the address space */
	{ "hdl.", -EBADMSG, "whole pages" },	/* an odd length */
	{ "hds.", -EBADMSG, "length" },		/* no page at all */
	{ "H", -EBADMSG, "length" },
	{ "Tdm.", -EBADMSG, "head makes no sense" },	/* a name longer than its section */
	{ "Udm.", -EBADMSG, "head makes no sense" },	/* a name longer than a name may be */
	{ "hdmp.", -EBADMSG, "sections are missing" },
	{ "hdmq.", -EBADMSG, "sections are missing" },
	{ "hdmr.", -EBADMSG, "sections are missing" },
};

static void compose(struct maker *m, char what)
{
	static const uint8_t long_name[] = "\1\0\0\0\0\0\0\0" "\xff\xff\xff\xff" "h" "\1\0\0\0" "1";
	uint8_t much[200] = { 0 };

	switch (what) {
	case 'h': put_head(m); break;
	case 'H': put(m, SAVED_HEAD_TYPE, 1, "x", 1); break;
	case 'T': put(m, SAVED_HEAD_TYPE, 1, long_name, sizeof(long_name) - 1); break;
	case 'U':
		much[8] = 150;
		put(m, SAVED_HEAD_TYPE, 1, much, sizeof(much));
		break;
	case 'd': put_manifest(m); break;
	case 'D': put(m, 1, 1, MANIFEST "   ", strlen(MANIFEST) + 3); break;
	case 'N': put(m, 1, 1, "{\"version\":99}", 14); break;
	case 'V': put(m, 1, 2, MANIFEST, strlen(MANIFEST)); break;
	case '0': put(m, 1, 0, MANIFEST, strlen(MANIFEST)); break;
	case 'j': put(m, 1, 1, "{\"version\":", 11); break;
	case 'x': put(m, SAVED_OPTIONAL | 77, 3, "what is this", 12); break;
	case 'y': put(m, 77, 1, "what is this", 12); break;
	case 'm': put_memory(m, 0, 0x1000, 2 * PAGE); break;
	case 'o': put_memory(m, 1, 0, PAGE); break;
	case '>': put_memory(m, 2, 0, PAGE); break;
	case 'a': put_memory(m, 0, 0x1001, PAGE); break;
	case 'w': put_memory(m, 0, ~0ULL - PAGE + 1, 2 * PAGE); break;
	case 'l': put_memory(m, 0, 0x1000, PAGE + 1); break;
	case 's': put_memory(m, 0, 0x1000, 0); break;
	case 'p': m->pages++; break;
	case 'q': m->sections++; break;
	case 'r': m->total.high ^= 1; break;
	case '.': put_end(m); break;
	}
}

static void test_sections(void **state)
{
	struct maker *m = malloc(sizeof(*m));

	(void)state;
	assert_non_null(m);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct err e;
		int rc;

		*m = (struct maker){ .len = 0 };
		for (const char *c = rows[i].sections; *c; c++)
			compose(m, *c);
		rc = read_all(m->buf, m->len, NULL, &e);
		if (rc != rows[i].rc || !strstr(e.text, rows[i].says))
			fail_msg("%s: %d %s", rows[i].sections, rc, e.text);
	}
	free(m);
}

/* Each section is whole and right, but two of them changed places, or one is gone */
static void test_order(void **state)
{
	struct maker *m = malloc(sizeof(*m)), *other = malloc(sizeof(*m));
	size_t at[4];
	struct file f;

	(void)state;
	assert_true(m && other);
	*m = (struct maker){ .len = 0 };
	put_head(m);
	put_manifest(m);
	at[0] = m->len;
	put_memory(m, 0, 0x1000, PAGE);
	at[1] = m->len;
	put_memory(m, 0, 0x5000, PAGE);
	at[2] = m->len;
	put_end(m);
	*other = *m;
	memcpy(other->buf + at[0], m->buf + at[1], at[2] - at[1]);
	memcpy(other->buf + at[1], m->buf + at[0], at[1] - at[0]);
	f = (struct file){ other->buf, other->len };
	assert_damaged(&f);
	memmove(m->buf + at[0], m->buf + at[1], m->len - at[1]);
	f = (struct file){ m->buf, m->len - (at[1] - at[0]) };
	assert_damaged(&f);
	free(m);
	free(other);
}

/* Nothing is allocated for a length that isn't there, however large */
static void test_claims(void **state)
{
	static const uint64_t lengths[] = { 100, 64u << 20, 1ULL << 40, INT64_MAX, UINT64_MAX, UINT64_MAX - 31 };
	struct maker *m = malloc(sizeof(*m));

	(void)state;
	assert_non_null(m);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
		for (uint32_t type = 1; type < 4; type++) {
			struct bytes b;
			struct file f;

			*m = (struct maker){ .len = 0 };
			put_head(m);
			if (type > 1)
				put_manifest(m);
			b = bytes_of(m->buf + m->len, 32);
			bytes_put_le(&b, type, 4);
			bytes_put_le(&b, 1, 4);
			bytes_put_le(&b, lengths[i], 8);
			f = (struct file){ m->buf, m->len + 32 };
			assert_damaged(&f);
		}
	free(m);
}

/* ---- the standard streams --------------------------------------------------------------------------- */

static const struct {
	const char *image;
	const char *wanted;	/* a digit each: of which numbers */
	size_t refusals;
} streams[] = {
	{ "{}", "", 0 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1}],\"fds\":[{\"fd\":0,\"open\":0}]}", "0", 0 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1,\"flags\":\"0x1\"}],\"fds\":[{\"fd\":1,\"open\":0},{\"fd\":2,\"open\":0}]}",
	  "1", 0 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1,\"flags\":\"0x1\"}],\"fds\":[{\"fd\":9,\"open\":0},{\"fd\":2,\"open\":0}]}",
	  "2", 0 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1,\"flags\":\"0x1\"}],\"fds\":[{\"fd\":9,\"open\":0},{\"fd\":5,\"open\":0}]}",
	  "", 1 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1,\"flags\":\"0x1\"}],\"fds\":[{\"fd\":0,\"open\":0}]}", "", 1 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1}],\"fds\":[{\"fd\":1,\"open\":0}]}", "", 1 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1,\"flags\":\"0x2\"}],\"fds\":[{\"fd\":1,\"open\":0}]}", "", 1 },
	{ "{\"opens\":[{\"kind\":1}],\"fds\":[{\"fd\":0,\"open\":0},{\"fd\":1,\"open\":5},{\"fd\":2,\"open\":-1}]}", "", 0 },
	{ "{\"opens\":[{\"kind\":3,\"stream\":1}],\"fds\":[{\"fd\":-4,\"open\":0}]}", "", 1 },
	{ "{\"opens\":[{\"kind\":99}],\"fds\":[{\"fd\":4,\"open\":0},{\"fd\":5,\"open\":0}]}", "", 2 },
};

static void test_streams(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
		struct standard_stream list[STANDARD_STREAMS];
		AUTO_IMAGE struct image *img = NULL;
		char wanted[STANDARD_STREAMS + 1] = "";
		struct reasons why = { 0 };

		assert_int_equal(image_from_json(streams[i].image, strlen(streams[i].image), &img, NULL), 0);
		standard_streams(img, list, &why);
		for (int n = 0; n < STANDARD_STREAMS; n++)
			if (list[n].wanted) {
				wanted[strlen(wanted)] = (char)('0' + n);
				assert_int_equal(list[n].out, n > 0);
			}
		if (strcmp(wanted, streams[i].wanted) || reasons_refusals(&why) != streams[i].refusals)
			fail_msg("%s: %s, %zu", streams[i].image, wanted, reasons_refusals(&why));
		reasons_free(&why);
	}
}

/* ---- inspect ---------------------------------------------------------------------------------------- */

static char *inspect(const char *manifest, bool as_json, int *rc)
{
	struct maker *m = calloc(1, sizeof(*m));
	char path[40], *text = NULL;
	struct err e = { 0 };
	size_t len;
	FILE *to = open_memstream(&text, &len);
	AUTO_FD int fd = -1;

	assert_true(m && to);
	put_head(m);
	put(m, 1, 1, manifest, strlen(manifest));
	put_memory(m, 0, 0x1000, PAGE);
	put_end(m);
	fd = open_bytes(m->buf, m->len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	*rc = inspect_file(path, as_json, to, &e);
	fclose(to);
	free(m);
	return text;
}

/* What a file says must not command a terminal: ESC, and the one byte that does as much */
static void test_inspect_is_harmless(void **state)
{
	static const char nasty[] = "{\"version\":1,\"pid\":7,\"comm\":\"a\\u001b[2Jb\x9b" "2Jc\x7f\",\"exe\":\"/x\\ny\"}";

	(void)state;
	for (int as_json = 0; as_json < 2; as_json++) {
		int rc;
		char *text = inspect(nasty, as_json, &rc);

		assert_int_equal(rc, 0);
		assert_null(strchr(text, '\x1b'));
		assert_null(strchr(text, '\x9b'));
		assert_null(strchr(text, '\x7f'));
		assert_non_null(strstr(text, as_json ? "\"pid\":7" : "process 7"));
		/* a name with a newline makes no line of its own */
		assert_null(strstr(text, "\ny"));
		free(text);
	}
}

static void test_inspect_tells(void **state)
{
	int rc;
	char *text = inspect("{\"version\":1,\"pid\":7,\"comm\":\"prog\",\"opens\":[{\"kind\":1,\"path\":\"/data\",\"position\":\"0x10\"}],"
			     "\"fds\":[{\"fd\":3,\"open\":0},{\"fd\":4,\"open\":9}],\"threads\":[{\"tid\":7},{\"tid\":8}]}", false, &rc);

	(void)state;
	assert_int_equal(rc, 0);
	assert_non_null(strstr(text, "prog, process 7, saved on h"));
	assert_non_null(strstr(text, "/data at 16"));
	assert_non_null(strstr(text, "leads nowhere"));
	assert_non_null(strstr(text, "threads      2"));
	assert_non_null(strstr(text, "1 pages"));
	free(text);
}

static void test_inspect_damaged(void **state)
{
	int rc;
	char *text = inspect("{\"version\":1", false, &rc);

	(void)state;
	assert_int_equal(rc, -EBADMSG);
	assert_string_equal(text, "");
	free(text);
}

/* ---- the name -------------------------------------------------------------------------------------- */

static char dir[] = "/tmp/test_saved.XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static int count_names(void)
{
	AUTO_DIR DIR *d = opendir(dir);
	struct dirent *de;
	int n = -2;	/* . and .. */

	assert_non_null(d);
	while ((de = readdir(d)))
		n++;
	return n;
}

static void test_name(void **state)
{
	char path[64], text[8] = "";
	struct save_file f;
	struct stat st;
	AUTO_FD int fd = -1;
	mode_t before = umask(0);

	(void)state;
	snprintf(path, sizeof(path), "%s/image", dir);
	/* what is there stays until the new one is whole; its rights aren't taken over */
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(save_file_open(&f, path, NULL), 0);
	assert_int_equal(write(f.fd, "new!", 4), 4);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3);
	assert_int_equal(save_file_keep(&f, NULL), 0);
	save_file_drop(&f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 4);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(count_names(), 1);
	drop_fd(&fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	assert_string_equal(text, "new!");
	umask(before);
}

static void test_name_dropped(void **state)
{
	struct save_file f;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/image", dir);
	assert_int_equal(save_file_open(&f, path, NULL), 0);
	assert_int_equal(write(f.fd, "half", 4), 4);
	save_file_drop(&f);
	save_file_drop(&f);
	assert_int_equal(count_names(), 0);
}

static void test_name_refused(void **state)
{
	static const char *const names[] = { "", "/", "/tmp/", "..", "/tmp/..", "." };
	struct save_file f;
	struct err e = { 0 };
	char path[600];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(save_file_open(&f, names[i], &e), -EINVAL);
	assert_int_equal(save_file_open(&f, dir, &e), -EEXIST);
	snprintf(path, sizeof(path), "%s/none/image", dir);
	assert_int_equal(save_file_open(&f, path, &e), -ENOENT);
	snprintf(path, sizeof(path), "%s/%0300d", dir, 0);
	assert_int_equal(save_file_open(&f, path, &e), -EINVAL);
	/* the longest name there is has a passing one, too */
	snprintf(path, sizeof(path), "%s/%0255d", dir, 0);
	assert_int_equal(save_file_open(&f, path, &e), 0);
	assert_int_equal(save_file_keep(&f, &e), 0);
	save_file_drop(&f);
	assert_int_equal(count_names(), 1);
}

/* Where a file can't be without a name it has a passing one, which goes */
static int make_dir_named(void **state)
{
	return setenv("MMIGRATE_NO_TMPFILE", "1", 1) ? -1 : make_dir(state);
}

static int remove_dir_named(void **state)
{
	return unsetenv("MMIGRATE_NO_TMPFILE") ? -1 : remove_dir(state);
}

static void test_passing_name(void **state)
{
	struct save_file f;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/image", dir);
	assert_int_equal(save_file_open(&f, path, NULL), 0);
	assert_int_equal(count_names(), 1);
	save_file_drop(&f);
	assert_int_equal(count_names(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_writer_refuses),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_each_byte),
		cmocka_unit_test(test_each_length),
		cmocka_unit_test(test_longer),
		cmocka_unit_test(test_something_else),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_inspect_is_harmless),
		cmocka_unit_test(test_inspect_tells),
		cmocka_unit_test(test_inspect_damaged),
		cmocka_unit_test_setup_teardown(test_name, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_name_dropped, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_name_refused, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_name, make_dir_named, remove_dir_named),
		cmocka_unit_test_setup_teardown(test_name_dropped, make_dir_named, remove_dir_named),
		cmocka_unit_test_setup_teardown(test_name_refused, make_dir_named, remove_dir_named),
		cmocka_unit_test_setup_teardown(test_passing_name, make_dir_named, remove_dir_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

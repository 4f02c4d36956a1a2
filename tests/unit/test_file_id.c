/* SPDX-License-Identifier: MIT */
/*
 * test_file_id.c - Digests, build ids and identities of files; hostile ELF files
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/scope.h"
#include "proxy/image/file_id.h"

/* sha256 of "hello\n" and of nothing */
#define HELLO "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static char dir[] = "/tmp/test_file_id.XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const void *p, size_t len)
{
	AUTO_FD int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, len), len);
}

static void drop(struct image_file *f)
{
	free(f->path);
	free(f->sha256);
	free(f->build_id);
	memset(f, 0, sizeof(*f));
}

/* Its digest and build id must be these */
static void expect(const char *path, const char *sha256, const char *build_id)
{
	struct image_file f = { 0 };
	struct err e = { 0 };

	assert_int_equal(image_set_str(&f.path, path), 0);
	if (file_identify(&f, &e))
		fail_msg("%s", e.text);
	if (sha256)
		assert_string_equal(f.sha256, sha256);
	assert_string_equal(f.build_id, build_id);
	drop(&f);
}

static void test_identify(void **state)
{
	struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };

	(void)state;
	put("a", "hello\n", 6);
	put("b", "", 0);
	for (int i = 0; i < 3; i++) {
		expect(path_of("a"), HELLO, "");
		expect(path_of("b"), EMPTY, "");
	}
	/* a change that keeps size and mtime is seen by its ctime */
	assert_int_equal(utimensat(AT_FDCWD, path_of("a"), old, 0), 0);
	expect(path_of("a"), HELLO, "");
	put("a", "", 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of("a"), old, 0), 0);
	expect(path_of("a"), EMPTY, "");
}

/* What file_identify() refuses, without waiting for anything */
static void test_refused(void **state)
{
	static const struct {
		const char *path;
		int code;
		const char *says;
	} rows[] = {
		{ NULL, -EINVAL, "no absolute path" },
		{ "etc/passwd", -EINVAL, "no absolute path" },
		{ "/nonexistent/x", -ENOENT, "/nonexistent/x" },
		{ "/tmp", -EINVAL, "isn't a regular file" },
		{ "/dev/null", -EINVAL, "isn't a regular file" },
		{ "FIFO", -EINVAL, "isn't a regular file" },
	};

	(void)state;
	assert_int_equal(mkfifo(path_of("fifo"), 0644), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool fifo = rows[i].path && !strcmp(rows[i].path, "FIFO");
		const char *path = fifo ? path_of("fifo") : rows[i].path;
		struct image_file f = { .path = (char *)path };
		struct err e = { 0 };

		assert_int_equal(file_identify(&f, &e), rows[i].code);
		assert_non_null(strstr(e.text, rows[i].says));
		assert_null(f.sha256);
	}
}

static void test_readelf(void **state)
{
	FILE *p = popen("readelf -n /bin/true 2>/dev/null", "re");
	char line[512], id[BUILD_ID_HEX] = "";

	(void)state;
	assert_non_null(p);
	while (fgets(line, sizeof(line), p))
		if (strstr(line, "Build ID: "))
			sscanf(strstr(line, "Build ID: "), "Build ID: %128s", id);
	pclose(p);
	if (!*id)
		skip();
	expect("/bin/true", NULL, id);
}

/* ---- ELF files by hand -------------------------------------------------------------------- */

struct tiny {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[2];
	Elf64_Nhdr other;
	char other_name[8], other_desc[8];	/* 7 bytes each: padded to 4 */
	Elf64_Nhdr id;
	char id_name[4];
	uint8_t id_desc[20];
};

static struct tiny tiny(void)
{
	struct tiny t = { 0 };

	memcpy(t.eh.e_ident, ELFMAG, SELFMAG);
	t.eh.e_ident[EI_CLASS] = ELFCLASS64;
	t.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	t.eh.e_phoff = offsetof(struct tiny, ph);
	t.eh.e_phentsize = sizeof(Elf64_Phdr);
	t.eh.e_phnum = 2;
	t.ph[0].p_type = PT_LOAD;
	t.ph[1].p_type = PT_NOTE;
	t.ph[1].p_align = 4;
	t.ph[1].p_offset = offsetof(struct tiny, other);
	t.ph[1].p_filesz = sizeof(t) - offsetof(struct tiny, other);
	t.other = (Elf64_Nhdr){ .n_namesz = 7, .n_descsz = 7, .n_type = NT_GNU_BUILD_ID };
	strcpy(t.other_name, "longer");
	t.id = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 20, .n_type = NT_GNU_BUILD_ID };
	memcpy(t.id_name, "GNU", 4);
	for (int i = 0; i < 20; i++)
		t.id_desc[i] = (uint8_t)(0xa0 + i);
	return t;
}

#define TINY_ID "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3"

static void expect_tiny(const struct tiny *t, const char *id)
{
	char hex[BUILD_ID_HEX];

	file_build_id(t, sizeof(*t), hex);
	assert_string_equal(hex, id);
	put("tiny", t, sizeof(*t));	/* the same by a descriptor */
	expect(path_of("tiny"), NULL, id);
}

static void test_tiny(void **state)
{
	struct tiny good = tiny(), t = good;
	char hex[BUILD_ID_HEX];

	(void)state;
	expect_tiny(&t, TINY_ID);
	t.ph[0] = t.ph[1];		/* empty notes before it */
	t.ph[0].p_filesz = 0;
	expect_tiny(&t, TINY_ID);
	for (size_t len = 0; len < sizeof(good); len++) {
		file_build_id(&good, len, hex);
		assert_string_equal(hex, "");
	}
	file_build_id(NULL, 0, hex);
	assert_string_equal(hex, "");
}

/* One lie each; the answer is "none", never a step outside */
static void test_hostile(void **state)
{
	static const struct {
		size_t at, size;
		uint64_t value;
	} lies[] = {
#define LIE(field, value) { offsetof(struct tiny, field), sizeof(((struct tiny *)0)->field), value }
		LIE(eh.e_ident[EI_CLASS], ELFCLASS32),
		LIE(eh.e_ident[EI_DATA], ELFDATA2MSB),
		LIE(eh.e_phoff, UINT64_MAX),
		LIE(eh.e_phoff, UINT64_MAX - 55),
		LIE(eh.e_phoff, sizeof(struct tiny) - 1),
		LIE(eh.e_phentsize, 1),
		LIE(eh.e_phnum, 0),
		LIE(eh.e_phnum, UINT16_MAX),
		LIE(ph[1].p_offset, UINT64_MAX),
		LIE(ph[1].p_offset, UINT64_MAX - 3),
		LIE(ph[1].p_offset, 1ull << 63),
		LIE(ph[1].p_filesz, 0),
		LIE(ph[1].p_filesz, 28 + 12 + 4 + 19),
		LIE(ph[1].p_align, 8),
		LIE(other.n_namesz, UINT32_MAX),
		LIE(other.n_descsz, UINT32_MAX),
		LIE(id.n_namesz, UINT32_MAX),
		LIE(id.n_descsz, 0),
		LIE(id.n_descsz, BUILD_ID_MAX + 1),
		LIE(id.n_descsz, 21),
		LIE(id.n_descsz, UINT32_MAX),
		LIE(id.n_type, NT_GNU_HWCAP),
		LIE(id_name[0], 'X'),
#undef LIE
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct tiny t = tiny();
		char hex[BUILD_ID_HEX];

		memcpy((char *)&t + lies[i].at, &lies[i].value, lies[i].size);
		file_build_id(&t, sizeof(t), hex);
		if (*hex)
			fail_msg("lie %zu was believed", i);
	}
	/* longer than the file, and without a proper alignment, it is found all the same */
	for (int i = 0; i < 2; i++) {
		struct tiny t = tiny();

		t.ph[1].p_filesz = UINT64_MAX;
		t.ph[1].p_align = i ? UINT64_MAX : 0;
		expect_tiny(&t, TINY_ID);
	}
}

static void test_identity(void **state)
{
	struct image_file f = { 0 }, g;
	struct stat st;

	(void)state;
	put("same", "x", 1);
	assert_int_equal(stat(path_of("same"), &st), 0);
	file_set_identity(&f, &st);
	assert_true(file_same_identity(&f, &st));
	f.device++;			/* another machine's number */
	assert_true(file_same_identity(&f, &st));
	uint64_t *const fields[] = { &f.inode, &f.size, &f.mtime_ns, &f.ctime_ns };
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		++*fields[i];
		assert_false(file_same_identity(&f, &st));
		g = f;
		assert_true(file_same_numbers(&f, &g));
		--*fields[i];
		assert_false(file_same_numbers(&f, &g));
	}
}

static void test_describe(void **state)
{
	struct image_file f = { .size = 159992 };
	char buf[128], small[10];

	(void)state;
	assert_string_equal(file_describe(&f, buf, sizeof(buf)), "159992 bytes");
	f.sha256 = (char *)"9f86d081884c7d65";
	assert_string_equal(file_describe(&f, buf, sizeof(buf)), "159992 bytes, sha256 9f86d081…");
	f.build_id = (char *)"1a2b3c4d5e";
	assert_string_equal(file_describe(&f, buf, sizeof(buf)),
			    "159992 bytes, build-id 1a2b3c4d…, sha256 9f86d081…");
	f.build_id = (char *)"1a2b3c4d";
	f.sha256 = (char *)"";
	assert_string_equal(file_describe(&f, buf, sizeof(buf)), "159992 bytes, build-id 1a2b3c4d");
	assert_string_equal(file_describe(&f, small, sizeof(small)), "159992 by");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identify), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_readelf),	 cmocka_unit_test(test_tiny),
		cmocka_unit_test(test_hostile),	 cmocka_unit_test(test_identity),
		cmocka_unit_test(test_describe),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

/* SPDX-License-Identifier: MIT */
/*
 * v_maps500.c - 500 mappings of five kinds, each checked for its content and its protection
 *
 * What the kernel permits is asked of the kernel: write() from a page says whether it can be
 * read, read() into it whether it can be written, both with EFAULT instead of a signal.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.h"

#define MAPS 500

struct kind {
	const char *name;
	int prot, flags;
	bool file;
};

static const struct kind kinds[] = {
	{ .name = "read and write",
	  .prot = PROT_READ | PROT_WRITE,
	  .flags = MAP_PRIVATE | MAP_ANONYMOUS },
	{ .name = "read only", .prot = PROT_READ, .flags = MAP_PRIVATE | MAP_ANONYMOUS },
	{ .name = "nothing", .prot = PROT_NONE, .flags = MAP_PRIVATE | MAP_ANONYMOUS },
	{ .name = "shared", .prot = PROT_READ | PROT_WRITE, .flags = MAP_SHARED | MAP_ANONYMOUS },
	{ .name = "code", .prot = PROT_READ | PROT_EXEC, .flags = MAP_PRIVATE | MAP_ANONYMOUS },
	{ .name = "file, written to",
	  .prot = PROT_READ | PROT_WRITE,
	  .flags = MAP_PRIVATE,
	  .file = true },
};

struct map {
	const struct kind *kind;
	char *at;
	size_t len;
};

static struct map maps[MAPS];
static size_t page;
static int probe[2];

/** put_code() - A function that returns @value, at the beginning of a page */
static void put_code(char *at, uint32_t value)
{
	at[0] = (char)0xb8;	/* mov eax, value */
	memcpy(at + 1, &value, 4);
	at[5] = (char)0xc3;	/* ret */
}

static void make(int i, int self)
{
	struct map *m = &maps[i];
	char *area;

	m->kind = &kinds[(size_t)i % ARRAY_SIZE(kinds)];
	m->len = (1 + (size_t)i % 4) * page;
	/* with a hole on each side, so that none is merged with its neighbour */
	area = mmap(NULL, m->len + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(area != MAP_FAILED, "mmap %d", i);
	m->at = area + page;
	CHECK(mmap(m->at, m->len, PROT_READ | PROT_WRITE, m->kind->flags | MAP_FIXED,
		   m->kind->file ? self : -1, 0) == m->at,
	      "mmap %d", i);
	CHECK(!munmap(area, page) && !munmap(m->at + m->len, page), "munmap %d", i);
	if (m->kind->file)	/* its last page only: the others stay the file's */
		fill(m->at + m->len - page, page, (uint64_t)i << 32);
	else
		fill(m->at, m->len, (uint64_t)i << 32);
	if (m->kind->prot & PROT_EXEC)
		put_code(m->at, (uint32_t)i * 7919);
	CHECK(!mprotect(m->at, m->len, m->kind->prot), "mprotect %d", i);
}

static bool can_read(const void *p)
{
	char c;

	if (write(probe[1], p, 1) != 1)
		return false;
	CHECK(read(probe[0], &c, 1) == 1, "probe");
	return true;
}

/** can_write() - May one byte be written?  It is written as what it is */
static bool can_write(char *p)
{
	char c = *p;

	CHECK(write(probe[1], &c, 1) == 1, "probe");
	if (read(probe[0], p, 1) == 1)
		return true;
	CHECK(errno == EFAULT && read(probe[0], &c, 1) == 1, "probe");
	return false;
}

static void check(int i, const char *self_text)
{
	struct map *m = &maps[i];
	bool readable = m->kind->prot & PROT_READ;
	size_t skip = 0;

	CHECK(can_read(m->at + m->len - 1) == readable, "map %d (%s) can%s be read", i,
	      m->kind->name, readable ? "'t" : "");
	if (!readable)
		return;
	CHECK(can_write(m->at + m->len - 1) == !!(m->kind->prot & PROT_WRITE),
	      "map %d (%s): writing", i, m->kind->name);
	if (m->kind->file) {
		skip = m->len - page;
		CHECK(!skip || !memcmp(m->at, self_text, MIN(skip, (size_t)4096)),
		      "map %d: the file's page", i);
	} else if (m->kind->prot & PROT_EXEC) {
		skip = 8;
		CHECK(((uint32_t(*)(void))(uintptr_t)m->at)() == (uint32_t)i * 7919,
		      "map %d: its code", i);
	}
	CHECK(is_filled(m->at + skip, m->len - skip,
			((uint64_t)i << 32) + (m->kind->file ? 0 : skip / 8)),
	      "map %d (%s): content", i, m->kind->name);
}

int main(void)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char self_text[4096];

	page = (size_t)sysconf(_SC_PAGESIZE);
	CHECK(self >= 0 && pread(self, self_text, sizeof(self_text), 0) == sizeof(self_text),
	      "my own file");
	CHECK(!pipe2(probe, O_CLOEXEC), "pipe");
	for (int i = 0; i < MAPS; i++)
		make(i, self);
	close(self);
	victim_ready();
	while (victim_goes_on(20))
		for (int i = 0; i < MAPS; i++)
			check(i, self_text);
	for (int i = 0; i < MAPS; i++) {
		check(i, self_text);
		if (maps[i].kind->prot)
			continue;
		CHECK(!mprotect(maps[i].at, maps[i].len, PROT_READ), "mprotect %d", i);
		CHECK(is_filled(maps[i].at, maps[i].len, (uint64_t)i << 32),
		      "map %d: content behind PROT_NONE", i);
	}
	return victim_ok();
}

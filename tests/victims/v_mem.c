/* SPDX-License-Identifier: MIT */
/*
 * v_mem.c - Memory of every make, and that it can still be changed afterwards
 *
 * The working area is rewritten all the time, so that pre-copy has something to chase; its
 * content is a function of the round, so that a page of another round is seen.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.h"

#define MIB ((size_t)1 << 20)
#define SPARSE ((size_t)1 << 36)	/* 64 GiB of addresses */
#define SPARSE_STEP (SPARSE / 64)

static size_t page;
static char *work, *file_map, *shared, *guard, *locked, *dontfork, *sparse, *heap;
static char file_text[4096];
static size_t heap_len;

static void *map(size_t len, int prot, int flags, int fd)
{
	void *p = mmap(NULL, len, prot, flags, fd, 0);

	CHECK(p != MAP_FAILED, "mmap of %zu bytes", len);
	return p;
}

/** grow_heap() - Memory from the program break; musl keeps that for itself, malloc() must do */
static char *grow_heap(size_t len)
{
#ifdef __GLIBC__
	char *p = sbrk((intptr_t)len);
#else
	char *p = calloc(1, len);
#endif

	CHECK(p && p != (void *)-1, "the heap can't grow");
	return p;
}

static void set_up(void)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), rw = PROT_READ | PROT_WRITE;

	page = (size_t)sysconf(_SC_PAGESIZE);
	CHECK(self >= 0 && pread(self, file_text, sizeof(file_text), 0) == sizeof(file_text),
	      "my own file");
	file_map = map(3 * page, rw, MAP_PRIVATE, self);
	close(self);
	fill(file_map + page, page, 1);	/* written; its neighbours stay the file's */
	work = map(8 * MIB, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	shared = map(MIB, rw, MAP_SHARED | MAP_ANONYMOUS, -1);
	fill(shared, MIB, 2);
	guard = map(3 * page, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(guard, 3 * page, 3);
	CHECK(!mprotect(guard + page, page, PROT_NONE), "mprotect");
	locked = map(4 * page, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(locked, 4 * page, 4);
	CHECK(!mlock(locked, 4 * page), "mlock");
	dontfork = map(2 * page, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	fill(dontfork, 2 * page, 5);
	CHECK(!madvise(dontfork, 2 * page, MADV_DONTFORK), "madvise");
	sparse = map(SPARSE, rw, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	for (size_t at = 0; at < SPARSE; at += SPARSE_STEP)
		fill(sparse + at, page, at);
	heap_len = 64 * page;
	heap = grow_heap(heap_len);
	heap = (char *)(((uintptr_t)heap + 7) & ~(uintptr_t)7);
	heap_len -= 8;
	fill(heap, heap_len, 6);
}

/** flags_of() - The VmFlags of the mapping that begins at @p, from smaps */
static void flags_of(const void *p, char *flags, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	bool here = false;

	CHECK(f, "smaps");
	flags[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (unsigned long)p && (unsigned long)p < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			snprintf(flags, size, "%.200s", line + 8);
	}
	fclose(f);
}

static void check_all(void)
{
	int null = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
	char flags[256];

	CHECK(!memcmp(file_map, file_text, sizeof(file_text)), "the file's first page");
	CHECK(is_filled(file_map + page, page, 1), "the file's page that was written");
	CHECK(is_filled(shared, MIB, 2), "shared anonymous memory");
	CHECK(is_filled(guard, page, 3) && is_filled(guard + 2 * page, page, 3 + 2 * page / 8),
	      "around the guard");
	CHECK(read(null, guard + page, 1) < 0 && errno == EFAULT, "the guard page lets through");
	close(null);
	CHECK(is_filled(locked, 4 * page, 4), "locked memory");
	flags_of(locked, flags, sizeof(flags));
	CHECK(strstr(flags, " lo"), "mlock was forgotten: %s", flags);
	CHECK(is_filled(dontfork, 2 * page, 5), "DONTFORK memory");
	flags_of(dontfork, flags, sizeof(flags));
	CHECK(strstr(flags, " dc"), "MADV_DONTFORK was forgotten: %s", flags);
	for (size_t at = 0; at < SPARSE; at += SPARSE_STEP) {
		CHECK(is_filled(sparse + at, page, at), "sparse memory at %zu", at);
		CHECK(!sparse[at + SPARSE_STEP / 2], "sparse memory isn't empty behind %zu", at);
		CHECK(!madvise(sparse + at + SPARSE_STEP / 2, page, MADV_DONTNEED), "madvise");
	}
	CHECK(is_filled(heap, heap_len, 6), "the heap");
}

/** change_all() - What was moved must still be memory: grow, move, unmap, protect */
static void change_all(void)
{
	char *more = grow_heap(32 * page), *moved;
	void *big;

	fill(more, 32 * page, 7);
	CHECK(is_filled(more, 32 * page, 7) && is_filled(heap, heap_len, 6),
	      "the heap after it grew");
	big = malloc(16 * MIB);
	CHECK(big, "malloc");
	free(big);
	moved = mremap(shared, MIB, 2 * MIB, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED && is_filled(moved, MIB, 2), "mremap of shared memory");
	moved = mremap(work, 8 * MIB, 64 * MIB, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED, "mremap of private memory");
	work = moved;
	CHECK(!mprotect(guard + page, page, PROT_READ) && is_filled(guard, 3 * page, 3),
	      "behind the guard");
	CHECK(!munlock(locked, 4 * page) && !munmap(sparse, SPARSE) && !munmap(file_map, 3 * page),
	      "unmapping");
}

int main(void)
{
	uint64_t round = 0;

	set_up();
	fill(work, 8 * MIB, round << 32);
	victim_ready();
	while (victim_goes_on(1)) {
		CHECK(is_filled(work, 8 * MIB, round << 32), "the working area, round %llu",
		      (unsigned long long)round);
		fill(work, 8 * MIB, ++round << 32);
		if (round % 16 == 0)
			check_all();
	}
	CHECK(is_filled(work, 8 * MIB, round << 32), "the working area, round %llu",
	      (unsigned long long)round);
	check_all();
	change_all();
	CHECK(is_filled(work, 8 * MIB, round << 32), "the working area after mremap");
	return victim_ok();
}

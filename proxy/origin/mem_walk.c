/* SPDX-License-Identifier: MIT */
/*
 * mem_walk.c - The pages of a frozen program that are its own
 *
 * Which pages: PAGEMAP_SCAN (Linux 6.7), else /proc/PID/pagemap word by word (pagemap(5)).
 */
#include "proxy/origin/mem_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/scope.h"

#define PAGE 4096ULL

/* linux/fs.h of Linux 6.7; Debian 12's headers are older */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define PAGEMAP_SCAN_IOCTL _IOWR('f', 16, struct scan_arg)
#define SCAN_FILE (1 << 2)
#define SCAN_PRESENT (1 << 3)
#define SCAN_SWAPPED (1 << 4)
#define SCAN_PFNZERO (1 << 5)

#define PM_PRESENT (1ULL << 63)
#define PM_SWAPPED (1ULL << 62)
#define PM_FILE (1ULL << 61)

struct walk {
	pid_t pid;
	int pagemap;
	bool no_scan;
	uint8_t *buf;
	mem_pages_fn *give;
	void *ctx;
};

static bool is_zero(const uint8_t *page)
{
	const uint64_t *w = (const void *)page;

	return !w[0] && !memcmp(page, page + 8, PAGE - 8);
}

/* Gives away what is in the buffer, without the pages of zeros */
static int give_nonzero(struct walk *s, uint32_t space, uint64_t addr, size_t len, struct err *e)
{
	size_t from = 0, to;
	int rc = 0;

	while (from < len && !rc) {
		while (from < len && is_zero(s->buf + from))
			from += PAGE;
		for (to = from; to < len && !is_zero(s->buf + to);)
			to += PAGE;
		if (to > from)
			rc = s->give(s->ctx, space, addr + from, s->buf + from, to - from, e);
		from = to;
	}
	return rc;
}

static int read_memory(struct walk *s, uint64_t addr, size_t len, struct err *e)
{
	struct iovec local = { s->buf, len }, remote = { (void *)(uintptr_t)addr, len };
	ssize_t n = process_vm_readv(s->pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		n = 0;		/* a PROT_NONE area: /proc/PID/mem reads it all the same */
	while ((size_t)n < len) {
		char path[48];
		AUTO_FD int mem = -1;
		ssize_t more;

		snprintf(path, sizeof(path), "/proc/%d/mem", (int)s->pid);
		mem = open(path, O_RDONLY | O_CLOEXEC);
		more = mem < 0 ? -1 : pread(mem, s->buf + n, len - (size_t)n, (off_t)(addr + (uint64_t)n));
		if (more <= 0)
			return err_set(e, more < 0 ? -errno : -EFAULT, "read the program's memory at %llx",
				       (unsigned long long)addr);
		n += more;
	}
	return 0;
}

static int walk_range(struct walk *s, uint32_t space, uint64_t to, uint64_t start, uint64_t end, struct err *e)
{
	int rc = 0;

	while (start < end && !rc) {
		size_t len = MIN(end - start, MEM_RUN);

		rc = read_memory(s, start, len, e);
		if (!rc)
			rc = give_nonzero(s, space, to, len, e);
		start += len;
		to += len;
	}
	return rc;
}

/* ---- which pages ----------------------------------------------------------------------------------- */

static int scan_area(struct walk *s, uint64_t start, uint64_t end, struct err *e)
{
	struct scan_region regions[512];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions),
		.category_inverted = SCAN_FILE | SCAN_PFNZERO,
		.category_mask = SCAN_FILE | SCAN_PFNZERO,
		.category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
		.return_mask = SCAN_PRESENT | SCAN_SWAPPED,
	};

	while (arg.start < end) {
		int n = ioctl(s->pagemap, PAGEMAP_SCAN_IOCTL, &arg), rc = 0;

		if (n < 0)
			return -errno;
		for (int i = 0; i < n && !rc; i++)
			rc = walk_range(s, 0, regions[i].start, regions[i].start, regions[i].end, e);
		if (rc)
			return rc;
		arg.start = arg.walk_end;
	}
	return 0;
}

static bool wanted(uint64_t word)
{
	return (word & (PM_PRESENT | PM_SWAPPED)) && !(word & PM_FILE);
}

static int walk_area(struct walk *s, uint64_t start, uint64_t end, struct err *e)
{
	uint64_t words[512];

	while (start < end) {
		size_t n = MIN((end - start) / PAGE, ARRAY_SIZE(words)), from = 0;

		if (pread(s->pagemap, words, n * 8, (off_t)(start / PAGE * 8)) != (ssize_t)(n * 8))
			return err_set(e, -EIO, "read the page map of process %d", (int)s->pid);
		while (from < n) {
			size_t to;
			int rc;

			while (from < n && !wanted(words[from]))
				from++;
			for (to = from; to < n && wanted(words[to]);)
				to++;
			rc = walk_range(s, 0, start + from * PAGE, start + from * PAGE, start + to * PAGE, e);
			if (rc)
				return rc;
			from = to;
		}
		start += n * PAGE;
	}
	return 0;
}

static int walk_area_of(struct walk *s, const struct image *img, const struct image_vma *v, struct err *e)
{
	int rc;

	if (v->kind == VMA_OBJECT)
		return walk_range(s, (uint32_t)v->file + 1, v->offset, v->start, v->end, e);
	if (v->kind == VMA_FILE && img->files[v->file].ship) {
		uint64_t size = (img->files[v->file].size + PAGE - 1) & ~(PAGE - 1);
		uint64_t end = v->offset >= size ? v->start : MIN(v->end, v->start + size - v->offset);

		return walk_range(s, 0, v->start, v->start, end, e);
	}
	if (!s->no_scan) {
		rc = scan_area(s, v->start, v->end, e);
		if (rc != -ENOTTY && rc != -EINVAL)
			return rc;
		s->no_scan = true;
	}
	return walk_area(s, v->start, v->end, e);
}

/* Where the process has all of it in one area that it may write to, or 0 */
static uint64_t whole_area(const struct image *img, size_t index, uint64_t len)
{
	for (size_t i = 0; i < img->n_vmas; i++) {
		const struct image_vma *v = &img->vmas[i];

		if (v->kind == VMA_OBJECT && v->file == (int64_t)index && !v->offset && v->end - v->start == len &&
		    v->prot & PROT_WRITE)
			return v->start;
	}
	return 0;
}

/* As the process's own memory, if it can be: then nobody has to copy it once more */
static int walk_segment(struct walk *s, const struct image *img, size_t index, struct err *e)
{
	const struct image_object *o = &img->objects[index];
	uint64_t len = (o->size + PAGE - 1) & ~(PAGE - 1), at = o->whole ? whole_area(img, index, len) : 0;

	if (at)
		return walk_range(s, 0, at, at, at + len, e);
	return o->whole && o->via ? walk_range(s, (uint32_t)index + 1, 0, o->via, o->via + len, e) : 0;
}

/* A memfd that isn't mapped, or not wholly: its content by a descriptor */
static int walk_object(struct walk *s, const struct image *img, size_t index, struct err *e)
{
	char path[64];
	int rc = 0;

	if (img->objects[index].sysv)
		return walk_segment(s, img, index, e);
	for (size_t i = 0; i < img->n_fds; i++) {
		const struct image_open *o = &img->opens[img->fds[i].open];
		AUTO_FD int fd = -1;

		if (o->kind != OPEN_MEMFD || o->file != (int64_t)index)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)s->pid, (int)img->fds[i].fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return err_set(e, -errno, "read a memfd of the program");
		for (off_t at = 0; !rc; at += MEM_RUN) {
			ssize_t n = pread(fd, s->buf, MEM_RUN, at);

			if (n < 0)
				return err_set(e, -errno, "read a memfd of the program");
			if (!n)
				return 0;
			memset(s->buf + n, 0, -(size_t)n & (PAGE - 1));
			rc = give_nonzero(s, (uint32_t)index + 1, (uint64_t)at, ((size_t)n + PAGE - 1) & ~(PAGE - 1), e);
		}
		return rc;
	}
	return 0;
}

static bool travels(const struct image *img, const struct image_vma *v)
{
	switch ((enum vma_kind)v->kind) {
	case VMA_ANON:
		return true;
	case VMA_FILE:
		return !v->shared || img->files[v->file].ship;
	case VMA_OBJECT:
		/* memfds go by descriptor, below; segments from where all of each is attached */
		return !img->objects[v->file].memfd && !img->objects[v->file].sysv;
	case VMA_VDSO:
	case VMA_VVAR:
	case VMA_VSYSCALL:
		break;
	}
	return false;
}

int mem_walk(pid_t pid, const struct image *img, mem_pages_fn *give, void *ctx, struct err *e)
{
	AUTO_FREE uint8_t *buf = aligned_alloc(PAGE, MEM_RUN);
	struct walk s = { .pid = pid, .buf = buf, .give = give, .ctx = ctx,
			  .no_scan = getenv("MMIGRATE_NO_PAGEMAP_SCAN") != NULL };
	AUTO_FD int pagemap = -1;
	char path[48];
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0 || !buf)
		return err_set(e, buf ? -errno : -ENOMEM, "read the page map of process %d", (int)pid);
	s.pagemap = pagemap;
	for (size_t i = 0; i < img->n_vmas && !rc; i++) {
		const struct image_vma *v = &img->vmas[i];

		if (travels(img, v) || (v->kind == VMA_OBJECT && !img->objects[v->file].sysv &&
					!image_has_descriptor(img, (size_t)v->file)))
			rc = walk_area_of(&s, img, v, e);
	}
	for (size_t i = 0; i < img->n_objects && !rc; i++)
		rc = walk_object(&s, img, i, e);
	return rc;
}

/* SPDX-License-Identifier: MIT */
/*
 * file_id.c - Is this the same file as that machine's?
 *
 * A file may be anything and may change under the hand that reads it, so nothing is mapped: the
 * ELF parser asks for the few bytes that it needs by offset, of a descriptor or of memory, and
 * every number in them is a claim.  Only what x86-64 runs is looked into, 64-bit little-endian
 * ELF; all else has no build id, which is no failure.
 */
#include "proxy/image/file_id.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/link/sha256.h"

#define PHDRS_MAX 512		/* a binary has about a dozen */
#define NOTES_MAX 256		/* in all segments; about three */

/* ---- build id ----------------------------------------------------------------------------- */

/* Where the bytes come from: a descriptor, or memory when there is some */
struct source {
	const uint8_t *p;
	uint64_t len;
	int fd;
};

/** fetch() - Exactly @n bytes from offset @at on.  Return: are there so many? */
static bool fetch(const struct source *s, void *to, size_t n, uint64_t at)
{
	if (at > s->len || n > s->len - at)
		return false;
	if (!s->p)
		return pread(s->fd, to, n, (off_t)at) == (ssize_t)n;
	memcpy(to, s->p + at, n);
	return true;
}

static void to_hex(const uint8_t *p, size_t n, char *hex)
{
	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", p[i]);
}

static uint64_t round_up(uint64_t n, uint64_t align)
{
	return (n + align - 1) / align * align;
}

/**
 * find_in_notes() - The build id among the notes of one segment
 * @left:	How many notes are still looked at, in all segments
 *
 * Notes are padded to 4 bytes, in a segment that is aligned to 8 to 8.  Sizes have 32 bits and
 * offsets stay below the file's length, so that no sum runs over.
 *
 * Return: found
 */
static bool find_in_notes(const struct source *s, const Elf64_Phdr *ph, unsigned *left, char *hex)
{
	uint64_t align = ph->p_align == 8 ? 8 : 4, at = ph->p_offset, end;

	if (at > s->len)
		return false;
	end = at + MIN(ph->p_filesz, s->len - at);
	for (; *left && at < end; --*left) {
		uint8_t id[BUILD_ID_MAX];
		Elf64_Nhdr n;
		char name[4];

		if (end - at < sizeof(n) || !fetch(s, &n, sizeof(n), at))
			return false;
		at += sizeof(n);
		if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == sizeof(name) && n.n_descsz &&
		    n.n_descsz <= sizeof(id) && end - at >= sizeof(name) + n.n_descsz &&
		    fetch(s, name, sizeof(name), at) &&
		    !memcmp(name, ELF_NOTE_GNU, sizeof(name)) &&
		    fetch(s, id, n.n_descsz, at + sizeof(name))) {
			to_hex(id, n.n_descsz, hex);
			return true;
		}
		at = ph->p_offset + round_up(at - ph->p_offset + n.n_namesz, align);
		at = ph->p_offset + round_up(at - ph->p_offset + n.n_descsz, align);
	}
	return false;
}

static void find_build_id(const struct source *s, char hex[BUILD_ID_HEX])
{
	unsigned left = NOTES_MAX;
	Elf64_Ehdr eh;

	hex[0] = 0;
	if (!fetch(s, &eh, sizeof(eh), 0) || memcmp(eh.e_ident, ELFMAG, SELFMAG) ||
	    eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_ident[EI_DATA] != ELFDATA2LSB ||
	    eh.e_phentsize != sizeof(Elf64_Phdr) || eh.e_phnum > PHDRS_MAX || eh.e_phoff > s->len)
		return;
	for (unsigned i = 0; i < eh.e_phnum && left; i++) {
		Elf64_Phdr ph;

		if (!fetch(s, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)))
			return;
		if (ph.p_type == PT_NOTE && find_in_notes(s, &ph, &left, hex))
			return;
	}
}

void file_build_id(const void *elf, size_t len, char hex[BUILD_ID_HEX])
{
	const struct source s = { .p = len ? elf : (const void *)"", .len = len, .fd = -1 };

	find_build_id(&s, hex);
}

/* ---- what has been hashed already --------------------------------------------------------- */

/*
 * A process's small memory.  A file that was changed within the last second isn't remembered: the
 * clock of file times ticks coarsely, and the next change might bear the same time.
 */
#define CACHE_SIZE 256
#define CACHE_MIN_AGE_NS NS_PER_S

struct cached {
	struct stat st;		/* st_nlink 0: nothing is here */
	char sha256[SHA256_HEX], build_id[BUILD_ID_HEX];
};

static struct {
	struct cached entries[CACHE_SIZE];
	size_t next;		/* the oldest, replaced next */
} cache;

static int64_t ns_of(struct timespec ts)
{
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static bool unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       ns_of(a->st_mtim) == ns_of(b->st_mtim) && ns_of(a->st_ctim) == ns_of(b->st_ctim);
}

static struct cached *cache_find(const struct stat *st)
{
	for (size_t i = 0; i < CACHE_SIZE; i++)
		if (cache.entries[i].st.st_nlink && unchanged(&cache.entries[i].st, st))
			return &cache.entries[i];
	return NULL;
}

static void cache_add(const struct cached *c)
{
	int64_t age = clock_ns(CLOCK_REALTIME) - MAX(ns_of(c->st.st_ctim), ns_of(c->st.st_mtim));

	if (age < CACHE_MIN_AGE_NS || !c->st.st_nlink)
		return;
	cache.entries[cache.next] = *c;
	cache.next = (cache.next + 1) % CACHE_SIZE;
}

/* ---- content ------------------------------------------------------------------------------ */

/**
 * open_regular() - Open what is surely a regular file
 *
 * stat comes first: opening a device may already do something.  What is there then might be
 * something else by now, hence O_NONBLOCK, O_NOCTTY and the second look.
 *
 * Return: a descriptor or a negative errno
 */
static int open_regular(const char *path, struct stat *st, struct err *e)
{
	AUTO_FD int fd = -1;

	if (stat(path, st))
		return err_set(e, -errno, "look at %s", path);
	if (S_ISREG(st->st_mode)) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 || fstat(fd, st))
			return err_set(e, -errno, "open %s", path);
	}
	if (!S_ISREG(st->st_mode))
		return err_say(e, -EINVAL, "%s isn't a regular file", path);
	return take_fd(&fd);
}

/** read_content() - Fills @c from the file itself.  Return: 0 or a negative errno */
static int read_content(const char *path, int fd, struct cached *c, struct err *e)
{
	const struct source s = { .len = (uint64_t)c->st.st_size, .fd = fd };
	struct stat after;
	int rc = sha256_fd(fd, c->sha256, e);

	if (rc)
		return err_wrap(e, rc, "read %s", path);
	find_build_id(&s, c->build_id);
	if (fstat(fd, &after))
		return err_set(e, -errno, "look at %s", path);
	if (!unchanged(&c->st, &after))
		return err_say(e, -ESTALE, "%s was changed while it was being read", path);
	return 0;
}

/**
 * file_identify() - Find out the content's digest and the build id of the file at f->path
 *
 * Return: 0, or a negative errno and nothing of @f has changed (but -ENOMEM: either of them may)
 */
int file_identify(struct image_file *f, struct err *e)
{
	struct cached fresh = { .sha256 = "" }, *c;
	AUTO_FD int fd = -1;
	int rc;

	if (!f->path || f->path[0] != '/')
		return err_say(e, -EINVAL, "a file has no absolute path");
	fd = open_regular(f->path, &fresh.st, e);
	if (fd < 0)
		return fd;
	c = cache_find(&fresh.st);
	if (!c) {
		c = &fresh;
		rc = read_content(f->path, fd, c, e);
		if (rc)
			return rc;
		cache_add(c);
	}
	rc = image_set_str(&f->sha256, c->sha256);
	if (!rc)
		rc = image_set_str(&f->build_id, c->build_id);
	return rc ? err_set(e, rc, "identify %s", f->path) : 0;
}

/* ---- identity ----------------------------------------------------------------------------- */

void file_set_identity(struct image_file *f, const struct stat *st)
{
	f->device = st->st_dev;
	f->inode = st->st_ino;
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (uint64_t)ns_of(st->st_mtim);
	f->ctime_ns = (uint64_t)ns_of(st->st_ctim);
	f->mode = st->st_mode;
}

bool file_same_numbers(const struct image_file *a, const struct image_file *b)
{
	return a->inode == b->inode && a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->ctime_ns == b->ctime_ns;
}

bool file_same_identity(const struct image_file *a, const struct stat *st)
{
	struct image_file b = { 0 };

	file_set_identity(&b, st);
	return file_same_numbers(a, &b);
}

/** file_describe() - A file's version for a sentence; ids are cut to eight digits */
const char *file_describe(const struct image_file *f, char *buf, size_t size)
{
	const char *id = f->build_id ? f->build_id : "", *sum = f->sha256 ? f->sha256 : "";

	snprintf(buf, size, "%llu bytes%s%.8s%s%s%.8s%s", (unsigned long long)f->size,
		 *id ? ", build-id " : "", id, strlen(id) > 8 ? "…" : "",
		 *sum ? ", sha256 " : "", sum, strlen(sum) > 8 ? "…" : "");
	return buf;
}

bool file_is_kernel_view(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

/* SPDX-License-Identifier: MIT */
/*
 * stub.c - Finds the struct mshim_state in a program that has libmshim.so loaded
 */
#include "common/stub.h"

#include <elf.h>
#include <errno.h>

#define PHDRS_MAX 64		/* more than any linker makes */
#define DYNAMIC_MAX 128
#define CHAIN_MAX 64

struct image {
	stub_peek_fn *peek;
	void *ctx;
	uint64_t base;
	uint64_t hash, symbols, strings;	/* addresses; 0: there is none */
};

/* The loader has made addresses of glibc's dynamic entries, others leave them as offsets */
static uint64_t address(const struct image *im, uint64_t value)
{
	return value < im->base ? im->base + value : value;
}

static int read_dynamic(struct image *im, uint64_t at)
{
	Elf64_Dyn d;
	int rc;

	for (int i = 0; i < DYNAMIC_MAX; i++) {
		rc = im->peek(im->ctx, at + (uint64_t)i * sizeof(d), &d, sizeof(d));
		if (rc)
			return rc;
		if (d.d_tag == DT_NULL)
			return im->hash && im->symbols && im->strings ? 0 : -ENOENT;
		if (d.d_tag == DT_GNU_HASH)
			im->hash = address(im, d.d_un.d_ptr);
		else if (d.d_tag == DT_SYMTAB)
			im->symbols = address(im, d.d_un.d_ptr);
		else if (d.d_tag == DT_STRTAB)
			im->strings = address(im, d.d_un.d_ptr);
	}
	return -ENOENT;
}

static int read_headers(struct image *im)
{
	Elf64_Ehdr e;
	Elf64_Phdr p;
	int rc = im->peek(im->ctx, im->base, &e, sizeof(e));

	if (rc)
		return rc;
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_type != ET_DYN ||
	    e.e_phentsize != sizeof(p) || e.e_phnum > PHDRS_MAX)
		return -ENOENT;
	for (int i = 0; i < e.e_phnum; i++) {
		rc = im->peek(im->ctx, im->base + e.e_phoff + (uint64_t)i * sizeof(p), &p, sizeof(p));
		if (rc)
			return rc;
		if (p.p_type == PT_DYNAMIC)
			return read_dynamic(im, im->base + p.p_vaddr);
	}
	return -ENOENT;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (uint8_t)*name;
	return h;
}

/* Is symbol number @index ours?  Return: 1, 0, or what @peek says */
static int is_state(const struct image *im, uint32_t index, Elf64_Sym *sym)
{
	char name[sizeof(MSHIM_STATE)];
	int rc = im->peek(im->ctx, im->symbols + index * sizeof(*sym), sym, sizeof(*sym));

	rc = rc ? rc : im->peek(im->ctx, im->strings + sym->st_name, name, sizeof(name));
	if (rc)
		return rc;
	return !memcmp(name, MSHIM_STATE, sizeof(name)) && sym->st_shndx != SHN_UNDEF &&
	       sym->st_size >= sizeof(struct mshim_state);
}

/* DT_GNU_HASH: four words, 64-bit words of a filter, a bucket's first symbol, a hash a symbol */
static int find_symbol(const struct image *im, Elf64_Sym *sym)
{
	struct { uint32_t buckets, first, filter, shift; } head;
	uint32_t want = gnu_hash(MSHIM_STATE), index, hash;
	uint64_t buckets, chain;
	int rc = im->peek(im->ctx, im->hash, &head, sizeof(head));

	if (rc)
		return rc;
	if (!head.buckets)
		return -ENOENT;
	buckets = im->hash + sizeof(head) + 8ull * head.filter;
	chain = buckets + 4ull * head.buckets;
	rc = im->peek(im->ctx, buckets + 4ull * (want % head.buckets), &index, sizeof(index));
	if (rc)
		return rc;
	if (index < head.first)		/* 0: an empty bucket */
		return -ENOENT;
	for (int i = 0; i < CHAIN_MAX; i++, index++) {
		rc = im->peek(im->ctx, chain + 4ull * (index - head.first), &hash, sizeof(hash));
		if (rc)
			return rc;
		if ((hash | 1) == (want | 1)) {
			rc = is_state(im, index, sym);
			if (rc)
				return rc < 0 ? rc : 0;
		}
		if (hash & 1)		/* the bucket's last */
			break;
	}
	return -ENOENT;
}

int stub_find_state(stub_peek_fn *peek, void *ctx, uint64_t base, uint64_t *addr)
{
	struct image im = { .peek = peek, .ctx = ctx, .base = base };
	struct mshim_state state;
	Elf64_Sym sym;
	int rc = read_headers(&im);

	rc = rc ? rc : find_symbol(&im, &sym);
	rc = rc ? rc : peek(ctx, base + sym.st_value, &state, sizeof(state));
	if (rc)
		return rc;
	if (state.magic != MSHIM_STATE_MAGIC || state.version != MSHIM_STATE_VERSION)
		return -ENOENT;
	*addr = base + sym.st_value;
	return 0;
}

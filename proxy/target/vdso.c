/* SPDX-License-Identifier: MIT */
/*
 * vdso.c - The program's vdso on another kernel
 *
 * The program has pointers into its vdso.  Where this kernel's is the same, byte for byte, it is
 * moved to where the program expects it.  Where it isn't, the old one stays as plain memory, and
 * the entry of each of its functions becomes a jump to this kernel's function of that name, or
 * the raw system call.
 *
 * __vdso_getrandom is always the raw call: its opaque state belongs to the kernel it came from.
 */
#include "proxy/target/restore.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#define VDSO_MAX 65536

static const struct vdso_function {
	const char *name;
	int nr;			/* the system call that does the same */
	bool always_call;
} functions[] = {
	{ "clock_gettime", SYS_clock_gettime, false },
	{ "gettimeofday", SYS_gettimeofday, false },
	{ "time", SYS_time, false },
	{ "getcpu", SYS_getcpu, false },
	{ "clock_getres", SYS_clock_getres, false },
	{ "getrandom", SYS_getrandom, true },
};

struct symbols {
	const uint8_t *elf;
	size_t len;
	const Elf64_Sym *syms;
	size_t n;
	const char *names;
	size_t names_len;
};

/* Finds .dynsym and .dynstr by the section headers; everything checked: the bytes are a peer's */
static int find_symbols(struct symbols *s, const uint8_t *elf, size_t len)
{
	const Elf64_Ehdr *eh = (const void *)elf;
	const Elf64_Shdr *sh;

	*s = (struct symbols){ .elf = elf, .len = len };
	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_shoff > len ||
	    eh->e_shentsize != sizeof(*sh) || eh->e_shnum > (len - eh->e_shoff) / sizeof(*sh))
		return -ENOEXEC;
	sh = (const void *)(elf + eh->e_shoff);
	for (unsigned i = 0; i < eh->e_shnum; i++) {
		const Elf64_Shdr *str;

		if (sh[i].sh_type != SHT_DYNSYM || sh[i].sh_offset > len || sh[i].sh_size > len - sh[i].sh_offset ||
		    sh[i].sh_link >= eh->e_shnum)
			continue;
		str = &sh[sh[i].sh_link];
		if (str->sh_offset > len || str->sh_size > len - str->sh_offset || !str->sh_size ||
		    elf[str->sh_offset + str->sh_size - 1])
			return -ENOEXEC;
		s->syms = (const void *)(elf + sh[i].sh_offset);
		s->n = sh[i].sh_size / sizeof(Elf64_Sym);
		s->names = (const char *)elf + str->sh_offset;
		s->names_len = str->sh_size;
		return 0;
	}
	return -ENOEXEC;
}

static const struct vdso_function *function_of(const struct symbols *s, const Elf64_Sym *sym)
{
	const char *name;

	if (sym->st_name >= s->names_len || ELF64_ST_TYPE(sym->st_info) != STT_FUNC || sym->st_value + 16 > s->len)
		return NULL;
	name = s->names + sym->st_name;
	if (!strncmp(name, "__vdso_", 7))
		name += 7;
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		if (!strcmp(name, functions[i].name))
			return &functions[i];
	return NULL;
}

static uint64_t value_of(const struct symbols *s, const struct vdso_function *f)
{
	for (size_t i = 0; i < s->n; i++)
		if (function_of(s, &s->syms[i]) == f)
			return s->syms[i].st_value;
	return 0;
}

bool vdso_is_same(const struct image *img, uint64_t base, uint64_t end, struct remote *r)
{
	uint8_t mine[VDSO_MAX];

	if (getenv("MMIGRATE_FOREIGN_VDSO"))	/* for the tests: this machine has only one kernel */
		return false;
	return end - base == img->vdso.len && img->vdso.len <= sizeof(mine) && end - base == img->vdso_end - img->vdso_base &&
	       !remote_read(r, base, mine, img->vdso.len) && !memcmp(mine, img->vdso.p, img->vdso.len);
}

struct find_vdso {
	uint64_t start, end, not_this;
};

static int note_vdso(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	struct find_vdso *f = ctx;

	if (!strcmp(m->name, "[vdso]") && m->start != f->not_this) {
		f->start = m->start;
		f->end = m->end;
	}
	return 0;
}

static size_t make_jump(uint8_t out[16], uint64_t to)
{
	struct bytes b = bytes_of(out, 16);

	bytes_put(&b, "\x49\xbb", 2);		/* mov $to,%r11 */
	bytes_put_le(&b, to, 8);
	bytes_put(&b, "\x41\xff\xe3", 3);	/* jmp *%r11 */
	return (size_t)(b.at - out);
}

static size_t make_call(uint8_t out[16], int nr)
{
	struct bytes b = bytes_of(out, 16);

	bytes_put(&b, "\xb8", 1);		/* mov $nr,%eax */
	bytes_put_le(&b, (uint64_t)nr, 4);
	bytes_put(&b, "\x0f\x05\xc3", 3);	/* syscall; ret */
	return (size_t)(b.at - out);
}

/**
 * restore_vdso() - Make the image's foreign vdso call this kernel's
 *
 * The old vdso's area is mapped, writable, at its place; ours lies somewhere else.
 */
int restore_vdso(struct restore *s, struct err *e)
{
	struct find_vdso ours = { .not_this = s->img->vdso_base };
	AUTO_FREE uint8_t *old = NULL;
	AUTO_FREE uint8_t *mine = NULL;
	struct symbols old_syms, my_syms = { 0 };
	int rc;

	if (!s->foreign_vdso)
		return 0;
	rc = procfs_maps(s->pid, false, note_vdso, &ours, e);
	if (rc)
		return rc;
	old = malloc(s->img->vdso.len + 1);
	mine = malloc(VDSO_MAX);
	if (!old || !mine)
		return err_set(e, -ENOMEM, "adapt the vdso");
	memcpy(old, s->img->vdso.p, s->img->vdso.len);
	rc = find_symbols(&old_syms, s->img->vdso.p, s->img->vdso.len);
	if (rc)
		return err_set(e, rc, "read the program's vdso");
	if (ours.start && ours.end - ours.start <= VDSO_MAX &&
	    !remote_read(&s->r, ours.start, mine, ours.end - ours.start) &&
	    find_symbols(&my_syms, mine, ours.end - ours.start))
		my_syms.n = 0;
	for (size_t i = 0; i < old_syms.n; i++) {
		const struct vdso_function *f = function_of(&old_syms, &old_syms.syms[i]);
		uint64_t at = old_syms.syms[i].st_value, to;
		uint8_t code[16] = { 0 };

		if (!f)
			continue;
		to = f->always_call ? 0 : value_of(&my_syms, f);
		memcpy(old + at, code, to ? make_jump(code, ours.start + to) : make_call(code, f->nr));
	}
	rc = remote_write(&s->r, s->img->vdso_base, old, s->img->vdso.len);
	return rc ? err_set(e, rc, "write the program's vdso") : 0;
}

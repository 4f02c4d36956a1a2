/* SPDX-License-Identifier: MIT */
/*
 * restore_mm.c - The address space: everything goes, then each area comes to its place
 *
 * Areas are mapped writable and get their own protection after the fill, so that the kernel
 * merges and accounts them as it did at the source.
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

#define LOWEST 0x10000ULL		/* vm.mmap_min_addr is at most that where nobody changed it */
#define HIGHEST 0x7ffffffff000ULL

struct piece {
	uint64_t start, end;
	bool vdso, vvar;
};

struct pieces {
	struct piece list[8192];
	size_t n;
};

static int note_piece(void *ctx, const struct map_entry *m, struct err *e)
{
	struct pieces *p = ctx;

	if (!strcmp(m->name, "[vsyscall]"))
		return 0;
	if (p->n == ARRAY_SIZE(p->list))
		return err_say(e, -E2BIG, "too many areas in a fresh process");
	p->list[p->n++] = (struct piece){ m->start, m->end, !strcmp(m->name, "[vdso]"),
					  !strncmp(m->name, "[vvar", 5) };
	return 0;
}

static bool overlaps(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
	return a < b_end && b < a_end;
}

/* A place for @len bytes that neither the image nor the body uses, now or later */
static uint64_t find_hole(const struct image *img, const struct pieces *now, uint64_t len, uint64_t from)
{
	uint64_t at = from;
	bool moved = true;

	while (moved) {
		moved = false;
		for (size_t i = 0; i < img->n_vmas; i++)
			if (overlaps(at, at + len, img->vmas[i].start, img->vmas[i].end)) {
				at = img->vmas[i].end;
				moved = true;
			}
		for (size_t i = 0; i < now->n; i++)
			if (overlaps(at, at + len, now->list[i].start, now->list[i].end)) {
				at = now->list[i].end;
				moved = true;
			}
	}
	return at + len < HIGHEST ? at : 0;
}

uint64_t restore_hole(struct restore *s, uint64_t len, struct err *e)
{
	AUTO_FREE struct pieces *now = calloc(1, sizeof(*now));
	uint64_t at = 0;

	if (now && !procfs_maps(s->pid, false, note_piece, now, e))
		at = find_hole(s->img, now, len, LOWEST);
	if (!at && !(e && e->text[0]))
		err_say(e, -ENOMEM, "there is no room for what has to be moved");
	return at;
}

static int check_areas(const struct image *img, struct err *e)
{
	uint64_t last = LOWEST;

	for (size_t i = 0; i < img->n_vmas; i++) {
		const struct image_vma *v = &img->vmas[i];

		if (v->kind == VMA_VSYSCALL)
			continue;
		if (v->start < last || v->end <= v->start || v->end > HIGHEST || (v->start | v->end) & 4095)
			return err_say(e, -EINVAL, "the image's areas make no sense");
		if ((v->kind == VMA_FILE && (v->file < 0 || (size_t)v->file >= img->n_files)) ||
		    (v->kind == VMA_OBJECT && (v->file < 0 || (size_t)v->file >= img->n_objects)))
			return err_say(e, -EINVAL, "the image's areas name files that it doesn't have");
		last = v->end;
	}
	return 0;
}

/* ---- the vdso's block: [vvar…] and [vdso], to where the image expects them ---------------------- */

static int move_block(struct restore *s, struct pieces *now, uint64_t from, uint64_t to, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < now->n && !rc; i++) {
		struct piece *p = &now->list[i];
		uint64_t len = p->end - p->start, there = p->start - from + to;

		if (!p->vdso && !p->vvar)
			continue;
		rc = remote_do(&s->r, e, "move the vdso", SYS_mremap, p->start, len, len,
			       MREMAP_MAYMOVE | MREMAP_FIXED, there);
		p->start = there;
		p->end = there + len;
	}
	return rc ? rc : remote_run(&s->r, e);
}

static int place_vdso(struct restore *s, struct pieces *now, struct err *e)
{
	const struct image *img = s->img;
	uint64_t start = UINT64_MAX, end = 0, vdso = 0, vdso_end = 0, to = 0, via;
	int rc;

	for (size_t i = 0; i < now->n; i++) {
		struct piece *p = &now->list[i];

		if (!p->vdso && !p->vvar)
			continue;
		start = MIN(start, p->start);
		end = MAX(end, p->end);
		if (p->vdso) {
			vdso = p->start;
			vdso_end = p->end;
		}
	}
	if (!vdso)
		return 0;
	s->foreign_vdso = img->vdso_base && !vdso_is_same(img, vdso, vdso_end, &s->r);
	if (img->vdso_base && !s->foreign_vdso)
		to = img->vdso_base - (vdso - start);	/* the same build has the same layout */
	if (to == start)
		return 0;
	via = find_hole(img, now, end - start, LOWEST);
	if (!via)
		return err_say(e, -ENOMEM, "no room to move the vdso");
	if (!to) {	/* ours stays as a helper, where it disturbs nobody */
		return move_block(s, now, start, via, e);
	}
	if (!overlaps(start, end, to, to + (end - start)))
		return move_block(s, now, start, to, e);
	rc = move_block(s, now, start, via, e);
	return rc ? rc : move_block(s, now, via, to, e);
}

int restore_clear(struct restore *s, struct err *e)
{
	AUTO_FREE struct pieces *now = calloc(1, sizeof(*now));
	uint64_t scratch;
	int rc;

	if (!now)
		return err_set(e, -ENOMEM, "clear the address space");
	rc = check_areas(s->img, e);
	if (!rc)
		rc = procfs_maps(s->pid, false, note_piece, now, e);
	if (rc)
		return rc;
	scratch = find_hole(s->img, now, REMOTE_SIZE, LOWEST);
	if (!scratch)
		return err_say(e, -ENOMEM, "no room for a scratch area");
	rc = remote_open(&s->r, s->pid, scratch, e);
	for (size_t i = 0; i < now->n && !rc; i++)
		if (!now->list[i].vdso && !now->list[i].vvar)
			rc = remote_do(&s->r, e, "clear the address space", SYS_munmap, now->list[i].start,
				       now->list[i].end - now->list[i].start);
	if (!rc)
		rc = remote_run(&s->r, e);
	if (rc)
		return rc;
	now->list[now->n++] = (struct piece){ scratch, scratch + REMOTE_SIZE, false, false };
	return place_vdso(s, now, e);
}

/* ---- mapping --------------------------------------------------------------------------------------- */

/* The descriptors that mappings need, in the body; slot[] gets their numbers there */
static int give_files(struct restore *s, int *file_slot, int *object_slot, struct err *e)
{
	AUTO_FREE int *fds = calloc(s->img->n_files + s->img->n_objects + 1, sizeof(int));
	int n = 0, rc;

	if (!fds)
		return err_set(e, -ENOMEM, "map the program's files");
	for (size_t i = 0; i < s->img->n_files; i++) {
		file_slot[i] = -1;
		if (!s->img->files[i].mapped || s->files[i] < 0)
			continue;
		file_slot[i] = s->base + n;
		fds[n++] = s->files[i];
	}
	for (size_t i = 0; i < s->img->n_objects; i++) {
		object_slot[i] = -1;
		if (s->img->objects[i].sysv)
			continue;
		object_slot[i] = s->base + n;
		fds[n++] = s->objects[i];
	}
	rc = restore_give(s, fds, n, e);
	return rc < 0 ? rc : n;
}

static uint64_t map_flags(const struct image_vma *v)
{
	uint64_t flags = MAP_FIXED_NOREPLACE | (v->shared ? MAP_SHARED : MAP_PRIVATE);

	if (v->vmflags & VMFLAG_GROWSDOWN)
		flags |= MAP_GROWSDOWN | MAP_STACK;
	if ((v->vmflags & VMFLAG_NORESERVE) || v->prot == PROT_NONE)
		flags |= MAP_NORESERVE;
	return flags;
}

static bool is_segment(const struct restore *s, const struct image_vma *v)
{
	return v->kind == VMA_OBJECT && s->img->objects[v->file].sysv;
}

static int map_one(struct restore *s, const struct image_vma *v, const int *file_slot, const int *object_slot,
		   struct err *e)
{
	uint64_t flags = map_flags(v), prot = (uint64_t)v->prot;
	int fd = -1;

	if (v->kind == VMA_FILE && !s->img->files[v->file].ship)
		fd = file_slot[v->file];
	else if (v->kind == VMA_OBJECT)
		fd = object_slot[v->file];
	if (prot != PROT_NONE && !(v->kind == VMA_FILE && v->shared))
		prot |= PROT_WRITE;
	if (v->kind == VMA_VDSO)
		prot = PROT_READ | PROT_WRITE;
	return remote_do(&s->r, e, "map an area of the program", SYS_mmap, v->start, v->end - v->start, prot,
			 fd < 0 ? flags | MAP_ANONYMOUS : flags, (uint64_t)(int64_t)fd, fd < 0 ? 0 : v->offset);
}

int restore_map(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	AUTO_FREE int *file_slot = calloc(img->n_files + 1, sizeof(int));
	AUTO_FREE int *object_slot = calloc(img->n_objects + 1, sizeof(int));
	int given, rc;

	if (!file_slot || !object_slot)
		return err_set(e, -ENOMEM, "map the program's files");
	given = give_files(s, file_slot, object_slot, e);
	rc = given < 0 ? given : restore_attach(s, e);
	for (size_t i = 0; i < img->n_vmas && !rc; i++) {
		const struct image_vma *v = &img->vmas[i];

		if (v->kind == VMA_VSYSCALL || v->kind == VMA_VVAR || (v->kind == VMA_VDSO && !s->foreign_vdso) ||
		    is_segment(s, v))
			continue;
		rc = map_one(s, v, file_slot, object_slot, e);
	}
	for (int k = 0; k < given && !rc; k++)
		rc = remote_do(&s->r, e, "close a mapped file", SYS_close, (uint64_t)(s->base + k));
	return rc ? rc : remote_run(&s->r, e);
}

/* ---- after the fill ---------------------------------------------------------------------------------- */

static const struct {
	enum vmflag flag;
	int advice;
} advices[] = {
	{ VMFLAG_DONTFORK, MADV_DONTFORK },	{ VMFLAG_DONTDUMP, MADV_DONTDUMP },
	{ VMFLAG_HUGEPAGE, MADV_HUGEPAGE },	{ VMFLAG_NOHUGEPAGE, MADV_NOHUGEPAGE },
	{ VMFLAG_MERGEABLE, MADV_MERGEABLE },	{ VMFLAG_WIPEONFORK, MADV_WIPEONFORK },
	{ VMFLAG_SEQ_READ, MADV_SEQUENTIAL },	{ VMFLAG_RAND_READ, MADV_RANDOM },
};

static int protect(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_vmas && !rc; i++) {
		const struct image_vma *v = &s->img->vmas[i];
		uint64_t len = v->end - v->start;

		if (v->kind == VMA_VSYSCALL || v->kind == VMA_VVAR || (v->kind == VMA_VDSO && !s->foreign_vdso))
			continue;
		if ((!(v->prot & PROT_WRITE) && v->prot != PROT_NONE) || is_segment(s, v))
			rc = remote_do(&s->r, e, "protect an area of the program", SYS_mprotect, v->start, len,
				       (uint64_t)v->prot);
		for (size_t k = 0; k < ARRAY_SIZE(advices) && !rc; k++)
			if (v->vmflags & advices[k].flag)
				rc = remote_do(&s->r, e, NULL, SYS_madvise, v->start, len,
					       (uint64_t)advices[k].advice);
		if (!rc && (v->vmflags & VMFLAG_LOCKED))
			rc = remote_do(&s->r, e, NULL, SYS_mlock, v->start, len);
	}
	return rc;
}

/* What is left of interrupted sleeps goes below the sleepers' stacks */
static int write_timespecs(struct restore *s, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < s->img->n_threads && !rc; i++) {
		const struct image_thread *t = &s->img->threads[i];
		struct timespec ts = { t->restart_ns / NS_PER_S, t->restart_ns % NS_PER_S };

		if (t->restart_at)
			rc = remote_write(&s->r, t->restart_at, &ts, sizeof(ts));
	}
	return rc ? err_set(e, rc, "write what is left of a sleep") : 0;
}

int restore_memory(struct restore *s, struct err *e)
{
	const struct image *img = s->img;
	struct prctl_mm_map map = {
		.start_code = img->start_code,	.end_code = img->end_code,
		.start_data = img->start_data,	.end_data = img->end_data,
		.start_brk = img->start_brk,	.brk = img->brk,
		.start_stack = img->start_stack, .arg_start = img->arg_start,
		.arg_end = img->arg_end,	.env_start = img->env_start,
		.env_end = img->env_end,	.auxv_size = (uint32_t)img->auxv.len,
		.exe_fd = (uint32_t)-1,
	};
	uint64_t at, auxv;
	int rc = write_timespecs(s, e);

	if (!rc)
		rc = protect(s, e);
	if (!rc)
		rc = remote_run(&s->r, e);
	if (rc)
		return rc;
	auxv = remote_put(&s->r, img->auxv.p, img->auxv.len);
	map.auxv = (void *)(uintptr_t)auxv;
	at = remote_put(&s->r, &map, sizeof(map));
	if (!auxv || !at)
		return err_say(e, -EINVAL, "the image's auxiliary vector is too long");
	return remote_call(&s->r, NULL, e, "describe the address space to the kernel", SYS_prctl, PR_SET_MM,
			   PR_SET_MM_MAP, at, sizeof(map), 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * look_areas.c - What a program consists of, from outside: its memory areas
 *
 * smaps costs 16 ms a GiB, so that it is read once, before the freeze; after it, areas that
 * haven't changed keep what smaps said of them, and it is read again only if there are others.
 */
#include "proxy/origin/look.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/scope.h"
#include "common/stub.h"
#include "proxy/trace/procfs.h"

static const char gone[] = " (deleted)";

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* Special names of maps(5), and what becomes of them */
static const struct {
	const char *prefix;
	int kind;			/* enum vma_kind, or -1: a reason */
	enum reason_code code;
	const char *text;
} special[] = {
	{ "[vdso]", VMA_VDSO, 0, NULL },
	{ "[vvar", VMA_VVAR, 0, NULL },
	{ "[vsyscall]", VMA_VSYSCALL, 0, NULL },
	{ "[heap]", VMA_ANON, 0, NULL },
	{ "[stack", VMA_ANON, 0, NULL },
	{ "[anon:", VMA_ANON, 0, NULL },
	{ "[anon_shmem:", VMA_OBJECT, 0, NULL },
	{ "/dev/zero", VMA_OBJECT, 0, NULL },
	{ "/memfd:", VMA_OBJECT, 0, NULL },
	{ "/dev/shm/", VMA_OBJECT, 0, NULL },		/* with its name gone: as good as anonymous */
	{ "/SYSV", VMA_OBJECT, 0, NULL },
	{ "/[aio]", -1, REASON_AIO, "the program has an asynchronous I/O context" },
	{ "anon_inode:[io_uring]", -1, REASON_IO_URING, "the program has an io_uring ring" },
	{ "/anon_hugepage", -1, REASON_HUGETLB, "the program uses huge pages of hugetlbfs" },
	{ "anon_inode:", -1, REASON_MAPPING, "the program maps a kernel object that can't be made again" },
	{ "[", -1, REASON_MAPPING, "the program has an area that this build doesn't know" },
};

/* What there is to know of it, and whether it moves, look_sysv.c finds out */
static int segment_index(struct look *l, const struct map_entry *m)
{
	struct image_object *o;

	for (size_t i = 0; i < l->img->n_objects; i++)
		if (l->img->objects[i].sysv && l->img->objects[i].inode == m->inode)
			return (int)i;
	o = image_add(l->img, objects);
	if (!o)
		return -ENOMEM;
	o->sysv = 1;
	o->device = IMAGE_SYSV_DEVICE;
	o->inode = m->inode;
	return (int)l->img->n_objects - 1;
}

static int object_index(struct look *l, const struct map_entry *m)
{
	struct image_object *o;
	bool memfd = !strncmp(m->name, "/memfd:", 7);
	char name[256];

	for (size_t i = 0; i < l->img->n_objects; i++) {
		o = &l->img->objects[i];
		if (o->inode != m->inode || o->device != m->device)
			continue;
		o->size = MAX(o->size, m->offset + (m->end - m->start));
		if (!o->via)
			o->via = m->start;
		return (int)i;
	}
	o = image_add(l->img, objects);
	snprintf(name, sizeof(name), "%s", memfd ? m->name + 7 : "shared");
	if (ends_with(name, gone))
		name[strlen(name) - sizeof(gone) + 1] = 0;
	if (!o || image_set_str(&o->name, name))
		return -ENOMEM;
	o->device = m->device;
	o->inode = m->inode;
	o->size = m->offset + (m->end - m->start);
	o->memfd = memfd;
	o->via = m->start;
	return (int)l->img->n_objects - 1;
}

static void look_flags(struct look *l, const struct map_entry *m)
{
	if (m->vmflags & VMFLAG_HUGETLB)
		reasons_add(l->why, REASON_HUGETLB, NULL, "the program uses huge pages of hugetlbfs");
	else if ((m->vmflags & (VMFLAG_PFNMAP | VMFLAG_IO)) && m->name[0] != '[')
		reasons_add(l->why, REASON_DEVICE_MAPPING, NULL, "the program maps the device %s", m->name);
	if (m->vmflags & VMFLAG_UFFD)
		reasons_add(l->why, REASON_USERFAULTFD, NULL, "the program watches its own memory with userfaultfd");
	if (m->vmflags & VMFLAG_SHADOW_STACK)
		reasons_add(l->why, REASON_SHADOW_STACK, NULL, "the program uses shadow stacks");
}

/* What kind of area, and its index in files or objects */
static int classify(struct look *l, const struct map_entry *m, struct image_vma *v, struct err *e)
{
	char path[4096];
	bool deleted;
	int i;

	if (!m->name[0]) {
		v->kind = VMA_ANON;
		return 0;
	}
	for (size_t k = 0; k < ARRAY_SIZE(special); k++) {
		if (strncmp(m->name, special[k].prefix, strlen(special[k].prefix)))
			continue;
		if ((!strncmp(special[k].prefix, "/dev/", 5) || !strcmp(special[k].prefix, "/SYSV")) &&
		    (!ends_with(m->name, gone) || m->perms[3] != 's'))
			break;			/* the device itself, or a file */
		v->kind = special[k].kind < 0 ? VMA_ANON : special[k].kind;
		if (special[k].kind < 0)
			reasons_add(l->why, special[k].code, NULL, "%s (%s)", special[k].text, m->name);
		if (v->kind != VMA_OBJECT)
			return 0;
		i = strncmp(m->name, "/SYSV", 5) ? object_index(l, m) : segment_index(l, m);
		v->file = i;
		return i < 0 ? i : 0;
	}
	snprintf(path, sizeof(path), "%s", m->name);
	deleted = ends_with(path, gone);
	if (deleted)
		path[strlen(path) - sizeof(gone) + 1] = 0;
	v->kind = VMA_FILE;
	i = look_file(l, path, 0, deleted, "maps", e);
	if (i < 0)
		return i;
	v->file = i;
	l->img->files[i].mapped = 1;
	if (v->shared && m->perms[1] == 'w')
		l->img->files[i].written = 1;
	return 0;
}

static int each_area(void *ctx, const struct map_entry *m, struct err *e)
{
	struct look *l = ctx;
	struct image_vma *v = image_add(l->img, vmas);

	if (!v)
		return err_set(e, -ENOMEM, "list the memory areas");
	v->start = m->start;
	v->end = m->end;
	v->offset = m->offset;
	v->file = -1;
	v->vmflags = m->vmflags;
	v->shared = m->perms[3] == 's';
	v->prot = (m->perms[0] == 'r' ? PROT_READ : 0) | (m->perms[1] == 'w' ? PROT_WRITE : 0) |
		  (m->perms[2] == 'x' ? PROT_EXEC : 0);
	if (!m->offset && ends_with(m->name, "/libmshim.so"))
		l->img->shim_base = m->start;
	look_flags(l, m);
	return classify(l, m, v, e);
}

/* The stub's page is made anew wherever the program is: it isn't the program's own */
static void leave_stub_out(struct look *l)
{
	struct image *img = l->img;

	for (size_t i = 0; i < img->n_vmas; i++) {
		const struct image_vma *v = &img->vmas[i];

		if (v->start >= CALL_STUB + CALL_STUB_LEN || v->end <= CALL_STUB)
			continue;
		if (v->start == CALL_STUB && v->end == CALL_STUB + CALL_STUB_LEN && v->kind == VMA_ANON && img->shim_base) {
			memmove(&img->vmas[i], &img->vmas[i + 1], (img->n_vmas - i - 1) * sizeof(img->vmas[0]));
			img->n_vmas--;
		} else {
			reasons_add(l->why, REASON_MAPPING, NULL, "the program has memory at %#lx, which is needed there",
				    CALL_STUB);
		}
		return;
	}
}

/* Gives areas the flags that smaps told of them before; false if one is new */
static bool flags_from_before(struct look *l)
{
	const struct image *b = l->before;
	size_t k = 0;

	for (size_t i = 0; i < l->img->n_vmas; i++) {
		struct image_vma *v = &l->img->vmas[i];

		while (k < b->n_vmas && b->vmas[k].start < v->start)
			k++;
		if (k == b->n_vmas || b->vmas[k].start != v->start || b->vmas[k].kind != v->kind ||
		    (b->vmas[k].end != v->end && v->kind != VMA_ANON))
			return false;		/* the heap and stacks grow; their flags stay */
		v->vmflags = b->vmas[k].vmflags;
	}
	return true;
}

static int again_with_flags(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	struct look *l = ctx;

	look_flags(l, m);
	for (size_t i = 0; i < l->img->n_vmas; i++)
		if (l->img->vmas[i].start == m->start)
			l->img->vmas[i].vmflags = m->vmflags;
	return 0;
}

int look_areas(struct look *l, struct err *e)
{
	struct image *img = l->img;
	int rc = procfs_maps(l->pid, !l->before, each_area, l, e);

	if (!rc)
		leave_stub_out(l);
	if (!rc && l->before && !flags_from_before(l))
		rc = procfs_maps(l->pid, true, again_with_flags, l, e);
	for (size_t i = 0; !rc && i < img->n_vmas; i++)
		if (img->vmas[i].kind == VMA_VDSO) {
			img->vdso_base = img->vmas[i].start;
			img->vdso_end = img->vmas[i].end;
		}
	return rc;
}

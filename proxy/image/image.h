/* SPDX-License-Identifier: MIT */
/*
 * image.h - A stopped program, besides its memory: plain structs and their JSON form
 *
 * Everything is generated from image.def.  Lists are arrays with a count; image_add() grows one.
 * An image owns all that hangs on it; image_free() frees it.
 */
#ifndef PROXY_IMAGE_IMAGE_H
#define PROXY_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

#define IMAGE_VERSION 1
#define IMAGE_SYSV_DEVICE UINT64_MAX	/* of System V segments: other memory of their file system may have their inodes */
#define IMAGE_MOST_OBJECTS 120	/* their descriptors travel in one message, with two others */

/* image_vma.kind */
enum vma_kind {
	VMA_ANON = 0,		/* private anonymous, [heap], [stack] */
	VMA_FILE = 1,		/* of image.files */
	VMA_OBJECT = 2,		/* of image.objects */
	VMA_VDSO = 3,		/* [vdso] */
	VMA_VVAR = 4,		/* [vvar], [vvar_vclock], … */
	VMA_VSYSCALL = 5,	/* every process has it */
};

/* image_open.kind: see fdkinds.def for what each means */
enum open_kind {
	OPEN_FILE = 1,
	OPEN_PIPE = 2,		/* both ends inside */
	OPEN_TWIN = 3,		/* a pipe whose other end stays at the origin */
	OPEN_EVENTFD = 4,
	OPEN_TIMERFD = 5,
	OPEN_SIGNALFD = 6,
	OPEN_EPOLL = 7,
	OPEN_MEMFD = 8,
	OPEN_INOTIFY = 9,
	OPEN_PULLED = 10,	/* a terminal, or a pipe that others read too: read only when the program reads */
	OPEN_ORIGIN = 11,	/* a file or directory that the policy gives to the origin: its file server has it open */
};

struct image_bytes {
	uint8_t *p;
	size_t len;
};

#define NUM(name) int64_t name;
#define HEX(name) uint64_t name;
#define STR(name) char *name;
#define BYTES(name) struct image_bytes name;
#define LIST(type, name)                                                                   \
	struct type *name;                                                                 \
	size_t n_##name;
#define RECORD(name, fields)                                                               \
	struct name {                                                                      \
		fields                                                                     \
	};
#include "proxy/image/image.def"
#undef NUM
#undef HEX
#undef STR
#undef BYTES
#undef LIST
#undef RECORD

#define IMAGE_MOST_PROCESSES 100	/* of a tree */

/* The processes of a tree: 0 is the one that the image is, the others hang on it */
static inline size_t image_processes(const struct image *img)
{
	return 1 + img->n_others;
}

/* Has the process a descriptor of its objects[@object]? */
static inline bool image_has_descriptor(const struct image *img, size_t object)
{
	for (size_t i = 0; i < img->n_opens; i++)
		if (img->opens[i].kind == OPEN_MEMFD && img->opens[i].file == (int64_t)object)
			return true;
	return false;
}
static inline struct image *image_process(const struct image *img, size_t i)
{
	return i ? &img->others[i - 1] : (struct image *)(uintptr_t)img;
}

/* By which number everybody calls the program */
static inline int image_program(const struct image *img)
{
	return (int)(img->ended_first ? img->ended_first : img->pid);
}

/* In MEM: which process's memory or object.  @object 0: its address space */
static inline uint32_t image_space(size_t process, uint32_t object)
{
	return (uint32_t)process << 16 | object;
}

/**
 * image_add() - One more, zeroed, element of a list; NULL when out of memory
 *
 *	struct image_vma *v = image_add(img, vmas);
 */
#define image_add(owner, list)                                                             \
	((__typeof__((owner)->list))image_grow((void **)&(owner)->list, &(owner)->n_##list,  \
					       sizeof(*(owner)->list)))
void *image_grow(void **list, size_t *n, size_t size);

int image_set_bytes(struct image_bytes *b, const void *p, size_t len) MUST_CHECK;	/* copies */
int image_set_str(char **s, const char *from) MUST_CHECK;				/* copies */

char *image_to_json(const struct image *img);		/* malloc'ed, NULL when out of memory */
int image_from_json(const char *text, size_t len, struct image **out, struct err *e) MUST_CHECK;
void image_free(struct image *img);

static inline void image_scope_free(struct image **img)
{
	image_free(*img);
}
#define AUTO_IMAGE __attribute__((cleanup(image_scope_free)))

#endif

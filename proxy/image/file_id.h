/* SPDX-License-Identifier: MIT */
/*
 * file_id.h - Is this the same file as that machine's?
 *
 * Three answers, the cheap one first.  The *identity* of a file is its inode, size and times: where
 * it is equal, both hosts see one file (a shared directory), or one disk is a clone of the other.
 * Device numbers differ between machines and are never compared.  The *build id* is what people
 * and debuggers know a binary's version by.  The *SHA-256* of the content decides.
 *
 * What has been hashed is remembered for as long as the process lives and the file doesn't change.
 * Context: ordinary code of a single-threaded process.
 */
#ifndef PROXY_IMAGE_FILE_ID_H
#define PROXY_IMAGE_FILE_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/err.h"
#include "proxy/image/image.h"

#define BUILD_ID_MAX 64			/* bytes; the field's are 8 to 20 */
#define BUILD_ID_HEX (2 * BUILD_ID_MAX + 1)

/*
 * Fills sha256 and build_id ("" when there is none) of the file that f->path names here, now.
 * Nothing else of @f is read or changed.  -ENOENT, -EACCES, …; -EINVAL: isn't a regular file;
 * -ESTALE: it was being written to
 */
int file_identify(struct image_file *f, struct err *e) MUST_CHECK;

/* Inode, size and both times are equal */
bool file_same_identity(const struct image_file *a, const struct stat *st);
bool file_same_numbers(const struct image_file *a, const struct image_file *b);
/* Type, permissions and the identity of @f from @st */
void file_set_identity(struct image_file *f, const struct stat *st);

/* In /proc or /sys: it has no content of its own, to compare */
bool file_is_kernel_view(const char *path);

/* "159992 bytes, build-id 1a2b3c4d…, sha256 9f86d081…", as far as it is known.  Return: @buf */
const char *file_describe(const struct image_file *f, char *buf, size_t size);

/* The build id of an ELF file's bytes, in hex.  Total: any bytes; "" when there is none */
void file_build_id(const void *elf, size_t len, char hex[BUILD_ID_HEX]);

#endif

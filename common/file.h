/* SPDX-License-Identifier: MIT */
/*
 * file.h - The words that the file system at the target and the file server at the origin share
 *
 * Operations are rows of file.def.  Nodes are numbers that stand for a file, (device, inode) of the
 * origin, whatever its names are; handles stand for open files.
 */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "common/attr.h"

enum file_op {
#define FILE_OP(id, name, args, in, out, text) FILE_##name = (id),
#include "common/file.def"
#undef FILE_OP
};

#define FILE_PID INT32_MAX	/* CALL.pid: the file server, not a deputy.  No process has this number */
#define FILE_ROW 0x100		/* CALL.row of operation 0: above every id of calls.def */
#define FILE_MOST 61440		/* bytes that one operation brings or takes: whole pages, in one message */
#define FILE_OWN_NODES (1ULL << 32)	/* the server's own numbers begin here, those below are the keeper's */

/* What of file.def's rows is for people and tests */
struct file_row {
	uint16_t id;
	const char *name, *args, *in, *out, *text;
};
extern const struct file_row file_rows[];
extern const size_t n_file_rows;
const char *file_op_name(unsigned op);	/* "?" */

/* CALL.blocked */
static inline uint64_t file_ids(uid_t uid, gid_t gid)
{
	return (uint64_t)gid << 32 | uid;
}

/* What setattr changes: the bits of its third argument */
enum {
	FILE_SET_MODE = 1, FILE_SET_UID = 2, FILE_SET_GID = 4, FILE_SET_SIZE = 8, FILE_SET_ATIME = 16,
	FILE_SET_MTIME = 32, FILE_SET_ATIME_NOW = 64, FILE_SET_MTIME_NOW = 128,
};

/* A stat on the wire: FILE_STAT_LEN bytes */
#define FILE_STAT_LEN (15 * 8)
void file_put_stat(void *buf, const struct stat *st);
int file_get_stat(const void *buf, size_t len, struct stat *st) MUST_CHECK;	/* 0 or -EBADMSG */

/* A node and its stat; behind it, of what is neither file nor directory nor link, its path */
#define FILE_ENTRY_LEN (8 + FILE_STAT_LEN)

/* The first of a message's names, NUL-terminated within @len bytes, or NULL */
const char *file_name_in(const void *p, size_t len);

#endif

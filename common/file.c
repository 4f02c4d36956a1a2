/* SPDX-License-Identifier: MIT */
/*
 * file.c - The words that the file system at the target and the file server at the origin share
 */
#include "common/file.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"
#include "common/scope.h"

const struct file_row file_rows[] = {
#define FILE_OP(id, name, args, in, out, text) { id, #name, args, in, out, text },
#include "common/file.def"
#undef FILE_OP
};

const size_t n_file_rows = ARRAY_SIZE(file_rows);

const char *file_op_name(unsigned op)
{
	for (size_t i = 0; i < n_file_rows; i++)
		if (file_rows[i].id == op)
			return file_rows[i].name;
	return "?";
}

void file_put_stat(void *buf, const struct stat *st)
{
	struct bytes b = bytes_of(buf, FILE_STAT_LEN);
	const uint64_t fields[] = {
		st->st_dev,	 st->st_ino,	  st->st_mode,
		st->st_nlink,	 st->st_uid,	  st->st_gid,
		st->st_rdev,	 (uint64_t)st->st_size, (uint64_t)st->st_blocks,
		(uint64_t)st->st_atim.tv_sec, (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_ctim.tv_sec,
		(uint64_t)st->st_atim.tv_nsec, (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_nsec,
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		bytes_put_le(&b, fields[i], 8);
}

int file_get_stat(const void *buf, size_t len, struct stat *st)
{
	struct bytes b = bytes_of(buf, len);

	*st = (struct stat){ 0 };
	st->st_dev = bytes_get_le(&b, 8);
	st->st_ino = bytes_get_le(&b, 8);
	st->st_mode = (mode_t)bytes_get_le(&b, 8);
	st->st_nlink = bytes_get_le(&b, 8);
	st->st_uid = (uid_t)bytes_get_le(&b, 8);
	st->st_gid = (gid_t)bytes_get_le(&b, 8);
	st->st_rdev = bytes_get_le(&b, 8);
	st->st_size = (off_t)bytes_get_le(&b, 8);
	st->st_blocks = (blkcnt_t)bytes_get_le(&b, 8);
	st->st_atim.tv_sec = (time_t)bytes_get_le(&b, 8);
	st->st_mtim.tv_sec = (time_t)bytes_get_le(&b, 8);
	st->st_ctim.tv_sec = (time_t)bytes_get_le(&b, 8);
	st->st_atim.tv_nsec = (long)bytes_get_le(&b, 8);
	st->st_mtim.tv_nsec = (long)bytes_get_le(&b, 8);
	st->st_ctim.tv_nsec = (long)bytes_get_le(&b, 8);
	st->st_blksize = 4096;
	return b.bad ? -EBADMSG : 0;
}

const char *file_name_in(const void *p, size_t len)
{
	return len && memchr(p, 0, len) ? p : NULL;
}

/* SPDX-License-Identifier: MIT */
/*
 * save_file.h - A file that has its name only when it is whole
 *
 *	save_file_open()	a new file in the directory that the name is in; nobody else's to read
 *	save_file_keep()	it is on the disk, under its name; what had the name before is gone
 *	save_file_drop()	otherwise: nothing is left
 *
 * Where the file system can do it the file has no name at all before (O_TMPFILE): then nothing is
 * left either when this process is killed.
 */
#ifndef PROXY_DAEMON_SAVE_FILE_H
#define PROXY_DAEMON_SAVE_FILE_H

#include <limits.h>
#include <stdbool.h>

#include "common/err.h"

struct save_file {
	int dir, fd;
	char name[NAME_MAX + 1], passing[NAME_MAX + 1];
	bool named;		/* it has its passing name */
};

int save_file_open(struct save_file *f, const char *path, struct err *e) MUST_CHECK;
int save_file_keep(struct save_file *f, struct err *e) MUST_CHECK;
void save_file_drop(struct save_file *f);

#endif

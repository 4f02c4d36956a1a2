/* SPDX-License-Identifier: MIT */
/*
 * save_file.c - A file that has its name only when it is whole
 */
#include "proxy/daemon/save_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/scope.h"

#define OWNER_ONLY 0600

/* ".NAME.1f2e3d4c", cut where NAME is long */
static int choose_passing(struct save_file *f, struct err *e)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return err_set(e, -errno, "choose a name");
	snprintf(f->passing, sizeof(f->passing), ".%.*s.%08" PRIx32, NAME_MAX - 10, f->name, random);
	return 0;
}

/* The directory of @path, and the name in it */
static int split(struct save_file *f, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char dir[PATH_MAX];
	struct stat st;

	if (!*name || !strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > NAME_MAX ||
	    strlen(path) >= sizeof(dir))
		return err_say(e, -EINVAL, "%s can't be a file's name", path);
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(dir, sizeof(dir), "%.*s", (int)(name - path), path);
	f->dir = open(dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (f->dir < 0)
		return err_set(e, -errno, "open the directory of %s", path);
	/* a device or a directory of that name isn't replaced */
	if (!fstatat(f->dir, name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISREG(st.st_mode))
		return err_say(e, -EEXIST, "%s is there already, and is no file", path);
	return 0;
}

int save_file_open(struct save_file *f, const char *path, struct err *e)
{
	int rc;

	*f = (struct save_file){ .dir = -1, .fd = -1 };
	rc = split(f, path, e);
	if (!rc)
		rc = choose_passing(f, e);
	if (!rc) {
		if (!getenv("MMIGRATE_NO_TMPFILE"))	/* for the tests: file systems that can't */
			f->fd = openat(f->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, OWNER_ONLY);
		if (f->fd < 0) {
			f->fd = openat(f->dir, f->passing, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, OWNER_ONLY);
			f->named = f->fd >= 0;
		}
		if (f->fd < 0)
			rc = err_set(e, -errno, "make %s", path);
	}
	if (rc)
		save_file_drop(f);
	return rc;
}

int save_file_keep(struct save_file *f, struct err *e)
{
	char self[40];

	if (fsync(f->fd))
		return err_set(e, -errno, "write %s", f->name);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", f->fd);
	if (!f->named && linkat(AT_FDCWD, self, f->dir, f->passing, AT_SYMLINK_FOLLOW))
		return err_set(e, -errno, "give %s its name", f->name);
	f->named = true;
	if (renameat(f->dir, f->passing, f->dir, f->name))
		return err_set(e, -errno, "give %s its name", f->name);
	f->named = false;
	return fsync(f->dir) ? err_set(e, -errno, "write the directory of %s", f->name) : 0;
}

void save_file_drop(struct save_file *f)
{
	if (f->named)
		unlinkat(f->dir, f->passing, 0);
	f->named = false;
	drop_fd(&f->fd);
	drop_fd(&f->dir);
}

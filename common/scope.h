/* SPDX-License-Identifier: MIT */
/*
 * scope.h - Resources that end with their scope
 *
 *	AUTO_FD int fd = open(...);		closed on every way out
 *	AUTO_FREE char *p = malloc(n);		freed on every way out
 *	return take_fd(&fd);			handed over instead
 */
#ifndef COMMON_SCOPE_H
#define COMMON_SCOPE_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void scope_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void scope_free(void *p)
{
	free(*(void **)p);
}

static inline void scope_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void scope_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define AUTO_FD __attribute__((cleanup(scope_close)))
#define AUTO_FREE __attribute__((cleanup(scope_free)))
#define AUTO_FILE __attribute__((cleanup(scope_fclose)))
#define AUTO_DIR __attribute__((cleanup(scope_closedir)))

static inline int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/** drop_fd() - Close now, and forget */
static inline void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

#define take_ptr(p)                                                                        \
	({                                                                                 \
		__typeof__(p) *take_ = &(p);                                               \
		__typeof__(p) value_ = *take_;                                             \
		*take_ = NULL;                                                             \
		value_;                                                                    \
	})

#endif

/* SPDX-License-Identifier: MIT */
/*
 * sysv.c - System V shared memory of this IPC namespace
 */
#include "proxy/trace/sysv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <unistd.h>

#include "common/scope.h"

static bool next_line(FILE *f, char *line, int size)
{
	return fgets(line, size, f);
}

/* Behind its title */
static FILE *open_table(const char *path)
{
	FILE *f = fopen(path, "re");
	char title[512];

	if (f && !next_line(f, title, sizeof(title))) {
		fclose(f);
		f = NULL;
	}
	return f;
}

static bool parse_segment(const char *line, struct sysv_segment *s)
{
	unsigned long long size;
	unsigned long areas;
	long attached, detached, changed;

	if (sscanf(line, "%d %d %o %llu %d %d %lu %u %u %u %u %ld %ld %ld", &s->key, &s->id, &s->mode, &size, &s->creator,
		   &s->last, &areas, &s->uid, &s->gid, &s->cuid, &s->cgid, &attached, &detached, &changed) != 14)
		return false;
	s->size = size;
	s->areas = areas;
	s->used = MAX(changed, MAX(attached, detached));
	return true;
}

int sysv_segments(struct sysv_segment **out)
{
	AUTO_FILE FILE *f = open_table("/proc/sysvipc/shm");
	AUTO_FREE struct sysv_segment *list = NULL;
	struct sysv_segment one;
	char line[512];
	int n = 0;

	*out = NULL;
	while (f && next_line(f, line, sizeof(line))) {
		struct sysv_segment *more;

		if (!parse_segment(line, &one))
			return -EBADMSG;
		more = realloc(list, ((size_t)n + 1) * sizeof(*list));
		if (!more)
			return -ENOMEM;
		list = more;
		list[n++] = one;
	}
	*out = take_ptr(list);
	return n;
}

bool sysv_used_semaphores(bool (*is_ours)(void *ctx, pid_t pid), void *ctx, int *id, int32_t *key)
{
	AUTO_FILE FILE *f = open_table("/proc/sysvipc/sem");
	unsigned mode, count;
	char line[512];

	while (f && next_line(f, line, sizeof(line))) {
		if (sscanf(line, "%d %d %o %u", key, id, &mode, &count) != 4)
			continue;
		for (unsigned i = 0; i < count; i++) {
			int pid = semctl(*id, (int)i, GETPID);

			if (pid < 0)
				break;	/* another user's: neither could the program */
			if (pid && is_ours(ctx, pid))
				return true;
		}
	}
	return false;
}

bool sysv_used_queues(bool (*is_ours)(void *ctx, pid_t pid), void *ctx, int *id, int32_t *key)
{
	AUTO_FILE FILE *f = open_table("/proc/sysvipc/msg");
	int sender, receiver;
	char line[512];

	while (f && next_line(f, line, sizeof(line)))
		if (sscanf(line, "%d %d %*o %*u %*u %d %d", key, id, &sender, &receiver) == 4 &&
		    ((sender && is_ours(ctx, sender)) || (receiver && is_ours(ctx, receiver))))
			return true;
	return false;
}

bool sysv_has(int id)
{
	struct shmid_ds ds;

	return !shmctl(id, IPC_STAT, &ds) || errno == EACCES;
}

int sysv_make(int id, int32_t key, uint64_t size, int flags)
{
	AUTO_FD int fd = open("/proc/sys/kernel/shm_next_id", O_WRONLY | O_CLOEXEC);
	char text[16];
	int got, n = snprintf(text, sizeof(text), "%d", id);

	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return -errno;
	got = shmget(key, size, flags | IPC_CREAT | IPC_EXCL);
	if (got < 0)
		return -errno;
	if (got == id)
		return 0;
	/* its place in the table was taken: the kernel gives the next one */
	return shmctl(got, IPC_RMID, NULL) ? -errno : -EBUSY;
}

/* SPDX-License-Identifier: MIT */
/*
 * look_sysv.c - What a program consists of, from outside: System V IPC
 *
 * A segment moves when processes that move have it attached, made it, or were the last to attach or detach
 * it; of a moved program, all that its IPC namespace has.  Nobody else who still is there may have done
 * one of these.  shm_nattch counts areas: theirs are counted in /proc/PID/maps.  All segments come with the
 * first process, where the whole of each is attached for the move (dump.c): not every one is mapped, or
 * wholly.
 *
 * Semaphores and message queues stay.  That a process has used one is only known while it was the last.
 */
#include "proxy/origin/look.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"
#include "proxy/trace/sysv.h"

#define COUNTS 5		/* processes attach and detach while they are looked at */
#define OWN_RIGHTS 0600

struct counting {
	uint64_t id, areas;
};

static int count_area(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	struct counting *c = ctx;

	c->areas += m->inode == c->id && !strncmp(m->name, "/SYSV", 5);
	return 0;
}

/* In those that move */
static uint64_t count_areas(const struct look *looks, size_t n, int id)
{
	struct counting c = { .id = (uint64_t)id };

	for (size_t i = 0; i < n; i++)
		if (procfs_maps(looks[i].pid, false, count_area, &c, NULL))
			continue;	/* it has ended */
	return c.areas;
}

static bool moves(void *ctx, pid_t pid)
{
	return look_moves(ctx, pid);
}

/* Somebody else who has it attached, or 0 */
static pid_t who_stays(const struct look *l, int id)
{
	AUTO_DIR DIR *proc = opendir("/proc");
	struct dirent *de;

	while (proc && (de = readdir(proc))) {
		struct counting c = { .id = (uint64_t)id };
		pid_t pid = atoi(de->d_name);

		if (pid > 0 && !look_moves(l, pid) && !procfs_maps(pid, false, count_area, &c, NULL) && c.areas)
			return pid;
	}
	return 0;
}

static bool find_again(int id, struct sysv_segment *s)
{
	AUTO_FREE struct sysv_segment *list = NULL;
	int n = sysv_segments(&list);

	for (int i = 0; i < n; i++)
		if (list[i].id == id) {
			*s = list[i];
			return true;
		}
	return false;
}

/* Is it attached to somebody who stays?  What comes and goes is counted again.  *@gone: there is none any more */
static bool is_shared(const struct look *looks, size_t n, struct sysv_segment *s, uint64_t *areas, bool *gone)
{
	const struct timespec pause = { 0, 2000000 };

	for (int i = 0; i < COUNTS; i++) {
		*areas = count_areas(looks, n, s->id);
		if (s->areas <= *areas)
			return false;
		nanosleep(&pause, NULL);
		*gone = !find_again(s->id, s);
		if (*gone)
			return false;
	}
	return true;
}

static void say_shared(const struct look *l, const struct sysv_segment *s, uint64_t areas)
{
	pid_t pid = who_stays(l, s->id);
	struct proc_stat st;

	if (pid && !procfs_stat(pid, pid, &st, NULL))
		reasons_add(l->why, REASON_SYSV_SHM, NULL,
			    "process %d (%s), which stays, has the System V shared memory segment %d (key %#x) attached", (int)pid,
			    st.comm, s->id, (unsigned)s->key);
	else
		reasons_add(l->why, REASON_SYSV_SHM, NULL,
			    "the System V shared memory segment %d (key %#x) is attached %llu times, %llu of them by processes that "
			    "stay", s->id, (unsigned)s->key, (unsigned long long)s->areas,
			    (unsigned long long)(s->areas - areas));
}

/* Is there still somebody of that number, and was at that second?  Numbers are used again */
static bool is_alive(pid_t pid, int64_t second)
{
	int64_t since_boot = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
	struct proc_stat st;

	if (!pid || procfs_stat(pid, pid, &st, NULL) || proc_has_ended(st.state))
		return false;
	return since_boot + (int64_t)st.start_time * (NS_PER_S / sysconf(_SC_CLK_TCK)) < (second + 1) * NS_PER_S;
}

/* Somebody who stays, and made it or worked with it last; 0 */
static pid_t who_knows(const struct look *l, const struct sysv_segment *s)
{
	if (is_alive(s->creator, s->used) && !look_moves(l, s->creator))
		return s->creator;
	return is_alive(s->last, s->used) && !look_moves(l, s->last) ? s->last : 0;
}

static bool is_known_by_all(const struct look *l, const struct sysv_segment *s)
{
	pid_t pid = l->moved ? 0 : who_knows(l, s);
	struct proc_stat st;

	if (!pid || procfs_stat(pid, pid, &st, NULL))
		return true;
	reasons_add(l->why, REASON_SYSV_SHM, NULL,
		    "process %d (%s), which stays, has made or used the System V shared memory segment %d (key %#x)", (int)pid,
		    st.comm, s->id, (unsigned)s->key);
	return false;
}

static bool is_own(const struct look *l, const struct sysv_segment *s)
{
	int64_t uid = l->img->euid, gid = l->img->egid;

	if (s->uid == uid && s->cuid == uid && s->gid == gid && s->cgid == gid && (s->mode & OWN_RIGHTS) == OWN_RIGHTS)
		return true;
	reasons_add(l->why, REASON_SYSV_SHM, NULL,
		    "the System V shared memory segment %d (key %#x) is uid %u's, gid %u's and has the mode %o: only one that "
		    "is the program's own, and that it may read and write, can be made again", s->id, (unsigned)s->key,
		    s->uid, s->gid, s->mode & 0777);
	return false;
}

static struct image_object *object_of(struct image *img, int id)
{
	for (size_t i = 0; i < img->n_objects; i++)
		if (img->objects[i].sysv && img->objects[i].inode == (uint64_t)id)
			return &img->objects[i];
	return NULL;
}

static void describe(struct image_object *o, const struct sysv_segment *s)
{
	o->sysv = 1;
	o->device = IMAGE_SYSV_DEVICE;
	o->inode = (uint64_t)s->id;
	o->size = s->size;
	o->key = s->key;
	o->mode = s->mode;
}

/* Every process that maps it knows it, and the first one brings it along */
static int take_segment(struct look *looks, size_t n, const struct sysv_segment *s)
{
	struct image_object *o;

	for (size_t i = 0; i < n; i++) {
		o = object_of(looks[i].img, s->id);
		if (o)
			describe(o, s);
	}
	o = object_of(looks[0].img, s->id);
	if (!o)
		o = image_add(looks[0].img, objects);
	if (!o)
		return -ENOMEM;
	describe(o, s);
	o->whole = 1;
	return 0;
}

static int look_segment(struct look *looks, size_t n, struct sysv_segment *s)
{
	uint64_t areas;
	bool shared, gone = false;

	shared = is_shared(looks, n, s, &areas, &gone);
	if (gone || (!areas && !looks[0].moved && !look_moves(&looks[0], s->creator) && !look_moves(&looks[0], s->last)))
		return 0;
	if (shared)
		say_shared(&looks[0], s, areas);
	if (shared || !is_own(&looks[0], s) || !is_known_by_all(&looks[0], s))
		return 0;
	return take_segment(looks, n, s);
}

static bool is_known(const struct sysv_segment *list, int n, const struct image_object *o)
{
	for (int i = 0; i < n; i++)
		if ((uint64_t)list[i].id == o->inode)
			return true;
	return false;
}

/* Mapped, and not in the table: of another IPC namespace than the program is in now */
static void look_unknown(struct look *l, const struct sysv_segment *list, int n)
{
	for (size_t i = 0; i < l->img->n_objects; i++)
		if (l->img->objects[i].sysv && !is_known(list, n, &l->img->objects[i]) &&
		    count_areas(l, 1, (int)l->img->objects[i].inode))
			reasons_add(l->why, REASON_SYSV_SHM, NULL,
				    "process %d has a System V shared memory segment %llu attached that isn't there", (int)l->pid,
				    (unsigned long long)l->img->objects[i].inode);
}

static void look_others(struct look *l)
{
	int32_t key;
	int id;

	if (sysv_used_semaphores(moves, l, &id, &key))
		reasons_add(l->why, REASON_SYSV_IPC, NULL,
			    "the program uses the System V semaphores %d (key %#x), which stay here", id, (unsigned)key);
	if (sysv_used_queues(moves, l, &id, &key))
		reasons_add(l->why, REASON_SYSV_IPC, NULL,
			    "the program uses the System V message queue %d (key %#x), which stays here", id, (unsigned)key);
}

int look_sysv(struct look *looks, size_t n, struct err *e)
{
	AUTO_FREE struct sysv_segment *list = NULL;
	int count = sysv_segments(&list), rc = count < 0 ? count : 0;

	for (size_t i = 0; i < n && !rc; i++)
		look_unknown(&looks[i], list, count);
	for (int i = 0; i < count && !rc; i++)
		rc = look_segment(looks, n, &list[i]);
	if (!rc && looks[0].img->n_objects > IMAGE_MOST_OBJECTS)
		reasons_add(looks[0].why, REASON_SYSV_SHM, NULL, "the program has %zu pieces of shared memory, %d can be moved",
			    looks[0].img->n_objects, IMAGE_MOST_OBJECTS);
	if (!looks[0].moved)
		look_others(&looks[0]);
	return rc ? err_set(e, rc, "look at the program's System V shared memory") : 0;
}

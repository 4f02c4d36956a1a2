/* SPDX-License-Identifier: MIT */
/*
 * originfs_cache.c - Which of the origin's files are cached here, and until when
 *
 * The origin's file server says with each open file whether this machine may cache it (a lease: files_leases.c).
 * Then the kernel keeps its pages, and a stat is good as long as that.  When CHANGED comes the stat isn't, and
 * with the next read the kernel asks, compares times and sizes, and drops its pages if they differ
 * (FUSE_AUTO_INVAL_DATA).
 *
 * A shared mapping can't be taken away.  If somebody at the origin opens a file that the program has mapped so,
 * both would work on different contents: from then on the program's reads, writes and locks of it fail with EIO.
 *
 *	none --cache_opened--> CACHED --CHANGED--> LOST [poisoned] --its last close--> none
 */
#include "proxy/target/originfs_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

static struct cached **place(struct originfs *o, uint64_t node)
{
	struct cached **at = &o->cached[node % CACHE_BUCKETS];

	while (*at && (*at)->node != node)
		at = &(*at)->next;
	return at;
}

static const struct cached *find(const struct originfs *o, uint64_t node)
{
	const struct cached *c = o->cached[node % CACHE_BUCKETS];

	while (c && c->node != node)
		c = c->next;
	return c;
}

/* Of its attributes only: for pages the kernel might have to wait, and for us */
static void forget_stat(struct originfs *o, uint64_t node)
{
	for (size_t i = 0; i < o->n_mounts; i++)
		if (o->mounts[i].root)
			fuse_lowlevel_notify_inval_inode(o->mounts[i].se, node, -1, 0);
}

void cache_opened(struct originfs *o, uint64_t node)
{
	struct cached **at = place(o, node);

	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			return;		/* then each read asks */
		(*at)->node = node;
	}
	(*at)->lost &= (*at)->opens > 0;
	(*at)->opens++;
}

void cache_closed(struct originfs *o, uint64_t node, bool cached)
{
	struct cached **at = place(o, node), *c = *at;

	if (!c || !cached)
		return;
	c->opens -= c->opens > 0;
	if (c->opens)
		return;
	*at = c->next;
	free(c);
	forget_stat(o, node);
}

double cache_valid(const struct originfs *o, uint64_t node)
{
	const struct cached *c = find(o, node);

	return c && !c->lost ? 1e6 : 0;
}

bool cache_poisoned(const struct originfs *o, uint64_t node)
{
	const struct cached *c = find(o, node);

	return c && c->poisoned;
}

void cache_free(struct originfs *o)
{
	for (size_t i = 0; i < CACHE_BUCKETS; i++)
		while (o->cached[i]) {
			struct cached *c = o->cached[i];

			o->cached[i] = c->next;
			free(c);
		}
}

/* ---- shared mappings ------------------------------------------------------------------------------------- */

struct sought {
	const struct originfs *o;
	uint64_t inode;
};

static int is_shared(void *ctx, const struct map_entry *m, struct err *e UNUSED)
{
	const struct sought *s = ctx;

	if (m->perms[3] == 's' && m->perms[1] == 'w' && m->inode == s->inode)
		for (size_t i = 0; i < s->o->n_mounts; i++)
			if (s->o->mounts[i].device == m->device)
				return -EEXIST;
	return 0;
}

/* In whichever of the program's processes.  It asks the kernel's tables, not the file */
static bool somebody_maps(const struct originfs *o, uint64_t inode)
{
	AUTO_DIR DIR *proc = opendir("/proc");
	struct sought s = { o, inode };
	struct dirent *de;

	while (proc && (de = readdir(proc))) {
		pid_t pid = atoi(de->d_name);

		if (pid > 1 && procfs_maps(pid, false, is_shared, &s, NULL) == -EEXIST)
			return true;
	}
	return false;
}

void originfs_changed(struct originfs *o, uint64_t node, uint64_t inode, bool others)
{
	struct cached *c = o ? *place(o, node) : NULL;

	if (c && !c->lost) {
		c->lost = true;
		forget_stat(o, node);
		c->poisoned = others && somebody_maps(o, inode);
		if (c->poisoned)
			log_line(LOG_LEVEL_ERR, "E_SHARED_MAPPING", "a process of the origin has opened a file that the program maps "
				 "shared: the program's own calls on it fail from now on");
	}
	if (o && others)
		file_tell(o, FILE_seen, (uint64_t[6]){ node }, NULL, 0);
}

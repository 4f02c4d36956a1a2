/* SPDX-License-Identifier: MIT */
/*
 * files_nodes.c - What the target knows of the origin's files: nodes and open files
 *
 * A node holds its file by an O_PATH descriptor: renamed or unlinked it stays the same, and its inode's
 * number isn't used again as long as somebody knows the node.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/scope.h"
#include "proxy/deputy/files.h"

static size_t bucket_of_inode(dev_t device, ino_t inode)
{
	return (size_t)((inode * 0x9e3779b97f4a7c15ULL) ^ device) % FILES_BUCKETS;
}

struct file_node *node_find(struct file_nodes *n, uint64_t id)
{
	struct file_node *one = n->by_id[id % FILES_BUCKETS];

	while (one && one->id != id)
		one = one->next_by_id;
	return one;
}

struct file_node *node_get(struct file_nodes *n, int fd, uint64_t id, const struct stat *st)
{
	struct file_node **by_inode = &n->by_inode[bucket_of_inode(st->st_dev, st->st_ino)], **by_id, *one;

	/* one that the keeper numbers may be a second number of the same file */
	for (one = id ? NULL : *by_inode; one; one = one->next_by_inode)
		if (one->inode == st->st_ino && one->device == st->st_dev) {
			close(fd);
			return one;
		}
	one = calloc(1, sizeof(*one));
	if (!one) {
		close(fd);
		return NULL;
	}
	n->next = MAX(n->next, FILE_OWN_NODES);
	*one = (struct file_node){ .id = id ? id : n->next++, .device = st->st_dev, .inode = st->st_ino,
				   .type = st->st_mode & S_IFMT, .fd = fd, .next_by_inode = *by_inode };
	*by_inode = one;
	by_id = &n->by_id[one->id % FILES_BUCKETS];
	one->next_by_id = *by_id;
	*by_id = one;
	return one;
}

static void node_free(struct file_nodes *n, struct file_node *one)
{
	struct file_node **at = &n->by_id[one->id % FILES_BUCKETS];

	while (*at != one)
		at = &(*at)->next_by_id;
	*at = one->next_by_id;
	at = &n->by_inode[bucket_of_inode(one->device, one->inode)];
	while (*at != one)
		at = &(*at)->next_by_inode;
	*at = one->next_by_inode;
	close(one->fd);
	free(one);
}

void node_forget(struct file_nodes *n, uint64_t id, uint64_t lookups)
{
	struct file_node *one = node_find(n, id);

	if (!one)
		return;
	one->lookups -= MIN(lookups, one->lookups);
	if (!one->lookups)
		node_free(n, one);
}

void nodes_forget_all(struct file_nodes *n)
{
	for (size_t i = 0; i < FILES_BUCKETS; i++)
		while (n->by_id[i])
			node_free(n, n->by_id[i]);
}

/* ---- open files ---------------------------------------------------------------------------------- */

struct file_open *open_find(struct file_nodes *n, uint32_t id)
{
	for (size_t i = 0; i < n->n_opens; i++)
		if (n->opens[i].id == id)
			return &n->opens[i];
	return NULL;
}

void open_drop(struct file_nodes *n, uint32_t id)
{
	struct file_open *one = open_find(n, id);

	if (!one)
		return;
	close(one->fd);
	*one = n->opens[--n->n_opens];
}

/* The keeper uses a number again only when it has forgotten what was there */
int open_add(struct file_nodes *n, uint32_t id, int fd, bool shared)
{
	open_drop(n, id);
	if (n->n_opens == n->size) {
		size_t size = n->size ? 2 * n->size : 64;
		struct file_open *more = realloc(n->opens, size * sizeof(*more));

		if (!more)
			return -ENOMEM;
		n->opens = more;
		n->size = size;
	}
	n->opens[n->n_opens++] = (struct file_open){ .id = id, .fd = fd, .shared = shared };
	return 0;
}

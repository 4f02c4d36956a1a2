/* SPDX-License-Identifier: MIT */
/*
 * files.h - The file server of a moved program, in its parts
 *
 *	files.c		its process: requests, credentials, what waits
 *	files_nodes.c	what the target knows: nodes and open files
 *	files_ops.c	one function an operation of common/file.def
 *	files_leases.c	what of them may be cached
 *	files_locks.c	locks, held for the program against the origin's processes
 */
#ifndef DEPUTY_FILES_H
#define DEPUTY_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/attr.h"
#include "common/file.h"
#include "common/wire.h"

/* ---- files_nodes.c -------------------------------------------------------------------------------- */

struct file_node {
	struct file_node *next_by_id, *next_by_inode;
	uint64_t id;
	dev_t device;
	ino_t inode;
	mode_t type;
	int fd;				/* O_PATH */
	uint64_t lookups;		/* how many times the target was told of it */
};

struct file_open {			/* a handle */
	uint32_t id;
	int fd;				/* -1: free */
	bool shared;			/* the program had it open before it moved: its position is others' too */
	bool leased;
	int64_t breaking;		/* its lease goes at this time at the latest, 0: nobody wants it */
	uint64_t node;			/* as the target calls it */
	dev_t device;
	ino_t inode;
};

#define FILES_BUCKETS 8192

struct file_nodes {
	struct file_node *by_id[FILES_BUCKETS], *by_inode[FILES_BUCKETS];
	uint64_t next;
	struct file_open *opens;
	size_t n_opens, size;
};

struct file_node *node_find(struct file_nodes *n, uint64_t id);
/* The node of @fd, an O_PATH descriptor that becomes the node's.  @id: makes one with this number; 0: the one that is
 * there, or the next number.  NULL: no memory */
struct file_node *node_get(struct file_nodes *n, int fd, uint64_t id, const struct stat *st);
void node_forget(struct file_nodes *n, uint64_t id, uint64_t lookups);
void nodes_forget_all(struct file_nodes *n);
int open_add(struct file_nodes *n, uint32_t id, int fd, bool shared) MUST_CHECK;	/* 0 or -ENOMEM; takes the place of another */
struct file_open *open_find(struct file_nodes *n, uint32_t id);
void open_drop(struct file_nodes *n, uint32_t id);

/* ---- files.c ---------------------------------------------------------------------------------------- */

struct file_lock;
struct files {
	int hub;
	char *roots;			/* "/tmp:/dev": nothing else is served */
	struct file_nodes nodes;
	struct file_lock *locks;
	struct file_wait {		/* a lock that somebody else has */
		struct file_wait *next;
		struct wire_call call;
	} *waits;
	int lease_signals;		/* a signalfd */
	bool breaking;			/* a lease has a time */
	uid_t uid;			/* as whom we work now, when we are root */
	gid_t gid;
	size_t out_len;			/* of the answer */
	uint8_t in[WIRE_LOCAL_MAX], out[FILE_MOST + 4096], buf[WIRE_LOCAL_MAX];
};

#define FILES_WAITS INT64_MIN		/* what an operation returns that isn't over */

bool files_is_root(const struct files *f, const char *path);
/* The root that @path lies in, or is; and the rest of it.  NULL: it isn't served */
const char *files_split(const struct files *f, const char *path, char *root, size_t size);

void files_tell_changed(struct files *f, const struct file_open *o, bool others);

/* ---- files_leases.c --------------------------------------------------------------------------------------- */

int leases_open(void) MUST_CHECK;	/* a signalfd */
bool lease_take(struct file_open *o, uint64_t node, const struct stat *st);
void leases_give_way(struct files *f, const struct stat *st, bool writes);
void leases_hear(struct files *f);
void leases_overdue(struct files *f);
void leases_drop_all(struct files *f);

/* One function an operation: a value, a negative errno, or FILES_WAITS; what it brings is in f->out */
typedef int64_t file_do(struct files *f, const struct wire_call *m);

/* ---- files_ops.c, files_locks.c -------------------------------------------------------------------------- */

#define FILE_OP(id, name, args, in, out, text) file_do files_do_##name;
#include "common/file.def"
#undef FILE_OP
void files_forget_locks(struct files *f);
void files_forget_fd(struct files *f, int fd);		/* its locks: it's about to be closed */

#endif

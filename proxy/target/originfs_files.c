/* SPDX-License-Identifier: MIT */
/*
 * originfs_files.c - The origin's directories here: names, and what is known of the files behind them
 *
 * Each request is one operation of common/file.def, asked at the origin's file server.  Nothing is believed
 * for longer than one call: the origin's own processes change these files, too.
 *
 * What is neither file, directory nor symbolic link is a pulled stream (originfs_pulled.c).
 */
#include "proxy/target/originfs_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/log.h"
#include "common/scope.h"
#include "common/stub.h"

#define FORGETS_A_MESSAGE 1024

/* ---- asked at home -------------------------------------------------------------------------------------- */

void file_ask(struct request *r, enum file_op op, const uint64_t args[6], const void *in, size_t len, ask_done *done)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(r->req);
	uint64_t ask = ask_home(r->m->o->asks, FILE_PID, FILE_ROW + op, file_ids(ctx->uid, ctx->gid), args, in, len, done, r);

	if (ask) {
		request_waits(r, ask);
		return;
	}
	log_warn("the origin couldn't be asked for %s: too much is on the way", file_op_name(op));
	fuse_reply_err(r->req, EIO);
	free(r);
}

static void ignore(void *ctx UNUSED, int64_t value UNUSED, const void *out UNUSED, size_t len UNUSED)
{
}

void file_tell(struct originfs *o, enum file_op op, const uint64_t args[6], const void *in, size_t len)
{
	if (!ask_home(o->asks, FILE_PID, FILE_ROW + op, 0, args, in, len, ignore, NULL))
		log_warn("the origin couldn't be told of %s: too much is on the way", file_op_name(op));
}

void file_forget(struct originfs *o, uint64_t node, uint64_t lookups)
{
	uint8_t buf[16];
	struct bytes b = bytes_of(buf, sizeof(buf));

	bytes_put_le(&b, node, 8);
	bytes_put_le(&b, lookups, 8);
	file_tell(o, FILE_forget, (uint64_t[6]){ 0 }, buf, sizeof(buf));
}

void files_show_ids(const struct originfs *o, struct stat *st)
{
	if (!o->one_user)
		return;
	st->st_uid = geteuid();
	st->st_gid = getegid();
}

/* ---- entries ------------------------------------------------------------------------------------------------ */

int file_get_entry(const void *out, size_t len, uint64_t *node, struct stat *st, char *path, size_t size)
{
	struct bytes b = bytes_of(out, len);
	size_t left;

	*node = bytes_get_le(&b, 8);
	if (b.bad || !*node || file_get_stat(b.at, bytes_left(&b), st))
		return -EBADMSG;
	left = len - FILE_ENTRY_LEN;
	if (left >= size || *node == FUSE_ROOT_ID || (*node >= FIRST_FRESH && *node < FILE_OWN_NODES))
		return -EBADMSG;
	memcpy(path, (const char *)out + FILE_ENTRY_LEN, left);
	path[left] = 0;
	return 0;
}

bool files_is_streamed(mode_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode) || S_ISFIFO(mode);
}

void file_reply_entry(struct request *r, const void *out, size_t len, bool created)
{
	struct fuse_entry_param entry = { 0 };
	struct originfs *o = r->m->o;
	char path[4096];
	struct stat st;
	uint64_t node;
	int rc;

	if (file_get_entry(out, len, &node, &st, path, sizeof(path))) {
		fuse_reply_err(r->req, EIO);
		return;
	}
	files_show_ids(o, &st);
	/* who makes a FIFO must see one; who looks for its name finds a stream */
	if (files_is_streamed(st.st_mode) && !r->made) {
		pulled_reply_entry(r->req, path, &st, node);
		return;
	}
	entry.ino = node;
	entry.attr = st;
	entry.attr_timeout = cache_valid(o, node);
	rc = created ? fuse_reply_create(r->req, &entry, &r->fi) : fuse_reply_entry(r->req, &entry);
	if (rc) {		/* the caller was killed */
		file_forget(o, node, 1);
		if (created)
			file_tell(o, FILE_release, (uint64_t[6]){ r->fi.fh }, NULL, 0);
	} else if (created && r->size) {
		cache_opened(o, node);
	}
}

static void on_entry(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else
		file_reply_entry(r, out, len, false);
	request_end(r);
}

/* ---- /dev: what is the target's own --------------------------------------------------------------------------- */

/*
 * These names are mounted over, or lead to what is: their nodes stay what they are, else the kernel would
 * take the mounts away
 */
static const struct own_name {
	const char *name, *link;
	mode_t type;
	bool streams;		/* it leads to terminals, which only look like files here: what it is the origin says */
} own_names[] = {
#define DEV_NODE(name) { #name, NULL, S_IFREG, false },
#define DEV_LINK(name, to) { #name, to, S_IFLNK, false },
#define DEV_STREAM(name, to) { #name, to, S_IFLNK, true },
#include "proxy/target/dev.def"
	{ &ORIGINFS_PTS[sizeof("/dev/") - 1], NULL, S_IFDIR, true },
	{ &STUB_MARKER[sizeof("/dev/") - 1], NULL, S_IFREG, false },
};

#define OWN_NODES 0x3fffff00u		/* below FIRST_FRESH, above the known ones */

static const struct own_name *own_by_node(const struct mount *m, fuse_ino_t ino)
{
	return m->dev && ino >= OWN_NODES && ino < OWN_NODES + ARRAY_SIZE(own_names) ? &own_names[ino - OWN_NODES] : NULL;
}

/* By which number the file server knows it; 0: not at all */
static uint64_t known_at_home(fuse_req_t req, fuse_ino_t ino)
{
	struct node *pulled = pulled_find(of(req), ino);

	return own_by_node(mount_of(req), ino) ? 0 : pulled ? pulled->home : node_at_home(mount_of(req), ino);
}

static struct stat stat_of_own(const struct own_name *n)
{
	return (struct stat){ .st_ino = OWN_NODES + (uint64_t)(n - own_names), .st_nlink = S_ISDIR(n->type) ? 2 : 1,
			      .st_mode = n->type | (S_ISREG(n->type) ? 0444 : S_ISDIR(n->type) ? 0755 : 0777) };
}

bool files_own_name(const char *rest)
{
	size_t len;

	rest += strspn(rest, "/");
	len = strcspn(rest, "/");
	if (strstr(rest, "..") || !strncmp(rest, "./", 2))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(own_names); i++)
		if (strlen(own_names[i].name) == len && !strncmp(own_names[i].name, rest, len))
			return !own_names[i].streams;
	return false;
}

static bool reply_own(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .attr_timeout = 1e6, .entry_timeout = 1e6 };

	for (size_t i = 0; mount_of(req)->dev && parent == FUSE_ROOT_ID && i < ARRAY_SIZE(own_names); i++)
		if (!strcmp(own_names[i].name, name)) {
			entry.ino = OWN_NODES + i;
			entry.attr = stat_of_own(&own_names[i]);
			fuse_reply_entry(req, &entry);
			return true;
		}
	return false;
}

/* ---- before the program runs ------------------------------------------------------------------------------------- */

static struct known *known_child(struct originfs *o, struct known *parent, const char *name, const struct image_open *open)
{
	struct known *k = calloc(1, sizeof(*k));
	size_t size = strlen(parent->path) + strlen(name) + 2;

	if (k)
		k->path = malloc(size);
	if (!k || !k->path || o->next_known >= OWN_NODES) {
		if (k)
			free(k->path);
		free(k);
		return NULL;
	}
	snprintf(k->path, size, "%s/%s", parent->path, name);
	k->id = o->next_known++;
	k->parent = parent->id;
	k->st = (struct stat){ .st_mode = S_IFDIR | 0777, .st_nlink = 2, .st_ino = k->id };
	if (open && !strcmp(k->path, open->path)) {
		k->open = open;
		k->handle = (uint32_t)open->stream;
		k->st.st_mode = (mode_t)open->mode;
		k->st.st_size = (off_t)open->size;
		k->st.st_ino = open->inode ? open->inode : k->id;
	}
	files_show_ids(o, &k->st);
	k->next = o->known;
	return o->known = k;
}

/* Another file may have come to that name, or this one is open twice: by its inode it is the same */
static bool is_same(const struct known *k, const char *path, const struct image_open *open)
{
	if (strcmp(k->path, path))
		return false;
	if (S_ISDIR(k->st.st_mode))
		return !open || strcmp(open->path, path) || S_ISDIR((mode_t)open->mode);
	return !open || strcmp(open->path, path) || !open->inode || k->st.st_ino == open->inode;
}

static void lookup_known(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct originfs *o = of(req);
	const struct image_open *open = originfs_is_opener(req) ? o->opening : NULL;
	struct known *p = known_find(o, node_at_home(mount_of(req), parent)), *k;
	struct fuse_entry_param entry = { 0 };
	char path[4096];

	if (!p || snprintf(path, sizeof(path), "%s/%s", p->path, name) >= (int)sizeof(path)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	for (k = o->known; k && !is_same(k, path, open); k = k->next)
		;
	k = k ? k : known_child(o, p, name, open);
	if (!k) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	k->lookups++;
	entry.ino = k->id;
	entry.attr = k->st;
	if (fuse_reply_entry(req, &entry))
		k->lookups--;
}

static void getattr_known(fuse_req_t req, fuse_ino_t ino)
{
	struct known *k = known_find(of(req), node_at_home(mount_of(req), ino));

	if (k)
		fuse_reply_attr(req, &k->st, 0);
	else
		fuse_reply_err(req, ENOENT);
}

static int bind_one(struct originfs *o, struct known *k)
{
	const char *name = k->parent ? strrchr(k->path, '/') + 1 : k->path;
	uint64_t args[6] = { k->id, k->parent, k->lookups, k->handle };

	k->bound = true;
	k->open = NULL;
	return ask_home(o->asks, FILE_PID, FILE_ROW + FILE_bind, 0, args, name, strlen(name) + 1, ignore, NULL) ? 0 : -ENOBUFS;
}

/* Messages keep their order: parents, which have lower numbers, come first, and all of it before any question */
int files_bind(struct originfs *o)
{
	bool more = true;
	int rc = ask_home(o->asks, FILE_PID, FILE_ROW + FILE_begin, 0, (uint64_t[6]){ 0 }, NULL, 0, ignore, NULL) ? 0 : -ENOBUFS;

	while (more && !rc) {
		struct known *first = NULL;

		for (struct known *k = o->known; k; k = k->next)
			if (!k->bound && (!first || k->id < first->id))
				first = k;
		more = first != NULL;
		rc = first ? bind_one(o, first) : 0;
	}
	return rc;
}

static void forget(struct mount *m, fuse_ino_t ino, uint64_t count, struct bytes *b)
{
	struct known *k;

	if (own_by_node(m, ino) || ino == FUSE_ROOT_ID)
		return;
	if (ino >= FIRST_FRESH && ino < FILE_OWN_NODES) {
		pulled_forget(m->o, ino, count);
		return;
	}
	k = m->o->up ? NULL : known_find(m->o, ino);
	if (k) {
		k->lookups -= MIN(count, k->lookups);
		return;
	}
	bytes_put_le(b, ino, 8);
	bytes_put_le(b, count, 8);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	uint8_t buf[16];
	struct bytes b = bytes_of(buf, sizeof(buf));

	forget(mount_of(req), ino, count, &b);
	if (b.at > buf)
		file_tell(of(req), FILE_forget, (uint64_t[6]){ 0 }, buf, sizeof(buf));
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	uint8_t buf[FORGETS_A_MESSAGE * 16];

	for (size_t i = 0; i < count;) {
		struct bytes b = bytes_of(buf, sizeof(buf));

		for (size_t k = 0; k < FORGETS_A_MESSAGE && i < count; k++, i++)
			forget(mount_of(req), forgets[i].ino, forgets[i].nlookup, &b);
		if (b.at > buf)
			file_tell(of(req), FILE_forget, (uint64_t[6]){ 0 }, buf, (size_t)(b.at - buf));
	}
	fuse_reply_none(req);
}

/* ---- names --------------------------------------------------------------------------------------------------------- */

static void ask_named(fuse_req_t req, fuse_ino_t parent, const char *name, enum file_op op, uint64_t a1, uint64_t a2,
		      ask_done *done)
{
	struct request *r = request_new(req, parent, NULL);

	if (r)
		file_ask(r, op, (uint64_t[6]){ r->node, a1, a2 }, name, strlen(name) + 1, done);
}

static void ask_two(fuse_req_t req, fuse_ino_t parent, const char *name, const char *other, enum file_op op, uint64_t a1,
		    uint64_t a2, ask_done *done)
{
	struct request *r = request_new(req, parent, NULL);
	size_t first = strlen(name) + 1, second = strlen(other) + 1;
	char both[512 + 4096];

	if (!r)
		return;
	if (first + second > sizeof(both)) {
		fuse_reply_err(req, ENAMETOOLONG);
		free(r);
		return;
	}
	memcpy(both, name, first);
	memcpy(both + first, other, second);
	file_ask(r, op, (uint64_t[6]){ r->node, a1, a2 }, both, first + second, done);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (reply_own(req, parent, name))
		return;
	if (of(req)->up)
		ask_named(req, parent, name, FILE_lookup, 0, 0, on_entry);
	else
		lookup_known(req, parent, name);
}

static void reply_attr(fuse_req_t req, uint64_t node, struct stat *st)
{
	struct node *pulled = pulled_find(of(req), node);

	files_show_ids(of(req), st);
	if (pulled) {
		pulled_set_stat(pulled, st);
		pulled_getattr(req, pulled);
	} else {
		fuse_reply_attr(req, st, cache_valid(of(req), node));
	}
}

static void on_attr(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;
	struct stat st;

	if (value < 0)
		request_fail(r, value);
	else if (file_get_stat(out, len, &st))
		fuse_reply_err(r->req, EIO);
	else
		reply_attr(r->req, r->node, &st);
	request_end(r);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct own_name *own = own_by_node(mount_of(req), ino);
	struct node *pulled = pulled_find(of(req), ino);
	struct request *r;

	if (own) {
		struct stat st = stat_of_own(own);

		fuse_reply_attr(req, &st, 1e6);
		return;
	}
	if (pulled) {
		pulled_getattr(req, pulled);
		return;
	}
	if (!of(req)->up) {
		getattr_known(req, ino);
		return;
	}
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_getattr, (uint64_t[6]){ r->node, fi ? fi->fh : 0 }, NULL, 0, on_attr);
}

static const struct {
	int fuse;
	uint64_t ours;
} set_bits[] = {
	{ FUSE_SET_ATTR_MODE, FILE_SET_MODE },	       { FUSE_SET_ATTR_UID, FILE_SET_UID },
	{ FUSE_SET_ATTR_GID, FILE_SET_GID },	       { FUSE_SET_ATTR_SIZE, FILE_SET_SIZE },
	{ FUSE_SET_ATTR_ATIME, FILE_SET_ATIME },       { FUSE_SET_ATTR_MTIME, FILE_SET_MTIME },
	{ FUSE_SET_ATTR_ATIME_NOW, FILE_SET_ATIME_NOW }, { FUSE_SET_ATTR_MTIME_NOW, FILE_SET_MTIME_NOW },
};

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *fi)
{
	uint64_t node = known_at_home(req, ino), bits = 0;
	struct node *pulled = pulled_find(of(req), ino);
	uint8_t buf[FILE_STAT_LEN];
	struct request *r;

	if (pulled && what == FUSE_SET_ATTR_SIZE) {	/* O_TRUNC means nothing to it */
		pulled_getattr(req, pulled);
		return;
	}
	if (!node) {
		fuse_reply_err(req, pulled ? ENOSYS : EPERM);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(set_bits); i++)
		if (what & set_bits[i].fuse)
			bits |= set_bits[i].ours;
	file_put_stat(buf, st);
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_setattr, (uint64_t[6]){ node, fi && !pulled ? fi->fh : 0, bits }, buf, sizeof(buf), on_attr);
}

static void on_link(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;
	char path[4096];

	if (value < 0 || len >= sizeof(path)) {
		request_fail(r, value < 0 ? value : -EIO);
	} else {
		memcpy(path, out, len);
		path[len] = 0;
		fuse_reply_readlink(r->req, path);
	}
	request_end(r);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	const struct own_name *own = own_by_node(mount_of(req), ino);
	struct request *r;

	if (own) {
		fuse_reply_readlink(req, own->link);
		return;
	}
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_readlink, (uint64_t[6]){ r->node }, NULL, 0, on_link);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct request *r = request_new(req, parent, NULL);

	if (!r)
		return;
	r->made = true;
	file_ask(r, FILE_mknod, (uint64_t[6]){ r->node, mode, rdev }, name, strlen(name) + 1, on_entry);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	ask_named(req, parent, name, FILE_mknod, S_IFDIR | (mode & 07777), 0, on_entry);
}

static void op_symlink(fuse_req_t req, const char *to, fuse_ino_t parent, const char *name)
{
	ask_two(req, parent, name, to, FILE_symlink, 0, 0, on_entry);
}

/* A file system must not answer with another node than it was asked about */
static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	if (pulled_find(of(req), ino))
		fuse_reply_err(req, EPERM);
	else
		ask_named(req, ino, name, FILE_link, node_at_home(mount_of(req), parent), 0, on_entry);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ask_named(req, parent, name, FILE_unlink, 0, 0, request_on_plain);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ask_named(req, parent, name, FILE_unlink, AT_REMOVEDIR, 0, request_on_plain);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to, const char *other, unsigned flags)
{
	ask_two(req, parent, name, other, FILE_rename, node_at_home(mount_of(req), to), flags, request_on_plain);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct request *r;

	/* what is pulled is looked at when it is opened; before the program runs it may go where it was */
	if (!of(req)->up || pulled_find(of(req), ino) || own_by_node(mount_of(req), ino)) {
		fuse_reply_err(req, 0);
		return;
	}
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_access, (uint64_t[6]){ r->node, (uint64_t)mask }, NULL, 0, request_on_plain);
}

static void on_statfs(void *ctx, int64_t value, const void *out, size_t len)
{
	struct bytes b = bytes_of(out, len);
	struct request *r = ctx;
	struct statvfs s = { 0 };

	s.f_bsize = bytes_get_le(&b, 8);
	s.f_frsize = bytes_get_le(&b, 8);
	s.f_blocks = bytes_get_le(&b, 8);
	s.f_bfree = bytes_get_le(&b, 8);
	s.f_bavail = bytes_get_le(&b, 8);
	s.f_files = bytes_get_le(&b, 8);
	s.f_ffree = s.f_favail = bytes_get_le(&b, 8);
	s.f_namemax = bytes_get_le(&b, 8);
	if (value < 0 || b.bad)
		request_fail(r, value < 0 ? value : -EIO);
	else
		fuse_reply_statfs(r->req, &s);
	request_end(r);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct request *r = request_new(req, ino && !pulled_find(of(req), ino) ? ino : FUSE_ROOT_ID, NULL);

	if (r)
		file_ask(r, FILE_statfs, (uint64_t[6]){ r->node }, NULL, 0, on_statfs);
}

/* ---- extended attributes ---------------------------------------------------------------------------------------------- */

static void on_xattr(void *ctx, int64_t value, const void *out, size_t len)
{
	struct request *r = ctx;

	if (value < 0)
		request_fail(r, value);
	else if (!r->size)
		fuse_reply_xattr(r->req, (size_t)value);
	else if (len > r->size)
		fuse_reply_err(r->req, EIO);
	else
		fuse_reply_buf(r->req, out, len);
	request_end(r);
}

static void ask_xattr(fuse_req_t req, fuse_ino_t ino, enum file_op op, const char *name, size_t size)
{
	uint64_t node = known_at_home(req, ino);
	struct request *r;

	if (!node) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	r = request_new(req, ino, NULL);
	if (!r)
		return;
	r->size = size;
	file_ask(r, op, (uint64_t[6]){ node, size }, name, strlen(name) + 1, on_xattr);
}

/* The kernel asks for capabilities before each write and exec; this mount knows none (nosuid) */
static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	if (!strcmp(name, "security.capability"))
		fuse_reply_err(req, ENODATA);
	else
		ask_xattr(req, ino, FILE_getxattr, name, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	ask_xattr(req, ino, FILE_listxattr, "", size);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	size_t first = strlen(name) + 1;
	uint64_t node = known_at_home(req, ino);
	struct request *r;
	AUTO_FREE char *both = malloc(first + size);

	if (!both || first + size > FILE_MOST || !node) {
		fuse_reply_err(req, !both ? ENOMEM : first + size > FILE_MOST ? E2BIG : EPERM);
		return;
	}
	memcpy(both, name, first);
	memcpy(both + first, value, size);
	r = request_new(req, ino, NULL);
	if (r)
		file_ask(r, FILE_setxattr, (uint64_t[6]){ node, (uint64_t)flags }, both, first + size, request_on_plain);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	uint64_t node = known_at_home(req, ino);

	if (node)
		ask_named(req, node, name, FILE_removexattr, 0, 0, request_on_plain);
	else
		fuse_reply_err(req, EPERM);
}

static void op_init(void *userdata UNUSED, struct fuse_conn_info *c)
{
	c->max_write = FILE_MOST;
	c->max_readahead = FILE_MOST;
	c->want &= ~(unsigned)FUSE_CAP_READDIRPLUS;
}

const struct fuse_lowlevel_ops file_ops = {
	.init = op_init,	  .lookup = op_lookup,	    .forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,	  .setattr = op_setattr,    .readlink = op_readlink,
	.mknod = op_mknod,	  .mkdir = op_mkdir,	    .unlink = op_unlink,
	.rmdir = op_rmdir,	  .symlink = op_symlink,    .rename = op_rename,
	.link = op_link,	  .access = op_access,	    .statfs = op_statfs,
	.getxattr = op_getxattr,  .listxattr = op_listxattr, .setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.open = io_open,	  .create = io_create,	    .read = io_read,
	.write = io_write,	  .release = io_release,    .flush = io_flush,
	.fsync = io_fsync,	  .opendir = io_open,	    .readdir = io_readdir,
	.releasedir = io_release, .fsyncdir = io_fsync,	    .fallocate = io_fallocate,
	.lseek = io_lseek,	  .copy_file_range = io_copy, .poll = pulled_poll,
	.ioctl = io_ioctl,	  .getlk = io_getlk,	    .setlk = io_setlk,
	.flock = io_flock,
};

/* SPDX-License-Identifier: MIT */
/*
 * files_ops.c - One function an operation of common/file.def
 *
 * Names are taken one at a time, relative to a node, and never follow a symbolic link: the kernel of the
 * target walks paths.  A node is worked with by its O_PATH descriptor, or by its name in /proc/self/fd.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/scope.h"
#include "proxy/deputy/files.h"

#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_DIRECTORY | O_NOATIME | O_SYNC | O_DSYNC)

struct fd_name {
	char text[32];
};

static struct fd_name name_of_fd(int fd)
{
	struct fd_name n;

	snprintf(n.text, sizeof(n.text), "/proc/self/fd/%d", fd);
	return n;
}

/* One component, as it is in a directory */
static bool is_name(const char *name)
{
	return name && *name && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, "..");
}

static const char *first_name(const struct wire_call *m)
{
	const char *name = file_name_in(m->in.p, m->in.len);

	return is_name(name) ? name : NULL;
}

/* What follows the first name; *@left: so many bytes are there */
static const char *behind_name(const struct wire_call *m, size_t *left)
{
	size_t len = file_name_in(m->in.p, m->in.len) ? strlen((const char *)m->in.p) + 1 : m->in.len;

	*left = m->in.len - len;
	return (const char *)m->in.p + len;
}

static int own_errno(void)
{
	return -errno;
}

/* ---- what comes back -------------------------------------------------------------------------------- */

static int64_t give_stat(struct files *f, const struct stat *st)
{
	file_put_stat(f->out, st);
	f->out_len = FILE_STAT_LEN;
	return 0;
}

/* A node that the target doesn't know yet, or once more.  Of what only a deputy can open it is told where */
static int64_t give_entry_of(struct files *f, int path_fd)
{
	AUTO_FD int fd = path_fd;
	struct bytes b = bytes_of(f->out, FILE_ENTRY_LEN);
	struct file_node *node;
	struct stat st;
	ssize_t len = 0;

	if (fd < 0 || fstat(fd, &st))
		return own_errno();
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) || S_ISFIFO(st.st_mode)) {
		len = readlink(name_of_fd(fd).text, (char *)f->out + FILE_ENTRY_LEN, 4096);
		if (len < 0)
			return own_errno();
	}
	node = node_get(&f->nodes, take_fd(&fd), 0, &st);
	if (!node)
		return -ENOMEM;
	node->lookups++;
	bytes_put_le(&b, node->id, 8);
	file_put_stat(b.at, &st);
	f->out_len = FILE_ENTRY_LEN + (size_t)len;
	return 0;
}

static int64_t give_entry(struct files *f, int at, const char *name)
{
	return give_entry_of(f, openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

/* ---- nodes -------------------------------------------------------------------------------------------- */

int64_t files_do_begin(struct files *f, const struct wire_call *m UNUSED)
{
	leases_drop_all(f);
	nodes_forget_all(&f->nodes);
	files_forget_locks(f);
	return 0;
}

/* By the open file that the program has, or by its name */
int64_t files_do_bind(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = m->a1 ? node_find(&f->nodes, m->a1) : NULL, *node;
	struct file_open *open_file = m->a3 ? open_find(&f->nodes, (uint32_t)m->a3) : NULL;
	const char *name = file_name_in(m->in.p, m->in.len);
	AUTO_FD int fd = -1;
	struct stat st;

	if (!m->a0 || m->a0 >= FILE_OWN_NODES || node_find(&f->nodes, m->a0))
		return -EINVAL;
	if (m->a3)
		fd = open_file ? open(name_of_fd(open_file->fd).text, O_PATH | O_CLOEXEC) : -1;
	else if (!m->a1)
		fd = name && files_is_root(f, name) ? open(name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	else
		fd = parent && is_name(name) ? openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st))
		return -ENOENT;
	node = node_get(&f->nodes, take_fd(&fd), m->a0, &st);
	if (!node)
		return -ENOMEM;
	node->lookups += m->a2;
	return 0;
}

int64_t files_do_lookup(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = node_find(&f->nodes, m->a0);
	const char *name = first_name(m);

	return !parent ? -ESTALE : !name ? -EINVAL : give_entry(f, parent->fd, name);
}

int64_t files_do_forget(struct files *f, const struct wire_call *m)
{
	struct bytes b = bytes_of(m->in.p, m->in.len);

	while (bytes_left(&b) >= 16) {
		uint64_t id = bytes_get_le(&b, 8);

		node_forget(&f->nodes, id, bytes_get_le(&b, 8));
	}
	return 0;
}

int64_t files_do_getattr(struct files *f, const struct wire_call *m)
{
	struct file_open *o = m->a1 ? open_find(&f->nodes, (uint32_t)m->a1) : NULL;
	struct file_node *node = node_find(&f->nodes, m->a0);
	struct stat st;

	if (!o && !node)
		return -ESTALE;
	return fstat(o ? o->fd : node->fd, &st) ? own_errno() : give_stat(f, &st);
}

static int set_times(int fd, uint64_t what, const struct stat *to)
{
	struct timespec t[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };

	if (what & FILE_SET_ATIME)
		t[0] = to->st_atim;
	if (what & FILE_SET_MTIME)
		t[1] = to->st_mtim;
	if (what & FILE_SET_ATIME_NOW)
		t[0].tv_nsec = UTIME_NOW;
	if (what & FILE_SET_MTIME_NOW)
		t[1].tv_nsec = UTIME_NOW;
	if (t[0].tv_nsec == UTIME_OMIT && t[1].tv_nsec == UTIME_OMIT)
		return 0;
	return syscall(SYS_utimensat, fd, "", t, AT_EMPTY_PATH) ? own_errno() : 0;
}

int64_t files_do_setattr(struct files *f, const struct wire_call *m)
{
	struct file_open *o = m->a1 ? open_find(&f->nodes, (uint32_t)m->a1) : NULL;
	struct file_node *node = node_find(&f->nodes, m->a0);
	uint64_t what = m->a2;
	struct stat to, st;
	uid_t uid;
	gid_t gid;
	int rc;

	if (!node)
		return -ESTALE;
	if (file_get_stat(m->in.p, m->in.len, &to))
		return -EINVAL;
	uid = what & FILE_SET_UID ? to.st_uid : (uid_t)-1;
	gid = what & FILE_SET_GID ? to.st_gid : (gid_t)-1;
	if (what & (FILE_SET_UID | FILE_SET_GID) && fchownat(node->fd, "", uid, gid, AT_EMPTY_PATH))
		return own_errno();
	if (what & FILE_SET_MODE && (S_ISLNK(node->type) || chmod(name_of_fd(node->fd).text, to.st_mode & 07777)))
		return S_ISLNK(node->type) ? -EOPNOTSUPP : own_errno();
	if (what & FILE_SET_SIZE && !o && !fstat(node->fd, &st))
		leases_give_way(f, &st, true);
	if (what & FILE_SET_SIZE && (o ? ftruncate(o->fd, to.st_size) : truncate(name_of_fd(node->fd).text, to.st_size)))
		return own_errno();
	rc = set_times(node->fd, what, &to);
	if (rc)
		return rc;
	return fstat(node->fd, &st) ? own_errno() : give_stat(f, &st);
}

int64_t files_do_readlink(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	ssize_t n = node ? readlinkat(node->fd, "", (char *)f->out, 4096) : -1;

	if (!node || n < 0)
		return node ? own_errno() : -ESTALE;
	f->out_len = (size_t)n;
	return 0;
}

int64_t files_do_access(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);

	if (!node)
		return -ESTALE;
	return faccessat(AT_FDCWD, name_of_fd(node->fd).text, (int)m->a1 & (R_OK | W_OK | X_OK), AT_EACCESS) ? own_errno() : 0;
}

int64_t files_do_statfs(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	struct bytes b = bytes_of(f->out, 64);
	struct statfs s;

	if (!node || fstatfs(node->fd, &s))
		return node ? own_errno() : -ESTALE;
	bytes_put_le(&b, (uint64_t)s.f_bsize, 8);
	bytes_put_le(&b, (uint64_t)s.f_frsize, 8);
	bytes_put_le(&b, s.f_blocks, 8);
	bytes_put_le(&b, s.f_bfree, 8);
	bytes_put_le(&b, s.f_bavail, 8);
	bytes_put_le(&b, s.f_files, 8);
	bytes_put_le(&b, s.f_ffree, 8);
	bytes_put_le(&b, (uint64_t)s.f_namelen, 8);
	f->out_len = 64;
	return 0;
}

int64_t files_do_stat(struct files *f, const struct wire_call *m)
{
	const char *path = file_name_in(m->in.p, m->in.len), *rest;
	/* a link that leads out of the root is the target's to follow: EXDEV */
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | (m->a0 ? O_NOFOLLOW : 0),
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	char root[4096];
	AUTO_FD int at = -1;
	AUTO_FD int fd = -1;
	struct stat st;

	rest = path ? files_split(f, path, root, sizeof(root)) : NULL;
	if (!rest)
		return -EACCES;
	at = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	fd = at < 0 ? -1 : (int)syscall(SYS_openat2, at, *rest ? rest : ".", &how, sizeof(how));
	return fd < 0 || fstat(fd, &st) ? own_errno() : give_stat(f, &st);
}

/* ---- names ---------------------------------------------------------------------------------------------- */

int64_t files_do_mknod(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = node_find(&f->nodes, m->a0);
	const char *name = first_name(m);
	mode_t mode = (mode_t)m->a1;
	int rc;

	if (!parent || !name)
		return parent ? -EINVAL : -ESTALE;
	rc = S_ISDIR(mode) ? mkdirat(parent->fd, name, mode & 07777) : mknodat(parent->fd, name, mode, (dev_t)m->a2);
	return rc ? own_errno() : give_entry(f, parent->fd, name);
}

int64_t files_do_symlink(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = node_find(&f->nodes, m->a0);
	const char *name = first_name(m), *to;
	size_t left;

	to = behind_name(m, &left);
	if (!parent || !name || !file_name_in(to, left))
		return parent ? -EINVAL : -ESTALE;
	return symlinkat(to, parent->fd, name) ? own_errno() : give_entry(f, parent->fd, name);
}

int64_t files_do_link(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0), *parent = node_find(&f->nodes, m->a1);
	const char *name = first_name(m);

	if (!node || !parent || !name)
		return node && parent ? -EINVAL : -ESTALE;
	if (linkat(AT_FDCWD, name_of_fd(node->fd).text, parent->fd, name, AT_SYMLINK_FOLLOW))
		return own_errno();
	return give_entry(f, parent->fd, name);
}

int64_t files_do_unlink(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = node_find(&f->nodes, m->a0);
	const char *name = first_name(m);

	if (!parent || !name)
		return parent ? -EINVAL : -ESTALE;
	return unlinkat(parent->fd, name, (int)m->a1 & AT_REMOVEDIR) ? own_errno() : 0;
}

int64_t files_do_rename(struct files *f, const struct wire_call *m)
{
	struct file_node *from = node_find(&f->nodes, m->a0), *to = node_find(&f->nodes, m->a1);
	const char *name = first_name(m), *other;
	size_t left;

	other = behind_name(m, &left);
	other = file_name_in(other, left);
	if (!from || !to || !name || !is_name(other))
		return from && to ? -EINVAL : -ESTALE;
	return syscall(SYS_renameat2, from->fd, name, to->fd, other, (unsigned)m->a2) ? own_errno() : 0;
}

/* ---- open files -------------------------------------------------------------------------------------------- */

/* @fd becomes the handle's */
static int64_t keep_open(struct files *f, int fd, uint64_t handle)
{
	int rc = !handle || handle > UINT32_MAX ? -EINVAL : open_add(&f->nodes, (uint32_t)handle, fd, false);

	if (rc)
		close(fd);
	return rc;
}

/* 1: the target may cache it */
static int64_t may_cache(struct files *f, uint64_t handle, uint64_t node)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)handle);
	struct stat st;

	return o && !fstat(o->fd, &st) && lease_take(o, node, &st);
}

/* Not what waits, or does things when it is opened: a deputy opens those */
int64_t files_do_open(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	struct stat st;
	int64_t rc;
	int fd;

	if (!node)
		return -ESTALE;
	if (!S_ISREG(node->type) && !S_ISDIR(node->type))
		return -ENXIO;
	if (!fstat(node->fd, &st))
		leases_give_way(f, &st, (m->a1 & O_ACCMODE) != O_RDONLY || m->a1 & O_TRUNC);
	fd = open(name_of_fd(node->fd).text, ((int)m->a1 & OPEN_FLAGS) | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return own_errno();
	rc = keep_open(f, fd, m->a2);
	return rc ? rc : may_cache(f, m->a2, m->a0);
}

int64_t files_do_create(struct files *f, const struct wire_call *m)
{
	struct file_node *parent = node_find(&f->nodes, m->a0);
	int flags = ((int)m->a1 & (OPEN_FLAGS | O_EXCL)) | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, fd;
	const char *name = first_name(m);
	struct bytes b;
	struct stat st;
	int64_t rc;

	if (!parent || !name)
		return parent ? -EINVAL : -ESTALE;
	if (!fstatat(parent->fd, name, &st, AT_SYMLINK_NOFOLLOW))	/* somebody was quicker */
		leases_give_way(f, &st, true);
	fd = openat(parent->fd, name, flags, (mode_t)m->a2 & 07777);
	if (fd < 0)
		return own_errno();
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ENXIO;
	}
	rc = keep_open(f, fd, m->a3);
	if (!rc)
		rc = give_entry_of(f, open(name_of_fd(fd).text, O_PATH | O_CLOEXEC));
	if (rc) {
		open_drop(&f->nodes, (uint32_t)m->a3);
		return rc;
	}
	b = bytes_of(f->out, 8);
	return may_cache(f, m->a3, bytes_get_le(&b, 8));
}

int64_t files_do_read(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);
	size_t want = MIN(m->a2, (uint64_t)FILE_MOST), got = 0;

	if (!o)
		return -EBADF;
	while (got < want) {
		ssize_t n = pread(o->fd, f->out + got, want - got, (off_t)(m->a1 + got));

		if (n < 0 && !got)
			return own_errno();
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	f->out_len = got;
	return (int64_t)got;
}

/* An end that is appended to is the file's own.  A position that others have too goes along */
int64_t files_do_write(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);
	const uint8_t *from = m->in.p;
	size_t done = 0;
	int flags;

	if (!o)
		return -EBADF;
	flags = fcntl(o->fd, F_GETFL);
	if (flags >= 0 && ((flags ^ (int)m->a2) & O_APPEND))
		(void)fcntl(o->fd, F_SETFL, (flags & ~O_APPEND) | ((int)m->a2 & O_APPEND));
	while (done < m->in.len) {
		ssize_t n = pwrite(o->fd, from + done, m->in.len - done, (off_t)(m->a1 + done));

		if (n < 0 && !done)
			return own_errno();
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (o->shared && !((int)m->a2 & O_APPEND))
		(void)lseek(o->fd, (off_t)(m->a1 + done), SEEK_SET);
	return (int64_t)done;
}

int64_t files_do_sync(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);

	if (!o)
		return -EBADF;
	return (m->a1 ? fdatasync(o->fd) : fsync(o->fd)) ? own_errno() : 0;
}

int64_t files_do_allocate(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);

	if (!o)
		return -EBADF;
	return fallocate(o->fd, (int)m->a1, (off_t)m->a2, (off_t)m->a3) ? own_errno() : 0;
}

/* As getdents64(2) gives them: the target makes its own of them */
int64_t files_do_readdir(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);
	ssize_t n;

	if (!o)
		return -EBADF;
	if (lseek(o->fd, (off_t)m->a1, SEEK_SET) < 0)
		return own_errno();
	n = syscall(SYS_getdents64, o->fd, f->out, MIN(m->a2, (uint64_t)FILE_MOST));
	if (n < 0)
		return own_errno();
	f->out_len = (size_t)n;
	return 0;
}

int64_t files_do_release(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);

	if (o)
		files_forget_fd(f, o->fd);
	open_drop(&f->nodes, (uint32_t)m->a0);
	return 0;
}

int64_t files_do_seek(struct files *f, const struct wire_call *m)
{
	struct file_open *o = open_find(&f->nodes, (uint32_t)m->a0);
	off_t at;

	if (!o)
		return -EBADF;
	at = lseek(o->fd, (off_t)m->a1, (int)m->a2);
	return at < 0 ? own_errno() : at;
}

int64_t files_do_copy(struct files *f, const struct wire_call *m)
{
	struct file_open *in = open_find(&f->nodes, (uint32_t)m->a0), *out = open_find(&f->nodes, (uint32_t)m->a2);
	loff_t from = (loff_t)m->a1, to = (loff_t)m->a3;
	ssize_t n;

	if (!in || !out)
		return -EBADF;
	n = copy_file_range(in->fd, &from, out->fd, &to, MIN(m->a4, 1ULL << 24), 0);
	return n < 0 ? own_errno() : n;
}

/* ---- extended attributes ---------------------------------------------------------------------------------- */

/* @size 0: only how much there is */
static int64_t give_bytes(struct files *f, ssize_t n, uint64_t size)
{
	if (n < 0)
		return own_errno();
	f->out_len = size ? (size_t)n : 0;
	return n;
}

int64_t files_do_getxattr(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	const char *name = file_name_in(m->in.p, m->in.len);

	if (!node || !name)
		return node ? -EINVAL : -ESTALE;
	return give_bytes(f, getxattr(name_of_fd(node->fd).text, name, f->out, MIN(m->a1, (uint64_t)FILE_MOST)), m->a1);
}

int64_t files_do_setxattr(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	const char *name = file_name_in(m->in.p, m->in.len), *value;
	size_t left;

	value = behind_name(m, &left);
	if (!node || !name)
		return node ? -EINVAL : -ESTALE;
	return setxattr(name_of_fd(node->fd).text, name, value, left, (int)m->a1) ? own_errno() : 0;
}

int64_t files_do_listxattr(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);

	if (!node)
		return -ESTALE;
	return give_bytes(f, listxattr(name_of_fd(node->fd).text, (char *)f->out, MIN(m->a1, (uint64_t)FILE_MOST)), m->a1);
}

int64_t files_do_removexattr(struct files *f, const struct wire_call *m)
{
	struct file_node *node = node_find(&f->nodes, m->a0);
	const char *name = file_name_in(m->in.p, m->in.len);

	if (!node || !name)
		return node ? -EINVAL : -ESTALE;
	return removexattr(name_of_fd(node->fd).text, name) ? own_errno() : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * look.c - What a program consists of, from outside: the process itself and its files
 *
 * Areas are in look_areas.c, descriptors in look_fds.c.
 */
#include "proxy/origin/look.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <linux/magic.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/trace/procfs.h"

/* ---- files ---------------------------------------------------------------------------- */

static bool is_kernel_view(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC);
}

static int add_file(struct look *l, const char *path, const struct stat *st, bool ship)
{
	struct image_file *f = image_add(l->img, files);

	if (!f || image_set_str(&f->path, path))
		return -ENOMEM;
	f->device = st->st_dev;
	f->inode = st->st_ino;
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = (uint64_t)(st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec);
	f->ctime_ns = (uint64_t)(st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec);
	f->mode = st->st_mode;
	f->ship = ship;
	return (int)l->img->n_files - 1;
}

/**
 * look_file() - The file at @path as part of the image, checked against the policy
 * @inode:	What the program has; 0: unknown
 * @deleted:	The name is gone
 * @use:	For sentences: "maps", "has open", "runs"
 *
 * Return: index into files, also when there is a reason against it; a negative errno only when
 * memory runs out
 */
int look_file(struct look *l, const char *path, uint64_t inode, bool deleted, const char *use, struct err *e)
{
	const struct policy_rule *rule = NULL;
	enum policy_verdict verdict;
	struct stat st = { 0 };
	char decided[256];
	int i;

	for (i = 0; i < (int)l->img->n_files; i++)
		if (!strcmp(l->img->files[i].path, path))
			return i;
	verdict = policy_path(l->policy, path, &rule);
	policy_rule_text(rule, decided, sizeof(decided));
	if (l->moved && verdict == POLICY_ORIGIN && !deleted) {
		/* its keeper, that's us, would have to say what it is.  It can go home, and nowhere else */
		i = add_file(l, path, &st, false);
		if (i >= 0)
			l->img->files[i].stays = 1;
		return i < 0 ? err_set(e, i, "look at %s", path) : i;
	}
	if (deleted || (stat(path, &st) && verdict != POLICY_SHIP)) {
		reasons_add(l->why, REASON_DELETED_FILE, NULL, "the program %s %s, which has been deleted or replaced",
			    use, path);
	} else if (verdict == POLICY_ORIGIN) {
		reasons_add(l->why, REASON_ORIGIN_FILE, decided,
			    "the program %s %s, which belongs to this machine, and its memory can't be that of another one",
			    use, path);
	} else if (verdict == POLICY_REFUSE) {
		reasons_add(l->why, REASON_POLICY, decided, "the program %s %s", use, path);
	} else if (inode && st.st_ino && st.st_ino != inode && !is_kernel_view(path) &&
		   S_ISREG(st.st_mode) && verdict != POLICY_SHIP) {
		reasons_add(l->why, REASON_DELETED_FILE, NULL, "the program %s %s, which has been replaced since",
			    use, path);
	}
	i = add_file(l, path, &st, verdict == POLICY_SHIP);
	return i < 0 ? err_set(e, i, "look at %s", path) : i;
}

/* ---- who it is -------------------------------------------------------------------------- */

/* Another user's is kept from us.  At the origin its deputy will say; elsewhere nothing is hidden from the keeper */
static int look_status(const struct look *l, pid_t pid, int64_t *status)
{
	struct proc_status st;
	int its, rc = procfs_status(pid, pid, &st, NULL);

	if (!rc && !l->moved && st.uid[0] != geteuid() && geteuid())
		rc = -EACCES;
	if (!rc)
		rc = procfs_exit_status(pid, &its);
	if (!rc)
		*status = its;
	return rc;
}

static int add_kin(struct look *l, pid_t pid, bool child)
{
	struct image_kin *k;
	struct proc_stat st;

	if (procfs_stat(pid, pid, &st, NULL))
		return 0;	/* it has ended, or belongs to another pid namespace */
	k = image_add(l->img, kin);
	if (!k)
		return -ENOMEM;
	k->pid = pid;
	k->pgid = st.pgrp;
	k->session = st.session;
	k->child = child;
	k->moved = l->moved && !l->stays(l->ctx, pid);
	k->ended = child && proc_has_ended(st.state) && !look_status(l, pid, &k->status);
	return image_set_str(&k->comm, st.comm);
}

bool look_has_children(const struct image *img)
{
	for (size_t i = 0; i < img->n_kin; i++)
		if (img->kin[i].child)
			return true;
	return img->n_others > 0;
}

bool look_moves(const struct look *l, pid_t pid)
{
	for (size_t i = 0; i < l->n_tree; i++)
		if (l->tree[i] == pid)
			return true;
	return pid == l->pid;
}

int look_add_pid(pid_t pid, pid_t **list, size_t *n)
{
	pid_t *more = realloc(*list, (*n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[(*n)++] = pid;
	return 0;
}

int look_add_children(pid_t pid, pid_t **list, size_t *n)
{
	AUTO_FREE int *tids = NULL;
	int count = procfs_list(pid, "task", &tids, NULL);

	for (int i = 0; i < count; i++) {
		char text[65536], *at = text;
		ssize_t len = procfs_read(pid, text, sizeof(text), "task/%d/children", tids[i]);

		while (len > 0 && *at) {
			pid_t child = (pid_t)strtol(at, &at, 10);

			if (child <= 0)
				break;
			if (look_add_pid(child, list, n))
				return -ENOMEM;
			at += strspn(at, " \n");
		}
	}
	return 0;
}

/* Those that stay: the parent, and the children.  A moved program's children have moved too, or are stand-ins */
static int look_kin(struct look *l, pid_t ppid, struct err *e)
{
	AUTO_FREE pid_t *children = NULL;
	size_t n = 0;
	int rc = look_add_children(l->pid, &children, &n);

	if (!rc && ppid > 1 && (l->pid == (l->tree ? l->tree[0] : l->pid)))
		rc = add_kin(l, ppid, false);
	for (size_t i = 0; i < n && !rc; i++) {
		if (look_moves(l, children[i]))
			continue;
		/* of a moved program's those that aren't stand-ins have ended, and weren't waited for */
		rc = add_kin(l, children[i], true);
	}
	return rc ? err_set(e, rc, "look at the program's parent and children") : 0;
}

static bool is_nobodys(pid_t pid)
{
	struct proc_stat st;

	return pid > 1 && procfs_stat(pid, pid, &st, NULL);
}

static bool descends(pid_t pid, pid_t from)
{
	struct proc_stat st;

	while (pid > 1 && pid != from && !procfs_stat(pid, pid, &st, NULL))
		pid = st.ppid;
	return pid == from;
}

/*
 * A session can only be inherited, or led.  Who is in another one than its parent can be born again where
 * the parent has left that session, or adopted it from its leader's family (birth.c of the target)
 */
static void look_place(struct look *l, const struct proc_stat *st)
{
	struct proc_stat parent;

	l->img->no_session_leader = is_nobodys(st->session);
	l->img->no_group_leader = is_nobodys(st->pgrp);
	if (!look_moves(l, st->ppid) || st->session == l->pid || l->img->no_session_leader ||
	    procfs_stat(st->ppid, st->ppid, &parent, NULL) || parent.session == st->session ||
	    parent.session == st->ppid || descends(st->session, st->ppid))
		return;
	reasons_add(l->why, REASON_CHILDREN, NULL, "process %d (%s) was adopted by its parent, but the leader of its session wasn't",
		    (int)l->pid, st->comm);
}

/* A namespace of its own is a container: its paths and pids mean something else here */
static void look_namespaces(struct look *l)
{
	static const char *const kinds[] = { "mnt", "pid", "user", "ipc" };
	char mine[64], its[64], root[4096], our_root[4096];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (procfs_link(getpid(), mine, sizeof(mine), "ns/%s", kinds[i]) < 0 ||
		    procfs_link(l->pid, its, sizeof(its), "ns/%s", kinds[i]) < 0)
			continue;
		if (strcmp(mine, its))
			reasons_add(l->why, REASON_NAMESPACE, NULL,
				    "the program is in another %s namespace than mproxy", kinds[i]);
	}
	if (procfs_link(l->pid, root, sizeof(root), "root") > 0 &&
	    procfs_link(getpid(), our_root, sizeof(our_root), "root") > 0 && strcmp(root, our_root))
		reasons_add(l->why, REASON_CHROOT, NULL, "the program's root directory is %s", root);
}

static void look_credentials(struct look *l, const struct proc_status *s)
{
	const uint32_t *u = s->uid, *g = s->gid;

	if (u[0] != u[1] || u[0] != u[2] || u[0] != u[3] || g[0] != g[1] || g[0] != g[2] || g[0] != g[3])
		reasons_add(l->why, REASON_SETUID, NULL,
			    "the program's real, effective and saved ids differ (uid %u %u %u, gid %u %u %u): the "
			    "process that stays in its place couldn't keep them",
			    u[0], u[1], u[2], g[0], g[1], g[2]);
	if (u[0] && s->cap[1])
		reasons_add(l->why, REASON_CREDENTIALS, NULL,
			    "the program has capabilities (%llx) that an ordinary user can't be given again",
			    (unsigned long long)s->cap[1]);
	else if (!u[0] && (s->cap[1] != s->cap[3] || s->cap[2] != s->cap[3]))
		reasons_add(l->why, REASON_CREDENTIALS, NULL,
			    "the program is root without some of its capabilities (%llx of %llx): they would come back",
			    (unsigned long long)s->cap[2], (unsigned long long)s->cap[3]);
}

static int keep_credentials(struct image *img, const struct proc_status *s)
{
	img->ruid = s->uid[0];
	img->euid = s->uid[1];
	img->suid = s->uid[2];
	img->fsuid = s->uid[3];
	img->rgid = s->gid[0];
	img->egid = s->gid[1];
	img->sgid = s->gid[2];
	img->fsgid = s->gid[3];
	img->cap_inheritable = s->cap[0];
	img->cap_permitted = s->cap[1];
	img->cap_effective = s->cap[2];
	img->cap_bounding = s->cap[3];
	img->cap_ambient = s->cap[4];
	img->no_new_privs = s->no_new_privs;
	img->n_groups = 0;
	for (int i = 0; i < s->n_groups; i++) {
		struct image_number *n = image_add(img, groups);

		if (!n)
			return -ENOMEM;
		n->value = s->groups[i];
	}
	return 0;
}

static int look_limits(struct look *l)
{
	for (int r = 0; r < RLIM_NLIMITS; r++) {
		struct image_limit *one;
		struct rlimit rl;

		if (prlimit(l->pid, r, NULL, &rl))
			continue;
		one = image_add(l->img, limits);
		if (!one)
			return -ENOMEM;
		*one = (struct image_limit){ .resource = r, .soft = rl.rlim_cur, .hard = rl.rlim_max };
	}
	return 0;
}

/* 32-bit programs: the ELF class of what it runs */
static void look_exe_class(struct look *l)
{
	unsigned char ident[EI_NIDENT] = { 0 };
	ssize_t n = procfs_read(l->pid, ident, sizeof(ident), "exe");

	if (n > EI_CLASS && ident[EI_CLASS] == ELFCLASS32)
		reasons_add(l->why, REASON_BITS32, NULL, "it is a 32-bit program");
}

static int look_exe(struct look *l, struct err *e)
{
	static const char gone[] = " (deleted)";
	char path[4096 + sizeof(gone)];
	bool deleted = false;
	int n = procfs_link(l->pid, path, sizeof(path), "exe"), i;

	if (n < 0)
		return err_set(e, n, "read which program process %d runs", (int)l->pid);
	if ((size_t)n > sizeof(gone) && !strcmp(path + n - sizeof(gone) + 1, gone)) {
		path[n - (int)sizeof(gone) + 1] = 0;
		deleted = true;
	}
	if (!l->moved || policy_path(l->policy, path, NULL) != POLICY_ORIGIN)
		look_exe_class(l);
	i = look_file(l, path, 0, deleted, "runs", e);
	if (i < 0)
		return i;
	l->img->files[i].mapped = 1;
	l->img->exe_file = i;
	return image_set_str(&l->img->exe, path);
}

static int look_cwd(struct look *l, struct err *e)
{
	const struct policy_rule *rule;
	enum policy_verdict verdict;
	char path[4096], decided[256];
	int n = procfs_link(l->pid, path, sizeof(path), "cwd");

	if (n < 0)
		return err_set(e, n, "read the working directory of process %d", (int)l->pid);
	verdict = policy_path(l->policy, path, &rule);
	l->img->cwd_stays = verdict == POLICY_ORIGIN;
	if (verdict == POLICY_REFUSE || verdict == POLICY_SHIP) {
		policy_rule_text(rule, decided, sizeof(decided));
		reasons_add(l->why, REASON_POLICY, decided, "the program's working directory is %s", path);
	}
	return image_set_str(&l->img->cwd, path);
}

static void look_state(struct look *l, const struct proc_status *s, const struct proc_stat *st)
{
	char comm[32];

	snprintf(comm, sizeof(comm), "%s", st->comm);
	if (s->kernel_thread || (st->flags & 0x00200000))	/* PF_KTHREAD */
		reasons_add(l->why, REASON_KERNEL_THREAD, NULL, "process %d (%s) is a kernel thread", (int)l->pid, comm);
	if (proc_has_ended(s->state))
		reasons_add(l->why, REASON_ZOMBIE, NULL, "process %d (%s) has ended already", (int)l->pid, comm);
	if (s->state == 'T')
		reasons_add(l->why, REASON_STOPPED, NULL, "process %d (%s) is stopped", (int)l->pid, comm);
	if (s->tracer && s->tracer != getpid())
		reasons_add(l->why, REASON_TRACED, NULL, "process %d (%s) is traced by process %d", (int)l->pid, comm,
			    (int)s->tracer);
	if (s->seccomp && !l->moved)
		reasons_add(l->why, REASON_SECCOMP, NULL, "process %d (%s) has a seccomp filter of its own", (int)l->pid,
			    comm);
	if (s->shadow_stack)
		reasons_add(l->why, REASON_SHADOW_STACK, NULL, "process %d (%s) uses shadow stacks", (int)l->pid, comm);
	if (s->tgid != l->pid)
		reasons_add(l->why, REASON_NO_PROCESS, NULL, "%d is a thread; its process is %d", (int)l->pid,
			    (int)s->tgid);
}

static void keep_mm(struct image *img, const struct proc_stat *st)
{
	img->start_code = st->start_code;
	img->end_code = st->end_code;
	img->start_data = st->start_data;
	img->end_data = st->end_data;
	img->start_brk = st->start_brk;
	img->start_stack = st->start_stack;
	img->arg_start = st->arg_start;
	img->arg_end = st->arg_end;
	img->env_start = st->env_start;
	img->env_end = st->env_end;
}

/* open(2) of this asks what ptrace(2) does (capabilities, dumpable, Yama), and stops nothing */
static bool may_trace(pid_t pid)
{
	char path[32];
	AUTO_FD int fd = -1;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* Nothing more can be found out about these.  Return: 0 or a negative errno */
static int look_whether(struct look *l, const char *comm, struct err *e)
{
	char exe[4096];
	const char *name;
	size_t before = l->why->n;	/* those of the tree's other processes, say */

	if (l->moved)
		return 0;
	if (!may_trace(l->pid))
		reasons_add(l->why, REASON_NOT_TRACEABLE, NULL, "process %d (%s) may not be traced by mproxy, which is uid %u's",
			    (int)l->pid, comm, (unsigned)geteuid());
	if (procfs_link(l->pid, exe, sizeof(exe), "exe") > 0) {
		name = strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe;
		if (!strcmp(name, "mdeputy") || !strcmp(name, "mrestore") || !strcmp(name, "mproxy"))
			reasons_add(l->why, REASON_ITS_OWN, NULL, "process %d (%s) is a part of mproxy: it runs %s",
				    (int)l->pid, comm, name);
	}
	return l->why->n > before ? reasons_to_err(l->why, e) : 0;
}

int look_process(struct look *l, struct err *e)
{
	struct image *img = l->img;
	struct proc_status s;
	struct proc_stat st;
	uint8_t auxv[1024];
	char text[256];
	ssize_t n;
	int rc = procfs_status(l->pid, l->pid, &s, e);

	if (!rc)
		rc = procfs_stat(l->pid, l->pid, &st, e);
	if (rc)
		return rc;
	rc = look_whether(l, st.comm, e);
	if (rc)
		return rc;
	look_state(l, &s, &st);
	if (!l->moved)
		look_namespaces(l);
	look_credentials(l, &s);
	img->version = IMAGE_VERSION;
	img->pid = l->pid;
	img->ppid = st.ppid;
	img->pgid = st.pgrp;
	img->session = st.session;
	img->start_time = st.start_time;
	img->umask = s.umask;
	img->resident = s.vm_rss;
	img->virtual = s.vm_size;
	keep_mm(img, &st);
	rc = image_set_str(&img->comm, st.comm);
	if (!rc)
		rc = look_kin(l, st.ppid, e);
	look_place(l, &st);
	if (l->moved)
		s.no_new_privs = l->no_new_privs;
	if (!rc)
		rc = keep_credentials(img, &s);
	if (!rc)
		rc = look_limits(l);
	if (!rc)
		rc = look_exe(l, e);
	if (!rc)
		rc = look_cwd(l, e);
	if (rc < 0)
		return rc;
	n = procfs_read(l->pid, auxv, sizeof(auxv), "auxv");
	if (n < 0)
		return err_set(e, (int)n, "read the auxiliary vector of process %d", (int)l->pid);
	rc = image_set_bytes(&img->auxv, auxv, (size_t)n);
	if (procfs_read(l->pid, text, sizeof(text), "oom_score_adj") > 0)
		img->oom_score_adj = atoi(text);
	if (procfs_read(l->pid, text, sizeof(text), "personality") > 0)
		img->personality = strtoull(text, NULL, 16);
	return rc;
}

int look_at(struct look *l, struct err *e)
{
	int rc = look_process(l, e);

	if (!rc)
		rc = look_areas(l, e);
	if (!rc)
		rc = look_descriptors(l, e);
	if (!rc)
		rc = look_locks(l, e);
	return rc;
}

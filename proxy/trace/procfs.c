/* SPDX-License-Identifier: MIT */
/*
 * procfs.c - What /proc/PID says, parsed (proc(5))
 */
#include "proxy/trace/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "common/scope.h"

/* ---- whole files -------------------------------------------------------------- */

static int path_of(char *path, size_t size, pid_t pid, const char *fmt, va_list ap)
{
	int n = snprintf(path, size, "/proc/%d/", (int)pid);

	vsnprintf(path + n, size - (size_t)n, fmt, ap);
	return 0;
}

ssize_t procfs_read(pid_t pid, void *buf, size_t size, const char *fmt, ...)
{
	AUTO_FD int fd = -1;
	char path[128];
	size_t got = 0;
	va_list ap;

	va_start(ap, fmt);
	path_of(path, sizeof(path), pid, fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (got + 1 < size) {
		ssize_t n = read(fd, (char *)buf + got, size - 1 - got);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	((char *)buf)[got] = 0;
	return (ssize_t)got;
}

int procfs_link(pid_t pid, char *buf, size_t size, const char *fmt, ...)
{
	char path[128];
	va_list ap;
	ssize_t n;

	va_start(ap, fmt);
	path_of(path, sizeof(path), pid, fmt, ap);
	va_end(ap);
	n = readlink(path, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return (int)n;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int procfs_list(pid_t pid, const char *dir, int **out, struct err *e)
{
	AUTO_DIR DIR *d = NULL;
	AUTO_FREE int *list = NULL;
	size_t n = 0, room = 0;
	struct dirent *de;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, dir);
	d = opendir(path);
	if (!d)
		return err_set(e, -errno, "read %s", path);
	while ((de = readdir(d))) {
		if (de->d_name[0] < '0' || de->d_name[0] > '9')
			continue;
		if (n == room) {
			int *more = realloc(list, (room += 64) * sizeof(*list));

			if (!more)
				return err_set(e, -ENOMEM, "read %s", path);
			list = more;
		}
		list[n++] = atoi(de->d_name);
	}
	if (n)
		qsort(list, n, sizeof(*list), by_number);
	*out = take_ptr(list);
	return (int)n;
}

int procfs_number(const char *text, const char *key, int base, uint64_t *out)
{
	size_t len = strlen(key);

	for (const char *l = text; l && *l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL) {
		if (strncmp(l, key, len) || l[len] != ':')
			continue;
		*out = strtoull(l + len + 1, NULL, base);
		return 0;
	}
	return -ENOENT;
}

/* ---- maps and smaps ------------------------------------------------------------- */

static const struct {
	char name[3];
	enum vmflag flag;
} vmflag_names[] = {
	{ "gd", VMFLAG_GROWSDOWN },   { "lo", VMFLAG_LOCKED },	    { "nr", VMFLAG_NORESERVE },
	{ "ht", VMFLAG_HUGETLB },     { "dc", VMFLAG_DONTFORK },    { "dd", VMFLAG_DONTDUMP },
	{ "hg", VMFLAG_HUGEPAGE },    { "nh", VMFLAG_NOHUGEPAGE },  { "mg", VMFLAG_MERGEABLE },
	{ "wf", VMFLAG_WIPEONFORK },  { "sr", VMFLAG_SEQ_READ },    { "rr", VMFLAG_RAND_READ },
	{ "pf", VMFLAG_PFNMAP },      { "io", VMFLAG_IO },	    { "um", VMFLAG_UFFD },
	{ "uw", VMFLAG_UFFD },	      { "ss", VMFLAG_SHADOW_STACK }, { "mw", VMFLAG_MAYWRITE },
};

static uint64_t vmflags_of(const char *words)
{
	uint64_t flags = VMFLAG_KNOWN;

	for (; *words; words++)
		for (size_t i = 0; i < ARRAY_SIZE(vmflag_names); i++)
			if (!strncmp(words, vmflag_names[i].name, 2) && words[-1] == ' ' &&
			    (words[2] == ' ' || words[2] == '\n' || !words[2]))
				flags |= vmflag_names[i].flag;
	return flags;
}

/* Undoes the \ooo that the kernel writes for a newline in a name, in place */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (!strncmp(s, "\\012", 4)) {
			*to++ = '\n';
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

static bool parse_map(char *line, struct map_entry *m)
{
	unsigned major, minor;
	int name_at = 0;
	char *end;

	*m = (struct map_entry){ .name = "" };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n", &m->start,
		   &m->end, m->perms, &m->offset, &major, &minor, &m->inode, &name_at) < 7)
		return false;
	m->device = makedev(major, minor);
	if (name_at) {
		end = strchr(line + name_at, '\n');
		if (end)
			*end = 0;
		unescape(line + name_at);
		m->name = line + name_at;
	}
	return true;
}

int procfs_maps(pid_t pid, bool smaps, map_fn *each, void *ctx, struct err *e)
{
	AUTO_FREE char *line = NULL, *kept = NULL;
	AUTO_FILE FILE *f = NULL;
	struct map_entry m = { 0 }, next;
	bool have = false;
	size_t size = 0;
	char path[64];
	int rc = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, smaps ? "smaps" : "maps");
	f = fopen(path, "re");
	if (!f)
		return err_set(e, -errno, "read %s", path);
	while (!rc && getline(&line, &size, f) > 0) {
		if (smaps && line[0] >= 'A' && line[0] <= 'Z') {
			if (!strncmp(line, "VmFlags:", 8))
				m.vmflags = vmflags_of(line + 8);
			else if (!strncmp(line, "Rss:", 4))
				m.rss = strtoull(line + 4, NULL, 10) * 1024;
			continue;
		}
		if (!parse_map(line, &next))
			return err_say(e, -EPROTO, "%s has a line this build can't read", path);
		if (have)
			rc = each(ctx, &m, e);
		free(kept);
		kept = take_ptr(line);
		size = 0;
		m = next;
		have = true;
	}
	if (!rc && have)
		rc = each(ctx, &m, e);
	return rc;
}

/* ---- status and stat --------------------------------------------------------------- */

static void ids(const char *text, uint32_t out[4])
{
	if (text)
		sscanf(text, "%u %u %u %u", &out[0], &out[1], &out[2], &out[3]);
}

static const char *after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at ? at + strlen(key) : NULL;
}

int procfs_status(pid_t pid, pid_t tid, struct proc_status *s, struct err *e)
{
	static const char *const caps[] = { "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb" };
	char text[8192];
	const char *at;
	uint64_t v;
	ssize_t n = procfs_read(pid, text, sizeof(text), "task/%d/status", (int)tid);

	if (n < 0)
		return err_set(e, (int)n, "read the status of process %d", (int)pid);
	*s = (struct proc_status){ 0 };
	at = after(text, "\nState:\t");
	s->state = at ? *at : '?';
	ids(after(text, "\nUid:\t"), s->uid);
	ids(after(text, "\nGid:\t"), s->gid);
	at = after(text, "\nGroups:\t");
	while (at && *at >= '0' && *at <= '9' && s->n_groups < (int)ARRAY_SIZE(s->groups)) {
		s->groups[s->n_groups++] = (uint32_t)strtoul(at, (char **)&at, 10);
		at += *at == ' ';
	}
#define GET(key, base, field) \
	if (!procfs_number(text, key, base, &v)) \
		s->field = (__typeof__(s->field))v
	GET("Tgid", 10, tgid);
	GET("PPid", 10, ppid);
	GET("TracerPid", 10, tracer);
	GET("Umask", 8, umask);
	GET("Threads", 10, threads);
	GET("SigPnd", 16, pending);
	GET("ShdPnd", 16, shared_pending);
	GET("SigBlk", 16, blocked);
	GET("SigIgn", 16, ignored);
	GET("SigCgt", 16, caught);
	GET("NoNewPrivs", 10, no_new_privs);
	GET("Seccomp", 10, seccomp);
	GET("Seccomp_filters", 10, seccomp_filters);
	GET("VmRSS", 10, vm_rss);
	GET("VmSize", 10, vm_size);
	GET("Kthread", 10, kernel_thread);
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		GET(caps[i], 16, cap[i]);
#undef GET
	s->vm_rss *= 1024;
	s->vm_size *= 1024;
	at = after(text, "\nx86_Thread_features:\t");
	s->shadow_stack = at && !strncmp(at, "shstk", 5);
	return 0;
}

int procfs_stat(pid_t pid, pid_t tid, struct proc_stat *s, struct err *e)
{
	uint64_t f[64] = { 0 };		/* f[n] is proc(5)'s field (n) */
	char text[2048], *at, *close;
	ssize_t n = procfs_read(pid, text, sizeof(text), "task/%d/stat", (int)tid);

	if (n < 0)
		return err_set(e, (int)n, "read the stat of process %d", (int)pid);
	at = strchr(text, '(');
	close = strrchr(text, ')');
	if (!at || !close || close[1] != ' ')
		return err_say(e, -EPROTO, "/proc/%d/stat can't be read", (int)pid);
	*s = (struct proc_stat){ .state = close[2] };
	*close = 0;
	snprintf(s->comm, sizeof(s->comm), "%s", at + 1);
	at = close + 3;
	for (int i = 4; i < 53 && *at; i++)
		f[i] = (uint64_t)strtoull(at, &at, 10);
	s->ppid = (pid_t)f[4];
	s->pgrp = (pid_t)f[5];
	s->session = (pid_t)f[6];
	s->tty = (int)f[7];
	s->flags = f[9];
	s->priority = (int)f[18];
	s->nice = (int)f[19];
	s->start_time = f[22];
	s->start_code = f[26];
	s->end_code = f[27];
	s->start_stack = f[28];
	s->cpu = (int)f[39];
	s->rt_priority = (unsigned)f[40];
	s->policy = (unsigned)f[41];
	s->start_data = f[45];
	s->end_data = f[46];
	s->start_brk = f[47];
	s->arg_start = f[48];
	s->arg_end = f[49];
	s->env_start = f[50];
	s->env_end = f[51];
	return 0;
}

/* proc(5): the last field of stat */
int procfs_exit_status(pid_t pid, int *status)
{
	char text[2048], *at;
	ssize_t n = procfs_read(pid, text, sizeof(text), "stat");

	at = n > 0 ? strrchr(text, ' ') : NULL;
	if (!at)
		return n < 0 ? (int)n : -EPROTO;
	*status = atoi(at + 1);
	return 0;
}

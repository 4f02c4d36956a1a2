/* SPDX-License-Identifier: MIT */
/*
 * ground.c - The ground a moved program stands on: namespaces, mounts, hostname, user
 */
#include "proxy/target/ground.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/stub.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

static int write_file(const char *path, struct err *e, const char *fmt, ...) PRINTF(3, 4);
static int write_file(const char *path, struct err *e, const char *fmt, ...)
{
	AUTO_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		return err_set(e, -errno, "write %s", path);
	return 0;
}

/* A new user namespace fills the bounding set; the program had what this machine's processes have */
static int keep_bounding_set(const bool had[64], struct err *e)
{
	for (int cap = 0; cap < 64; cap++)
		if (!had[cap] && prctl(PR_CAPBSET_READ, cap) == 1 && prctl(PR_CAPBSET_DROP, cap))
			return err_set(e, -errno, "drop a capability from the bounding set");
	return 0;
}

/* One uid and one gid, under the numbers that the program knows (user_namespaces(7)) */
static int new_user_namespace(const struct ground *g, struct err *e)
{
	bool had[64];
	int rc;

	for (int cap = 0; cap < 64; cap++)
		had[cap] = prctl(PR_CAPBSET_READ, cap) == 1;
	if (unshare(CLONE_NEWUSER))
		return err_set(e, -errno, "make a user namespace");
	rc = keep_bounding_set(had, e);
	if (!rc)
		rc = write_file("/proc/self/setgroups", e, "deny");
	if (!rc)
		rc = write_file("/proc/self/uid_map", e, "%u %u 1", g->image_uid, g->uid);
	if (!rc)
		rc = write_file("/proc/self/gid_map", e, "%u %u 1", g->image_gid, g->gid);
	return rc;
}

/* How far the clock of the time namespace that we stand in is from the machine's own */
static int64_t present_offset(const char *clock)
{
	AUTO_FILE FILE *f = fopen("/proc/self/timens_offsets", "re");
	long long s, ns;
	char name[32];

	while (f && fscanf(f, "%31s %lld %lld", name, &s, &ns) == 3)
		if (!strcmp(name, clock))
			return s * NS_PER_S + ns;
	return 0;
}

/* time_namespaces(7): seconds and a non-negative rest, counted from the machine's own clock */
static int write_offset(const char *clock, int64_t ns, struct err *e)
{
	int64_t s = ns / NS_PER_S, rest = ns % NS_PER_S;

	if (rest < 0) {
		s--;
		rest += NS_PER_S;
	}
	return write_file("/proc/self/timens_offsets", e, "%s %lld %lld\n", clock, (long long)s, (long long)rest);
}

int ground_unshare(const struct ground *g, struct err *e)
{
	int64_t monotonic = present_offset("monotonic") + g->monotonic_offset;
	int64_t boottime = present_offset("boottime") + g->boottime_offset;
	int rc = g->root ? 0 : new_user_namespace(g, e);

	if (rc)
		return rc;
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWTIME))
		return err_set(e, -errno, "make namespaces");
	rc = write_offset("monotonic", monotonic, e);
	return rc ? rc : write_offset("boottime", boottime, e);
}

/* ---- mounts ------------------------------------------------------------------------------------------- */

static const char *const local_devices[] = {
#define DEV_NODE(name) "/dev/" #name,
#define DEV_LINK(name, to)
#define DEV_STREAM(name, to)
#include "proxy/target/dev.def"
};

/* A mount's device number is its own, whatever is in it: its directory tells without being asked */
static uint64_t device_of(const char *dir)
{
	struct statx st;

	if (statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &st))
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/*
 * The origin's: file systems that the keeper serves.  Nobody may look into one before the keeper does so.
 * fuse(8): the descriptor must have been opened in the mount's own user namespace.
 */
static int mount_originfs(struct ground *g, const char *dir, struct err *e)
{
	struct originfs_mount *m = &g->mounts[g->n_mounts];
	char options[128];

	if (g->n_mounts == ARRAY_SIZE(g->mounts) || strlen(dir) >= sizeof(m->dir))
		return err_say(e, -E2BIG, "the policy gives more than %d directories, or one with too long a name, to the origin",
			       ORIGINFS_MOST);
	m->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (m->fd < 0)
		return err_set(e, -errno, "open /dev/fuse");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other", m->fd,
		 g->root ? g->uid : g->image_uid, g->root ? g->gid : g->image_gid);
	if (mount("originfs", dir, "fuse.originfs", MS_NOSUID | MS_NODEV, options)) {
		close(m->fd);
		return err_set(e, -errno, "mount the origin's %s", dir);
	}
	snprintf(m->dir, sizeof(m->dir), "%s", dir);
	m->device = device_of(dir);
	g->n_mounts++;
	return 0;
}

/* What is the target's own in /dev, each with a mount of its own, not yet anywhere */
struct kept {
	int fds[ARRAY_SIZE(local_devices)];
	int dev, pts;		/* the keeper's; -1: there is no /dev/fuse */
};

static struct kept keep_devices(void)
{
	struct kept k = { .dev = -1, .pts = -1 };

	for (size_t i = 0; i < ARRAY_SIZE(local_devices); i++)
		k.fds[i] = (int)syscall(SYS_open_tree, AT_FDCWD, local_devices[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return k;
}

static int place(int *tree, const char *path, struct err *e)
{
	int rc = *tree >= 0 && syscall(SYS_move_mount, *tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) ? -errno : 0;

	drop_fd(tree);
	return rc ? err_set(e, rc, "keep %s", path) : 0;
}

static int place_devices(struct kept *k, struct err *e)
{
	int rc = place(&k->dev, "/dev", e);

	if (!rc)
		rc = place(&k->pts, ORIGINFS_PTS, e);
	for (size_t i = 0; i < ARRAY_SIZE(local_devices); i++) {
		int its = place(&k->fds[i], local_devices[i], rc ? NULL : e);

		rc = rc ? rc : its;
	}
	return rc;
}

/*
 * /dev is the keeper's to serve, and only it can look up the names in it that are mounted over; and before it
 * serves it needs a /dev itself (libfuse opens /dev/null).  So a child, which still has the right to mount,
 * waits until the keeper serves
 */
static void NORETURN furnish(int sock, struct kept *k)
{
	struct err e = { 0 };
	char byte;

	if (read(sock, &byte, 1) != 1)
		_exit(1);
	_exit(place_devices(k, &e) ? 1 : 0);
}

static int start_furnisher(struct ground *g, struct kept *k, struct err *e)
{
	int sv[2], rc = sock_pair(sv, e);

	if (rc)
		return rc;
	g->furnisher = fork();
	if (!g->furnisher) {
		close(sv[0]);
		for (size_t i = 0; i < g->n_mounts; i++)
			close(g->mounts[i].fd);	/* when the keeper is gone nobody must hold them */
		furnish(sv[1], k);
	}
	close(sv[1]);
	g->furnish = sv[0];
	return g->furnisher < 0 ? err_set(e, -errno, "furnish /dev") : 0;
}

int ground_furnish(struct ground *g, void (*serve)(void *ctx), void *ctx, struct err *e)
{
	int status = 0;

	if (g->furnisher <= 0)
		return 0;
	if (write(g->furnish, "g", 1) != 1)
		return err_set(e, -errno, "furnish /dev");
	drop_fd(&g->furnish);
	while (waitpid(g->furnisher, &status, WNOHANG | __WALL) == 0) {
		serve(ctx);
		usleep(100);
	}
	g->furnisher = 0;
	return status ? err_say(e, -EIO, "what is this machine's own in /dev can't be mounted") : 0;
}

/* @tree: it stands nowhere yet; @at: where it will */
static int mount_detached(struct ground *g, const char *at, int *tree, struct err *e)
{
	int rc = mount_originfs(g, "/dev", e);

	if (rc)
		return rc;
	*tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/dev", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	rc = *tree < 0 ? err_set(e, -errno, "mount the origin's %s", at) : 0;
	umount2("/dev", MNT_DETACH);
	snprintf(g->mounts[g->n_mounts - 1].dir, sizeof(g->mounts[0].dir), "%s", at);
	return rc;
}

/* What every /dev has, where the origin's can't be shown */
static int furnish_dev(struct kept *k, struct err *e)
{
	static const char *const links[][2] = {
#define DEV_NODE(name)
#define DEV_LINK(name, to) { to, "/dev/" #name },
#define DEV_STREAM DEV_LINK
#include "proxy/target/dev.def"
	};
	int fd = open(STUB_MARKER, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);

	if (fd < 0)
		return err_set(e, -errno, "make %s", STUB_MARKER);
	close(fd);
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]))
			return err_set(e, -errno, "make %s", links[i][1]);
	for (size_t i = 0; i < ARRAY_SIZE(local_devices); i++) {
		fd = open(local_devices[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
		if (fd >= 0)
			close(fd);
	}
	return place_devices(k, e);
}

/*
 * A directory that belongs to the origin.  Without /dev/fuse it is empty and read-only: what can't be served
 * is "no such file", never the target's file of that name.  /dev keeps the devices that are everywhere the same.
 */
static int cover(struct ground *g, const char *dir, bool fuse, struct kept *k, struct err *e)
{
	struct stat st;
	int rc = 0;

	if (lstat(dir, &st) || !S_ISDIR(st.st_mode))
		return 0;
	if (fuse && strcmp(dir, "/dev"))
		return mount_originfs(g, dir, e);
	if (fuse) {
		rc = mount_detached(g, ORIGINFS_PTS, &k->pts, e);
		return rc ? rc : mount_detached(g, "/dev", &k->dev, e);
	}
	if (mount("origin", dir, "tmpfs", MS_NOSUID, "mode=755,size=64k"))
		rc = err_set(e, -errno, "cover %s", dir);
	if (!rc && !strcmp(dir, "/dev"))
		rc = furnish_dev(k, e);
	if (!rc && mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL))
		rc = err_set(e, -errno, "make %s read-only", dir);
	return rc;
}

static int loopback_up(struct err *e)
{
	AUTO_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo" };

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr))
		return err_set(e, -errno, "look at the loopback interface");
	ifr.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &ifr) ? err_set(e, -errno, "bring up the loopback interface") : 0;
}

/* The last one: /dev/fuse is in it */
static int cover_dev(struct ground *g, bool fuse, struct err *e)
{
	struct kept k = keep_devices();
	bool ours = false;
	const char *dir;
	int rc = 0;

	for (size_t i = 0; (dir = policy_origin_dirs(g->policy, i)); i++)
		ours |= !strcmp(dir, "/dev");
	if (ours)
		rc = cover(g, "/dev", fuse, &k, e);
	if (!rc && ours && fuse)
		rc = start_furnisher(g, &k, e);
	drop_fd(&k.dev);
	drop_fd(&k.pts);
	for (size_t i = 0; i < ARRAY_SIZE(k.fds); i++)
		drop_fd(&k.fds[i]);
	return rc;
}

static bool has_fuse(void)
{
	AUTO_FD int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	return fd >= 0;
}

int ground_settle(struct ground *g, struct err *e)
{
	struct kept none = { .dev = -1, .pts = -1 };
	bool fuse = has_fuse();
	const char *dir;
	int rc = 0;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_set(e, -errno, "make mounts private");
	g->furnish = -1;
	for (size_t i = 0; !rc && (dir = policy_origin_dirs(g->policy, i)); i++)
		if (strcmp(dir, "/dev"))
			rc = cover(g, dir, fuse, &none, e);
	if (!rc)
		rc = cover_dev(g, fuse, e);
	if (rc)
		return rc;
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return err_set(e, -errno, "mount /proc");
	if (g->hostname && *g->hostname && sethostname(g->hostname, strlen(g->hostname)))
		return err_set(e, -errno, "set the hostname");
	return loopback_up(e);
}

/* ---- the user ------------------------------------------------------------------------------------------- */

static int keep_one_capability(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	uint32_t bit = 1u << (CAP_CHECKPOINT_RESTORE - 32);

	data[1].permitted = data[1].effective = data[1].inheritable = bit;
	if (syscall(SYS_capset, &head, data))
		return err_set(e, -errno, "keep CAP_CHECKPOINT_RESTORE");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHECKPOINT_RESTORE, 0, 0))
		return err_set(e, -errno, "pass CAP_CHECKPOINT_RESTORE on");
	return 0;
}

int ground_become_user(const struct ground *g, struct err *e)
{
	if (!g->root)		/* all capabilities here are over our own namespace only */
		return keep_one_capability(e);
	if (setgroups((size_t)g->n_groups, g->groups))
		return err_set(e, -errno, "set the groups");
	if (!g->uid)
		return 0;	/* root's program: policy allowed it */
	if (prctl(PR_SET_KEEPCAPS, 1) || setresgid(g->gid, g->gid, g->gid) || setresuid(g->uid, g->uid, g->uid))
		return err_set(e, -errno, "become user %u", g->uid);
	return keep_one_capability(e);
}

/* SPDX-License-Identifier: MIT */
/*
 * moved.c - A program under libmshim.so that is made a moved one, as the target would do it
 *
 *	LD_PRELOAD=libmshim.so moved		"ok" and 0, "FAIL why" and 1, "skip why" lines for what can't be tried
 *
 * It installs a filter like the target's over kill and the terminals' ioctls, but with an errno of
 * its own (THE_ORIGIN) where the target asks the supervisor: so each call says where it would have
 * been answered.  Twins are a FUSE file system that a child serves.  Then it execs itself, once for each
 * thing that an exec in a filtered process may find.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/stub.h"

#define THE_ORIGIN ECONNABORTED	/* what the filter answers */
#define HANDLERS 300		/* signals that the storm waits for */

#define FAIL(...) do { printf("FAIL %s:%d: ", __FILE__, __LINE__); printf(__VA_ARGS__); puts(""); exit(1); } while (0)
#define CHECK(cond) do { if (!(cond)) FAIL("%s (errno %d)", #cond, errno); } while (0)
/* @call ends as said: @error 0 is success */
#define ENDS(error, call) do { \
	errno = 0; \
	long r_ = (call); \
	if ((error) ? r_ != -1 || errno != (error) : r_ < 0) \
		FAIL("%s: %ld, errno %d, not %d", #call, r_, errno, (int)(error)); \
} while (0)

static int local[2], closed = 999, terminal, twin = -1;

/* ---- the filter ------------------------------------------------------------------------------------- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_ARG(n) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[n]))
#define LOAD_IP_HIGH BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer) + 4)
#define EQUAL(k, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (k), (yes), (no))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))

static void install(struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = code };

	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static void install_targets(void)
{
	struct sock_filter code[] = {
		LOAD(instruction_pointer),
		EQUAL(CALL_STUB_IP, 0, 2),
		LOAD_IP_HIGH,
		EQUAL(0, 6, 0),			/* from the stub */
		LOAD(nr),
		EQUAL(SYS_kill, 5, 0),
		EQUAL(SYS_ioctl, 0, 3),
		LOAD_ARG(1),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		EQUAL(0x5400, 1, 0),
		ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(SECCOMP_RET_ERRNO | THE_ORIGIN),
	};

	install(code, ARRAY_SIZE(code));
}

/* Somebody's sandbox in a moved program: what libmshim.so would like to call is death */
static void install_strangers(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		EQUAL(SYS_fstatfs, 2, 0),
		EQUAL(SYS_prctl, 1, 0),
		ANSWER(SECCOMP_RET_ALLOW),
		ANSWER(SECCOMP_RET_KILL_PROCESS),
	};

	install(code, ARRAY_SIZE(code));
}

/* ---- the twin ---------------------------------------------------------------------------------------- */

static void serve_fuse(int fd)
{
	static char buf[1 << 17];

	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		const struct fuse_in_header *in = (void *)buf;
		struct {
			struct fuse_out_header head;
			union { struct fuse_init_out init; struct fuse_statfs_out statfs; };
		} out = { .head.len = sizeof(out.head) };

		if (n <= 0)
			_exit(0);
		out.head.unique = in->unique;
		switch (in->opcode) {
		case FUSE_FORGET:
		case FUSE_INTERRUPT:
			continue;
		case FUSE_INIT:
			out.init.major = 7;
			out.init.minor = 31;
			out.init.max_write = 4096;
			out.head.len += sizeof(out.init);
			break;
		case FUSE_STATFS:
			out.head.len += sizeof(out.statfs);
			break;
		default:
			out.head.error = -ENOSYS;
		}
		if (write(fd, &out, out.head.len) < 0 && errno != ENOENT)
			_exit(1);
	}
}

static void map_id(const char *path, unsigned id)
{
	char text[40];
	int fd = open(path, O_WRONLY | O_CLOEXEC), n = snprintf(text, sizeof(text), "%u %u 1", id, id);

	CHECK(fd >= 0 && write(fd, text, (size_t)n) == n);
	close(fd);
}

static bool enter_namespaces(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int fd;

	if (unshare(uid ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS))
		return false;
	if (uid) {
		fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
		CHECK(fd >= 0 && write(fd, "deny", 4) == 4);
		close(fd);
		map_id("/proc/self/uid_map", uid);
		map_id("/proc/self/gid_map", gid);
	}
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

/* Return: a descriptor in a FUSE file system, -1: it can't be made here.  @server serves it */
static int make_twin(pid_t *server)
{
	char options[100];
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40755,user_id=%u,group_id=%u", fd, geteuid(), getegid());
	if (mount("test", "/mnt", "fuse", MS_NOSUID | MS_NODEV, options))
		return -1;
	*server = fork();
	CHECK(*server >= 0);
	if (!*server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* also when a check fails */
		serve_fuse(fd);
	}
	close(fd);
	return open("/mnt", O_PATH | O_CLOEXEC);
}

/* ---- what holds in a moved program, anywhere in it ------------------------------------------------------- */

/* Return: 0, or the line that doesn't hold.  No stdio: also for children of vfork and handlers */
#define HOLDS(cond) do { if (!(cond)) return __LINE__; } while (0)
static int moved_holds(void)
{
	struct winsize size;
	int n = 0;

	HOLDS(kill(getpid(), 0) == 0);
	errno = 0;
	HOLDS(kill(getppid(), 0) == -1 && errno == THE_ORIGIN);
	HOLDS(ioctl(local[0], FIONREAD, &n) == 0 && n == 3);
	HOLDS(ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_row == 33);
	errno = 0;
	HOLDS(ioctl(closed, FIONREAD, &n) == -1 && errno == EBADF);
	return 0;
}

static void *in_thread(void *unused)
{
	(void)unused;
	return (void *)(intptr_t)moved_holds();
}

static volatile sig_atomic_t handled, handler_failed;

static void on_alarm(int sig)
{
	int saved = errno, line = moved_holds();

	(void)sig;
	handled++;
	if (line)
		handler_failed = line;
	errno = saved;
}

static void storm(void)
{
	static char stack[32768];
	stack_t st = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval on = { { 0, 200 }, { 0, 200 } }, off = { { 0, 0 }, { 0, 0 } };

	CHECK(!sigaltstack(&st, NULL));
	CHECK(!sigaction(SIGALRM, &sa, NULL));
	CHECK(!setitimer(ITIMER_REAL, &on, NULL));
	while (handled < HANDLERS && !handler_failed) {
		int line = moved_holds();

		if (line)
			FAIL("line %d doesn't hold under signals", line);
	}
	CHECK(!setitimer(ITIMER_REAL, &off, NULL));
	if (handler_failed)
		FAIL("line %d doesn't hold in a handler", (int)handler_failed);
}

static void expect_exit(pid_t pid, const char *what)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (status)
		FAIL("%s: wait status 0x%x", what, status);
}

static void check_moved(void)
{
	pthread_t thread;
	void *line;
	int n;
	pid_t pid;

	ENDS(THE_ORIGIN, syscall(SYS_kill, getpid(), 0));	/* the filter is there */
	n = moved_holds();
	if (n)
		FAIL("line %d doesn't hold", n);
	ENDS(THE_ORIGIN, kill(0, 0));
	ENDS(THE_ORIGIN, kill(-1, 0));
	ENDS(THE_ORIGIN, kill(-getpid(), 0));
	ENDS(EINVAL, kill(getpid(), 1000));
	ENDS(ENOTTY, ioctl(local[0], TCGETS, &n));
	ENDS(EFAULT, ioctl(local[0], FIONREAD, (void *)8));
	ENDS(0, ioctl(local[0], FIOCLEX));
	ENDS(EBADF, ioctl(-1, TCGETS, &n));
	ENDS(ENOTTY, ioctl(local[0], 0x8912, &n));		/* SIOCGIFCONF: the filter doesn't look */
	if (twin >= 0) {
		ENDS(THE_ORIGIN, ioctl(twin, TCGETS, &n));
		ENDS(THE_ORIGIN, ioctl(twin, TIOCGWINSZ, (void *)8));
		ENDS(EBADF, ioctl(twin, 0x8912, &n));		/* O_PATH; not the filter's */
	}
	storm();

	pid = fork();
	if (!pid)
		_exit(moved_holds() ? 1 : 0);
	expect_exit(pid, "after fork");
	pid = vfork();
	if (!pid)
		_exit(moved_holds() ? 1 : 0);
	expect_exit(pid, "after vfork");
	CHECK(!pthread_create(&thread, NULL, in_thread, NULL));
	CHECK(!pthread_join(thread, &line));
	if (line)
		FAIL("line %d doesn't hold in a thread", (int)(intptr_t)line);
	CHECK(kill(getpid(), SIGKILL + 1000) == -1);
}

/* ---- what an exec finds ------------------------------------------------------------------------------------- */

static bool stub_is_there(void)
{
	char line[512];
	bool there = false;
	FILE *f = fopen("/proc/self/maps", "re");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		there |= !strncmp(line, "00010000-00011000 r-xp", 22);
	fclose(f);
	return there;
}

/* Return: this process' state.  @moved: what it must be */
static struct mshim_state *find_state(uint32_t moved)
{
	struct mshim_state *s = dlsym(RTLD_DEFAULT, MSHIM_STATE);

	if (!s)
		FAIL("libmshim.so isn't loaded");
	CHECK(s->magic == MSHIM_STATE_MAGIC && s->version == MSHIM_STATE_VERSION);
	if (s->moved != moved || stub_is_there() != moved)
		FAIL("moved: %u, the stub: %d", s->moved, stub_is_there());
	return s;
}

/* In a child: what @prepare does, then exec of @as */
static void exec_as(const char *as, void (*prepare)(void))
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		if (prepare)
			prepare();
		execl("/proc/self/exe", "moved", as, (char *)NULL);
		_exit(1);
	}
	expect_exit(pid, as);
}

static void both_filters(void)
{
	install_targets();
	install_strangers();
}

/* A /dev with a marker, as the target makes one.  Return: it could be made */
static bool make_marker(void)
{
	int fd;

	if (mount("test", "/dev", "tmpfs", 0, "size=64k"))
		return false;
	fd = open(STUB_MARKER, O_CREAT | O_WRONLY | O_CLOEXEC, 0444);
	CHECK(fd >= 0);
	close(fd);
	return true;
}

/* ---- */

static int after_exec(const char *as)
{
	if (!strcmp(as, "exec, certain")) {
		find_state(1);
		ENDS(0, kill(getpid(), 0));
		ENDS(THE_ORIGIN, kill(getppid(), 0));
	} else if (!strcmp(as, "exec, only a filter")) {
		find_state(0);
		ENDS(THE_ORIGIN, kill(getpid(), 0));
	} else if (!strcmp(as, "exec, two filters")) {
		find_state(0);
		ENDS(THE_ORIGIN, kill(getpid(), 0));
	} else if (!strcmp(as, "exec, only a marker")) {
		find_state(0);
		ENDS(0, kill(getpid(), 0));
	} else {
		return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct winsize size = { .ws_row = 33 };
	struct mshim_state *s;
	pid_t server = 0;
	bool ns;
	void *page;

	if (argc > 1)
		return after_exec(argv[1]);
	setvbuf(stdout, NULL, _IONBF, 0);
	s = find_state(0);
	CHECK(!pipe2(local, O_CLOEXEC) && write(local[1], "abc", 3) == 3);
	terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(terminal >= 0 && !ioctl(terminal, TIOCSWINSZ, &size));

	ns = enter_namespaces();
	twin = ns ? make_twin(&server) : -1;
	if (twin < 0)
		puts("skip  no FUSE file system can be mounted here");
	exec_as("exec, only a filter", install_targets);
	if (ns && make_marker()) {
		exec_as("exec, certain", install_targets);
		exec_as("exec, two filters", both_filters);
		exec_as("exec, only a marker", NULL);
	} else {
		puts("skip  no mount namespace can be made here");
	}

	/* what the target does, in its order */
	install_targets();
	ENDS(THE_ORIGIN, kill(getpid(), 0));
	page = mmap((void *)CALL_STUB, CALL_STUB_LEN, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	CHECK(page == (void *)CALL_STUB);
	stub_write(page);
	CHECK(!mprotect(page, CALL_STUB_LEN, PROT_READ | PROT_EXEC));
	s->moved = 1;
	find_state(1);
	check_moved();

	s->moved = 0;			/* home again, but for the filter */
	ENDS(THE_ORIGIN, kill(getpid(), 0));
	if (server > 0)
		syscall(SYS_pidfd_send_signal, syscall(SYS_pidfd_open, server, 0), SIGKILL, NULL, 0);
	puts("ok");
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * v_fds.c - Descriptors of every kind that is rebuilt, with what is inside them
 *
 *	v_fds [DIRECTORY [all]]		where its files are, /var/tmp; "all": also what can't be
 *					moved yet, a socket pair and a pipe in packet mode
 */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include "victim.h"

#define PIPE_CONTENT "what was in the pipe"
#define EPOLL_DATA UINT64_C(0xfeedfacecafebeef)

static int event, semaphore, timer, signals, epoll, memory, watch, watched, pipe_fd[2], packets[2],
	duplex[2];
static int append, reader, same_offset, own_offset, high, directory, path_only;
static char dir[256], file[300];
static bool all;
static unsigned long timer_ticks;
static int flags_at_start[1024], status_at_start[1024];

static void remember_flags(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		flags_at_start[fd] = fcntl(fd, F_GETFD);
		status_at_start[fd] = flags_at_start[fd] < 0 ? -1 : fcntl(fd, F_GETFL);
	}
}

static void check_flags(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		int flags = fcntl(fd, F_GETFD);

		CHECK(flags == flags_at_start[fd], "descriptor %d: flags %d, were %d", fd, flags,
		      flags_at_start[fd]);
		if (flags >= 0 && fd > 2)
			CHECK(fcntl(fd, F_GETFL) == status_at_start[fd],
			      "descriptor %d: status %#o, was %#o", fd, fcntl(fd, F_GETFL),
			      status_at_start[fd]);
	}
}

static void add_to_epoll(int fd, uint32_t events, uint64_t data)
{
	struct epoll_event ev = { .events = events, .data.u64 = data };

	CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev), "epoll_ctl %d", fd);
}

static void set_up_kernel_objects(void)
{
	struct itimerspec every = { .it_interval.tv_nsec = 50 * NS_PER_MS,
				    .it_value.tv_nsec = 50 * NS_PER_MS };
	sigset_t set;

	event = eventfd(41, EFD_NONBLOCK | EFD_CLOEXEC);
	semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(!timerfd_settime(timer, 0, &every, NULL), "timerfd_settime");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_NONBLOCK);
	memory = (int)syscall(SYS_memfd_create, "v_fds", 3 /* CLOEXEC, ALLOW_SEALING */);
	CHECK(memory >= 0 && write(memory, "memfd content", 13) == 13 && !ftruncate(memory, 100000),
	      "memfd");
	CHECK(pwrite(memory, "far", 3, 90000) == 3 && lseek(memory, 6, SEEK_SET) == 6, "memfd");
	CHECK(!fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), "sealing");
	CHECK(!pipe2(pipe_fd, O_NONBLOCK) && write(pipe_fd[1], PIPE_CONTENT, 20) == 20, "pipe");
	CHECK(fcntl(pipe_fd[0], F_SETPIPE_SZ, 16384) >= 16384, "F_SETPIPE_SZ");
	if (all)
		CHECK(!pipe2(packets, O_DIRECT | O_CLOEXEC) && write(packets[1], "one", 3) == 3 &&
		      write(packets[1], "two!", 4) == 4,
	      "packet pipe");
	if (all)
		CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, duplex) && write(duplex[0], "a to b", 6) == 6,
	      "socketpair");
	epoll = epoll_create1(EPOLL_CLOEXEC);
	add_to_epoll(event, EPOLLIN, EPOLL_DATA);
	add_to_epoll(pipe_fd[0], EPOLLIN | EPOLLET, 2);
	add_to_epoll(pipe_fd[1], EPOLLOUT | EPOLLONESHOT, 3);
	add_to_epoll(timer, EPOLLIN, 4);
	if (all)
		add_to_epoll(duplex[1], EPOLLIN | EPOLLRDHUP, 5);
	CHECK(signals >= 0 && event >= 0 && semaphore >= 0 && epoll >= 0, "a descriptor");
}

static void set_up_files(void)
{
	snprintf(file, sizeof(file), "%s/file", dir);
	append = open(file, O_RDWR | O_CREAT | O_APPEND, 0600);
	CHECK(append >= 0 && write(append, "0123456789", 10) == 10, "%s", file);
	reader = open(file, O_RDONLY | O_CLOEXEC);
	same_offset = dup(reader);
	own_offset = open(file, O_RDONLY);
	high = fcntl(reader, F_DUPFD_CLOEXEC, 700);
	CHECK(lseek(reader, 3, SEEK_SET) == 3 && high == 700, "offsets");
	directory = open(dir, O_RDONLY | O_DIRECTORY);
	path_only = open(file, O_PATH);
	watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	watched = inotify_add_watch(watch, dir, IN_CREATE | IN_DELETE);
	CHECK(directory >= 0 && path_only >= 0 && watched >= 0, "%s", dir);
}

static uint64_t counter_of(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

/** check_timer() - Does the timerfd tick?  It may have missed ticks, or have them all at once */
static void check_timer(void)
{
	static int64_t last;
	uint64_t n = counter_of(timer);

	timer_ticks += n;
	if (n || !last)
		last = clock_ns(CLOCK_MONOTONIC);
	CHECK(clock_ns(CLOCK_MONOTONIC) - last < 5 * NS_PER_S,
	      "the timerfd stands still after %lu ticks", timer_ticks);
}

/** check_epoll() - Are its members as they were, with their data? */
static void check_epoll(void)
{
	struct epoll_event ev[8];
	int64_t give_up = deadline_in_ms(2000);
	const unsigned due = all ? 0x32 : 0x12;
	unsigned seen = 0;
	int n;

	while ((seen & due) != due && clock_ns(CLOCK_MONOTONIC) < give_up) {
		n = epoll_wait(epoll, ev, ARRAY_SIZE(ev), 100);
		CHECK(n >= 0, "epoll_wait");
		for (int i = 0; i < n; i++)
			seen |= ev[i].data.u64 == EPOLL_DATA ? 1U << 1
							     : 1U << (ev[i].data.u64 & 31);
	}
	/* level-triggered ones each time; edge-triggered and one-shot ones are not bound to come */
	CHECK((seen & due) == due && !(seen & ~0x3eU), "epoll says %#x", seen);
}

static void check_kernel_objects(void)
{
	struct signalfd_siginfo si;
	char buf[64];
	union sigval value = { .sival_int = 99 };

	CHECK(counter_of(event) == 41, "eventfd");
	for (int i = 0; i < 3; i++)
		CHECK(counter_of(semaphore) == 1, "semaphore eventfd, %d", i);
	CHECK(counter_of(semaphore) == 0 && errno == EAGAIN, "semaphore eventfd has too much");
	CHECK(!sigqueue(getpid(), SIGUSR1, value) && read(signals, &si, sizeof(si)) == sizeof(si),
	      "signalfd");
	CHECK(si.ssi_signo == SIGUSR1 && si.ssi_int == 99 && si.ssi_pid == (uint32_t)getpid(),
	      "signalfd's content");
	CHECK(read(memory, buf, 7) == 7 && !memcmp(buf, "content", 7), "memfd's offset");
	CHECK(pread(memory, buf, 3, 90000) == 3 && !memcmp(buf, "far", 3), "memfd's content");
	CHECK(fcntl(memory, F_GET_SEALS) == F_SEAL_SHRINK && ftruncate(memory, 1) < 0,
	      "memfd's seals");
	CHECK(read(pipe_fd[0], buf, sizeof(buf)) == 20 && !memcmp(buf, PIPE_CONTENT, 20),
	      "pipe's content");
	CHECK(fcntl(pipe_fd[0], F_GETPIPE_SZ) >= 16384, "pipe's size");
	if (all)
		CHECK(read(packets[0], buf, sizeof(buf)) == 3 && read(packets[0], buf, sizeof(buf)) == 4,
	      "packets in a pipe");
	if (all)
		CHECK(read(duplex[1], buf, sizeof(buf)) == 6 && !memcmp(buf, "a to b", 6),
	      "socketpair's content");
	if (all)
		CHECK(write(duplex[1], "back", 4) == 4 && read(duplex[0], buf, sizeof(buf)) == 4,
	      "socketpair's way back");
	close(pipe_fd[1]);
	CHECK(read(pipe_fd[0], buf, 1) == 0,
	      "no end of file in the pipe: somebody else has its end");
	if (all)
		CHECK(!shutdown(duplex[0], SHUT_WR) && read(duplex[1], buf, 1) == 0,
	      "no end of file in the socketpair");
}

static void check_files(void)
{
	char buf[512], name[300];
	struct stat a, b;

	CHECK(read(reader, buf, 2) == 2 && !memcmp(buf, "34", 2), "a file's offset");
	CHECK(read(same_offset, buf, 2) == 2 && !memcmp(buf, "56", 2),
	      "dup()s don't share their offset any more");
	CHECK(lseek(high, 0, SEEK_CUR) == 7, "nor does the high one");
	CHECK(read(own_offset, buf, 2) == 2 && !memcmp(buf, "01", 2),
	      "separate opens share an offset");
	CHECK(lseek(append, 0, SEEK_SET) == 0 && write(append, "END", 3) == 3, "append");
	CHECK(pread(reader, buf, 20, 0) == 13 && !memcmp(buf, "0123456789END", 13),
	      "O_APPEND was forgotten");
	CHECK(!fstat(path_only, &a) && !fstat(reader, &b) && a.st_ino == b.st_ino, "O_PATH");
	CHECK(read(path_only, buf, 1) < 0 && errno == EBADF, "O_PATH can be read");
	CHECK(read(watch, buf, sizeof(buf)) < 0 && errno == EAGAIN,
	      "inotify reports what hasn't happened");
	CHECK(!mkdirat(directory, "new", 0700), "mkdirat");
	CHECK(read(watch, buf, sizeof(buf)) > 0 && ((struct inotify_event *)buf)->wd == watched &&
	      !strcmp(((struct inotify_event *)buf)->name, "new"), "inotify");
	CHECK(!unlinkat(directory, "new", AT_REMOVEDIR) && !unlinkat(directory, "file", 0),
	      "unlinkat");
	snprintf(name, sizeof(name), "%s/file", dir);
	CHECK(access(name, F_OK) < 0 && !rmdir(dir), "clearing up");
}

int main(int argc, char **argv)
{
	all = argc > 2 && !strcmp(argv[2], "all");
	snprintf(dir, sizeof(dir), "%.200s/v_fds.XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	CHECK(mkdtemp(dir), "mkdtemp %s", dir);
	set_up_kernel_objects();
	set_up_files();
	remember_flags();
	victim_ready();
	while (victim_goes_on(20)) {
		check_flags();
		check_timer();
	}
	check_flags();
	check_epoll();
	check_kernel_objects();
	check_files();
	return victim_ok();
}

/* SPDX-License-Identifier: MIT */
/*
 * v_sleep.c - One thread in each blocking call: does each end when and as it should?
 *
 *	v_sleep [SECONDS [child|all]]	3; "child" adds one that waits for a child process, "all" one
 *					that sleeps in a socket too
 *
 * Says "ready" when all threads block.  What has a timeout must end by it: not before (by
 * CLOCK_MONOTONIC) and not LATE_NS after; what has none is woken by main after SECONDS.  An
 * EINTR is right only where a handler ran.  It ends by itself.
 */
#include <pthread.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "victim.h"

#define LATE_NS (10 * NS_PER_S)
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_WAIT_BITSET 9
#define FUTEX_PRIVATE 128

struct sleeper {
	const char *name;
	/* Returns NULL when the call ended as it should, else what it did */
	const char *(*sleep)(struct sleeper *s);
	void (*wake)(
		struct sleeper *s); /* by main, once the time is over; NULL: it has a timeout */
	pthread_t thread;
	int64_t start, end;
	int fd[2], futex;
	const char *complaint;
	volatile bool done;
};

static int64_t duration;	/* ns */
static struct timespec duration_ts;
static volatile sig_atomic_t handled;

static const char *ended(bool as_it_should, const char *what)
{
	static __thread char text[128];

	snprintf(text, sizeof(text), "%s; errno %d", what, errno);
	return as_it_should ? NULL : text;
}

static const char *s_nanosleep_rem(struct sleeper *s)
{
	struct timespec rem = { .tv_sec = 12345 };
	(void)s;

	return ended(!nanosleep(&duration_ts, &rem), "nanosleep failed");
}

static const char *s_nanosleep(struct sleeper *s)
{
	(void)s;
	return ended(!nanosleep(&duration_ts, NULL), "nanosleep failed");
}

static const char *s_clock_abs(struct sleeper *s)
{
	int64_t until = s->start + duration;
	struct timespec ts = { .tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S };

	return ended(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL),
		     "clock_nanosleep failed");
}

static const char *s_poll(struct sleeper *s)
{
	struct pollfd p = { .fd = s->fd[0], .events = POLLIN };

	return ended(poll(&p, 1, (int)(duration / NS_PER_MS)) == 0, "poll did not time out");
}

static const char *s_ppoll(struct sleeper *s)
{
	struct pollfd p = { .fd = s->fd[0], .events = POLLIN };
	struct timespec ts = duration_ts;

	return ended(ppoll(&p, 1, &ts, NULL) == 0, "ppoll did not time out");
}

static const char *s_select(struct sleeper *s)
{
	struct timeval tv = { .tv_sec = duration_ts.tv_sec, .tv_usec = duration_ts.tv_nsec / 1000 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(s->fd[0], &set);
	return ended(select(s->fd[0] + 1, &set, NULL, NULL, &tv) == 0, "select did not time out");
}

static const char *s_epoll(struct sleeper *s)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd[0], &ev);
	return ended(epoll_wait(epoll, &ev, 1, (int)(duration / NS_PER_MS)) == 0,
		     "epoll_wait did not time out");
}

static const char *s_epoll_woken(struct sleeper *s)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd[0], &ev);
	return ended(epoll_wait(epoll, &ev, 1, -1) == 1, "epoll_wait saw nothing");
}

static const char *s_futex_timeout(struct sleeper *s)
{
	long r =
		syscall(SYS_futex, &s->futex, FUTEX_WAIT | FUTEX_PRIVATE, 0, &duration_ts, NULL, 0);

	return ended(r < 0 && errno == ETIMEDOUT, "futex did not time out");
}

static const char *s_futex_abs(struct sleeper *s)
{
	int64_t until = s->start + duration;
	struct timespec ts = { .tv_sec = until / NS_PER_S, .tv_nsec = until % NS_PER_S };
	long r =
		syscall(SYS_futex, &s->futex, FUTEX_WAIT_BITSET | FUTEX_PRIVATE, 0, &ts, NULL, ~0U);

	return ended(r < 0 && errno == ETIMEDOUT, "futex with an absolute time did not time out");
}

static const char *s_futex(struct sleeper *s)
{
	long r = syscall(SYS_futex, &s->futex, FUTEX_WAIT | FUTEX_PRIVATE, 0, NULL, NULL, 0);

	return ended(r == 0 && __atomic_load_n(&s->futex, __ATOMIC_SEQ_CST) == 1,
		     "futex was not woken");
}

static void wake_futex(struct sleeper *s)
{
	__atomic_store_n(&s->futex, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &s->futex, FUTEX_WAKE | FUTEX_PRIVATE, 1, NULL, NULL, 0);
}

static const char *s_sigtimedwait(struct sleeper *s)
{
	sigset_t set;
	(void)s;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 7);
	return ended(sigtimedwait(&set, NULL, &duration_ts) < 0 && errno == EAGAIN,
		     "sigtimedwait did not time out");
}

static const char *s_sigwaitinfo(struct sleeper *s)
{
	sigset_t set;
	siginfo_t si;
	(void)s;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 6);
	return ended(sigwaitinfo(&set, &si) == SIGRTMIN + 6, "sigwaitinfo");
}

static void wake_sigwait(struct sleeper *s)
{
	pthread_kill(s->thread, SIGRTMIN + 6);
}

static const char *s_sigsuspend(struct sleeper *s)
{
	sigset_t set;
	(void)s;

	sigfillset(&set);
	sigdelset(&set, SIGUSR2);
	return ended(sigsuspend(&set) < 0 && errno == EINTR && handled, "sigsuspend");
}

static const char *s_pause(struct sleeper *s)
{
	sigset_t set;
	(void)s;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return ended(pause() < 0 && errno == EINTR && handled, "pause");
}

static void wake_signal(struct sleeper *s)
{
	pthread_kill(s->thread, SIGUSR2);
}

static const char *s_read(struct sleeper *s)
{
	char c = 0;

	return ended(read(s->fd[0], &c, 1) == 1 && c == 'x', "read of a pipe");
}

static void wake_write(struct sleeper *s)
{
	if (write(s->fd[1], "x", 1) != 1)
		FAIL("waking %s", s->name);
}

static const char *s_recv_timeout(struct sleeper *s)
{
	struct timeval tv = { .tv_sec = duration_ts.tv_sec, .tv_usec = duration_ts.tv_nsec / 1000 };
	int pair[2];
	char c;
	(void)s;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return ended(false, "socketpair");
	return ended(recv(pair[0], &c, 1, 0) < 0 && errno == EAGAIN,
		     "recv with SO_RCVTIMEO did not time out");
}

static const char *s_sem(struct sleeper *s)
{
	struct timespec ts;
	sem_t sem;
	int r;
	(void)s;

	sem_init(&sem, 0, 0);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += duration_ts.tv_sec;
	r = sem_timedwait(&sem, &ts);
	/* by the wall clock, which on another machine may be ahead: allow for it */
	return ended(r < 0 && errno == ETIMEDOUT, "sem_timedwait did not time out");
}

static const char *s_child(struct sleeper *s)
{
	int status;
	pid_t pid = fork();
	(void)s;

	if (!pid) {
		nanosleep(&duration_ts, NULL);
		_exit(7);
	}
	return ended(waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
			     WEXITSTATUS(status) == 7,
		     "waitpid");
}

static struct sleeper sleepers[] = {
	{ .name = "nanosleep with rem", .sleep = s_nanosleep_rem },
	{ .name = "nanosleep without rem", .sleep = s_nanosleep },
	{ .name = "clock_nanosleep, absolute", .sleep = s_clock_abs },
	{ .name = "poll", .sleep = s_poll },
	{ .name = "ppoll", .sleep = s_ppoll },
	{ .name = "select", .sleep = s_select },
	{ .name = "epoll_wait", .sleep = s_epoll },
	{ .name = "epoll_wait, no timeout", .sleep = s_epoll_woken, .wake = wake_write },
	{ .name = "futex, timeout", .sleep = s_futex_timeout },
	{ .name = "futex, absolute timeout", .sleep = s_futex_abs },
	{ .name = "futex, no timeout", .sleep = s_futex, .wake = wake_futex },
	{ .name = "sigtimedwait", .sleep = s_sigtimedwait },
	{ .name = "sigwaitinfo", .sleep = s_sigwaitinfo, .wake = wake_sigwait },
	{ .name = "sigsuspend", .sleep = s_sigsuspend, .wake = wake_signal },
	{ .name = "pause", .sleep = s_pause, .wake = wake_signal },
	{ .name = "read of a pipe", .sleep = s_read, .wake = wake_write },
	{ .name = "sem_timedwait", .sleep = s_sem },
	/* the last two only when asked for */
	{ .name = "waitpid", .sleep = s_child },
	{ .name = "recv with a timeout", .sleep = s_recv_timeout },
};

static void on_usr2(int sig)
{
	(void)sig;
	handled = 1;
}

static void *run(void *arg)
{
	struct sleeper *s = arg;

	s->start = clock_ns(CLOCK_MONOTONIC);
	s->complaint = s->sleep(s);
	s->end = clock_ns(CLOCK_MONOTONIC);
	if (s->complaint)
		s->complaint = strdup(s->complaint);
	s->done = true;
	return NULL;
}

static void judge(const struct sleeper *s)
{
	int64_t took = s->end - s->start, least = duration;

	if (s->sleep == s_sem)	/* the wall clocks may differ by what the policy warns of */
		least -= 200 * NS_PER_MS;
	CHECK(!s->complaint, "%s: %s", s->name, s->complaint);
	CHECK(took >= least, "%s ended after %lld ms already", s->name,
	      (long long)(took / NS_PER_MS));
	CHECK(took < duration + LATE_NS, "%s ended after %lld ms only", s->name,
	      (long long)(took / NS_PER_MS));
}

int main(int argc, char **argv)
{
	const char *more = argc > 2 ? argv[2] : "";
	size_t n = ARRAY_SIZE(sleepers) - (!strcmp(more, "all") ? 0 : !strcmp(more, "child") ? 1 : 2);
	struct sigaction sa = { .sa_handler = on_usr2 };
	struct timespec soon = { .tv_nsec = 200 * NS_PER_MS };
	int64_t start, give_up;
	sigset_t set;

	duration = (argc > 1 ? atoll(argv[1]) : 3) * NS_PER_S;
	duration_ts.tv_sec = duration / NS_PER_S;
	sigaction(SIGUSR2, &sa, NULL);
	sigemptyset(&set);
	for (int sig = SIGRTMIN + 6; sig <= SIGRTMIN + 7; sig++)
		sigaddset(&set, sig);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < n; i++) {
		CHECK(!pipe(sleepers[i].fd), "pipe");
		CHECK(!pthread_create(&sleepers[i].thread, NULL, run, &sleepers[i]),
		      "pthread_create");
	}
	start = clock_ns(CLOCK_MONOTONIC);
	nanosleep(&soon, NULL);
	victim_ready();
	/* many short naps: main must see the time pass in the program's own clock */
	while (clock_ns(CLOCK_MONOTONIC) < start + duration + 300 * NS_PER_MS)
		usleep(20000);
	for (size_t i = 0; i < n; i++)
		if (sleepers[i].wake) {
			CHECK(!sleepers[i].done, "%s did not wait: %s", sleepers[i].name,
			      sleepers[i].complaint ? sleepers[i].complaint : "it ended");
			sleepers[i].wake(&sleepers[i]);
		}
	give_up = clock_ns(CLOCK_MONOTONIC) + LATE_NS;
	for (size_t i = 0; i < n; i++)
		while (!sleepers[i].done) {
			CHECK(clock_ns(CLOCK_MONOTONIC) < give_up, "%s has not ended",
			      sleepers[i].name);
			usleep(10000);
		}
	for (size_t i = 0; i < n; i++)
		judge(&sleepers[i]);
	return victim_ok();
}

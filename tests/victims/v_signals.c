/* SPDX-License-Identifier: MIT */
/*
 * v_signals.c - Pending signals, actions and masks; and signals that come later
 *
 * Blocked and pending while it is moved: SIGUSR1 to the process, SIGUSR2 to the thread, three
 * queued real-time signals with values to each of the two, one sent by kill().  At the end
 * they are taken one by one, each must say what its sender said, in order.
 *
 * Not blocked is SIGRTMIN+5: whoever sends it, by sigqueue() or kill(), is told what arrived:
 * "signal NUMBER code CODE value VALUE uid UID".  SIGCONT is counted: "continued N".
 */
#include "victim.h"

#define QUEUED 3

struct expected {
	int sig;		/* from SIGRTMIN on: added to it, and negative */
	int code, value;
};

/* In the order in which sigtimedwait() takes them: the thread's own first, lower numbers first */
static const struct expected expected[] = {
	{ .sig = SIGUSR2, .code = SI_TKILL },
	{ .sig = -4, .code = SI_QUEUE, .value = 101 },
	{ .sig = -4, .code = SI_QUEUE, .value = 102 },
	{ .sig = -4, .code = SI_QUEUE, .value = 103 },
	{ .sig = SIGUSR1, .code = SI_USER },
	{ .sig = -3, .code = SI_QUEUE, .value = 11 },
	{ .sig = -3, .code = SI_QUEUE, .value = 22 },
	{ .sig = -3, .code = SI_QUEUE, .value = 33 },
	{ .sig = -6, .code = SI_USER },
};

static struct sigaction actions[65];
static sigset_t mask, pending;
static volatile sig_atomic_t continued;
static volatile sig_atomic_t own_value;

static int number(int sig)
{
	return sig < 0 ? SIGRTMIN - sig : sig;
}

static void on_later(int sig, siginfo_t *si, void *ctx)
{
	int err = errno;
	(void)ctx;

	if (si->si_code == SI_QUEUE && si->si_pid == getpid())
		own_value = si->si_value.sival_int;
	else
		say("signal %d code %d value %d uid %d", sig, si->si_code, si->si_value.sival_int,
		    (int)si->si_uid);
	errno = err;
}

static void on_cont(int sig)
{
	int err = errno;
	(void)sig;

	say("continued %d", ++continued);
	errno = err;
}

/** queue_to_thread() - rt_tgsigqueueinfo(2), which has no wrapper everywhere */
static void queue_to_thread(int sig, int value)
{
	siginfo_t si = { .si_signo = sig, .si_code = SI_QUEUE };

	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_int = value;
	CHECK(!syscall(SYS_rt_tgsigqueueinfo, getpid(), tid_now(), sig, &si), "rt_tgsigqueueinfo");
}

static void set_up(void)
{
	struct sigaction later = { .sa_sigaction = on_later, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigaction cont = { .sa_handler = on_cont, .sa_flags = SA_RESTART | SA_NODEFER };
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	sigaddset(&later.sa_mask, SIGHUP);
	sigaction(SIGRTMIN + 5, &later, NULL);
	sigaction(SIGCONT, &cont, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		sigaddset(&mask, number(expected[i].sig));
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	for (int i = 0; i < QUEUED; i++) {
		CHECK(!sigqueue(getpid(), SIGRTMIN + 3,
				(union sigval){ .sival_int = 11 * (i + 1) }),
		      "sigqueue");
		queue_to_thread(SIGRTMIN + 4, 101 + i);
	}
	CHECK(!kill(getpid(), SIGUSR1) && !kill(getpid(), SIGRTMIN + 6), "kill");
	CHECK(!syscall(SYS_tgkill, getpid(), tid_now(), SIGUSR2), "tgkill");
	sigpending(&pending);
}

static void remember_actions(void)
{
	for (int s = 1; s < 65; s++)
		sigaction(s, NULL, &actions[s]);
}

static void check_state(void)
{
	sigset_t now_mask, now_pending;

	sigprocmask(SIG_SETMASK, NULL, &now_mask);
	sigpending(&now_pending);
	for (int s = 1; s < 65; s++) {
		struct sigaction sa;

		CHECK(sigismember(&now_mask, s) == sigismember(&mask, s), "signal %d in the mask",
		      s);
		CHECK(sigismember(&now_pending, s) == sigismember(&pending, s),
		      "signal %d among the pending", s);
		if (sigaction(s, NULL, &sa))
			continue;
		CHECK(sa.sa_handler == actions[s].sa_handler && sa.sa_flags == actions[s].sa_flags,
		      "the action of signal %d", s);
		for (int m = 1; m < 65; m++)
			CHECK(sigismember(&sa.sa_mask, m) == sigismember(&actions[s].sa_mask, m),
			      "the mask of signal %d's action", s);
	}
}

static void take_pending(void)
{
	struct timespec now = { 0 };
	siginfo_t si;

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		const struct expected *x = &expected[i];
		int sig = sigtimedwait(&mask, &si, &now);

		CHECK(sig == number(x->sig), "pending signal %zu is %d", i, sig);
		if (si.si_code == SI_USER && x->code == SI_TKILL)
			si.si_code = SI_TKILL;	/* glibc hides the difference */
		CHECK(si.si_code == x->code, "signal %d has code %d instead of %d", sig, si.si_code,
		      x->code);
		CHECK(si.si_pid == getpid() && si.si_uid == getuid(),
		      "signal %d comes from pid %d, uid %d", sig, (int)si.si_pid, (int)si.si_uid);
		if (x->code == SI_QUEUE)
			CHECK(si.si_value.sival_int == x->value,
			      "signal %d has value %d instead of %d", sig, si.si_value.sival_int,
			      x->value);
	}
	CHECK(sigtimedwait(&mask, &si, &now) < 0 && errno == EAGAIN,
	      "one pending signal too many, %d", si.si_signo);
}

int main(void)
{
	set_up();
	victim_ready();
	remember_actions();
	while (victim_goes_on(10))
		check_state();
	check_state();
	take_pending();
	CHECK(!sigqueue(getpid(), SIGRTMIN + 5, (union sigval){ .sival_int = 4711 }) &&
		      own_value == 4711,
	      "a later sigqueue has value %d", (int)own_value);
	return victim_ok();
}

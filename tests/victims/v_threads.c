/* SPDX-License-Identifier: MIT */
/*
 * v_threads.c - Threads with all that is a thread's own, and the timers that disturb them
 *
 * A token goes round among the threads under a mutex and a condition variable.  At each turn a
 * thread checks what is its own: TLS, tid, signal mask, alternate stack, a clock that doesn't go
 * back.  Four timers tick meanwhile, three kinds of delivery, their handlers on alternate stacks.
 */
#include <pthread.h>
#include <sys/time.h>

#include "victim.h"

#ifndef THREADS
#define THREADS 4
#endif
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define ALT_SIZE 32768
#define SILENCE_MAX_NS (5 * NS_PER_S)	/* longer than any pause */
#define TLS_SEED UINT64_C(0x1122334455667788)

enum { TICK_PROCESS, TICK_THREAD, TICK_ITIMER, TICK_VIRTUAL, TICKS };

static const char *const tick_names[TICKS] = { "timer_create", "SIGEV_THREAD_ID", "ITIMER_REAL",
					       "ITIMER_VIRTUAL" };

struct worker {
	pthread_t thread;
	pid_t tid;
	sigset_t mask;
	void *alt;
	unsigned long turns;
	int64_t last_ns;
};

static __thread uint64_t tls_preset = TLS_SEED;
static __thread uint64_t tls_zero[64];
static __thread struct worker *tls_self;

static struct worker workers[THREADS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_came = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t all_up;
static unsigned turn;
static bool ending;
static volatile sig_atomic_t ticks[TICKS];
static volatile sig_atomic_t bad_stack, bad_thread;

/** count() - A handler's part that all share; it must run on its thread's alternate stack */
static void count(int which)
{
	char here;
	struct worker *w = tls_self;

	if (w && (&here < (char *)w->alt || &here >= (char *)w->alt + ALT_SIZE))
		bad_stack = 1;
	ticks[which]++;
}

static void on_process(int sig, siginfo_t *si, void *ctx)
{
	(void)sig, (void)ctx;
	if (si->si_code != SI_TIMER || si->si_value.sival_int != 4711)
		bad_thread = 1;
	count(TICK_PROCESS);
}

static void on_thread(int sig, siginfo_t *si, void *ctx)
{
	(void)sig, (void)ctx, (void)si;
	if (tid_now() != workers[0].tid)
		bad_thread = 1;
	count(TICK_THREAD);
}

static void on_itimer(int sig, siginfo_t *si, void *ctx)
{
	(void)si, (void)ctx;
	count(sig == SIGALRM ? TICK_ITIMER : TICK_VIRTUAL);
}

/** check_own() - Is everything that belongs to this thread as it was? */
static void check_own(struct worker *w, int number)
{
	int64_t now = clock_ns(CLOCK_MONOTONIC);
	sigset_t mask;
	stack_t alt;

	CHECK(tls_self == w && tls_preset == TLS_SEED + (uint64_t)number, "thread %d: TLS", number);
	for (size_t i = 0; i < ARRAY_SIZE(tls_zero); i++)
		CHECK(tls_zero[i] == (uint64_t)number * i + w->turns, "thread %d: TLS word %zu",
		      number, i);
	CHECK(tid_now() == w->tid, "thread %d is %d, was %d", number, tid_now(), w->tid);
	CHECK(pthread_self() == w->thread, "thread %d: pthread_self()", number);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < 65; s++)
		CHECK(sigismember(&mask, s) == sigismember(&w->mask, s),
		      "thread %d: signal %d in the mask", number, s);
	CHECK(!sigaltstack(NULL, &alt) && alt.ss_sp == w->alt && alt.ss_size == ALT_SIZE,
	      "thread %d: alternate stack", number);
	CHECK(now >= w->last_ns, "thread %d: the clock went back by %lld ns", number,
	      (long long)(w->last_ns - now));
	w->last_ns = now;
}

static void set_up_own(struct worker *w, int number)
{
	stack_t alt = { .ss_size = ALT_SIZE };
	sigset_t block;

	alt.ss_sp = w->alt = calloc(1, ALT_SIZE);
	CHECK(!sigaltstack(&alt, NULL), "sigaltstack");
	w->tid = tid_now();
	w->thread = pthread_self();
	tls_self = w;
	tls_preset += (uint64_t)number;
	for (size_t i = 0; i < ARRAY_SIZE(tls_zero); i++)
		tls_zero[i] = (uint64_t)number * i;
	sigemptyset(&block);
	sigaddset(&block, number % 2 ? SIGUSR1 : SIGUSR2);
	sigaddset(&block, SIGTERM);	/* is main's */
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	pthread_sigmask(SIG_SETMASK, NULL, &w->mask);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	int number = (int)(w - workers);

	set_up_own(w, number);
	pthread_barrier_wait(&all_up);
	pthread_mutex_lock(&lock);
	for (;;) {
		while (turn != (unsigned)number && !ending)
			pthread_cond_wait(&turn_came, &lock);
		if (ending)
			break;
		check_own(w, number);
		w->turns++;
		for (size_t i = 0; i < ARRAY_SIZE(tls_zero); i++)
			tls_zero[i]++;
		turn = (turn + 1) % THREADS;
		pthread_cond_broadcast(&turn_came);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void handle(int sig, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };

	CHECK(!sigaction(sig, &sa, NULL), "sigaction %d", sig);
}

static void start_timers(void)
{
	struct itimerspec every = { .it_interval.tv_nsec = 20 * NS_PER_MS,
				    .it_value.tv_nsec = 20 * NS_PER_MS };
	struct itimerval usual = { .it_interval.tv_usec = 30000, .it_value.tv_usec = 30000 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_value.sival_int = 4711 };
	timer_t t;

	handle(SIGRTMIN + 1, on_process);
	handle(SIGRTMIN + 2, on_thread);
	handle(SIGALRM, on_itimer);
	handle(SIGVTALRM, on_itimer);
	ev.sigev_signo = SIGRTMIN + 1;
	CHECK(!timer_create(CLOCK_MONOTONIC, &ev, &t) && !timer_settime(t, 0, &every, NULL),
	      "timer_create");
	ev.sigev_signo = SIGRTMIN + 2;
	ev.sigev_notify = SIGEV_THREAD_ID;
	ev.sigev_notify_thread_id = workers[0].tid;
	CHECK(!timer_create(CLOCK_REALTIME, &ev, &t) && !timer_settime(t, 0, &every, NULL),
	      "timer_create");
	CHECK(!setitimer(ITIMER_REAL, &usual, NULL) && !setitimer(ITIMER_VIRTUAL, &usual, NULL),
	      "setitimer");
}

/** check_progress() - Has every timer ticked, and the token gone round, within SILENCE_MAX_NS? */
static void check_progress(void)
{
	static int last[TICKS + 1];
	static int64_t when[TICKS + 1];
	int64_t now = clock_ns(CLOCK_MONOTONIC);

	for (int i = 0; i <= TICKS; i++) {
		int v;

		if (i < TICKS) {
			v = ticks[i];
		} else {
			pthread_mutex_lock(&lock);
			v = (int)workers[THREADS - 1].turns;
			pthread_mutex_unlock(&lock);
		}
		if (v != last[i] || !when[i]) {
			last[i] = v;
			when[i] = now;
		}
		CHECK(i == TICK_VIRTUAL || now - when[i] < SILENCE_MAX_NS, "%s stands still at %d",
		      i < TICKS ? tick_names[i] : "the token", v);
	}
	CHECK(!bad_stack, "a handler ran on the wrong stack");
	CHECK(!bad_thread, "a timer's signal came to the wrong thread, or without its value");
}

/** check_virtual() - Does ITIMER_VIRTUAL tick?  Only user time counts, so some is spent here */
static void check_virtual(void)
{
	int64_t give_up = deadline_in_ms(10000);
	int before = ticks[TICK_VIRTUAL];

	while (ticks[TICK_VIRTUAL] == before)
		for (volatile int spin = 0; spin < 1000000; spin++)
			CHECK(spin || clock_ns(CLOCK_MONOTONIC) < give_up, "ITIMER_VIRTUAL stands still");
}

int main(void)
{
	pid_t pid = getpid();

	pthread_barrier_init(&all_up, NULL, THREADS + 1);
	for (int i = 0; i < THREADS; i++) {
		pthread_t t;
		int r = pthread_create(&t, NULL, work, &workers[i]);

		CHECK(!r, "pthread_create: %d", r);
	}
	pthread_barrier_wait(&all_up);
	start_timers();
	victim_ready();
	while (victim_goes_on(10)) {
		CHECK(getpid() == pid && tid_now() == pid, "pid %d is %d now", pid, getpid());
		check_progress();
	}
	pthread_mutex_lock(&lock);
	ending = true;
	pthread_cond_broadcast(&turn_came);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	check_virtual();
	for (int i = 0; i < TICKS; i++)
		CHECK(ticks[i] > 0, "%s never ticked", tick_names[i]);
	return victim_ok();
}

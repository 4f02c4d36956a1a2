/* SPDX-License-Identifier: MIT */
/*
 * v_creds.c - What a process is, apart from its memory and descriptors
 *
 * Everything that can be asked is asked when it is ready, as lines "NAME VALUE"; what is asked
 * later must give the same lines.  Before, all that an ordinary program may change is changed,
 * so that nothing has the value that a new process has anyway.
 */
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "victim.h"

struct text {
	char at[8192];
	size_t len;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at + t->len, sizeof(t->at) - t->len, fmt, ap);
	va_end(ap);
	CHECK(n >= 0 && (size_t)n < sizeof(t->at) - t->len, "too much to say");
	t->len += (size_t)n;
}

static void ask_ids(struct text *t)
{
	uid_t r, e, s;
	gid_t groups[64];
	int n = getgroups(ARRAY_SIZE(groups), groups);

	getresuid(&r, &e, &s);
	put(t, "uids %d %d %d\n", r, e, s);
	getresgid(&r, &e, &s);
	put(t, "gids %d %d %d\n", r, e, s);
	put(t, "groups");
	for (int i = 0; i < n; i++)
		put(t, " %d", groups[i]);
	/* its parent stays behind and has no stand-in yet: not asked */
	put(t, "\npid %d group %d session %d\n", getpid(), getpgrp(),
	    getsid(0));
}

/**
 * ask_status() - The lines of /proc/self/status that are about what the process may
 *
 * NoNewPrivs and Seccomp aren't asked: there the kernel tells of the supervisor's filter, which a
 * program that is at home doesn't have (mproxy(8), LIMITS); prctl() is answered as before.
 */
static void ask_status(struct text *t)
{
	static const char *const wanted[] = { "Name:",	  "Umask:",  "CapInh:", "CapPrm:",
					      "CapEff:",  "CapBnd:", "CapAmb:", "SigBlk:",
					      "SigIgn:",  "SigCgt:" };
	FILE *f = fopen("/proc/self/status", "re");
	char line[512];

	CHECK(f, "/proc/self/status");
	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			if (!strncmp(line, wanted[i], strlen(wanted[i])))
				put(t, "%s", line);
	fclose(f);
}

static void ask_rest(struct text *t)
{
	struct { const char *name; int option; } numbers[] = {
		{ "dumpable", PR_GET_DUMPABLE }, { "no_new_privs", PR_GET_NO_NEW_PRIVS },
		{ "timerslack", PR_GET_TIMERSLACK }, { "keepcaps", PR_GET_KEEPCAPS },
		{ "securebits", PR_GET_SECUREBITS }, { "thp_disable", PR_GET_THP_DISABLE },
	};
	int subreaper = -1, death = -1;
	char name[17] = "", cwd[4096];
	cpu_set_t cpus;

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		put(t, "%s %d\n", numbers[i].name, prctl(numbers[i].option, 0, 0, 0, 0));
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0);
	prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
	prctl(PR_GET_NAME, name, 0, 0, 0);
	put(t, "subreaper %d\npdeathsig %d\nname %s\n", subreaper, death, name);
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit l = { 0 };

		getrlimit(i, &l);
		put(t, "rlimit %d: %llu %llu\n", i, (unsigned long long)l.rlim_cur,
		    (unsigned long long)l.rlim_max);
	}
	errno = 0;
	put(t, "nice %d\nscheduler %d\n", getpriority(PRIO_PROCESS, 0),
	    (int)syscall(SYS_sched_getscheduler, 0));
	CPU_ZERO(&cpus);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	put(t, "cpus %d of which 0: %d\n", CPU_COUNT(&cpus), !!CPU_ISSET(0, &cpus));
	put(t, "personality %#x\n", (unsigned)personality(0xffffffff));
	CHECK(getcwd(cwd, sizeof(cwd)), "getcwd");
	put(t, "cwd %s\n", cwd);
}

static void ask(struct text *t)
{
	t->len = 0;
	ask_ids(t);
	ask_status(t);
	ask_rest(t);
}

static void lower(int resource, rlim_t cur, rlim_t max)
{
	struct rlimit l;

	getrlimit(resource, &l);
	l.rlim_max = MIN(l.rlim_max, max);
	l.rlim_cur = MIN(l.rlim_max, cur);
	CHECK(!setrlimit(resource, &l), "setrlimit %d", resource);
}

static void change_all(void)
{
	umask(0137);
	CHECK(!chdir("/usr/lib"), "chdir");
	lower(RLIMIT_NOFILE, 333, 3333);
	lower(RLIMIT_CORE, 0, 12345678);
	lower(RLIMIT_STACK, 5 << 20, 50 << 20);
	lower(RLIMIT_MEMLOCK, 55555, 555555);
	errno = 0;
	CHECK(nice(3) != -1 || !errno, "nice");
	CHECK(!prctl(PR_SET_NAME, "not my name", 0, 0, 0), "PR_SET_NAME");
	CHECK(!prctl(PR_SET_TIMERSLACK, 77777, 0, 0, 0), "PR_SET_TIMERSLACK");
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "PR_SET_CHILD_SUBREAPER");
	CHECK(!prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "PR_SET_KEEPCAPS");
	CHECK(personality(UNAME26) != -1, "personality");
}

/** differ() - Say the first line that isn't as it was, and fail */
static void differ(char *before, char *now)
{
	char *b_rest, *n_rest;
	char *b = strtok_r(before, "\n", &b_rest), *n = strtok_r(now, "\n", &n_rest);

	while (b && n && !strcmp(b, n)) {
		b = strtok_r(NULL, "\n", &b_rest);
		n = strtok_r(NULL, "\n", &n_rest);
	}
	FAIL("\"%s\", was \"%s\"", n ? n : "", b ? b : "");
}

int main(void)
{
	static struct text before, now;
	int fd;

	change_all();
	victim_ready();
	ask(&before);
	while (victim_goes_on(50)) {
		ask(&now);
		if (strcmp(before.at, now.at))
			differ(before.at, now.at);
	}
	ask(&now);
	if (strcmp(before.at, now.at))
		differ(before.at, now.at);
	/* and it is in force */
	fd = dup(1);
	CHECK(fd >= 0 && fcntl(fd, F_DUPFD, 333) < 0 && errno == EINVAL,
	      "RLIMIT_NOFILE has no effect");
	return victim_ok();
}

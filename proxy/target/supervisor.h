/* SPDX-License-Identifier: MIT */
/*
 * supervisor.h - Answers the seccomp notifications of a moved program
 *
 * It is part of the keeper, so that it outlives every session.  A call is decided by its row
 * (common/call.c): the kernel does it here (CONTINUE), or it is asked at home and answered when the
 * deputy has answered.  Nothing ever waits in here; forks alone take some microseconds (fork.c).
 */
#ifndef PROXY_TARGET_SUPERVISOR_H
#define PROXY_TARGET_SUPERVISOR_H

#include "proxy/target/asks.h"
#include "proxy/target/execs.h"
#include "proxy/target/kin.h"
#include "proxy/target/originfs.h"
#include "proxy/target/receiver.h"

struct waiting_call;

struct supervisor {
	int listener;			/* -1: there is no filter */
	struct asks *asks;
	struct kin *kin;
	struct receiver *from;		/* where they come from */
	const struct originfs *fs;	/* where the twins are; NULL: there are none */
	bool user;			/* mproxy is an ordinary user's: ids can't change */
	bool no_new_privs;		/* as the program believes */
	bool denied;			/* a call was refused, and the log says so */
	struct execs *execs;
	uint32_t who;			/* its number at the receiver's */
	uint64_t absent;		/* memory that the call needs, and that isn't there yet */
	size_t absent_len;
	struct waiting_call *list;
};

/* The listener is the supervisor's */
int supervisor_start(struct supervisor *s, int listener, struct err *e) MUST_CHECK;
void supervisor_stop(struct supervisor *s);

/* A call of the program's was received */
struct seccomp_notif;
void supervisor_handle(struct supervisor *s, const struct seccomp_notif *n);

/* In the receiver's thread: lets the kernel do what is none of the origin's business, if that can be seen quickly.
 * @fs: struct originfs.  Return: it's answered */
bool supervisor_quick(const void *fs, int listener, const struct seccomp_notif *n);

/* Whether exec is refused is known now.  false: it wasn't one of this supervisor's callers */
bool supervisor_looked(struct supervisor *s, uint64_t id, int value);

/* Callers with a signal to take are let go: those calls are cancelled */
void supervisor_look(struct supervisor *s);

/* A process or thread, as /proc knows it.  @blocked: what it blocks or ignores */
int supervisor_caller(pid_t tid, pid_t *tgid, uint64_t *blocked) MUST_CHECK;

#endif

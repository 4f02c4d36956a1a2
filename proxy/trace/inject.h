/* SPDX-License-Identifier: MIT */
/*
 * inject.h - System calls made in the name of a frozen thread
 *
 * Safe against the death of the tracer.  Nine bytes
 *
 *	syscall;  mov $15,%eax;  syscall		(rt_sigreturn)
 *
 * are run, and the stack pointer is set to a signal frame that holds the thread's own registers, extended
 * state and signal mask.  With a tracer, the thread is stopped between the two calls and given
 * the next one; without, it goes on by itself as if it had come back from a signal handler.
 * An interrupted system call is put in order in that frame: it is made again.
 *
 * Bytes, frame and arguments live in a scratch area that the first injected call maps.  For that
 * call, and for the one that unmaps it, the bytes stand at the program's own entry point, and the
 * frame at the low end of the main stack, where nothing lives.  In between the entry point is the
 * program's own again: the image may be made then, and a program that was frozen while its
 * interpreter (ld.so) still runs has yet to get there.
 */
#ifndef PROXY_TRACE_INJECT_H
#define PROXY_TRACE_INJECT_H

#include "proxy/trace/tracee.h"

#define INJECT_ROOM 32768	/* bytes of the scratch area that arguments may use */

struct inject {
	struct tracee *t;
	struct tracee_thread *th;	/* whose name calls are made in; NULL: none now */
	uint64_t entry;			/* of the program */
	uint8_t saved_entry[16];
	bool planted;			/* the nine bytes are there */
	uint64_t code;			/* where they are otherwise: in the scratch area; 0: only there */
	uint64_t scratch;		/* address of the scratch area, 0: none */
	uint64_t room;			/* address of INJECT_ROOM bytes in it */
	uint64_t low_stack;		/* where the first frame stands, 0: nowhere */
	int64_t deadline;
};

/* Plants the bytes and maps the scratch area, in the leader's name */
int inject_open(struct inject *i, struct tracee *t, int64_t deadline, struct err *e) MUST_CHECK;
/* Unmaps, takes the bytes back.  All threads have their own registers again, and are frozen */
void inject_close(struct inject *i);

/* Calls are made in @th's name from here, with all signals blocked, until inject_end() */
int inject_begin(struct inject *i, struct tracee_thread *th, struct err *e) MUST_CHECK;
int inject_end(struct inject *i, struct err *e) MUST_CHECK;

/* One call.  Return: 0 and its result in *@result (a negative errno is a result), or a negative errno
 * if it couldn't be made */
int inject_call6(struct inject *i, int64_t *result, long nr, const uint64_t args[6]) MUST_CHECK;

/* Like inject_call6(), but a negative result is a failure too, and says @what */
int inject_must(struct inject *i, int64_t *result, const char *what, struct err *e, long nr,
		const uint64_t args[6]) MUST_CHECK;

/* A call that doesn't come back here but ends in PTRACE_EVENT_EXEC (execveat) */
int inject_exec(struct inject *i, long nr, const uint64_t args[6], struct err *e) MUST_CHECK;

/* A child of the program, by clone(2): attached, and stopped before its first instruction */
int inject_clone(struct inject *i, uint64_t flags, pid_t *child, struct err *e) MUST_CHECK;

#endif

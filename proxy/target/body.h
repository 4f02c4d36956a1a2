/* SPDX-License-Identifier: MIT */
/*
 * body.h - The process that a program is rebuilt in: made, traced, standing behind its exec
 *
 * Made before the source is frozen.  It has the program's pid, its process group and session (under
 * stand-ins with their leaders' numbers), its working directory and umask, and has exec'ed the
 * program's binary, of which it never ran an instruction.
 */
#ifndef PROXY_TARGET_BODY_H
#define PROXY_TARGET_BODY_H

#include <sys/types.h>

#include "proxy/image/image.h"
#include "proxy/target/kin.h"

/* What a traced body is told to report */
#define BODY_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE)

struct body {
	pid_t pid;		/* 0: none */
	int sock;		/* our end of a socket pair to it */
	int its;		/* the number of its end there */
};

/* One for each process of @survey: @bodies has room.  @kin gets the stand-ins */
int body_make_all(const struct image *survey, struct kin *kin, struct body *bodies, struct err *e) MUST_CHECK;

/* From PTRACE_EVENT_EXEC to the first instruction: one step, else execve's result lands in rax */
int body_pass_exec(pid_t pid, struct err *e) MUST_CHECK;

/* Ends it and waits for its end; other children that end meanwhile are reaped too */
void body_kill(pid_t pid);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * handover.h - The original becomes the deputy
 *
 * On a frozen program with an open injection:
 *
 *	handover_bring()	the deputy's file and descriptors are in, a probe of it has run
 *	handover_commit()	timers disarmed, waiting signals taken out (the image has them), and the
 *				original execs: the point of no return
 *	handover_back()		any time before: everything as it was
 */
#ifndef PROXY_ORIGIN_HANDOVER_H
#define PROXY_ORIGIN_HANDOVER_H

#include <sys/time.h>

#include "proxy/origin/freeze.h"

enum { BRING_SOCK, BRING_EXE, BRING_SETUP, BRING_COUNT };

struct handover {
	struct freeze *f;
	int sock;			/* our end of the socket to the deputy, for the hub; owned until taken */
	int there[BRING_COUNT];		/* their numbers in the program, -1: not there */
	pid_t holder;			/* keeps the memory alive across the exec; 0: none */
	bool quiet;
	struct itimerval timers[3];	/* as they stood when they were disarmed */
	struct image_siginfo *drained;
	size_t n_drained;
	size_t uncloexec;		/* so many of image.fds have lost their CLOEXEC flag */
};

/* @deputy: path of mdeputy */
int handover_bring(struct handover *h, const char *deputy, struct err *e) MUST_CHECK;
/* A descriptor that the deputy has, and the stream or handle that it is */
struct handover_handle {
	uint32_t id;
	int fd;
};

/* What a deputy starts with, in a memfd (DEPUTY_START): what it holds, and what it closes */
int handover_describe(const struct handover_handle *held, size_t n_held, const int *closes, size_t n_closes,
		      struct err *e) MUST_CHECK;
/* What a deputy of @img's program starts with, in a memfd.  @rest: it closes what doesn't stay */
int handover_setup(const struct image *img, bool rest, struct err *e) MUST_CHECK;
int handover_commit(struct handover *h, struct err *e) MUST_CHECK;
void handover_back(struct handover *h);
void handover_drop_holder(struct handover *h);	/* after GO is acknowledged */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * restore.h - An image becomes a running program again
 *
 * The body is a process that has exec'ed the program's binary under ptrace and has not run an
 * instruction of it.  It is driven by remote.h.  The same code serves the target (the keeper is
 * the tracer, the body its child) and the way home (the origin session is the tracer, the body
 * is the deputy).
 *
 *	restore_begin()		clear the address space, map every area
 *	restore_fill()		pages arrive, any number of times, by whoever has them
 *	restore_finish()	protections, descriptors, signals, threads: all but the resume
 *	restore_go()		timers start, signals that waited are queued, registers, detach
 *	restore_drop()		any time before restore_go(): the body is killed
 */
#ifndef PROXY_TARGET_RESTORE_H
#define PROXY_TARGET_RESTORE_H

#include <stdbool.h>

#include "proxy/image/image.h"
#include "proxy/target/remote.h"

#define RESTORE_FDS 128		/* descriptors that are given to a body at once: so many numbers are kept free for them */

/* What several processes of a tree have: made for the first, given to the others too */
struct restore_shared {
	struct shared_open {
		int64_t id;		/* image_open.shared */
		int fd;
	} *opens;
	struct shared_pipe {
		uint64_t inode;
		int fd[2];
		bool given[2];
	} *pipes;
	struct shared_object {
		uint64_t device, inode;
		int fd;
		bool exact;		/* its size is known */
		bool filled;		/* a System V segment has its content, and needn't any more */
	} *objects;
	size_t n_opens, n_pipes, n_objects;
};
void restore_forget_shared(struct restore_shared *s);	/* closes */

struct restore {
	const struct image *img;
	struct restore_shared *shared;	/* of its tree */
	struct remote r;
	pid_t pid;
	int sock;		/* our end of a socket pair to the body; owned */
	int body_sock;		/* the body's end: its number there */
	bool home;		/* the body was the deputy, and holds what the image's twins stand for: */
	const struct restore_stay {
		uint32_t id;	/* image_open.stream */
		int fd;
	} *stays;
	size_t n_stays;
	bool placed;		/* what it held is at the image's numbers now */
	int *files;		/* per image.files: opened here, or -1 */
	int *objects;		/* per image.objects: a memfd */
	int *opens;		/* per image.opens: our copy, until restore_go() */
	int base;		/* descriptors in the body from here up are passing through; above what arrives */
	bool supervised;	/* it gets the filter */
	bool stub;		/* from restore_finish(): the shim is in it, and has been told */
	int listener;		/* from restore_finish(): of the filter; the caller's */
	bool foreign_vdso;	/* the image's vdso was built for another kernel */
	/* a twin's near end for image.opens[i]; the far end is kept by the callee */
	int (*make_twin)(void *ctx, const struct image_open *o, struct err *e);
	void *ctx;
};

int restore_begin(struct restore *s, struct err *e) MUST_CHECK;
int restore_finish(struct restore *s, struct err *e) MUST_CHECK;
int restore_go(struct restore *s, struct err *e) MUST_CHECK;
void restore_drop(struct restore *s);

/* ---- parts, one file each ------------------------------------------------------------------ */
int restore_clear(struct restore *s, struct err *e) MUST_CHECK;		/* restore_mm.c */
int restore_map(struct restore *s, struct err *e) MUST_CHECK;
int restore_memory(struct restore *s, struct err *e) MUST_CHECK;
int restore_segment(const struct restore *s, const struct image_object *o, struct err *e) MUST_CHECK;	/* restore_sysv.c */
int restore_attach(struct restore *s, struct err *e) MUST_CHECK;	/* before the other areas */
int restore_segments(struct restore *s, struct err *e) MUST_CHECK;	/* after the fill */
uint64_t restore_hole(struct restore *s, uint64_t len, struct err *e) MUST_CHECK;	/* for a moment; 0: @e says why */
int restore_vdso(struct restore *s, struct err *e) MUST_CHECK;		/* vdso.c: after the fill */
bool vdso_is_same(const struct image *img, uint64_t base, uint64_t end, struct remote *r);
int restore_open_all(struct restore *s, struct err *e) MUST_CHECK;	/* restore_fds.c */
int restore_descriptors(struct restore *s, struct err *e) MUST_CHECK;
int restore_give(struct restore *s, const int *fds, int n, struct err *e) MUST_CHECK;
int restore_locks(struct restore *s, struct err *e) MUST_CHECK;
int restore_timerfds(struct restore *s, struct err *e) MUST_CHECK;
int restore_process(struct restore *s, struct err *e) MUST_CHECK;	/* restore_process.c */
int restore_timers(struct restore *s, struct err *e) MUST_CHECK;
int restore_pending(struct restore *s, struct err *e) MUST_CHECK;
int restore_threads(struct restore *s, struct err *e) MUST_CHECK;	/* restore_threads.c */
int restore_registers(struct restore *s, struct err *e) MUST_CHECK;
int restore_filter(struct restore *s, struct err *e) MUST_CHECK;	/* restore_filter.c */
int restore_stub(struct restore *s, struct err *e) MUST_CHECK;
int restore_let_go(struct restore *s, struct err *e) MUST_CHECK;	/* the scratch area goes; or becomes the stub */

#endif

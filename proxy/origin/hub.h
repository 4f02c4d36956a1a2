/* SPDX-License-Identifier: MIT */
/*
 * hub.h - The session's way to the hub of a program's deputies (proxy/deputy/hub.c)
 *
 *	hub_open()	starts it, a process of its own that outlives the session, and calls it
 *	hub_call()	a connection that brings it something, before COMMIT and on a failed way home
 *	hub_attach()	what hub_open() called becomes the connection over which it pumps
 */
#ifndef PROXY_ORIGIN_HUB_H
#define PROXY_ORIGIN_HUB_H

#include "proxy/origin/origin.h"

/* @as: the number that the program knows as its own, 0: that of its deputy */
int hub_open(struct origin *o, pid_t as, struct err *e) MUST_CHECK;
int hub_attach(struct origin *o, struct err *e) MUST_CHECK;
int hub_call(struct origin *o, struct err *e) MUST_CHECK;	/* a descriptor */
int hub_streams(int hub, pid_t pid, const struct image *img, struct err *e) MUST_CHECK;
/* One stream, of descriptor @fd of process @pid */
int hub_stream(int hub, pid_t pid, int fd, uint32_t id, bool out, uint64_t offset, struct err *e) MUST_CHECK;
int hub_files(int hub, pid_t pid, const struct image *img, struct err *e) MUST_CHECK;	/* to its file server */
int hub_join(int hub, pid_t pid, int sock, struct err *e) MUST_CHECK;	/* @sock: to that deputy; stays the caller's */
int hub_hello(int hub, struct err *e) MUST_CHECK;
/* System V segments of @img: held at home, so that they are there, under their numbers, when the program is back */
enum { HUB_SEGMENTS_DROP, HUB_SEGMENTS_HOLD, HUB_SEGMENTS_HELD };	/* let go of all, no @img; hold these; are these held? */
int hub_segments(int hub, const struct image *img, uint32_t what, struct err *e) MUST_CHECK;
bool hub_has_segments(const struct image *img);
void hub_drop_segments(struct origin *o, const struct image *img);	/* all, if there are any: when this returns they are not attached */
/* Is there one, and has COMMIT happened?  *@lost: so many of its deputies were killed */
bool hub_is_up(struct origin *o, unsigned *lost);

/* A message to the hub, over the session's own connection */
int hub_tell(struct origin *o, unsigned type, const void *payload, ssize_t len, struct err *e) MUST_CHECK;
void hub_finish(struct origin *o);	/* the keeper has ended in order: no need to tell it anything */
void hub_quit(struct origin *o);	/* whether it is attached already or not; idempotent */

#endif

/* SPDX-License-Identifier: MIT */
/*
 * self.h - This machine as its own target
 *
 * A target's session, over a socket pair instead of the network.  As an ordinary user it is a child of
 * the origin's session.  For an mproxy that runs as root it must have root's rights, which the
 * origin's session gives up before it reads anything: self_keep() leaves a process behind that has
 * them, and does one thing with them: start target sessions for that one user.
 */
#ifndef PROXY_ORIGIN_SELF_H
#define PROXY_ORIGIN_SELF_H

#include "proxy/origin/origin.h"

/* While privileged; o->uid is known.  It ends when o->self is closed */
int self_keep(struct origin *o, struct err *e) MUST_CHECK;
struct link *self_connect(struct origin *o, struct err *e) MUST_CHECK;	/* NULL: it failed */

#endif

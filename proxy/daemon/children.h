/* SPDX-License-Identifier: MIT */
/*
 * children.h - The daemon's sessions: processes of their own, each on its leash
 *
 * Knows which session has which program, what it last reported, and how a session at the origin
 * that died is started again as long as the state directory says that its program is elsewhere:
 * at once, and then after longer and longer pauses (RESUME_*).
 *
 * Several short-lived helpers, which do for a client what could block the loop, live here too.
 *
 * Context: the daemon's loop, only.
 */
#ifndef PROXY_DAEMON_CHILDREN_H
#define PROXY_DAEMON_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"
#include "proxy/daemon/loop.h"
#include "proxy/daemon/session.h"
#include "proxy/json/json.h"

#define CHILDREN_MAX 256	/* processes, and those that wait to be started again */
#define CHILDREN_STRANGERS 64	/* connections that haven't shown a program yet */

struct children;
struct session;

/* A helper's work, in a process of its own.  @client: owned.  Return: exit status */
typedef int children_help_fn(const struct session_env *env, int client, const char *text);

/* Both stay the caller's; @env's policy may change between calls, its leash is not used */
struct children *children_new(struct loop *loop, const struct session_env *env);
void children_free(struct children *c);	/* the processes live on */

/* Every sessions/SID.json that there is: started again */
void children_resume_all(struct children *c);

/* They fork.  Descriptors stay the caller's.  0; -EBUSY too many; -errno */
int children_origin(struct children *c, int client, uid_t client_uid, pid_t pid, uid_t owner,
		    const char *request, struct err *e) MUST_CHECK;
int children_target(struct children *c, int fd, struct err *e) MUST_CHECK;
int children_help(struct children *c, children_help_fn *fn, int client, const char *text,
		  struct err *e) MUST_CHECK;
bool children_may_accept(const struct children *c);	/* room for one more connection? */

/*
 * The session that has program @pid.  A number that only is a guest's at its origin gives way to
 * a process that has it here, unless @home: such a process can't be sent home.  NULL: none
 */
struct session *children_find(struct children *c, pid_t pid, bool home);
uid_t children_owner(const struct session *s);
/* Passes a request on, with its client's socket.  -EAGAIN: the session can't take it now */
int children_ask(struct session *s, int client, const char *request, struct err *e) MUST_CHECK;
json *children_list(const struct children *c);	/* what they reported, for ps */

void children_reap(struct children *c);		/* after SIGCHLD */
int64_t children_deadline(const struct children *c);	/* when children_tick() has work */
void children_tick(struct children *c);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * keeper_leave.c - The keeper, when the program leaves: this target is the source now
 */
#include "proxy/target/keeper_parts.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/origin/look.h"
#include "proxy/target/leave.h"

/* The image as text in a memfd, and, of one whose processes stand still, a pidfd of each: to the session with @type */
static int say_image(struct keeper *k, unsigned type, const struct image *img, struct err *e)
{
	AUTO_FREE char *text = image_to_json(img);
	int fds[1 + IMAGE_MOST_PROCESSES + 1], n = 0, rc = 0;
	uint8_t buf[64];

	static_assert(ARRAY_SIZE(fds) <= SOCK_MAX_FDS, "one message holds them all");
	fds[n++] = memfd_create("image", MFD_CLOEXEC);
	if (!text || fds[0] < 0 || write(fds[0], text, strlen(text)) != (ssize_t)strlen(text))
		rc = err_set(e, -ENOMEM, "write the image");
	for (size_t i = 0; type == WIRE_IMAGE && i < image_processes(img) && n < (int)ARRAY_SIZE(fds) && !rc; i++) {
		fds[n] = pidfd_open((pid_t)image_process(img, i)->pid, 0);
		rc = fds[n++] < 0 ? err_set(e, -errno, "write the image") : 0;
	}
	if (!rc)
		rc = keeper_say(k, type, buf, wire_put_image(buf, sizeof(buf), &(struct wire_image){ "" }), fds, n);
	while (n-- > 0)
		if (fds[n] >= 0)
			close(fds[n]);
	return rc;
}

static uint32_t stream_by_inode(void *ctx, uint64_t inode)
{
	struct keeper *k = ctx;

	for (size_t i = 0; i < k->n_streams; i++)
		if (k->streams[i].inode == inode)
			return k->streams[i].id;
	return 0;
}

static bool stays(void *ctx, pid_t pid)
{
	struct kin_one *one = kin_find(&((struct keeper *)ctx)->kin, pid);

	return one && !one->moved;
}

static int all(void *ctx, pid_t **list, size_t *n)
{
	const struct kin *kin = &((struct keeper *)ctx)->kin;
	int rc = 0;

	for (size_t i = 0; i < kin->n && !rc; i++)
		if (kin->list[i].moved && !kin->list[i].ended)
			rc = look_add_pid(kin->list[i].pid, list, n);
	return rc;
}

/* While the freeze waits for the program's threads: some wait for us */
static void serve_the_frozen(void *ctx)
{
	struct keeper *k = ctx;

	originfs_hear(k->fs);
	keeper_hear_programs(k, NULL);
	keeper_hear_execs(k);
	ask_cancel_all(&k->asks);
	if (pump_run(k->pump) < 0)
		log_err("the pump failed: %s", strerror(errno));
}

static enum look_twin twin_of(void *ctx, uint64_t device, uint64_t inode)
{
	switch (originfs_is(((struct keeper *)ctx)->fs, device, inode)) {
	case ORIGINFS_PULLED:
		return LOOK_PULLED;
	case ORIGINFS_FILE:
		return LOOK_FILE;
	case ORIGINFS_NOT:
		break;
	}
	return LOOK_NO_TWIN;
}

static struct look look_from(struct keeper *k)
{
	return (struct look){ .pid = k->ended ? 0 : k->body, .policy = k->with->policy, .moved = true, .stream_of = stream_by_inode,
			      .stays = stays, .all = all, .idle = serve_the_frozen, .twin = twin_of,
			      .no_new_privs = k->arrivals[0].supervisor.no_new_privs, .ctx = k };
}

/* Whoever waits for them will do so elsewhere; those without a parent are ours to wait for */
static void tell_ended(struct keeper *k)
{
	keeper_tell_ended(k);
	for (size_t i = 0; i < k->kin.n; i++)
		if (k->kin.list[i].ended)
			waitpid(k->kin.list[i].pid, NULL, WNOHANG | __WALL);
	keeper_tell_ended(k);
}

static int all_stand(void *ctx, struct err *e)
{
	struct keeper *k = ctx;
	int rc = originfs_flush(k->fs, serve_the_frozen, k, e);

	tell_ended(k);
	return rc;
}

/* The end of its first process is told before anything moves, and then once */
static int check_end(const struct keeper *k, struct err *e)
{
	return k->ended && !k->told_exit ? err_say(e, -EAGAIN, "the program's first process is just ending: try again") : 0;
}

int keeper_on_survey(struct keeper *k, const struct request *q UNUSED, struct err *e)
{
	AUTO_IMAGE struct image *img = NULL;
	struct look l = look_from(k);
	int rc = check_end(k, e);

	if (!rc)
		rc = leave_survey(&l, &img, e);
	if (!rc)
		img->ended_first = k->ended ? k->body : 0;
	return rc ? rc : say_image(k, WIRE_SURVEYED, img, e);
}

/* It goes on here */
static void thaw(struct keeper *k)
{
	if (k->leave) {
		leave_thaw(k->leave);
		pump_hold(k->pump, false);
	}
	k->leave = NULL;
	originfs_leaving(k->fs, false);
}

int keeper_on_freeze(struct keeper *k, const struct request *q, struct err *e)
{
	struct look l = look_from(k);
	struct wire_freeze m;
	int rc = wire_get_freeze(q->p, q->len, &m);

	if (!rc)
		rc = check_end(k, e);
	if (rc)
		return rc;
	originfs_leaving(k->fs, true);
	rc = leave_freeze(&l, all_stand, k->pump, (int)m.drain_ms, &k->leave, e);
	for (size_t i = 0; !rc && i < image_processes(leave_image(k->leave)); i++)
		rc = originfs_describe(k->fs, image_process(leave_image(k->leave), i), e);
	if (rc) {
		thaw(k);
		return rc;
	}
	leave_image(k->leave)->ended_first = k->ended ? k->body : 0;
	k->state = KEEPER_FROZEN;
	return say_image(k, WIRE_IMAGE, leave_image(k->leave), e);
}

int keeper_on_thaw(struct keeper *k, const struct request *q UNUSED, struct err *e UNUSED)
{
	struct wire_running reply = { 0 };
	uint8_t buf[64];

	if (k->state == KEEPER_FROZEN) {
		thaw(k);
		k->state = keeper_going(k);
		keeper_reap(k);	/* it may have been killed meanwhile */
	}
	return keeper_say(k, WIRE_RUNNING, buf, wire_put_running(buf, sizeof(buf), &reply), NULL, 0);
}

/*
 * Everybody in here dies, and has died when this returns.  The end of the keeper would kill them too, but
 * not before it has let go of its tracees: they would run on for a moment (exit_notify() of kernel/exit.c)
 */
static void kill_all(void)
{
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
}

/* The frozen copy dies: from here on the program is elsewhere */
int keeper_on_discard(struct keeper *k, const struct request *q UNUSED, struct err *e UNUSED)
{
	struct wire_discarded reply = { 0 };
	uint8_t buf[64];

	/* who waits for an answer of ours in there couldn't die */
	k->execs.fs = NULL;
	k->receiver.quick = NULL;	/* they stand still: nobody is in it */
	originfs_free(take_ptr(k->fs));
	kill_all();
	k->quit = true;
	return keeper_say(k, WIRE_DISCARDED, buf, wire_put_discarded(buf, sizeof(buf), &reply), NULL, 0);
}

/* SPDX-License-Identifier: MIT */
/*
 * restore.c - An image becomes a running program again: the order of it
 */
#include "proxy/target/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/stage.h"
#include "proxy/target/body.h"
#include "proxy/trace/tracee.h"

/* Room for the descriptors that pass through, above the program's own */
static int make_room(struct restore *s, struct err *e)
{
	size_t more = s->img->n_opens + s->img->n_files + s->img->n_objects + 2;
	uint64_t to = (uint64_t)s->base + more;
	struct rlimit rl;
	int rc;

	if (prlimit(s->pid, RLIMIT_NOFILE, NULL, &rl))
		return err_set(e, -errno, "read a limit");
	if (rl.rlim_cur <= to + 16) {
		rl.rlim_cur = to + 16;
		if (rl.rlim_max < rl.rlim_cur)
			rl.rlim_max = rl.rlim_cur;
		if (prlimit(s->pid, RLIMIT_NOFILE, &rl, NULL))
			return err_set(e, -errno, "raise the number of descriptors to %llu for the move",
				       (unsigned long long)rl.rlim_cur);
	}
	rc = remote_do(&s->r, e, "make room for descriptors", SYS_dup3, (uint64_t)s->body_sock, to, O_CLOEXEC);
	if (!rc)
		rc = remote_do(&s->r, e, "make room for descriptors", SYS_close, (uint64_t)s->body_sock);
	if (!rc)
		rc = remote_run(&s->r, e);
	s->body_sock = (int)to;
	return rc;
}

static int begin_clear(void *ctx, struct err *e)
{
	struct restore *s = ctx;
	int rc = tracee_set_sigmask(s->pid, ~0ULL);

	if (rc)
		return err_set(e, rc, "block signals");
	rc = restore_open_all(s, e);
	if (!rc)
		rc = restore_clear(s, e);
	return rc ? rc : make_room(s, e);
}

static int begin_map(void *ctx, struct err *e)
{
	return restore_map(ctx, e);
}

static int finish_memory(void *ctx, struct err *e)
{
	int rc = restore_segments(ctx, e);

	if (!rc)
		rc = restore_vdso(ctx, e);
	return rc ? rc : restore_memory(ctx, e);
}

static int finish_descriptors(void *ctx, struct err *e)
{
	return restore_descriptors(ctx, e);
}

static int finish_process(void *ctx, struct err *e)
{
	return restore_process(ctx, e);
}

static int finish_threads(void *ctx, struct err *e)
{
	return restore_threads(ctx, e);
}

/* The last: what is done to the program from here on is done from the page that the filter lets pass */
static int finish_filter(void *ctx, struct err *e)
{
	struct restore *s = ctx;

	int rc = s->supervised ? restore_filter(s, e) : 0;

	return rc ? rc : restore_stub(s, e);
}

static const struct stage begin_stages[] = {
	{ "clearing the address space", begin_clear, NULL, false },
	{ "mapping the program's areas", begin_map, NULL, false },
};

static const struct stage finish_stages[] = {
	{ "restoring the address space", finish_memory, NULL, false },
	{ "restoring descriptors", finish_descriptors, NULL, false },
	{ "restoring signals and attributes", finish_process, NULL, false },
	{ "restoring threads", finish_threads, NULL, false },
	{ "installing the filter", finish_filter, NULL, false },
};

int restore_begin(struct restore *s, struct err *e)
{
	return stage_run(begin_stages, ARRAY_SIZE(begin_stages), s, NULL, e);
}

int restore_finish(struct restore *s, struct err *e)
{
	return stage_run(finish_stages, ARRAY_SIZE(finish_stages), s, NULL, e);
}

static void close_list(int **list, size_t n)
{
	for (size_t i = 0; *list && i < n; i++)
		if ((*list)[i] >= 0)
			close((*list)[i]);
	free(*list);
	*list = NULL;
}

static void release(struct restore *s)
{
	close_list(&s->files, s->img->n_files);
	close_list(&s->objects, s->img->n_objects);
	close_list(&s->opens, s->img->n_opens);
	drop_fd(&s->sock);
	remote_close(&s->r);
}

/*
 * restore_go() - Let the program run
 *
 * The leader stands in a system call stop after the scratch area went.  It is taken to an
 * interrupt stop with its own registers: there the kernel looks whether a call has to be
 * restarted.  The other threads stand at a trap, where it looks too.
 */
int restore_go(struct restore *s, struct err *e)
{
	int status, rc = remote_call(&s->r, NULL, e, "close the way in", SYS_close, (uint64_t)s->body_sock);

	if (!rc)
		rc = restore_locks(s, e);
	if (!rc)
		rc = restore_pending(s, e);

	if (!rc)
		rc = restore_timers(s, e);
	if (!rc)
		rc = restore_timerfds(s, e);
	if (!rc)
		rc = restore_let_go(s, e);
	if (!rc)
		rc = restore_registers(s, e);
	if (rc)
		return rc;
	if (ptrace(PTRACE_INTERRUPT, s->pid, 0, 0) || ptrace(PTRACE_CONT, s->pid, 0, 0))
		return err_set(e, -errno, "resume process %d", (int)s->pid);
	do
		rc = tracee_wait(s->pid, &status, deadline_in_ms(5000));
	while (!rc && !tracee_event(status) && !ptrace(PTRACE_CONT, s->pid, 0, (void *)(intptr_t)WSTOPSIG(status)));
	if (!rc)
		rc = restore_registers(s, e);
	for (size_t i = s->img->n_threads; i-- > 0 && !rc;)
		if (ptrace(PTRACE_DETACH, (pid_t)s->img->threads[i].tid, 0, 0))
			rc = err_set(e, -errno, "let thread %d go", (int)s->img->threads[i].tid);
	release(s);
	return rc;
}

void restore_drop(struct restore *s)
{
	release(s);
	if (s->pid > 0 && !s->home)
		body_kill(s->pid);
}

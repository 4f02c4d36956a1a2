/* SPDX-License-Identifier: MIT */
/*
 * freeze.c - A running program is stopped and becomes an image
 */
#include "proxy/origin/freeze.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/origin/dump.h"

#define FREEZE_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACECLONE)
#define VDSO_TRIES 200

/*
 * A thread inside the vdso would come back to code that may be another there.  It is let run for a
 * moment: the functions are short.  (Single steps would be quicker, and deadly if we died.)
 */
static int leave_vdso(struct freeze *f, struct err *e)
{
	for (size_t i = 0; i < f->t.n_threads; i++) {
		struct tracee_thread *th = &f->t.threads[i];

		for (int tries = 0; th->regs.rip >= f->img->vdso_base && th->regs.rip < f->img->vdso_end; tries++) {
			int rc = 0;

			if (tries == VDSO_TRIES)
				return err_say(e, -EBUSY, "thread %d doesn't leave the vdso", (int)th->tid);
			if (ptrace(PTRACE_CONT, th->tid, 0, 0))
				rc = -errno;
			if (!rc)
				rc = tracee_interrupt(th->tid, deadline_in_ms(FREEZE_DEADLINE_MS), e);
			if (!rc)
				rc = tracee_get_regs(th->tid, &th->regs);
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int keep_vdso(struct freeze *f, struct err *e)
{
	size_t len = f->img->vdso_end - f->img->vdso_base;
	AUTO_FREE uint8_t *buf = NULL;
	int rc;

	if (!f->img->vdso_base)
		return 0;
	buf = malloc(len);
	rc = buf ? tracee_read(&f->t, f->img->vdso_base, buf, len) : -ENOMEM;
	if (!rc)
		rc = image_set_bytes(&f->img->vdso, buf, len);
	return rc ? err_set(e, rc, "read the vdso") : 0;
}

int freeze_threads(struct freeze *f, const struct look *look, struct err *e)
{
	int rc;

	memset(f, 0, sizeof(*f));
	f->t.mem = -1;
	f->t.idle = look->idle;
	f->t.idle_ctx = look->ctx;
	f->look = *look;
	f->img = calloc(1, sizeof(*f->img));
	if (!f->img)
		return err_set(e, -ENOMEM, "freeze the program");
	f->look.img = f->img;
	f->look.why = &f->why;
	rc = tracee_seize(&f->t, look->pid, FREEZE_OPTIONS, e);
	if (rc)
		return rc;
	f->seized = true;
	restart_take_notes(&f->notes, look->pid);
	rc = tracee_freeze(&f->t, deadline_in_ms(FREEZE_DEADLINE_MS), e);
	f->seized = !rc;
	return rc;
}

int freeze_look(struct freeze *f, const pid_t *tree, size_t n, struct err *e)
{
	f->look.why = &f->why;		/* we may have been copied since */
	f->look.tree = tree;
	f->look.n_tree = n;
	return look_at(&f->look, e);
}

int freeze_end(struct freeze *f, struct err *e)
{
	int rc = reasons_to_err(&f->why, e);

	if (!rc)
		rc = leave_vdso(f, e);
	return rc ? rc : keep_vdso(f, e);
}

int freeze_stop(struct freeze *f, const struct look *look, struct err *e)
{
	int rc = freeze_threads(f, look, e);

	if (!rc)
		rc = freeze_look(f, NULL, 0, e);
	if (!rc)
		rc = look_settle(&f->look, 1, e);
	return rc ? rc : freeze_end(f, e);
}

int freeze_dump(struct freeze *f, struct err *e)
{
	int rc = inject_open(&f->inject, &f->t, deadline_in_ms(FREEZE_DEADLINE_MS), e);

	if (rc)
		return rc;
	f->injected = true;
	return dump_state(&f->inject, f->img, &f->notes, e);
}

void freeze_thaw(struct freeze *f)
{
	if (f->injected) {
		dump_detach(&f->inject, f->img);
		inject_close(&f->inject);
	}
	f->injected = false;
	/* a spurious EINTR was mended in the notes of the registers: it counts for the original too */
	for (size_t i = 0; i < f->t.n_threads && f->seized; i++)
		if (f->t.threads[i].stopped && tracee_set_regs(f->t.threads[i].tid, &f->t.threads[i].regs))
			continue;	/* it was killed meanwhile */
	if (f->seized)
		tracee_release(&f->t);
	f->seized = false;
	restart_drop_notes(&f->notes);
	reasons_free(&f->why);
	image_free(f->img);
	f->img = NULL;
}

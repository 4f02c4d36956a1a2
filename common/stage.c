/* SPDX-License-Identifier: MIT */
/*
 * stage.c - A piece of work as a list of steps, each with its way back
 */
#include "common/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Creates @path and waits, at most 30 s, until somebody has removed it */
static void wait_until_removed(const char *path)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

	if (fd >= 0)
		close(fd);
	for (int i = 0; i < 3000 && !access(path, F_OK); i++)
		usleep(10000);
}

/**
 * stage_fault() - Fail, die or wait here if MMIGRATE_FAULT says so of @name
 *
 * Return: 0, or -EIO when this point was made to fail
 */
int stage_fault(const char *name, struct err *e)
{
	const char *at = getenv("MMIGRATE_FAULT");
	size_t len = strlen(name);

	for (; at && *at; at = strchr(at, ';') ? strchr(at, ';') + 1 : NULL) {
		const char *what = at + len + 1;

		if (strncmp(at, name, len) || at[len] != '=')
			continue;
		if (!strncmp(what, "fail", 4))
			return err_say(e, -EIO, "made to fail by MMIGRATE_FAULT");
		if (!strncmp(what, "kill", 4)) {
			kill(getpid(), SIGKILL);
			_exit(128 + SIGKILL);	/* pid 1 of a namespace can't kill itself, but it can end */
		}
		if (!strncmp(what, "wait:", 5)) {
			char path[256];

			snprintf(path, sizeof(path), "%.*s", (int)strcspn(what + 5, ";"), what + 5);
			wait_until_removed(path);
		}
	}
	return 0;
}

int stage_run(const struct stage *stages, size_t n, void *ctx, stage_progress_fn *progress, struct err *e)
{
	bool committed = false;
	size_t i;
	int rc = 0;

	for (i = 0; i < n; i++) {
		if (progress)
			progress(ctx, &stages[i]);
		rc = stage_fault(stages[i].name, e);
		if (!rc)
			rc = stages[i].run(ctx, e);
		if (rc < 0) {
			err_wrap(e, rc, "%s", stages[i].name);
			break;
		}
		committed |= stages[i].final;
	}
	if (rc >= 0)
		return 0;
	for (size_t j = i + 1; !committed && j-- > 0;)
		if (stages[j].undo)
			stages[j].undo(ctx);
	return rc;
}

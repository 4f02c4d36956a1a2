/* SPDX-License-Identifier: MIT */
/*
 * records.c - sessions/SID.json: which programs of this machine are elsewhere
 */
#include "proxy/daemon/records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/scope.h"
#include "proxy/daemon/session.h"
#include "proxy/json/json.h"

#define RECORD_MAX 65536	/* bytes of a file */
#define RECORD_END ".json"

bool records_is_sid(const char *text)
{
	return strlen(text) == SID_LEN && strspn(text, "0123456789abcdef") == SID_LEN;
}

static bool spell_path(const char *state_dir, const char *sid, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/sessions/%s" RECORD_END, state_dir, sid) < PATH_MAX;
}

bool records_has(const char *state_dir, const char *sid)
{
	char path[PATH_MAX];

	return sid[0] && spell_path(state_dir, sid, path) && !access(path, F_OK);
}

/* Return: bytes of text, or a negative errno */
static ssize_t read_text(const char *path, char *text, size_t size, uid_t *owner, struct err *e)
{
	AUTO_FD int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "open");
	if (!S_ISREG(st.st_mode))
		return err_say(e, -EINVAL, "it is not a file");
	*owner = st.st_uid;
	n = read(fd, text, size);
	return n < 0 ? err_set(e, -errno, "read") : n;
}

static int parse(const char *path, struct record *out, struct err *e)
{
	AUTO_FREE char *text = malloc(RECORD_MAX);
	AUTO_JSON json *j = NULL;
	int64_t pid, uid;
	uid_t owner = 0;
	ssize_t n = text ? read_text(path, text, RECORD_MAX, &owner, e) : -ENOMEM;
	int r = n < 0 ? (int)n : json_parse(text, (size_t)n, &j, e);

	if (!r)
		r = json_get_int(j, "pid", 1, INT32_MAX, &pid, e);
	if (!r)
		r = json_get_int(j, "uid", 0, UINT32_MAX, &uid, e);
	if (!r && owner != geteuid() && owner != (uid_t)uid)
		r = err_say(e, -EPERM, "uid %u wrote it, about a program of uid %u", owner,
			    (uid_t)uid);
	if (!r)
		*out = (struct record){ (pid_t)pid, (uid_t)uid };
	return r;
}

int records_read(const char *state_dir, const char *sid, struct record *out)
{
	char path[PATH_MAX];
	struct err e = { 0 };
	int r;

	if (!spell_path(state_dir, sid, path))
		return -ENAMETOOLONG;
	r = parse(path, out, &e);
	if (r)
		log_line(LOG_LEVEL_WARN, "E_SESSION_FILE", "%s: %s", path, e.text);
	return r;
}

void records_each(const char *state_dir, records_fn *each, void *ctx)
{
	char path[PATH_MAX], sid[SID_LEN + 1];
	AUTO_DIR DIR *d = NULL;
	struct dirent *ent;

	if (snprintf(path, sizeof(path), "%s/sessions", state_dir) < PATH_MAX)
		d = opendir(path);
	while (d && (ent = readdir(d))) {
		if (strlen(ent->d_name) != SID_LEN + strlen(RECORD_END) ||
		    strcmp(ent->d_name + SID_LEN, RECORD_END))
			continue;
		memcpy(sid, ent->d_name, SID_LEN);
		sid[SID_LEN] = 0;
		if (records_is_sid(sid))
			each(ctx, sid);
	}
}

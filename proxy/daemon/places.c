/* SPDX-License-Identifier: MIT */
/*
 * places.c - Where mproxy keeps and finds things, when nobody says
 *
 * A candidate is a fixed path, or one below a directory that an environment variable names (which
 * must be absolute, as the XDG specification wants) or below the executable's own directory.
 */
#include "proxy/daemon/places.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/attr.h"
#include "proxy/daemon/peers.h"

#define EXE "EXE"		/* instead of a variable: the executable's directory */

struct candidate {
	const char *below;	/* environment variable, or EXE, or NULL */
	const char *path;	/* added to it */
	const char *needs;	/* this must exist in it; NULL: nothing must */
};

static const struct candidate root_state[] = { { NULL, "/var/lib/mproxy", NULL } };
static const struct candidate user_state[] = {
	{ "XDG_STATE_HOME", "/mproxy", NULL },
	{ "HOME", "/.local/state/mproxy", NULL },
};
static const struct candidate root_control[] = { { NULL, PLACES_ROOT_CONTROL, NULL } };
static const struct candidate user_control[] = { { "XDG_RUNTIME_DIR", "/mproxy.sock", NULL } };
static const struct candidate policies[] = {
	{ NULL, PREFIX "/share/mproxy/policy.json", "" },
	{ EXE, "/../conf/policy.json", "" },
};
static const struct candidate libexecs[] = {
	{ NULL, PREFIX "/libexec/mproxy", "/mdeputy" },
	{ EXE, "", NULL },
};

/* The directory of /proc/self/exe.  Return: 0 or a negative errno */
static int exe_dir(char *buf, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", buf, size);

	if (n < 0)
		return -errno;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = 0;
	*strrchr(buf, '/') = 0;
	return 0;
}

/* Writes @c's path to @buf.  Return: 0, -ENOENT this candidate isn't there, -ENAMETOOLONG */
static int spell(const struct candidate *c, char *buf, size_t size)
{
	char exe[PATH_MAX] = "", needed[PATH_MAX];
	const char *dir = "";

	if (c->below && !strcmp(c->below, EXE)) {
		if (exe_dir(exe, sizeof(exe)))
			return -ENOENT;
		dir = exe;
	} else if (c->below) {
		dir = getenv(c->below);
		if (!dir || dir[0] != '/')
			return -ENOENT;
	}
	if ((size_t)snprintf(buf, size, "%s%s", dir, c->path) >= size)
		return -ENAMETOOLONG;
	if (!c->needs)
		return 0;
	if ((size_t)snprintf(needed, sizeof(needed), "%s%s", buf, c->needs) >= sizeof(needed))
		return -ENAMETOOLONG;
	return access(needed, F_OK) ? -ENOENT : 0;
}

/* The first of @n candidates that is there */
static int first(const struct candidate *c, size_t n, char *buf, size_t size)
{
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < n; i++)
		r = spell(&c[i], buf, size);
	return r;
}

int places_state(bool root, char *buf, size_t size, struct err *e)
{
	int r = root ? first(root_state, ARRAY_SIZE(root_state), buf, size)
		     : first(user_state, ARRAY_SIZE(user_state), buf, size);

	return r ? err_say(e, r, "no place for the state directory: HOME isn't set; name one with "
				 "--state") : 0;
}

int places_control(bool root, const char *state_dir, char *buf, size_t size, struct err *e)
{
	char state[PATH_MAX];
	int r = root ? first(root_control, ARRAY_SIZE(root_control), buf, size)
		     : first(user_control, ARRAY_SIZE(user_control), buf, size);

	if (r != -ENOENT)
		return r;
	if (!state_dir) {
		r = places_state(root, state, sizeof(state), e);
		if (r)
			return r;
		state_dir = state;
	}
	if ((size_t)snprintf(buf, size, "%s/mproxy.sock", state_dir) >= size)
		return err_set(e, -ENAMETOOLONG, "the control socket in %s", state_dir);
	return 0;
}

int places_policy(char *buf, size_t size, struct err *e)
{
	int r = first(policies, ARRAY_SIZE(policies), buf, size);

	return r ? err_say(e, r, "there is no policy: neither %s nor one in the build tree; "
			   "name one with --policy", policies[0].path) : 0;
}

int places_libexec(char *buf, size_t size, struct err *e)
{
	int r = first(libexecs, ARRAY_SIZE(libexecs), buf, size);

	return r ? err_set(e, r, "find mdeputy and mrestore; name their directory with --libexec") :
		   0;
}

void places_host(char *buf, size_t size)
{
	memset(buf, 0, size);
	if (gethostname(buf, MIN(size, PEER_NAME) - 1) || !buf[0])
		snprintf(buf, size, "mproxy");
	for (char *c = buf; *c; c++) {
		char one[2] = { *c, 0 };

		if (!peer_name_ok(one))
			*c = '-';
	}
}

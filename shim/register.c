/* SPDX-License-Identifier: MIT */
/*
 * register.c - Tells the local mproxy, if there is one, that this program may be moved
 *
 * A stranger's sandbox may kill for a system call that it doesn't know.  So the first one is
 * access(2), which the loader has just made itself, and where there is no mproxy's socket it is the
 * last.  Then prctl says whether there is a filter; if so, nothing more is tried.
 *
 *	no mproxy		access, access
 *	the user's own mproxy	access, prctl, socket, connect, sendto, prctl, close
 *	root's			access, access, prctl, socket, connect, sendto, close
 *
 * The user's own is preferred, as mmigrate does.  Only it needs PR_SET_PTRACER (Yama's default
 * allows parents only): root's has CAP_SYS_PTRACE, and there the program keeps Yama's protection.
 * Who serves behind a name in MSHIM_CONTROL isn't known, so it is taken for a user's.
 */
#include "shim/register.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/wire.h"
#include "shim/raw.h"

#define CONTROL_VARIABLE "MSHIM_CONTROL"
#define ROOT_CONTROL "/run/mproxy.sock"
#define USER_DIR_VARIABLE "XDG_RUNTIME_DIR"
#define USER_CONTROL "/mproxy.sock"

static const char version[] = MSHIM_VERSION;

/* @sa is the socket DIR NAME.  Return: there is one that this process may connect to */
static bool look_for(struct sockaddr_un *sa, const char *dir, const char *name)
{
	size_t dir_len = strlen(dir), name_len = strlen(name);

	if (!dir_len || dir_len + name_len >= sizeof(sa->sun_path))
		return false;
	memcpy(sa->sun_path, dir, dir_len);
	memcpy(sa->sun_path + dir_len, name, name_len + 1);
	return !RAW(access, sa->sun_path, W_OK);
}

/* The local mproxy: the one that is named, else the user's, else root's.  Return: there is one */
static bool find_mproxy(struct sockaddr_un *sa, bool *roots)
{
	const char *named = secure_getenv(CONTROL_VARIABLE);
	const char *user_dir;

	*roots = false;
	if (named)
		return look_for(sa, named, "");
	user_dir = secure_getenv(USER_DIR_VARIABLE);
	if (user_dir && user_dir[0] == '/' && look_for(sa, user_dir, USER_CONTROL))
		return true;
	*roots = true;
	return look_for(sa, ROOT_CONTROL, "");
}

/*
 * The REGISTER message, as wire_pack() and wire_put_register() would write it (tests/check_shim.sh
 * decodes it).  The pid is 0, "ask the socket": SO_PEERCRED is what counts.  Return: its length
 */
static size_t encode(void *buf, size_t size)
{
	uint32_t text = sizeof(version);	/* with its NUL */
	struct bytes b = bytes_of(buf, size);

	bytes_put_le(&b, WIRE_REGISTER, 2);
	bytes_put_le(&b, WIRE_NEWEST, 2);
	bytes_put_le(&b, 4 + 4 + text, 4);
	bytes_put_le(&b, 0, 8);
	bytes_put_le(&b, 0, 4);
	bytes_put_le(&b, text, 4);
	bytes_put(&b, version, text);
	return (size_t)(b.at - (uint8_t *)buf);
}

enum registered register_program(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	uint8_t buf[WIRE_HEAD + 8 + sizeof(version)];
	long fd, n = -1;
	bool roots;

	if (!find_mproxy(&sa, &roots))
		return REGISTER_NOBODY;
	if (RAW(prctl, PR_GET_SECCOMP))
		return REGISTER_FILTER;
	fd = RAW(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return REGISTERED;	/* as far as it goes */
	if (!RAW(connect, fd, &sa, sizeof(sa)))
		n = RAW(sendto, fd, buf, encode(buf, sizeof(buf)), MSG_NOSIGNAL);
	if (n > 0 && !roots)
		RAW(prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	RAW(close, fd);
	return REGISTERED;
}

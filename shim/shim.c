/* SPDX-License-Identifier: MIT */
/*
 * shim.c - libmshim.so, preloaded into the program that may be moved: registers it
 *
 * Once, before main(): tells the local mproxy that this program may be moved, and, where one is
 * there, allows others of the same user to ptrace it (Yama's default allows parents only), so that
 * mproxy can.  Then it stands aside for good.
 *
 * It runs in a stranger's process, before the program's own constructors: no malloc, no stdio, no
 * lock, nothing that waits, errno as it was, and whatever fails is passed over in silence.  In a
 * process with a seccomp filter it does nothing, since a system call that the filter doesn't know
 * may mean the end; mproxy would refuse to move such a process anyway.
 *
 * System calls: prctl, socket, connect, getpid, sendto, prctl, close; without an mproxy four.
 * What may be imported is listed in tests/check_shim.sh, what is exported in preload.map.
 */
#include "shim/shim.h"

#include <errno.h>
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

#define CONTROL_VARIABLE "MSHIM_CONTROL"
#define ROOT_CONTROL "/run/mproxy.sock"
#define USER_DIR_VARIABLE "XDG_RUNTIME_DIR"
#define USER_CONTROL "/mproxy.sock"

const char mshim_version[] = MSHIM_VERSION;

/* Connects @fd to the socket DIR NAME.  Return: success */
static bool connect_to(int fd, const char *dir, const char *name)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t dir_len = strlen(dir), name_len = strlen(name);

	if (dir_len + name_len >= sizeof(sa.sun_path))
		return false;
	memcpy(sa.sun_path, dir, dir_len);
	memcpy(sa.sun_path + dir_len, name, name_len);
	return !connect(fd, (struct sockaddr *)&sa, sizeof(sa));
}

/* To the local mproxy: the one that is named, else root's, else the user's.  Return: success */
static bool connect_home(int fd)
{
	const char *named = secure_getenv(CONTROL_VARIABLE);
	const char *user_dir;

	if (named)
		return connect_to(fd, named, "");
	if (connect_to(fd, ROOT_CONTROL, ""))
		return true;
	user_dir = secure_getenv(USER_DIR_VARIABLE);
	return user_dir && connect_to(fd, user_dir, USER_CONTROL);
}

/*
 * The REGISTER message, as wire_pack() and wire_put_register() would write it (tests/check_shim.sh
 * decodes it).  Return: its length
 */
static size_t encode(void *buf, size_t size)
{
	uint32_t text = sizeof(mshim_version);	/* with its NUL */
	struct bytes b = bytes_of(buf, size);

	bytes_put_le(&b, WIRE_REGISTER, 2);
	bytes_put_le(&b, WIRE_NEWEST, 2);
	bytes_put_le(&b, 4 + 4 + text, 4);
	bytes_put_le(&b, 0, 8);
	bytes_put_le(&b, (uint64_t)getpid(), 4);
	bytes_put_le(&b, text, 4);
	bytes_put(&b, mshim_version, text);
	return (size_t)(b.at - (uint8_t *)buf);
}

static void do_register(void)
{
	uint8_t buf[WIRE_HEAD + 8 + sizeof(mshim_version)];
	ssize_t n = -1;
	int fd;

	if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0))
		return;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect_home(fd))
		n = send(fd, buf, encode(buf, sizeof(buf)), MSG_NOSIGNAL);
	if (n > 0)
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	close(fd);
}

__attribute__((constructor)) static void begin(void)
{
	int saved = errno;

	do_register();
	errno = saved;
}

/* SPDX-License-Identifier: MIT */
/*
 * libearly.c - A library whose constructor makes the calls that libmshim.so exports
 *
 * Preloaded in front of libmshim.so, or behind: then its constructor runs before ours.  What it found is
 * said by its destructor, which runs after everything.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[400];

static int in_vfork(void)
{
	int status = -1;
	pid_t pid = vfork();

	if (!pid)
		_exit(kill(getpid(), 0) ? 1 : 3);
	waitpid(pid, &status, 0);
	return status;
}

__attribute__((constructor)) static void early(void)
{
	int value = 0, r[4], e[4];

	errno = 0, r[0] = kill(getpid(), 0), e[0] = errno;
	errno = 0, r[1] = kill(0x7ffffff0, 0), e[1] = errno;
	errno = 0, r[2] = ioctl(-1, FIONREAD, &value), e[2] = errno;
	errno = 0, r[3] = ioctl(-1, FIOCLEX), e[3] = errno;
	snprintf(text, sizeof(text), "early: %d %d, %d %d, %d %d, %d %d, vfork 0x%x\n",
		 r[0], e[0], r[1], e[1], r[2], e[2], r[3], e[3], in_vfork());
}

__attribute__((destructor)) static void late(void)
{
	int value;

	if (kill(getpid(), 0) || ioctl(-1, FIONREAD, &value) != -1)
		strcat(text, "late: wrong\n");
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

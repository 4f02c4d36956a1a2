/* SPDX-License-Identifier: MIT */
/*
 * libseen.c - A library that interposes what libmshim.so exports, as libv4l or padsp do
 *
 * It counts the calls and hands them on with dlsym(RTLD_NEXT); kill of pid 0x7ffffff0 it answers itself.
 * In the end it says how many there were: as many as without libmshim.so, wherever that stands.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static unsigned ioctls, kills, answered;

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (!next)
		next = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
	ioctls++;
	return next(fd, request, arg);
}

int kill(pid_t pid, int sig)
{
	static int (*next)(pid_t, int);

	if (!next)
		next = (int (*)(pid_t, int))dlsym(RTLD_NEXT, "kill");
	kills++;
	if (pid != 0x7ffffff0)
		return next(pid, sig);
	answered++;
	return 42;
}

__attribute__((destructor)) static void say(void)
{
	char text[100];
	int n = snprintf(text, sizeof(text), "seen: %u ioctls, %u kills, %u answered\n", ioctls, kills, answered);

	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		_exit(1);
}

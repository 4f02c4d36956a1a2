/* SPDX-License-Identifier: MIT */
/*
 * shim.c - libmshim.so, preloaded into the program that may be moved
 *
 * Before main() it registers its program with the local mproxy (register.c), and looks whether
 * other preloaded libraries want to see what it exports (chain.c).  Then it stands aside: until the
 * program is moved, its exported calls test one word and are made (calls.c).
 *
 * It runs in a stranger's process, before the program's own constructors and in its signal handlers:
 * no malloc, no stdio, nothing that waits, errno as it was, and whatever fails is passed over in
 * silence.  What may be imported is listed in tests/check_shim.sh, what is exported in preload.map.
 *
 * An exec in a moved program starts with the filter, but without the stub.  In a stranger's sandbox,
 * which also is "a process with a filter", nothing may be called that the loader hasn't just called
 * itself.  access() looks for the marker that only a target makes; where it is, /proc/self/status
 * says how many filters there are: with one, it is ours, since ours was there first; with more,
 * somebody made a sandbox in the moved program, and it is left alone as any other is.  Not having
 * a stub is slower, never wrong.
 */
#include "shim/shim.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/chain.h"
#include "shim/raw.h"
#include "shim/register.h"

#define STATUS_MAX 8192		/* bytes; the lists of groups and CPUs are all that can be long */

const char mshim_version[] = MSHIM_VERSION;

/* On a page that nothing else is on: it stays the file's until somebody writes here */
__attribute__((section(".mshim_state"), aligned(4096))) struct mshim_state mshim_state = {
	.magic = MSHIM_STATE_MAGIC,
	.version = MSHIM_STATE_VERSION,
};
extern __attribute__((alias("mshim_state"), visibility("hidden"))) struct mshim_state shim_state;

/* Does one of @text's lines, but not its first, begin with @line? */
static bool has_line(const char *text, size_t len, const char *line)
{
	size_t n = strlen(line);

	for (size_t i = 0; i + 1 + n <= len; i++)
		if (text[i] == '\n' && !memcmp(text + i + 1, line, n))
			return true;
	return false;
}

/* Has this process one seccomp filter, no more?  False, too, when that can't be said */
static bool one_filter(void)
{
	char text[STATUS_MAX] = "";
	long fd = RAW(openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC);
	long n;

	if (fd < 0)
		return false;
	n = RAW(read, fd, text, sizeof(text));
	RAW(close, fd);
	return n > 0 && has_line(text, (size_t)n, "Seccomp:\t2\n") && has_line(text, (size_t)n, "Seccomp_filters:\t1\n");
}

/* Return: the stub is there now.  Never writable and executable at a time */
static bool map_stub(void)
{
	void *page = (void *)CALL_STUB;
	long at = RAW(mmap, page, CALL_STUB_LEN, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at == (long)CALL_STUB) {
		stub_write(page);
		if (!RAW(mprotect, page, CALL_STUB_LEN, PROT_READ | PROT_EXEC))
			return true;
	}
	if (at > 0)		/* a kernel older than 4.17 takes the address for a hint */
		RAW(munmap, at, CALL_STUB_LEN);
	return false;
}

__attribute__((constructor)) static void begin(void)
{
	if (chain_begin())
		shim_state.chained = 1;
	if (register_program() == REGISTERED)
		return;
	if (!RAW(access, STUB_MARKER, F_OK) && one_filter() && map_stub())
		shim_state.moved = 1;
}

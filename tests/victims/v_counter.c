/* SPDX-License-Identifier: MIT */
/*
 * v_counter.c - Counts into a file: was it ever in two places?
 *
 *	v_counter FILE [IDFILE]
 *
 * Empties FILE, then appends "ID COUNTER" every 5 ms, each line one synchronous O_APPEND write.
 * ID is what IDFILE (/etc/machine-id) contains at that moment, hence says on which host it ran.  At
 * the end it reads FILE: each number must be there exactly once, in order.  Two of it, or one
 * that was set back, would have written a number twice.
 */
#include <fcntl.h>

#include "victim.h"

/** host_id() - The first word of IDFILE */
static void host_id(const char *path, char *id, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	CHECK(fd >= 0, "open %s", path);
	n = read(fd, id, size - 1);
	CHECK(n > 0, "read %s", path);
	id[n] = '\0';
	id[strcspn(id, " \n")] = '\0';
	close(fd);
}

/** check_file() - Are exactly the lines 1 to @last there? */
static void check_file(const char *path, unsigned long last)
{
	FILE *f = fopen(path, "re");
	unsigned long next = 1, n;
	char id[128];

	CHECK(f, "open %s", path);
	while (fscanf(f, "%127s %lu", id, &n) == 2) {
		CHECK(n == next, "line %lu of %s says %lu", next, path, n);
		next++;
	}
	CHECK(feof(f) && next == last + 1, "%s has %lu lines instead of %lu", path, next - 1, last);
	fclose(f);
}

int main(int argc, char **argv)
{
	const char *id_file = argc > 2 ? argv[2] : "/etc/machine-id";
	unsigned long n = 0;
	char id[128], line[192];
	int fd;

	if (argc < 2) {
		fprintf(stderr, "usage: v_counter FILE [IDFILE]\n");
		return 2;
	}
	fd = open(argv[1], O_WRONLY | O_APPEND | O_SYNC | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0, "open %s", argv[1]);
	victim_ready();
	do {
		int len;

		host_id(id_file, id, sizeof(id));
		len = snprintf(line, sizeof(line), "%s %lu\n", id, ++n);
		CHECK(write(fd, line, (size_t)len) == len, "write to %s", argv[1]);
	} while (victim_goes_on(5));
	check_file(argv[1], n);
	return victim_ok();
}

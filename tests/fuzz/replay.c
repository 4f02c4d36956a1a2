/* SPDX-License-Identifier: MIT */
/*
 * replay.c - Give every file of some directories to a fuzz target
 *
 * Linked with one tests/fuzz/fuzz_*.c it makes an ordinary program, which needs no fuzzing
 * engine: what a fuzzer once found stays found.  Each file is given whole, and then each of
 * its beginnings (up to 4,096 of them): a decoder must not read past its input.
 *
 *	replay DIR_OR_FILE...		exit status 0, or the target's assertion ends it
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/scope.h"

#define CUTS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** give() - Run the target on a copy of exactly @len bytes, so that a step behind them is seen */
static void give(const uint8_t *data, size_t len)
{
	AUTO_FREE uint8_t *copy = malloc(len ? len : 1);

	if (!copy)
		return;
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
}

/** replay_file() - Return: 0 or a negative errno */
static int replay_file(const char *path)
{
	AUTO_FILE FILE *f = fopen(path, "re");
	AUTO_FREE uint8_t *data = NULL;
	struct stat st;

	if (!f || fstat(fileno(f), &st) < 0)
		return -errno;
	data = malloc((size_t)st.st_size + 1);
	if (!data || fread(data, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
		return -EIO;
	give(data, (size_t)st.st_size);
	for (size_t len = 0; len < (size_t)st.st_size && len < CUTS_MAX; len++)
		give(data, len);
	return 0;
}

/** replay() - A file, or all the files of a directory.  Return: how many, or a negative errno */
static int replay(const char *path)
{
	AUTO_DIR DIR *d = opendir(path);
	struct dirent *entry;
	int n = 0, r;

	if (!d) {
		r = errno == ENOTDIR ? replay_file(path) : -errno;
		return r ? r : 1;
	}
	while ((entry = readdir(d))) {
		char file[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		r = replay_file(file);
		if (r)
			return r;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = replay(argv[i]);

		if (n < 0) {
			fprintf(stderr, "%s: %s: %s\n", argv[0], argv[i], strerror(-n));
			return 1;
		}
		total += n;
	}
	printf("%d inputs\n", total);
	return 0;
}

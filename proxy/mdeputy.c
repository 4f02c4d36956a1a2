/* SPDX-License-Identifier: MIT */
/*
 * mdeputy.c - The small static program that stays at the origin: deputies, and the hub of them
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/suffer.h"
#include "proxy/deputy/deputy.h"

static const char help[] =
	"usage: mdeputy --probe | --help | --version\n"
	"The deputy of a moved process at its origin.  Started by mproxy only.\n";

static int answer(const char *option)
{
	static const struct {
		const char *name;
		const char *text;
	} options[] = {
		{ "--probe", "" },	/* that it could be executed is the answer */
		{ "--help", help },
		{ "--version", "mdeputy " MSHIM_VERSION "\n" },
	};

	for (size_t i = 0; option && i < ARRAY_SIZE(options); i++) {
		size_t len = strlen(options[i].text);

		if (!strcmp(option, options[i].name))
			return len && write(STDOUT_FILENO, options[i].text, len) != (ssize_t)len;
	}
	return 2;
}

int main(int argc, char **argv)
{
	const char *fds = getenv("MDEPUTY_FDS"), *hub = getenv("MDEPUTY_HUB"), *ends = getenv("MDEPUTY_ENDS");

	if (ends)
		suffer_end(atoi(ends));
	if (fds)
		deputy_run(fds);
	if (hub)
		hub_run(hub);
	return answer(argc > 1 ? argv[1] : NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * asker.h - The session and the mmigrate that asked for it: what goes to and fro before the answer
 *
 * Descriptors that come are the caller's; those that go stay the caller's.
 */
#ifndef PROXY_ORIGIN_ASKER_H
#define PROXY_ORIGIN_ASKER_H

#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* @len is what wire_put_…() returned */
int asker_tell(int client, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds,
	       struct err *e) MUST_CHECK;
/* Asks for the file's descriptor: that, or a negative errno */
int asker_file(int client, struct err *e) MUST_CHECK;
/* Tells that the file is whole, and waits until it has its name */
int asker_keep(int client, uint64_t pages, struct err *e) MUST_CHECK;

#endif

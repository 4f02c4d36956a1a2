/* SPDX-License-Identifier: MIT */
/*
 * mem_send.h - The memory of a frozen program goes over the link
 *
 * Only pages that are the program's own: anonymous ones, and those of private file mappings that
 * it has written to.  Pages of zeros don't travel.  Memory is read in large pieces straight into
 * the buffer that is sent.
 */
#ifndef PROXY_ORIGIN_MEM_SEND_H
#define PROXY_ORIGIN_MEM_SEND_H

#include <sys/types.h>

#include "proxy/image/image.h"
#include "proxy/link/link.h"

/* @pid: as this process's /proc knows it.  *@pages counts what was sent */
int mem_send(struct link *l, pid_t pid, const struct image *img, uint64_t *pages, int64_t deadline,
	     struct err *e) MUST_CHECK;

#endif

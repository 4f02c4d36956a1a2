/* SPDX-License-Identifier: MIT */
/*
 * pipes.h - Capacity and content of a frozen program's pipes
 *
 * The bytes of a pipe travel when both of its ends do, and those that a moved program wrote into
 * a twin and nobody has yet.  What lies in a pipe that the origin writes stays there: the deputy
 * has it.  Nothing is taken out: the program may still run on here.
 */
#ifndef PROXY_ORIGIN_PIPES_H
#define PROXY_ORIGIN_PIPES_H

#include <stdbool.h>
#include <sys/types.h>

#include "proxy/image/image.h"

int pipes_keep(pid_t pid, struct image *img, bool moved, struct err *e) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * inspect.h - What is in an image's file, for people and for programs
 */
#ifndef PROXY_DAEMON_INSPECT_H
#define PROXY_DAEMON_INSPECT_H

#include <stdbool.h>
#include <stdio.h>

#include "common/err.h"

/*
 * Reads all of it, so that a damaged one is said to be.  JSON: {"kind":"image","host",…,"image":{…}} in one
 * line.  Needs no mproxy; the file may be anybody's, and anything
 */
int inspect_file(const char *path, bool as_json, FILE *to, struct err *e) MUST_CHECK;

#endif

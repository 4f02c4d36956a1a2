/* SPDX-License-Identifier: MIT */
/*
 * filter.h - The seccomp filter of a moved program, made from calls.def.  libseccomp's door
 */
#ifndef PROXY_TARGET_FILTER_H
#define PROXY_TARGET_FILTER_H

#include <linux/filter.h>
#include <stddef.h>

#include "common/err.h"

/* malloc'ed instructions, at most BPF_MAXINSNS.  Return: how many, or a negative errno */
int filter_build(struct sock_filter **out, struct err *e) MUST_CHECK;

#endif

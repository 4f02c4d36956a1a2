/* SPDX-License-Identifier: MIT */
/*
 * register.h - Tells the local mproxy, if there is one, that this program may be moved
 *
 * Once, before main().  Waits for nobody, leaves nothing behind but what PR_SET_PTRACER allows.
 */
#ifndef SHIM_REGISTER_H
#define SHIM_REGISTER_H

enum registered {
	REGISTERED,
	REGISTER_NOBODY,	/* there is no mproxy */
	REGISTER_FILTER,	/* this process has a seccomp filter: left alone */
};

enum registered register_program(void);

#endif

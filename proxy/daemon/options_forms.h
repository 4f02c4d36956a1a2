/* SPDX-License-Identifier: MIT */
/*
 * options_forms.h - The option table for other programs: scdoc, and shells that complete
 *
 *	--help-as usage		scdoc, of a man page's SYNOPSIS
 *	--help-as commands	scdoc, of a section COMMANDS
 *	--help-as options	scdoc, of a section OPTIONS
 *	--help-as words		a line a row, its cells between '|':
 *					option|--control|-c|PATH|Where mproxy listens.
 *					command|why|PID [HOST]|What stands in the way.
 *
 * These are for the build and may change with it.
 */
#ifndef PROXY_DAEMON_OPTIONS_FORMS_H
#define PROXY_DAEMON_OPTIONS_FORMS_H

#include "proxy/daemon/options.h"

options_print_fn *options_form(const char *name);	/* NULL: there is none of that name */

#endif

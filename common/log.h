/* SPDX-License-Identifier: MIT */
/*
 * log.h - The daemon's log: one line an event, to standard error
 *
 * systemd or whoever started mproxy keeps it.  Every byte that came from elsewhere is
 * escaped, so that a hostile peer can't forge a line or drive a terminal.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/attr.h"

/* The level's number is syslog's, and is put in front as sd-daemon(3) wants when not a terminal. */
enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* @code: the event's stable code, such as "E_PEER_UNKNOWN", or NULL */
void log_line(enum log_level level, const char *code, const char *fmt, ...) PRINTF(3, 4);
void log_set_name(const char *name);	/* "mproxy", "session 4f1c…"; copied */
void log_set_level(enum log_level most);

#define log_err(...) log_line(LOG_LEVEL_ERR, NULL, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)

#endif

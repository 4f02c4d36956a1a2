/* SPDX-License-Identifier: MIT */
/*
 * clock.h - Nanoseconds and absolute deadlines (CLOCK_MONOTONIC)
 */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S 1000000000LL
#define NS_PER_MS 1000000LL
#define NO_DEADLINE INT64_MAX

static inline int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/** deadline_in_ms() - A moment @ms milliseconds from now; negative: never */
static inline int64_t deadline_in_ms(int64_t ms)
{
	return ms < 0 ? NO_DEADLINE : clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;
}

/** deadline_left_ms() - What poll() wants: milliseconds until @deadline, 0 if past, -1 for never */
static inline int deadline_left_ms(int64_t deadline)
{
	int64_t left;

	if (deadline == NO_DEADLINE)
		return -1;
	left = deadline - clock_ns(CLOCK_MONOTONIC);
	if (left <= 0)
		return 0;
	left = (left + NS_PER_MS - 1) / NS_PER_MS;
	return left > INT32_MAX ? INT32_MAX : (int)left;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * v_threads64.c - v_threads with 64 of them
 */
#define THREADS 64
#include "v_threads.c"

/* SPDX-License-Identifier: MIT */
/* libempty.c - A preloaded library with nothing in it: what preloading costs by itself */

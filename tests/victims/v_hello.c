/* SPDX-License-Identifier: MIT */
/*
 * v_hello.c - The least there is to move: says hello and a number ten times a second
 */
#include "victim.h"

int main(void)
{
	unsigned long n = 0;

	victim_ready();
	do
		say("hello %lu", ++n);
	while (victim_goes_on(100));
	return victim_ok();
}

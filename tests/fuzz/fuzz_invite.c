/* SPDX-License-Identifier: MIT */
/*
 * fuzz_invite.c - Any text as an invitation; what is one must come out as the same text again
 *
 * The text is tried as it is.  Its bytes are tried as an invitation's parts as well, since no
 * mutation gets past a token's check bytes.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/attr.h"
#include "common/scope.h"
#include "proxy/daemon/invite.h"
#include "proxy/link/sha256.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = malloc(size + 1);
	char again[INVITE_TOKEN];
	struct invite inv;
	struct err e;
	int r;

	if (!text)
		return;
	memcpy(text, data, size);
	text[size] = 0;
	r = invite_parse(text, &inv, &e);
	if (r) {
		assert(r == -EINVAL);
		return;
	}
	r = invite_format(&inv, again, sizeof(again));
	assert(!r && !strncmp(text, again, strlen(again)));
}

static void try_parts(const uint8_t *data, size_t size)
{
	struct invite inv = { 0 }, back;
	char token[INVITE_TOKEN];
	int r;

	if (size < INVITE_SECRET)
		return;
	memcpy(inv.secret, data, INVITE_SECRET);
	sha256_to_hex(data, inv.pin);
	memcpy(inv.addr, data + INVITE_SECRET, MIN(size - INVITE_SECRET, sizeof(inv.addr)));
	r = invite_format(&inv, token, sizeof(token));
	if (r) {
		assert(r == -EINVAL);
		return;
	}
	assert(!invite_parse(token, &back, NULL));
	assert(!strcmp(inv.addr, back.addr) && !strcmp(inv.pin, back.pin) &&
	       !memcmp(inv.secret, back.secret, INVITE_SECRET));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try_text(data, size);
	try_parts(data, size);
	return 0;
}

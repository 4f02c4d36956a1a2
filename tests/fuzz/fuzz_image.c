/* SPDX-License-Identifier: MIT */
/*
 * fuzz_image.c - Any bytes as an image, and as the target's answer to a survey
 *
 * An image that can be read survives its own text; so does an answer's list of reasons.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/scope.h"
#include "proxy/target/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void as_image(const char *text, size_t len)
{
	AUTO_FREE char *first = NULL, *second = NULL;
	AUTO_IMAGE struct image *img = NULL;
	AUTO_IMAGE struct image *again = NULL;
	struct err e = { 0 };
	int rc = image_from_json(text, len, &img, &e);

	assert(rc <= 0);
	if (rc) {
		assert(!img);
		return;
	}
	first = image_to_json(img);
	assert(first);
	assert(!image_from_json(first, strlen(first), &again, &e));
	second = image_to_json(again);
	assert(second && !strcmp(first, second));
}

static void as_answer(const char *text, size_t len)
{
	struct reasons why = { 0 }, again = { 0 };
	AUTO_FREE size_t *wants = NULL;
	AUTO_JSON json *list = NULL;
	struct err e = { 0 };
	char mode[8];
	size_t n;
	int rc = check_read_answer(text, len, &why, &wants, &n, mode, &e);

	assert(rc <= 0);
	if (rc) {
		assert(!wants && !n && !*mode && e.code == rc && *e.text);
	} else {
		assert(wants && (!strcmp(mode, "root") || !strcmp(mode, "user")));
		list = reasons_to_json(&why, NULL);
		assert(!reasons_from_json(&again, list, &e));
		assert(again.n == why.n && reasons_refusals(&again) == reasons_refusals(&why));
	}
	reasons_free(&why);
	reasons_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	as_image((const char *)data, size);
	as_answer((const char *)data, size);
	return 0;
}

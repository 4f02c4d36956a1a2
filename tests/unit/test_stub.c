/* SPDX-License-Identifier: MIT */
/*
 * test_stub.c - The target finds the state of libmshim.so in a program, and nothing in other bytes
 *
 * The program is this one: the library that was just built is loaded into it.
 */
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/attr.h"
#include "common/stub.h"

#define IMAGE_MAX 0x10000

static uint64_t peeks;

static int peek_self(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct iovec here = { buf, len }, there = { (void *)(uintptr_t)addr, len };

	(void)ctx;
	peeks++;
	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

/* BUILD/tests/test_stub -> BUILD/libmshim.so */
static void *load(uint64_t *base)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);
	struct link_map *map;
	void *lib;

	assert_true(n > 0);
	path[n] = 0;
	*strrchr(path, '/') = 0;
	strcpy(strrchr(path, '/'), "/libmshim.so");
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		fail_msg("%s", dlerror());
	assert_int_equal(dlinfo(lib, RTLD_DI_LINKMAP, &map), 0);
	*base = map->l_addr;
	return lib;
}

static void test_state_is_found(void **state)
{
	uint64_t base, addr = 0;
	void *lib = load(&base);
	const struct mshim_state *s;

	(void)state;
	assert_int_equal(stub_find_state(peek_self, NULL, base, &addr), 0);
	s = dlsym(lib, MSHIM_STATE);
	assert_ptr_equal((void *)(uintptr_t)addr, s);
	assert_int_equal(addr % 4096, 0);
	assert_int_equal(s->version, MSHIM_STATE_VERSION);
	assert_int_equal(s->moved, 0);
	assert_int_equal(s->special, 0);
	dlclose(lib);
}

/* libc.so is a library like any other: no such symbol.  Nor is there one in memory that isn't there */
static void test_others_have_none(void **state)
{
	struct link_map *map;
	uint64_t addr = 0;
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);

	(void)state;
	assert_non_null(libc);
	assert_int_equal(dlinfo(libc, RTLD_DI_LINKMAP, &map), 0);
	assert_int_equal(stub_find_state(peek_self, NULL, map->l_addr, &addr), -ENOENT);
	assert_int_equal(stub_find_state(peek_self, NULL, 0, &addr), -EFAULT);
	assert_int_equal(stub_find_state(peek_self, NULL, 0xfffffffffffff000ull, &addr), -EFAULT);
	assert_int_equal(addr, 0);
	dlclose(libc);
}

struct image {
	uint8_t bytes[IMAGE_MAX];
	uint64_t base;
};

/* From a copy, so that it can be spoiled */
static int peek_image(void *ctx, uint64_t addr, void *buf, size_t len)
{
	struct image *im = ctx;

	if (++peeks > 10000)
		fail_msg("it goes on for ever");
	if (addr < im->base || addr - im->base > IMAGE_MAX || len > IMAGE_MAX - (addr - im->base))
		return -EFAULT;
	memcpy(buf, im->bytes + (addr - im->base), len);
	return 0;
}

static void copy_image(struct image *im, uint64_t base)
{
	memset(im, 0, sizeof(*im));
	im->base = base;
	for (uint64_t at = 0; at < IMAGE_MAX; at += 4096)
		if (peek_self(NULL, base + at, im->bytes + at, 4096))
			break;
}

/* Any bytes give an answer: each of the headers', tables' and the state's in turn, and many at random */
static void test_any_bytes_give_an_answer(void **state)
{
	static struct image im, good;
	uint64_t base, addr, right = 0;
	void *lib = load(&base);
	size_t refused = 0;

	(void)state;
	copy_image(&good, base);
	assert_int_equal(stub_find_state(peek_image, &good, base, &right), 0);
	for (size_t at = 0; at < IMAGE_MAX; at++) {
		if (!good.bytes[at] && at % 16)
			continue;
		im = good;
		im.bytes[at] ^= 0xff;
		peeks = 0;
		addr = 0;
		if (!stub_find_state(peek_image, &im, base, &addr))
			assert_true(addr > base && addr < base + IMAGE_MAX);
		else
			refused++;
	}
	assert_true(refused > 50);
	srandom(1);
	for (int i = 0; i < 2000; i++) {
		im = good;
		for (int k = 0; k < 40; k++)
			im.bytes[random() % (k % 2 ? 0x1400 : 0x6000)] = (uint8_t)random();
		peeks = 0;
		if (!stub_find_state(peek_image, &im, base, &addr))
			assert_true(addr >= base && addr < base + IMAGE_MAX);
	}
	/* of another version */
	im = good;
	((struct mshim_state *)(im.bytes + (right - base)))->version++;
	assert_int_equal(stub_find_state(peek_image, &im, base, &addr), -ENOENT);
	dlclose(lib);
}

static void test_stub_calls(void **state)
{
	uint8_t *page = mmap(NULL, CALL_STUB_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t fn;
	long ret;

	(void)state;
	assert_ptr_not_equal(page, MAP_FAILED);
	stub_write(page);
	assert_memory_equal(page, "\x0f\x05\xc3\xcc", 4);
	assert_int_equal(page[CALL_STUB_LEN - 1], CALL_STUB_FILL);
	assert_int_equal(CALL_STUB_IP, 0x10002);
	assert_int_equal(mprotect(page, CALL_STUB_LEN, PROT_READ | PROT_EXEC), 0);
	fn = (uint64_t)(uintptr_t)page;
	__asm__ volatile("sub $128, %%rsp; call *%%rcx; add $128, %%rsp"
			 : "=a"(ret), "+c"(fn) : "a"(39L) : "r11", "memory", "cc");
	assert_int_equal(ret, getpid());
	munmap(page, CALL_STUB_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_is_found),
		cmocka_unit_test(test_others_have_none),
		cmocka_unit_test(test_any_bytes_give_an_answer),
		cmocka_unit_test(test_stub_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

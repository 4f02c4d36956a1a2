/* SPDX-License-Identifier: MIT */
/*
 * v_fpu.c - Floating point and vector registers hold their values while nobody looks
 *
 * Each spell loads the registers, spins for some milliseconds without touching memory, and
 * stores them: a program that is frozen is nearly always in that loop.  The widest registers
 * that the processor has are used, xmm, ymm or zmm with the mask registers; and the x87 stack.
 * MXCSR and the x87 control word have values that no program starts with.
 */
#include "victim.h"

#if defined(__x86_64__)
#include <cpuid.h>

#define SPINS UINT64_C(3000000)
#define MXCSR_OURS 0xffc0u	/* all exceptions masked, round to zero, flush and denormals are zero */
#define X87_OURS 0x0e7fu	/* round to zero, double precision */

static uint8_t in[32 * 64] __attribute__((aligned(64)));
static uint8_t out[32 * 64] __attribute__((aligned(64)));
static uint64_t masks_in[8], masks_out[8];

#define LOAD(op, reg, n, width) op " " #n "*" #width "(%[in]), %%" #reg #n "\n\t"
#define STORE(op, reg, n, width) op " %%" #reg #n ", " #n "*" #width "(%[out])\n\t"
#define EIGHT(what, op, reg, width, a, b, c, d, e, f, g, h)                                \
	what(op, reg, a, width) what(op, reg, b, width) what(op, reg, c, width)            \
	what(op, reg, d, width) what(op, reg, e, width) what(op, reg, f, width)            \
	what(op, reg, g, width) what(op, reg, h, width)
#define LOW(what, op, reg, width)                                                          \
	EIGHT(what, op, reg, width, 0, 1, 2, 3, 4, 5, 6, 7)                                \
	EIGHT(what, op, reg, width, 8, 9, 10, 11, 12, 13, 14, 15)
#define HIGH(what, op, reg, width)                                                         \
	EIGHT(what, op, reg, width, 16, 17, 18, 19, 20, 21, 22, 23)                        \
	EIGHT(what, op, reg, width, 24, 25, 26, 27, 28, 29, 30, 31)
#define SPIN "mov %[n], %%rcx\n1:\tdec %%rcx\n\tjnz 1b\n\t"
#define CLOBBERS_LOW "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
	"xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "rcx", "memory", "cc"

static size_t spell_sse(void)
{
	__asm__ volatile(LOW(LOAD, "movups", xmm, 16) SPIN LOW(STORE, "movups", xmm, 16)
			 : : [in] "r"(in), [out] "r"(out), [n] "r"(SPINS) : CLOBBERS_LOW);
	return (size_t)16 * 16;
}

static size_t spell_avx(void)
{
	__asm__ volatile(LOW(LOAD, "vmovups", ymm, 32) SPIN LOW(STORE, "vmovups", ymm, 32) "vzeroupper\n\t"
			 : : [in] "r"(in), [out] "r"(out), [n] "r"(SPINS) : CLOBBERS_LOW);
	return (size_t)16 * 32;
}

/* The compiler, which doesn't know of zmm16 and up or k, doesn't use them either: not told to */
static size_t spell_avx512(void)
{
	__asm__ volatile("kmovw 0(%[kin]), %%k0\n\tkmovw 8(%[kin]), %%k1\n\tkmovw 16(%[kin]), %%k2\n\t"
			 "kmovw 24(%[kin]), %%k3\n\tkmovw 32(%[kin]), %%k4\n\tkmovw 40(%[kin]), %%k5\n\t"
			 "kmovw 48(%[kin]), %%k6\n\tkmovw 56(%[kin]), %%k7\n\t"
			 LOW(LOAD, "vmovups", zmm, 64) HIGH(LOAD, "vmovups", zmm, 64) SPIN
			 LOW(STORE, "vmovups", zmm, 64) HIGH(STORE, "vmovups", zmm, 64)
			 "kmovw %%k0, 0(%[kout])\n\tkmovw %%k1, 8(%[kout])\n\tkmovw %%k2, 16(%[kout])\n\t"
			 "kmovw %%k3, 24(%[kout])\n\tkmovw %%k4, 32(%[kout])\n\tkmovw %%k5, 40(%[kout])\n\t"
			 "kmovw %%k6, 48(%[kout])\n\tkmovw %%k7, 56(%[kout])\n\tvzeroupper\n\t"
			 : : [in] "r"(in), [out] "r"(out), [kin] "r"(masks_in), [kout] "r"(masks_out),
			     [n] "r"(SPINS) : CLOBBERS_LOW);
	CHECK(!memcmp(masks_in, masks_out, sizeof(masks_in)), "the mask registers");
	return (size_t)32 * 64;
}

/** spell_x87() - Eight values wait on the x87 stack */
static void spell_x87(void)
{
	double from[8], to[8];

	for (int i = 0; i < 8; i++)
		from[i] = 1.5 * (i + 1);
	__asm__ volatile("fldl 0(%[in])\n\tfldl 8(%[in])\n\tfldl 16(%[in])\n\tfldl 24(%[in])\n\t"
			 "fldl 32(%[in])\n\tfldl 40(%[in])\n\tfldl 48(%[in])\n\tfldl 56(%[in])\n\t" SPIN
			 "fstpl 56(%[out])\n\tfstpl 48(%[out])\n\tfstpl 40(%[out])\n\tfstpl 32(%[out])\n\t"
			 "fstpl 24(%[out])\n\tfstpl 16(%[out])\n\tfstpl 8(%[out])\n\tfstpl 0(%[out])\n\t"
			 : : [in] "r"(from), [out] "r"(to), [n] "r"(SPINS) : "rcx", "memory", "cc");
	CHECK(!memcmp(from, to, sizeof(from)), "the x87 stack");
}

/** has_avx512() - Does the processor have it, and has the kernel switched it on? */
static bool has_avx512(void)
{
	unsigned a, b = 0, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 0xe6) == 0xe6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX512F);
}

static bool has_avx(void)
{
	unsigned a, b, c = 0, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & 6) == 6;
}

static void check_control(void)
{
	uint32_t mxcsr;
	uint16_t x87;

	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	__asm__ volatile("fnstcw %0" : "=m"(x87));
	CHECK((mxcsr & ~0x3fu) == MXCSR_OURS, "MXCSR is %#x", mxcsr);
	CHECK(x87 == X87_OURS, "the x87 control word is %#x", x87);
}

int main(void)
{
	size_t (*spell)(void) = has_avx512() ? spell_avx512 : has_avx() ? spell_avx : spell_sse;
	uint32_t mxcsr = MXCSR_OURS;
	uint16_t x87 = X87_OURS;
	uint64_t round = 0;

	say("%s", spell == spell_avx512 ? "zmm" : spell == spell_avx ? "ymm" : "xmm");
	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	__asm__ volatile("fldcw %0" : : "m"(x87));
	victim_ready();
	while (victim_goes_on(0)) {
		size_t len;

		fill(in, sizeof(in), ++round << 16);
		for (size_t i = 0; i < ARRAY_SIZE(masks_in); i++)
			masks_in[i] = (round * 7 + i) & 0xffff;
		len = spell();
		CHECK(!memcmp(in, out, len), "a vector register, round %llu", (unsigned long long)round);
		spell_x87();
		check_control();
	}
	return victim_ok();
}
#else
int main(void)
{
	victim_ready();
	while (victim_goes_on(100))
		;
	return victim_ok();
}
#endif

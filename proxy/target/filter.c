/* SPDX-License-Identifier: MIT */
/*
 * filter.c - The seccomp filter of a moved program, made from calls.def
 *
 * libseccomp makes it; then each of its "notify" becomes a jump to a few instructions at the end, which
 * let calls from the stub's page pass.  They stand at the end and not in front, so that a call that
 * no row names is allowed by its number alone: the kernel's bitmap (5.11) then skips the filter.
 */
#include "proxy/target/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/call.h"
#include "common/scope.h"
#include "common/stub.h"

static int add_row(scmp_filter_ctx ctx, const struct call *c, uint64_t value)
{
	struct scmp_arg_cmp cmp = { .arg = (unsigned)(c->arg < 0 ? 0 : c->arg), .op = SCMP_CMP_MASKED_EQ,
				    .datum_a = c->mask, .datum_b = value };

	return c->route == CALL_ROUTE_NONE ? 0 : seccomp_rule_add_array(ctx, SCMP_ACT_NOTIFY, c->nr, c->arg >= 0, &cmp);
}

static int add_rows(scmp_filter_ctx ctx)
{
	int rc = 0;

	for (size_t i = 0; i < n_calls && !rc; i++) {
		rc = add_row(ctx, &calls[i], calls[i].value);
		if (!rc && calls[i].other != calls[i].value)
			rc = add_row(ctx, &calls[i], calls[i].other);
	}
	return rc;
}

/* libseccomp's program, with room for @more instructions */
static int export_program(scmp_filter_ctx ctx, size_t more, struct sock_filter **out, size_t *n)
{
	AUTO_FD int fd = memfd_create("filter", MFD_CLOEXEC);
	struct stat st;
	int rc = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

	if (rc || fstat(fd, &st))
		return rc ? rc : -errno;
	*n = (size_t)st.st_size / sizeof(**out);
	*out = calloc(*n + more, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	return pread(fd, *out, (size_t)st.st_size, 0) == st.st_size ? 0 : -EIO;
}

/* A jump of the tail's that isn't taken falls through */
static void add_tail(struct sock_filter *p, size_t n)
{
	const uint32_t low = offsetof(struct seccomp_data, instruction_pointer);
	const struct sock_filter tail[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(CALL_STUB >> 32), 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)CALL_STUB, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)(CALL_STUB + CALL_STUB_LEN), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};

	for (size_t i = 0; i < n; i++)
		if (p[i].code == (BPF_RET | BPF_K) && p[i].k == SECCOMP_RET_USER_NOTIF)
			p[i] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, (uint32_t)(n - i - 1));
	for (size_t i = 0; i < ARRAY_SIZE(tail); i++)
		p[n + i] = tail[i];
}

#define TAIL 7

int filter_build(struct sock_filter **out, struct err *e)
{
	scmp_filter_ctx ctx;
	size_t n = 0;
	int rc;

	*out = NULL;
	(void)seccomp_api_set(6);	/* what the kernel can is found out when the filter is installed */
	ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx)
		return err_set(e, -ENOMEM, "make a filter");
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS));
	if (!rc)
		rc = add_rows(ctx);
	if (!rc)
		rc = export_program(ctx, TAIL, out, &n);
	seccomp_release(ctx);
	if (rc || !*out)
		return err_set(e, rc ? rc : -ENOMEM, "make a filter");
	add_tail(*out, n);
	return (int)(n + TAIL);
}

/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c - Somebody's sandbox: runs a program with a seccomp filter
 *
 *	sandbox KIND PROGRAM ARGUMENT...
 *
 * KIND	loader	only what the dynamic loader and a small program call; all else is death
 *	socket	socket, connect and sendto are death
 *	nosys	what isn't in "loader" is ENOSYS
 *	strict	no filter: SECCOMP_MODE_STRICT, in this program, which then only writes
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/attr.h"

static const int loaders[] = {
	SYS_execve, SYS_brk, SYS_arch_prctl, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_access, SYS_openat, SYS_read,
	SYS_pread64, SYS_close, SYS_newfstatat, SYS_fstat, SYS_set_tid_address, SYS_set_robust_list, SYS_rseq,
	SYS_prlimit64, SYS_getrandom, SYS_futex, SYS_write, SYS_exit_group, SYS_statx, SYS_fadvise64,
};
static const int sockets[] = { SYS_socket, SYS_connect, SYS_sendto };

/* @listed for the calls of the list, @others for the rest */
static int install(const int *list, size_t n, unsigned listed, unsigned others)
{
	struct sock_filter code[2 * ARRAY_SIZE(loaders) + 2];
	struct sock_fprog prog = { .filter = code };
	size_t k = 0;

	code[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < n; i++) {
		code[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)list[i], 0, 1);
		code[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, listed);
	}
	code[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, others);
	prog.len = (unsigned short)k;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	unsigned death = SECCOMP_RET_KILL_PROCESS;
	int bad;

	if (!strcmp(kind, "strict")) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			return 1;
		syscall(SYS_write, 1, "strict\n", 7);
		syscall(SYS_exit, 5);
	}
	if (argc < 3)
		return 2;
	if (!strcmp(kind, "loader"))
		bad = install(loaders, ARRAY_SIZE(loaders), SECCOMP_RET_ALLOW, death);
	else if (!strcmp(kind, "nosys"))
		bad = install(loaders, ARRAY_SIZE(loaders), SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | ENOSYS);
	else if (!strcmp(kind, "socket"))
		bad = install(sockets, ARRAY_SIZE(sockets), death, SECCOMP_RET_ALLOW);
	else
		return 2;
	if (bad) {
		perror("seccomp");
		return 1;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}

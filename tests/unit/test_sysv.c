/* SPDX-License-Identifier: MIT */
/*
 * test_sysv.c - System V shared memory under chosen numbers, in an IPC namespace of its own
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/attr.h"
#include "proxy/trace/sysv.h"

#define ID 98321		/* place 17 of the table, used for the fourth time */

static int no_namespace;	/* the errno that says why */

static int own_namespace(void **state)
{
	(void)state;
	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWIPC : CLONE_NEWIPC))
		no_namespace = errno;
	return 0;
}

static void need_namespace(void)
{
	if (!no_namespace)
		return;
	print_message("there is no IPC namespace to be had: %s\n", strerror(no_namespace));
	skip();
}

static void is_made_under_its_number(void **state)
{
	struct sysv_segment *list;
	void *at;

	(void)state;
	need_namespace();
	assert_false(sysv_has(ID));
	assert_int_equal(sysv_make(ID, 0x1234, 5000, 0640), 0);
	assert_true(sysv_has(ID));
	assert_int_equal(sysv_segments(&list), 1);
	assert_int_equal(list->id, ID);
	assert_int_equal(list->key, 0x1234);
	assert_int_equal(list->size, 5000);
	assert_int_equal(list->mode, 0640);
	assert_int_equal(list->creator, getpid());
	assert_int_equal(list->areas, 0);
	assert_int_equal(list->uid, geteuid());
	free(list);
	at = shmat(ID, NULL, 0);
	assert_int_equal(shmctl(ID, IPC_RMID, NULL), 0);
	assert_int_equal(sysv_segments(&list), 1);
	assert_int_equal(list->key, 0);
	assert_int_equal(list->mode, 0640 | SHM_DEST);
	assert_int_equal(list->areas, 1);
	assert_int_equal(list->last, getpid());
	assert_true(list->used > 0);
	free(list);
	assert_int_equal(shmdt(at), 0);
	assert_false(sysv_has(ID));
}

static void taken_numbers_and_keys(void **state)
{
	struct sysv_segment *list;

	(void)state;
	need_namespace();
	assert_int_equal(sysv_make(ID, 0x1234, 4096, 0600), 0);
	assert_int_equal(sysv_make(ID, 0, 4096, 0600), -EBUSY);
	assert_int_equal(sysv_make(ID + 32768, 0, 4096, 0600), -EBUSY);	/* the same place */
	assert_int_equal(sysv_make(ID + 1, 0x1234, 4096, 0600), -EEXIST);
	assert_int_equal(sysv_make(ID + 1, 0, 0, 0600), -EINVAL);
	assert_int_equal(sysv_segments(&list), 1);	/* nothing else was left */
	free(list);
	assert_int_equal(sysv_make(ID + 1, 0, 4096, 0600), 0);
	assert_int_equal(sysv_segments(&list), 2);
	free(list);
	assert_int_equal(shmctl(ID, IPC_RMID, NULL) | shmctl(ID + 1, IPC_RMID, NULL), 0);
	assert_int_equal(sysv_segments(&list), 0);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_made_under_its_number),
		cmocka_unit_test(taken_numbers_and_keys),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}

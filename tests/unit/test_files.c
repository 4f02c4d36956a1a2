/* SPDX-License-Identifier: MIT */
/*
 * test_files.c - The file server of a moved program, as a keeper sees it that isn't to be trusted
 *
 * The server runs in a child; the test is its hub.  It may show the directory "root" of a fresh one, and nothing
 * of what is beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/sock.h"
#include "proxy/deputy/deputy.h"
#include "proxy/deputy/files.c"
#include "proxy/deputy/files_leases.c"
#undef ERESTARTSYS
#include "proxy/deputy/files_locks.c"
#define open_again ops_open_again
#include "proxy/deputy/files_nodes.c"
#include "proxy/deputy/files_ops.c"
#include "proxy/deputy/util.c"

#define ROOT 2			/* its node */

static int hub = -1;
static pid_t server;
static char dir[64], root[80];
static struct wire_result said;
static uint8_t bytes[WIRE_LOCAL_MAX];
static uint64_t changes;		/* CHANGED messages, and the last one's node */
static uint64_t changed_node;
static uint64_t next_id;

static void hear_one(void)
{
	static uint8_t message[WIRE_LOCAL_MAX];
	struct wire_changed changed;
	struct wire_head head;
	const void *p;
	ssize_t n = sock_recv(hub, message, sizeof(message), NULL, NULL, deadline_in_ms(10000));

	assert_true(n > 0 && !wire_unpack(message, (size_t)n, &head, &p));
	if (head.type == WIRE_CHANGED) {
		assert_int_equal(wire_get_changed(p, head.length, &changed), 0);
		changes++;
		changed_node = changed.node;
		return;
	}
	assert_int_equal(head.type, WIRE_RESULT);
	assert_int_equal(wire_get_result(p, head.length, &said), 0);
	memcpy(bytes, said.out.p, said.out.len);
	assert_int_equal(said.pid, FILE_PID);
}

static void ask(enum file_op op, const uint64_t a[6], const void *in, size_t len)
{
	struct wire_call m = { .id = ++next_id, .pid = FILE_PID, .row = FILE_ROW + op, .a0 = a[0], .a1 = a[1], .a2 = a[2],
			       .a3 = a[3], .a4 = a[4], .a5 = a[5], .in = { in, (uint32_t)len } };
	static uint8_t payload[WIRE_LOCAL_MAX], buf[WIRE_LOCAL_MAX];
	ssize_t n = wire_put_call(payload, sizeof(payload), &m);

	n = wire_pack(buf, sizeof(buf), WIRE_CALL, 0, payload, (size_t)n);
	assert_true(n > 0 && !sock_send(hub, buf, (size_t)n, NULL, 0, deadline_in_ms(5000)));
}

static int64_t wait_answer(uint64_t id)
{
	do
		hear_one();
	while (said.id != id);
	return said.value;
}

static int64_t answer_to(enum file_op op, const uint64_t a[6], const void *in, size_t len)
{
	ask(op, a, in, len);
	return wait_answer(next_id);
}

#define DO(op, in, len, ...) answer_to(FILE_##op, (uint64_t[6]){ __VA_ARGS__ }, in, len)
#define NAMED(op, name, ...) DO(op, name, strlen(name) + 1, __VA_ARGS__)

static uint64_t node_of(const char *name)
{
	struct bytes b = bytes_of(bytes, 8);

	assert_int_equal(NAMED(lookup, name, ROOT), 0);
	return bytes_get_le(&b, 8);
}

static const char *in_root(const char *name)
{
	static char paths[4][160];
	static unsigned turn;
	char *path = paths[turn++ % ARRAY_SIZE(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
	return path;
}

static void make_file(const char *path, const char *content)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
}

static int begin(void **state)
{
	int sv[2];
	char secret[96];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test_files_XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(root, sizeof(root), "%s/root", dir);
	assert_int_equal(mkdir(root, 0755), 0);
	snprintf(secret, sizeof(secret), "%s/secret", dir);
	make_file(secret, "secret");
	make_file(in_root("file"), "content");
	assert_int_equal(sock_pair(sv, NULL), 0);
	server = fork();
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sv[0]);
		files_run(sv[1], root);
	}
	close(sv[1]);
	hub = sv[0];
	changes = 0;
	assert_int_equal(DO(begin, "", 0, 0), 0);
	assert_int_equal(NAMED(bind, root, ROOT, 0, 1), 0);
	return 0;
}

static int end(void **state)
{
	char command[128];
	int status;

	(void)state;
	close(hub);
	assert_int_equal(waitpid(server, &status, 0), server);	/* it ends with its hub */
	assert_int_equal(status, 0);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* ---- what it may not show --------------------------------------------------------------------------- */

static void stays_inside(void **state)
{
	static const char *const names[] = { "..", ".", "", "../secret", "/etc/passwd", "a/b" };
	char path[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(NAMED(lookup, names[i], ROOT), -EINVAL);
		assert_int_equal(NAMED(mknod, names[i], ROOT, S_IFREG | 0644), -EINVAL);
		assert_int_equal(NAMED(unlink, names[i], ROOT), -EINVAL);
		assert_int_equal(NAMED(create, names[i], ROOT, O_WRONLY, 0644, 7), -EINVAL);
	}
	assert_int_equal(DO(lookup, "file", 4, ROOT), -EINVAL);		/* no NUL */
	assert_int_equal(NAMED(bind, dir, 3, 0, 1), -ENOENT);
	assert_int_equal(NAMED(bind, "/", 3, 0, 1), -ENOENT);
	assert_int_equal(NAMED(bind, in_root("file"), 3, 0, 1), -ENOENT);
	assert_int_equal(NAMED(bind, "..", 3, ROOT, 1), -ENOENT);
	assert_int_equal(NAMED(bind, root, FILE_OWN_NODES, 0, 1), -EINVAL);
	assert_int_equal(NAMED(stat, "/etc/passwd", 0), -EACCES);
	assert_int_equal(NAMED(stat, dir, 0), -EACCES);
	snprintf(path, sizeof(path), "%s/../secret", root);
	assert_int_equal(NAMED(stat, path, 0), -EXDEV);
	snprintf(path, sizeof(path), "%sx", root);
	assert_int_equal(NAMED(stat, path, 0), -EACCES);
}

static void follows_no_links(void **state)
{
	struct stat st;
	uint64_t node;

	(void)state;
	assert_int_equal(symlink("../secret", in_root("out")), 0);
	assert_int_equal(symlink("file", in_root("in")), 0);
	node = node_of("out");
	assert_int_equal(file_get_stat(bytes + 8, FILE_STAT_LEN, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(DO(open, "", 0, node, O_RDONLY, 9), -ENXIO);
	assert_int_equal(NAMED(create, "out", ROOT, O_RDWR, 0644, 9), -ELOOP);
	assert_int_equal(NAMED(lookup, "secret", node), -ENOTDIR);
	assert_int_equal(NAMED(stat, in_root("out"), 0), -EXDEV);
	assert_int_equal(NAMED(stat, in_root("out"), 1), 0);		/* lstat */
	assert_int_equal(NAMED(stat, in_root("in"), 0), 0);
	assert_int_equal(file_get_stat(bytes, FILE_STAT_LEN, &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size == 7);
}

static void opens_nothing_that_waits(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(in_root("fifo"), 0644), 0);
	assert_int_equal(DO(open, "", 0, node_of("fifo"), O_RDONLY, 9), -ENXIO);
	assert_int_equal(NAMED(lookup, "fifo", ROOT), 0);
	assert_memory_equal(bytes + FILE_ENTRY_LEN, in_root("fifo"), strlen(in_root("fifo")));
}

static void survives_nonsense(void **state)
{
	static const uint64_t odd[] = { 0, 1, ROOT, 3, UINT32_MAX, FILE_OWN_NODES, UINT64_MAX, INT64_MAX };

	(void)state;
	for (unsigned op = 0; op < 64; op++)
		for (size_t i = 0; i < ARRAY_SIZE(odd) * ARRAY_SIZE(odd); i++) {
			uint64_t a = odd[i % ARRAY_SIZE(odd)], b = odd[i / ARRAY_SIZE(odd)];

			if (op == FILE_begin || ((op == FILE_setattr || op == FILE_mknod) && a == ROOT))
				continue;
			(void)answer_to((enum file_op)op, (uint64_t[6]){ a, b, b & 0xffff, a & 0xffff, b & 0xffff, 0 }, "x", 2);
		}
	assert_int_equal(node_of("file") >= FILE_OWN_NODES, 1);
}

/* ---- what it is for ----------------------------------------------------------------------------------- */

static void reads_and_writes(void **state)
{
	uint64_t node = node_of("file");

	(void)state;
	assert_true(DO(open, "", 0, node, O_RDWR, 9) >= 0);
	assert_int_equal(DO(read, "", 0, 9, 0, 100), 7);
	assert_memory_equal(bytes, "content", 7);
	assert_int_equal(DO(write, "XY", 2, 9, 5, O_RDWR), 2);
	assert_int_equal(DO(write, "end", 3, 9, 0, O_RDWR | O_APPEND), 3);	/* wherever the target thinks that is */
	assert_int_equal(DO(read, "", 0, 9, 5, 100), 5);
	assert_memory_equal(bytes, "XYend", 5);
	assert_int_equal(DO(release, "", 0, 9), 0);
	assert_int_equal(DO(read, "", 0, 9, 0, 100), -EBADF);
}

static void keeps_one_node_a_file(void **state)
{
	uint64_t node = node_of("file"), buf[2] = { node, 2 };

	(void)state;
	assert_int_equal(link(in_root("file"), in_root("other")), 0);
	assert_int_equal(node_of("other"), node);
	assert_int_equal(unlink(in_root("file")), 0);
	assert_int_equal(unlink(in_root("other")), 0);
	assert_int_equal(DO(getattr, "", 0, node), 0);		/* it is still known */
	assert_int_equal(DO(forget, buf, sizeof(buf), 0), 0);
	assert_int_equal(DO(getattr, "", 0, node), -ESTALE);
}

static void owners_have_locks(void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	uint64_t node = node_of("file"), waiting;
	int fd;

	(void)state;
	assert_true(DO(open, "", 0, node, O_RDWR, 9) >= 0);
	assert_int_equal(DO(setlk, "", 0, 9, 100, F_WRLCK, 0, 10, 0), 0);
	assert_int_equal(DO(setlk, "", 0, 9, 200, F_WRLCK, 5, 10, 0), -EAGAIN);	/* another of the program's processes */
	assert_int_equal(DO(setlk, "", 0, 9, 200, F_WRLCK, 10, 10, 0), 0);
	fd = open(in_root("file"), O_RDWR | O_NONBLOCK);
	if (fd < 0)		/* a lease is in the way: it is told, and goes */
		assert_int_equal(errno, EWOULDBLOCK);
	while (fd < 0) {
		hear_one();
		assert_int_equal(DO(seen, "", 0, changed_node), 0);
		fd = open(in_root("file"), O_RDWR | O_NONBLOCK);
	}
	assert_int_equal(fcntl(fd, F_SETLK, &lock), -1);
	ask(FILE_setlk, (uint64_t[6]){ 9, 200, F_WRLCK, 0, 10, 1 }, "", 0);
	waiting = next_id;
	assert_int_equal(DO(getattr, "", 0, node), 0);		/* who waits holds nobody up */
	assert_int_equal(DO(flush, "", 0, 9, 100), 0);
	assert_int_equal(said.id == waiting ? said.value : wait_answer(waiting), 0);
	assert_int_equal(fcntl(fd, F_SETLK, &lock), -1);
	assert_int_equal(DO(flush, "", 0, 9, 200), 0);
	assert_int_equal(DO(release, "", 0, 9), 0);
	assert_int_equal(fcntl(fd, F_SETLK, &lock), 0);
	close(fd);
}

static void tells_when_others_come(void **state)
{
	uint64_t node = node_of("file");
	pid_t other;
	int status;

	(void)state;
	if (DO(open, "", 0, node, O_RDWR, 9) != 1)
		skip();			/* no leases on this file system */
	other = fork();
	if (!other) {
		int fd = open(in_root("file"), O_RDONLY);	/* it waits */

		_exit(fd < 0);
	}
	while (!changes)
		hear_one();
	assert_int_equal(changed_node, node);
	assert_int_equal(waitpid(other, &status, WNOHANG), 0);
	assert_int_equal(DO(seen, "", 0, node), 0);
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(status, 0);
	assert_int_equal(DO(open, "", 0, node, O_RDONLY, 10), 0);	/* no longer alone */
}

static void gives_way_to_itself(void **state)
{
	uint64_t node = node_of("file");

	(void)state;
	if (DO(open, "", 0, node, O_RDONLY, 9) != 1)
		skip();
	assert_int_equal(DO(open, "", 0, node, O_RDONLY, 10), 1);
	assert_int_equal(changes, 0);
	assert_int_equal(DO(open, "", 0, node, O_WRONLY, 11), 0);
	assert_int_equal(changes, 2);		/* both readers' */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(stays_inside, begin, end),
		cmocka_unit_test_setup_teardown(follows_no_links, begin, end),
		cmocka_unit_test_setup_teardown(opens_nothing_that_waits, begin, end),
		cmocka_unit_test_setup_teardown(survives_nonsense, begin, end),
		cmocka_unit_test_setup_teardown(reads_and_writes, begin, end),
		cmocka_unit_test_setup_teardown(keeps_one_node_a_file, begin, end),
		cmocka_unit_test_setup_teardown(owners_have_locks, begin, end),
		cmocka_unit_test_setup_teardown(tells_when_others_come, begin, end),
		cmocka_unit_test_setup_teardown(gives_way_to_itself, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

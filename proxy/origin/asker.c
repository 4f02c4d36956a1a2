/* SPDX-License-Identifier: MIT */
/*
 * asker.c - The session and the mmigrate that asked for it
 */
#include "proxy/origin/asker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"

#define ASKER_MS 10000		/* it has nothing else to do */
#define KEEP_MS 300000		/* but for a disk that is slow */

int asker_tell(int client, unsigned type, const void *payload, ssize_t len, const int *fds, int nfds, struct err *e)
{
	AUTO_FREE uint8_t *buf = len < 0 ? NULL : malloc((size_t)len + WIRE_HEAD);
	ssize_t n = len < 0 ? len : buf ? wire_pack(buf, (size_t)len + WIRE_HEAD, type, 0, payload, (size_t)len) : -ENOMEM;
	int rc = n < 0 ? (int)n : client < 0 ? -ENOTCONN
					     : sock_send(client, buf, (size_t)n, fds, nfds, deadline_in_ms(ASKER_MS));

	return rc ? err_set(e, rc, "tell mmigrate %s", wire_name(type)) : 0;
}

/* The next message, which must be of @type.  *@fd: a descriptor that came along, or -1 */
static int expect(int client, unsigned type, uint8_t *buf, size_t size, struct wire_head *h, const void **payload,
		  int *fd, int64_t deadline, struct err *e)
{
	int nfds = 1;
	ssize_t n;

	*fd = -1;
	n = sock_recv(client, buf, size, fd, &nfds, deadline);
	if (n > 0 && !nfds)
		*fd = -1;
	if (n == 0 || n == -ECONNRESET)
		return err_say(e, -ECANCELED, "mmigrate has gone");
	if (n < 0)
		return err_set(e, (int)n, "hear mmigrate");
	if (!wire_unpack(buf, (size_t)n, h, payload) && h->type == type)
		return 0;
	drop_fd(fd);
	return err_say(e, -EPROTO, "mmigrate said something else than %s; is it of another version?", wire_name(type));
}

int asker_file(int client, struct err *e)
{
	uint8_t buf[256];
	struct wire_head h;
	const void *payload = NULL;
	int fd = -1, rc = asker_tell(client, WIRE_FILE_WANTED, buf,
				     wire_put_file_wanted(buf, sizeof(buf), &(struct wire_file_wanted){ 0 }), NULL, 0, e);

	if (!rc)
		rc = expect(client, WIRE_FILE_GIVEN, buf, sizeof(buf), &h, &payload, &fd, deadline_in_ms(ASKER_MS), e);
	if (rc)
		return rc;
	return fd < 0 ? err_say(e, -EPROTO, "mmigrate gave no file") : fd;
}

int asker_keep(int client, uint64_t pages, struct err *e)
{
	struct wire_file_kept kept;
	uint8_t buf[256];
	struct wire_head h;
	const void *payload = NULL;
	int fd = -1, rc = asker_tell(client, WIRE_FILE_WRITTEN, buf,
				     wire_put_file_written(buf, sizeof(buf), &(struct wire_file_written){ pages }), NULL,
				     0, e);

	if (!rc)
		rc = expect(client, WIRE_FILE_KEPT, buf, sizeof(buf), &h, &payload, &fd, deadline_in_ms(KEEP_MS), e);
	drop_fd(&fd);
	if (!rc && wire_get_file_kept(payload, h.length, &kept))
		rc = err_say(e, -EBADMSG, "FILE_KEPT can't be read");
	if (!rc && kept.code)
		rc = err_set(e, kept.code < 0 && kept.code > -4096 ? (int)kept.code : -EIO, "give the file its name");
	return rc;
}

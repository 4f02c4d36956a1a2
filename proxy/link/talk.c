/* SPDX-License-Identifier: MIT */
/*
 * talk.c - One message to the peer's session, one answer
 */
#include "proxy/link/talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/scope.h"

void talk_free(struct talk *t)
{
	free(t->buf);
	t->buf = NULL;
}

int talk_send(struct link *l, unsigned type, const void *payload, ssize_t len, struct err *e)
{
	if (len < 0)
		return err_set(e, (int)len, "write %s", wire_name(type));
	return frame_send(l, type, 0, payload, (size_t)len, deadline_in_ms(TALK_MS), e);
}

int talk_send_text(struct link *l, unsigned type, const char *text, struct err *e)
{
	struct wire_image m = { text };		/* all messages of one text look the same */
	size_t size = strlen(text) + 16;
	AUTO_FREE uint8_t *buf = malloc(size);

	if (!buf)
		return err_set(e, -ENOMEM, "write %s", wire_name(type));
	return talk_send(l, type, buf, wire_put_image(buf, size, &m), e);
}

int talk_receive(struct link *l, struct talk *t, int64_t deadline, struct err *e)
{
	struct frame f;
	int rc = frame_recv_header(l, &f, deadline, e);

	if (rc)
		return rc;
	if (f.length + 1 > t->size) {
		uint8_t *more = realloc(t->buf, f.length + 1);

		if (!more)
			return err_set(e, -ENOMEM, "receive %s", wire_name(f.type));
		t->buf = more;
		t->size = f.length + 1;
	}
	rc = link_recv(l, t->buf, f.length, deadline, e);
	if (!rc && frame_verify(&f, t->buf))
		rc = err_say(e, -EBADMSG, "the peer sent a damaged %s", wire_name(f.type));
	t->type = f.type;
	t->len = f.length;
	return rc;
}

int talk_fail_to_err(const void *p, size_t len, struct err *e)
{
	struct wire_fail m;
	int rc = wire_get_fail(p, len, &m);

	if (rc)
		return err_set(e, rc, "read the peer's answer");
	if (m.code >= 0 || m.code < -4095)
		m.code = -EREMOTEIO;
	return err_say(e, (int)m.code, "%s", m.text);
}

int talk_expect(struct link *l, unsigned type, struct talk *t, int64_t deadline, struct err *e)
{
	int rc = talk_receive(l, t, deadline, e);

	if (rc || t->type == type)
		return rc;
	if (t->type == WIRE_FAIL)
		return talk_fail_to_err(t->buf, t->len, e);
	return err_say(e, -EPROTO, "the peer answered %s where %s was due", wire_name(t->type), wire_name(type));
}

/* SPDX-License-Identifier: MIT */
/*
 * fuzz_pump.c - A hostile session, datagram by datagram
 *
 * Input: pieces {u8 what, u8 length, bytes}.  The session is at one end of a socket pair, a
 *pump with one stream of each kind at the other:
 *
 *	what 0		the bytes are a datagram
 *	what 1 - 127	the bytes are the payload of message type @what; its number is the first
 *			byte's low bits, so that some are the next one
 *	what 128 - 	the world goes on: somebody writes, reads, leaves, holds; the session
 *dies
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/attr.h"
#include "common/scope.h"
#include "common/sock.h"
#include "common/wire.h"
#include "proxy/twin/pump.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	enum stream_dir dir;
	enum stream_half half;
} kinds[] = {
	{STREAM_IN, STREAM_SOURCE},
	{STREAM_IN, STREAM_SINK},
	{STREAM_OUT, STREAM_SOURCE},
	{STREAM_OUT, STREAM_SINK},
};

struct world {
	struct pump *pump;
	int session;
	int far[ARRAY_SIZE(kinds)];
};

static void on_message(void *ctx, unsigned type, const void *payload, size_t len)
{
	(void)ctx;
	if (wire_any(type, payload, len))
		abort(); /* the owner was promised that it decodes */
}

static void on_detached(void *ctx)
{
	(void)ctx;
}

static const struct pump_ops ops = {.message = on_message, .detached = on_detached};

static void run(struct world *w)
{
	static uint8_t buf[WIRE_LOCAL_MAX];
	struct pollfd p = {.fd = pump_fd(w->pump), .events = POLLIN};
	int rounds = 0;

	while (poll(&p, 1, 0) > 0) {
		if (pump_run(w->pump) < 0 || ++rounds > 1000)
			abort(); /* it spins */
		while (w->session >= 0 &&
		       sock_recv(w->session, buf, sizeof(buf), NULL, NULL, 0) > 0)
			;
	}
}

static void new_session(struct world *w)
{
	int sv[2];

	drop_fd(&w->session);
	if (sock_pair(sv, NULL))
		abort();
	if (pump_attach(w->pump, sv[0], NULL))
		abort();
	w->session = sv[1];
}

/* Things that happen at the pipes */
static void go_on(struct world *w, uint8_t what, const uint8_t *p, size_t len)
{
	static uint8_t buf[65536], state[65536];
	unsigned i = what % ARRAY_SIZE(kinds);

	switch (what / ARRAY_SIZE(kinds) % 6) {
	case 0:
	case 1:
		if (w->far[i] < 0)
			break;
		if (kinds[i].half == STREAM_SOURCE ? write(w->far[i], p, len) < 0
						   : read(w->far[i], buf, sizeof(buf)) < 0)
			break;
		break;
	case 2:
		drop_fd(&w->far[i]);
		break;
	case 3:
		pump_hold(w->pump, what & 1);
		break;
	case 4:
		new_session(w);
		break;
	case 5:
		pump_sigio(w->pump);
		if (pump_state_get(w->pump, state, sizeof(state)) > 0)
			(void)pump_drained(w->pump);
		break;
	}
}

static void tell(struct world *w, uint8_t what, const uint8_t *p, size_t len)
{
	uint8_t buf[512];
	ssize_t n;

	if (w->session < 0 || !len)
		return;
	if (!what) {
		(void)!sock_send(w->session, p, len, NULL, 0, 0);
		return;
	}
	n = wire_pack(buf, sizeof(buf), what,
		      wire_route(what) == WIRE_ROUTE_ENDS ? p[0] % 16 : 0, p + 1, len - 1);
	if (n > 0)
		(void)!sock_send(w->session, buf, (size_t)n, NULL, 0, 0);
}

static void begin(struct world *w)
{
	*w = (struct world){.pump = pump_new(&ops, NULL, NULL), .session = -1};
	if (!w->pump)
		abort();
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		int p[2], far = kinds[i].half == STREAM_SOURCE;

		if (pipe2(p, O_CLOEXEC) ||
		    pump_add(w->pump, i + 1, kinds[i].dir, kinds[i].half, p[!far], 0, NULL))
			abort();
		w->far[i] = p[far];
		fcntl(w->far[i], F_SETFL, O_NONBLOCK);
	}
	new_session(w);
}

/* Ignored, not blocked: the fuzzer has threads of its own, which would get them */
static void ignore_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pump *fresh = pump_new(&ops, NULL, NULL);
	struct world w;

	ignore_signals();
	if (!fresh)
		abort();
	(void)!pump_state_set(fresh, data, size); /* that came from another machine, too */
	pump_free(fresh);
	begin(&w);
	while (size >= 2) {
		uint8_t what = data[0];
		size_t len = MIN((size_t)data[1], size - 2);

		data += 2;
		size -= 2;
		if (what < 128)
			tell(&w, what, data, len);
		else
			go_on(&w, what, data, len);
		data += len;
		size -= len;
		run(&w);
	}
	pump_free(w.pump);
	drop_fd(&w.session);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
		drop_fd(&w.far[i]);
	return 0;
}

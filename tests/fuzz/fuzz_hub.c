/* SPDX-License-Identifier: MIT */
/*
 * fuzz_hub.c - A hostile keeper, deputies that say anything, and sessions that do
 *
 * Input: pieces {u8 what, u8 length, bytes}; the bytes are the payload of message type @what, or, with
 * a type of 0, a datagram.  The two high bits of @what say from whom it comes:
 *
 *	0	the keeper: it was numbered, and came through the pump
 *	1	a deputy; its first byte says which
 *	2	a connection that hasn't said yet what it is
 *	3	time passes: deputies leave, queues empty
 *
 * The hub's code is compiled in here; its signals go nowhere, and System V segments of numbers below 100 are there.
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fake_kill(pid_t pid, int sig)
{
	return pid > 0 && sig > 0 ? 0 : -1;
}

#define kill fake_kill
#include "proxy/deputy/hub.c"
#undef kill
#include "proxy/deputy/util.c"

static void *fake_shmat(int id, const void *at UNUSED, int flags)
{
	if (!(flags & SHM_RDONLY))
		abort();		/* only held */
	return id >= 0 && id < 100 ? (void *)(uintptr_t)(id + 1) : (void *)-1;
}

static int fake_shmdt(const void *at)
{
	if ((uintptr_t)at < 1 || (uintptr_t)at > 100)
		abort();
	return 0;
}

static int fake_shmget(key_t key UNUSED, size_t size UNUSED, int flags UNUSED)
{
	abort();			/* deputies make them */
}

/* What isn't held must never be removed */
static int fake_shmctl(int id, int command, struct shmid_ds *ds UNUSED)
{
	if (command != IPC_RMID || id < 0 || id >= 100)
		abort();
	return 0;
}

#define shmat fake_shmat
#define shmdt fake_shmdt
#define shmget fake_shmget
#define shmctl fake_shmctl
#include "proxy/deputy/segments.c"

/* Never started here: the world is at its other end */
void files_run(int hub UNUSED, const char *roots UNUSED)
{
	abort();
}

#define DEPUTIES 3
#define FILES DEPUTIES		/* in far[]: the file server */

struct world {
	struct hub *h;
	int far[DEPUTIES + 1];	/* the deputies' ends, and the file server's */
	int session;
};

static void begin(struct world *w)
{
	int sv[2];

	w->h = calloc(1, sizeof(*w->h));
	if (!w->h)
		abort();
	w->h->listener = w->h->greeting = w->h->dir = -1;
	w->h->leader = 100;
	w->h->pump = pump_new(&ops, w->h, NULL);
	if (!w->h->pump || sock_pair(sv, NULL) || pump_attach(w->h->pump, sv[0], NULL))
		abort();
	w->session = sv[1];
	for (int i = 0; i < DEPUTIES; i++) {
		if (sock_pair(sv, NULL) || add(w->h, 100 + i, sv[0]))
			abort();
		w->far[i] = sv[1];
	}
	if (sock_pair(sv, NULL))
		abort();
	w->h->files = (struct one){ .pid = FILE_PID, .sock = sv[0] };
	w->far[FILES] = sv[1];
}

static void end(struct world *w)
{
	while (w->h->n)
		forget(w->h, &w->h->list[0]);
	while (w->h->unanswered.first)
		queue_pop(&w->h->unanswered);
	while (w->h->after.first)
		queue_pop(&w->h->after);
	drop_fd(&w->h->greeting);
	drop_fd(&w->session);
	files_left(w->h);
	free(w->h->files.has);
	for (int i = 0; i <= FILES; i++)
		drop_fd(&w->far[i]);
	pump_free(w->h->pump);
	if (segments_take(&w->h->segments, &(struct wire_hub_segments){ .ids = { "", 0 } }))
		abort();
	free(w->h->list);
	free(w->h);
}

/* @p as it would lie on a socket; the type decides whether it has a number */
static ssize_t packed(uint8_t *buf, size_t size, unsigned type, const uint8_t *p, size_t len)
{
	if (type)
		return wire_pack(buf, size, type, 0, p, len);
	memcpy(buf, p, len);
	return (ssize_t)len;
}

static void from_keeper(struct world *w, unsigned type, const uint8_t *p, size_t len)
{
	if (!wire_any(type, p, len))	/* the pump passes on what can be decoded only */
		on_message(w->h, type, p, len);
}

static void say_as_deputy(struct world *w, unsigned type, const uint8_t *p, size_t len)
{
	int which = len ? p[0] % (DEPUTIES + 1) : 0;
	uint8_t buf[512];
	ssize_t n = packed(buf, sizeof(buf), type, p + (len > 0), len - (len > 0));
	struct one *o;

	if (n > 0 && w->far[which] >= 0 && sock_send(w->far[which], buf, (size_t)n, NULL, 0, 0))
		return;
	if (which == FILES) {
		if (w->h->files.sock >= 0)
			hear_files(w->h);
		return;
	}
	o = find(w->h, 100 + which);
	if (o)
		hear_deputy(w->h, (size_t)(o - w->h->list));
}

static void connect_and_say(struct world *w, unsigned type, const uint8_t *p, size_t len)
{
	uint8_t buf[512];
	ssize_t n = packed(buf, sizeof(buf), type, p, len);
	int sv[2], fd = -1;

	if (sock_pair(sv, NULL))
		abort();
	drop_fd(&w->h->greeting);
	w->h->greeting = sv[0];
	if (type == WIRE_HUB_JOIN)
		fd = w->session;
	if (n > 0 && sock_send(sv[1], buf, (size_t)n, &fd, fd >= 0, 0))
		n = 0;
	hear_greeting(w->h);
	close(sv[1]);
}

static void pass_time(struct world *w, const uint8_t *p, size_t len)
{
	int which = len ? p[0] % (DEPUTIES + 1) : 0;
	static uint8_t buf[WIRE_LOCAL_MAX];

	if (len > 1)
		drop_fd(&w->far[which]);
	for (size_t i = w->h->n; i-- > 0;)
		if (i < w->h->n)
			flush_deputy(&w->h->list[i]);
	flush_deputy(&w->h->files);
	if (is_flushed(w->h))
		tell_after(w->h);
	answer_unanswered(w->h);
	(void)is_over(w->h);
	if (pump_run(w->h->pump) < 0)
		abort();
	while (sock_recv(w->session, buf, sizeof(buf), NULL, NULL, 0) > 0)
		;
	for (int i = 0; i <= FILES; i++)
		while (w->far[i] >= 0 && sock_recv(w->far[i], buf, sizeof(buf), NULL, NULL, 0) > 0)
			;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	begin(&w);
	while (size >= 2) {
		unsigned who = data[0] >> 6, type = data[0] & 63 ? 39 + (data[0] & 63) : 0;	/* SYNC is 40 */
		size_t len = MIN((size_t)data[1], size - 2);
		const uint8_t *p = data + 2;

		if (who == 0)
			from_keeper(&w, type, p, len);
		else if (who == 1)
			say_as_deputy(&w, type, p, len);
		else if (who == 2)
			connect_and_say(&w, type, p, len);
		else
			pass_time(&w, p, len);
		data += 2 + len;
		size -= 2 + len;
	}
	end(&w);
	return 0;
}

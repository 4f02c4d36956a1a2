/* SPDX-License-Identifier: MIT */
/*
 * greet.c - The first words on a link: who may stay
 *
 * TLS has proven that the peer holds its key; whether the key is one of ours is decided here, by
 * nothing but fixed lengths.  A stranger gets no byte back, whatever it sends, unless it
 * brings the secret of an invitation; and it can't take over the name of a peer that is pinned.
 *
 * A pinned peer may redeem an invitation as well: it may have been forgotten on one side only.
 */
#include "proxy/daemon/greet.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define WORD 8

static const char hello_word[WORD + 1] = "MMPEER01";
static const char invite_word[WORD + 1] = "MMINVITE";
static const char pinned_word[WORD + 1] = "MMPINNED";

/* What follows invite_word: bytes only, so that it is the wire's form and ours alike */
struct preface {
	uint8_t secret[INVITE_SECRET];
	char name[PEER_NAME];
	char addr[PEER_ADDR];
};

struct answer {
	char word[WORD];
	char name[PEER_NAME];
};

static_assert(sizeof(struct preface) == 160 && sizeof(struct answer) == 72, "no holes");

/* Zero padded to the end, and with at least one zero: a string and nothing behind it */
static bool is_padded(const char *field, size_t size)
{
	size_t len = strnlen(field, size);

	if (len == size)
		return false;
	for (; len < size; len++)
		if (field[len])
			return false;
	return true;
}

/* The host's name for itself: what isn't allowed in a peer's name becomes '-' */
static void own_name(char name[PEER_NAME])
{
	memset(name, 0, PEER_NAME);
	if (gethostname(name, PEER_NAME - 1) || !name[0])
		strcpy(name, "mproxy");
	for (char *c = name; *c; c++) {
		char one[2] = { *c, 0 };

		if (!peer_name_ok(one))
			*c = '-';
	}
}

/* Who brought @pre is pinned, if the secret is good.  Return: 0 or a negative errno */
static int serve(const struct preface *pre, const char *pin, const char *state_dir,
		 struct err *e)
{
	char host[PEER_ADDR];
	struct peer p = { 0 };
	uint16_t port;
	int r;

	if (!is_padded(pre->name, PEER_NAME) || !is_padded(pre->addr, PEER_ADDR) ||
	    !peer_name_ok(pre->name) || peer_addr_split(pre->addr, host, &port))
		return err_say(e, -EBADMSG, "malformed name or address");
	r = invite_redeem(state_dir, pre->secret, e);
	if (r)
		return r;
	memcpy(p.name, pre->name, sizeof(p.name));
	memcpy(p.addr, pre->addr, sizeof(p.addr));
	memcpy(p.pin, pin, sizeof(p.pin));
	return peers_pin(state_dir, &p, false, e);
}

static int accept_invite(struct link *l, const char *state_dir, int64_t deadline, struct err *e)
{
	struct answer answer = { 0 };
	struct preface pre;
	int r = link_recv(l, &pre, sizeof(pre), deadline, e);

	if (!r)
		r = serve(&pre, l->pin, state_dir, e);
	explicit_bzero(pre.secret, sizeof(pre.secret));
	if (r) {
		log_line(LOG_LEVEL_WARN, "E_INVITE_BAD", "peer with key %s: %s", l->pin,
			 e->text);
		return err_wrap(e, r, "invitation refused");
	}
	log_line(LOG_LEVEL_INFO, NULL, "pinned key %s as %s, reached at %s", l->pin, pre.name,
		 pre.addr);
	memcpy(answer.word, pinned_word, WORD);
	own_name(answer.name);
	r = link_send(l, &answer, sizeof(answer), deadline, e);
	return r ? r : 1;
}

/* Takes the pinned peer out of the state directory.  Return: 1 it is there, 0 not, -errno */
static int look_up(const char *state_dir, const char *pin, struct peer *out, struct err *e)
{
	struct peers *ps = NULL;
	const struct peer *p;
	int r = peers_load(state_dir, &ps, e);

	if (r)
		return r;
	p = peers_find_pin(ps, pin);
	if (p)
		*out = *p;
	r = p ? 1 : 0;
	peers_free(ps);
	return r;
}

static int refuse(const struct link *l, bool known, const char *why, struct err *e)
{
	log_line(LOG_LEVEL_WARN, known ? "E_PEER_BAD" : "E_PEER_UNKNOWN", "peer with key %s: %s",
		 l->pin, why);
	return err_say(e, known ? -EPROTO : -EACCES, "peer with key %s refused: %s", l->pin, why);
}

/**
 * greet_accept() - Decide who may stay on a link that was accepted
 * @l:		Its pin says who is there
 * @state_dir:	The state directory
 * @out:	The peer, when 0 is returned
 *
 * Return: 0 the session follows; 1 an invitation was served, close; negative errno: close.  What is
 * refused was logged already
 */
int greet_accept(struct link *l, const char *state_dir, struct peer *out, struct err *e)
{
	int64_t deadline = deadline_in_ms(GREET_MS);
	struct err own = { 0 }, *why = e ? e : &own;
	char word[WORD];
	int known, r;

	if (!peer_pin_ok(l->pin))
		return refuse(l, false, "it has no key", why);
	known = look_up(state_dir, l->pin, out, why);
	if (known < 0) {
		log_line(LOG_LEVEL_ERR, "E_PEER_UNKNOWN", "%s", why->text);
		return known;
	}
	r = link_recv(l, word, WORD, deadline, why);
	if (r) {
		refuse(l, known, why->text, NULL);
		return r;
	}
	if (!memcmp(word, invite_word, WORD))
		return accept_invite(l, state_dir, deadline, why);
	if (memcmp(word, hello_word, WORD))
		return refuse(l, known, "its first words make no sense", why);
	return known ? 0 : refuse(l, false, "this key isn't pinned", why);
}

int greet_connect(struct link *l, struct err *e)
{
	return link_send(l, hello_word, WORD, deadline_in_ms(GREET_MS), e);
}

/* Return: 0 when @a is what an mproxy answers and its name fits, else -EPROTO */
static int check_answer(const struct answer *a, char *name, size_t size, struct err *e)
{
	if (memcmp(a->word, pinned_word, WORD) || !is_padded(a->name, PEER_NAME) ||
	    !peer_name_ok(a->name) || strlen(a->name) >= size)
		return err_say(e, -EPROTO, "the inviting host's answer makes no sense");
	strcpy(name, a->name);
	return 0;
}

/**
 * greet_redeem() - Bring an invitation to whoever made it
 * @l:		From tls_connect() with the invitation's pin
 * @inv:	The invitation
 * @my_name:	What to be pinned as
 * @my_addr:	"host:port" where to be reached
 * @their_name:	What the host calls itself; checked
 * @size:	Of @their_name, bytes; PEER_NAME is enough
 *
 * Return: 0, both may pin each other now; -EACCES it was refused; another negative errno
 */
int greet_redeem(struct link *l, const struct invite *inv, const char *my_name,
		 const char *my_addr, char *their_name, size_t size, struct err *e)
{
	struct {
		char word[WORD];
		struct preface pre;
	} msg = { 0 };
	int64_t deadline = deadline_in_ms(GREET_MS);
	char host[PEER_ADDR];
	struct answer answer;
	uint16_t port;
	int r;

	if (!peer_name_ok(my_name) || peer_addr_split(my_addr, host, &port))
		return err_say(e, -EINVAL, "not a name and an address to be pinned under");
	memcpy(msg.word, invite_word, WORD);
	memcpy(msg.pre.secret, inv->secret, INVITE_SECRET);
	strcpy(msg.pre.name, my_name);
	strcpy(msg.pre.addr, my_addr);
	r = link_send(l, &msg, sizeof(msg), deadline, e);
	explicit_bzero(msg.pre.secret, sizeof(msg.pre.secret));
	if (!r)
		r = link_recv(l, &answer, sizeof(answer), deadline, e);
	if (r == -ECONNRESET || r == -EPIPE)
		return err_say(e, -EACCES, "the host refused the invitation: used, expired, or the "
			       "name is taken there");
	return r ? r : check_answer(&answer, their_name, size, e);
}

/* SPDX-License-Identifier: MIT */
/*
 * files_leases.c - Which open files the target may cache: those that nobody else at the origin changes
 *
 * fcntl(2), F_SETLEASE: while a lease is held, who else opens the file for writing (a read lease) or at all (a
 * write lease) waits in open(2) until it's let go.  A read lease is had on a file that is open for reading
 * only, a write lease on one that is open once, for both; and on one's own files only.
 *
 *	open: lease --OPENED 1--> LEASED --somebody opens it: CHANGED--> BREAKING --seen, or too late--> none
 *			\--we open it ourselves, in a way that would wait: CHANGED--> none
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/scope.h"
#include "proxy/deputy/files.h"

#define SEEN_MS 2000		/* the link may be down: nobody at the origin waits longer for what is there */

static int lease_signal(void)
{
	return SIGRTMIN + 1;
}

int leases_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, lease_signal());
	return sigprocmask(SIG_BLOCK, &set, NULL) ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void let_go(struct file_open *o)
{
	if (o->leased)
		(void)fcntl(o->fd, F_SETLEASE, F_UNLCK);
	o->leased = false;
	o->breaking = 0;
}

bool lease_take(struct file_open *o, uint64_t node, const struct stat *st)
{
	int mode = fcntl(o->fd, F_GETFL) & O_ACCMODE;

	o->device = st->st_dev;
	o->inode = st->st_ino;
	o->node = node;
	if (!S_ISREG(st->st_mode) || mode == O_WRONLY || fcntl(o->fd, F_SETSIG, lease_signal()))
		return false;
	o->leased = !fcntl(o->fd, F_SETLEASE, mode == O_RDONLY ? F_RDLCK : F_WRLCK);
	return o->leased;
}

/* Before we open or truncate it ourselves: what would make us wait for ourselves.  @writes: not only reading */
void leases_give_way(struct files *f, const struct stat *st, bool writes)
{
	for (size_t i = 0; i < f->nodes.n_opens; i++) {
		struct file_open *o = &f->nodes.opens[i];

		if (!o->leased || o->inode != st->st_ino || o->device != st->st_dev)
			continue;
		if (!writes && (fcntl(o->fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
			continue;
		let_go(o);
		files_tell_changed(f, o, false);
	}
}

/* Somebody else opens it.  All that is held on it goes once the target has seen that */
static void break_lease(struct files *f, int fd)
{
	for (size_t i = 0; i < f->nodes.n_opens; i++) {
		struct file_open *o = &f->nodes.opens[i];

		if (o->fd != fd || !o->leased || o->breaking)
			continue;
		o->breaking = deadline_in_ms(SEEN_MS);
		f->breaking = true;
		files_tell_changed(f, o, true);
	}
}

void leases_hear(struct files *f)
{
	struct signalfd_siginfo si;

	while (read(f->lease_signals, &si, sizeof(si)) == (ssize_t)sizeof(si))
		break_lease(f, si.ssi_fd);
}

void leases_overdue(struct files *f)
{
	f->breaking = false;
	for (size_t i = 0; i < f->nodes.n_opens; i++) {
		struct file_open *o = &f->nodes.opens[i];

		if (o->breaking && !deadline_left_ms(o->breaking))
			let_go(o);
		f->breaking |= o->breaking != 0;
	}
}

void leases_drop_all(struct files *f)
{
	for (size_t i = 0; i < f->nodes.n_opens; i++)
		let_go(&f->nodes.opens[i]);
}

int64_t files_do_seen(struct files *f, const struct wire_call *m)
{
	for (size_t i = 0; i < f->nodes.n_opens; i++)
		if (f->nodes.opens[i].breaking && f->nodes.opens[i].node == m->a0)
			let_go(&f->nodes.opens[i]);
	return 0;
}

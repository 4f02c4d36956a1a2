/* SPDX-License-Identifier: MIT */
/*
 * mproxy.c - The daemon: reads its command line, finds its places, serves
 *
 * Also prints what other hosts need to trust this one: its identity, or an invitation.  That needs
 * no daemon, only the state directory, so that whoever may write there may do it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "proxy/daemon/daemon.h"
#include "proxy/daemon/invite.h"
#include "proxy/daemon/listen.h"
#include "proxy/daemon/options.h"
#include "proxy/daemon/places.h"
#include "common/call.h"
#include "common/file.h"
#include "proxy/link/identity.h"

enum { EXIT_FINE, EXIT_FAILED, EXIT_USAGE };

struct arguments {
	struct option_maybe listen, invite;
	const char *control, *state, *policy, *libexec, *advertise;
	bool identity, calls, verbose;
};

/* Where it all is: arguments, or the defaults.  Addresses are whole */
struct places {
	char control[PATH_MAX], state[PATH_MAX], policy[PATH_MAX], libexec[PATH_MAX];
	char listen[PEER_ADDR], advertise[PEER_ADDR];
};

#define FIELD_OF(f) offsetof(struct arguments, f)

static const struct option_row rows[] = {
	{ "listen", 'l', "[ADDR[:PORT]]",
	  "Let trusted hosts move programs here.  Without ADDR it is\n" LISTEN_DEFAULT
	  "; an IPv6 address stands in brackets.",
	  FIELD_OF(listen), option_maybe },
	{ "advertise", 'a', "ADDR[:PORT]",
	  "Where other hosts reach this one, when it isn't the\naddress of --listen.",
	  FIELD_OF(advertise), option_text },
	{ "control", 'c', "PATH",
	  "Socket for mmigrate.  Default: " PLACES_ROOT_CONTROL " as root,\n"
	  "else $XDG_RUNTIME_DIR/mproxy.sock.",
	  FIELD_OF(control), option_text },
	{ "state", 's', "DIR",
	  "This host's key, the hosts it trusts, its sessions.  Default:\n"
	  "/var/lib/mproxy as root, else ~/.local/state/mproxy.",
	  FIELD_OF(state), option_text },
	{ "policy", 'p', "FILE",
	  "Which names are the same on both machines, which stay.\nSIGHUP reads it again.",
	  FIELD_OF(policy), option_text },
	{ "libexec", 0, "DIR", "Where mdeputy and mrestore are.", FIELD_OF(libexec), option_text },
	{ "identity", 'i', NULL, "Print this host's identity and end.", FIELD_OF(identity),
	  option_flag },
	{ "invite", 'I', "[ADDR[:PORT]]",
	  "Print an invitation for one host, good for ten minutes, and\n"
	  "end.  ADDR is where that host reaches this one; default:\n"
	  "--advertise, else --listen.  There: mmigrate trust NAME TOKEN",
	  FIELD_OF(invite), option_maybe },
	{ "calls", 0, NULL, "Print which system calls of a moved program concern its origin,\nand end.", FIELD_OF(calls),
	  option_flag },
	{ "verbose", 'v', NULL, "Log more.", FIELD_OF(verbose), option_flag },
};

static const char *const usage[] = {
	"--listen [ADDR[:PORT]] [OPTION]...",
	"--identity | --invite [ADDR[:PORT]] | --calls",
	NULL,
};

static const struct options options = {
	.program = "mproxy",
	.usage = usage,
	.about = "The daemon that moves running programs between machines.  mmigrate commands it.",
	.rows = rows,
	.n = ARRAY_SIZE(rows),
};

static int complain(int status, const struct err *e)
{
	fprintf(stderr, "mproxy: %s\n", e->text);
	return status;
}

/* Descriptors 0 to 2 exist, so that nothing else ever gets these numbers.  Return: success */
static bool has_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static int copy_path(char *to, const char *from, struct err *e)
{
	if ((size_t)snprintf(to, PATH_MAX, "%s", from) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "%s", from);
	return 0;
}

static int find_state(const struct arguments *a, struct places *p, struct err *e)
{
	return a->state ? copy_path(p->state, a->state, e)
			: places_state(geteuid() == 0, p->state, sizeof(p->state), e);
}

static int find_addresses(const struct arguments *a, struct places *p, struct err *e)
{
	int r = 0;

	if (a->listen.given)
		r = listen_address(a->listen.value ? a->listen.value : LISTEN_DEFAULT, p->listen,
				   e);
	if (!r && a->advertise)
		r = listen_address(a->advertise, p->advertise, e);
	if (!r && (listen_is_any(p->advertise)))
		r = err_say(e, -EINVAL, "--advertise: nobody can connect to %s", p->advertise);
	return r;
}

static int find_paths(const struct arguments *a, struct places *p, struct err *e)
{
	int r = a->control ? copy_path(p->control, a->control, e)
			   : places_control(geteuid() == 0, p->state, p->control,
					    sizeof(p->control), e);

	if (!r)
		r = a->policy ? copy_path(p->policy, a->policy, e)
			      : places_policy(p->policy, sizeof(p->policy), e);
	if (!r)
		r = a->libexec ? copy_path(p->libexec, a->libexec, e)
			       : places_libexec(p->libexec, sizeof(p->libexec), e);
	return r;
}

/* calls.def and ioctls.def, for people */
static int print_calls(void)
{
	static const char *const routes[] = { [CALL_ROUTE_BOTH] = "shim, filter", [CALL_ROUTE_TRAP] = "filter",
					      [CALL_ROUTE_NONE] = "twins" };
	static const char *const acts[] = { [CALL_ACT_SHIP] = "at the origin", [CALL_ACT_BOTH] = "on both",
					    [CALL_ACT_FORK] = "on both",       [CALL_ACT_EXEC] = "here",
					    [CALL_ACT_MAKE] = "on both",       [CALL_ACT_NAME] = "at the origin",
					    [CALL_ACT_DENY] = "refused" };

	printf("%-20s%-14s%-15s%s\n", "call", "seen by", "done", "what for");
	for (size_t i = 0; i < n_calls; i++)
		printf("%-20s%-14s%-15s%s\n", calls[i].name, routes[calls[i].route], acts[calls[i].act], calls[i].text);
	puts("\non files of the origin's, through the file system that shows them:");
	for (size_t i = 0; i < n_file_rows; i++)
		printf("%-20s%s\n", file_rows[i].name, file_rows[i].text);
	puts("\nioctls of terminals; others are answered with ENOTTY:");
	for (size_t i = 0; i < n_call_ioctls; i++)
		printf("%s%s", call_ioctls[i].name, i + 1 == n_call_ioctls ? "\n" : (i + 1) % 8 ? " " : "\n");
	return 0;
}

static int print_identity(const struct places *p, struct err *e)
{
	struct identity *id;
	int r = identity_open(p->state, &id, e);

	if (r)
		return r;
	puts(identity_pin(id));
	identity_close(id);
	return 0;
}

/* Where the invited host shall connect to.  Return: 0 or -EINVAL */
static int invite_address(const struct arguments *a, const struct places *p, char addr[PEER_ADDR],
			  struct err *e)
{
	const char *text = a->invite.value	   ? a->invite.value
			   : p->advertise[0] ? p->advertise
			   : p->listen[0]    ? p->listen
						   : LISTEN_DEFAULT;
	int r = listen_address(text, addr, e);

	if (!r && listen_is_any(addr))
		r = err_say(e, -EINVAL, "nobody can connect to %s: name an address of this host, "
			    "--invite ADDR:PORT", addr);
	return r;
}

static int print_invitation(const struct arguments *a, const struct places *p, struct err *e)
{
	char addr[PEER_ADDR], token[INVITE_TOKEN];
	struct identity *id;
	int r = invite_address(a, p, addr, e);

	if (r)
		return r;
	r = identity_open(p->state, &id, e);
	if (r)
		return r;
	r = invite_make(p->state, addr, identity_pin(id), token, sizeof(token), e);
	identity_close(id);
	if (r)
		return r;
	puts(token);
	if (listen_is_loopback(addr))
		fprintf(stderr, "mproxy: only this machine reaches %s; for another one: "
				"--invite ADDR:PORT\n", addr);
	return 0;
}

static int serve(const struct arguments *a, const struct places *p, struct err *e)
{
	struct daemon_config config = {
		.state_dir = p->state, .control = p->control, .policy = p->policy,
		.libexec = p->libexec, .listen = a->listen.given ? p->listen : NULL,
		.advertise = a->advertise ? p->advertise : NULL, .root = geteuid() == 0,
	};
	struct daemon *d;
	int r;

	if (a->verbose)
		log_set_level(LOG_LEVEL_DEBUG);
	r = daemon_open(&config, &d, e);
	if (r)
		return r;
	r = daemon_run(d, e);
	daemon_close(d);
	return r;
}

static int run(const struct arguments *a, struct err *e)
{
	struct places p = { 0 };
	int r = find_state(a, &p, e);

	if (!r)
		r = find_addresses(a, &p, e);
	if (r)
		return r;
	if (a->calls)
		return print_calls();
	if (a->identity)
		return print_identity(&p, e);
	if (a->invite.given)
		return print_invitation(a, &p, e);
	r = find_paths(a, &p, e);
	return r ? r : serve(a, &p, e);
}

int main(int argc, char **argv)
{
	struct arguments a = { 0 };
	struct options_found found;
	struct err e = { 0 };

	if (!has_standard_fds())
		return EXIT_FAILED;
	if (options_parse(&options, argc, argv, &a, &found, &e))
		return complain(EXIT_USAGE, &e);
	if (found.help)
		found.help(&options, stdout);
	else if (found.version)
		options_version(&options, stdout);
	else if (found.operands) {
		err_say(&e, -EINVAL, "%s is no option; 'mproxy --help' lists all", argv[1]);
		return complain(EXIT_USAGE, &e);
	} else if (run(&a, &e)) {
		return complain(EXIT_FAILED, &e);
	}
	return fflush(stdout) ? EXIT_FAILED : EXIT_FINE;
}

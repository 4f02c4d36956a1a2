# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# hosts.sh - Several "hosts" on one machine, for tests (a bash library; needs root)
#
#	. tests/hosts.sh
#	hosts_up 2			hosta (10.77.0.1) and hostb (10.77.0.2)
#	on hosta COMMAND...		run as root in a host; its exit status, its input and output
#	on_as hostb mover COMMAND...	the same as a user
#	hosts_down			also when the shell ends
#
# A host has its own processes, network, mounts, name, System V IPC and clocks (hosta's
# monotonic clock is 1,000 s ahead of the machine's, hostb's 2,000 s, ...), its own /dev, /tmp,
# /var/tmp, /run, /proc and /etc/machine-id, and shares the rest of the file system with the
# machine: programs and libraries are the same files.  /shared is one directory for all hosts,
# $HOSTS_DIR/shared outside.  Names of hosts resolve.
#
# The hosts hang on a bridge in a namespace of its own; no interface of the machine is touched.
# tests/system/hostinit.c is process 1; everything in a host ends with it, and it ends with the
# shell that called hosts_up.  Under bats, call hosts_up in setup_file and hosts_down in
# teardown_file: the exit trap belongs to bats there.

HOSTS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOSTS_BUILD=${BUILD:-build}
case $HOSTS_BUILD in /*) ;; *) HOSTS_BUILD=$HOSTS_TOP/$HOSTS_BUILD ;; esac
HOSTS_NAMES=(hosta hostb hostc hostd hoste)
HOSTS_USER=mover
HOSTS_USER_ID=2001

# host_pid HOST - process 1 of a host, as the machine counts
host_pid() {
	cat "$HOSTS_DIR/$1.pid" 2>/dev/null || {
		echo "hosts.sh: there is no host $1" >&2
		return 1
	}
}

# host_address HOST
host_address() {
	local i
	for i in "${!HOSTS_NAMES[@]}"; do
		[ "${HOSTS_NAMES[i]}" = "$1" ] && echo "10.77.0.$((i + 1))" && return
	done
	return 1
}

# on HOST COMMAND... - as root, in its root directory.  nsenter forks for the pid namespace; the
# kernel gives a caller of setns() its new clocks at once, so the order doesn't matter
on() {
	local pid
	pid=$(host_pid "$1") || return
	shift
	# what nohup, or a shell without job control, ignores in the tests isn't ignored in a host
	env --default-signal=HUP,INT,QUIT nsenter -t "$pid" -m -u -i -n -p -T -- "$@"
}

# on_as HOST USER COMMAND... - as that user, in its groups, without capabilities
on_as() {
	local host=$1 user=$2 home
	shift 2
	home=$(getent passwd "$user" | cut -d: -f6)
	on "$host" env USER="$user" LOGNAME="$user" HOME="$home" \
		setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups --inh-caps=-all -- "$@"
}

# hosts_user - the ordinary user of the tests
hosts_user() {
	id -u "$HOSTS_USER" >/dev/null 2>&1 ||
		useradd -u "$HOSTS_USER_ID" -M -d / -s /bin/sh "$HOSTS_USER"
}

# hosts_init NAME CLOCK_OFFSET_S - start process 1 and wait until it is up
hosts_init() {
	local i
	# descriptor 3 is bats's own: who keeps it open keeps bats waiting
	"$HOSTS_BUILD/tests/hostinit" "$1" "$2" "$HOSTS_DIR/$1.pid" </dev/null >"$HOSTS_DIR/$1.log" 2>&1 3>&- &
	echo $! >"$HOSTS_DIR/$1.outer"
	disown $!	# so that the shell has no comment on its end
	for ((i = 0; i < 500; i++)); do
		# up means: its name is set, the last thing that process 1 does
		[ -e "$HOSTS_DIR/$1.pid" ] && [ "$(on "$1" hostname 2>/dev/null)" = "$1" ] && return 0
		sleep 0.02
	done
	cat "$HOSTS_DIR/$1.log" >&2
	echo "hosts.sh: $1 did not come up" >&2
	return 1
}

# hosts_furnish NAME - mounts and devices.  The one thing that must be kept in reach is the
# checkout, when it is below a directory that gets covered: the shell stands in it meanwhile
hosts_furnish() {
	on "$1" env HOSTS_DIR="$HOSTS_DIR" TOP="$HOSTS_TOP" HOST="$1" sh -eu <<'SH'
cd "$TOP"
mount --bind "$HOSTS_DIR/shared" /shared
mount --bind "$HOSTS_DIR/hosts" /etc/hosts
mount --bind "$HOSTS_DIR/$HOST.id" /etc/machine-id
mount -t proc proc /proc
fuse=0
[ -e /dev/fuse ] && fuse=1
mount -t tmpfs -o mode=755 dev /dev
node() { mknod -m 666 "/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9; node tty 5 0
[ $fuse = 0 ] || node fuse 10 229
mkdir /dev/pts /dev/shm
mount -t devpts -o newinstance,ptmxmode=666,mode=620,gid=5 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t tmpfs -o mode=755 run /run
[ -L /var/run ] || mount --bind /run /var/run
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=1777 vartmp /var/tmp
mount -t tmpfs -o mode=1777 tmp /tmp
case $TOP/ in /tmp/*|/var/tmp/*|/run/*|/dev/*) mkdir -p "$TOP"; mount -c --bind . "$TOP" ;; esac
SH
}

# hosts_plug NAME ADDRESS - a cable from the switch to a host
hosts_plug() {
	local switch host
	switch=$(host_pid switch) && host=$(host_pid "$1") || return
	nsenter -t "$switch" -n ip link add "to-$1" type veth peer name eth0 netns "$host" &&
		nsenter -t "$switch" -n ip link set "to-$1" master bridge up &&
		nsenter -t "$host" -n ip link set lo up &&
		nsenter -t "$host" -n ip address add "$2/24" dev eth0 &&
		nsenter -t "$host" -n ip link set eth0 up
}

# hosts_up N - make hosta, hostb, ...
hosts_up() {
	local n=$1 i
	[ "$(id -u)" = 0 ] || { echo "hosts.sh: only root can make hosts" >&2; return 1; }
	[ -x "$HOSTS_BUILD/tests/hostinit" ] || { echo "hosts.sh: run make $HOSTS_BUILD/tests/hostinit" >&2; return 1; }
	if ! [ "$n" -le "${#HOSTS_NAMES[@]}" ]; then
		echo "hosts.sh: at most ${#HOSTS_NAMES[@]} hosts" >&2
		return 1
	fi
	hosts_user || return
	mkdir -p /shared || return	# only ever a mount point; stays
	HOSTS_DIR=$(mktemp -d "${TMPDIR:-/tmp}/hosts.XXXXXX") || return
	export HOSTS_DIR
	chmod 755 "$HOSTS_DIR"
	[ -n "${BATS_ROOT:-}" ] || trap hosts_down EXIT
	mkdir -m 1777 "$HOSTS_DIR/shared"
	echo "127.0.0.1 localhost" >"$HOSTS_DIR/hosts"
	for ((i = 0; i < n; i++)); do
		echo "10.77.0.$((i + 1)) ${HOSTS_NAMES[i]}" >>"$HOSTS_DIR/hosts"
	done
	if ! hosts_make "$n"; then
		hosts_down
		return 1
	fi
}

# hosts_make N - the switch, then the hosts
hosts_make() {
	local n=$1 i name switch
	hosts_init switch 0 && switch=$(host_pid switch) || return
	nsenter -t "$switch" -n ip link add bridge type bridge forward_delay 0 || return
	nsenter -t "$switch" -n ip link set bridge up || return
	for ((i = 0; i < n; i++)); do
		name=${HOSTS_NAMES[i]}
		printf '%032x\n' $((0x77 * 65536 + i + 1)) >"$HOSTS_DIR/$name.id"
		hosts_init "$name" $(((i + 1) * 1000)) || return
		hosts_furnish "$name" || return
		hosts_plug "$name" "10.77.0.$((i + 1))" || return
	done
}

# hosts_is_ours PID - is this a hostinit, and not dead?  It may have been built anew meanwhile
hosts_is_ours() {
	case $(readlink "/proc/$1/exe") in
	"$(readlink -f "$HOSTS_BUILD/tests")/hostinit"*) return 0 ;;
	esac
	return 1
}

# hosts_down - end the hosts and everything in them; nothing else
hosts_down() {
	local file pid
	[ -n "${HOSTS_DIR:-}" ] && [ -d "$HOSTS_DIR" ] || return 0
	for file in "$HOSTS_DIR"/*.outer; do
		pid=$(cat "$file" 2>/dev/null) || continue
		hosts_is_ours "$pid" && kill -KILL "$pid"
	done
	# process 1 goes with the outer one, and the rest with process 1
	for file in "$HOSTS_DIR"/*.pid; do
		pid=$(cat "$file" 2>/dev/null) || continue
		while hosts_is_ours "$pid"; do
			sleep 0.02
		done
	done
	rm -rf "$HOSTS_DIR"
	unset HOSTS_DIR
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# lib.bash - What the system tests are written with, on top of tests/hosts.sh
#
#	setup_file()    { system_up root 3; }		hosts, an mproxy on each, all pinned
#	teardown_file() { system_down; }
#	setup()         { . tests/system/lib.bash; }
#	teardown()      { test_over; }			logs when it failed; nothing may be left
#
# MODE is root (mproxy as root) or user (as the user mover, with its own state and control socket).
# What is shared by all hosts is /shared, $SHARED outside; the programs that are moved and those
# that move them run from /shared/bin: the same files everywhere, whoever may not read the checkout.
#
# Nothing here measures time: what should happen is waited for, up to WAIT_S seconds.

# shellcheck source=tests/hosts.sh
. "${BASH_SOURCE[0]%/*}/../hosts.sh"

SYSTEM=$HOSTS_TOP/tests/system
BIN=/shared/bin
WAIT_S=${WAIT_S:-30}
PORT=7117
[ -z "${HOSTS_DIR:-}" ] || SHARED=$HOSTS_DIR/shared

# ---- waiting ---------------------------------------------------------------------------

# until_true COMMAND... - try until it succeeds; 1 when it hasn't within WAIT_S seconds
until_true() {
	local end=$((SECONDS + WAIT_S))
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			echo "not within $WAIT_S s: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

# wait_for FILE REGEX - until a line of the file matches.  A path below /shared is the hosts'
wait_for() {
	until_true grep -qsaE -- "$2" "$(outside "$1")"
}

# outside PATH - where a file below /shared is for us
outside() {
	case $1 in /shared/*) echo "$SHARED${1#/shared}" ;; *) echo "$1" ;; esac
}

lines() {
	wc -l <"$1"
}

has_more_lines() {
	[ "$(lines "$1")" -gt "$2" ]
}

# skip_or_fail REASON - CI must be able to run this: there MUST_WORK=1 makes it a failure
skip_or_fail() {
	if [ "${MUST_WORK:-0}" = 1 ]; then
		echo "can't run, and must: $1" >&2
		return 1
	fi
	skip "$1"
}

need() {
	local program
	for program; do
		command -v "$program" >/dev/null || skip_or_fail "there is no $program"
	done
}

# ---- mproxy ------------------------------------------------------------------------------

if [ "${MODE:-root}" = user ]; then
	STATE=/run/mover/state CONTROL=/run/mover/mproxy.sock
else
	STATE=/run/mproxy-state CONTROL=/run/mproxy.sock
fi

# as HOST COMMAND... - as the user who runs mproxy there
as() {
	local host=$1
	shift
	if [ "${MODE:-root}" = user ]; then
		on_as "$host" "$HOSTS_USER" "$@"
	else
		on "$host" "$@"
	fi
}

# mm HOST ARGUMENT... - mmigrate
mm() {
	local host=$1
	shift
	as "$host" timeout -k 5 60 "$BIN/mmigrate" --control "$CONTROL" "$@"
}

log_of() {
	echo "$HOSTS_DIR/$1.mproxy.log"
}

# mproxy_start HOST - with MMIGRATE_FAULT=$FAULT, and whatever it said before kept
mproxy_start() {
	local host=$1 log before
	log=$(log_of "$host")
	touch "$log"
	before=$(grep -c 'listens on' "$log")
	# sh writes down which process it becomes
	as "$host" setsid env MMIGRATE_FAULT="${FAULT:-}" sh -c 'echo $$ >"${0%/*}/mproxy.pid"; exec "$@"' "$STATE" \
		"$BIN/mproxy" --verbose --listen "$(host_address "$host"):$PORT" --state "$STATE" --control "$CONTROL" \
		--policy "/shared/policy.$host.json" --libexec "$BIN" </dev/null >>"$log" 2>&1 3>&- &
	disown $!
	until_true mproxy_listens "$log" "$before" || {
		tail "$log" >&2
		return 1
	}
}

mproxy_listens() {
	[ "$(grep -c 'listens on' "$1")" -gt "$2" ]
}

mproxy_pid() {
	on "$1" cat "${STATE%/*}/mproxy.pid"
}

# gone HOST PID - there is no such process, or it is dead
gone() {
	! on "$1" sh -c 'grep -qs "^State:	[^ZX]" /proc/$0/status' "$2"
}

# mproxy_stop HOST [SIGNAL]
mproxy_stop() {
	local pid
	pid=$(mproxy_pid "$1")
	on "$1" kill "-${2:-TERM}" "$pid" 2>/dev/null
	until_true gone "$1" "$pid"
}

# mproxy_fault HOST FAULT - the same one again, made to fail there; FAULT may be empty
mproxy_fault() {
	mproxy_stop "$1" && FAULT=$2 mproxy_start "$1"
}

# pin_pair ONE OTHER - by invitation
pin_pair() {
	local token
	token=$(as "$1" "$BIN/mproxy" --state "$STATE" --invite "$(host_address "$1"):$PORT") &&
		mm "$2" -q trust "$1" "$token"
}

# pin_pair_by_hand ONE OTHER - by identities
pin_pair_by_hand() {
	local one other
	one=$(as "$1" "$BIN/mproxy" --state "$STATE" --identity) &&
		other=$(as "$2" "$BIN/mproxy" --state "$STATE" --identity) &&
		mm "$1" -q trust "$2" "$(host_address "$2"):$PORT" "$other" &&
		mm "$2" -q trust "$1" "$(host_address "$1"):$PORT" "$one"
}

# install_programs - to /shared/bin
install_programs() {
	mkdir -p "$SHARED/bin/programs"
	cp "$HOSTS_BUILD"/{mproxy,mmigrate,mrestore,mdeputy,libmshim.so} "$SHARED/bin/" &&
		cp "$SYSTEM"/programs/* "$SHARED/bin/programs/" &&
		cp "$SYSTEM/start.py" "$SHARED/bin/" || return
	if [ -d "$HOSTS_BUILD/victims" ]; then
		cp -r "$HOSTS_BUILD/victims" "$SHARED/bin/"
	fi
	chmod -R a+rX "$SHARED/bin"
}

# mproxies_up MODE N - on hosta, hostb, ...: each its key and its policy, all pinned pairwise
mproxies_up() {
	local i j host
	export MODE=$1
	export N_HOSTS=$2
	# shellcheck source=tests/system/lib.bash
	. "$SYSTEM/lib.bash"
	install_programs || return
	for ((i = 0; i < N_HOSTS; i++)); do
		host=${HOSTS_NAMES[i]}
		# the shipped policy; tests move root's programs too
		sed 's/"root": false/"root": true/' "$HOSTS_TOP/conf/policy.json" >"$SHARED/policy.$host.json" || return
		[ "$MODE" = root ] || on "$host" install -d -m 700 -o "$HOSTS_USER" "${STATE%/*}" || return
		mproxy_start "$host" || return
	done
	for ((i = 0; i < N_HOSTS; i++)); do
		for ((j = i + 1; j < N_HOSTS; j++)); do
			if [ $((j - i)) = 2 ]; then
				pin_pair_by_hand "${HOSTS_NAMES[i]}" "${HOSTS_NAMES[j]}" || return
			else
				pin_pair "${HOSTS_NAMES[i]}" "${HOSTS_NAMES[j]}" || return
			fi
		done
	done
	for ((i = 0; i < N_HOSTS; i++)); do
		host=${HOSTS_NAMES[i]}
		until_true settled "$host" || return
		what_is_there "$host" >"$HOSTS_DIR/$host.before"
	done
}

# settled HOST - mproxy's helpers have ended
settled() {
	[ "$(on "$1" pgrep -c -x mproxy)" = 1 ]
}

system_up() {
	hosts_up "$2" && mproxies_up "$1" "$2"
}

system_down() {
	hosts_down
}

# ---- programs -------------------------------------------------------------------------------

# start_program HOST [-u USER] COMMAND... - see start.py.  Sets P (its number), D (its directory,
# as hosts see it), OUT (what it printed, as we see it).  The user is mover unless said
start_program() {
	local host=$1 user=$HOSTS_USER
	shift
	[ "$1" != -u ] || { user=$2; shift 2; }
	D=/shared/$(basename "$(mktemp -d "$SHARED/run.XXXXXX")") && chmod 1777 "$(outside "$D")" || return
	OUT=$(outside "$D")/out
	mkfifo "$(outside "$D")/in" && touch "$OUT"
	on "$host" setsid /usr/bin/python3 "$BIN/start.py" "$D" "$user" "$@" </dev/null >"$(outside "$D")/start.log" 2>&1 3>&- &
	disown $!
	until_true test -s "$(outside "$D")/pid" || return
	P=$(cat "$(outside "$D")/pid")
	H=$host
}

# say LINE - to the program's standard input
say() {
	echo "$1" >"$(outside "$D")/in"
}

# end_input - the program reads its end
end_input() {
	on "$H" kill -KILL "$(cat "$(outside "$D")/feeder")"
}

# ended_with "exit N"|"signal N" - what its parent at the origin was told
ended_with() {
	local said
	until_true test -s "$(outside "$D")/status" || return
	said=$(cat "$(outside "$D")/status")
	if [ "$said" != "$1" ]; then
		echo "it ended with $said instead of $1" >&2
		cat "$(outside "$D")/err" >&2
		return 1
	fi
}

# goes_on - it prints three more lines
goes_on() {
	until_true has_more_lines "$OUT" $(($(lines "$OUT") + 2))
}

# counted FILE [LEAST] - the numbers in it are 1, 2, 3, ...: none lost, none twice, in order
counted() {
	awk -v least="${2:-1}" '/^(hello )?[0-9]+$/ {
			if ($NF != last + 1) { print "line " NR " of it: " $NF " after " last + 0; bad = 1; exit }
			last = $NF
		}
		END {
			if (!bad && last < least) { print "only " last + 0 " numbers"; bad = 1 }
			exit bad
		}' "$1" >&2
}

# count_running HOST PID [STATES] - how many processes there are the program itself and not its deputy:
# at home that number, or elsewhere (or at home with a deputy in front) the innermost of the numbers
# of one in a namespace of its own.  A frozen one (traced and stopped) doesn't run.  STATES: others
# that count, as /proc spells them
count_running() {
	on "$1" env pid="$2" home="$([ "$1" = "$H" ] && echo yes)" states="${3:-RSDIT}" sh -c 'n=0
		for p in /proc/[0-9]*; do
			set -- $(sed -n "s/^NSpid://p" "$p/status" 2>/dev/null)
			[ $# -gt 1 ] || [ "$1 $home" = "$pid yes" ] || continue
			while [ $# -gt 1 ]; do shift; done
			[ "$1" = "$pid" ] || continue
			case $(readlink "$p/exe") in */mdeputy* | */mrestore* | */mproxy* | "") continue ;; esac
			grep -q "^State:	[$states]" "$p/status" && n=$((n + 1))
		done
		echo $n'
}

runs_here() {
	[ "$(count_running "$1" "$2")" = 1 ]
}

# runs_on HOST PID - its code runs there, and nowhere else
runs_on() {
	local i other
	until_true runs_here "$1" "$2" || return
	for ((i = 0; i < N_HOSTS; i++)); do
		other=${HOSTS_NAMES[i]}
		[ "$other" = "$1" ] || [ "$(count_running "$other" "$2")" = 0 ] || {
			echo "process $2 also runs on $other" >&2
			return 1
		}
	done
}

# move TARGET [PID], home [PID] - asked at the origin, and it is there then
move() {
	mm "$H" "${2:-$P}" "$1" && runs_on "$1" "${2:-$P}"
}

home() {
	mm "$H" home "${1:-$P}" && runs_on "$H" "${1:-$P}"
}

# ---- after a test -------------------------------------------------------------------------------

# what_is_there HOST - its processes, mounts, and the files of sessions
what_is_there() {
	on "$1" sh -c '
		for p in /proc/[0-9]*; do
			[ "${p#/proc/}" = $$ ] || echo "process $(cat "$p/comm" 2>/dev/null) ${p#/proc/}"
		done | grep -vE "^process (sh|cat|sort|grep|nsenter)? [0-9]+$" | grep -v "process  "
		awk "{ print \"mount\", \$5 }" /proc/1/mountinfo
		cd "$0" && find . -name "*.sock" -o -path "*/sessions/*"
		ls "/proc/$(cat ../mproxy.pid)/fd" | wc -l | sed "s/^/descriptors of mproxy: /"' "$STATE" 2>/dev/null | sort
}

# Numbers of mproxy may change: it may have been started again
same_as_before() {
	what_is_there "$1" >"$HOSTS_DIR/$1.after"
	diff <(sed 's/ mproxy [0-9]*$/ mproxy/' "$HOSTS_DIR/$1.before") \
		<(sed 's/ mproxy [0-9]*$/ mproxy/' "$HOSTS_DIR/$1.after") >"$HOSTS_DIR/$1.left"
}

# no_leftovers - no process, mount, session's file or descriptor is there that wasn't at the start.  What
# is left is ended after it was reported, so that the next test doesn't fail for it.  $1: it failed already
no_leftovers() {
	local i host bad=0
	for ((i = 0; i < N_HOSTS; i++)); do
		host=${HOSTS_NAMES[i]}
		# a test that has failed already isn't worth a long wait
		WAIT_S=$([ "${1:-0}" = 0 ] && echo "$WAIT_S" || echo 3) until_true same_as_before "$host" 2>/dev/null && continue
		bad=1
		echo "left behind on $host (> after, < before):" >&2
		cat "$HOSTS_DIR/$host.left" >&2
		clean_host "$host"
	done
	return $bad
}

# clean_host HOST - everything but process 1 ends, mproxy starts again without memories
clean_host() {
	on "$1" sh -c 'for p in /proc/[0-9]*; do
			case ${p#/proc/} in 1 | $$) ;; *) kill -KILL ${p#/proc/} 2>/dev/null ;; esac
		done
		cd "$0" && rm -rf sessions/* deputy/* keeper/*' "$STATE" 2>/dev/null
	mproxy_start "$1"
	what_is_there "$1" >"$HOSTS_DIR/$1.before"
}

# end_program - whatever it is doing
end_program() {
	[ -n "${D:-}" ] || return 0
	[ -s "$(outside "$D")/status" ] || on "$H" kill -KILL "$P" 2>/dev/null
	on "$H" sh -c 'kill -KILL $(cat "$0/feeder")' "$D" 2>/dev/null
	return 0
}

# test_over - for teardown(): show what happened when it failed, leave nothing
test_over() {
	[ -z "${BATS_TEST_COMPLETED:-}" ] && [ -n "${HOLD:-}" ] && sleep $HOLD
	local i host failed=0
	[ -n "${HOSTS_DIR:-}" ] || return 0
	if [ -z "${BATS_TEST_COMPLETED:-}" ] && [ -z "${BATS_TEST_SKIPPED:-}" ]; then
		failed=1
		for ((i = 0; i < N_HOSTS; i++)); do
			host=${HOSTS_NAMES[i]}
			echo "---- mproxy of $host"
			tail -n "+$(($(cat "$HOSTS_DIR/$host.mark" 2>/dev/null || echo 0) + 1))" "$(log_of "$host")" | tail -n 40
		done
		[ -z "${D:-}" ] || {
			echo "---- $D"
			tail -n 20 "$OUT" "$(outside "$D")/err" "$(outside "$D")/start.log"
			cat "$(outside "$D")/status" 2>/dev/null
		}
	fi
	end_program
	no_leftovers $failed || failed=1
	for ((i = 0; i < N_HOSTS; i++)); do
		lines "$(log_of "${HOSTS_NAMES[i]}")" >"$HOSTS_DIR/${HOSTS_NAMES[i]}.mark"
	done
	[ -z "${D:-}" ] || [ $failed = 1 ] || rm -rf "$(outside "$D")"
	return $failed
}

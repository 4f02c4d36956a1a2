#!/bin/sh
# SPDX-License-Identifier: MIT
# check_commands.sh - mproxy's and mmigrate's command lines: what they print, how they end
#
#	check_commands.sh BUILD
#
# A true mproxy with a directory of its own serves; no program is moved.
set -u
build=$1
status=0
dir=$(mktemp -d) || exit 1
daemon=
trap '[ -n "$daemon" ] && kill "$daemon" 2>/dev/null; rm -rf "$dir"' EXIT
export LC_ALL=C HOME="$dir" XDG_RUNTIME_DIR="$dir"
unset XDG_STATE_HOME

# expect STATUS PATTERN COMMAND... - its exit status, and what it prints (a shell pattern)
expect() {
	want=$1 pattern=$2
	shift 2
	text=$("$@" 2>&1)
	got=$?
	# shellcheck disable=SC2254 # it is a pattern
	case $text in
	$pattern) [ "$got" = "$want" ] && return ;;
	esac
	echo "check_commands: $* ended with $got and said: $text" >&2
	status=1
}
mproxy() { "$build/mproxy" --state "$dir/state" "$@"; }
# shellcheck disable=SC2317 # expect calls it
mmigrate() { "$build/mmigrate" --control "$dir/mproxy.sock" "$@"; }

expect 0 "Usage: mproxy --listen *--advertise*--help*" mproxy --help
expect 0 "mproxy [0-9]*" mproxy --version
expect 2 "mproxy: there is no option --lisen;*" mproxy --lisen
expect 2 "mproxy: word is no option;*" mproxy word
expect 1 "mproxy: ::1 is not an address:*" mproxy --listen ::1
expect 1 "mproxy: --advertise: nobody can connect to 0.0.0.0:7117" mproxy --advertise 0.0.0.0
expect 1 "*: No such file or directory" mproxy --policy "$dir/nothing" --listen 127.0.0.1:0

pin=$(mproxy --identity)
[ ${#pin} = 64 ] || expect 0 "64 digits" echo "$pin"
expect 0 "$pin" mproxy --identity
[ "$(stat -c %a "$dir/state")" = 700 ] || expect 0 700 stat -c %a "$dir/state"
expect 0 "mm1.*" mproxy --invite 192.0.2.1
expect 0 "*only this machine reaches 127.0.0.1:7117;*mm1.*" mproxy --invite
expect 0 "mm1.*" mproxy --listen 0.0.0.0 --advertise 192.0.2.1:80 --invite
expect 1 "mproxy: nobody can connect to 0.0.0.0:7117:*" mproxy --invite --listen 0.0.0.0

expect 0 "Usage: mmigrate *PID HOST*why PID*--json*" mmigrate --help
expect 2 "mmigrate: which program, and where to*" mmigrate
expect 2 "mmigrate: wanted: mmigrate PID HOST" mmigrate 1
expect 2 "mmigrate: wanted: mmigrate home PID" mmigrate home
expect 2 "mmigrate: x is not a process's number" mmigrate home x
expect 2 "mmigrate: wanted: mmigrate save PID FILE" mmigrate save 1
expect 2 "mmigrate: x is not a process's number" mmigrate save x "$dir/image"
expect 2 "mmigrate: --stop is for save only" mmigrate --stop ps
expect 3 "mmigrate: no mproxy is reachable at *" mmigrate save 1 "$dir/image"
expect 1 "mmigrate: $0: E_IMAGE_DAMAGED: it isn't an image *" mmigrate inspect "$0"
expect 1 "mmigrate: *: No such file or directory" mmigrate inspect "$dir/none"
expect 1 "mmigrate: */image: E_IMAGE_DAMAGED: it isn't an image *" sh -c 'umask 77; echo x >"$1/image"; "$0" restore "$1/image"' \
	"$build/mmigrate" "$dir"
rm -f "$dir/image"
expect 2 "mmigrate: dance is neither *" mmigrate dance 1
expect 3 "mmigrate: no mproxy is reachable at *start one: mproxy --listen" mmigrate ps
[ -S /run/mproxy.sock ] || expect 3 "*start one: mproxy --listen" "$build/mmigrate" ps

"$build/mproxy" --listen 127.0.0.1:0 --state "$dir/state" --libexec "$build" \
	--control "$dir/mproxy.sock" --policy "$(dirname "$0")/../conf/policy.json" 2>"$dir/log" &
daemon=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	[ -S "$dir/mproxy.sock" ] && break
	sleep 0.1
done
expect 0 "no program has moved" mmigrate ps
# the other default: root finds the user's own, the user too
[ -S /run/mproxy.sock ] || expect 0 "no program has moved" "$build/mmigrate" ps
expect 0 '{"kind":"answer","code":0,*"programs":\[\]*}' mmigrate --json ps
expect 1 "mmigrate: that is not an identity: *" mmigrate --quiet trust bee 192.0.2.1 "$pin-"
expect 1 "mmigrate: that is the identity of this host itself" mmigrate trust bee 192.0.2.1 "$pin"
other=$(printf '%064d' 7)
expect 0 "" mmigrate -q trust bee 192.0.2.1 "$other"
expect 0 "NAME*bee*192.0.2.1:7117*$other" mmigrate peers
expect 0 "bee is trusted no longer" mmigrate untrust bee
expect 1 "mmigrate: no peer is pinned under that name" mmigrate untrust bee
expect 0 "/dev/null is local, by rule *" mmigrate policy /dev/null
expect 1 "there is no process 999999999*E_NO_PROCESS: *" mmigrate why 999999999
expect 1 '{"kind":"answer","code":-3,*E_NO_PROCESS*' mmigrate --json why 999999999
expect 1 "*there is no process 999999999*E_NO_PROCESS: *" mmigrate save 999999999 "$dir/image"
[ -z "$(find "$dir" -name '*image*')" ] || expect 0 "no image" find "$dir" -name '*image*'
expect 1 "mproxy: another mproxy uses *" mproxy --control "$dir/other.sock" --libexec . \
	--policy "$(dirname "$0")/../conf/policy.json"

kill "$daemon"
wait "$daemon" || expect 0 "" false
daemon=
[ -e "$dir/mproxy.sock" ] && expect 0 "no socket" echo "the control socket is still there"
[ $status = 0 ] && echo "ok    command lines"
exit $status

#!/bin/bash
# SPDX-License-Identifier: MIT
# shim.sh - What libmshim.so costs a program that isn't moved, next to an empty preloaded library
#
#	shim.sh			rows as bench.sh has them; BUILD and BENCH_SHIM_RUNS (200) can be set
#
# Alternating runs of `git status` and of a python that does nothing, without an mproxy and with one;
# and a loop of getppid, ioctl, kill and read.  No tests: whatever the numbers, the exit status is 0.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
RUNS=${BENCH_SHIM_RUNS:-200}
DIR=$BUILD/bench/shim.$$
daemon=

# shellcheck disable=SC2317	# the trap calls it
over() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	rm -rf "$DIR"
}
trap over EXIT
mkdir -p "$DIR/repo" || exit 0

# row WHAT VALUE UNIT GOAL DETAILS.  GOAL: at most
row() {
	awk -v what="$1" -v value="$2" -v unit="$3" -v goal="$4" -v details="$5" 'BEGIN {
		printf "%-40s %9s %-5s %7s  %-6s  %s\n", what, value, unit, "<= " goal, value <= goal ? "met" : "MISSED", details }'
}

# a python itself, no script that looks for one
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null)
export HOME=$DIR LC_ALL=C
unset XDG_RUNTIME_DIR LD_PRELOAD
(cd "$DIR/repo" && git init -q && for i in $(seq 50); do echo "$i" >"file$i"; done && git add . &&
	git -c user.email=a@b -c user.name=n commit -qm one && echo more >>file1 && git status) >/dev/null 2>&1

starts() {
	local what=$1 with=$2 others mine more
	shift 2
	read -r others mine more < <("$BUILD/bench/start" "$RUNS" "$BUILD/libmshim.so" "$BUILD/shim/libempty.so" "$@")
	[ -n "${more:-}" ] || { echo "bench: $what couldn't be run" >&2; return; }
	row "shim, start of $what$with: more" "$(awk -v us="$more" 'BEGIN { printf "%.1f", us }')" us 100 \
		"$(awk -v a="$mine" -v b="$others" 'BEGIN { printf "ratio %.3f; %.2f ms, empty library %.2f", a / b, a / 1000, b / 1000 }')"
}
both_starts() {
	command -v git >/dev/null && starts "git status" "$1" git -C "$DIR/repo" status
	[ -n "$python" ] && starts "python" "$1" "$python" -S -c pass
}

export MSHIM_CONTROL=$DIR/nobody
both_starts ""
export MSHIM_CONTROL=$DIR/mproxy.sock
"$BUILD/mproxy" --listen 127.0.0.1:0 --state "$DIR/state" --libexec "$BUILD" --control "$MSHIM_CONTROL" \
	--policy conf/policy.json 2>/dev/null &
daemon=$!
for ((i = 0; i < 100; i++)); do
	[ -S "$MSHIM_CONTROL" ] && break
	sleep 0.1
done
both_starts ", mproxy"

read -r others mine more < <("$BUILD/bench/start" loop "$BUILD/libmshim.so" "$BUILD/shim/libempty.so")
[ -n "${more:-}" ] && row "shim, getppid+ioctl+kill+read in a loop" \
	"$(awk -v more="$more" -v b="$others" 'BEGIN { printf "%.3f", 1 + more / b }')" x 1.01 \
	"$(awk -v a="$mine" -v b="$others" 'BEGIN { printf "%.1f ns a round, empty library %.1f", a / 20, b / 20 }')"
exit 0

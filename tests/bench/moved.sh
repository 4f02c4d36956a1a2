#!/bin/bash
# SPDX-License-Identifier: MIT
# moved.sh - What calls, forks and keystrokes cost a moved program, compared with itself before the move
#
#	moved.sh	a part of bench.sh, as root.  Prints rows of its table
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
ROUNDS=${BENCH_ROUNDS:-7}
DIR=$BUILD/bench/moved.$$
mkdir -p "$DIR" && mkdir -m 700 "$DIR/state" || exit 0
echo '{ "peers": [ { "peer": "*", "users": ["*"], "root": true } ] }' >"$DIR/policy.json"
program='' pair=''
# shellcheck disable=SC2317	# the trap calls it
over() {
	kill $program $pair 2>/dev/null
	rm -rf "$DIR"
}
trap over EXIT

# lines N - of the program's output
lines() {
	local i
	for ((i = 0; i < 3000; i++)); do
		[ "$(wc -l <"$DIR/out")" -ge "$1" ] && return 0
		sleep 0.02
	done
	return 1
}

# both COMMAND... - $DIR/before and $DIR/after: what it printed here, and after the move of it, or of "pid N"
both() {
	local n moved
	"$@" </dev/null >"$DIR/out" 2>/dev/null &
	program=$!
	disown
	lines $((ROUNDS + 2)) || return
	moved=$(sed -n 's/^pid //p' "$DIR/out")
	grep -E '^[0-9]' "$DIR/out" >"$DIR/before"
	"$BUILD/bench/pair" "$DIR/state" "$BUILD" "$DIR/policy.json" "${moved:-$program}" </dev/null >"$DIR/answer" 2>"$DIR/log" &
	pair=$!
	disown
	for ((n = 0; n < 500; n++)); do
		grep -qs '}$' "$DIR/answer" && break
		sleep 0.02
	done
	grep -q pause_us "$DIR/answer" || { echo "bench: $* wasn't moved: $(cat "$DIR/answer")" >&2; return 1; }
	n=$(wc -l <"$DIR/out")
	lines $((n + ROUNDS + 2)) || return
	tail -n +$((n + 2)) "$DIR/out" | grep -E '^[0-9]' >"$DIR/after"
	kill "$program" 2>/dev/null
	sleep 0.3
	kill "$pair" 2>/dev/null
	program='' pair=''
}

# median FILE COLUMN
median() {
	awk -v c="$2" '{ print $c }' "$DIR/$1" | sort -n | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'
}

row() {
	awk -v what="$1" -v value="$2" -v unit="$3" -v goal="$4" -v details="$5" 'BEGIN {
		said = goal == "-" ? "" : (value <= goal ? "met" : "MISSED")
		printf "%-40s %9s %-5s %7s  %-6s  %s\n", what, value, unit, goal == "-" ? "" : "<= " goal, said, details }'
}
ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b ? a / b : 0 }'
}

for how in "moved" "moved-static"; do
	both "$BUILD/bench/$how" calls || continue
	row "$how: a local call, to before the move" "$(ratio "$(median after 1)" "$(median before 1)")" x 1.03 \
		"getppid, $(median before 1) and $(median after 1) ps"
	row "$how: pread of 4 KiB" "$(ratio "$(median after 2)" "$(median before 2)")" x 1.03 \
		"$(median before 2) and $(median after 2) ps"
	row "$how: an ioctl that is looked at" "$(ratio "$(median after 3)" "$(median before 3)")" x - \
		"$(median before 3) and $(median after 3) ps"
	b=$(median before 4) a=$(median after 4)
	row "$how: fork+exec+wait, more than before" $((a - b)) us $((b * 4 > 1500 ? b * 4 : 1500)) "$b and $a us"
done
if both "$BUILD/bench/moved" terminal; then
	row "a line through cat, in round trips" "$(ratio "$(median after 1)" "$(median after 2)")" x 3 \
		"$(median before 1) us before, $(median after 1) us after; an ioctl there $(median after 2) us"
fi
exit 0

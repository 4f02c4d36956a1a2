#!/bin/bash
# SPDX-License-Identifier: MIT
# bench.sh - What a pause costs, next to what copying the same bytes costs
#
#	make bench		as root; BENCH_RUNS (5) and BENCH_MIB (1024) can be set
#
# Ratios, not times: what is compared runs alternately, and medians are compared.  These are no
# tests: whatever the numbers, the exit status is 0.  The table is kept in tests/bench/last.txt.
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
RUNS=${BENCH_RUNS:-5}
MIB=${BENCH_MIB:-1024}
LIMIT_S=${BENCH_LIMIT_S:-60}	# of one run of anything
DIR=$BUILD/bench/run.$$
LAST=tests/bench/last.txt
program=
pair=

if [ "$(id -u)" != 0 ]; then
	echo "make bench moves root's programs: it needs root" >&2
	exit 0
fi

# stop PID SIGNAL - and wait until it is gone; KILL after 5 s
stop() {
	local i
	[ -n "$1" ] || return 0
	kill "-$2" "$1" 2>/dev/null
	for ((i = 0; i < 500; i++)); do
		grep -qs '^State:	[^ZX]' "/proc/$1/status" || return 0
		sleep 0.01
	done
	kill -KILL "$1" 2>/dev/null
}
# shellcheck disable=SC2317	# the trap calls it
over() {
	stop "$program" TERM
	stop "$pair" TERM
	rm -rf "$DIR"
}
trap over EXIT
trap 'exit 0' INT TERM

mkdir -p "$DIR" || exit 0
mkdir -m 700 "$DIR/state"
echo '{ "peers": [ { "peer": "*", "users": ["*"], "root": true } ] }' >"$DIR/policy.json"

# wait_for FILE REGEX PID - until a line matches; 1 when PID ended before, or it takes too long
wait_for() {
	local i
	for ((i = 0; i < LIMIT_S * 50; i++)); do
		grep -qsE -- "$2" "$1" && return 0
		[ -d "/proc/$3" ] || return 1
		sleep 0.02
	done
	return 1
}

# move WHERE OPTION PROGRAM... - start the program, move it, end it.  Its pause in µs is appended to
# $DIR/WHERE, the pages that were sent to $DIR/WHERE.pages.  OPTION: --tls or nothing
move() {
	local where=$1 option=$2 answer
	shift 2
	VICTIM_SECONDS=$((LIMIT_S * 2)) setsid "$@" </dev/null >"$DIR/out" 2>&1 &
	program=$!
	disown
	if wait_for "$DIR/out" '^ready' "$program"; then
		# shellcheck disable=SC2086	# an option or none
		"$BUILD/bench/pair" $option "$DIR/state" "$BUILD" "$DIR/policy.json" "$program" \
			</dev/null >"$DIR/answer" 2>"$DIR/log" &
		pair=$!
		disown
		wait_for "$DIR/answer" '}$' "$pair"
	fi
	answer=$(cat "$DIR/answer" 2>/dev/null)
	if [[ $answer =~ \"pause_us\":\ *([0-9]+) ]]; then
		echo "${BASH_REMATCH[1]}" >>"$DIR/$where"
		[[ $answer =~ \"pages\":\ *([0-9]+) ]] && echo "${BASH_REMATCH[1]}" >>"$DIR/$where.pages"
	else
		echo "bench: $* wasn't moved: $answer" >&2
		tail -n 5 "$DIR/out" "$DIR/log" >&2
	fi
	stop "$program" TERM		# by now the deputy, which passes it on
	stop "$pair" CONT		# ends by itself
	sed -n 's/^rest //p' "$DIR/out" >>"$DIR/$where.seen"
	program='' pair=''
	rm -f "$DIR/answer" "$DIR/out"
}

# raw WHERE MODE
raw() {
	timeout -k 5 "$LIMIT_S" "$BUILD/bench/raw" "$2" "$MIB" </dev/null >>"$DIR/$1" || echo "bench: raw $2 failed" >&2
}

# median WHERE - of the numbers there; 0: there are none
median() {
	sort -n "$DIR/$1" 2>/dev/null | awk '{ v[NR] = $1 } END { print NR ? v[int((NR + 1) / 2)] : 0 }'
}

# ---- the runs, alternating ------------------------------------------------------------

raw warm tcp			# the machine's memory has been touched once
for ((run = 1; run <= RUNS; run++)); do
	printf '\rrun %d of %d ' "$run" "$RUNS" >&2
	raw tcp tcp
	move plain '' "$BUILD/bench/hold" "$MIB" random
	raw tls tls
	move tls_pause --tls "$BUILD/bench/hold" "$MIB" random
	move zero '' "$BUILD/bench/hold" "$MIB" zero
	for _ in 1 2 3; do
		move hello '' "$BUILD/victims/v_hello"
		move threads '' "$BUILD/victims/v_threads64"
		move maps '' "$BUILD/victims/v_maps500"
	done
done
printf '\r                \r' >&2
BUILD=$BUILD tests/bench/shim.sh >"$DIR/shim"

# ---- the table ---------------------------------------------------------------------------

# row WHAT VALUE UNIT GOAL DETAILS.  GOAL: at most; - none
row() {
	awk -v what="$1" -v value="$2" -v unit="$3" -v goal="$4" -v details="$5" 'BEGIN {
		said = goal == "-" ? "" : (value <= goal ? "met" : "MISSED")
		printf "%-40s %9s %-5s %7s  %-6s  %s\n", what, value, unit, goal == "-" ? "" : "<= " goal, said, details }'
}
ms() {
	awk -v us="$1" 'BEGIN { printf "%.1f", us / 1000 }'
}
ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b ? a / b : 0 }'
}
more() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", (a - b) / 1000 }'
}

table() {
	local tcp tls plain tls_pause zero hello
	tcp=$(median tcp) tls=$(median tls) plain=$(median plain) tls_pause=$(median tls_pause)
	zero=$(median zero) hello=$(median hello)
	echo "commit   $(git rev-parse --short HEAD 2>/dev/null || echo none)$(git diff --quiet HEAD -- . ":!$LAST" 2>/dev/null || echo ', changed')"
	echo "machine  $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
	echo "date     $(date -u +%F), medians of $RUNS runs, $MIB MiB"
	echo
	row "pause, random data, to TCP" "$(ratio "$plain" "$tcp")" x 1.15 \
		"$(ms "$plain") ms, seen by the program $(ms "$(median plain.seen)"); TCP $(ms "$tcp")"
	row "pause, random data, TLS, to OpenSSL" "$(ratio "$tls_pause" "$tls")" x 1.25 \
		"$(ms "$tls_pause") ms, seen $(ms "$(median tls_pause.seen)"); OpenSSL $(ms "$tls")"
	row "pages of zeros that travel" "$(($(median zero.pages) - $(median hello.pages)))" pages 100 \
		"of $((MIB * 256)); more than of a small program"
	row "pause, zeros, to TCP" "$(ratio "$zero" "$tcp")" x - "$(ms "$zero") ms, seen $(ms "$(median zero.seen)")"
	row "pause, small program" "$(ms "$hello")" ms 15 "$(median hello.pages) pages"
	row "64 threads: more than that" "$(more "$(median threads)" "$hello")" ms 30 "$(ms "$(median threads)") ms"
	row "500 mappings: more than that" "$(more "$(median maps)" "$hello")" ms 30 "$(ms "$(median maps)") ms"
	cat "$DIR/shim"
}
table | tee "$LAST"
exit 0

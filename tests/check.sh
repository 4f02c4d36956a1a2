#!/bin/bash
# SPDX-License-Identifier: MIT
# check.sh - All the tests, and one line at the end: N passed, N failed, N skipped
#
#	check.sh [unit|all|soak]
#
# Every part says a line for each of its tests, as TAP or as run-unit.sh does; here they are shown
# and counted.  MUST_WORK=1: what can't run here fails.  What was printed stays in
# $BUILD/check/PART.log.  A part that ends badly without naming a test counts as one that failed.
set -u
cd "$(dirname "$0")/.." || exit 1
what=${1:-all}
export BUILD=${BUILD:-build}
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
out=$BUILD/check
rm -rf "$out" && mkdir -p "$out" || exit 1
make=${MAKE:-make}
passed=0 failed=0 skipped=0
all=()
[ "$what" != soak ] || all=(all)

# part NAME COMMAND...
part() {
	local name=$1 log=$out/$1.log status p f s
	shift
	echo "== $name"
	"$@" </dev/null 2>&1 | tee "$log" | grep --line-buffered -vE '^(make\[|1\.\.|TAP version)'
	status=${PIPESTATUS[0]}
	p=$(grep -cE '^ok ' "$log") f=$(grep -cE '^(not ok |FAIL )' "$log") s=$(grep -cE '^ok .* # skip' "$log")
	if [ "$status" != 0 ] && [ "$f" = 0 ]; then
		echo "FAIL  $name: exit status $status"
		f=1
	elif [ "$status" = 0 ] && [ $((p + f)) = 0 ]; then
		echo "FAIL  $name: no test was run"
		f=1
	fi
	passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s))
}

skip_part() {
	if [ "${MUST_WORK:-0}" = 1 ]; then
		echo "FAIL  $1: $2"
		failed=$((failed + 1))
	else
		echo "ok $1 # skip $2" | tee "$out/$1.log"
		skipped=$((skipped + 1))
	fi
}

# A test that hangs is ended, and has failed
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-300}

system_tests() {
	local status=0 file
	for file; do
		echo "# $file"
		bats --tap "$file" || status=1
	done
	return $status
}

part unit "$make" --no-print-directory check-unit
if [ "$what" != unit ]; then
	part layers tests/check-layers.sh
	if clang --version >/dev/null 2>&1; then
		part fuzz "$make" --no-print-directory -s -j"$(nproc)" fuzz FUZZ_SECONDS=10
	else
		skip_part fuzz "there is no clang"
	fi
	part victims "$make" --no-print-directory check-victims
	if [ "$(id -u)" = 0 ]; then
		rm -rf "$BUILD/system"
		for table in generate faults_rows; do
			tests/system/$table.sh "$BUILD/system" "${all[@]}" || {
				echo "FAIL  $table.sh"
				failed=$((failed + 1))
			}
		done
		part hosts system_tests tests/system/hosts.bats
		rest=()
		for file in "$BUILD"/system/*.bats tests/system/*.bats; do
			[ "${file##*/}" = hosts.bats ] || rest+=("$file")
		done
		for i in $(seq "$([ "$what" = soak ] && echo "${SOAK_ROUNDS:-5}" || echo 1)"); do
			part "system$([ "$i" = 1 ] || echo "-$i")" system_tests "${rest[@]}"
		done
	else
		skip_part system "the system tests make namespaces: they need root"
	fi
fi

grep -hE '^(not ok |FAIL )' "$out"/*.log | sed 's/^/failed: /'
grep -hoE '^ok .* # skip.*' "$out"/*.log | sed -E 's/^ok [0-9]* ?/skipped: /; s/ # skip ?/: /'
line="$passed passed, $failed failed"
[ $skipped = 0 ] || line="$line, $skipped skipped"
echo "$line" | tee "$out/line"
[ $failed = 0 ]

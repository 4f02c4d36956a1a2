#!/bin/bash
# SPDX-License-Identifier: MIT
# run-fuzz.sh - Every fuzzer for some seconds, one line each
#
#	run-fuzz.sh BUILD SECONDS FUZZER...
#
# They start from tests/fuzz/corpus and from what earlier runs found (BUILD/fuzz/corpus), as many at a time as
# there are processors.  An input that makes one fail stays in BUILD/fuzz, and its name is said.
set -u
build=$1 seconds=$2
shift 2

fuzz() {
	local program=$1 name=${1##*/fuzz_} log
	log=$build/fuzz/$name.log
	mkdir -p "$build/fuzz/corpus/$name"
	if timeout -k 5 $((seconds * 3 + 60)) "$program" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
		-verbosity=0 -artifact_prefix="$build/fuzz/$name-" "$build/fuzz/corpus/$name" "tests/fuzz/corpus/$name" \
		>"$log" 2>&1; then
		printf 'ok    %-28s %s inputs\n' "fuzz_$name" "$(sed -n 's/^stat::number_of_executed_units: //p' "$log")"
	else
		tail -n 40 "$log"
		echo "FAIL  fuzz_$name: its log is $log"
		return 1
	fi
}
export -f fuzz
export build seconds
printf '%s\0' "$@" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz "$1"' fuzz

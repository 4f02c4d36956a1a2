#!/bin/sh
# SPDX-License-Identifier: MIT
# run-unit.sh - Run unit tests and corpus replays, one line each, and a summary
#
#	run-unit.sh SECONDS PROGRAM...
#
# A program named replay_fuzz_X is given tests/fuzz/corpus/X.  What a program prints is shown
# only when it fails.  Each gets SECONDS, then it is ended and has failed.
set -u
seconds=$1
shift
out=$(mktemp)
trap 'rm -f "$out"' EXIT
passed=0 failed=
for program; do
	name=${program##*/} corpus=
	case $name in
	replay_fuzz_*)
		corpus=tests/fuzz/corpus/${name#replay_fuzz_}
		[ -d "$corpus" ] || { echo "FAIL  $name: there is no $corpus"; failed="$failed $name"; continue; }
		;;
	esac
	if timeout -k 5 "$seconds" "$program" ${corpus:+"$corpus"} >"$out" 2>&1; then
		passed=$((passed + 1))
		what=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s)\.$/\1 tests/p; s/^[0-9]* inputs$/&/p' "$out" | tail -n 1)
		printf 'ok    %-28s %s\n' "$name" "$what"
	else
		status=$?
		failed="$failed $name"
		cat "$out"
		echo "FAIL  $name: exit status $status"
	fi
done
if [ -n "$failed" ]; then
	echo "$passed programs passed, these failed:$failed"
	exit 1
fi
echo "all $passed programs passed"

#!/bin/bash
# SPDX-License-Identifier: MIT
# soak.sh - The long form of the tests: every combination, SOAK_ROUNDS (5) times: hundreds of moves
#
# What came out is kept in tests/soak.last.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
begun=$(date -u +%FT%TZ)
tests/check.sh soak
status=$?
{
	echo "commit  $(git describe --always --dirty --exclude '*')"
	echo "begun   $begun, ended $(date -u +%FT%TZ)"
	echo "on      $(uname -sr), $(nproc) processors, $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release)"
	echo "rounds  ${SOAK_ROUNDS:-5}"
	echo "result  $(cat "$build/check/line")"
	grep -hE '^(not ok |FAIL )' "$build"/check/*.log | sort | uniq -c | sed 's/^/failed  /'
	grep -hoE '^ok .* # skip.*' "$build"/check/*.log | sed -E 's/^ok [0-9]* ?/skipped /; s/ # skip ?/: /' | sort -u
} >tests/soak.last
cat tests/soak.last
exit $status

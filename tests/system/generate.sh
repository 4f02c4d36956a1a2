#!/bin/bash
# SPDX-License-Identifier: MIT
# generate.sh - Make bats tests of move.rows
#
#	generate.sh DIRECTORY [all]	DIRECTORY/move-root.bats and move-user.bats; with "all" also
#					the rows that only `make soak` runs
set -eu
to=$1 all=${2:-}
rows=${0%/*}/move.rows
mkdir -p "$to"
for mode in root user; do
	letter=${mode:0:1}
	[ -z "$all" ] || letter=[$letter${letter^}]
	{
		cat <<HEAD
# Made by tests/system/generate.sh from move.rows
setup_file() {
	. tests/system/move.bash
	system_up $mode 3
}
teardown_file() {
	. tests/system/move.bash
	system_down
}
setup() {
	. tests/system/move.bash
}
teardown() {
	test_over
}
HEAD
		sed '/^#/d; /^$/d' "$rows" | sed -E 's/^(.*[^ ]) +([ruRU]+) +([a-z_]+) +(.*)$/\1\t\2\t\3\t\4/' |
			while IFS=$'\t' read -r name modes kind command; do
				# shellcheck disable=SC2053	# a pattern
				[[ $modes == *$letter* ]] || continue
				printf '\n@test "%s (mproxy as %s)" {\n\trow_%s %s\n}\n' "$name" "$mode" "$kind" "$command"
			done
	} >"$to/move-$mode.bats"
	grep -q '^@test' "$to/move-$mode.bats" || { echo "no rows for $mode" >&2; exit 1; }
done

#!/bin/bash
# SPDX-License-Identifier: MIT
# faults_rows.sh - The stages of every way, out of the sources, as bats tests: stage x who is disturbed
#
#	faults_rows.sh DIRECTORY [all]		DIRECTORY/faults-{move,onward,home}.bats
#
# Without "all" it is thinned out: links of the ways onward and home, the cable, and the steps of the third host are
# left to `make soak`.
set -eu
to=$1 all=${2:-}
cd "$(dirname "$0")/../.."

# stages FILE LIST - "name<TAB>BEFORE|AFTER", COMMIT is what the row marked true does
stages() {
	sed -n "/$2\\[\\] = {/,/^};/p" "$1" | awk -F'"' '/^\t\{ "/ {
		print $2 "\t" (committed ? "AFTER" : "BEFORE")
		if ($0 ~ /true *\},$/) committed = 1
	}'
}

# steps FILE - the target's
steps() {
	sed -n '/ steps\[\] = {/,/^};/p' proxy/target/session.c | grep -o '"target: [^"]*"' | tr -d '"'
}
rebuilding() {
	sed -n '/_stages\[\] = {/,/^};/p' proxy/target/restore.c | awk -F'"' '/^\t\{ "/ { print $2 }'
}

begin() {
	cat <<HEAD
# Made by tests/system/faults_rows.sh from the lists of stages
setup_file() {
	. tests/system/faults.bash
	faults_setup_file
}
teardown_file() {
	. tests/system/faults.bash
	system_down
}
setup() {
	. tests/system/faults.bash
}
teardown() {
	test_over
}
HEAD
}

# row NAME COMMAND...
row() {
	local name=$1
	shift
	printf '\n@test "%s" {\n\t%s\n}\n' "$name" "$(printf '%q ' "$@")"
}

# The same for a tree of processes, by turns
tree_rows() {
	local way=$1 file=$2 list=$3 label="$1: " stage when n=0
	grep -q "\"$way: " "$file" && label=
	while IFS=$'\t' read -r stage when; do
		n=$((n + 1))
		if [ -n "$all" ] || [ $((n % 2)) = 0 ]; then
			row "tree: ${label}$stage: it fails" tree fault "$way" hosta fail "$stage" "$when"
		fi
		if [[ $stage =~ ^($lost_when_killed)$ ]]; then
			row "tree: ${label}$stage: the origin's session is killed" tree may_be_lost "$way" hosta kill "$stage"
		elif [ -n "$all" ] || [ $((n % 2)) = 1 ]; then
			row "tree: ${label}$stage: the origin's session is killed" tree fault "$way" hosta kill "$stage" "$when"
		fi
		[ -z "$all" ] || row "tree: ${label}$stage: the connection ends" tree link "$way" "$stage" connections
	done < <(stages "$file" "$list")
	[ "$way" != move ] || row "tree: half of it is handed over" tree_half_handed_over
}

# rows WAY TARGET FILE LIST
rows() {
	local way=$1 host=$2 file=$3 list=$4 label stage when n=0
	# the other ways' stages say themselves which they are
	label="$way: "
	grep -q "\"$way: " "$file" && label=
	begin
	while IFS=$'\t' read -r stage when; do
		n=$((n + 1))
		# pairwise in `make check`: on the way onward a stage either fails or is killed
		[ -z "$all" ] && [ $way = onward ] && [ $((n % 2)) = 0 ] ||
			row "${label}$stage: it fails" fault $way hosta fail "$stage" $when
		if [[ $stage =~ ^($lost_when_killed)$ ]]; then
			row "${label}$stage: the origin's session is killed" may_be_lost $way hosta kill "$stage"
		elif [ -n "$all" ] || [ $way != onward ] || [ $((n % 2)) = 0 ]; then
			row "${label}$stage: the origin's session is killed" fault $way hosta kill "$stage" $when
		fi
		[ $way != move ] && [ -z "$all" ] || row "${label}$stage: the connection ends" link $way "$stage" connections
		[ -z "$all" ] || row "${label}$stage: the cable is pulled" link $way "$stage" cable
	done < <(stages "$file" "$list")
	[ $n -ge 5 ] || { echo "only $n stages in $list of $file" >&2; exit 1; }
	[ "$way" != home ] || return 0
	[ "$way" = move ] || [ -n "$all" ] || return 0	# the same steps as those of a move
	while read -r stage; do
		n=$((n + 1))
		case $stage in *"resuming a session") continue ;; esac
		row "$way, $stage: it fails" fault $way $host fail "$stage" BEFORE
		row "$way, $stage: its session is killed" fault $way $host kill "$stage" BEFORE
	done < <(steps)
	while read -r stage; do
		n=$((n + 1))
		row "$way, target: $stage: it fails" fault $way $host fail "$stage" BEFORE
		row "$way, target: $stage: mrestore is killed" fault $way $host kill "$stage" BEFORE
	done < <(rebuilding)
	[ $n -ge 14 ] || { echo "the target has too few steps: $n in all" >&2; exit 1; }
}

# The session holds a program there that is half made: with it, the program is lost, which must be said
lost_when_killed='home: rebuilding|home: handing over|home: resuming'

mkdir -p "$to"
rows move hostb proxy/origin/move.c move_stages >"$to/faults-move.bats"
rows onward hostc proxy/origin/onward.c stages >"$to/faults-onward.bats"
rows home hosta proxy/origin/home.c stages >"$to/faults-home.bats"
{
	begin
	tree_rows move proxy/origin/move.c move_stages
	tree_rows onward proxy/origin/onward.c stages
	tree_rows home proxy/origin/home.c stages
} >"$to/faults-tree.bats"

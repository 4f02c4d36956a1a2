# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# tree.bash - The kinds of move.rows for programs of several processes: mmigrate --tree

# move_tree TARGET - the program and its descendants, asked at the origin
move_tree() {
	mm "$H" --tree "$P" "$1" && runs_on "$1" "$P"
}

# The process @1 of the program, and all that it started at the origin, are on @2 and nowhere else
family_is_on() {
	local host=$1 pid
	shift
	for pid; do
		runs_on "$host" "$pid" || return
	done
}

# A shell with a pipeline in its loop, and a child that counts: all of it goes
row_tree_shell() {
	start_program hosta sh -c 'seq 1000000000 | while read -r n; do echo $n; sleep 0.05; [ ! -e '"/shared"'/stop-tree ] || exit 5; done; exit $?' || return
	goes_on && move_tree hostb && goes_on && goes_on || return
	touch "$SHARED/stop-tree"
	ended_with "exit 5"
	local rc=$?
	rm -f "$SHARED/stop-tree"
	[ $rc = 0 ] && counted "$OUT"
}

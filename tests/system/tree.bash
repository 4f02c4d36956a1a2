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
	goes_on && move_tree hostb && goes_on && move hostc && goes_on && home && goes_on || return
	touch "$SHARED/stop-tree"
	ended_with "exit 5"
	local rc=$?
	rm -f "$SHARED/stop-tree"
	[ $rc = 0 ] && counted "$OUT"
}

# Shared memory of which each process has another part
row_tree_parts() {
	start_program hosta "$@" && wait_for "$OUT" '^ready$' && say "check 0" && wait_for "$OUT" '^checked 0$' || return
	move_tree hostb && say "check 1" && wait_for "$OUT" '^checked 1$' || return
	move hostc && say "check 2" && wait_for "$OUT" '^checked 2$' || return
	home && say "check 3" && wait_for "$OUT" '^checked 3$' || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# A pool of workers with shared memory, locks and queues
row_tree_pool() {
	start_program hosta "$@" && goes_on && move_tree hostb && goes_on && move hostc && goes_on && home && goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# answers N TEXT STATUS - worker N answers, through a child of its own
answers() {
	say "$2" && wait_for "$OUT" "^$1 $2 $3 $P\$"
}

# A fork server over pipes
row_tree_server() {
	start_program hosta "$@" && wait_for "$OUT" "^ready $P\$" && answers 1 one 3 && answers 2 three 5 || return
	move_tree hostb && answers 3 four 4 && answers 1 eleven 6 && move hostc && answers 2 o 1 || return
	answers 3 p 1 && home && answers 1 q 1 && answers 2 seven 5 || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# make_project DIRECTORY - a small one in C that takes some seconds to build
make_project() {
	local i
	mkdir -p "$1/tmp" && chmod 777 "$1" "$1/tmp" || return
	for i in $(seq 16); do
		cat >"$1/part$i.c" <<C
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int table_${i}[1000];
$(for k in $(seq 120); do echo "int f_${i}_$k(int a, const char *s) { for (int i = 0; i < a % $k + 3; i++) table_${i}[i % 1000] += (int)strlen(s) * i + $k; return table_${i}[a % 1000] ^ $((i * k)); }"; done)
int part_$i(void) { int sum = 0; $(for k in $(seq 120); do echo "sum += f_${i}_$k($k, \"x\");"; done) return sum; }
C
	done
	{
		for i in $(seq 16); do echo "int part_$i(void);"; done
		echo 'int main(void) { int s = 0;'
		for i in $(seq 16); do echo "s += part_$i();"; done
		echo 'return s & 1; }'
	} >"$1/main.c"
	printf '%s\n' 'OBJ := main.o $(patsubst %,part%.o,'"$(seq -s ' ' 16)"')' 'prog: $(OBJ)' '	@echo LINK $@; gcc -o $@ $(OBJ)' \
		'%.o: %.c' '	@echo CC $<; gcc -O2 -c -o $@ $<' >"$1/Makefile"
}

# A build, moved in the middle: the objects are those of a build that stays
row_tree_make() {
	need make gcc || return
	make_project "$SHARED/there" && make_project "$SHARED/here" && chmod -R a+rwX "$SHARED/there" || return
	make -s -j2 -C "$SHARED/here" >/dev/null || return
	start_program hosta env TMPDIR=/shared/there/tmp make --no-print-directory -j2 -C /shared/there || return
	wait_for "$OUT" 'CC part3.c' && mm hosta --tree "$P" hostb || return
	wait_for "$OUT" 'CC part7.c' && mm hosta "$P" hostc || return
	wait_for "$OUT" 'CC part11.c' && mm hosta home "$P" || return
	wait_for "$OUT" 'LINK prog' && ended_with "exit 0" || return
	for file in "$SHARED"/here/*.o "$SHARED/here/prog"; do
		cmp "$file" "$SHARED/there/${file##*/}" || return
	done
	rm -rf "$SHARED/there" "$SHARED/here"
}

# shellcheck disable=SC2034,SC2120	# faults.bash reads FAMILY, and says how many
# many_start [CHILDREN] - processes that never pause.  Sets COUNTER, the file of one of them, and FAMILY, their numbers
many_start() {
	local dir
	dir=$(mktemp -d "$SHARED/many.XXXXXX") && chmod 777 "$dir" || return
	COUNTER=$dir/count.0
	start_program hosta /usr/bin/python3 "$BIN/programs/once.py" "/shared/${dir##*/}" "$@" && wait_for "$OUT" '^ready ' &&
		read -r -a FAMILY < <(sed -n "s/^ready/$P/p" "$OUT")
}

# many_end - none of them ever ran twice, or was set back
many_end() {
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ] && rm -rf "${COUNTER%/*}"
}

# Each of many is in one place at a time
row_tree_once() {
	many_start && move_tree hostb || return
	for _ in 1 2 3; do
		move hostc && move hostb || return
	done
	home && many_end
}

# ---- those that have lost their parents ----------------------------------------------------------------------

# kept_their_places DIRECTORY NAME... - each has counted without a gap, and was always where it was first
kept_their_places() {
	local dir=$1 name
	shift
	for name; do
		awk -v name="$name" 'NR == 1 { place = $2 " " $3 " " $4 " " $5 }
			$1 != NR || $2 " " $3 " " $4 " " $5 != place { print name ": line " NR " is: " $0 ", the first place was " place; bad = 1; exit }
			END { exit bad || NR < 3 }' "$dir/$name" >&2 || return
	done
}

# all_go_on DIRECTORY NAME... - each has two more lines
all_go_on() {
	local dir=$1 name was
	shift
	for name; do
		was=$(cat "$dir/$name" 2>/dev/null | wc -l)
		until_true has_lines "$dir/$name" $((was + 2)) || return
	done
}

has_lines() {
	[ -e "$1" ] && [ "$(lines "$1")" -ge "$2" ]
}

# place_of FILE - "PARENT GROUP SESSION", with names instead of numbers where they are the process's own
place_of() {
	awk 'NR == 1 { for (i = 3; i <= 5; i++) printf "%s%s", $i == $2 ? "own" : $i, i < 5 ? " " : "\n" }' "$1"
}

# A shell's orphans and daemons go along, on and home
row_orphans() {
	local dir names="orphan grouped leads leads-child follows daemon parent parent-child twice family family-child own job" host
	dir=$(mktemp -d "$SHARED/orphans.XXXXXX") && chmod 1777 "$dir" || return
	start_program hosta "$@" "/shared/${dir##*/}" || return
	wait_for "$OUT" '^ready$' && move hostb && say go && wait_for "$OUT" '^started$' || return
	# shellcheck disable=SC2086	# a list
	all_go_on "$dir" $names victim && [ "$(place_of "$dir/orphan" | cut -d' ' -f1)" = 1 ] &&
		[ "$(place_of "$dir/daemon")" = "1 own own" ] && [ "$(place_of "$dir/own")" = "$P own own" ] || return
	for host in hostc hostb; do
		# shellcheck disable=SC2086
		move $host && all_go_on "$dir" $names || return
	done
	say kill && wait_for "$OUT" '^killed$' || return
	# shellcheck disable=SC2086
	home && all_go_on "$dir" $names && move hostb && all_go_on "$dir" orphan job || return
	say end && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ] || return
	# shellcheck disable=SC2086
	kept_their_places "$dir" $names && rm -rf "$dir"
}

# A subreaper's orphans are its children everywhere, and it waits for them at home
row_adopts() {
	start_program hosta "$@" && wait_for "$OUT" '^ready$' && move hostb && say go && wait_for "$OUT" '^started$' || return
	say look && wait_for "$OUT" '^look 1$' && move hostc && say look && wait_for "$OUT" '^look 2$' || return
	home && say look && wait_for "$OUT" '^look 3$' && move_tree hostb && say look && wait_for "$OUT" '^look 4$' || return
	home && say end && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

pid_of() {
	awk 'NR == 1 { print $2 }' "$1"
}

# are_on HOST DIRECTORY NAME... - they, and nothing of them elsewhere, and they go on
are_on() {
	local host=$1 dir=$2 name
	shift 2
	for name; do
		runs_on "$host" "$(pid_of "$dir/$name")" || return
	done
	all_go_on "$dir" "$@"
}

# The program's first process has ended: what it left behind is moved under its number
row_left_behind() {
	local dir names="orphan grouped leads leads-child follows daemon parent parent-child twice family family-child" name host
	dir=$(mktemp -d "$SHARED/orphans.XXXXXX") && chmod 1777 "$dir" || return
	start_program hosta "$@" "/shared/${dir##*/}" || return
	wait_for "$OUT" '^ready$' && move hostb && say leave && ended_with "exit 0" || return
	# shellcheck disable=SC2086	# a list
	all_go_on "$dir" $names || return
	for host in hostc hostb; do
		# shellcheck disable=SC2086
		mm hosta "$P" $host && are_on $host "$dir" $names || return
	done
	# shellcheck disable=SC2086
	mm hosta home "$P" && are_on hosta "$dir" $names || return
	touch "$dir/stop"
	for name in $names own job victim; do
		until_true gone hosta "$(pid_of "$dir/$name")" || return
	done
	# shellcheck disable=SC2086
	kept_their_places "$dir" $names && rm -rf "$dir"
}

# Parents end while all are moved, and no process is lost, or there twice
row_restless() {
	local dir i host
	dir=$(mktemp -d "$SHARED/orphans.XXXXXX") && chmod 1777 "$dir" || return
	start_program hosta "$@" "/shared/${dir##*/}" || return
	wait_for "$OUT" '^ready$' && move hostb && say go && wait_for "$OUT" '^started$' || return
	for host in hostc hostb hostc; do
		# a file that one of them writes to just now is another one for a moment
		until_true move $host && all_go_on "$dir" worker0 worker1 worker2 chain0 chain1 || return
	done
	home && all_go_on "$dir" worker0 worker1 worker2 chain0 chain1 && say end && ended_with "exit 0" &&
		[ "$(tail -n 1 "$OUT")" = ok ] || return
	for i in worker0 worker1 worker2 chain0 chain1; do
		counted "$dir/$i" 8 || return
	done
	rm -rf "$dir"
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# segments.bash - The kinds of move.rows for programs with System V shared memory

# segments_on HOST N - so many segments are there, of whomever
segments_on() {
	[ "$(on "$1" sed 1d /proc/sysvipc/shm | wc -l)" = "$2" ] || {
		on "$1" cat /proc/sysvipc/shm >&2
		return 1
	}
}

no_segments() {
	until_true segments_on hosta 0 && segments_on hostb 0 && segments_on hostc 0
}

# What a test that failed has left
clear_segments() {
	on hosta sh -c 'sed 1d /proc/sysvipc/shm | while read -r _ id _; do ipcrm -m "$id"; done'
}

# A key that the program wants and doesn't get over there: somebody's who stays
foreign_segment() {
	on_as hosta "$HOSTS_USER" perl -e 'print shmget(0x51500001, 100, 0600 | 01000) // die $!'
}

# tells WORD - the program does that, and is well
tells() {
	say "$1" && wait_for "$OUT" "^$1\$" && goes_on
}

# segments_tour MOVE - there, on and home, twice: with segments that are made and removed on the way
segments_tour() {
	local n
	n=$(foreign_segment) && goes_on || return
	"$1" hostb && goes_on && tells there && tells new && move hostc && goes_on && home && goes_on || return
	"$1" hostc && goes_on && tells remove && tells new && home && goes_on && tells remove || return
	on_as hosta "$HOSTS_USER" perl -e 'shmctl(shift, 0, 0) or die $!' "$n"
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ] && no_segments
}

# One process
row_segments() {
	clear_segments && start_program hosta "$@" && segments_tour move
}

# Several
row_tree_segments() {
	clear_segments && start_program hosta "$@" && segments_tour move_tree
}

# Several, that have them attached for moments only
row_tree_segments_perl() {
	clear_segments && start_program hosta "$@" && goes_on && move_tree hostb && goes_on && move hostc && goes_on && home && goes_on || return
	move_tree hostb && goes_on && home && goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ] && no_segments
}

# It ends away from home, by a signal: what was marked for removal goes, what wasn't stays, as at home
row_segments_killed() {
	clear_segments && start_program hosta "$@" && goes_on && move hostb && goes_on && tells new && tells remove || return
	on hosta kill -KILL "$P" && ended_with "signal 9" && until_true segments_on hosta 3 && segments_on hostb 0 || return
	clear_segments && no_segments
}

# An mproxy that was started again doesn't know its predecessor's session, which is ended: a new one takes over
new_session() {
	local said
	said=$(mm hosta home "$P" 2>&1) && return 1
	on hosta kill -KILL "$(sed -n "s/.*after 'kill \([0-9]*\)'.*/\1/p" <<<"$said")"
}

# A way that fails is undone: what was attached for it isn't any more
row_segments_undone() {
	clear_segments && mproxy_fault hosta "waiting for the target=fail" && start_program hosta "$@" && goes_on || return
	! mm hosta --tree "$P" hostb && goes_on && runs_on hosta "$P" || return
	mproxy_fault hosta "handing over=fail" && ! mm hosta --tree "$P" hostb && goes_on || return
	mproxy_fault hosta "home: handing over=fail" && move_tree hostb && goes_on && tells new || return
	! mm hosta home "$P" && goes_on && runs_on hostb "$P" || return
	! mm hosta home "$P" && goes_on && runs_on hostb "$P" || return
	mproxy_fault hosta "" && new_session && until_true home 2>/dev/null && goes_on && tells remove && tells new || return
	move_tree hostb && goes_on && tells remove && home && goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ] && no_segments
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# refused.bash - Programs that can't be moved, and how that is said

# says_why CODE [HOST] - `why` and the move itself are refused with this code, and nothing was stopped
says_why() {
	run mm hosta why "$P" ${2:-hostb}
	echo "$output"
	[ "$status" = 1 ] && [[ $output == *"$1:"* ]] || return
	run mm hosta "$P" ${2:-hostb}
	echo "$output"
	[ "$status" = 1 ] && [[ $output == *"$1:"* ]] && [[ $output != *freezing* ]]
}

# goes_on_here - it counts, and ends as it should
goes_on_here() {
	goes_on && runs_on hosta "$P" && say stop && ended_with "exit 0" && counted "$OUT"
}

# start_odd [-u USER] KIND [ARGUMENT] - skips when the machine doesn't give it
start_odd() {
	local user=$HOSTS_USER
	[ "$1" != -u ] || { user=$2; shift 2; }
	start_program hosta -u "$user" /usr/bin/python3 "$BIN/programs/odd.py" "$@" || return
	wait_for "$OUT" '^(ready|not here)' || return
	! grep '^not here' "$OUT" || { end_program; skip "$(grep "^not here" "$OUT")"; }
}

refused() {
	local code=$1
	shift
	start_odd "$@" && says_why "$code" && goes_on_here
}

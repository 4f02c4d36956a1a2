# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# forks.bash - The kinds of move.rows for programs that make processes after they have moved

# forks_there COMMAND... - says ready, is moved, and makes its processes there
forks_there() {
	start_program hosta "$@" && wait_for "$OUT" '^ready$' && move hostb && say go
}

# It judges itself, and ends there
row_forks() {
	is_built "$1" && forks_there "$@" && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# As row_forks, where the keeper gives one child a wrong number
row_misnumbered() {
	mproxy_fault hostb "target: forking=fail" && forks_there "$@" && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ] || return
	mproxy_fault hostb ""
}

# Set-user-id and set-group-id programs would run without their privilege
row_setuid() {
	local program
	[ -g /usr/bin/chage ] || skip_or_fail "chage isn't set-group-id here" || return
	start_program hosta bash -c 'echo ready; read -r _; /bin/su --version; echo su $?; /usr/bin/chage --help; echo chage $?; exec /bin/su --version' &&
		wait_for "$OUT" '^ready$' && move hostb && say go && ended_with "exit 126" || return
	for program in su chage; do
		grep -qx "$program 126" "$OUT" && grep -q "$program: Operation not permitted" "$(outside "$D")/err" &&
			grep -q "E_SETUID: process [0-9]* may not run [a-z/]*/$program" "$(log_of hostb)" || return
	done
}

# Its parent hears of its end at once, and of all that its child still has to say
row_leaves_children() {
	# shellcheck disable=SC2034	# lib.bash reads H
	H=hosta D=/shared/$(basename "$(mktemp -d "$SHARED/run.XXXXXX")") && chmod 1777 "$(outside "$D")" || return
	OUT=$(outside "$D")/out
	mkfifo "$(outside "$D")/in" && touch "$OUT" "$(outside "$D")/err" && chmod 666 "$(outside "$D")"/*
	# start.py waits for the end of the output, too
	on_as hosta "$HOSTS_USER" setsid bash -c 'cd "$0"
		for fd in /proc/self/fd/*; do [ ${fd##*/} -le 2 ] || eval "exec ${fd##*/}>&-"; done
		exec 3<>in
		/usr/bin/python3 '"$BIN/programs/forks.py"' leaves_children "$0" <&3 3>&- 2>err > >(cat >>out; touch drained) &
		exec 3>&-
		echo $! >pid.new; mv pid.new pid; wait $!; echo "exit $?" >status.new; mv status.new status
		until [ -e drained ]; do sleep 0.1; done' "$D" </dev/null >"$(outside "$D")/start.log" 2>&1 3>&- &
	disown $!
	until_true test -s "$(outside "$D")/pid" && P=$(cat "$(outside "$D")/pid") && wait_for "$OUT" '^ready$' && move hostb || return
	echo go >"$(outside "$D")/in"
	ended_with "exit 0" && touch "$(outside "$D")/go-on" && until_true test -e "$(outside "$D")/drained" &&
		[ "$(grep -c '^late' "$OUT")" = 50000 ]
}

# What has ended and wasn't waited for is waited for elsewhere.  @1: - or --tree
row_ended() {
	start_program hosta "${@:2}" && wait_for "$OUT" '^ready$' || return
	if [ "$1" = --tree ]; then
		mm hosta --tree "$P" hostb && runs_on hostb "$P" || return
	else
		move hostb || return
	fi
	say more && wait_for "$OUT" '^more 2$' && move hostc && say more && wait_for "$OUT" '^more 3$' || return
	home && say more && wait_for "$OUT" '^more 4$' && say wait && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

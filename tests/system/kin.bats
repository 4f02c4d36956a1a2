#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# kin.bats - Programs with terminals and children while sessions, links, deputies, the hub or parents are lost

setup_file() {
	. tests/system/move.bash
	system_up root 3
}

teardown_file() {
	. tests/system/move.bash
	system_down
}

setup() {
	. tests/system/move.bash
	. tests/system/faults.bash
}

teardown() {
	test_over
}

kill_sessions() {
	local pid
	for pid in $(sessions_of "$1"); do
		on "$1" kill -KILL "$pid"
	done
}

# busy_forking COMMAND... - it makes 1,000 processes, while COMMAND happens now and then
busy_forking() {
	forks_there /usr/bin/python3 "$BIN/programs/forks.py" thousand || return
	for _ in 1 2 3; do
		until_true forked_more || return
		"$@" || return
	done
	WAIT_S=60 ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# The number that is given next has grown, at the origin, since this was true the last time
forked_more() {
	local now
	now=$(on hosta cut -d' ' -f5 /proc/loadavg)
	[ "$now" -gt $((${LAST_PID:-now} + 20)) ] || {
		LAST_PID=${LAST_PID:-$now}
		return 1
	}
	LAST_PID=$now
}

# By the terminal, and by cat
echoed() {
	[ "$(grep -ac "^$1.\?$" "$OUT")" = 2 ]
}

comes_home() {
	mm hosta home "$P" >"$HOSTS_DIR/home.log" 2>&1
}

cat_moved() {
	on_terminal cat && say_until one '^one' && move hostb && say_until two '^two'
}

@test "connections end while children are made" {
	busy_forking cut_link
}

@test "the target's session is killed while children are made" {
	busy_forking kill_sessions hostb
}

@test "the origin's session is killed while children are made" {
	busy_forking kill_sessions hosta
}

@test "sessions are killed while a terminal is read" {
	cat_moved
	for host in hosta hostb hosta; do
		kill_sessions $host
		LINE=after-$host-$((n += 1))
		say "$LINE"
		WAIT_S=60 until_true echoed "$LINE"
	done
	WAIT_S=60 until_true comes_home
	runs_on hosta "$P"
	say last
	until_true echoed last
	press 004
	ended_with "exit 0"
}

@test "the cable is pulled while ^Z and what was typed are on their way" {
	on_terminal bash --norc --noprofile -i
	say_until 'echo ready' '^ready'
	say cat
	until_true child_is "$P" cat
	SHELL_PID=$P P=$CHILD
	say_until one '^one'
	move hostb
	cable hostb down
	press 032
	sleep 1
	cable hostb up
	WAIT_S=60 screen '.*Stopped +cat'
	cable hostb down
	say fg
	say two
	sleep 1
	cable hostb up
	WAIT_S=60 screen '^two'
	press 004
	WAIT_S=60 say_until 'echo status $?' '^status 0'
	P=$SHELL_PID
	say 'exit 0'
	ended_with "exit 0"
}

@test "the terminal is hung up while the cable is pulled" {
	cat_moved
	cable hostb down
	hang_up
	sleep 1
	cable hostb up
	WAIT_S=60 ended_with "signal 1"
}

@test "the terminal's owner is killed" {
	cat_moved
	on hosta kill -KILL "$(cat "$(outside "$D")/feeder")"
	until_true gone hosta "$P"
	until_true nowhere
}

nowhere() {
	[ -z "$(where_it_runs)" ]
}

@test "the hub is killed" {
	cat_moved
	on hosta pkill -KILL -x mdeputy-hub
	ended_with "signal 9"
	until_true nowhere
	until_true grep -q E_PROGRAM_LOST "$(log_of hosta)"
}

@test "the hub is killed while children run" {
	forks_there bash "$BIN/programs/forks.sh" xargs_p
	on hosta pkill -KILL -x mdeputy-hub
	until_true test -s "$(outside "$D")/status"
	until_true nowhere
}

@test "the deputy is killed while its program reads a terminal" {
	cat_moved
	on hosta kill -KILL "$P"
	ended_with "signal 9"
	until_true nowhere
}

@test "a child's deputy is killed: its parent sees that" {
	start_program hosta bash -c 'echo ready; read -r _; sleep 1000 & echo $!; wait $!; echo status $?'
	wait_for "$OUT" '^ready$'
	move hostb
	say go
	wait_for "$OUT" '^[0-9]+$'
	on hosta kill -KILL "$(grep -E '^[0-9]+$' "$OUT")"
	wait_for "$OUT" '^status 137$'
	ended_with "exit 0"
}

@test "its parent at home is killed: it goes on, and has another" {
	start_program hosta /usr/bin/python3 -c 'if True:
		import os, sys, time
		was = os.getppid()
		print("ready", flush=True)
		while os.getppid() == was:
			time.sleep(0.05)
		open(sys.argv[1] + "/other", "w").write("another\n")' "/shared"
	wait_for "$OUT" '^ready$'
	move hostb
	on hosta kill -KILL "$(on hosta cut -d' ' -f4 "/proc/$P/stat")"
	until_true test -s "$SHARED/other"
	until_true gone hosta "$P"
	until_true nowhere
	rm -f "$SHARED/other"
}

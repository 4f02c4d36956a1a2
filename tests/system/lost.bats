#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# lost.bats - After a move: sessions, daemons, the keeper and the link are lost while bytes flow

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

# stream_moved - `source | gzip | tee | sha256sum`, gzip on hostb
stream_moved() {
	start_pipeline '/usr/bin/python3 $D/../bin/programs/source.py "$D" | member gzip gzip -1 | tee "$D/out" | sha256sum >"$D/sum"' &&
		pipeline_member gzip && more_came_out && move hostb && more_came_out
}

# stream_is_right - goes on, ends, and not a byte was lost or came twice
stream_is_right() {
	WAIT_S=60 more_came_out || return
	touch "$(outside "$D")/enough"
	ended_with "exit 0 0 0 0" || return
	python3 "$SYSTEM/programs/source.py" "$(outside "$D")" "$(cat "$(outside "$D")/chunks")" | gzip -1 | sha256sum >"$(outside "$D")/wanted"
	cmp "$(outside "$D")/wanted" "$(outside "$D")/sum"
}

kill_sessions() {
	local pid
	for pid in $(sessions_of "$1"); do
		on "$1" kill -KILL "$pid"
	done
}

comes_home() {
	mm hosta home "$P" >"$HOSTS_DIR/home.log" 2>&1
}

kill_daemon() {
	mproxy_stop "$1" KILL && mproxy_start "$1"
}

@test "the origin's session is killed" {
	stream_moved
	kill_sessions hosta
	stream_is_right
}

@test "the target's session is killed" {
	stream_moved
	kill_sessions hostb
	stream_is_right
}

@test "both sessions are killed, three times" {
	stream_moved
	for _ in 1 2 3; do
		kill_sessions hosta
		kill_sessions hostb
		WAIT_S=60 more_came_out
	done
	stream_is_right
}

@test "the origin's daemon is killed" {
	stream_moved
	kill_daemon hosta
	stream_is_right
}

@test "the target's daemon is killed" {
	stream_moved
	kill_daemon hostb
	stream_is_right
}

@test "both daemons are killed, and it comes home all the same" {
	stream_moved
	kill_daemon hosta
	kill_daemon hostb
	WAIT_S=60 more_came_out
	# a session of an earlier daemon can't be asked; its successor can
	kill_sessions hosta
	WAIT_S=60 more_came_out
	until_true comes_home
	runs_on hosta "$P"
	stream_is_right
}

@test "every connection ends, three times" {
	stream_moved
	for _ in 1 2 3; do
		cut_link
		WAIT_S=60 more_came_out
	done
	stream_is_right
}

@test "the cable is pulled, and put back" {
	stream_moved
	cable hostb down
	sleep 3
	cable hostb up
	stream_is_right
}

# lost - its parent sees SIGKILL, the log says why
lost() {
	ended_with "signal 9" && until_true grep -q E_PROGRAM_LOST "$(log_of hosta)"
}

@test "the keeper is killed: the program is lost, and that is said" {
	start_counter
	move hostb
	on hostb pkill -KILL -x mrestore
	lost
	[ -z "$(where_it_runs)" ]
}

@test "the program is killed at the target: its parent sees it" {
	start_counter
	move hostb
	on hostb pkill -KILL -x v_counter
	ended_with "signal 9"
}

@test "the deputy is killed: the program ends too" {
	start_counter
	move hostb
	on hosta kill -KILL "$P"
	ended_with "signal 9"
	until_true gone_everywhere
}

gone_everywhere() {
	[ -z "$(where_it_runs)" ]
}

#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# files-user.bats - Programs go into files and come out of them; mproxy is an ordinary user's

setup_file() {
	. tests/system/files.bash
	system_up user 2
}

teardown_file() {
	. tests/system/files.bash
	system_down
}

setup() {
	. tests/system/files.bash
	files_setup
}

teardown() {
	files_over
}

@test "python3 is saved and goes on; a second one comes out of the file, beside it" {
	second_beside_first
}

@test "python3, saved and stopped, goes on here" {
	only_one hosta
}

@test "python3, saved and stopped, goes on on another host" {
	only_one hostb
}

@test "threads and timers" {
	victim_through_file hosta "" "$BIN/victims/v_threads"
}

@test "threads and timers, on another host" {
	victim_through_file hosta hostb "$BIN/victims/v_threads"
}

@test "memory of every make" {
	victim_through_file hosta "" "$BIN/victims/v_mem"
}

@test "memory of every make, on another host" {
	victim_through_file hosta hostb "$BIN/victims/v_mem"
}

@test "exit status, and end by a signal" {
	ends_as_program
}

@test "its sessions are killed: it goes on" {
	sessions_are_killed "" hostb
}

@test "a file that it writes to has changed since" {
	start_counter
	save
	until_true has_more_lines "$COUNTER" $(($(lines "$COUNTER") + 5))
	original=$D out=$OUT first=$P
	restore_on hosta
	failed_with 1 "E_FILE_CHANGED: .*/${COUNTER##*/}"
	D=$original OUT=$out P=$first
	counter_ends
}

@test "restoring here: each stage fails" {
	restoring_disturbed fail "" stages_of origin/revive.c revive_stages
}

@test "restoring here: the session is killed at each stage" {
	restoring_disturbed kill "" stages_of origin/revive.c revive_stages
}

@test "restoring here: each step of the target fails" {
	restoring_disturbed fail "" stages_of_target
}

@test "restoring here: the target is killed at each step" {
	restoring_disturbed kill "" stages_of_target
}

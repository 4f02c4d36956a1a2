#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# files.bats - Programs go into files, and come out of them: mproxy as root

setup_file() {
	. tests/system/files.bash
	system_up root 2
}

teardown_file() {
	. tests/system/files.bash
	system_down
}

setup() {
	. tests/system/files.bash
}

teardown() {
	test_over
}

@test "python3 is saved, and goes on" {
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	mmf hosta save "$P" "$IMAGE"
	goes_on
	mmf hosta inspect "$IMAGE"
	say stop && ended_with "exit 0" && counted "$OUT"
	restore_on hosta
	cat "$(outside "$R")/err"
	until_true has_more_lines "$(outside "$R")/out" 3
}

#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# why-user.bats - What an ordinary user's mproxy can't move

setup_file() {
	. tests/system/lib.bash
	system_up user 2
}

teardown_file() {
	. tests/system/lib.bash
	system_down
}

setup() {
	. tests/system/lib.bash
	. tests/system/refused.bash
}

teardown() {
	test_over
}

@test "a program that may not be traced" {
	refused E_NOT_TRACEABLE undumpable
}

@test "mproxy itself" {
	start_odd plain && move hostb || return
	P=$(on hosta pgrep -x mdeputy-hub) says_why E_ITS_OWN
	P=$(mproxy_pid hosta) says_why E_ITS_OWN
	say stop && ended_with "exit 0"
}

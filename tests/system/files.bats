#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# files.bats - Programs go into files and come out of them; mproxy is root's

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
	files_setup
}

teardown() {
	files_over
}

# ---- there and back ------------------------------------------------------------------------------

@test "python3 is saved and goes on; a second one comes out of the file, beside it" {
	second_beside_first
}

@test "python3, saved and stopped, goes on on another host, and is the only one" {
	only_one hostb
}

@test "threads and timers" {
	victim_through_file hosta "" "$BIN/victims/v_threads"
}

@test "threads and timers, on another host" {
	victim_through_file hosta hostb "$BIN/victims/v_threads"
}

@test "a file that another host made" {
	victim_through_file hostb "" "$BIN/victims/v_threads"
}

@test "memory of every make" {
	victim_through_file hosta "" "$BIN/victims/v_mem"
}

@test "memory of every make, on another host" {
	victim_through_file hosta hostb "$BIN/victims/v_mem"
}

@test "descriptors of every kind" {
	victim_through_file hosta "" "$BIN/victims/v_fds" /shared
}

@test "a static program" {
	victim_through_file hosta "" "$BIN/victims/v_signals-static"
}

@test "a file that it writes to, on another host" {
	start_counter
	save --stop
	ended_with "signal 9"
	restore_on hosta hostb
	until_true has_more_lines "$COUNTER" $(($(lines "$COUNTER") + 5))
	counter_ends
}

@test "root's own program" {
	start_program hosta -u root /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	mm hosta save "$P" "$IMAGE" --stop
	ended_with "signal 9"
	IN=$P
	start_program hosta -u root "$BIN/mmigrate" --control "$CONTROL" restore "$IMAGE"
	goes_on
	runs_on hosta "$IN"
	say stop
	ended_with "exit 0"
}

@test "restored, it moves on; it has no home, and can't be saved while it is away" {
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	save --stop
	restore_on hosta
	goes_on
	run mmf hosta ps
	echo "$output"
	[[ $output == *"$(deputy)"*"here, behind its deputy"*python3* ]]
	mmf hosta "$(deputy)" hostb
	runs_on hostb "$IN"
	goes_on
	run mmf hosta home "$(deputy)"
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *E_IMAGE_HOME* ]]
	run mmf hosta save "$(deputy)" "$IMAGE.2"
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"only a program that is at home can be saved"* ]]
	say stop
	ended_with "exit 0"
}

# ---- what its parent sees ---------------------------------------------------------------------------

@test "exit status, and end by a signal" {
	ends_as_program
}

@test "it stops and goes on with mmigrate" {
	start_program hosta "$BIN/victims/v_signals"
	wait_for "$OUT" '^ready$'
	save --stop
	restore_on hosta
	said 'goes on'
	runs_on hosta "$IN"
	on hosta kill -STOP "$(deputy)"
	until_true on hosta grep -q '^State:	T' "/proc/$P/status"
	[ "$(count_running hosta "$IN" T)" = 1 ]
	on hosta kill -CONT "$P"
	until_true runs_here hosta "$IN"
	say stop
	ended_with "exit 0"
	[ "$(tail -n 1 "$OUT")" = ok ]
}

@test "^Z stops a program that has no opinion about it" {
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	save --stop
	restore_on hosta
	goes_on
	on hosta kill -TSTP "$P"
	until_true on hosta grep -q '^State:	T' "/proc/$P/status"
	[ "$(count_running hosta "$IN" T)" = 1 ]
	on hosta kill -CONT "$P"
	goes_on
	say stop
	ended_with "exit 0"
}

@test "its standard streams are files" {
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	save --stop
	ended_with "signal 9"
	echo stop >"$SHARED/images/in"
	for _ in 1 2 3; do
		mmf hosta -q restore "$IMAGE" <"$SHARED/images/in" >"$SHARED/images/out"
		[ "$(tail -n 1 "$SHARED/images/out")" = ok ]
	done
	mmf hosta -q restore "$IMAGE" hostb <"$SHARED/images/in" | tail -n 1 >"$SHARED/images/out"
	[ "$(cat "$SHARED/images/out")" = ok ]
}

@test "its standard streams are a terminal: ^C arrives" {
	need script
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	save --stop
	IN=$P ORIGINAL=$D
	start_program hosta script -qefc "$BIN/mmigrate --control $CONTROL restore $IMAGE" /dev/null
	goes_on
	runs_on hosta "$IN"
	printf '\003' >"$(outside "$D")/in"
	# script says by that number that it was SIGINT; the traceback goes to where standard error was a file
	ended_with "exit 130"
	grep -q KeyboardInterrupt "$(outside "$ORIGINAL")/err"
}

@test "mmigrate is killed: so is the program" {
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py"
	goes_on
	save --stop
	restore_on hosta
	goes_on
	on hosta kill -KILL "$P"
	ended_with "signal 9"
	until_true runs_nowhere
}

@test "its sessions are killed: it goes on" {
	sessions_are_killed "" hostb
}

# ---- inspect -------------------------------------------------------------------------------------------

@test "inspect needs no mproxy, and tells people and programs" {
	start_program hosta "$BIN/victims/v_threads"
	wait_for "$OUT" '^ready$'
	save --stop
	run on_as hostb "$HOSTS_USER" "$BIN/mmigrate" --control /nowhere inspect "$IMAGE"
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *"v_threads, process $P, saved on hosta"*"pages"*"threads"*"v_threads  "*sha256* ]]
	on_as hostb "$HOSTS_USER" "$BIN/mmigrate" --control /nowhere inspect --json "$IMAGE" |
		/usr/bin/python3 -c 'import json, sys
image = json.load(sys.stdin)
assert image["host"] == "hosta" and image["image"]["pid"] == int(sys.argv[1]) and image["pages"] > 10, image
assert len(image["image"]["threads"]) > 3' "$P"
}

# ---- refused -------------------------------------------------------------------------------------------

# refused_file REGEX - by inspect, if $2 is "both", and by restore
refused_file() {
	if [ "${2:-}" = both ]; then
		run mmf hosta inspect "$IMAGE"
		echo "$output"
		[ "$status" = 1 ] && [[ $output =~ $1 ]] || return
	fi
	restore_on hosta && failed_with 1 "$1" && runs_nowhere || return
	P=$IN
}

@test "a damaged file" {
	start_program hosta "$BIN/victims/v_hello"
	goes_on
	save --stop
	file=$(outside "$IMAGE")
	cp "$file" "$file.whole"
	size=$(stat -c %s "$file")
	# in the head, the description, the memory, the end
	for at in 40 1000 $((size / 2)) $((size - 20)); do
		/usr/bin/python3 - "$file" "$at" <<'PY'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    byte = f.read(1)[0]
    f.seek(int(sys.argv[2]))
    f.write(bytes([byte ^ 16]))
PY
		refused_file 'E_IMAGE_DAMAGED: .*damaged at byte' both
		cat "$file.whole" >"$file"
	done
	for size in 0 3 100 5000 $((size - 1)); do
		head -c "$size" "$file.whole" >"$file"
		refused_file 'E_IMAGE_DAMAGED' both
	done
	cat "$file.whole" - >"$file" <<<"more"
	refused_file 'E_IMAGE_DAMAGED: .*something follows' both
	cat "$file.whole" >"$file"
	restore_on hosta
	goes_on
	say stop
	ended_with "exit 0"
}

@test "a file that others may write to, or that is another user's" {
	start_program hosta "$BIN/victims/v_hello"
	goes_on
	save --stop
	chmod 620 "$(outside "$IMAGE")"
	refused_file 'E_IMAGE_RIGHTS: others may write'
	chmod 644 "$(outside "$IMAGE")"
	chown 12345 "$(outside "$IMAGE")"
	refused_file "E_IMAGE_RIGHTS: .* is uid 12345's"
	chmod 600 "$(outside "$IMAGE")"
	refused_file "Permission denied"
}

@test "a program of another user's in a file of one's own" {
	start_program hosta "$BIN/victims/v_hello"
	goes_on
	mm hosta save "$P" "$IMAGE" --stop
	[ "$(stat -c '%a %u' "$(outside "$IMAGE")")" = "600 0" ]
	IN=$P
	start_program hosta -u root "$BIN/mmigrate" --control "$CONTROL" restore "$IMAGE"
	failed_with 1 E_USER
	runs_nowhere
}

@test "a file that it writes to has changed since" {
	start_counter
	save
	until_true has_more_lines "$COUNTER" $(($(lines "$COUNTER") + 5))
	counter=$COUNTER original=$D first=$P
	restore_on hosta
	failed_with 1 "E_FILE_CHANGED: hosta: .*/${counter##*/}"
	D=$original OUT=$(outside "$original")/out P=$first
	counter_ends
}

@test "a program of a newer version is there" {
	mkdir -p "$SHARED/private"
	cp "$SHARED/bin/victims/v_hello" "$SHARED/private/program"
	start_program hosta /shared/private/program
	goes_on
	save --stop
	ended_with "signal 9"
	rm "$SHARED/private/program"
	refused_file E_FILE_MISSING
	cp "$SHARED/bin/victims/v_mem" "$SHARED/private/program"
	refused_file 'E_FILE_DIFFERS: .*/shared/private/program.*bytes.*bytes'
	rm -rf "$SHARED/private"
}

@test "a pipe that is none of the standard streams" {
	start_program hosta bash -c 'exec 5<&0 0</dev/null; exec "$@"' - /usr/bin/python3 -c 'import os, time
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.02)'
	goes_on
	save --stop
	refused_file 'E_IMAGE_STREAMS: descriptor 5'
}

@test "what can't be moved can't be saved, and no file is left" {
	start_program hosta /usr/bin/python3 "$BIN/programs/odd.py" "tcp socket"
	wait_for "$OUT" '^ready'
	run save
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *E_SOCKET:* ]]
	[[ $output != *freezing* ]]
	no_file
	goes_on
	say stop
	ended_with "exit 0"
}

@test "another user's program, a directory that isn't there, no such program, no number" {
	start_program hosta -u root "$BIN/victims/v_hello"
	goes_on
	on hosta chmod 666 "$CONTROL"
	run save
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *E_NOT_PERMITTED* ]]
	run mm hosta save "$P" /shared/images/none/image
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"No such file or directory"* ]]
	run mm hosta save "$P" /shared/images
	[ "$status" = 1 ]
	[[ $output == *"is no file"* ]]
	run mmf hosta save 999999 "$IMAGE"
	[ "$status" = 1 ]
	[[ $output == *E_NO_PROCESS* ]]
	run mmf hosta save x "$IMAGE"
	[ "$status" = 2 ]
	run mmf hosta --stop ps
	[ "$status" = 2 ]
	no_file
	goes_on
	say stop
	ended_with "exit 0"
}

@test "a program that is elsewhere" {
	start_program hosta "$BIN/victims/v_hello"
	goes_on
	move hostb
	run save
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"only a program that is at home can be saved"* ]]
	run mmf hostb save "$P" "$IMAGE"
	echo "$output"
	[ "$status" = 1 ]
	no_file
	goes_on
	runs_on hostb "$P"
	say stop
	ended_with "exit 0"
}

@test "a host that isn't trusted, and one that isn't there" {
	start_program hosta "$BIN/victims/v_hello"
	goes_on
	save --stop
	restore_on hosta nowhere
	failed_with 1 'no host named nowhere'
	P=$IN
	mproxy_stop hostb
	restore_on hosta hostb
	failed_with 1 hostb
	runs_nowhere
	mproxy_start hostb
}

# ---- disturbed at each stage ------------------------------------------------------------------------------

@test "saving: each stage fails" {
	saving_disturbed fail --stop
}

@test "saving: the session is killed at each stage" {
	saving_disturbed kill --stop
}

@test "restoring here: each stage fails" {
	restoring_disturbed fail "" stages_of origin/revive.c revive_stages
}

@test "restoring here: the session is killed at each stage" {
	restoring_disturbed kill "" stages_of origin/revive.c revive_stages
}

@test "restoring on another host: each stage fails" {
	restoring_disturbed fail hostb stages_of origin/revive.c revive_stages
}

@test "restoring on another host: the session is killed at each stage" {
	restoring_disturbed kill hostb stages_of origin/revive.c revive_stages
}

@test "restoring here: each step of the target fails" {
	restoring_disturbed fail "" stages_of_target
}

@test "restoring here: the target is killed at each step" {
	restoring_disturbed kill "" stages_of_target
}

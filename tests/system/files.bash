# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# files.bash - Programs that go into files, on top of lib.bash
#
# A program is started and asked as the user mover, also where mproxy is root's: the file is theirs.

# shellcheck source=tests/system/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"

IMAGE=/shared/images/image

# mmf HOST ARGUMENT... - mmigrate, as the programs' user
mmf() {
	local host=$1
	shift
	mkdir -p "$SHARED/images" && chmod 1777 "$SHARED/images"
	on_as "$host" "$HOSTS_USER" timeout -k 5 60 "$BIN/mmigrate" --control "$CONTROL" "$@"
}

# restore_on HOST [ARGUMENT...] - in the background, its standard streams as a program's of start.py: R is
# the directory with in, out, err and status
restore_on() {
	local host=$1
	shift
	R=/shared/$(basename "$(mktemp -d "$SHARED/run.XXXXXX")") && chmod 1777 "$(outside "$R")" || return
	mkfifo "$(outside "$R")/in" && touch "$(outside "$R")/out"
	on "$host" setsid /usr/bin/python3 "$BIN/start.py" "$R" "$HOSTS_USER" \
		"$BIN/mmigrate" --control "$CONTROL" restore "$IMAGE" "$@" </dev/null >"$(outside "$R")/start.log" 2>&1 3>&- &
	disown $!
	until_true test -s "$(outside "$R")/pid"
}

# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# files.bash - Programs that go into files and come out of them, on top of faults.bash
#
# They are started, saved and restored as the user mover, also where mproxy is root's: the file is
# theirs.  A restored program is looked at as one that start.py started: what mmigrate does is what its
# parent sees.

# shellcheck source=tests/system/faults.bash
. "${BASH_SOURCE[0]%/*}/faults.bash"

IMAGE=/shared/images/image

# mmf HOST ARGUMENT... - mmigrate, as the programs' user
mmf() {
	local host=$1
	shift
	on_as "$host" "$HOSTS_USER" timeout -k 5 60 "$BIN/mmigrate" --control "$CONTROL" "$@"
}

files_setup() {
	mkdir -p "$SHARED/images" && chmod 1777 "$SHARED/images" && rm -f "$SHARED"/images/* "$SHARED"/images/.[!.]*
}

files_over() {
	[ -z "${ORIGINAL:-}" ] || rm -rf "$(outside "$ORIGINAL")"
	test_over
}

# save [ARGUMENT...] - the program, to IMAGE
save() {
	mmf "$H" save "$P" "$IMAGE" "$@"
}

# restore_on HOST [ARGUMENT...] - asked there, in the background.  From then on D, OUT, P and H are those of
# mmigrate, IN is the program's number
restore_on() {
	local host=$1
	shift
	IN=$P
	ORIGINAL=$D
	start_program "$host" "$BIN/mmigrate" --control "$CONTROL" restore "$IMAGE" "$@"
}

# said REGEX - mmigrate, on its standard error
said() {
	wait_for "$D/err" "$1"
}

# failed_with STATUS REGEX - mmigrate restore
failed_with() {
	ended_with "exit $1" && grep -E -- "$2" "$(outside "$D")/err" && [ ! -s "$OUT" ]
}

# runs_nowhere - the program that was to come out of the file
runs_nowhere() {
	local i
	for ((i = 0; i < N_HOSTS; i++)); do
		[ "$(count_running "${HOSTS_NAMES[i]}" "$IN")" = 0 ] || return
	done
}

# no_file - neither the image nor what it was before it had its name
no_file() {
	[ -z "$(ls -A "$SHARED/images")" ]
}

# deputy - the process that stands for the restored program
deputy() {
	on "$H" pgrep -P "$P"
}

# victim_through_file HOST OTHER COMMAND... - saved with --stop, restored by HOST on OTHER ("" itself), where it
# judges itself
victim_through_file() {
	local host=$1 other=$2
	shift 2
	start_program hosta "$@" && wait_for "$OUT" '^ready$' && save --stop && ended_with "signal 9" || return
	# shellcheck disable=SC2086	# none, or one
	restore_on "$host" $other && said 'goes on' && runs_on "${other:-$host}" "$IN" || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# second_counts_on - what came out of the file counts on from where the first was when it was saved: after
# FIRST lines, before LAST.  Two of them run now
second_counts_on() {
	until_true has_more_lines "$OUT" 5 || return
	awk -v first="$1" -v last="$2" 'NR == 1 && ($1 <= first || $1 > last + 1) { print "it began with " $1; exit 1 }
		NR > 1 && $1 != before + 1 && $1 != "ok" { print $1 " after " before; exit 1 } { before = $1 }' "$OUT" >&2
}

# stages_of FILE LIST - as faults_rows.sh has them
stages_of() {
	sed -n "/$2\\[\\] = {/,/^};/p" "$HOSTS_TOP/proxy/$1" | awk -F'"' '/^\t\{ "/ { print $2 }'
}

stages_of_target() {
	sed -n '/ steps\[\] = {/,/^};/p' "$HOSTS_TOP/proxy/target/session.c" | grep -o '"target: [^"]*"' | tr -d '"' |
		grep -v 'resuming a session'
	stages_of target/restore.c _stages
}

# `run` of bats sets them
: "${output:=}" "${status:=}"

# ---- tests of both modes -----------------------------------------------------------------------

second_beside_first() {
	local first last original out
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py" && goes_on || return
	first=$(lines "$OUT")
	run save
	echo "$output"
	[ "$status" = 0 ] && [[ $output == *"makes a second one of it"* ]] || return
	last=$(lines "$OUT")
	[ "$(stat -c '%a %U' "$(outside "$IMAGE")")" = "600 $HOSTS_USER" ] && goes_on || return
	original=$D out=$OUT
	restore_on hosta && said 'goes on here' && second_counts_on "$first" "$last" || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ] || return
	# the first one never noticed
	D=$original OUT=$out
	goes_on && say stop && ended_with "exit 0" && counted "$OUT"
}

# only_one HOST - it goes on there, from where it was
only_one() {
	local before
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py" && goes_on || return
	run save --stop
	echo "$output"
	[ "$status" = 0 ] && [[ $output == *"its parent sees it killed by SIGKILL"* ]] && ended_with "signal 9" || return
	before=$OUT
	restore_on hosta "$1" && runs_on "$1" "$IN" && goes_on && say stop && ended_with "exit 0" || return
	cat "$OUT" >>"$before"
	counted "$before" 5
}

ends_as_program() {
	start_program hosta "$BIN/victims/v_exit" && wait_for "$OUT" '^ready$' && save --stop || return
	restore_on hosta && said 'goes on' && say 'exit 42' && ended_with "exit 42" || return
	P=$IN
	restore_on hosta && said 'goes on' && say 'kill 10' && ended_with "signal 10" || return
	P=$IN
	restore_on hosta && said 'goes on' && on hosta kill -HUP "$P" && ended_with "signal 1"
}

# sessions_are_killed HOST... - where it is restored, "" is here
sessions_are_killed() {
	local to host pid
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py" && goes_on && save --stop || return
	for to; do
		# shellcheck disable=SC2086	# none, or one
		restore_on hosta $to && goes_on || return
		for _ in 1 2; do
			for host in hosta hostb; do
				for pid in $(sessions_of $host); do
					on $host kill -KILL "$pid" || true
				done
			done
			WAIT_S=60 goes_on || return
		done
		say stop && ended_with "exit 0" || return
		P=$IN
	done
}

# saving_disturbed fail|kill [ARGUMENT...] - then there is no file and the program goes on; or the file is whole
saving_disturbed() {
	local what=$1 stage n=0 rc
	shift
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py" && goes_on || return
	while read -r stage; do
		n=$((n + 1))
		mproxy_fault hosta "$stage=$what" || return
		rc=0
		save "$@" || rc=$?
		if [ -e "$(outside "$IMAGE")" ]; then
			mmf hosta inspect "$IMAGE" >/dev/null || return
		fi
		[ $rc != 0 ] || [ -e "$(outside "$IMAGE")" ] || return
		rm -f "$(outside "$IMAGE")"
		no_file && goes_on && runs_on hosta "$P" || {
			echo "after: $stage=$what"
			return 1
		}
	done < <(stages_of origin/save.c save_stages)
	[ $n -ge 8 ] && mproxy_fault hosta "" && say stop && ended_with "exit 0" && counted "$OUT"
}

# restoring_disturbed fail|kill HOST STAGES... - a command that lists them.  It runs nowhere, and mmigrate said so; only
# from COMMIT on it runs, once
restoring_disturbed() {
	local what=$1 host=$2 stage n=0
	shift 2
	start_program hosta /usr/bin/python3 "$BIN/programs/count.py" && goes_on && save --stop && ended_with "signal 9" || return
	while read -r stage; do
		n=$((n + 1))
		# shellcheck disable=SC2086	# none, or one
		mproxy_fault hosta "$stage=$what" && restore_on hosta $host && until_true ended_or_counting || return
		if [ -s "$(outside "$D")/status" ]; then
			echo "$stage: $(cat "$(outside "$D")/status")"
			[ ! -s "$OUT" ] && until_true runs_nowhere || return
		else
			echo "$stage: it runs"
			case $stage in *"resuming there") ;; *) return 1 ;; esac
			goes_on && say stop && ended_with "exit 0" || return
		fi
		P=$IN
	done < <("$@")
	[ $n -ge 8 ] && mproxy_fault hosta ""
}

ended_or_counting() {
	[ -s "$(outside "$D")/status" ] || has_more_lines "$OUT" 2
}

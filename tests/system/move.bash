# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# move.bash - The kinds of move.rows: how a program is started, moved a->b->c->a, and judged
#
# Every function gets the row's command.  hosta is the origin.

# shellcheck source=tests/system/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"

# tour [COMMAND...] - to hostb, on to hostc, home; COMMAND after each step
tour() {
	move hostb || return
	"${@:-true}" || return
	move hostc || return
	"${@:-true}" || return
	home || return
	"${@:-true}"
}

# is_built PROGRAM - or the test is skipped
is_built() {
	case $1 in
	"$BIN"/victims/*)
		[ -x "$(outside "$1")" ] || skip_or_fail "${1##*/} isn't built here"
		;;
	*) need "${1##*/}" ;;
	esac
}

# Prints numbers, ends with "ok" after a line
row_count() {
	is_built "$1" && start_program hosta "$@" && goes_on && tour goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# As row_count; and now and then it runs a program of the origin's, which can't move on: then it is asked again
row_runs_there() {
	is_built "$1" && start_program hosta "$@" && goes_on && move hostb && goes_on || return
	until_true move hostc && goes_on && home && goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ]
}

row_count_root() {
	start_program hosta -u root "$@" && goes_on && tour goes_on || return
	say stop && ended_with "exit 0" && counted "$OUT" && [ "$(tail -n 1 "$OUT")" = ok ]
}

row_hello() {
	row_count "$@"
}

# Says ready, judges itself after a line
row_victim() {
	is_built "$1" && start_program hosta "$@" && wait_for "$OUT" '^ready$' && tour || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# Says ready, judges itself in the end, which comes by itself
row_by_itself() {
	is_built "$1" && start_program hosta "$@" && wait_for "$OUT" '^ready$' && tour || return
	ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# COMMAND... -- LINE HOW: ends as the line says, away from home
row_ends() {
	start_program hosta "$1" && wait_for "$OUT" '^ready$' && move hostb || return
	say "$3" && ended_with "$4"
}

# COMMAND... -- SIGNAL HOW: the signal is sent at the origin
row_killed() {
	start_program hosta "$1" && goes_on && move hostb && goes_on || return
	on hosta kill "-$3" "$P" && ended_with "$4"
}

# A signal with a value arrives with it
row_queued() {
	start_program hosta "$1" && wait_for "$OUT" '^ready$' && move hostb || return
	on hosta /usr/bin/python3 - "$P" <<'PY' || return
import ctypes, os, signal, sys
class sigval(ctypes.Union):
    _fields_ = [("i", ctypes.c_int), ("p", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, sigval]
if libc.sigqueue(int(sys.argv[1]), signal.SIGRTMIN + 5, sigval(i=4711)):
    sys.exit(os.strerror(ctypes.get_errno()))
PY
	wait_for "$OUT" '^signal [0-9]+ code -1 value 4711 uid 0$' || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

is_stopped_on() {
	[ "$(count_running "$1" "$2" T)" = 1 ]
}

state_at_origin() {
	on hosta grep -q "^State:	$2" "/proc/$1/status"
}

# Stops and goes on with its deputy
row_stops() {
	start_program hosta "$1" && wait_for "$OUT" '^ready$' && move hostb || return
	on hosta kill -STOP "$P" && until_true state_at_origin "$P" '[Tt]' || return
	until_true is_stopped_on hostb "$P" || return
	on hosta kill -CONT "$P" && wait_for "$OUT" '^continued 1$' && runs_on hostb "$P" || return
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ]
}

# A session in the middle: the statements before and after go through the pipe
row_sqlite() {
	need sqlite3 || return
	on hosta install -d -m 1777 /shared/db
	start_program hosta sqlite3 -batch /shared/db/test.db || return
	say "create table t(n integer, s text); insert into t values(1, 'before');"
	say "begin; insert into t values(2, 'in the middle'); select 'rows', count(*) from t;"
	wait_for "$OUT" '^rows\|2$' && move hostb || return
	say "insert into t values(3, 'there'); select 'rows', count(*) from t;"
	wait_for "$OUT" '^rows\|3$' && move hostc || return
	say "commit; insert into t values(4, 'further'); select 'rows', count(*) from t;"
	wait_for "$OUT" '^rows\|4$' && home || return
	say "insert into t values(5, 'home'); select 'rows', count(*) from t;"
	wait_for "$OUT" '^rows\|5$' || return
	say ".quit"
	ended_with "exit 0" &&
		[ "$(sqlite3 "$SHARED/db/test.db" "select group_concat(n) from t; pragma integrity_check")" = "1,2,3,4,5
ok" ]
	rm -rf "$SHARED/db"
}

# ---- pipelines: others are at both ends, and stay ---------------------------------------------

# start_pipeline SHELL_CODE - in hosta, as mover, in the directory D; a member writes down its number
# with `member NAME COMMAND...`.  Its end is written to D/status
start_pipeline() {
	D=/shared/$(basename "$(mktemp -d "$SHARED/run.XXXXXX")") && chmod 1777 "$(outside "$D")" || return
	OUT=$(outside "$D")/out H=hosta
	touch "$OUT" "$(outside "$D")/err" "$(outside "$D")/start.log"
	chmod 666 "$OUT" "$(outside "$D")/err"
	on_as hosta "$HOSTS_USER" setsid bash -c 'D=$1; cd "$D"
		for fd in /proc/self/fd/*; do [ ${fd##*/} -le 2 ] || eval "exec ${fd##*/}>&-"; done
		member() { echo $BASHPID >"$D/$1.pid"; shift; exec "$@" 2>"$D/err"; }
		eval "$2
			how=\"exit \${PIPESTATUS[*]}\""
		echo "$how" >"$D/status.new"; mv "$D/status.new" "$D/status"' - "$D" "$1" \
		</dev/null >>"$(outside "$D")/start.log" 2>&1 3>&- &
	disown $!
}

pipeline_member() {
	until_true test -s "$(outside "$D")/$1.pid" || return
	P=$(cat "$(outside "$D")/$1.pid")
	# it has become the program
	until_true on hosta sh -c 'case $(readlink /proc/$0/exe) in */bash) exit 1 ;; esac' "$P"
}

bytes_more() {
	[ "$(stat -c %s "$1")" -gt "$2" ]
}

more_came_out() {
	until_true bytes_more "$OUT" $(($(stat -c %s "$OUT") + 200000))
}

# The middle of a pipeline, busy all the time: nothing is lost and nothing comes twice
row_gzip() {
	need gzip || return
	start_pipeline '/usr/bin/python3 $D/../bin/programs/source.py "$D" | member gzip gzip -1 | tee "$D/out" | sha256sum >"$D/sum"' || return
	pipeline_member gzip && more_came_out && tour more_came_out || return
	touch "$(outside "$D")/enough"
	ended_with "exit 0 0 0 0" || return
	python3 "$SYSTEM/programs/source.py" "$(outside "$D")" "$(cat "$(outside "$D")/chunks")" | gzip -1 | sha256sum >"$(outside "$D")/wanted"
	cmp "$(outside "$D")/wanted" "$(outside "$D")/sum"
}

# The last of a pipeline reads, and says something in the end only
row_reader() {
	start_pipeline '/usr/bin/python3 $D/../bin/programs/source.py "$D" | tee "$D/out" | member sum sha256sum | cat >"$D/sum"' || return
	pipeline_member sum && more_came_out && tour more_came_out || return
	touch "$(outside "$D")/enough"
	ended_with "exit 0 0 0 0" || return
	python3 "$SYSTEM/programs/source.py" "$(outside "$D")" "$(cat "$(outside "$D")/chunks")" | sha256sum >"$(outside "$D")/wanted"
	cmp "$(outside "$D")/wanted" "$(outside "$D")/sum"
}

# A shell's pipeline of four, the third moves; then the last one ends, and all end by SIGPIPE
row_filter() {
	need sed perl || return
	start_pipeline 'seq 1 100000000 | grep -v x | member filter sed "s/^/hello /" |
		perl -ne "print; exit if !($. % 1000) && -e qq($D/enough)" >"$D/out"' || return
	pipeline_member filter && more_came_out && move hostb && more_came_out && move hostc && more_came_out || return
	touch "$(outside "$D")/enough"
	ended_with "exit 141 141 141 0" && counted "$OUT" 1000
}

row_java() {
	need java javac || return
	JAVA_CLASSES=/shared/classes
	[ -e "$SHARED/classes/Count.class" ] ||
		javac -d "$SHARED/classes" "$SYSTEM/programs/Count.java" && chmod -R a+rX "$SHARED/classes" || return
	row_count java -XX:-UsePerfData -cp "$JAVA_CLASSES" Count
}

# shellcheck source=tests/system/terminal.bash
. "${BASH_SOURCE[0]%/*}/terminal.bash"
# shellcheck source=tests/system/forks.bash
. "${BASH_SOURCE[0]%/*}/forks.bash"

# shellcheck source=tests/system/tree.bash
. "${BASH_SOURCE[0]%/*}/tree.bash"

# shellcheck source=tests/system/segments.bash
. "${BASH_SOURCE[0]%/*}/segments.bash"

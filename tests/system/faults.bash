# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# faults.bash - A move, a move onward or a way home that is disturbed at one stage
#
# The victim counts into a file that all hosts share, each line with the host's id: two of it, or one
# that was set back, would write a number twice.

# shellcheck source=tests/system/lib.bash
. "${BASH_SOURCE[0]%/*}/lib.bash"
# shellcheck source=tests/system/tree.bash
. "${BASH_SOURCE[0]%/*}/tree.bash"

# tree COMMAND... - with several processes instead of one
tree() {
	TREE=--tree
	"$@"
}

faults_setup_file() {
	system_up root 3
}

# where_it_runs - hosts, a line; of several processes any of them
where_it_runs() {
	local i host pid
	for ((i = 0; i < N_HOSTS; i++)); do
		host=${HOSTS_NAMES[i]}
		for pid in "${FAMILY[@]}"; do
			[ "$(count_running "$host" "$pid" RSDI)" = 0 ] || {
				echo "$host"
				break
			}
		done
	done
}

runs_somewhere() {
	WHERE=$(where_it_runs)
	[ -n "$WHERE" ] && [ "$(lines <(echo "$WHERE"))" = 1 ]
}

# counts_on - on exactly one host, and its file grows; WHERE is that host
counts_on() {
	until_true runs_somewhere || {
		echo "it runs on: $(where_it_runs)" >&2
		return 1
	}
	until_true has_more_lines "$COUNTER" $(($(lines "$COUNTER") + 5)) || return
	runs_somewhere || {
		echo "it runs on: $(where_it_runs)" >&2
		return 1
	}
}

start_counter() {
	local name
	if [ -n "${TREE:-}" ]; then
		many_start 3 && until_true has_more_lines "$COUNTER" 5
		return
	fi
	name=$(basename "$(mktemp "$SHARED/counter.XXXXXX")")
	chmod 666 "$SHARED/$name"
	COUNTER=$SHARED/$name
	start_program hosta "$BIN/victims/v_counter" "/shared/$name" &&
		wait_for "$OUT" '^ready$' && FAMILY=("$P") && until_true has_more_lines "$COUNTER" 5
}

# counter_ends - it judges itself, its file is judged here once more
counter_ends() {
	if [ -n "${TREE:-}" ]; then
		many_end
		return
	fi
	say stop && ended_with "exit 0" && [ "$(tail -n 1 "$OUT")" = ok ] || return
	awk '$2 != NR { print "line " NR ": " $0; exit 1 }' "$COUNTER" >&2 && rm -f "$COUNTER"
}

# cut_link - every connection between the hosts, both ends
cut_link() {
	local i
	for ((i = 0; i < N_HOSTS; i++)); do
		on "${HOSTS_NAMES[i]}" ss -K dst 10.77.0.0/24 >/dev/null 2>&1 || return
	done
}

# cable HOST up|down
cable() {
	nsenter -t "$(host_pid switch)" -n ip link set "to-$1" "$2"
}

way() {
	case $1 in
	move) mm hosta ${TREE:+"$TREE"} "$P" hostb ;;
	onward) mm hosta "$P" hostc ;;
	home) mm hosta home "$P" ;;
	esac
}

# fault WAY HOST fail|kill STAGE [BEFORE|AFTER] - of COMMIT, where it is known
fault() {
	local way=$1 host=$2 what=$3 stage=$4 when=${5:-} from=hosta to=hostb status=0
	[ "$way" = move ] || from=hostb
	case $way in onward) to=hostc ;; home) to=hosta ;; esac
	mproxy_fault "$host" "$stage=$what" && start_counter || return
	if [ "$way" != move ]; then
		way move && runs_on hostb "$P" || return
	fi
	way "$way" || status=$?
	counts_on || return
	if [ "$what" = fail ] && [ "$when" = BEFORE ] && [ $status = 0 ]; then
		echo "$stage should have failed" >&2
		return 1
	fi
	case $when in
	BEFORE) [ "$WHERE" = $from ] ;;
	AFTER) [ "$WHERE" = $to ] ;;
	esac || {
		echo "it runs on $WHERE, asked for was $to, and the fault came $when COMMIT" >&2
		return 1
	}
	# 0 says that it went there; anything else that it did not, unless nobody could say it any more
	[ $status != 0 ] || [ "$WHERE" = "$to" ] || {
		echo "mmigrate said that it had moved, but it runs on $WHERE" >&2
		return 1
	}
	counter_ends && mproxy_fault "$host" ""
}

lost_or_counting() {
	[ -s "$(outside "$D")/status" ] || runs_somewhere
}

# may_be_lost WAY HOST kill STAGE - then its parent sees SIGKILL and the log says so; never on two hosts
may_be_lost() {
	mproxy_fault "$2" "$4=$3" && start_counter && way move && runs_on hostb "$P" || return
	way "$1" || echo "mmigrate: exit status $?"
	until_true lost_or_counting || return
	if [ -s "$(outside "$D")/status" ]; then
		ended_with "signal 9" && until_true grep -q E_PROGRAM_LOST "$(log_of hosta)" || return
		[ -z "$(where_it_runs)" ] || return
		[ -n "${TREE:-}" ] || awk '$2 != NR { print "line " NR ": " $0; exit 1 }' "$COUNTER" >&2 || return
	else
		counts_on && counter_ends || return
	fi
	mproxy_fault "$2" ""
}

# link WAY STAGE HOW - cut while the origin's session stands before that stage.  HOW: connections that are
# ended, or the cable pulled and put back
link() {
	local way=$1 stage=$2 how=$3 pid
	rm -f "$SHARED/wait"
	mproxy_fault hosta "$stage=wait:/shared/wait" && start_counter || return
	if [ "$way" != move ]; then
		way move && runs_on hostb "$P" || return
	fi
	way "$way" >"$HOSTS_DIR/way.log" 2>&1 3>&- &
	pid=$!
	until_true test -e "$SHARED/wait" || return
	if [ "$how" = connections ]; then
		cut_link
		rm -f "$SHARED/wait"
	else
		cable hostb down
		rm -f "$SHARED/wait"
		sleep 2
		cable hostb up
	fi
	wait $pid || echo "mmigrate: exit status $?"
	cat "$HOSTS_DIR/way.log"
	WAIT_S=60 counts_on && counter_ends && mproxy_fault hosta ""
}

# sessions_of HOST - numbers of processes
sessions_of() {
	on "$1" pgrep -x mproxy | grep -vx "$(mproxy_pid "$1")"
}

# While a tree is handed over its session is killed: who wasn't handed over has been killed, and nobody runs twice
tree_half_handed_over() {
	local TREE=--tree
	mproxy_fault hosta "handing over the others=kill" && start_counter || return
	way move || echo "mmigrate: exit status $?"
	until_true has_ended_or_only_on hostb && say stop && ended_with "exit 1" || return
	grep -q "ended with status 0x9\$" "$(outside "$D")/err" && [ -z "$(where_it_runs)" ] || return
	awk '$1 != NR { print FILENAME ": line " NR ": " $0; exit 1 }' "$COUNTER" >&2 && rm -rf "${COUNTER%/*}" && mproxy_fault hosta ""
}

has_ended_or_only_on() {
	[ "$(where_it_runs)" = "$1" ]
}

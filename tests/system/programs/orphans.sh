#!/bin/bash
# SPDX-License-Identifier: MIT
# orphans.sh - A shell whose daemons and orphans go on counting, wherever they are
#
# Says ready; after "go" it has started one of each kind.  Each counts into a file of its name, a line
#	NUMBER PID PARENT GROUP SESSION
# and nothing in a line but the number may ever change.  After "end" the shell has ended or waited for all
# that it knows, and says ok.  After "leave" it has started them, too, and ends before them.
PATH=/usr/local/bin:/usr/bin:/bin
self=$(readlink -f "$0")
cd "${2:-.}" || exit

count() {
	local n=0 me=$BASHPID pid parent group session
	look "$me"
	# an orphan is one when its parent has ended
	while [ "${2:-}" = orphan ] && [ "$parent" != "$REAPER" ]; do sleep 0.02; look "$me"; done
	while [ ! -e stop ]; do
		look "$me"
		echo "$((n += 1)) $pid $parent $group $session" >>"$1"
		sleep 0.05
	done
}

look() {
	read -r pid _ _ parent group session _ <"/proc/$1/stat"
}

# Started by itself: bash orphans.sh @count NAME, and bash orphans.sh @daemon NAME
case ${1:-} in
@count) count "$3" "${4:-}"; exit ;;
@daemon) (count "$3-child") & count "$3" orphan; exit ;;
esac

same() {
	[ "$1" = "$2" ] || { echo "${3:-it} is '$1', not '$2'" >&2; exit 1; }
}

# Whose child an orphan is: 1, unless somebody adopts them (PR_SET_CHILD_SUBREAPER)
find_reaper() {
	(bash -c 'sleep 0.2; cut -d" " -f4 /proc/$$/stat >reaper.new; mv reaper.new reaper' &)
	until [ -e reaper ]; do sleep 0.05; done
	REAPER=$(cat reaper)
	export REAPER
}

start_all() {
	find_reaper
	(count orphan orphan &)
	# the group's leader has ended
	set -m
	(count grouped orphan &) &
	wait $!
	# an orphan leads a group, and has a child and another orphan in it
	(set -m; { (count follows orphan &) ; count leads-child & count leads orphan; } & exit) &
	wait $!
	set +m
	(setsid bash "$self" @count . daemon orphan &)
	(setsid bash "$self" @daemon . parent &)
	# as daemon(3) does, and once more: nobody leads its session any more
	(setsid bash -c '(bash "$0" @count . twice orphan &)' "$self" &)
	(bash "$self" @daemon . family &)
	setsid bash "$self" @count . own &
	own=$!
	count job &
	job=$!
	(count victim orphan &)
}

echo ready
while read -r line; do
	case $line in
	go) start_all; echo started ;;
	kill)
		victim=$(sed -n '1s/^1 \([0-9]*\) .*/\1/p' victim)
		kill -0 "$victim" && kill "$victim"
		while kill -0 "$victim" 2>/dev/null; do sleep 0.05; done
		echo killed
		;;
	leave) exec <&- >&-; start_all; exit 0 ;;
	end) break ;;
	esac
done
kill $job
wait $job
same $? 143 "the job's status"
touch stop
wait $own
same $? 0 "the daemon's status"
wait
echo ok

#!/bin/bash
# SPDX-License-Identifier: MIT
# forks.sh NAME - As forks.py: what shells do to processes
PATH=/usr/local/bin:/usr/bin:/bin
cd "${0%/*}/../.." || exit
cd "$(mktemp -d /shared/forks.XXXXXX)" || exit
trap 'rm -rf "$PWD"' EXIT

same() {
	[ "$1" = "$2" ] || { echo "${3:-it} is '$1', not '$2'" >&2; exit 1; }
}

status_is() {
	local wanted=$1 got=0
	shift
	"$@" || got=$?
	same $got "$wanted" "status of $*"
}

wrappers() {
	status_is 124 timeout 0.3 sleep 100
	status_is 137 timeout -s KILL 0.3 sleep 100
	status_is 3 timeout 100 sh -c 'exit 3'
	same "$(nohup sh -c 'echo hup; trap' 2>/dev/null)" hup
	same "$(setsid -w sh -c 'ps -o sid= -p $$ >/dev/null; echo $(($(cut -d" " -f6 /proc/$$/stat) == $$))')" 1
	same "$(env -i A=1 /usr/bin/env)" "A=1"
	status_is 0 nice -n 5 true
	status_is 127 env no-such-program 2>/dev/null
	status_is 126 env /etc/passwd 2>/dev/null
	same "$(stdbuf -oL echo x)" x
}

xargs_p() {
	same "$(seq 40 | xargs -P4 -n1 sh -c 'echo $0' | sort -n | tr '\n' ' ')" "$(seq 40 | tr '\n' ' ')"
	status_is 123 sh -c 'seq 5 | xargs -P2 -n1 sh -c "exit 1"'
	same "$(find /etc/passwd -exec echo {} \;)" /etc/passwd
}

loops() {
	local i n=0
	for ((i = 0; i < 50; i++)); do
		n=$((n + $(echo 2)))
	done
	same $n 100
	same "$(for i in 1 2 3; do (exit $i); echo $?; done | tr '\n' ' ')" "1 2 3 "
	while read -r i; do n=$i; done < <(seq 1000)
	same $n 1000
	same "$(seq 100000 | grep 9 | sort -rn | head -n 1)" 99999
	coproc cat
	echo co >&"${COPROC[1]}" && read -r i <&"${COPROC[0]}"
	same "$i" co
	until grep -q cat /proc/$COPROC_PID/comm; do sleep 0.05; done
	kill $COPROC_PID
	wait $COPROC_PID
	mkfifo fifo && { (echo through >fifo) & read -r i <fifo; }
	same "$i" through
	wait
}

# A job that is asleep.  bash itself may lose a signal to a child that isn't its program yet (EXIT traps)
sleeps() {
	sleep 1000 &
	until grep -q sleep /proc/$!/comm; do sleep 0.05; done
}

killed() {
	status_is 137 sh -c 'kill -9 $$'
	status_is 143 sh -c 'kill $$'
	status_is 139 sh -c 'kill -SEGV $$'
	sleeps
	kill -STOP $!
	until grep -q "^State:	T" /proc/$!/status; do sleep 0.05; done
	kill -9 $!
	wait $!
	same $? 137
	sleeps
	kill -STOP $!
	kill -CONT $!
	kill $!
	wait $!
	same $? 143
	# a group
	set -m
	cat /dev/zero | sleep 1000 &
	set +m
	until grep -q cat "/proc/$(jobs -p %+)/comm" && grep -q sleep /proc/$!/comm; do sleep 0.05; done
	kill -TERM -- "-$(jobs -p %+)"
	wait
	status_is 1 kill -0 $! 2>/dev/null
}

waits() {
	local first second pid
	sh -c 'exit 5' & first=$!
	sleeps
	second=$!
	wait -n
	same $? 5
	kill $second
	wait -n
	same $? 143
	(until [ -e go ]; do sleep 0.05; done; exit 3) & (exit 2) &
	wait -n -p pid
	same $? 2
	same $pid $!
	touch go
	wait
	trap 'echo child >>chld' CHLD
	true & wait; true & wait
	trap - CHLD
	[ "$(wc -l <chld)" -ge 2 ] || same "$(cat chld)" "two lines"
	status_is 127 wait $first 2>/dev/null
	(trap 'exit 9' USR1; kill -USR1 $BASHPID; sleep 100)
	same $? 9
	trap 'got=yes' USR1
	(sleep 0.2; kill -USR1 $$) &
	wait $!
	[ $? -gt 128 ] || same no-signal yes
	same "$got" yes
}

daemons() {
	setsid sh -c 'sleep 0.3; echo "$$ $(cut -d" " -f4 /proc/$$/stat)" >daemon.new; mv daemon.new daemon' &
	(setsid sh -c '(sleep 0.3; echo two >two.new; mv two.new two) &' &)
	wait
	until [ -e daemon ] && [ -e two ]; do sleep 0.05; done
	same "$(cat two)" two
	sh -c '(sleep 0.2; echo orphan >orphan) &'
	until [ -s orphan ]; do sleep 0.05; done
}

perl_server() {
	same "$(perl -e '
		use IO::Handle; use POSIX ":sys_wait_h";
		$SIG{PIPE} = "IGNORE";
		my $sum = 0;
		for my $n (1 .. 20) {
			pipe(my $r, my $w); pipe(my $r2, my $w2);
			my $pid = fork() // die "fork: $!";
			if (!$pid) { close $w; close $r2; my $in = <$r>; print $w2 $in * 2, "\n"; close $w2; exit $n }
			close $r; close $w2; $w->autoflush(1); print $w "$n\n"; close $w;
			$sum += <$r2>;
			waitpid($pid, 0) == $pid or die "waitpid"; ($? >> 8) == $n or die "status $?";
		}
		print "$sum\n"; print `echo backquotes`; system("(exit 3)"); print $? >> 8, "\n";
		open(my $p, "-|", "seq 3") or die; print <$p>; close $p;' | tr '\n' ' ')" "420 backquotes 3 1 2 3 "
}

make_jobs() {
	printf 'all: a b c d\n%%: ; @echo $@; sleep 0.1; echo $@ >$@.done\n' >Makefile
	make -j3 all >log 2>&1 || { cat log >&2; exit 1; }
	same "$(ls ./*.done | wc -l)" 5
}

echo ready
read -r _
"$1"
echo ok

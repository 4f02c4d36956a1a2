# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# terminal.bash - The kinds of move.rows for programs on terminals: shells, editors, readers
#
# programs/onpty.py is the terminal: what is said is typed, OUT is the screen.

# on_terminal COMMAND... - in hosta, as the user mover, leading a session on a terminal of its own.
# Sets P, D, OUT, H as start_program does
on_terminal() {
	D=/shared/$(basename "$(mktemp -d "$SHARED/run.XXXXXX")") && chmod 1777 "$(outside "$D")" || return
	OUT=$(outside "$D")/out H=hosta
	mkfifo "$(outside "$D")/in" && touch "$OUT"
	on hosta setsid /usr/bin/python3 "$BIN/programs/onpty.py" "$D" "$HOSTS_USER" "$@" </dev/null \
		>"$(outside "$D")/start.log" 2>&1 3>&- &
	disown $!
	until_true test -s "$(outside "$D")/pid" || return
	P=$(cat "$(outside "$D")/pid")
}

# press OCTAL... - keys that are no text: press 032 is ^Z
press() {
	local key
	for key; do
		# shellcheck disable=SC2059	# an escape
		printf "\\$key" >"$(outside "$D")/in"
	done
}

# screen PATTERN - appears, as a line of its own (\r before its end is the terminal's)
screen() {
	wait_for "$OUT" "$1.?$"
}

# say_until LINE PATTERN - typed; then this appears
say_until() {
	say "$1" && screen "$2"
}

# The last child of the shell that is the session's leader, once it runs PROGRAM
child_is() {
	local child
	child=$(on hosta sh -c 'for c in $(cat /proc/$0/task/*/children); do last=$c; done; echo $last' "$1")
	[ -n "$child" ] && [ "$(on hosta cat "/proc/$child/comm" 2>/dev/null)" = "$2" ] && CHILD=$child
}

# A shell is used for real: there, further on, and at home again
shell_is_used() {
	local n=$1
	say_until "echo in-\$((40+$n)) \$\$ \$PPID" "^in-$((40 + n)) $P [0-9]+" &&
		say_until "/bin/echo child-$n" "^child-$n" &&
		say_until "(exit 3) | (exit 0) | (exit $n); echo \"pipe-$n\" \$?" "^pipe-$n $n" &&
		say_until "x=\$(seq 5 | tail -n 1); echo \"sub-$n\" \$x" "^sub-$n 5" &&
		say "printf '%s' \"want-\$((30+$n)) \"; read -r a b" && wait_for "$OUT" "want-$((30 + n)) " && say "one two-$n" &&
		say_until "echo \"read-$n\" \$b" "^read-$n two-$n" &&
		say "cat <<here" && say "doc-\$((4*$n))" && say_until here "^doc-$((4 * n))" &&
		say_until "trap 'echo trap-$n' USR1; kill -USR1 \$\$" "^trap-$n" &&
		say_until "false; echo status-$n \$?" "^status-$n 1" || return
	# a job is stopped, goes on behind, is killed, and is waited for
	say 'sleep 1000' && until_true job_runs sleep && press 032 && screen '.*Stopped +sleep 1000' &&
		say_until "bg; jobs; echo \"bg-$n\"" "^bg-$n" && wait_for "$OUT" 'Running +sleep 1000' &&
		say_until "kill %1; wait %1; echo \"job-$n\" \$?" "^job-$n 143" || return
	# ^C ends what runs in front, not the shell
	say 'sleep 1000' && until_true job_runs sleep && press 003 &&
		say_until "echo interrupted-$n \$?" "^interrupted-$n 130" || return
	say_until "sleep 1000 & sleep 0.1; kill \$!; wait \$!; echo bang-$n \$?" "^bang-$n 143"
}

# Somewhere, a sleep of 1000 runs, in front of its shell's terminal
job_runs() {
	local host
	for host in hosta hostb hostc; do
		on "$host" pgrep -x "$1" -f >/dev/null && return 0
		on "$host" pgrep -f "^$1 1000" >/dev/null && return 0
	done
	return 1
}

row_shell() {
	local n=1 where
	is_built "$1" && on_terminal "$@" && say_until 'echo ready' '^ready' || return
	for where in hostb hostc home; do
		if [ $where = home ]; then
			home || return
		else
			move $where || return
		fi
		shell_is_used $n || return
		n=$((n + 1))
	done
	say 'exit 7' && ended_with "exit 7"
}

# Pipelines of the shell stay behind, and are waited for where it is now
row_shell_jobs() {
	on_terminal "$@" && say_until 'echo ready' '^ready' || return
	say "(until [ -e $D/go ]; do sleep 0.1; done; echo behind; exit 4) | cat &" && say_until 'echo started' '^started' || return
	say "(until [ -e $D/go2 ]; do sleep 0.1; done; exit 5) &" && say_until 'echo both' '^both' || return
	move hostb && say_until 'jobs | grep -c Running; echo counted' '^counted' && wait_for "$OUT" '^2.?$' || return
	touch "$(outside "$D")/go" && wait_for "$OUT" 'behind.?$' && touch "$(outside "$D")/go2" || return
	say_until 'wait %2; echo waited $?' '^waited 5' && say_until 'wait; echo all $?' '^all 0' || return
	home && say_until 'echo at-$((1+1)) home' '^at-2 home' && say 'exit 3' && ended_with "exit 3"
}

# A reader of lines is moved while it waits for one
row_lines() {
	on_terminal "$@" && say_until one '^one' && move hostb || return
	say two && wait_for "$OUT" '^two.?$' && move hostc && say three && wait_for "$OUT" '^three.?$' && home || return
	say four && wait_for "$OUT" '^four.?$' || return
	[ "$(grep -c '^two.\?$' "$OUT")" = 2 ] || { echo "typed and echoed: $(grep -c two "$OUT")" >&2; return 1; }
	move hostb && press 003 && ended_with "signal 2"
}

# Behind a shell that stays: ^Z, fg, bg and the terminal's process groups are right on both sides
row_job_control() {
	on_terminal bash --norc --noprofile -i && say_until 'echo ready' '^ready' || return
	say "$*" && until_true child_is "$P" "$(basename "$1")" && SHELL_PID=$P P=$CHILD || return
	say_until before '^before' && move hostb && say there && wait_for "$OUT" '^there.?$' || return
	press 032 && screen '.*Stopped +'"$1" && until_true is_stopped_on hostb "$P" || return
	# what is typed now is the shell's
	say_until 'echo shell-$((1+1))' '^shell-2' && say 'fg' && say again && wait_for "$OUT" '^again.?$' || return
	press 032 && wait_for "$OUT" 'Stopped' && say_until 'echo shell-$((1+2))' '^shell-3' || return
	# behind, it may not read: SIGTTIN stops it again
	say 'bg' && say_until 'sleep 1; jobs; echo looked' '^looked' && wait_for "$OUT" 'Stopped' || return
	say_until 'fg' '.*' && say last && wait_for "$OUT" '^last.?$' && press 004 &&
		say_until 'echo status $?' '^status 0' || return
	P=$SHELL_PID
	say 'exit 0' && ended_with "exit 0"
}

# resize ROWS COLUMNS - as who drags the window's corner
resize() {
	echo "$1 $2" >"$(outside "$D")/size.new" && mv "$(outside "$D")/size.new" "$(outside "$D")/size" &&
		until_true test ! -e "$(outside "$D")/size"
}

hang_up() {
	touch "$(outside "$D")/hangup"
}

# type_keys TEXT - no newline behind it
type_keys() {
	printf %s "$1" >"$(outside "$D")/in"
}

# shows TEXT - the screen's bytes since mark_screen contain that
shows() {
	until_true shown "$1"
}

mark_screen() {
	SEEN=$(stat -c %s "$OUT")
}

shown() {
	tail -c "+$((${SEEN:-0} + 1))" "$OUT" | grep -qaF -- "$1"
}

file_is() {
	[ "$(cat "$(outside "$D")/$1" 2>/dev/null)" = "$2" ]
}

# An editor is moved in the middle of a word
row_vim() {
	need vim || return
	on_terminal env TERM=xterm sh -c "cd; exec vim -u NONE -i NONE -c \"set directory=\$HOME\" text" && shows "New" || return
	type_keys 'ihello wor' && shows 'hello wor' && move hostb && type_keys 'ld' && shows ld || return
	press 015 && type_keys 'there' && shows there && press 033 && say ':w' && until_true file_is text 'hello world
there' || return
	mark_screen && resize 30 100 && say ':set lines? columns?' && shows 'columns=100' || return
	move hostc && type_keys 'ofurther' && press 033 && say ':w' && until_true file_is text 'hello world
there
further' && home && type_keys 'oand home' && press 033 || return
	say ':wq' && ended_with "exit 0" && file_is text 'hello world
there
further
and home'
}

row_nano() {
	need nano || return
	on_terminal env TERM=xterm sh -c "cd; exec nano --ignorercfiles text" && shows 'GNU nano' || return
	type_keys 'hello wor' && shows 'hello wor' && move hostb && type_keys 'ld' && mark_screen && press 017 && shows 'Write' || return
	press 015 && until_true file_is text 'hello world' && move hostc || return
	type_keys '!' && shows '!' && mark_screen && press 017 && shows 'Write' && press 015 && until_true file_is text 'hello world!' || return
	home && press 030 && ended_with "exit 0"
}

row_less() {
	need less || return
	on_terminal env TERM=xterm LESSHISTFILE=- sh -c "cd; seq 1 5000 >numbers; exec less numbers" && shows 23 && move hostb || return
	mark_screen && say '/^4321' && shows 4321 && mark_screen && type_keys ' ' && shows 4344 || return
	move hostc && mark_screen && type_keys 'G' && shows 5000 && mark_screen && type_keys '1G' && shows 12 || return
	mark_screen && resize 40 80 && type_keys 'r' && shows 39 && home && type_keys q && ended_with "exit 0"
}

row_python_prompt() {
	on_terminal env TERM=xterm /usr/bin/python3 -q && shows '>>>' || return
	say 'x = 40' && say 'print("x is", x + 2)' && shows 'x is 42' && move hostb || return
	say 'print("x was", x)' && shows 'x was 40' && mark_screen || return
	press 033 133 101 && shows 'print' && press 015 && shows 'x was 40' || return
	say 'import os, subprocess' && say 'subprocess.call(["echo", "from a child"])' && shows 'from a child' || return
	mark_screen && say 'input("say: ")' && shows 'say: ' && say something && shows "'something'" || return
	mark_screen && say 'import time; time.sleep(1000)' && sleep 0.5 && press 003 && shows KeyboardInterrupt || return
	say 'exit(3)' && ended_with "exit 3"
}

row_history() {
	on_terminal env TERM=xterm bash --norc --noprofile -i && say_until 'echo ready' '.*ready' && move hostb || return
	say 'echo first-$((1+1))' && shows first-2 && mark_screen && press 033 133 101 && shows 'echo first-$((1+1))' && press 015 &&
		shows first-2 || return
	mark_screen && type_keys "cat /etc/host" && press 011 011 && shows 'hostname' || return
	press 025 && mark_screen && type_keys "ls $D/sta" && press 011 && shows 'start.log' && mark_screen && press 015 && shows '$ ' || return
	mark_screen && press 022 && type_keys 'first' && press 015 && shows $'first-2\r' || return
	home && say 'exit 4' && ended_with "exit 4"
}

# A program hears that its terminal is gone, and is ended by that
row_hang_up() {
	on_terminal "$@" && say_until one '^one' && move hostb && say_until two '^two' && hang_up && ended_with "signal 1"
}

# A shell passes it on to its jobs
row_shell_hang_up() {
	on_terminal "$@" && say_until 'echo ready' '^ready' && move hostb || return
	say "sh -c 'trap \"echo hup >$D/job; exit\" HUP; echo job-\$((1+1)); while :; do sleep 0.1; done' &" && screen '.*job-2' || return
	hang_up && until_true file_is job hup && ended_with "${HANGS_UP:-signal 1}"
}

row_quit_key() {
	on_terminal "$@" && say_until one '^one' && move hostb && press 034 && ended_with "signal 3"
}

# What one side does to the terminal the other side sees
row_stty() {
	on_terminal bash --norc --noprofile -i && say_until 'echo ready' '^ready' || return
	say "bash --norc --noprofile -i" && until_true child_is "$P" bash && SHELL_PID=$P P=$CHILD || return
	say_until 'echo inner' '^inner' && move hostb && say_until 'stty -echoctl intr ^B rows 33; stty -a | grep -c "intr = ^B"; echo set' '^set' || return
	say_until 'stty size' '^33 80' && resize 44 99 && say_until 'stty size' '^44 99' || return
	say_until "trap 'echo winch-\$LINES' WINCH; echo trapped" '^trapped' && resize 45 99 && shows winch-45 || return
	say 'sleep 1000' && until_true job_runs sleep && press 002 && say_until 'echo after-$?' '^after-130' || return
	say 'exit 6' && say_until 'echo outer-$?' '^outer-6' && say_until 'stty size' '^45 99' || return
	say_until 'stty -a | grep -c -- -echoctl; echo seen' '^seen' && P=$SHELL_PID
	say 'exit 0' && ended_with "exit 0"
}

# The outer shell's prompt, since mark_screen
prompt_again() {
	tail -c "+$((SEEN + 1))" "$OUT" | grep -qaE '^.?\$ '
}

# script(1) holds the master of a terminal whose other end a child has that stays, or moves as well
row_script() {
	need script || return
	on_terminal bash --norc --noprofile -i && say_until 'echo ready' '^ready' && move hostb || return
	say "script -q -c 'bash --norc --noprofile -i' $D/typescript" && say_until 'tty >/dev/null; echo in-$((40+2))' '^in-42' || return
	say 'sleep 1000' && until_true job_runs sleep && press 003 && say_until 'echo status-$?' '^status-130' || return
	mark_screen && say 'exit 5' && until_true prompt_again && say_until 'echo out-$?' '^out-[05]' && grep -q in-42 "$(outside "$D")/typescript" || return
	say 'exit 0' && ended_with "exit 0"
}

row_script_moved() {
	need script || return
	on_terminal script -q -e -c 'bash --norc --noprofile -i' "$2" && say_until 'echo ready' '^ready' && move hostb || return
	say_until 'echo there-$((1+1))' '^there-2' && home && say_until 'echo home-$((1+1))' '^home-2' && say 'exit 5' && ended_with "exit 5"
}

# The shell that expect(1) talks to stays, while expect is moved
row_expect() {
	need expect || return
	cat >"$SHARED/session.$$" <<'EXPECT'
set timeout 20
log_user 0
spawn bash --norc --noprofile -i
set shell $spawn_id
proc ask {text answer} {
	global shell
	send -i $shell "$text\r"
	expect -i $shell -re "\n$answer\r" { send_user "$answer\n" } timeout { send_user "no $answer\n"; exit 1 }
}
ask "echo ready-\$((1+1))" ready-2
while 1 {
	expect_user -re "(\[^\n\]*)\n" { set line $expect_out(1,string) }
	if {$line == "end"} break
	ask "echo $line-\$((2*3))" $line-6
}
send -i $shell "exit 3\r"
expect -i $shell eof
send_user "ended [lindex [wait -i $shell] 3]\n"
EXPECT
	chmod a+r "$SHARED/session.$$"
	on_terminal expect "/shared/session.$$" && screen '^ready-2' && move hostb && say_until there '^there-6' || return
	move hostc && say_until further '^further-6' && home && say_until back '^back-6' && say_until end '^ended 3' || return
	# by exit 0 or by SIGHUP: unmoved, too
	until_true test -s "$(outside "$D")/status"
}

# A victim on a terminal: judged there
row_terminal_victim() {
	is_built "$1" && on_terminal "$@" && screen '^ready' && move hostb && say_until stop '^ok' && ended_with "exit 0"
}

# It reads /proc of where it is: only that it goes on, and hears its keys
row_top() {
	need top || return
	on_terminal env TERM=xterm top -d 0.3 && shows 'load average' || return
	for where in hostb hostc; do
		move $where && mark_screen && shows 'load average' || return
	done
	home && mark_screen && shows 'load average' && type_keys q && ended_with "exit 0"
}

#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# hosts.bats - The test bed itself: are two hosts two hosts?

setup_file() {
	. tests/hosts.sh
	hosts_up 3
}

teardown_file() {
	. tests/hosts.sh
	hosts_down
}

setup() {
	. tests/hosts.sh
}

# alive PID - runs; what is dead and only not reaped yet doesn't count
alive() {
	[ -n "$(readlink "/proc/$1/exe")" ]
}

@test "each host has its name, and the machine keeps its own" {
	[ "$(on hosta hostname)" = hosta ]
	[ "$(on hostb hostname)" = hostb ]
	[ "$(on hostc uname -n)" = hostc ]
	[ "$(hostname)" != hosta ]
	[ "$(on hosta cat /etc/machine-id)" != "$(on hostb cat /etc/machine-id)" ]
}

@test "a host sees its own processes only" {
	[ "$(on hosta sh -c 'readlink /proc/1/exe')" = "$(readlink -f "$HOSTS_BUILD/tests/hostinit")" ]
	on hosta sh -c 'sleep 100 & echo $! >/tmp/pid'
	on hosta sh -c 'kill -0 $(cat /tmp/pid)'
	run on hostb pgrep -c -x sleep
	[ "$output" = 0 ]
	on hosta sh -c 'kill $(cat /tmp/pid)'
}

@test "process 1 reaps" {
	on hosta sh -c 'sh -c "sleep 0.1 & exec true"; sleep 0.4'
	[ "$(on hosta ps -e -o stat= | grep -c Z)" = 0 ]
}

@test "the hosts reach each other, by name, and not the machine's network" {
	on hostb sh -c 'echo hello | timeout 5 socat -u STDIN TCP-LISTEN:7000,reuseaddr' &
	for i in 1 2 3 4 5 6 7 8 9 10; do
		run on hosta timeout 5 socat -u TCP:hostb:7000 STDOUT
		[ "$status" = 0 ] && break
		sleep 0.2
	done
	[ "$output" = hello ]
	[ -z "$(on hosta ip route show default)" ]
	[ "$(on hosta ip -br link | wc -l)" -le 10 ]
	run ip -br link
	[[ $output != *to-hosta* ]]
}

@test "/tmp, /run, /var/tmp and /dev are a host's own, /shared is everybody's" {
	for dir in /tmp /run /var/tmp /dev /dev/shm; do
		on hosta sh -c "echo a >$dir/only-a"
		[ "$(on hosta cat $dir/only-a)" = a ]
		run on hostb test -e $dir/only-a
		[ "$status" = 1 ]
		[ ! -e $dir/only-a ]
	done
	on hosta sh -c 'echo a >/shared/x'
	[ "$(on hostb cat /shared/x)" = a ]
	[ "$(cat "$HOSTS_DIR/shared/x")" = a ]
}

@test "devices work" {
	on hosta sh -c 'echo x >/dev/null; head -c 5 /dev/zero | wc -c; head -c 5 /dev/urandom' | head -n 1 | grep -q '^5$'
	run on hosta sh -c 'echo x >/dev/full'
	[ "$status" != 0 ]
	on hosta script -qec 'test -t 0 && tty' /dev/null </dev/null | grep -q /dev/pts/
	[ ! -e /dev/fuse ] || on hosta test -c /dev/fuse
}

@test "clocks are ahead by 1,000 s a host, for every command" {
	py='import time; print(int(time.clock_gettime(time.CLOCK_MONOTONIC)))'
	m=$(python3 -c "$py")
	a=$(on hosta python3 -c "$py")
	b=$(on hostb sh -c "python3 -c '$py'")
	[ $((a - m)) -ge 1000 ] && [ $((a - m)) -lt 1030 ]
	[ $((b - a)) -ge 999 ] && [ $((b - a)) -lt 1030 ]
	[ "$(on hosta readlink /proc/self/ns/time)" = "$(on hosta readlink /proc/1/ns/time)" ]
	[ "$(on hosta readlink /proc/self/ns/time)" != "$(on hostb readlink /proc/self/ns/time)" ]
}

@test "an ordinary user is one" {
	[ "$(on_as hosta mover id -u)" = 2001 ]
	[ "$(on_as hosta mover sh -c 'grep CapEff /proc/self/status')" = "$(printf 'CapEff:\t0000000000000000')" ]
	on_as hosta mover sh -c 'echo x >/tmp/mine; echo x >/shared/mine'
	run on_as hosta mover sh -c 'echo x >/etc/mine'
	[ "$status" != 0 ]
	on_as hosta mover sh -c 'id -nG' | grep -q mover
}

@test "exit statuses, input and arguments go through" {
	run on hosta sh -c 'exit 7'
	[ "$status" = 7 ]
	[ "$(echo in | on hosta cat)" = in ]
	[ "$(on hosta printf '[%s]' 'a b' '' '*')" = '[a b][][*]' ]
	run on nohost true
	[ "$status" = 1 ]
}

@test "a shell that is killed leaves nothing behind" {
	# a second set of hosts, beside the first
	env -u BATS_ROOT bash -c '. tests/hosts.sh; hosts_up 1
		on hosta sh -c "sleep 1000 &"; echo "$HOSTS_DIR $(host_pid hosta)"; kill -KILL $$' >"$BATS_TEST_TMPDIR/out" 3>&- || true
	read -r dir pid <"$BATS_TEST_TMPDIR/out"
	[ -n "$pid" ]
	for i in 1 2 3 4 5 6 7 8 9 10; do
		alive "$pid" || break
		sleep 0.1
	done
	! alive "$pid" || return 1
	rm -rf "$dir"
	[ "$(on hosta hostname)" = hosta ]
}

@test "hosts_down ends everything it started" {
	env -u BATS_ROOT bash -c '. tests/hosts.sh; hosts_up 2
		on hostb sh -c "sleep 1000 &" 3>&-
		host_pid hosta; host_pid hostb; pgrep -P $(host_pid hostb) sleep' >"$BATS_TEST_TMPDIR/out" 3>&-
	[ "$(wc -l <"$BATS_TEST_TMPDIR/out")" = 3 ]
	while read -r pid; do
		! alive "$pid" || return 1
	done <"$BATS_TEST_TMPDIR/out"
}

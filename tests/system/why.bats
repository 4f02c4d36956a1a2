#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# why.bats - What can't be moved is refused, with its code, before it is stopped

setup_file() {
	. tests/system/lib.bash
	system_up root 2
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
	[ ! -s "$SHARED/orphan" ] || on hosta kill -KILL "$(cat "$SHARED/orphan")" || true
	rm -f "$SHARED/orphan"
	test_over
}

@test "nothing stands in the way: why says so, and stops nothing" {
	start_odd plain
	run mm hosta why "$P" hostb
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *"nothing stands in the way"* ]]
	goes_on_here
}

@test "a listening socket" {
	refused E_SOCKET "tcp socket"
}

@test "a unix socket" {
	refused E_SOCKET "unix socket"
}

@test "a file in /tmp: nothing stands in the way" {
	start_odd file /tmp/file
	run mm hosta why "$P" hostb
	[ "$status" = 0 ] && [[ $output == *"nothing stands in the way"* ]]
}

@test "a file that only one policy gives to the origin" {
	mkdir -p -m 1777 "$SHARED/only"
	sed -i 's|"rules": \[|&{ "path": "/shared/only/**", "is": "origin" },|' "$SHARED/policy.hosta.json"
	mproxy_fault hosta ""
	refused E_ORIGIN_FILE file /shared/only/file
	cp "$SHARED/policy.hostb.json" "$SHARED/policy.hosta.json"
	mproxy_fault hosta ""
}

@test "a mapped file in /var/tmp" {
	on hosta sh -c 'echo content >/var/tmp/map; chmod 666 /var/tmp/map'
	refused E_ORIGIN_FILE map /var/tmp/map
}

@test "a deleted file" {
	refused E_DELETED_FILE deleted /shared/deleted
}

@test "a child process stays behind: nothing stands in the way" {
	start_odd child
	run mm hosta why "$P" hostb
	[ "$status" = 0 ] && [[ $output == *"nothing stands in the way"* ]]
	on hosta pkill -KILL -P "$P"
	goes_on_here
}

@test "reasons of several processes of a tree" {
	start_odd family
	run mm hosta why --tree "$P" hostb
	echo "$output"
	[ "$status" = 1 ] && [[ $output == *"E_SOCKET:"* ]] && [[ $output == *"E_AIO:"* ]]
	goes_on_here
}

@test "a sandbox of its own" {
	refused E_SECCOMP seccomp
}

@test "huge pages" {
	refused E_HUGETLB hugetlb
}

@test "shared memory with a process that stays" {
	refused E_SHARED_MEMORY "shared memory" /shared/orphan
}

@test "System V shared memory with a process that stays: it is named" {
	start_odd sysv /shared/orphan
	run mm hosta why "$P" hostb
	[ "$status" = 1 ]
	[[ $output == *"process $(cat "$SHARED/orphan") (python3), which stays, has the System V shared memory segment "* ]]
	says_why E_SYSV_SHM
	run mm hosta --tree "$P" hostb
	[ "$status" = 1 ]
	[[ $output == *E_SYSV_SHM:* && $output != *freezing* ]]
	goes_on_here
}

@test "System V shared memory that a process which stays has just used, and nobody has attached" {
	refused E_SYSV_SHM "sysv, unattached" /shared/orphan
	on hosta ipcrm -a
}

@test "System V shared memory that its owner may not write" {
	refused E_SYSV_SHM "sysv, read-only"
}

@test "System V shared memory isn't saved to a file" {
	start_program hosta /usr/bin/python3 "$BIN/programs/segments.py"
	goes_on
	run mm hosta save "$P" "$D/saved"
	[ "$status" = 1 ]
	[[ $output == *E_SYSV_SHM:* ]]
	goes_on_here
}

@test "System V semaphores" {
	refused E_SYSV_IPC semaphores
	on hosta ipcrm -a
}

@test "a System V message queue" {
	refused E_SYSV_IPC "message queue"
	on hosta ipcrm -a
}

@test "an io_uring ring" {
	refused E_IO_URING io_uring
}

@test "asynchronous I/O" {
	refused E_AIO aio
}

@test "a device" {
	on hosta test -c /dev/fuse || skip "there is no /dev/fuse"
	refused E_DEVICE device /dev/fuse
}

@test "userfaultfd" {
	start_odd userfaultfd
	run mm hosta why "$P" hostb
	[ "$status" = 1 ]
	[[ $output == *E_USERFAULTFD:* || $output == *E_SPECIAL_FILE:* ]]
	goes_on_here
}

@test "a pidfd" {
	refused E_SPECIAL_FILE pidfd
}

@test "a lease" {
	refused E_LEASE lease /shared/lease
}

@test "traced by strace" {
	need strace
	start_odd plain
	on hosta setsid strace -qq -o /dev/null -p "$P" </dev/null >/dev/null 2>&1 3>&- &
	until_true on hosta grep -q '^TracerPid:	[1-9]' "/proc/$P/status"
	says_why E_TRACED
	on hosta pkill -x strace
	until_true on hosta grep -q '^TracerPid:	0' "/proc/$P/status"
	goes_on_here
}

@test "stopped" {
	start_odd plain
	on hosta kill -STOP "$P"
	until_true on hosta grep -q '^State:	T' "/proc/$P/status"
	says_why E_STOPPED
	on hosta kill -CONT "$P"
	goes_on_here
}

@test "several user ids" {
	start_odd -u root uids
	run mm hosta why "$P" hostb
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *E_SETUID:* || $output == *E_CREDENTIALS:* ]]
	goes_on_here
}

@test "another root directory" {
	on hosta mkdir -p /shared/jail
	refused E_CHROOT -u root chroot /shared/jail
}

@test "a namespace of its own" {
	start_program hosta -u root unshare --mount /usr/bin/python3 "$BIN/programs/odd.py" plain
	wait_for "$OUT" '^ready'
	says_why E_NAMESPACE
	goes_on_here
}

@test "another user's program" {
	start_odd -u root plain
	on hosta chmod 666 "$CONTROL" || true
	run on_as hosta "$HOSTS_USER" "$BIN/mmigrate" --control "$CONTROL" "$P" hostb
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *E_NOT_PERMITTED* ]]
	goes_on_here
}

@test "no such process" {
	P=999999
	says_why E_NO_PROCESS
}

@test "a 32-bit program" {
	echo 'int main(void) { for (;;) { volatile int i; for (i = 0; i < 1000; i++); } }' >"$HOSTS_DIR/spin.c"
	gcc -m32 -static -nostdlib -Wl,-e,main -o "$SHARED/bin/spin32" "$HOSTS_DIR/spin.c" || skip "gcc -m32 doesn't work here"
	run timeout 0.2 "$SHARED/bin/spin32"
	[ "$status" = 124 ] || skip "the kernel here runs no 32-bit programs"
	start_program hosta "$BIN/spin32"
	says_why E_BITS32
	runs_on hosta "$P"
}

# ---- the target -----------------------------------------------------------------------------------

# private HOST - a directory of the same name on each host, with that host's own content
private() {
	mkdir -p "$SHARED/private"
	on "$1" sh -c 'grep -q " /shared/private " /proc/mounts || mount -t tmpfs -o mode=755 private /shared/private'
}

unprivate() {
	for host in hosta hostb; do
		on $host sh -c 'while grep -q " /shared/private " /proc/mounts; do umount -l /shared/private; done'
	done
}

@test "the program isn't there" {
	private hosta
	private hostb
	on hosta cp "$BIN/victims/v_hello" /shared/private/program
	start_program hosta /shared/private/program
	goes_on
	says_why E_FILE_MISSING
	[[ $output == *"/shared/private/program"* ]]
	goes_on_here
	unprivate
}

@test "another version of the program is there" {
	private hosta
	private hostb
	on hosta cp "$BIN/victims/v_hello" /shared/private/program
	on hostb sh -c 'cp "$0" /shared/private/program; printf x >>/shared/private/program' "$BIN/victims/v_hello"
	start_program hosta /shared/private/program
	goes_on
	says_why E_FILE_DIFFERS
	[[ $output == *"/shared/private/program"*bytes*bytes* ]]
	goes_on_here
	unprivate
}

@test "its directory isn't there" {
	private hosta
	private hostb
	on hosta mkdir -m 777 /shared/private/dir
	start_program hosta sh -c 'cd /shared/private/dir && exec /usr/bin/python3 "$@"' - "$BIN/programs/odd.py" plain
	wait_for "$OUT" '^ready'
	says_why E_DIRECTORY
	goes_on_here
	unprivate
}

# with_policy HOST SED_SCRIPT COMMAND... - while its policy is changed
with_policy() {
	local host=$1 script=$2 result=0	# status is run's
	shift 2
	cp "$SHARED/policy.$host.json" "$HOSTS_DIR/policy"
	sed -i "$script" "$SHARED/policy.$host.json"
	reload "$host"
	"$@" || result=$?
	cp "$HOSTS_DIR/policy" "$SHARED/policy.$host.json"
	reload "$host"
	return $result
}

policies_read() {
	[ "$(grep -cE 'I_POLICY_READ|E_POLICY_BAD' "$(log_of "$1")")" -gt "$2" ]
}

reload() {
	local n
	n=$(grep -cE 'I_POLICY_READ|E_POLICY_BAD' "$(log_of "$1")" || true)
	on "$1" kill -HUP "$(mproxy_pid "$1")" && until_true policies_read "$1" "$n"
}

@test "the peer may not run programs as that user" {
	start_odd -u root plain
	with_policy hostb 's/"root": true/"root": false/' says_why E_PEER_RIGHTS
	goes_on_here
}

@test "the policy refuses a file" {
	start_odd file /shared/refused
	with_policy hosta 's|"rules": \[|&{"path":"/shared/refused","is":"refuse","note":"not this one"},|' says_why E_POLICY
	[[ $output == *"/shared/refused"* ]]
	goes_on_here
}

@test "a policy that is wrong leaves the old one in force" {
	start_odd plain
	with_policy hosta 's|"rules": \[|&{"path":"/x","is":"nonsense"},|' mm hosta why "$P" hostb
	grep -E 'E_POLICY_BAD.*[0-9]+:[0-9]+|E_POLICY_BAD.*line [0-9]+' "$(log_of hosta)"
	goes_on_here
}

@test "the clocks differ: a warning only" {
	start_odd plain
	with_policy hosta 's/"max_clock_difference_ms": 100/"max_clock_difference_ms": 0/' run mm hosta why "$P" hostb
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *CLOCK_DIFFERS* ]]
	goes_on_here
}

# refused_by_peer HOST SENTENCE
refused_by_peer() {
	run mm hosta "$P" "$1"
	echo "$output"
	[ "$status" = 1 ] && [[ $output == *$2* ]] && [[ $output != *freezing* ]] && goes_on_here
}

@test "an unknown host" {
	start_odd plain
	refused_by_peer nowhere nowhere
}

@test "a peer that isn't there" {
	start_odd plain
	mproxy_stop hostb
	refused_by_peer hostb hostb
	mproxy_start hostb
}

@test "a peer that doesn't know us" {
	start_odd plain
	mm hostb -q untrust hosta
	refused_by_peer hostb 'closed the connection'
	grep E_PEER_UNKNOWN "$(log_of hostb)"
	pin_pair hosta hostb
}

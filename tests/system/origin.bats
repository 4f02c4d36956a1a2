# SPDX-License-Identifier: MIT
# origin.bats - A shell is moved, and what it starts there works on its origin's files: as if it had stayed
#
# Its commands come line by line.  Their output, and the files at the origin, are compared with what the
# same commands do at the origin itself.
setup_file() {
	. tests/system/lib.bash
	system_up "${ORIGIN_MODE:-root}" 2
}
teardown_file() {
	. tests/system/lib.bash
	system_down
}
setup() {
	. tests/system/lib.bash
}
teardown() {
	[ -z "${HOSTS_DIR:-}" ] || on hosta sh -c 'rm -rf /tmp/t /tmp/t.* /tmp/native'
	test_over
}

# away [SHELL...] - a shell at hostb whose origin is hosta
away() {
	# shellcheck disable=SC2046	# words
	start_program hosta "${@:-bash}" && say 'cd /tmp && umask 022 && echo ready' && wait_for "$OUT" '^ready$' && move hostb
}

# run_away COMMANDS - in that shell; sets STATUS, and SAID to what they said
run_away() {
	local before mark=end.$RANDOM
	before=$(lines "$OUT")
	say "{ $1
} 2>&1; status=\$?; echo; echo $mark \$status"
	WAIT_S=${LONG_S:-60} wait_for "$OUT" "^$mark [0-9]+$" || return
	STATUS=$(sed -n "s/^$mark //p" "$OUT")
	SAID=$(tail -n "+$((before + 1))" "$OUT" | sed "/^$mark [0-9]*$/d")
	[ "$STATUS" = 0 ] || {
		echo "status $STATUS of: $1" >&2
		echo "$SAID" >&2
		return 1
	}
}

# at_home COMMANDS - the same at the origin, by the same user
at_home() {
	on_as hosta "$HOSTS_USER" bash -c "cd /tmp && umask 022 && { $1
}" 2>&1
}

# Without what depends on how a shell got its commands
plain() {
	sed '/^$/d; s/^bash: line [0-9]*: //'
}

# same COMMANDS - they say the same there and at home
same() {
	run_away "$1" || return
	local native
	native=$(at_home "$1") || return
	[ "$(echo "$SAID" | plain)" = "$(echo "$native" | plain)" ] || {
		echo "there: $SAID" >&2
		echo "at home: $native" >&2
		return 1
	}
}

comes_home() {
	home && say 'pwd; exit 4' && ended_with "exit 4" && [ "$(tail -n 1 "$OUT")" = "${1:-/tmp}" ]
}

# What a directory holds, and how
LIST="find . -printf '%P %y %m %s %l %n\n' | sort; find . -type f -exec sha256sum {} + | sort"

@test "git: a repository and its clone" {
	need git
	away
	run_away 'export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
		export GIT_AUTHOR_DATE="100000000 +0000" GIT_COMMITTER_DATE="100000000 +0000"
		git init -q t && cd t && for i in $(seq 60); do echo "line $i" >f$i; done && mkdir -p a/b && cp f1 a/b &&
		git add . && git commit -qm one && echo more >>f1 && git commit -qam two && git gc -q && cd .. &&
		git clone -q t t.clone && cd t.clone && git log --format=%H && git status --short && git fsck --strict 2>&1 && cd ..'
	native=$(at_home 'export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
		export GIT_AUTHOR_DATE="100000000 +0000" GIT_COMMITTER_DATE="100000000 +0000"; cd t.clone && git fsck --strict >/dev/null 2>&1 && git log --format=%H')
	[ "$(echo "$SAID" | grep -E '^[0-9a-f]{40}$')" = "$native" ] && [ "$(echo "$native" | wc -l)" = 2 ]
	comes_home
}

@test "gcc: a program of several files, with temporary files in /tmp" {
	need gcc make
	away
	run_away 'mkdir t && cd t && for i in $(seq 8); do echo "int f$i(void) { return $i; }" >f$i.c; done
		{ for i in $(seq 8); do echo "int f$i(void);"; done; echo "#include <stdio.h>"; echo "int main(void) { return printf(\"%d\\n\", 0"
		for i in $(seq 8); do echo "+ f$i()"; done; echo ") < 0; }"; } >main.c
		printf "p: main.o f1.o f2.o f3.o f4.o f5.o f6.o f7.o f8.o\n\tcc -o p *.o\n" >Makefile && TMPDIR=/tmp make -s -j2 && ./p && cd ..'
	[ "$(echo "$SAID" | sed '/^$/d')" = 36 ]
	[ "$(at_home 't/p')" = 36 ]
	comes_home
}

@test "tar and cp: a tree of all that a tree can hold" {
	away
	run_away 'mkdir t && cd t && cp -r /usr/include/linux/netfilter . && ln -s netfilter link && ln netfilter/x_tables.h hard &&
		mkfifo pipe && mkdir -m 2711 odd && touch -d "2001-02-03 04:05:06.789" odd/old && : >"odd/a
b" && dd if=/dev/zero of=sparse bs=1 count=1 seek=1000000 2>&1 | tail -n 0 && cd .. && mkdir t.cp t.tar && cp -a t/. t.cp && tar -C t -c . | tar -C t.tar -xp'
	for dir in t t.cp t.tar; do
		same "cd $dir && $LIST; cd .."
	done
	[ "$(at_home "cd t && $LIST")" = "$(at_home "cd t.tar && $LIST")" ]
	comes_home
}

@test "rsync: a tree from here to there, and what changed" {
	need rsync
	away
	run_away 'mkdir t && rsync -a /usr/include/linux/ t && echo new >t/new && rm t/fs.h && rsync -a --delete /usr/include/linux/ t &&
		rsync -anci --delete /usr/include/linux/ t'
	[ -z "$(echo "$SAID" | sed '/^$/d')" ]
	at_home 'diff -r /usr/include/linux t'
	comes_home
}

@test "sqlite3: a second one works on the same database at the origin" {
	need sqlite3
	away
	run_away 'mkdir t && sqlite3 t/db "create table x(a, b); create index i on x(b)" && chmod -R a+rwX t'
	on_as hosta "$HOSTS_USER" bash -c 'for i in $(seq 40); do
		sqlite3 -cmd ".timeout 20000" /tmp/t/db "insert into x values('"'home'"', $i)" || echo failed; done' >"$(outside "$D")/second" 2>&1 3>&- &
	second=$!
	LONG_S=120 run_away 'for i in $(seq 40); do sqlite3 -cmd ".timeout 20000" t/db "insert into x values('"'away'"', $i)" || echo failed; done'
	wait $second
	[ -z "$(cat "$(outside "$D")/second")" ] && [[ $SAID != *failed* ]]
	[ "$(at_home 'sqlite3 t/db "pragma integrity_check; select a, count(distinct b) from x group by a"' | tr '\n' ' ')" = "ok away|40 home|40 " ]
	same 'sqlite3 t/db "select * from x order by a, b"'
	comes_home
}

@test "sqlite3: a write-ahead log is refused or right, never wrong" {
	need sqlite3
	away
	run_away 'mkdir t && sqlite3 t/db "pragma journal_mode=wal; create table x(a)"; for i in $(seq 10); do sqlite3 t/db "insert into x values($i)"; done; true'
	at_home 'sqlite3 t/db "pragma integrity_check"' | grep -qx ok
	same 'sqlite3 t/db "select count(*) from x" 2>&1 || true'
	comes_home
}

@test "locks: flock and lockf hold against the origin's processes, both ways" {
	away
	run_away 'exec 7>t.lock && flock -x 7'
	! at_home 'flock -n /tmp/t.lock true'
	run_away 'flock -u 7'
	at_home 'flock -n /tmp/t.lock true'
	on_as hosta "$HOSTS_USER" flock /tmp/t.lock sh -c 'touch /tmp/t.held; until test -e /tmp/t.go; do sleep 0.05; done' 3>&- &
	until_true on hosta test -e /tmp/t.held
	run_away '! flock -n t.lock true && touch t.go && flock -w 20 t.lock echo got'
	[[ $SAID == *got* ]]
	comes_home
}

@test "locks by a descriptor that came along go with its last close, whoever had them" {
	start_program hosta bash && say 'cd /tmp && umask 022 && exec 7<>t.lock && echo ready' && wait_for "$OUT" '^ready$' && move hostb
	run_away 'for at in 0 20 40; do /usr/bin/python3 -c "import fcntl; fcntl.lockf(7, fcntl.LOCK_EX, 10, $at)" || exit 1; done; exec 7>&-'
	until_true at_home '/usr/bin/python3 -c "import fcntl; fcntl.lockf(open(\"/tmp/t.lock\", \"w\"), fcntl.LOCK_EX | fcntl.LOCK_NB)"'
	comes_home
}

@test "what is written at one side is read at the other at once" {
	away
	for i in 1 2 3 4 5; do
		at_home "echo home $i >>t.log"
		run_away 'tail -n 1 t.log'
		[ "$(echo "$SAID" | sed '/^$/d')" = "home $i" ]
		run_away "echo away $i >>t.log"
		[ "$(at_home 'tail -n 1 t.log')" = "away $i" ]
	done
	comes_home
}

@test "busybox, static: a script of local and of the origin's names" {
	away busybox sh
	run_away 'mkdir t && busybox cp /etc/services t/s && busybox sort t/s | busybox uniq -c | busybox tee t/u | busybox wc -l &&
		busybox find t -type f | busybox xargs busybox md5sum >t.sums && busybox md5sum -c t.sums && busybox vi -h >/dev/null 2>&1; busybox ls -l t | busybox wc -l'
	at_home 'busybox md5sum -c t.sums'
	at_home 'cmp /etc/services t/s'
	comes_home
}

@test "devices: zero, full, a pty by script, and what they look like" {
	away
	same 'dd if=/dev/zero bs=64k count=16 2>/dev/null | sha256sum; for d in null zero full random tty ptmx; do test -c /dev/$d && echo $d; done
		(echo x >/dev/full) 2>/dev/null || echo full; head -c 5 /dev/urandom | wc -c; test -d /dev/fd/. && echo fd'
	run_away 'script -qec "stty size; tty" /dev/null </dev/null | tr -d "\r"'
	[[ $SAID == *"/dev/pts/"* ]]
	comes_home
}

@test "names: what is wrong is wrong in the same way" {
	away
	same 'rm -rf t; mkdir -p t/d && cat t/none; cat t/d; : >t/f; cat t/f/x; ln -s loop t/loop; cat t/loop; rmdir t; mv t/d t/d/e; touch "t/$(printf "%0300d" 1)"; cat /tmp/$(printf "%05000d" 1) 2>&1 | cut -c1-40; mkdir t/d; : >/tmp/; chmod 000 t/f; cat t/f; echo x >t/f; true'
	comes_home
}

@test "a full disk says so, and nothing is lost before it" {
	on hosta sh -c 'mkdir -p /tmp/t && mount -t tmpfs -o size=2m,mode=1777 small /tmp/t'
	away
	run_away 'head -c 1500000 /dev/urandom >t/a && cp t/a t/b 2>&1; echo "cp $?"; cat t/a | sha256sum'
	[[ $SAID == *"No space left on device"*"cp 1"* ]]
	[ "$(echo "$SAID" | tail -n 1)" = "$(at_home 'sha256sum <t/a')" ]
	comes_home
	on hosta umount /tmp/t
}

@test "a thousand files are open there, and one more than may be" {
	away
	run_away 'mkdir t && ulimit -n 1024 && /usr/bin/python3 - <<PY
import errno, os
files = []
try:
    while True:
        files.append(os.open(f"t/{len(files)}", os.O_CREAT | os.O_RDWR))
        os.write(files[-1], b"%d" % len(files))
except OSError as e:
    print(errno.errorcode[e.errno], 1000 < len(files) < 1024)
for i, fd in enumerate(files):
    assert os.pread(fd, 9, 0) == b"%d" % (i + 1)
PY'
	[[ $SAID == *"EMFILE True"* ]]
	[ "$(at_home 'ls t | wc -l')" -gt 1000 ]
	comes_home
}

@test "the file server is killed: errors, and the program goes on" {
	away
	on hosta pkill -KILL -x mdeputy-files
	run_away 'cat /tmp/none; echo then $?'
	[[ $SAID == *"Input/output error"*"then 1"* ]]
	run_away 'cd / && cat /etc/hostname >/dev/null && echo here'
	[[ $SAID == *here* ]]
	say 'exit 5'
	ended_with "exit 5"
}

#!/bin/bash
# SPDX-License-Identifier: MIT
# check_shim_programs.sh - libmshim.so is never the reason that a program fails
#
#	check_shim_programs.sh BUILD
#
# Programs run twice, without it and with it: what they print and how they end must be the same.  All of
# them without an mproxy, and all again with one.  Where the loader itself has something to say about a
# preloaded library, the other run has an empty one.  A program that isn't there is left out, and has
# failed with MUST_WORK=1.
set -u
build=$1
case $build in /*) ;; *) build=$PWD/$build ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
LIMIT_S=${TEST_SECONDS:-120}	# of one run
dir=$(mktemp -d) || exit 1
chmod 755 "$dir"
mkdir -m 777 "$dir/work" "$dir/home" "$dir/bin"
daemon=
status=0
round=
n=0
# shellcheck disable=SC2317	# the trap calls it
over() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	rm -rf "$dir"
}
trap over EXIT
unset LD_PRELOAD MSHIM_CONTROL XDG_RUNTIME_DIR
export LC_ALL=C HOME="$dir/home" PYTHONHASHSEED=0 TERM=dumb

# another user can read them here
cp "$build"/libmshim.so "$build"/shim/* "$dir/bin/" || exit 1
chmod -R a+rX "$dir/bin"
shim=$dir/bin/libmshim.so
bin=$dir/bin
cd "$dir/work" || exit 1

fail() {
	echo "check_shim_programs: $round: $*" >&2
	status=1
}
has() {
	command -v "$1" >/dev/null && return
	if [ "${MUST_WORK:-0}" = 1 ]; then
		fail "there is no $1"
	else
		[ "$round" != "no mproxy" ] || echo "ok    shim, programs # skip no $1"
	fi
	return 1
}

# run OUT PRELOAD COMMAND... - what it prints goes to OUT.out and OUT.err, its exit status to OUT.status
run() {
	local out=$1 preload=$2
	shift 2
	timeout -k 5 "$LIMIT_S" env ${preload:+LD_PRELOAD="$preload"} "$@" </dev/null >"$out.out" 2>"$out.err"
	echo $? >"$out.status"
}

# compare WITHOUT WITH COMMAND... - both preloads; names of libraries in messages of the loader don't count
compare() {
	local without=$1 with=$2 part
	shift 2
	n=$((n + 1))
	run "$dir/without" "$without" "$@"
	run "$dir/with" "$with" "$@"
	for part in out err status; do
		sed -i 's/libempty\.so/libmshim.so/g' "$dir/without.$part"
		cmp -s "$dir/without.$part" "$dir/with.$part" && continue
		fail "$* (LD_PRELOAD=$with): $part is other than without"
		diff "$dir/without.$part" "$dir/with.$part" | head -n 10 >&2
	done
}
same() { compare "" "$shim" "$@"; }
# ends STATUS COMMAND... - as same, and it ended so: what is compared did happen
ends() {
	local want=$1
	shift
	same "$@"
	[ "$(cat "$dir/without.status")" = "$want" ] || fail "$* ended with $(cat "$dir/without.status"), not $want"
}

# ---- what is made for them

git_repository() {
	git init -q repo && cd repo && git config user.email a@b && git config user.name n || return
	seq 1000 >numbers && echo x >x && git add . && git commit -qm one && echo y >>x && echo z >z
	cd ..
}
has git && git_repository
cat >forks.py <<'PYTHON'
import multiprocessing, os, signal, subprocess, sys

def square(x):
    os.kill(os.getpid(), 0)
    return x * x

if __name__ == "__main__":
    print(subprocess.run(["sh", "-c", "echo from the shell; exit 3"], capture_output=True).stdout)
    print(subprocess.call(["sh", "-c", "kill -TERM $$"]))
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            print(method, pool.map(square, range(20)))
    signal.signal(signal.SIGUSR1, lambda *_: print("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    pid, fd = os.forkpty()
    if not pid:
        print(os.get_terminal_size(0), os.isatty(0))
        sys.stdout.flush()
        os._exit(4)
    text = b""
    try:
        while piece := os.read(fd, 1000):
            text += piece
    except OSError:
        pass                            # EIO: nobody has the other end any more
    print(text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
cat >forks.pl <<'PERL'
$| = 1;
for my $i (1 .. 5) { my $pid = fork; if (!$pid) { kill 0, $$ or die; exit $i } waitpid $pid, 0; print $? >> 8, "\n" }
my $pid = fork; if (!$pid) { sleep 100; exit } print kill("TERM", $pid), "\n"; waitpid $pid, 0; print $? & 127, "\n";
print `echo backticks`;
$SIG{ALRM} = sub { print "alarm\n" }; kill "ALRM", $$; exit 6;
PERL
cat >hello.c <<'C'
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
int main(void) { int n = 0; printf("%d %d %d\n", kill(getpid(), 0), ioctl(-1, FIONREAD, &n), n); return 9; }
C
cat >children.js <<'JS'
const { spawnSync, fork } = require("child_process"), { Worker } = require("worker_threads");
if (process.argv[2]) process.exit(5);
console.log(spawnSync("sh", ["-c", "echo hi; exit 2"]).status, process.kill(process.pid, 0), process.stdout.isTTY);
fork(__filename, ["child"]).on("exit", code => {
	console.log(code);
	new Worker("process.kill(process.pid, 0)", { eval: true }).on("exit", code => { console.log(code); process.exit(7); });
});
JS
cat >Hello.java <<'JAVA'
public class Hello {
	public static void main(String[] a) throws Exception {
		Process p = new ProcessBuilder("sh", "-c", "exit 8").start();
		System.out.println(p.waitFor());
		Thread t = new Thread(() -> System.out.println("thread")); t.start(); t.join();
		System.exit(8);
	}
}
JAVA
# a file system with nothing but a program and its libraries
chroot_made() {
	mkdir -p root/lib64 root/bin && cp "$bin/calls" "$shim" root/ && cp "$(command -v busybox)" root/bin/ || return
	ldd "$bin/calls" | grep -o '/[^ ]*' | while read -r file; do
		mkdir -p "root${file%/*}" && cp "$file" "root$file"
	done
}
as_root=()
[ "$(id -u)" = 0 ] || as_root=(unshare -Ur)
has busybox && chroot_made

# ---- the programs

small_programs() {
	ends 0 "$bin/calls"
	ends 0 "$bin/storm"
	ends 0 ls /proc/self/fd
	ends 7 sh -c 'exit 7'
	ends 9 sh -c 'trap "exit 9" TERM; kill -TERM $$'
}

# libraries of others: in front, behind, and both
other_libraries() {
	local other order asan
	for other in libseen libearly; do
		for order in "$bin/$other.so:$shim" "$shim:$bin/$other.so"; do
			compare "$bin/$other.so" "$order" "$bin/calls" 20
			compare "$bin/$other.so" "$order" sh -c "'$bin/calls' 20; exit 3"
		done
	done
	compare "$bin/libseen.so:$bin/libearly.so" "$bin/libseen.so:$shim:$bin/libearly.so" "$bin/calls"
	compare "$bin/libearly.so:$bin/libseen.so" "$bin/libearly.so:$bin/libseen.so:$shim" "$bin/calls"
	compare "" "$shim:$shim" "$bin/calls"
	has gcc || return
	asan=$(gcc -print-file-name=libasan.so)
	[ -e "$asan" ] || return
	gcc -O1 -g -fsanitize=address -o hello-asan hello.c || fail "hello-asan can't be built"
	export ASAN_OPTIONS=detect_leaks=0
	compare "$asan" "$asan:$shim" "$bin/calls"
	compare "$asan" "$asan:$shim" ./hello-asan
	unset ASAN_OPTIONS
}

# sandboxes, limits, missing things.  With an mproxy the first call beyond the loader's is prctl
sandboxes() {
	[ "$round" != "no mproxy" ] || ends 0 "$bin/sandbox" loader /bin/echo fine
	ends 0 "$bin/sandbox" nosys /bin/echo fine
	ends 0 "$bin/sandbox" socket /bin/echo fine
	ends 5 "$bin/sandbox" strict
	ends 0 sh -c "exec <&-; exec '$bin/calls'"
	same sh -c "exec <&- >&- 2>&-; '$bin/calls'; exit \$?"
	ends 0 sh -c "ulimit -n 7; exec '$bin/calls'"
	same sh -c "ulimit -n 6; exec '$bin/calls'"
	compare "$bin/libempty.so" "$shim" sh -c "ulimit -n 3; exec '$bin/calls'"
	compare "$bin/libempty.so" "$shim" sh -c "ulimit -n 0; exec '$bin/calls'"
	ends 0 sh -c "ulimit -s 128; exec '$bin/calls'"
	same sh -c "ulimit -v 20000; exec '$bin/calls'"
	same sh -c "ulimit -c 0 -f 0; exec '$bin/calls'"
	ends 0 env -i LD_PRELOAD="$shim" "$bin/calls"
	ends 0 env XDG_RUNTIME_DIR=relative "$bin/calls"
	ends 0 env XDG_RUNTIME_DIR="/$(printf 'x%.0s' {1..300})" "$bin/calls"
	has busybox || return
	ends 3 busybox sh -c 'kill -0 $$; exit 3'
	if [ -e root/calls ] && "${as_root[@]}" chroot root /bin/busybox true 2>/dev/null; then
		n=$((n + 1))
		run "$dir/without" "" "${as_root[@]}" chroot root /bin/busybox env /calls
		run "$dir/with" "" "${as_root[@]}" chroot root /bin/busybox env LD_PRELOAD=/libmshim.so /calls
		diff "$dir/without.out" "$dir/with.out" >&2 || fail "in a chroot it says something else"
		[ "$(cat "$dir/with.status" "$dir/with.err")" = "$(cat "$dir/without.status")" ] ||
			fail "in a chroot: $(cat "$dir/with.status" "$dir/with.err")"
		grep -q '^ioctl(-1, .*: -1, errno 9' "$dir/with.out" || fail "in a chroot nothing was run"
	else
		echo "ok    shim, chroot # skip it can't be made here"
	fi
}

# as somebody else: set-user-id programs (the loader ignores the library), no more processes
other_users() {
	local nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	if [ "$(id -u)" != 0 ]; then
		[ "$round" != "no mproxy" ] || echo "ok    shim, other users # skip this needs root"
		return
	fi
	cp "$(command -v id)" "$dir/bin/id-root" && chmod 4755 "$dir/bin/id-root"
	ends 0 "${nobody[@]}" "$bin/id-root"
	grep -q 'euid=0' "$dir/with.out" || fail "a set-user-id program isn't one: $(cat "$dir/with.out")"
	ends 0 "${nobody[@]}" "$bin/calls"
	same "${nobody[@]}" bash -c "ulimit -u 1; exec '$bin/calls'"
	same "${nobody[@]}" bash -c "ulimit -u 1; exec '$bin/storm'"
}

real_programs() {
	if has git; then
		ends 0 git -C repo status
		ends 0 git -C repo log --stat
		ends 0 git -C repo diff
		ends 0 sh -c 'rm -rf clone && git clone -q repo clone && ls clone'
	fi
	has python3 && ends 0 python3 forks.py
	has perl && ends 6 perl forks.pl
	has gcc && ends 9 sh -c 'gcc -O2 -o hello hello.c && ./hello'
	has sqlite3 && ends 0 sqlite3 :memory: 'create table t(x); insert into t values (1), (2); select sum(x) from t'
	has node && ends 7 node children.js
	has java && ends 8 java -XX:-UsePerfData Hello.java
	has socat && ends 0 sh -c 'echo through a terminal | socat -u - EXEC:cat,pty,raw,echo=0 >/dev/null'
	# numbers of processes aside
	has script && ends 4 bash -c 'script -qec "bash --norc -ic \"set -m; { sleep 100 & kill -KILL %1; wait %1; } 2>/dev/null; test \$? = 137 && echo killed; stty rows 20; stty size; test -t 0 && exit 4\"" /dev/null >out; e=$?; tr -d "\r" <out | sed "s/[0-9]\{3,\}/N/g"; exit $e'
	has bash && ends 2 bash -c 'trap "echo trapped" USR1; kill -USR1 $$; (exec 3<>/dev/null; exit 5); echo $?; coproc cat; echo x >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo $l; exit 2'
}

everything() {
	round=$1
	small_programs
	other_libraries
	sandboxes
	other_users
	real_programs
}

MSHIM_CONTROL=$dir/nobody
export MSHIM_CONTROL
everything "no mproxy"

MSHIM_CONTROL=$dir/mproxy.sock
"$build/mproxy" --listen 127.0.0.1:0 --state "$dir/state" --libexec "$build" --control "$MSHIM_CONTROL" \
	--policy "$top/conf/policy.json" --verbose 2>"$dir/log" &
daemon=$!
for ((i = 0; i < 100; i++)); do
	[ -S "$MSHIM_CONTROL" ] && break
	sleep 0.1
done
everything "with an mproxy"
grep -q 'has libmshim.so' "$dir/log" || fail "mproxy has heard of nobody"
kill "$daemon"
wait "$daemon" || fail "mproxy ended with $?"
daemon=
[ $status = 0 ] && echo "ok    $n programs, with libmshim.so as without"
exit $status

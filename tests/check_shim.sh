#!/bin/sh
# SPDX-License-Identifier: MIT
# check_shim.sh - What libmshim.so takes from others, shows to others, and does
#
#	check_shim.sh LIBRARY PROGRAMS		PROGRAMS: where tests/shim/ was built
#
# Its imports are an allow-list: nothing that allocates, prints or waits may be on it.  Its exports
# are preload.map's, and the calls among them the rows of common/calls.def with route BOTH.  The system
# calls that it adds to a program's start are counted, next to an empty library's; after the start there
# may be none.  A program with it must run as without it, with an mproxy (here: a socket that
# takes one message), without one, and with one that doesn't accept.  And a program that is made a
# moved one must ask its origin what it must ask, and nothing else (tests/shim/moved.c).
set -u
library=$1 programs=$2
top=$(cd "$(dirname "$0")/.." && pwd)
map=$top/preload.map
case $library in */*) ;; *) library=./$library ;; esac
case $library in /*) ;; *) library=$PWD/$library ;; esac
case $programs in /*) ;; *) programs=$PWD/$programs ;; esac

allowed='
__errno_location	errno, of the exported calls
dl_iterate_phdr	once, before main(): what lies in libc
memcmp
memcpy
memset			compilers call it by themselves
secure_getenv
strlen
'
# weak: done without if nobody has it
# (dlsym: its old version, which in an older libc is in libdl)
weak='dlsym __fork'

status=0
fail() {
	echo "check_shim: $*" >&2
	status=1
}

dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

# ---- symbols
nm -D --undefined-only "$library" | awk '{ print $1, $2 }' | while read -r kind name; do
	name=${name%@*} name=${name%@}
	case $kind in
	w) case " $weak " in *" $name "*) continue ;; esac ;;
	U) printf '%s' "$allowed" | cut -f1 | grep -qx "$name" && continue ;;
	esac
	echo "$name"
done >"$dir/imports"
[ -s "$dir/imports" ] && fail "imports what isn't allowed: $(tr '\n' ' ' <"$dir/imports")"

nm -D --defined-only "$library" | awk '{ print $3 }' | sort >"$dir/exports"
sed -n '/global:/,/local:/s/^[[:space:]]*\([A-Za-z_0-9]*\);.*/\1/p' "$map" | sort >"$dir/listed"
cmp -s "$dir/exports" "$dir/listed" ||
	fail "exports $(tr '\n' ' ' <"$dir/exports"), preload.map has $(tr '\n' ' ' <"$dir/listed")"
# the calls: no row of BOTH without an export, no export without a row
sed -n 's/^CALL([[:space:]]*[0-9]*,[[:space:]]*\([a-z_0-9]*\),[[:space:]]*BOTH,.*/\1/p' "$top/common/calls.def" | sort >"$dir/rows"
grep -v -e '^mshim_' -e '^fork$' "$dir/exports" >"$dir/calls"
[ -s "$dir/rows" ] || fail "no row of common/calls.def has route BOTH"
cmp -s "$dir/rows" "$dir/calls" ||
	fail "exports the calls $(tr '\n' ' ' <"$dir/calls"), common/calls.def has $(tr '\n' ' ' <"$dir/rows")"
# a program may bring a libc of its own, an older one: nothing newer than secure_getenv
nm -D --undefined-only "$library" | sed -n 's/.*@GLIBC_2\.\([0-9]*\).*/\1/p' | sort -n | tail -n 1 >"$dir/newest"
[ "$(cat "$dir/newest")" -le 17 ] || fail "wants a libc as new as 2.$(cat "$dir/newest")"
# the loader makes a mapping of each segment, and of zeroed pages behind the last
[ "$(readelf -lW "$library" | grep -c '^ *LOAD')" = 2 ] || fail "has not two segments"
readelf -lW "$library" | awk '/^ *LOAD/ { filesz = $5; memsz = $6 } END { exit filesz != memsz }' ||
	fail "has zeroed pages (.bss)"
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^libc\.')
[ -z "$needed" ] || fail "needs more than libc: $needed"

# ---- moved
moved=$(env MSHIM_CONTROL="$dir/nobody" LD_PRELOAD="$library" timeout -k 5 60 "$programs/moved" 2>&1) ||
	fail "a moved program: exit status $?"
[ "$(printf '%s' "$moved" | tail -n 1)" = ok ] || fail "a moved program said: $moved"
skipped=$(printf '%s\n' "$moved" | sed -n 's/^skip  /ok    libmshim.so, moved # skip /p')
if [ -n "$skipped" ]; then
	[ "${MUST_WORK:-0}" = 0 ] && echo "$skipped" || fail "$skipped"
fi

# ---- a program with it, without an mproxy
text=$(env MSHIM_CONTROL="$dir/nobody" LD_PRELOAD="$library" /bin/echo fine 2>&1)
[ "$text" = fine ] || fail "a program without an mproxy said: $text"

# ---- with one: the message is what common/wire.def says, and nobody waits for an answer
command -v python3 >/dev/null || {
	echo "check_shim: no python3, the message isn't looked at"
	exit $status
}
python3 - "$library" "$dir/control" "$programs" <<'PYTHON' || status=1
import os, socket, struct, subprocess, sys

library, path, programs = sys.argv[1:]
# a long path, an empty one, a directory: passed over in silence
env = dict(os.environ, LD_PRELOAD=library, MSHIM_CONTROL=path)
for strange in ("/" + "x" * 300, "", "/"):
    out = subprocess.run(["/bin/echo", "fine"], env=dict(env, MSHIM_CONTROL=strange),
                         capture_output=True, timeout=20)
    assert (out.returncode, out.stdout, out.stderr) == (0, b"fine\n", b""), (strange, out)

s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind(path)
s.listen(1)
s.settimeout(20)
p = subprocess.Popen(["/bin/cat", "/proc/self/stat"], env=env, stdout=subprocess.PIPE)
c, _ = s.accept()
message = c.recv(4096)
out, _ = p.communicate(timeout=20)      # it ended, and nobody had answered
pid = int(out.split()[0])
kind, version, length, number = struct.unpack_from("<HHIQ", message)
claimed, text_length = struct.unpack_from("<II", message, 16)    # 0: who it is, the socket says
text = message[24:]
assert kind == 83 and number == 0 and version >= 1, message
assert length == len(message) - 16 and text_length == len(text) and text.endswith(b"\0"), message
assert claimed == 0, claimed
peer, _, _ = struct.unpack("3i", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
assert peer == pid, (peer, pid)
assert c.recv(4096) == b"", "the connection stays open"

# a backlog that is full, as of an mproxy that hangs: connect() mustn't wait
stuck = []
for i in range(8):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        one.connect(path)
    except BlockingIOError:
        break
    stuck.append(one)
out = subprocess.run(["/bin/echo", "fine"], env=env, capture_output=True, timeout=20)
assert (out.returncode, out.stdout, out.stderr) == (0, b"fine\n", b""), out

# ---- how many system calls it adds, next to a library with nothing in it
import collections, shutil
if not shutil.which("strace"):
    print("check_shim: no strace, system calls aren't counted")
    sys.exit(0)
empty = programs + "/libempty.so"

def count(preload, environment, command, before=()):
    """system calls of one run, by name"""
    trace = path + ".trace"
    passed = dict(environment, LD_PRELOAD=preload)
    subprocess.run([*before, "strace", "-qq", "-o", trace, *(f"-E{k}={v}" for k, v in passed.items()),
                    "-E", "MSHIM_TEST=1", *command], check=True, stdout=subprocess.DEVNULL, timeout=60)
    with open(trace) as f:
        return collections.Counter(line.split("(")[0] for line in f if "(" in line)

for name in ("MSHIM_CONTROL", "XDG_RUNTIME_DIR"):
    os.environ.pop(name, None)
user = os.path.dirname(path) + "/user"
os.mkdir(user)

def listen(where):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.bind(where)
    s.listen(64)
    return s

served = listen(user + "/mproxy.sock")
to_one = dict(socket=1, connect=1, sendto=1, close=1)
named_none = {"MSHIM_CONTROL": path + ".nobody"}
user_has = {"XDG_RUNTIME_DIR": user}
cases = [
    ("none, by name", named_none, (), dict(access=2)),
    ("none", {"XDG_RUNTIME_DIR": user + "/nothing"}, (), dict(access=3)),
    ("the user's", user_has, (), dict(to_one, access=1, prctl=2)),
    ("one that is named", {"MSHIM_CONTROL": user + "/mproxy.sock"}, (), dict(to_one, access=1, prctl=2)),
    ("root's", {"XDG_RUNTIME_DIR": user + "/nothing"}, ("roots",), dict(to_one, access=2, prctl=1)),
]
# Root's socket is /run/mproxy.sock: in a mount namespace with a /run of its own
inside = r"""
import os, socket, subprocess, sys
if subprocess.run(["mount", "-t", "tmpfs", "test", "/run"]).returncode:
    sys.exit(77)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.bind("/run/mproxy.sock")
s.listen(8)
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
namespace = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
can = subprocess.run([*namespace, "true"], capture_output=True).returncode == 0
for what, environment, before, expected in cases:
    if "none" == what and os.path.exists("/run/mproxy.sock"):
        continue
    if before == ("roots",):
        if not can:
            print("check_shim: no mount namespace, root's mproxy isn't tried")
            continue
        before = [*namespace, sys.executable, "-c", inside]
    for command in (["/bin/true"], [programs + "/calls", "1"], [programs + "/calls", "500"]):
        ours = count(library, environment, command, before)
        none = count(empty, environment, command, before)
        added = ours - none
        more = sum(ours.values()) - sum(none.values())
        assert dict(added) == expected, f"mproxy: {what}; {command}: adds {dict(added)}, not {expected}"
        assert more <= 5, f"mproxy: {what}; {command}: {more} system calls more than an empty library"
PYTHON
[ $status = 0 ] && echo "ok    libmshim.so"
exit $status

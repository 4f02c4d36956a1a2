#!/bin/sh
# SPDX-License-Identifier: MIT
# check_shim.sh - What libmshim.so takes from others, shows to others, and does
#
#	check_shim.sh LIBRARY
#
# Its imports are an allow-list: nothing that allocates, locks, prints or waits may be on it.  Its
# exports are preload.map's.  And a program with it must run as without it, with an mproxy (here:
# a socket that takes one message), without one, and with one that doesn't accept.
set -u
library=$1
map=$(dirname "$0")/../preload.map
case $library in */*) ;; *) library=./$library ;; esac
case $library in /*) ;; *) library=$PWD/$library ;; esac

allowed='
__errno_location	errno is kept
close
connect
getpid
memcpy
memset			compilers call it by themselves
prctl
secure_getenv
send
socket
strlen
'
# weak, from the compiler'"'"'s start files: called if somebody has them
weak='__cxa_finalize __gmon_start__ _ITM_deregisterTMCloneTable _ITM_registerTMCloneTable'

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
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^libc\.')
[ -z "$needed" ] || fail "needs more than libc: $needed"

# ---- a program with it, without an mproxy
text=$(env MSHIM_CONTROL="$dir/nobody" LD_PRELOAD="$library" /bin/echo fine 2>&1)
[ "$text" = fine ] || fail "a program without an mproxy said: $text"

# ---- with one: the message is what common/wire.def says, and nobody waits for an answer
command -v python3 >/dev/null || {
	echo "check_shim: no python3, the message isn't looked at"
	exit $status
}
python3 - "$library" "$dir/control" <<'PYTHON' || status=1
import os, socket, struct, subprocess, sys

library, path = sys.argv[1:]
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
claimed, text_length = struct.unpack_from("<II", message, 16)
text = message[24:]
assert kind == 83 and number == 0 and version >= 1, message
assert length == len(message) - 16 and text_length == len(text) and text.endswith(b"\0"), message
assert claimed == pid, (claimed, pid)
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
PYTHON
[ $status = 0 ] && echo "ok    libmshim.so"
exit $status

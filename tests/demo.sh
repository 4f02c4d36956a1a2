#!/bin/bash
# SPDX-License-Identifier: MIT
# demo.sh - A running program goes to another host and comes home, before your eyes
#
# `make demo` installs and builds what is missing, then runs this.  The two hosts, hosta and hostb, are
# namespaces of this machine, with a network, clocks and processes of their own.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ "$(id -u)" != 0 ]; then
	echo "make demo makes two hosts of namespaces: it needs root (try: sudo make demo)" >&2
	exit 1
fi
. tests/system/lib.bash
say_what() {
	printf '\n\033[1m%s\033[0m\n' "$*"
}
show() {
	printf '   $ %s\n' "$*"
}
last_lines() {
	tail -n 3 "$OUT" | sed 's/^/     /'
}
failed() {
	echo "demo: $*" >&2
	for host in hosta hostb; do
		echo "-- mproxy of $host:" >&2
		tail -n 20 "$(log_of "$host")" >&2
	done
	exit 1
}
# the program's own host name stays hosta, which is right: so it asks for the machine's id.  hosta's ends with 01
program='import os, time
n, x = 0, 1
while True:
    n += 1
    identity = open("/etc/machine-id").read().strip()[-2:]
    for i in range(200000):
        x = (x * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
    print(f"step {n}: {x:016x}, machine-id ..{identity}, pid {os.getpid()}", flush=True)
    time.sleep(0.2)
'
say_what "Two hosts, an mproxy on each, and they trust each other:"
show "mproxy --listen 10.77.0.1        # on hosta"
show "mproxy --listen 10.77.0.2        # on hostb"
show "mproxy --invite 10.77.0.1        # on hosta; prints a token"
show "mmigrate trust hosta TOKEN       # on hostb"
system_up root 2 || failed "the hosts didn't come up"

say_what "A python3 computes on hosta and prints into a pipe; the cat behind the pipe stays on hosta:"
show "python3 -c '...' | cat >out"
start_program hosta /usr/bin/python3 -c "$program" || failed "the program didn't start"
wait_for "$OUT" 'step 5:' || failed "the program says nothing"
last_lines

say_what "It is moved while it runs:"
show "mmigrate $P hostb"
mm hosta "$P" hostb 2>&1 | sed 's/^/     /'
runs_on hostb "$P" || failed "it doesn't run on hostb"
goes_on || failed "it doesn't go on"
last_lines
show "mmigrate ps"
mm hosta ps | sed 's/^/     /'

say_what "And home again:"
show "mmigrate home $P"
mm hosta home "$P" 2>&1 | sed 's/^/     /'
runs_on hosta "$P" || failed "it doesn't run on hosta"
goes_on || failed "it doesn't go on"
last_lines

say_what "No step was lost, and none was done twice:"
sed -n 's/^step \([0-9]*\):.*/\1/p' "$OUT" >"$HOSTS_DIR/steps"
counted "$HOSTS_DIR/steps" || failed "steps are missing"
awk '{ n[$5]++ } END { for (h in n) printf "     %d steps on the machine whose id ends with %s\n", n[h], h }' <(sed 's/,//g' "$OUT" | sort -u)
echo "     1 to $(tail -n 1 "$HOSTS_DIR/steps"), each once."
end_program

# ended.py - Children that have ended, and that it only waits for when it is told to
#
# There are some of each kind before the program moves, and as many after each line "more".  After
# "wait" it has found what each left; then it says ok.  With "eintr" SIGCHLD interrupts its calls: then
# a fork may fail in a moved program that has no libmshim.so (see shim/fork.c).
import os
import signal
import sys
import time

expected = {}


def end_by(what):
    if what < 0:
        os.kill(os.getpid(), -what)
    os._exit(what)


def make_some():
    before = set(expected)
    for what in (7, -signal.SIGKILL, 0, -signal.SIGTERM):
        pid = os.fork()
        if not pid:
            end_by(what)
        expected[pid] = what
    # the leader of a group that goes on without it: the other one ends when its pipe does
    leader = os.fork()
    if not leader:
        os.setpgid(0, 0)
        os._exit(3)
    os.waitid(os.P_PID, leader, os.WEXITED | os.WNOWAIT)
    expected[leader] = 3
    end, other_end = os.pipe()
    other = os.fork()
    if not other:
        os.close(other_end)
        os.read(end, 1)
        os._exit(4)
    os.setpgid(other, leader)
    os.close(end)
    expected[other] = 4
    for pid in set(expected) - before - {other}:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_pid != pid:
            sys.exit("process %d can't be waited for" % pid)
    return other, leader, other_end


def check(groups):
    for other, leader, end in groups:
        if os.getpgid(other) != leader or os.getpgid(leader) != leader:
            sys.exit("process %d has left its group" % other)
        os.kill(leader, 0)


signal.signal(signal.SIGCHLD, lambda signo, frame: None)
signal.siginterrupt(signal.SIGCHLD, "eintr" in sys.argv)
groups = [make_some()]
print("ready", flush=True)
for line in sys.stdin:
    check(groups)
    if line == "more\n":
        groups.append(make_some())
        print("more", len(groups), flush=True)
    elif line == "wait\n":
        break
for _, _, end in groups:
    os.close(end)
while expected:
    pid, status = os.wait()
    if os.waitstatus_to_exitcode(status) != expected.pop(pid):
        sys.exit("process %d ended with status %#x" % (pid, status))
try:
    os.wait()
    sys.exit("there is one more child")
except ChildProcessError:
    pass
print("ok", flush=True)

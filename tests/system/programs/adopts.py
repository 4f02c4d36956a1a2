#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# adopts.py - A subreaper (PR_SET_CHILD_SUBREAPER): orphans are its children, wherever they are
#
# After a line it adopts: one in its own session, one whose session's leader has ended, one whose session's
# leader goes on.  After each "look" all are where they were; after "end" it has waited for each.
import ctypes
import os
import sys


def place(pid):
    with open(f"/proc/{pid}/stat") as f:
        return [int(n) for n in f.read().rsplit(")")[1].split()[1:4]]


def orphan(status, session=False, leader_goes_on=False):
    """A double fork, or a triple one; what is read from the pipe ends the grandchild.  Return: (pid, leader)"""
    r, w = os.pipe()
    middle = os.fork()
    if not middle:
        if session:
            os.setsid()
        inner = os.fork() if leader_goes_on else 0
        if not inner:
            me = os.getpid()
            pid = os.fork()
            if not pid:
                while os.getppid() == me:
                    pass
                os.write(w, b"%d" % os.getpid())
                os.read(end_r, 1)
                os._exit(status)
            os._exit(0)
        os.waitpid(inner, 0)
        os.read(end_r, 1)
        os._exit(0)
    os.close(w)
    pid = int(os.read(r, 100))
    os.close(r)
    if not leader_goes_on:
        os.waitpid(middle, 0)
    return pid, middle


print("ready", flush=True)
sys.stdin.readline()
if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0):
    sys.exit("prctl")
end_r, end_w = os.pipe()
expected = {}
for status, more in (3, {}), (4, {"session": True}), (5, {"session": True, "leader_goes_on": True}):
    pid, leader = orphan(status, **more)
    expected[pid] = status
    if more.get("leader_goes_on"):
        expected[leader] = 0
places = {pid: place(pid) for pid in expected}
if [p[0] for p in places.values()] != [os.getpid()] * 4 or len({p[2] for p in places.values()}) != 3:
    sys.exit(f"they are in {places}")
print("started", flush=True)
looks = 0
for line in sys.stdin:
    if line == "end\n":
        break
    if {pid: place(pid) for pid in expected} != places:
        sys.exit(f"they are in {[place(pid) for pid in expected]}, and were in {places}")
    looks += 1
    print("look", looks, flush=True)
# one more, adopted here
pid, _ = orphan(6, session=True)
expected[pid] = 6
os.write(end_w, b"." * len(expected))
while expected:
    pid, status = os.wait()
    if os.waitstatus_to_exitcode(status) != expected.pop(pid):
        sys.exit(f"process {pid} ended with status {status:#x}")
print("ok", flush=True)

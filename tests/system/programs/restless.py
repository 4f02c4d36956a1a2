#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# restless.py DIRECTORY - Parents end all the time: double forks in a loop, and chains of processes
#
# Each of some workers forks a child that forks a grandchild and ends; the grandchild, an orphan by then,
# writes its number.  Each process of a chain writes its number, forks the next one and ends.  Every
# number must be there once.
import os
import sys
import time

WORKERS, CHAINS = 3, 2
stop = sys.argv[1] + "/stop"


def note(name, n):
    fd = os.open(f"{sys.argv[1]}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(fd, b"%d\n" % n)
    os.close(fd)


def become_orphan(parent):
    while os.getppid() == parent:
        time.sleep(0.001)


def worker(name):
    n = 0
    while not os.path.exists(stop):
        n += 1
        middle = os.fork()
        if not middle:
            me = os.getpid()
            if not os.fork():
                become_orphan(me)
                note(name, n)
            os._exit(0)
        if os.waitpid(middle, 0)[1]:
            os._exit(1)
        while not has(name, n):
            time.sleep(0.001)


def has(name, n):
    try:
        with open(f"{sys.argv[1]}/{name}") as f:
            return f.read().count("\n") >= n
    except FileNotFoundError:
        return False


def chain(name):
    n = 0
    while not os.path.exists(stop):
        n += 1
        note(name, n)
        if os.fork():
            os._exit(0)


def child(f, name):
    pid = os.fork()
    if not pid:
        f(name)
        os._exit(0)
    return pid


print("ready", flush=True)
sys.stdin.readline()
workers = [child(worker, f"worker{i}") for i in range(WORKERS)]
for i in range(CHAINS):
    os.waitpid(child(chain, f"chain{i}"), 0)
print("started", flush=True)
sys.stdin.readline()
open(stop, "w").close()
for pid in workers:
    if os.waitpid(pid, 0)[1]:
        sys.exit("a worker has failed")
print("ok", flush=True)

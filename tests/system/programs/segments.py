#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""segments.py [PROCESSES] - System V shared memory, used by so many processes (1); judges itself

Counts rounds.  In every one each process adds to its own cell of a segment that is marked for removal, and the
first one looks whether all did, and at everything else: numbers, keys, attachments, protections, contents.
Told to, by a line:
	there	calls that only are as they should be away from home
	new	makes two segments more, one of them with a key; a child fills them by number and by key
	remove	removes those
	stop	removes all, says ok
"""
import ctypes
import os
import select
import sys

IPC_CREAT, IPC_EXCL, IPC_RMID, IPC_STAT, SHM_RDONLY, SHM_DEST = 0o1000, 0o2000, 0, 2, 0o10000, 0o1000
PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.shmdt.argtypes = [ctypes.c_void_p]
libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Stat(ctypes.Structure):
    _fields_ = [("key", ctypes.c_int), ("uid", ctypes.c_uint), ("gid", ctypes.c_uint), ("cuid", ctypes.c_uint),
                ("cgid", ctypes.c_uint), ("mode", ctypes.c_uint), ("seq", ctypes.c_int), ("pad", ctypes.c_ulong * 2),
                ("size", ctypes.c_size_t), ("atime", ctypes.c_long), ("dtime", ctypes.c_long), ("ctime", ctypes.c_long),
                ("cpid", ctypes.c_int), ("lpid", ctypes.c_int), ("nattch", ctypes.c_ulong),
                ("more", ctypes.c_ulong * 2)]


def must(value):
    if value in (-1, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def fails(value, wanted):
    assert value == -1 and ctypes.get_errno() == wanted, (value, ctypes.get_errno(), wanted)


def make(key, size, mode=0o600):
    return must(libc.shmget(key, size, IPC_CREAT | IPC_EXCL | mode))


def attach(n, flags=0):
    return must(libc.shmat(n, None, flags))


def stat(n):
    s = Stat()
    must(libc.shmctl(n, IPC_STAT, ctypes.byref(s)))
    assert (s.uid, s.cuid, s.gid, s.cgid) == (os.geteuid(), os.geteuid(), os.getegid(), os.getegid()), s.uid
    return s


def put(at, data):
    ctypes.memmove(at, data, len(data))


def get(at, n):
    return ctypes.string_at(at, n)


def mapped(at):
    with open("/proc/self/maps") as f:
        for line in f:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if start <= at < end:
                return line.split()[1]
    return ""


processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
KEY = 0x4D4D0000 + os.getpid() % 0x8000 * 2
removed = make(0, 3 * PAGE + 100)
cells = attach(removed)
must(libc.shmctl(removed, IPC_RMID, None))
keyed = make(KEY, 2 * PAGE, 0o640)
writable, readonly = attach(keyed), attach(keyed, SHM_RDONLY)
parts = make(0, 4 * PAGE)
holey = attach(parts)
for i in range(4):
    put(holey + i * PAGE, b"part %d" % i)
must(libc.munmap(holey + PAGE, PAGE))
must(libc.mprotect(holey, PAGE, 1))
alone = make(KEY + 1, 100)
at = attach(alone)
put(at, b"nobody has it attached")
must(libc.shmdt(at))
cell = (ctypes.c_long * (3 * PAGE // 8)).from_address(cells)
fresh = []


def look(rounds):
    """What every process sees, all of the time"""
    assert get(writable, 40) == get(readonly, 40)
    assert mapped(readonly)[:2] == "r-" and mapped(writable)[:2] == "rw", (mapped(readonly), mapped(writable))
    assert get(holey, 6) == b"part 0" and mapped(holey)[:2] == "r-"
    assert get(holey + 3 * PAGE, 6) == b"part 3" and mapped(holey + 3 * PAGE)[:2] == "rw"
    assert get(writable + PAGE, 12) == b"%012d" % rounds, (get(writable + PAGE, 12), rounds)


def work(n, ask, answer):
    while True:
        line = os.read(ask, 20)
        if not line:
            os._exit(0)
        look(int(line))
        cell[n] += 1
        os.write(answer, b"x")


def start(n):
    ask, asked = os.pipe()
    answered, answer = os.pipe()
    pid = os.fork()
    if not pid:
        for _, r, w in workers:
            os.close(r)
            os.close(w)
        os.close(asked)
        os.close(answered)
        work(n, ask, answer)
    os.close(ask)
    os.close(answer)
    return pid, answered, asked


def judge(rounds):
    look(rounds)
    assert list(cell[:processes]) == [rounds] * processes, (list(cell[:processes]), rounds)
    s = stat(removed)
    assert (s.key, s.size, s.mode, s.nattch) == (0, 3 * PAGE + 100, 0o600 | SHM_DEST, processes), (s.mode, s.nattch)
    s = stat(keyed)
    assert (s.key, s.size, s.mode, s.nattch) == (KEY, 2 * PAGE, 0o640, 2 * processes), (s.mode, s.nattch)
    s = stat(parts)
    assert (s.key, s.size, s.mode, s.nattch) == (0, 4 * PAGE, 0o600, 2 * processes), s.nattch
    assert stat(alone).nattch == 0
    assert must(libc.shmget(KEY, 0, 0)) == keyed and must(libc.shmget(KEY + 1, 100, IPC_CREAT)) == alone
    fails(libc.shmget(KEY, 100, IPC_CREAT | IPC_EXCL), 17)
    fails(libc.shmget(KEY, 1 << 30, 0), 22)
    other = attach(alone)
    assert get(other, 22) == b"nobody has it attached"
    must(libc.shmdt(other))
    other = attach(parts, SHM_RDONLY)
    assert [get(other + i * PAGE, 6) for i in range(4)] == [b"part %d" % i for i in range(4)]
    must(libc.shmdt(other))
    for i, n in enumerate(fresh):
        assert stat(n).nattch == 0
        other = attach(n)
        assert get(other, 5) == b"new %d" % i
        must(libc.shmdt(other))


def there():
    fails(libc.shmget(0x51500001, 100, 0), 38)		# of a process that stayed
    fails(libc.shmget(0x51500001, 100, IPC_CREAT | 0o600), 38)
    fails(libc.shmget(0x51500003, 100, 0), 2)		# nobody's
    fails(libc.semget(0, 1, 0o600), 38)
    fails(libc.msgget(0x51500002, IPC_CREAT | 0o600), 38)
    fails(libc.shmctl(987654, IPC_RMID, None), 22)
    fails(libc.shmget(0, 0, 0o600), 22)


def new():
    global fresh
    fresh = [make(0, 5000), make(KEY + 0x10000, 6000)]
    pid = os.fork()
    if not pid:
        put(attach(fresh[0]), b"new 0")
        put(attach(must(libc.shmget(KEY + 0x10000, 0, 0))), b"new 1")
        assert stat(removed).nattch == processes + 1
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)


def remove():
    global fresh
    for n in fresh:
        must(libc.shmctl(n, IPC_RMID, None))
        fails(libc.shmctl(n, IPC_STAT, ctypes.byref(Stat())), 22)
    fresh = []


workers = []
put(writable + PAGE, b"%012d" % 0)
for i in range(1, processes):
    workers.append(start(i))
rounds = 0
while True:
    for _, r, w in workers:
        os.write(w, b"%d" % rounds)
    for _, r, w in workers:
        assert os.read(r, 1) == b"x"
    cell[0] += 1
    put(writable, b"round %030d" % rounds)
    put(writable + PAGE, b"%012d" % (rounds + 1))
    rounds += 1
    judge(rounds)
    print(rounds, flush=True)
    if not select.select([sys.stdin], [], [], 0.02)[0]:
        continue
    line = sys.stdin.readline().strip()
    if line == "stop":
        break
    {"there": there, "new": new, "remove": remove}[line]()
    print(line, flush=True)
for pid, r, w in workers:
    os.close(w)
    assert os.waitpid(pid, 0) == (pid, 0)
assert stat(removed).nattch == 1
remove()
must(libc.shmdt(cells))
fails(libc.shmctl(removed, IPC_STAT, ctypes.byref(Stat())), 22)
for n in keyed, parts, alone:
    must(libc.shmctl(n, IPC_RMID, None))
print("ok", flush=True)

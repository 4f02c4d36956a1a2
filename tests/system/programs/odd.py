# odd.py KIND [ARGUMENT] - has something that can't be moved, says ready, then counts as count.py does.
# Ends with status 77 and a sentence when the machine doesn't give it
import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    r = libc.syscall(number, *args)
    if r < 0:
        print("not here:", os.strerror(ctypes.get_errno()), flush=True)
        sys.exit(77)
    return r


def sandbox():
    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
    allow = struct.pack("HBBI", 6, 0, 0, 0x7fff0000)
    program = Program(1, allow)
    call(157, 38, 1, 0, 0, 0)
    call(157, 22, 2, ctypes.byref(program), 0, 0)


def child(then=None):
    pid = os.fork()
    if not pid:
        os.close(0)
        os.close(1)
        (then or (lambda: time.sleep(1000)))()
        os._exit(0)
    return pid


def orphan(closes=(0, 1)):
    """A process that isn't a child any more"""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        grandchild = os.fork()
        if grandchild:
            os.write(w, str(grandchild).encode())
            os._exit(0)
        for fd in (*closes, r, w):
            os.close(fd)
        os.setsid()
        time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)
    keep.append(int(os.read(r, 20)))
    os.close(r)
    os.close(w)
    with open(sys.argv[2], "w") as f:
        f.write(str(keep[-1]))


def shared_with_orphan():
    keep.append(mmap.mmap(-1, 4096))
    orphan()


def huge():
    try:
        keep.append(mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))
        keep[-1][0] = 1
    except OSError as e:
        print("not here:", e, flush=True)
        sys.exit(77)


def sysv(mode=0o600, then=None, attach=True):
    n = call(29, 0, 4096, 0o1000 | mode)
    libc.shmat.restype = ctypes.c_void_p
    if attach:
        libc.shmat(n, None, 0o10000)
    if then:
        then(n)
    if attach:
        call(31, n, 0, None)


def sysv_unattached():
    """The last who worked with it is a child that stays"""
    def use(n):
        r, w = os.pipe()
        def work():
            libc.shmdt(ctypes.c_void_p(libc.shmat(n, None, 0)))
            os.write(w, b"x")
            time.sleep(1000)
        keep.append(child(work))
        with open(sys.argv[2], "w") as f:
            f.write(str(keep[-1]))
        os.read(r, 1)
    sysv(then=use, attach=False)


def semaphores():
    n = call(64, 0, 1, 0o1600)
    call(65, n, struct.pack("hhh", 0, 1, 0), 1)


def queue():
    n = call(68, 0, 0o1600)
    call(69, n, struct.pack("q8s", 1, b"message"), 8, 0)


def deleted():
    keep.append(open(sys.argv[2], "w+"))
    os.unlink(sys.argv[2])


def lease():
    keep.append(open(sys.argv[2], "w+"))
    fcntl.fcntl(keep[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)


def with_aio():
    call(157, 1, 9)  # it ends with its parent
    call(206, 8, ctypes.byref(ctypes.c_ulong(0)))
    time.sleep(1000)


keep = []
kinds = {
    "plain": lambda: None,
    "tcp socket": lambda: keep.append(socket.create_server(("127.0.0.1", 0))),
    "unix socket": lambda: keep.append(socket.socket(socket.AF_UNIX)),
    "file": lambda: keep.append(open(sys.argv[2], "w+")),
    "map": lambda: keep.append(mmap.mmap(os.open(sys.argv[2], os.O_RDWR | os.O_CREAT), 1)),
    "deleted": deleted,
    "child": child,
    "family": lambda: (keep.append(socket.socket(socket.AF_UNIX)), child(with_aio)),
    "seccomp": sandbox,
    "hugetlb": huge,
    "shared memory": shared_with_orphan,
    "sysv": lambda: sysv(then=lambda n: orphan()),
    "sysv, unattached": sysv_unattached,
    "sysv, read-only": lambda: sysv(0o400),
    "semaphores": semaphores,
    "message queue": queue,
    "io_uring": lambda: keep.append(call(425, 8, ctypes.create_string_buffer(120))),
    "aio": lambda: keep.append(call(206, 8, ctypes.byref(ctypes.c_ulong(0)))),
    "device": lambda: keep.append(os.open(sys.argv[2], os.O_RDWR)),
    "pidfd": lambda: keep.append(os.pidfd_open(1)),
    "userfaultfd": lambda: keep.append(call(323, 1)),
    "uids": lambda: os.setresuid(2001, 0, 2001),
    "chroot": lambda: os.chroot(sys.argv[2]),
    "reader": lambda: orphan((1,)),
    "lease": lease,
    "undumpable": lambda: call(157, 4, 0, 0, 0, 0),
}
kinds[sys.argv[1]]()
print("ready", flush=True)
n = 0
while not select.select([sys.stdin], [], [], 0.02)[0]:
    n += 1
    print(n, flush=True)
sys.stdin.readline()
print("ok", flush=True)
os._exit(0)

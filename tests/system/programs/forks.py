#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""forks.py - Makes processes of all kinds once it is told to, and judges what the kernel says of them

	forks.py NAME [DIRECTORY]	one of the functions below, marked with @case

Says "ready", waits for a line (it may be moved meanwhile), does NAME and says "ok", or ends with a
traceback.  Nothing in it knows of a move: run unmoved, every case must say "ok" too.
"""
import errno
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time

CASES = {}


def case(f):
    CASES[f.__name__] = f
    return f


def same(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what or 'it'} is {got!r}, not {wanted!r}")


def fails(code, f, *args):
    try:
        got = f(*args)
    except OSError as e:
        same(errno.errorcode[e.errno], errno.errorcode[code], f"{f.__name__}{args}")
        return
    raise AssertionError(f"{f.__name__}{args} is {got!r}")


def child(f, *args):
    """f(*args) in a child; what it returns is its status.  Return: its number"""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        code = f(*args) or 0
    except BaseException as e:
        os.write(2, f"{f.__name__}: {e!r}\n".encode())
    os._exit(code)


def exits(n):
    return n


def sleeps(*_):
    while True:
        time.sleep(100)


def status(pid, flags=0):
    got, st = os.waitpid(pid, flags)
    same(got, pid, "waitpid")
    return st


def no_children():
    fails(errno.ECHILD, os.waitpid, -1, os.WNOHANG)


@case
def run():
    same(subprocess.check_output(["echo", "hello"]), b"hello\n")
    same(subprocess.run(["sh", "-c", "exit 9"]).returncode, 9)
    same(subprocess.run("kill -9 $$", shell=True).returncode, -9)
    same(subprocess.run(["tr", "a-z", "A-Z"], input=b"in and out" * 20000, stdout=subprocess.PIPE).stdout, b"IN AND OUT" * 20000)
    fails(errno.ENOENT, subprocess.run, ["/no/such/program"])
    fails(errno.EACCES, subprocess.run, ["/etc/passwd"])
    try:
        subprocess.run(["sleep", "100"], timeout=0.3)
        raise AssertionError("sleep 100 has ended")
    except subprocess.TimeoutExpired:
        pass
    p = [subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(5)]
    for n, one in enumerate(p):
        same(one.communicate(b"%d" % n)[0], b"%d" % n)
    same(subprocess.run(["true"], start_new_session=True).returncode, 0)
    same(subprocess.check_output(["sh", "-c", "echo $PPID"]), b"%d\n" % os.getpid())
    no_children()


@case
def wait():
    pids = {child(exits, n): n for n in range(40)}
    same(len(pids), 40, "numbers of processes")
    for _ in range(20):
        pid, st = os.wait()
        same(os.waitstatus_to_exitcode(st), pids.pop(pid))
    for pid, n in pids.items():
        same(os.waitstatus_to_exitcode(status(pid)), n)
    no_children()
    pid = child(sleeps)
    same(os.waitpid(pid, os.WNOHANG), (0, 0))
    for sig in signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMIN:
        other = child(sleeps)
        os.kill(other, sig)
        same(os.WTERMSIG(status(other)), sig)
    os.kill(pid, signal.SIGINT)
    # python turns that one into an exception
    same(os.waitstatus_to_exitcode(status(pid)), 99)
    no_children()


@case
def waitid():
    pid = child(sleeps)
    os.kill(pid, signal.SIGSTOP)
    got = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    same((got.si_pid, got.si_status, got.si_code), (pid, signal.SIGSTOP, os.CLD_STOPPED))
    same(os.WSTOPSIG(status(pid, os.WUNTRACED)), signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    same(os.WIFCONTINUED(status(pid, os.WCONTINUED)), True)
    os.kill(pid, signal.SIGKILL)
    got = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    same((got.si_pid, got.si_status, got.si_code, got.si_uid), (pid, signal.SIGKILL, os.CLD_KILLED, os.getuid()))
    os.kill(pid, 0)  # a zombie is somebody
    same(os.WTERMSIG(status(pid)), signal.SIGKILL)
    fails(errno.ESRCH, os.kill, pid, 0)
    fails(errno.ECHILD, os.waitid, os.P_PID, pid, os.WEXITED)


@case
def pidfd():
    pid = child(sleeps)
    fd = os.pidfd_open(pid)
    same(select.select([fd], [], [], 0)[0], [])
    signal.pidfd_send_signal(fd, signal.SIGTERM)
    same(select.select([fd], [], [], 30)[0], [fd])
    got = os.waitid(os.P_PIDFD, fd, os.WEXITED)
    same((got.si_pid, got.si_status), (pid, signal.SIGTERM))
    fails(errno.ESRCH, signal.pidfd_send_signal, fd, signal.SIGTERM)
    parent = os.pidfd_open(os.getppid())
    fails(errno.EPERM, signal.pidfd_send_signal, parent, 0)  # root's, in the tests
    same(select.select([parent], [], [], 0)[0], [])
    fails(errno.ESRCH, os.pidfd_open, 2**22 - 1)


@case
def kin():
    """What children see of their parents, and parents of their children"""
    me, group, session = os.getpid(), os.getpgrp(), os.getsid(0)
    r, w = os.pipe()

    def looks():
        os.write(w, f"{os.getpid()} {os.getppid()} {os.getpgrp()} {os.getsid(0)}".encode())

    pid = child(looks)
    same(os.read(r, 100).decode(), f"{pid} {me} {group} {session}")
    same(status(pid), 0)

    def leads():
        os.setpgid(0, 0)
        looks()
        sleeps()

    pid = child(leads)
    same(os.read(r, 100).decode(), f"{pid} {me} {pid} {session}")
    same((os.getpgid(pid), os.getsid(pid)), (pid, session))
    other = child(sleeps)
    os.setpgid(other, pid)
    same(os.getpgid(other), pid)
    os.killpg(pid, signal.SIGTERM)
    same({os.WTERMSIG(status(pid)), os.WTERMSIG(status(other))}, {signal.SIGTERM})
    fails(errno.ESRCH, os.killpg, pid, 0)

    def has_a_session():
        os.setsid()
        looks()
        fails(errno.EPERM, os.setsid)
        fails(errno.ENXIO, os.open, "/dev/tty", os.O_RDWR)
        return 5

    pid = child(has_a_session)
    same(os.read(r, 100).decode(), f"{pid} {me} {pid} {pid}")
    same(os.waitstatus_to_exitcode(status(pid)), 5)
    fails(errno.ESRCH, os.setpgid, 2**22 - 1, 0)

    def to_parent():
        os.kill(os.getppid(), signal.SIGUSR1)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    pid = child(to_parent)
    got = signal.sigwaitinfo([signal.SIGUSR1])
    same((got.si_pid, got.si_uid, got.si_code), (pid, os.getuid(), 0))
    same(status(pid), 0)


@case
def sigchld():
    seen = []

    def handler(*_):
        while True:
            try:
                pid, st = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            seen.append((pid, os.waitstatus_to_exitcode(st)))

    signal.signal(signal.SIGCHLD, handler)
    # the kernel lets a signal interrupt any call before the supervisor has seen it (seccomp_unotify(2))
    signal.siginterrupt(signal.SIGCHLD, False)
    wanted = sorted((child(exits, n), n) for n in range(30))
    end = time.monotonic() + 60
    while len(seen) < 30 and time.monotonic() < end:
        time.sleep(0.05)
    same(sorted(seen), wanted)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    pid = child(exits, 3)
    got = signal.sigwaitinfo([signal.SIGCHLD])
    same((got.si_pid, got.si_status, got.si_code), (pid, 3, os.CLD_EXITED))
    same(os.waitstatus_to_exitcode(status(pid)), 3)
    # who ignores it has no zombies
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for n in range(5):
        child(exits, n)
    fails(errno.ECHILD, os.waitpid, -1, 0)


@case
def spawn():
    r, w = os.pipe()
    for setpgroup in None, 0:
        more = {} if setpgroup is None else {"setpgroup": setpgroup}
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo $$ $PPID; exit 4"], os.environ,
                             file_actions=[(os.POSIX_SPAWN_DUP2, w, 1)], **more)
        same(os.waitstatus_to_exitcode(status(pid)), 4)
        same(os.read(r, 100), b"%d %d\n" % (pid, os.getpid()))
    fails(errno.ENOENT, os.posix_spawn, "/no/such", ["x"], os.environ)
    no_children()


@case
def orphans():
    """A double fork: the grandchild goes on, and has another parent"""
    r, w = os.pipe()

    def middle():
        def grandchild():
            while os.getppid() == parent:
                time.sleep(0.01)
            os.write(w, b"%d" % os.getppid())

        parent = os.getpid()
        child(grandchild)

    pid = child(middle)
    same(status(pid), 0)
    os.close(w)
    same(os.read(r, 100) != b"", True)
    same(os.read(r, 100), b"")
    no_children()


@case
def subreaper():
    import ctypes
    same(ctypes.CDLL(None).prctl(36, 1, 0, 0, 0), 0)
    r, w = os.pipe()

    def middle():
        os.write(w, b"%d" % child(exits, 6))

    pid = child(middle)
    same(status(pid), 0)
    orphan = int(os.read(r, 100))
    same(os.waitstatus_to_exitcode(status(orphan)), 6)
    no_children()


@case
def race():
    """Threads that fork while others make threads"""
    wrong, stop = [], threading.Event()

    def forks():
        try:
            for n in range(25):
                same(os.waitstatus_to_exitcode(status(child(exits, n))), n)
        except BaseException as e:
            wrong.append(e)

    def makes_threads():
        while not stop.is_set():
            t = threading.Thread(target=lambda: None)
            t.start()
            t.join()

    makers = [threading.Thread(target=makes_threads) for _ in range(2)]
    forkers = [threading.Thread(target=forks) for _ in range(4)]
    for t in makers + forkers:
        t.start()
    for t in forkers:
        t.join()
    stop.set()
    for t in makers:
        t.join()
    same(wrong, [])
    no_children()


@case
def thousand():
    for n in range(1000):
        same(os.waitstatus_to_exitcode(status(child(exits, n % 100))), n % 100)
    no_children()


@case
def bomb():
    """Grows until RLIMIT_NPROC stops it, and ends by itself"""
    signal.alarm(120)
    os.setpgid(0, 0)
    r, w = os.pipe()
    most = len([p for p in os.listdir("/proc") if p.isdigit()]) + 60
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))

    def grows(depth):
        pids = []
        for _ in range(3):
            try:
                pid = os.fork()
            except BlockingIOError:
                os.write(w, b"x")
                continue
            if pid:
                pids.append(pid)
                continue
            if depth:
                grows(depth - 1)
            os._exit(0)
        for pid in pids:
            if status(pid):
                os._exit(1)

    grows(4)
    same(os.read(r, 1), b"x")
    no_children()


@case
def shared_pipe():
    """A jobserver: tokens in a pipe that all of a family take and give back"""
    r, w = os.pipe()
    os.write(w, b"+" * 3)
    out_r, out_w = os.pipe()

    def worker(n):
        for _ in range(20):
            token = os.read(r, 1)
            os.write(out_w, b"%c" % n)
            os.write(w, token)

    pids = [child(worker, n) for n in range(6)]
    for pid in pids:
        same(status(pid), 0)
    same(sorted(os.read(out_r, 1000)), sorted(list(range(6)) * 20))
    same(os.read(r, 10), b"+++")


@case
def nobody():
    """Numbers that are nobody's, or somebody else's"""
    nobody = 2**22 - 1
    for f, *args in [(os.kill, nobody, 0), (os.kill, -nobody, 0), (os.killpg, nobody, 15), (os.getpgid, nobody),
                     (os.getsid, nobody), (os.setpgid, nobody, 0)]:
        fails(errno.ESRCH, f, *args)
    fails(errno.EINVAL, os.kill, os.getpid(), 99)
    # these are root's, in the tests
    fails(errno.EPERM, os.kill, 1, 0)
    fails(errno.EPERM, os.kill, os.getppid(), 0)
    os.kill(os.getpid(), 0)
    os.kill(0, 0)
    os.getpgid(os.getppid())


@case
def leaves_children():
    """Ends while its child goes on, and writes more than a pipe holds"""
    def goes_on():
        while not os.path.exists(sys.argv[2] + "/go-on"):
            time.sleep(0.05)
        for n in range(50000):
            os.write(1, b"late %d\n" % n)

    child(goes_on)


if __name__ == "__main__":
    print("ready", flush=True)
    line = sys.stdin.readline()
    CASES[sys.argv[1]]()
    print("ok", flush=True)

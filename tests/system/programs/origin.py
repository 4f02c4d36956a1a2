#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""origin.py KIND - work on the origin's files, wherever this runs

Every round is one call of a function below, which raises when something isn't as it should be, and one
number on standard output.  Ends after a line, with "ok".
"""
import ctypes
import errno
import fcntl
import mmap
import os
import select
import shutil
import stat
import subprocess
import sys
import tempfile

N = 0
DIR = tempfile.mkdtemp(prefix="origin.", dir="/tmp")


def must(condition, what):
    if not condition:
        raise AssertionError(f"round {N}: {what}")


class Open:
    """Files that are open when the program moves: positions, ends, a name that is gone"""

    def __init__(self):
        self.path = f"{DIR}/open"
        self.w = open(self.path, "wb", buffering=0)
        self.a = os.open(f"{DIR}/append", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o640)
        self.r = open(self.path, "rb", buffering=0)
        self.dup = os.dup(self.r.fileno())
        self.tmp = tempfile.TemporaryFile(dir=DIR)
        self.dir = os.open(DIR, os.O_RDONLY | os.O_DIRECTORY)
        os.chdir(DIR)
        self.inode = os.fstat(self.r.fileno()).st_ino

    def round(self):
        line = b"%09d\n" % N
        must(self.w.write(line) == 10, "write")
        must(self.w.tell() == 10 * N, "position of the writer")
        must(os.read(self.dup, 10) == line, "what was written is read, by the other descriptor")
        must(self.r.tell() == 10 * N, "and the position is both's")
        os.write(self.a, b"%d\n" % N)
        must(os.pread(self.a, 99, 0).count(b"\n") == min(N, os.pread(self.a, 99, 0).count(b"\n")), "append")
        self.tmp.seek(0)
        self.tmp.truncate()
        self.tmp.write(line * 1000)
        self.tmp.flush()
        must(os.fstat(self.tmp.fileno()).st_size == 10000, "size of a file without a name")
        must(os.fstat(self.tmp.fileno()).st_nlink == 0, "it has no name")
        must(os.getcwd() == DIR, f"working directory is {os.getcwd()}")
        must(sorted(os.listdir(self.dir)) == ["append", "open"], f"in it is {os.listdir(self.dir)}")
        must(os.stat("open").st_ino == self.inode, "the inode is the same")
        must(os.stat("open", dir_fd=self.dir).st_size == 10 * N, "and its size")
        must(os.readlink(f"/proc/self/fd/{self.r.fileno()}") == self.path, "its name")

    def end(self):
        with open("append") as f:
            must(f.read() == "".join(f"{i}\n" for i in range(1, N + 1)), "every line was appended once")
        with open("open") as f:
            must(f.read() == "".join(f"{i:09d}\n" for i in range(1, N + 1)), "every line was written once")


class Names:
    """Names that come and go: every call that takes one"""

    def round(self):
        d = f"{DIR}/{N}"
        os.mkdir(d, 0o751)
        must(stat.S_IMODE(os.stat(d).st_mode) == 0o751, "mkdir")
        with open(f"{d}/a\nb\xff".encode("latin1"), "w") as f:
            f.write("x" * N)
        os.rename(f"{d}/a\nb\xff".encode("latin1"), f"{d}/file")
        os.link(f"{d}/file", f"{d}/link")
        must(os.stat(f"{d}/link").st_nlink == 2, "link")
        os.symlink("file", f"{d}/sym")
        must(os.readlink(f"{d}/sym") == "file" and os.path.getsize(f"{d}/sym") == N, "symlink")
        os.symlink("/etc/passwd", f"{d}/away")
        must("root" in open(f"{d}/away").read(), "a link from there to here")
        os.chmod(f"{d}/file", 0o604)
        os.utime(f"{d}/file", ns=(1111111111000000001, 2222222222000000002))
        st = os.stat(f"{d}/file")
        must(stat.S_IMODE(st.st_mode) == 0o604, "chmod")
        must((st.st_atime_ns, st.st_mtime_ns) == (1111111111000000001, 2222222222000000002), "utime")
        os.truncate(f"{d}/file", 12345)
        must(os.path.getsize(f"{d}/link") == 12345, "truncate")
        must(os.access(f"{d}/file", os.R_OK) and not os.access(f"{d}/file", os.X_OK), "access")
        if hasattr(os, "setxattr"):
            try:
                os.setxattr(f"{d}/file", "user.name", b"value")
                must(os.getxattr(f"{d}/file", "user.name") == b"value", "getxattr")
                must("user.name" in os.listxattr(f"{d}/file"), "listxattr")
            except OSError as e:
                must(e.errno == errno.EOPNOTSUPP, f"setxattr: {e}")
        must(os.statvfs(d).f_bsize > 0, "statfs")
        for wrong, number in ((lambda: os.mkdir(d), errno.EEXIST), (lambda: os.rmdir(d), errno.ENOTEMPTY),
                              (lambda: os.rename(f"{d}/file", "/etc/x"), errno.EXDEV),
                              (lambda: open(f"{d}/none"), errno.ENOENT), (lambda: os.rmdir(f"{d}/file"), errno.ENOTDIR),
                              (lambda: open(f"{d}/" + 300 * "x"), errno.ENAMETOOLONG),
                              (lambda: open("/tmp/" + 5000 * "x"), errno.ENAMETOOLONG),
                              (lambda: os.open(f"{d}/sym", os.O_RDONLY | os.O_NOFOLLOW), errno.ELOOP)):
            try:
                wrong()
                must(False, f"{errno.errorcode[number]} was due")
            except OSError as e:
                must(e.errno == number, f"{e} instead of {errno.errorcode[number]}")
        must({e.name: e.is_symlink() for e in os.scandir(d)} ==
             {"file": False, "link": False, "sym": True, "away": True}, "scandir")
        try:
            shutil.rmtree(d)
        except OSError:		# it compares device numbers, and those change with a move
            shutil.rmtree(d)
        must(not os.path.exists(d), "rmtree")

    def end(self):
        must(os.listdir(DIR) == [], "nothing is left")


class Data:
    """Bytes: large, sparse, mapped, copied by the kernel"""

    def round(self):
        path = f"{DIR}/data"
        content = os.urandom(1 << 20)
        with open(path, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        must(open(path, "rb").read() == content, "read back")
        with open(path, "rb") as f:
            m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
            must(m[:] == content, "a private mapping")
            m.close()
            with open(f"{DIR}/copy", "wb") as to:
                must(os.sendfile(to.fileno(), f.fileno(), 0, 1 << 20) > 0, "sendfile")
        shutil.copyfile(path, f"{DIR}/copy")
        must(open(f"{DIR}/copy", "rb").read() == content, "copyfile")
        shutil.copyfile(path, "/dev/shm/origin-copy")
        must(open("/dev/shm/origin-copy", "rb").read() == content, "between two directories of the origin")
        os.unlink("/dev/shm/origin-copy")
        with open(f"{DIR}/holes", "wb") as f:
            f.truncate(1 << 22)
            f.seek(1 << 21)
            f.write(b"x")
        fd = os.open(f"{DIR}/holes", os.O_RDWR)
        must(os.lseek(fd, 0, os.SEEK_DATA) <= 1 << 21, "SEEK_DATA")
        os.posix_fallocate(fd, 0, 4096)
        try:
            m = mmap.mmap(fd, 4096, flags=mmap.MAP_SHARED)
            m[7:16] = b"%09d" % N
            m.flush()
            must(os.pread(fd, 9, 7) == b"%09d" % N, "what a shared mapping wrote is read")
            m.close()
        except OSError as e:	# when somebody else may have it open
            must(away() and e.errno == errno.ENODEV, f"mmap: {e}")
        os.close(fd)

    def end(self):
        pass


def away():
    return os.path.exists("/dev/.mshim")


class Locks:
    """flock and fcntl locks are held while the program moves; /tmp/origin.locks is somebody else's, too"""

    def __init__(self):
        self.f = open(f"{DIR}/flock", "w")
        fcntl.flock(self.f, fcntl.LOCK_EX)
        self.p = open(f"{DIR}/posix", "w+")
        fcntl.lockf(self.p, fcntl.LOCK_EX, 100, 0)

    def round(self):
        other = open(f"{DIR}/flock", "w")
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            must(False, "the flock is held")
        except BlockingIOError:
            pass
        other.close()
        code = ("import fcntl, sys\nf = open(sys.argv[1], 'w+')\ntry: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50)\n"
                "except OSError: sys.exit(7)\n")
        must(subprocess.run([sys.executable, "-S", "-c", code, f"{DIR}/posix"]).returncode == 7, "the POSIX lock is held")
        fcntl.lockf(self.p, fcntl.LOCK_UN, 100, 0)
        must(subprocess.run([sys.executable, "-S", "-c", code, f"{DIR}/posix"]).returncode == 0, "and can be let go")
        fcntl.lockf(self.p, fcntl.LOCK_EX, 100, 0)

    def end(self):
        pass


class Programs:
    """Children, and what they exec: an origin's script and program, a compiler with its temporary files"""

    def __init__(self):
        with open(f"{DIR}/script", "w") as f:
            f.write("#!/bin/sh\necho script $1\n")
        os.chmod(f"{DIR}/script", 0o755)
        shutil.copy("/bin/busybox", f"{DIR}/busybox")
        with open(f"{DIR}/hello.c", "w") as f:
            f.write('#include <stdio.h>\nint main(void) { return printf("compiled\\n") != 9; }\n')

    def round(self):
        def says(*command):
            return subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=DIR).stdout.decode()

        must(says(f"{DIR}/script", "x") == "script x\n", "a script of the origin's")
        must(says("./busybox", "echo", "y") == "y\n", "a program of the origin's")
        must(says("sh", "-c", f"echo z | tee {DIR}/tee | cat; cat < {DIR}/tee; pwd") == f"z\nz\n{DIR}\n", "a pipeline")
        if shutil.which("gcc") and N % 4 == 1:
            says("gcc", "-O2", "-pipe" if N % 2 == 0 else "-save-temps", "-o", f"{DIR}/hello", f"{DIR}/hello.c")
            must(says(f"{DIR}/hello") == "compiled\n", "what was compiled there runs")

    def end(self):
        pass


class Special:
    """FIFOs and devices of the origin"""

    def round(self):
        with open("/dev/zero", "rb") as f:
            must(f.read(10) == bytes(10), "/dev/zero")
        with open("/dev/null", "wb") as f:
            must(f.write(b"x") == 1, "/dev/null")
        must(len(os.listdir("/dev")) > 5, "/dev")
        path = f"{DIR}/fifo"
        os.mkfifo(path, 0o600)
        must(stat.S_ISFIFO(os.stat(path).st_mode), "a FIFO looks like one")
        pid = os.fork()
        if not pid:
            with open(path, "w") as f:
                f.write(f"through {N}\n")
            os._exit(0)
        with open(path) as f:
            must(f.read() == f"through {N}\n", "through a FIFO")
        os.waitpid(pid, 0)
        os.unlink(path)

    def end(self):
        pass


kind = {c.__name__.lower(): c for c in (Open, Names, Data, Locks, Programs, Special)}[sys.argv[1]]()
while not select.select([0], [], [], 0.05)[0]:
    N += 1
    kind.round()
    print(N, flush=True)
kind.end()
os.chdir("/")
shutil.rmtree(DIR)
print("ok", flush=True)

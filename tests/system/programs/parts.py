# parts.py - Two processes that share memory, each another part of it
#
# The first one maps the beginning, and has no descriptor; its child maps the whole, or has a descriptor and
# maps nothing.  After each line "check N" the child looks at all of it and says so; "stop" ends both.
import ctypes
import mmap
import os
import sys

PAGE, PAGES = 4096, 64
libc = ctypes.CDLL(None, use_errno=True)


def content(page, n):
    return (b"%08d%08d" % (page, n)) * (PAGE // 16)


def pages(n):
    return [content(page, n) for page in range(PAGES)]


def address(m):
    return ctypes.addressof(ctypes.c_char.from_buffer(m))


whole = mmap.mmap(-1, PAGES * PAGE)
whole[:] = b"".join(pages(0))
fd = os.memfd_create("parts")
os.write(fd, b"".join(pages(0)) + b"end")
begin = mmap.mmap(fd, 2 * PAGE)

ask, asked = os.pipe()
answer, answered = os.pipe()
child = os.fork()
if child:
    os.close(fd)
    if libc.munmap(ctypes.c_void_p(address(whole) + PAGE), ctypes.c_size_t((PAGES - 1) * PAGE)):
        sys.exit("munmap: " + os.strerror(ctypes.get_errno()))
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "stop\n":
            break
        n = int(line.split()[1])
        if whole[:PAGE] != content(0, n) or begin[:PAGE] != content(0, n):
            sys.exit("the first page isn't what it was")
        os.write(asked, b"%d\n" % n)
        if os.read(answer, 100) != b"all\n":
            sys.exit("the child found something else")
        print("checked", n, flush=True)
    os.close(asked)
    if os.wait()[1]:
        sys.exit("the child has failed")
    print("ok", flush=True)
    os._exit(0)

begin.close()
os.close(asked)
while True:
    line = os.read(ask, 100)
    if not line:
        os._exit(0)
    n = int(line)
    if whole[:] != b"".join(pages(n)) or os.pread(fd, PAGES * PAGE + 10, 0) != b"".join(pages(n)) + b"end":
        os._exit(1)
    whole[:] = b"".join(pages(n + 1))
    os.pwrite(fd, b"".join(pages(n + 1)), 0)
    os.write(answered, b"all\n")

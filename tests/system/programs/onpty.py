#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""onpty.py - Start a program on a terminal of its own, and say how it ended

	onpty.py DIRECTORY USER COMMAND...

	DIRECTORY/in (FIFO) -> the terminal's keyboard;  its screen -> DIRECTORY/out

The program leads a session, and the terminal is its controlling one.  DIRECTORY/pid is its number; once
it ended DIRECTORY/status says what wait() said, "exit N" or "signal N".  A line "\\x1c" alone
written to DIRECTORY/hangup closes the terminal.  DIRECTORY/size, "ROWS COLUMNS", is its size once it is
there; it is taken away when that is done.
"""
import fcntl
import os
import pty
import pwd
import select
import struct
import sys
import termios

top, user, command = sys.argv[1], pwd.getpwnam(sys.argv[2]), sys.argv[3:]


def note(name, text):
    with open(f"{top}/{name}.new", "w") as f:
        f.write(f"{text}\n")
    os.rename(f"{top}/{name}.new", f"{top}/{name}")


pid, master = pty.fork()
if not pid:
    try:
        os.fchown(0, user.pw_uid, -1)
        if user.pw_uid != os.getuid():
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        os.environ.update(USER=user.pw_name, LOGNAME=user.pw_name, HOME=top, TERM=os.environ.get("ONPTY_TERM", "dumb"), PS1="$ ")
        os.closerange(3, 256)
        os.execvp(command[0], command)
    except OSError as e:
        os.write(2, f"{command[0]}: {e}\n".encode())
    os._exit(127)
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
keys = os.open(f"{top}/in", os.O_RDWR)
out = os.open(f"{top}/out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
note("pid", pid)
note("feeder", os.getpid())
ended = None
while True:
    if os.path.exists(f"{top}/hangup") and master >= 0:
        os.close(master)
        master = -1
    if os.path.exists(f"{top}/size") and master >= 0:
        rows, columns = open(f"{top}/size").read().split()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
        os.unlink(f"{top}/size")
    ready = select.select([fd for fd in (keys, master) if fd >= 0], [], [], 0.05)[0]
    if keys in ready:
        text = os.read(keys, 65536)
        if master >= 0:
            os.write(master, text)
    if master in ready:
        try:
            text = os.read(master, 65536)
        except OSError:
            text = b""
        if not text:
            os.close(master)
            master = -1
        os.write(out, text)
    if ended is None:
        got, status = os.waitpid(pid, os.WNOHANG)
        if got:
            ended = status
    if ended is not None and not (master >= 0 and select.select([master], [], [], 0)[0]):
        break
note("status", f"signal {os.WTERMSIG(ended)}" if os.WIFSIGNALED(ended) else f"exit {os.WEXITSTATUS(ended)}")

#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""start.py - Start a program as a pipeline's middle, and say how it ended

	start.py DIRECTORY USER COMMAND...

	DIRECTORY/in (FIFO) -> feeder =pipe=> COMMAND =pipe=> collector -> DIRECTORY/out

The program alone has its ends of the two pipes, no terminal, DIRECTORY/err as its standard
error, and no other descriptors.  DIRECTORY/pid is its number; once it ended DIRECTORY/status
says what wait() said, "exit N" or "signal N".  Its input ends when DIRECTORY/feeder is killed.
"""
import os
import pwd
import sys

top, user, command = sys.argv[1], pwd.getpwnam(sys.argv[2]), sys.argv[3:]


def note(name, text):
    with open(f"{top}/{name}.new", "w") as f:
        f.write(f"{text}\n")
    os.rename(f"{top}/{name}.new", f"{top}/{name}")


def child(stdin, stdout, stderr, argv, drop=False):
    pid = os.fork()
    if pid:
        return pid
    try:
        for fd, to in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(fd, to)
        os.closerange(3, 256)
        if drop and user.pw_uid != os.getuid():
            os.initgroups(user.pw_name, user.pw_gid)
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os.environ.update(USER=user.pw_name, LOGNAME=user.pw_name, HOME=user.pw_dir)
        os.execvp(argv[0], argv)
    except OSError as e:
        os.write(2, f"{argv[0]}: {e}\n".encode())
    os._exit(127)


# above the three, so that dup2() never hits one that is still needed
null = os.open("/dev/null", os.O_RDWR)
while null < 16:
    null = os.dup(null)
os.closerange(3, 16)
fifo = os.open(f"{top}/in", os.O_RDWR)
out = os.open(f"{top}/out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
err = os.open(f"{top}/err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
os.chmod(f"{top}/err", 0o666)
from_feeder, to_program = os.pipe()
from_program, to_collector = os.pipe()
fds = [os.dup2(fd, 20 + i) for i, fd in enumerate(
    (fifo, out, err, from_feeder, to_program, from_program, to_collector))]
os.closerange(3, 16)
fifo, out, err, from_feeder, to_program, from_program, to_collector = fds

feeder = child(fifo, to_program, null, ["cat"])
collector = child(from_program, out, null, ["cat"])
program = child(from_feeder, to_collector, err, command, drop=True)
os.closerange(3, 256)
note("feeder", feeder)
note("pid", program)
status = os.waitpid(program, 0)[1]
os.waitpid(collector, 0)
os.kill(feeder, 9)
os.waitpid(feeder, 0)
note("status", f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}")

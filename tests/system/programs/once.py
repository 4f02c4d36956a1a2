# once.py - Many processes that each count into a file of their own, as fast as they can
#
#	once.py DIRECTORY [CHILDREN]		into DIRECTORY/count.N
#
# Whatever runs twice for a moment shows: a number would be there twice.  "stop" ends them.
import os
import sys

CHILDREN = int(sys.argv[2]) if len(sys.argv) > 2 else 12


def count(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    parent = os.getppid()
    n = 0
    while os.getppid() == parent:
        n += 1
        os.write(fd, b"%d\n" % n)
        if n % 100 == 0 and os.path.exists("stop"):
            os._exit(0)


os.chdir(sys.argv[1])
pids = []
for i in range(CHILDREN):
    pids.append(os.fork())
    if not pids[-1]:
        count("count.%d" % i)
        os._exit(1)
view = open("/proc/%d/stat" % pids[0])  # of another process that moves, too
print("ready", *pids, flush=True)
for line in sys.stdin:
    print(line.strip(), flush=True)
    if line == "stop\n":
        break
if view.read().split()[0] != str(pids[0]):
    sys.exit("the view is of another process")
open("stop", "w").close()
for i in range(CHILDREN):
    pid, status = os.wait()
    if status:
        sys.exit("process %d ended with status %#x" % (pid, status))
for i in range(CHILDREN):
    numbers = open("count.%d" % i).read().split()
    if numbers != [str(n + 1) for n in range(len(numbers))]:
        wrong = next(k for k, n in enumerate(numbers) if n != str(k + 1))
        sys.exit("count.%d: %s where %d is due" % (i, numbers[wrong], wrong + 1))
print("ok", flush=True)

# Computes, prints a number about every 20 ms, ends by a line
import select
import sys

n, h = 0, 1
while not select.select([sys.stdin], [], [], 0.02)[0]:
    n += 1
    table = {i: str(i * h) for i in range(2000)}
    h = (h * 31 + sum(len(v) for v in table.values())) % 1000003
    print(n, flush=True)
sys.stdin.readline()
print("ok", flush=True)

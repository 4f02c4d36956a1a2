#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""pool.py - A multiprocessing pool with shared memory, semaphores and queues; judges itself after "stop"

Prints the count of finished rounds; in every round each worker adds to a shared array under a lock.
"""
import multiprocessing as mp
import os
import select
import sys

WORKERS = 3


def start(counter, cells):
    global shared, array
    shared, array = counter, cells


def work(n):
    for _ in range(200):
        with shared.get_lock():
            shared.value += 1
    array[n % len(array)] += n
    return os.getpid(), n * n


if __name__ == "__main__":
    counter, cells = mp.Value("q", 0), mp.Array("q", 16, lock=False)
    rounds, wanted = 0, [0] * 16
    with mp.Pool(WORKERS, start, (counter, cells)) as pool:
        while not select.select([sys.stdin], [], [], 0)[0]:
            results = pool.map(work, range(16), 1)
            assert [r[1] for r in results] == [n * n for n in range(16)], results
            assert all(os.path.exists(f"/proc/{r[0]}") for r in results)
            rounds += 1
            wanted = [w + n for n, w in enumerate(wanted)]
            print(rounds, flush=True)
    assert counter.value == rounds * 16 * 200, (counter.value, rounds)
    assert list(cells) == wanted, list(cells)
    print("ok", flush=True)

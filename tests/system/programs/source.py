# source.py DIRECTORY [CHUNKS] - text that compresses, in chunks, until DIRECTORY/enough exists; how many it
# were is written to DIRECTORY/chunks.  With CHUNKS: that many
import hashlib
import os
import sys

top, chunks = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None
n = 0
while n < chunks if chunks is not None else not os.path.exists(f"{top}/enough"):
    seed = hashlib.sha256(str(n).encode()).hexdigest()
    sys.stdout.write("".join(f"{seed[i % 60:]} {i * n}\n" for i in range(500)))
    n += 1
sys.stdout.flush()
if chunks is None:
    with open(f"{top}/chunks", "w") as f:
        f.write(f"{n}\n")

#!/usr/bin/env python3
"""Instructions per locker that is read from a file into host memory.

Runs bench/read_cost under callgrind (valgrind) for two numbers of reads; the difference leaves out what is done once. The whole path is
counted: pin, request, frame, eviction, I/O, completion, unpin, and with verification the digest; the kernel's own work is not. The file
is real and made in the current folder. How many completions come at once is up to the device, so figures vary by some percent: the
median of three runs is shown.
usage: read_cost.py PROGRAM [--json]"""

import json
import statistics
import sys

from callgrind import counted

READS = (1000, 5000)
RUNS = 3
CASES = ((65536, 32, 0), (65536, 32, 1), (2 << 20, 32, 0))  # bytes, depth, verified


def cost(program: str, size: int, depth: int, verify: int) -> float:
    (few, few_read), (many, many_read) = (counted(program, size, depth, reads, verify) for reads in READS)
    return (many - few) / (many_read - few_read)


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    results = []
    for size, depth, verify in CASES:
        seen = [cost(sys.argv[1], size, depth, verify) for _ in range(RUNS)]
        results.append({"locker_bytes": size, "depth": depth, "verified": bool(verify),
                        "instructions_per_read": round(statistics.median(seen))})
    if "--json" in sys.argv:
        print(json.dumps({"read_cost": results}))
        return 0
    for one in results:
        print(f"{one['locker_bytes']:>8} bytes, {one['depth']:>2} under way, {'verified' if one['verified'] else 'not verified':<12} "
              f"{one['instructions_per_read']:>8} instructions a read")
    return 0


if __name__ == "__main__":
    sys.exit(main())

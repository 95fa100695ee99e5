#!/usr/bin/env python3
"""Host instructions per locker that is moved from host memory to a device's tier.

Runs bench/device_cost under callgrind (valgrind) for two numbers of rounds; the difference leaves out what is done once. The driver
beside it does nothing, so the library's own work is counted: pin, request, frames, eviction, copy, completion, unpin in a stream's
order, and with verification the digest of what leaves host memory.
usage: device_cost.py PROGRAM [--json]"""

import json
import sys

from callgrind import counted

ROUNDS = (100, 1100)
CASES = ((4096, 0), (65536, 0), (65536, 1), (1048576, 0))


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    results = []
    for size, verify in CASES:
        (few, few_moved), (many, many_moved) = (counted(sys.argv[1], size, rounds, verify) for rounds in ROUNDS)
        results.append({"locker_bytes": size, "verified": bool(verify), "lockers_moved": many_moved - few_moved,
                        "instructions_per_locker": round((many - few) / (many_moved - few_moved))})
    if "--json" in sys.argv:
        print(json.dumps({"device_cost": results}))
        return 0
    for one in results:
        print(f"{one['locker_bytes']:>8} bytes, {'verified' if one['verified'] else 'not verified':<12} "
              f"{one['instructions_per_locker']:>8} instructions a locker ({one['lockers_moved']} moved)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

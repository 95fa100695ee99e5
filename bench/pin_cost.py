#!/usr/bin/env python3
"""Instructions, locked instructions and system calls of a pin and unpin of resident lockers.

Runs bench/pin_cost under callgrind (valgrind) for sets of 1 and of 8 and for two numbers of rounds; differences
leave out what is done once. Only what runs inside cubby_pin and cubby_unpin is counted; visits are recorded and delivered to the
policies, the delivery is not counted. Locked instructions are counted by address, looked up in the program (objdump); system calls,
those of the whole program, by strace.
"""
import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = (1000, 101000)  # far apart: what is done once varies by a million instructions


def locked_addresses(program):
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], check=True, capture_output=True, text=True).stdout
    found = set()
    for line in text.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
        if match and (match[2].startswith("lock ") or re.match(r"xchg\s.*\(", match[2])):
            found.add(int(match[1], 16))
    return found


def counted(program, size, rounds, locked, folder):
    """Instructions and locked instructions of the pinning thread."""
    out = Path(folder) / "callgrind.out"
    for old in Path(folder).glob("callgrind.out*"):
        old.unlink()
    subprocess.run(["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--separate-threads=yes",
                    "--toggle-collect=cubby_pin", "--toggle-collect=cubby_unpin",
                    f"--callgrind-out-file={out}", program, str(size), str(rounds)],
                   check=True, capture_output=True, cwd=folder)
    instructions = atomics = 0
    skip_next = False
    for line in Path(f"{out}-01").read_text().splitlines():
        if line.startswith("calls="):
            skip_next = True  # the next line holds what the callee took; it is counted there
            continue
        match = re.match(r"(0x[0-9a-f]+) \S+ (\d+)$", line)
        if not match:
            continue
        if skip_next:
            skip_next = False
            continue
        instructions += int(match[2])
        if int(match[1], 16) in locked:
            atomics += int(match[2])
    return instructions, atomics


def system_calls(program, rounds, folder):
    log = Path(folder) / "strace"
    subprocess.run(["strace", "-o", log, program, "8", str(rounds)], check=True, capture_output=True, cwd=folder)
    return len(log.read_text().splitlines())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="build/release/bin/pin_cost")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    for tool, package in (("valgrind", "valgrind"), ("objdump", "binutils"), ("strace", "strace")):
        if shutil.which(tool) is None:
            sys.exit(f"pin_cost: {tool} is not installed (Debian: apt-get install {package})")
    program = str(Path(chosen.program).resolve())
    locked = locked_addresses(program)
    cost = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        folder = str(Path(folder).resolve())
        for size in (1, 8):
            few, many = (counted(program, size, rounds, locked, folder) for rounds in ROUNDS)
            cost[size] = [(b - a) / (ROUNDS[1] - ROUNDS[0]) for a, b in zip(few, many)]
        calls = (system_calls(program, ROUNDS[1], folder) - system_calls(program, ROUNDS[0], folder)) / (
            ROUNDS[1] - ROUNDS[0])
    per_locker = [(cost[8][i] - cost[1][i]) / 7 for i in (0, 1)]
    result = {
        "set_of_8": {"instructions": cost[8][0], "locked": cost[8][1]},
        "per_locker": {"instructions": per_locker[0], "locked": per_locker[1]},
        "per_call": {"instructions": (cost[1][0] - per_locker[0]) / 2, "locked": (cost[1][1] - per_locker[1]) / 2},
        "system_calls_per_set": calls,
    }
    if chosen.json:
        print(json.dumps(result))
        return
    for name in ("per_locker", "per_call"):
        print(f"{name}: {result[name]['instructions']:.1f} instructions, {result[name]['locked']:.2f} locked")
    print(f"a set of 8, pinned and unpinned: {cost[8][0]:.0f} instructions, {calls:.3f} system calls")


if __name__ == "__main__":
    main()

"""Counts the instructions of a program (valgrind's callgrind)."""

import re
import subprocess


def counted(program: str, *arguments: int) -> tuple[int, int]:
    """Instructions in all, and the number that the program prints."""
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *map(str, arguments)],
                          check=True, capture_output=True, text=True)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None:
        raise RuntimeError("callgrind did not say what it collected: " + done.stderr[-400:])
    return int(found[1]), int(done.stdout)

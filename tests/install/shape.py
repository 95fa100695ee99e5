#!/usr/bin/env python3
"""What the shared library may be: size, dependencies, symbols. By readelf, nm and strip.

  shape.py LIBRARY [--sanitized]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

BYTES_MAX = 1_500_000
NEEDED_MAX = 5


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def kernel_bytes(library):
    """Of compiled CUDA kernels, which have a section of their own and are not the library's code."""
    for line in output("readelf", "-SW", library).splitlines():
        words = line.replace("[", " ").replace("]", " ").split()
        if ".cubby_kernels" in words:
            return int(words[words.index(".cubby_kernels") + 4], 16)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library")
    parser.add_argument("--sanitized", action="store_true")
    arguments = parser.parse_args()
    wrong = []

    needed = [line.split("[")[1].rstrip("]") for line in output("readelf", "-dW", arguments.library).splitlines()
              if "(NEEDED)" in line and "ld-linux" not in line]  # the loader itself is there anyway
    print(f"needs {len(needed)}: {' '.join(needed)}")
    if not needed:
        wrong.append("readelf lists no dependency at all: that is not believed")
    if any("cuda" in name or "nvidia" in name or "hwloc" in name for name in needed):
        wrong.append("it needs what has to stay optional")

    exported = [line.split()[-1] for line in output("nm", "-D", "--defined-only", arguments.library).splitlines()]
    print(f"exports {len(exported)} symbols")
    strange = [name for name in exported if not name.startswith("cubby_")]
    if strange or "cubby_open" not in exported:
        wrong.append(f"exports that are not cubby_*: {strange[:5]}, or cubby_open is missing")

    if arguments.sanitized:
        print("size and number of dependencies are not judged: sanitizers add theirs")
    else:
        with tempfile.TemporaryDirectory() as folder:
            stripped = Path(folder) / "stripped.so"
            output("strip", "-o", str(stripped), arguments.library)
            size = stripped.stat().st_size - kernel_bytes(str(stripped))
        print(f"{size} bytes stripped, {BYTES_MAX} are allowed")
        if size > BYTES_MAX:
            wrong.append("too large")
        if len(needed) > NEEDED_MAX:
            wrong.append(f"more than {NEEDED_MAX} dependencies")
    print("\n".join(wrong) if wrong else "shape: good")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

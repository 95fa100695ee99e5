#!/usr/bin/env python3
"""Compiles every file of a folder without and with each of its offences.

In a file, `#ifdef OFFENCE_n  // words` guards lines that must not compile; `words` (alternatives are
parted by " | ") must be in what the compiler says. Without any offence the file must compile.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

OFFENCE = re.compile(r"^#ifdef (OFFENCE_\d+)  // (.+)$", re.MULTILINE)


def compile_file(arguments, path, *defines):
    command = [arguments.cxx, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
               f"-I{arguments.include}", *[f"-D{d}" for d in defines], str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"})


def check(arguments, path):
    """Sentences about what is wrong with one file, and how many offences it has."""
    wrong = []
    clean = compile_file(arguments, path)
    if clean.returncode != 0:
        wrong.append(f"{path.name}: does not compile without an offence:\n{clean.stderr}")
    offences = OFFENCE.findall(path.read_text(encoding="utf-8"))
    if not offences:
        wrong.append(f"{path.name}: has no offence")
    for name, words in offences:
        done = compile_file(arguments, path, name)
        if done.returncode == 0:
            wrong.append(f"{path.name}: {name} compiles, and must not")
        elif not any(word in done.stderr for word in words.split(" | ")):
            wrong.append(f"{path.name}: {name} fails without saying '{words}':\n{done.stderr}")
    return wrong, len(offences)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--include", required=True)
    parser.add_argument("--sources", type=Path, required=True)
    arguments = parser.parse_args()
    wrong, count = [], 0
    for path in sorted(arguments.sources.glob("*.cpp")):
        of_file, offences = check(arguments, path)
        wrong.extend(of_file)
        count += offences
    print("\n".join(wrong))
    print(f"compile_fail: {count} offences, {len(wrong)} judged wrongly")
    return 1 if wrong or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

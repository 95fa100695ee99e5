#!/usr/bin/env python3
"""Runs clang-tidy 14 with the tree's .clang-tidy over the C++ files of src/ (cli apart) and backends/.

  clang_tidy.py --root TREE --build BUILD [--jobs N] [FILE…]
Exit status 1 when there is a finding, 77 when clang-tidy-14 is not installed.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOT_INSTALLED = 77


def plain(command):
    """The compiler's arguments without precompiled headers, which gcc wrote and clang cannot read.

    Warnings that only gcc has are no error to clang.
    """
    words, rest = iter(shlex.split(command)), []
    for word in words:
        if word == "-include":
            next(words)
        elif word != "-Winvalid-pch":
            rest.append(word)
    start = next(n for n, word in enumerate(rest) if re.search(r"(\+\+|cc|clang)(-\d+)?$", word))
    return [rest[start], "-Wno-unknown-warning-option", *rest[start + 1:]]


def commands(root, build, files):
    seen = {}
    for entry in json.loads((build / "compile_commands.json").read_text(encoding="utf-8")):
        path = Path(entry["file"]).resolve()
        if not path.is_relative_to(root):
            continue
        name = path.relative_to(root).as_posix()
        wanted = name in files if files else re.match(r"(src/(?!cli/)|backends/).*\.cpp$", name)
        if wanted and name not in seen and "_mutable.dir" not in entry["command"]:
            seen[name] = {"directory": entry["directory"], "file": str(path),
                          "arguments": plain(entry["command"])}
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*", help="names as src/base/digest.cpp; default: all")
    arguments = parser.parse_args()
    tool = shutil.which("clang-tidy-14")
    if tool is None:
        print("clang_tidy: skipped, clang-tidy-14 is not installed; scripts/install_deps.sh installs it")
        return NOT_INSTALLED
    entries = commands(arguments.root.resolve(), arguments.build, set(arguments.files))
    if not entries:
        print(f"clang_tidy: no file of src/ or backends/ in {arguments.build}/compile_commands.json; "
              "configure with CMAKE_EXPORT_COMPILE_COMMANDS=ON")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "compile_commands.json").write_text(json.dumps(list(entries.values())))

        def check(name):
            return name, subprocess.run([tool, "--quiet", "-p", folder, entries[name]["file"]],
                                        capture_output=True, text=True, check=False)

        bad = 0
        with ThreadPoolExecutor(arguments.jobs) as pool:
            for name, done in pool.map(check, sorted(entries)):
                if done.returncode != 0:
                    bad += 1
                    print(f"{name}:\n{done.stdout}{done.stderr}", flush=True)
    print(f"clang_tidy: {len(entries)} files, {bad} with findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

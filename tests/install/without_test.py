#!/usr/bin/env python3
"""Builds the library without liburing and hwloc, as where they are not installed, and reads a model with it: the build
and the runtime say what they do instead."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(*command, **options):
    print("+", " ".join(map(str, command)), flush=True)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}\nwithout: exit status {done.returncode}: {command[0]}")
    return done.stdout + done.stderr


def expect(text, words):
    for word in words:
        if word not in text:
            sys.exit(f"without: expected {word!r} in:\n{text}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "cmake", "generator", "cc", "cxx"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cubby-without-") as folder:
        work = Path(folder)
        build = work / "build"
        said = run(arguments.cmake, "-S", arguments.source, "-B", build, "-G", arguments.generator,
                   f"-DCMAKE_C_COMPILER={arguments.cc}", f"-DCMAKE_CXX_COMPILER={arguments.cxx}",
                   "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0", "-DCUBBY_BUILD_TESTS=OFF",
                   "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON", "-DCUBBY_WITH_URING=OFF", "-DCUBBY_WITH_HWLOC=OFF",
                   "-DCUBBY_WITH_TBB=OFF", "-DCUBBY_WITH_CUDA_KERNELS=OFF", "-DCUBBY_UNITY=ON")
        expect(said, ["CUBBY_WITH_URING is OFF; file I/O goes through the thread pool",
                      "CUBBY_WITH_HWLOC is OFF; NUMA nodes are read from /sys",
                      "CUBBY_WITH_TBB is OFF; memory is first touched by plain threads"])
        run(arguments.cmake, "--build", build, "--target", "cubby", "-j2")
        library = next(build.glob("lib/libcubby.so"))
        program = work / "file_path"
        run(arguments.cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", Path(arguments.source) / "include",
            HERE / "file_path.c", "-o", program, library, f"-Wl,-rpath,{library.parent}")
        model = work / "model.safetensors"
        run(sys.executable, HERE / "make_model.py", model)
        said = run(program, model)
        print(said)
        expect(said, ["sum 528, by threadpool", "built without liburing"])
    print("without: good")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Installs the build into a new folder, builds examples/downstream against that alone and runs it.

The folder is moved after the installation, so that nothing in the package may depend on the place.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def run(*command, **options):
    print("+", " ".join(map(str, command)), flush=True)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        print(done.stdout + done.stderr)
        sys.exit(f"install: exit status {done.returncode}: {command[0]}")
    return done.stdout


def environment(prefix):
    libraries = next(prefix.glob("lib*/**/libcubby.so")).parent
    return {**os.environ, "PKG_CONFIG_PATH": str(libraries / "pkgconfig"),
            "LD_LIBRARY_PATH": str(libraries)}


def check_pkg_config(arguments, prefix, work, model, flags):
    """The plain C program by pkg-config alone."""
    if shutil.which("pkg-config") is None:
        print("install: pkg-config is not here; cubby.pc is not checked (install pkg-config)")
        return
    env = environment(prefix)
    words = run("pkg-config", "--cflags", "--libs", "cubby", env=env).split()
    program = work / "by_pkg_config"
    run(arguments.cc, "-std=c11", *flags, arguments.examples / "01_pin.c", "-o", program, *words)
    print(run(program, model, env=env), end="")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("build", "examples", "cmake", "generator", "cc", "cxx"):
        parser.add_argument(f"--{name}", required=True, type=Path if name in ("build", "examples") else str)
    parser.add_argument("--sanitize", default="")
    arguments = parser.parse_args()
    flags = [f"-fsanitize={arguments.sanitize}"] if arguments.sanitize else []

    with tempfile.TemporaryDirectory(prefix="cubby-install-") as folder:
        work = Path(folder)
        run(arguments.cmake, "--install", arguments.build, "--prefix", work / "first")
        prefix = (work / "first").rename(work / "moved")
        model = work / "model.safetensors"
        run(sys.executable, HERE / "make_model.py", model)
        run(arguments.cmake, "-S", arguments.examples / "downstream", "-B", work / "build",
            "-G", arguments.generator, f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_C_COMPILER={arguments.cc}", f"-DCMAKE_CXX_COMPILER={arguments.cxx}",
            f"-DCMAKE_C_FLAGS={' '.join(flags)}", f"-DCMAKE_CXX_FLAGS={' '.join(flags)}")
        run(arguments.cmake, "--build", work / "build", "-j2")
        for form in ("cubby", "static"):
            for program in ("01_pin", "02_pin", "03_threads"):
                said = run(work / "build" / f"{program}_{form}", model)
                print(said, end="")
                if program != "03_threads" and "2 x 16 experts; the first byte of expert 1 is 2" not in said:
                    sys.exit(f"install: {program}_{form} said something else")
        check_pkg_config(arguments, prefix, work, model, flags)
        run(prefix / "bin" / "cubby", "--help", env=environment(prefix))
    print("install: good")


if __name__ == "__main__":
    main()

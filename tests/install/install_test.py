#!/usr/bin/env python3
"""Installs the build into a new folder, builds examples/downstream and examples/backend against that
alone and runs them; `cubby conformance` must pass the example's backend and policy and find what is
wrong with each broken variant of the backend.

The folder is moved after the installation, so that nothing in the package may depend on the place.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# Broken variant of examples/backend: the check that must fail, and a word of its detail.
BROKEN = {
    "KEEPS_CONFIG": ("open: the config is lent for the call only", "signal 11"),
    "SHORT_IS_FULL": ("read: over an end that is not aligned", "expected 6000 bytes, came 16384"),
    "DROPS": ("reap: every cookie exactly once", "had not completed"),
    "TWICE": ("reap: every cookie exactly once", "twice"),
    "SLEEPS": ("wait: ends when its time is over", "in wait()"),
}


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


def build(arguments, prefix, source, folder, *definitions):
    flags = f"-fsanitize={arguments.sanitize}" if arguments.sanitize else ""
    run(arguments.cmake, "-S", source, "-B", folder, "-G", arguments.generator,
        f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_C_COMPILER={arguments.cc}", f"-DCMAKE_CXX_COMPILER={arguments.cxx}",
        f"-DCMAKE_C_FLAGS={flags}", f"-DCMAKE_CXX_FLAGS={flags}", *definitions)
    run(arguments.cmake, "--build", folder, "-j2")


def conformance(prefix, library, folder, exit_status):
    """The command's verdict, as its JSON; files lie in `folder`."""
    command = [prefix / "bin" / "cubby", "conformance", library, "--json", "--seconds", "2",
               "--dir", folder]
    print("+", " ".join(map(str, command)), flush=True)
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          env=environment(prefix))
    if done.returncode != exit_status:
        print(done.stdout + done.stderr)
        sys.exit(f"install: exit status {done.returncode}, expected {exit_status}: {library}")
    return json.loads(done.stdout)


def check_backend(arguments, prefix, work, model):
    """A third-party backend: it passes, is used by a runtime, and each mistake in it is found."""
    folder = work / "backend"
    build(arguments, prefix, arguments.examples / "backend", folder, "-DBROKEN_BACKENDS=ON")
    library = next(folder.glob("libpread_backend.*"))
    good = conformance(prefix, library, work, 0)
    if good["backend"] != "pread" or good["capabilities"] != ["files"] or good["failed"] != 0:
        sys.exit(f"install: conformance said {good}")
    counts = [sum(c["result"] == r for c in good["checks"]) for r in ("pass", "fail", "skip")]
    if counts != [good["passed"], good["failed"], good["skipped"]] or good["passed"] < 30:
        sys.exit(f"install: conformance counted {counts} and said {good}")
    for mistake, (name, word) in BROKEN.items():
        # A sanitizer's report replaces the signal.
        word = "" if arguments.sanitize and word.startswith("signal") else word
        found = conformance(prefix, next(folder.glob(f"libbroken_{mistake}.*")), work, 1)
        wrong = {c["name"]: c["detail"] for c in found["checks"] if c["result"] == "fail"}
        if word not in wrong.get(name, "\0"):
            sys.exit(f"install: {mistake}: expected {name!r} to fail with {word!r}, came {wrong}")
        print(f"{mistake}: {name}: {wrong[name]}")
    # What cannot be opened on this machine has neither passed nor failed.
    found = conformance(prefix, next(folder.glob("libbroken_CANNOT_OPEN.*")), work, 2)
    if found["failed"] != 0 or found["passed"] != 1 or found["skipped"] == 0:
        sys.exit(f"install: a backend that cannot be opened: {found}")
    left = list(work.glob("cubby_conformance_*"))
    if left:
        sys.exit(f"install: conformance left {left}")
    said = run(folder / "use_backend", library, "pread", model, env=environment(prefix))
    print(said, end="")
    if "32 experts, their first bytes add up to 528" not in said or "by pread (pread)" not in said:
        sys.exit("install: use_backend said something else")


def check_policy(arguments, prefix, work):
    """A third-party policy: built against the headers alone, it passes, and decides in a simulation and a runtime."""
    folder = work / "policy"
    build(arguments, prefix, arguments.examples / "policy", folder)
    library = next(folder.glob("libfifo_policy.*"))
    good = conformance(prefix, library, work, 0)
    if good["policy"] != "fifo" or good["flags"] != ["experts", "kv"] or good["failed"] != 0:
        sys.exit(f"install: conformance said {good}")
    trace = work / "trace.csv"
    lines = [f"{token},0,{token * 5 % 7} {7 + token % 3}" for token in range(60)]
    trace.write_text("token,layer,experts\n" + "\n".join(lines) + "\n")
    command = [prefix / "bin" / "cubby", "replay", "--io", "--geometry", "1x10x8192", "--tiers",
               f"host:1m,file:{work}", "--trace", trace, "--policy", f"{library},lru", "--capacity",
               "5", "--json", "--quiet"]
    said = json.loads(run(*command, env=environment(prefix)))
    results = said["results"]
    if [r["policy"] for r in results] != ["fifo", "lru"] or not all(r["equal"] for r in results):
        sys.exit(f"install: replay said {said}")
    if not 0 < results[0]["hits"] < said["accesses"]:
        sys.exit(f"install: fifo found {results[0]['hits']} of {said['accesses']}")


def check_refusals(prefix, work):
    """What is no backend is a usage error with a sentence."""
    absent, text = work / "absent.so", work / "text.so"
    text.write_text("no library")
    plain = next(prefix.glob("lib*/**/libcubby.so"))
    for library, word in ((absent, "cannot be read"), (text, "could not be loaded"),
                          (plain, "exports neither cubby_backend_entry")):
        found = conformance(prefix, library, work, 2)
        if word not in found["error"]:
            sys.exit(f"install: {library}: expected {word!r}, came {found}")


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
        build(arguments, prefix, arguments.examples / "downstream", work / "build")
        for form in ("cubby", "static"):
            for program, words in (("01_pin", "the first byte of expert 0 is 1"), ("03_threads", ""),
                                   ("04_kv_cache", "2 of 3 blocks are there; the second begins with b"),
                                   ("05_kv_cache", "2 of 3 blocks are there; the second begins with b"),
                                   ("02_pin", "2 x 16 experts; the first byte of expert 1 is 2")):
                store = work / f"store_{program}_{form}"
                store.mkdir()
                argument = store if "kv_cache" in program else model
                said = run(work / "build" / f"{program}_{form}", argument)
                print(said, end="")
                if words not in said:
                    sys.exit(f"install: {program}_{form} said something else")
        check_pkg_config(arguments, prefix, work, model, flags)
        check_backend(arguments, prefix, work, model)
        check_policy(arguments, prefix, work)
        check_refusals(prefix, work)
        run(prefix / "bin" / "cubby", "--help", env=environment(prefix))
    print("install: good")


if __name__ == "__main__":
    main()

"""vLLM's own tests of its CPU cache and its tiering, with cubby's policy and tier in the place of
vLLM's: `python vllm_own_tests.py FOLDER`.

The tests come with vLLM's source distribution, which is fetched into FOLDER. Left out are, by name
and with the reason, those that look into the data of what was replaced. Exit status 77: not
fetched.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
# By version: where its source distribution is below the registry's folder of files, and its digest.
SOURCES = {
    "0.32.0": (
        "d5/df/5471312c76e335eaa2b8333e87ea39f0d37bfe24f10a582620e34ff12e33",
        "d2c957d5eee3d0985012151315ddc62cbe0cd368fc96a5fc3510438d9dddf2ad",
    ),
    "0.33.0": (
        "f7/25/aa5684e9c59d6fc75f78926b7f15e8d9adc7de2d9e6e7575b80776ad8169",
        "f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112",
    ),
}
FILES = "https://files.pythonhosted.org/packages"
TESTS = "tests/v1/kv_offload"
RUNS = {
    "policy lru": ("cpu/test_manager.py", "cpu/policies"),
    "policy kv": ("cpu/test_manager.py", "cpu/policies"),
    "tier": ("tiering/test_tiering_offloading.py",),
}
LRU = "looks into vLLM's own LRU"
STEPS = "orders the steps of one request by places, as vLLM 0.33's own LRU"
LEFT_OUT = {
    "test_lru_batch_eviction_failure_is_atomic": LRU,
    "test_lru_repeated_pin_cycles_compact_lazy_heap_entries": LRU,
    "test_lru_and_arc_registered": "asks for vLLM's own class",
    "test_config_info_keys_match_the_filled_values": "asks for vLLM's own example",
    # vLLM 0.33's LRU ranks what one request stores in several steps by its place in the prefix;
    # here a later step is a later use.
    "test_unfinished_lru_prefix_survives_pressure_across_store_batches": STEPS,
    "test_unfinished_lru_reused_prefix_outlives_new_tail": STEPS,
    "test_unfinished_lru_backfill_orders_by_token_position": STEPS,
    "test_lru_failed_store_retry_preserves_prefix_order": STEPS,
    "test_older_lru_request_does_not_demote_a_newer_shared_access": STEPS,
    # vLLM 0.32's LRU goes by the order of stores until a request ends, and then by that of the
    # prefix; here the end of a prefix leaves first from the start.
    "test_cpu_manager": "expects the beginning of an unfinished request to leave before its end",
}


def tests(folder: Path, version: str) -> Path | None:
    """The folder of vLLM's tests; None where they could not be fetched."""
    at, sha256 = SOURCES[version]
    source = f"{FILES}/{at}/vllm-{version}.tar.gz"
    root = folder / f"vllm-{version}"
    archive = folder / f"vllm-{version}.tar.gz"
    if (root / TESTS).is_dir():
        return root
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(source, timeout=60) as answer:
            archive.write_bytes(answer.read())
    except OSError as error:
        print(f"vllm_own_tests: skipped: {source}: {error}", file=sys.stderr)
        return None
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise RuntimeError(f"{archive} is not what was pinned")
    with tarfile.open(archive) as packed:
        wanted = (f"vllm-{version}/{TESTS}/", f"vllm-{version}/tests/v1/__init__.py")
        wanted += (f"vllm-{version}/tests/__init__.py",)
        members = [m for m in packed if m.isfile() and m.name.startswith(wanted)]
        packed.extractall(folder, members, filter="data")
    archive.unlink()
    return root


def run(root: Path, name: str, files: tuple[str, ...]) -> bool:
    """One run of pytest, with the plug-in that puts cubby in."""
    kind, _, policy = name.partition(" ")
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    given = {"PYTHONPATH": path, "CUBBY_IN_PLACE": kind, "CUBBY_POLICY": policy}
    given["CUBBY_LEFT_OUT"] = " ".join(LEFT_OUT)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "vllm_in_place", "-W", "ignore", f"--confcutdir={root / TESTS}"]
    command += [str(root / TESTS / file) for file in files]
    done = subprocess.run(
        command, cwd=root, env={**os.environ, **given}, capture_output=True, text=True, timeout=900
    )
    last = done.stdout.strip().splitlines()[-1:] or [done.stderr[-500:]]
    print(f"vllm_own_tests: {name}: {last[0]}", flush=True)
    if done.returncode != 0:
        print(done.stdout[-6000:], done.stderr[-2000:])
    return done.returncode == 0


def main() -> int:
    installed = importlib.import_module("vllm").__version__
    if installed not in SOURCES:
        known = ", ".join(SOURCES)
        print(f"vllm_own_tests: skipped: vLLM {installed} is installed, the tests are of {known}")
        return 77
    root = tests(Path(sys.argv[1]).resolve(), installed)
    if root is None:
        return 77
    for test, why in LEFT_OUT.items():
        print(f"vllm_own_tests: left out: {test}: {why}")
    results = [run(root, name, files) for name, files in RUNS.items()]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

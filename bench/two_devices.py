#!/usr/bin/env python3
"""Decode of stock llama.cpp from one device, from two, and from two of which one fails.

    two_devices.py --cubby BUILD/bin/cubby --program decode_speed --folder DIR --budget 600MiB \
        [--mb-per-s 300] [--rounds 3] [--tokens 48] [--json OUT]

Devices are loop devices over files in DIR, each held to a speed by the kernel's I/O controller; a
model is made on the first, sealed, and copied to the second. The one that fails loses its bytes
after a third of the tokens: it gives zeros, then I/O errors. Needs root, mkfs.ext4, losetup, and
the blkio (v1) controller or io (v2).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from llama_demo import make_model

IMAGE_BYTES = 3 << 30


@contextmanager
def device(folder: Path, name: str) -> Iterator[tuple[Path, Path, str]]:
    """A file system on a loop device: where it is mounted, its image, its numbers."""
    image, place = folder / f"{name}.img", folder / name
    place.mkdir(parents=True, exist_ok=True)
    with open(image, "wb") as made:
        made.truncate(IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    loop = subprocess.run(
        ["losetup", "-f", "--show", "--direct-io=on", image],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    try:
        subprocess.run(["mount", loop, place], check=True)
        try:
            number = os.stat(loop).st_rdev
            yield place, image, f"{os.major(number)}:{os.minor(number)}"
        finally:
            subprocess.run(["umount", place], check=False)
    finally:
        subprocess.run(["losetup", "-d", loop], check=False)
        image.unlink()


@contextmanager
def held_to(devices: list[str], bytes_per_s: int) -> Iterator[Path]:
    """A control group whose processes read each device at that speed at most."""
    first, second = Path("/sys/fs/cgroup/blkio"), Path("/sys/fs/cgroup")
    v1 = (first / "blkio.throttle.read_bps_device").exists()
    group = (first if v1 else second) / "cubby-two-devices"
    group.mkdir()
    try:
        for one in devices:
            limit = f"{one} {bytes_per_s}" if v1 else f"{one} rbps={bytes_per_s}"
            (group / ("blkio.throttle.read_bps_device" if v1 else "io.max")).write_text(limit)
        yield group
    finally:
        group.rmdir()


def run(
    chosen: argparse.Namespace,
    group: Path,
    model: Path,
    copies: Path | None = None,
    fails: Path | None = None,
) -> Any:
    words = [chosen.cubby, "run", "--host-budget", chosen.budget]
    if copies is not None:
        words += ["--copies", copies]
    words += ["--", chosen.program, model, "--live"]
    words += ["--warm", chosen.tokens // 3, "--tokens", chosen.tokens, "--threads", chosen.threads]
    with subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if fails is not None and len(lines) == chosen.tokens // 3:
                os.truncate(fails, 0)
        said = child.stderr.read()
    if child.returncode != 0:
        sys.exit(f"two_devices: the program ended with {child.returncode}: {said[-2000:]}")
    result = json.loads(lines[-1])
    result["said"] = [line for line in said.splitlines() if line.startswith("cubby:")]
    return result


def measure(chosen: argparse.Namespace) -> dict[str, list[Any]]:
    runs: dict[str, list[Any]] = {}

    def take(name: str, *how: Any) -> None:
        runs.setdefault(name, []).append(run(chosen, *how))
        print(f"{name:17} {runs[name][-1]['tokens_per_s']:8.3f} tokens/s", flush=True)
        for line in runs[name][-1]["said"]:
            print("         ", line, flush=True)

    with ExitStack() as stack:
        first, _, of_first = stack.enter_context(device(chosen.folder, "first"))
        second, image, of_second = stack.enter_context(device(chosen.folder, "second"))
        model = make_model(chosen.cubby, first)
        subprocess.run([chosen.cubby, "seal", model], check=True, stdout=subprocess.DEVNULL)
        copy = Path(shutil.copy(model, second))
        os.sync()
        limit = chosen.mb_per_s * 1_000_000
        group = stack.enter_context(held_to([of_first, of_second], limit))
        for _ in range(chosen.rounds):
            take("one", group, model)
            take("two", group, model, copy)
        take("one of two fails", group, model, copy, image)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--cubby", "--program", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--budget", default="600MiB")
    for name, value in (("--mb-per-s", 300), ("--rounds", 3), ("--tokens", 48), ("--threads", 1)):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    runs = measure(chosen)
    medians = {
        name: statistics.median(one["tokens_per_s"] for one in ran) for name, ran in runs.items()
    }
    for name, value in medians.items():
        print(f"median {name:17} {value:8.3f} tokens/s, {value / medians['one']:.2f} of one")
    if chosen.json:
        summary = {"command": sys.argv, "medians_tokens_per_s": medians, "runs": runs}
        chosen.json.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()

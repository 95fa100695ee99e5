#!/usr/bin/env python3
"""Decode of stock llama.cpp under one memory limit: its own mmap beside cubby, in turn.

    llama_decode.py --model M.gguf --program decode_speed --cubby BUILD/bin/cubby --limit 2.7GiB \
        --budget 2GiB [--embeddings FILE] [--rounds 3] [--tokens 64] [--json OUT]

Every run is a process of its own in a fresh memory cgroup, and begins with none of the model in
the page cache. Sides: mmap (plain), willneed (the routed experts of each layer asked for by madvise
before they are used), cubby, and resident (plain, without the limit).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory_limit import Limit, NoLimitError

UNITS = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def byte_count(text: str) -> int:
    found = re.fullmatch(r"([\d.]+)\s*([a-z]*)", text.lower())
    if not found or found[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text} is no size such as 2.7GiB")
    return int(float(found[1]) * UNITS[found[2]])


def drop_from_page_cache(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def run(side: str, chosen: argparse.Namespace) -> dict[str, Any]:
    words = [
        chosen.program,
        chosen.model,
        "--warm",
        chosen.warm,
        "--tokens",
        chosen.tokens,
        "--threads",
        chosen.threads,
    ]
    if chosen.prompt:
        words += ["--prompt", chosen.prompt]
    if chosen.embeddings:
        words += ["--embeddings", chosen.embeddings]
    if side == "willneed":
        words.append("--willneed")
    if side == "cubby":
        words = [chosen.cubby, "run", "--host-budget", chosen.budget, "--", *words]
    drop_from_page_cache(chosen.model)
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    words = [str(word) for word in words]

    def finish(enter: Callable[[], None] | None) -> dict[str, Any]:
        done = subprocess.run(
            words, capture_output=True, text=True, env=environment, preexec_fn=enter, check=False
        )
        if done.returncode != 0:
            sys.exit(f"llama_decode: {side} ended with {done.returncode}: {done.stderr[-2000:]}")
        result = json.loads(done.stdout.strip().splitlines()[-1])
        result["said"] = [line for line in done.stderr.splitlines() if line.startswith("cubby:")]
        return result

    if side == "resident":
        return finish(None)
    with Limit(chosen.limit) as limit:
        return finish(limit.enter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--model", "--program", "--cubby", "--budget"):
        parser.add_argument(name, required=True)
    parser.add_argument("--limit", type=byte_count, required=True)
    parser.add_argument("--embeddings")
    parser.add_argument("--sides", default="mmap,willneed,cubby,resident")
    for name, value in (
        ("--rounds", 3),
        ("--tokens", 64),
        ("--warm", 32),
        ("--threads", 1),
        ("--prompt", 0),
    ):
        parser.add_argument(name, type=int, default=value)
    parser.add_argument("--json")
    chosen = parser.parse_args()
    sides = chosen.sides.split(",")
    runs = {side: [] for side in sides}
    for _ in range(chosen.rounds):
        for side in sides:
            runs[side].append(run(side, chosen))
            one = runs[side][-1]
            prompt = f"prompt in {one['prompt_s']:.1f} s, " if chosen.prompt else ""
            print(
                f"{side:9} {one['tokens_per_s']:8.3f} tokens/s, {prompt}"
                f"first {chosen.warm} in {one['warm_s']:.1f} s, "
                f"loaded in {one['load_s']:.1f} s, {one['major_faults']} major faults",
                flush=True,
            )
            for line in one["said"]:
                print("         ", line, flush=True)
    medians = {
        side: statistics.median(one["tokens_per_s"] for one in ran) for side, ran in runs.items()
    }
    for side, value in medians.items():
        print(
            f"median {side:9} {value:8.3f} tokens/s, {value / medians[sides[0]]:.2f} of {sides[0]}"
        )
    if chosen.json:
        Path(chosen.json).write_text(
            json.dumps(
                {
                    "command": sys.argv,
                    "model_bytes": os.path.getsize(chosen.model),
                    "limit_bytes": chosen.limit,
                    "load_average": os.getloadavg(),
                    "medians_tokens_per_s": medians,
                    "runs": runs,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    try:
        main()
    except NoLimitError as error:
        sys.exit(f"llama_decode: {error}")

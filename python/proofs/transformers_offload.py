"""A mixture-of-experts model of 2.5 GB in half of its size of memory: experts from cubby beside
accelerate's disk offload, each in a process of its own under a memory cgroup.

    python transformers_offload.py --folder DIR [--layers 24] [--tokens 8]

Run by the interpreter of an environment with transformers and accelerate, as root. Exit status 1
where tokens differ or cubby is less than 4 times as fast; 77 where no cgroup can be made.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROMPT = list(range(10, 42))


def make_model(folder: Path, layers: int) -> int:
    """A random Qwen3-MoE in bfloat16; its size in bytes."""
    import torch
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        config = Qwen3MoeConfig(
            vocab_size=512, hidden_size=512, intermediate_size=512, moe_intermediate_size=512,
            num_hidden_layers=layers, num_experts=64, num_experts_per_tok=4, head_dim=64,
            num_attention_heads=8, num_key_value_heads=2, max_position_embeddings=2048,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )  # fmt: skip
        Qwen3MoeForCausalLM(config).save_pretrained(folder)
        (folder / "whole").touch()
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def load(side: str, path: Path, host_bytes: int, scratch: Path) -> Any:
    """The model as one side has it."""
    import torch

    if side == "cubby":
        from cubby.integrations import transformers as experts

        return experts.load(path, host_bytes=host_bytes, dtype=torch.bfloat16)
    from transformers import AutoModelForCausalLM

    how: dict[str, Any] = {"dtype": torch.bfloat16}
    if side == "accelerate":
        how |= {
            "device_map": "auto",
            "max_memory": {"cpu": host_bytes},
            "offload_folder": str(scratch),
        }
    return AutoModelForCausalLM.from_pretrained(path, **how)


def work(side: str, path: Path, host_bytes: int, tokens: int, scratch: Path) -> None:
    """Of the child process: generates, and prints one line of JSON."""
    import torch

    if side != "plain" and "/cubby-" not in Path("/proc/self/cgroup").read_text():
        raise RuntimeError("this process is not under the limit")
    torch.set_num_threads(1)
    model = load(side, path, host_bytes, scratch)
    ids = torch.tensor([PROMPT])
    how = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    model.generate(ids, max_new_tokens=2, **how)
    began = time.monotonic()
    out = model.generate(ids, max_new_tokens=tokens, **how)
    seconds = time.monotonic() - began
    answer = {"tokens": out[0, len(PROMPT) :].tolist(), "per_s": round(tokens / seconds, 3)}
    print("ANSWER " + json.dumps(answer), flush=True)


class Cgroup:
    """A group with a limit of memory, of either version of the interface."""

    def __init__(self, limit: int) -> None:
        first = Path("/sys/fs/cgroup/memory")
        old = first.is_dir()
        self._path = (first if old else Path("/sys/fs/cgroup")) / f"cubby-{os.getpid()}"
        self._path.mkdir()
        name = "memory.limit_in_bytes" if old else "memory.max"
        (self._path / name).write_text(str(limit))

    def join(self) -> None:
        """In the child, before it becomes another program."""
        (self._path / "cgroup.procs").write_text(str(os.getpid()))

    def remove(self) -> None:
        """Once it is empty."""
        self._path.rmdir()


def run(side: str, given: argparse.Namespace, host_bytes: int, limit: int) -> dict[str, Any]:
    """One process; limit 0: without one."""
    folder = given.folder
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    command = [sys.executable, __file__, "--folder", str(folder), "--work", side]
    command += ["--memory", str(host_bytes), "--tokens", str(given.tokens)]
    group = Cgroup(limit) if limit else None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=900, check=False,
            preexec_fn=group.join if group else None,
        )  # fmt: skip
    finally:
        if group:
            group.remove()
        shutil.rmtree(scratch, ignore_errors=True)
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not answers:
        sys.stdout.write(done.stdout + done.stderr)
        raise RuntimeError(f"{side} ended with {done.returncode}")
    found: dict[str, Any] = json.loads(answers[0].removeprefix("ANSWER "))
    return found


def prove(given: argparse.Namespace) -> int:
    """All sides."""
    size = make_model(given.folder / "model", given.layers)
    limit, memory = size // 2, size // 4
    try:
        Cgroup(limit).remove()
    except OSError as error:
        print(f"offload: skipped: no memory cgroup can be made here ({error})")
        return 77
    plain = run("plain", given, 0, 0)
    ours = run("cubby", given, memory, limit)
    theirs = run("accelerate", given, memory, limit)
    ratio = ours["per_s"] / theirs["per_s"]
    print(f"offload: a model of {size / 1e9:.2f} GB, processes limited to {limit / 1e9:.2f} GB")
    for name, got in (("all in memory", plain), ("cubby", ours), ("accelerate, disk", theirs)):
        same = "same tokens" if got["tokens"] == plain["tokens"] else "OTHER TOKENS"
        print(f"offload: {name:<18} {got['per_s']:>8.3f} tokens/s, {same}")
    print(f"offload: cubby is {ratio:.1f} times as fast as accelerate's disk offload")
    return 0 if ours["tokens"] == plain["tokens"] and ratio >= 4 else 1


def main() -> int:
    """The proof, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--work", choices=["plain", "cubby", "accelerate"])
    parser.add_argument("--memory", type=int, default=0)
    given = parser.parse_args()
    if given.work is None:
        return prove(given)
    work(given.work, given.folder / "model", given.memory, given.tokens, given.folder / "scratch")
    return 0


if __name__ == "__main__":
    sys.exit(main())

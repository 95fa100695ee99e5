"""One run of a real SGLang engine, in processes of its own: `python sglang_engine.py PLAN`, where
PLAN is JSON. Prints a line `RESULT {...}`. Started by sglang_proof.py.

    model, page_size, memory_layout, backend ("dynamic", "file" or null), extra (its configuration),
    prompts (count), tokens (of each), new_tokens, seed, flush (true: forget all but the storage
    after the first round and ask again), beginnings (tokens of each prompt that SGLang's own cache
    in memory holds when the prompt is asked)
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import psutil
from tiny_models import prompts_of


def processor_seconds() -> float:
    """Of this process and those below it."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def start(plan: dict[str, Any]) -> Any:
    import sglang

    options: dict[str, Any] = {}
    if plan["backend"] is not None:
        options = {
            "enable_hierarchical_cache": True,
            "hicache_ratio": 2.0,
            "hicache_io_backend": "direct",
            "hicache_mem_layout": plan["memory_layout"],
            "hicache_write_policy": "write_through",
            "hicache_storage_backend": plan["backend"],
            "hicache_storage_prefetch_policy": "wait_complete",
            "hicache_storage_backend_extra_config": json.dumps(plan["extra"]),
        }
    return sglang.Engine(
        model_path=plan["model"],
        device="cpu",
        attention_backend="torch_native",
        sampling_backend="pytorch",
        disable_cuda_graph=True,
        disable_overlap_schedule=True,
        mem_fraction_static=0.3,
        max_total_tokens=8192,
        context_length=2048,
        page_size=plan["page_size"],
        skip_server_warmup=True,
        log_level="info",
        dtype="bfloat16",
        **options,
    )


def ask(engine: Any, prompt: list[int], count: int) -> dict[str, Any]:
    sampling = {"temperature": 0, "max_new_tokens": count, "ignore_eos": True}
    at = time.monotonic()
    said = engine.generate(input_ids=[prompt], sampling_params=sampling, return_logprob=True)[0]
    meta = said["meta_info"]
    return {
        "seconds": round(time.monotonic() - at, 5),
        "tokens": said["output_ids"],
        "logprobs": [entry[0] for entry in meta["output_token_logprobs"]],
        "cached": meta.get("cached_tokens"),
        "storage": (meta.get("cached_tokens_details") or {}).get("storage", 0),
    }


def ask_all(engine: Any, plan: dict[str, Any]) -> dict[str, list[Any]]:
    """Every prompt for one token, which is timed, and again for all that are wanted."""
    lists = ("ttft_s", "cached", "storage", "tokens", "logprobs")
    out: dict[str, list[Any]] = {name: [] for name in lists}
    for prompt in prompts_of(plan):
        first = ask(engine, prompt, 1)
        out["ttft_s"].append(first["seconds"])
        out["cached"].append(first["cached"])
        out["storage"].append(first["storage"])
        more = ask(engine, prompt, plan["new_tokens"])
        out["tokens"].append(more["tokens"])
        out["logprobs"].append(more["logprobs"])
    return out


def ask_for_beginnings(engine: Any, plan: dict[str, Any]) -> None:
    """A prompt that begins as each one does and then differs; as long, for how many tokens are
    computed at once changes the last bits of what they give."""
    for prompt, count in zip(prompts_of(plan), plan.get("beginnings", []), strict=False):
        if count:
            rest = [token + 1 if token < 100 else token - 1 for token in prompt[count:]]
            ask(engine, prompt[:count] + rest, 1)


def main() -> None:
    plan = json.loads(sys.argv[1])
    at = time.monotonic()
    engine = start(plan)
    result: dict[str, Any] = {"start_s": round(time.monotonic() - at, 2)}
    # What every first request pays for is not the storage's.
    ask(engine, [7] * 40, plan["new_tokens"])
    ask_for_beginnings(engine, plan)
    cpu = processor_seconds()
    result.update(ask_all(engine, plan))
    if plan.get("flush"):
        time.sleep(2)
        result["flushed"] = bool(engine.flush_cache())
        result["after_flush"] = ask_all(engine, plan)
    if plan["backend"] is not None:
        time.sleep(2)
    result["cpu_s"] = round(processor_seconds() - cpu, 3)
    print("RESULT " + json.dumps(result), flush=True)
    engine.shutdown()


if __name__ == "__main__":
    main()

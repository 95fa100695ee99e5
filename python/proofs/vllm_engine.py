"""One run of a real vLLM engine, in a process of its own: `python vllm_engine.py PLAN`, where PLAN
is JSON. Prints a line `RESULT {...}`. Started by vllm_proof.py.

    model, block_size, tier (JSON of a secondary tier, or null), prompts (count), tokens (of each),
    new_tokens, seed, kill (SIGKILL to itself while more than so many chunks are being stored),
    knowledge (true: with cubby's policy for vLLM's host memory, KV events, and hints at every
    request)
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["VLLM_NO_USAGE_STATS"] = "1"
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

from tiny_models import prompts_of


def offloading(plan: dict[str, Any]) -> dict[str, Any]:
    """vLLM's configuration of a secondary tier, with the copier for CPUs."""
    if plan["tier"] is None:
        return {}
    extra = {
        "spec_name": "CpuTieringSpec",
        "spec_module_path": "vllm_cpu_spec",
        "cpu_bytes_to_use": 512 << 20,
        "secondary_tiers": [plan["tier"]],
    }
    config: dict[str, Any] = {}
    if plan.get("knowledge"):
        extra["eviction_policy"] = "CubbyPolicy"
        extra["cache_policy_module_path"] = "cubby.integrations.vllm_policy"
        config["kv_events_config"] = {"enable_kv_cache_events": True, "publisher": "null"}
    config["kv_transfer_config"] = {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": extra,
    }
    return config


def hint_requests(engine: Any) -> None:
    """Every request carries an envelope: its blocks matter, and one action that nobody serves."""
    from vllm.v1.kv_hints import KvHintAction, KvHintsEnvelope

    actions = [
        KvHintAction("retain", "kv.retain", "1.0", {"priority": 80, "ttl_seconds": 600}),
        KvHintAction("share", "kv.share", "1.0", {}),
    ]
    envelope = KvHintsEnvelope("1.0", "message", actions)
    add = engine.llm_engine.add_request

    def hinted(*args: Any, **how: Any) -> Any:
        return add(*args, **{**how, "kv_hints": envelope})

    engine.llm_engine.add_request = hinted


def watch_events(found: Any) -> list[Any]:
    """Events of the tiers, as vLLM takes them."""
    taken: list[Any] = []
    take = found.take_events

    def noted() -> Any:
        for event in take():
            taken.append(event)
            yield event

    found.take_events = noted
    return taken


def knowledge(found: Any, events: list[Any]) -> dict[str, Any]:
    """What became of events and hints."""
    policy = found.primary_tier._policy
    stored = [key.hex() for e in events if e.ownership for key in e.keys if not e.removed]
    return {
        "policy": type(policy).__name__,
        "policy_hints": policy.hint_counts,
        "announced": len(set(stored)),
        "announced_twice": len(stored) - len(set(stored)),
    }


def manager(engine: Any) -> Any:
    """vLLM's manager of tiers, where the engine lives in this process and has one."""
    core = getattr(engine.llm_engine.engine_core, "engine_core", None)
    connector = core.scheduler.connector if core is not None else None
    return None if connector is None else connector.connector_scheduler.manager


def processor_seconds() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def kill_in_mid_store(found: Any, least: int) -> None:
    """SIGKILL once so many chunks are in the store and others are on their way."""
    tier = found.secondary_tiers[0]
    while not (tier.counters()["stored"] >= least and tier._futures):
        time.sleep(0.0005)
    print(f"KILLED {json.dumps(tier.counters())} jobs {len(found._jobs)}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def watch_loads(found: Any) -> list[float]:
    """Seconds from the start of each load out of a tier until vLLM takes note of its end."""
    taken: list[float] = []
    if found is not None:
        note = found._metrics.on_job_finished

        def noted(job: Any, result: Any) -> None:
            if job.transfer_job.is_promotion:
                taken.append(round(time.monotonic() - job.transfer_job.submit_time, 5))
            note(job, result)

        found._metrics.on_job_finished = noted
    return taken


def drain(found: Any) -> float:
    """Seconds until every chunk is in the secondary tier."""
    began = time.monotonic()
    if found is not None:
        for tier in found.secondary_tiers:
            tier.drain_jobs()
        found._process_finished_jobs()
    return time.monotonic() - began


def main() -> None:
    plan = json.loads(sys.argv[1])
    from vllm import LLM, SamplingParams

    began = time.monotonic()
    engine = LLM(
        model=plan["model"],
        enforce_eager=True,
        max_model_len=2048,
        max_num_seqs=4,
        dtype="bfloat16",
        block_size=plan["block_size"],
        enable_prefix_caching=True,
        **offloading(plan),
    )
    started = time.monotonic() - began
    found = manager(engine)
    if plan.get("kill"):
        threading.Thread(target=kill_in_mid_store, args=[found, plan["kill"]], daemon=True).start()
    events: list[Any] = []
    if plan.get("knowledge"):
        events = watch_events(found)
        hint_requests(engine)
    first = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True)
    more = SamplingParams(temperature=0, max_tokens=plan["new_tokens"], ignore_eos=True, logprobs=2)
    # What every first request pays for is not the tier's.
    engine.generate([{"prompt_token_ids": [7] * 40}], more, use_tqdm=False)
    out: dict[str, list[Any]] = {"ttft_s": [], "cached": [], "tokens": [], "logprobs": []}
    loads = watch_loads(found)
    cpu = processor_seconds()
    for prompt in prompts_of(plan):
        at = time.monotonic()
        made = engine.generate([{"prompt_token_ids": prompt}], first, use_tqdm=False)[0]
        out["ttft_s"].append(round(time.monotonic() - at, 5))
        out["cached"].append(made.num_cached_tokens)
        made = engine.generate([{"prompt_token_ids": prompt}], more, use_tqdm=False)[0]
        said = made.outputs[0]
        out["tokens"].append(list(said.token_ids))
        steps = zip(said.token_ids, said.logprobs, strict=True)
        out["logprobs"].append([step[token].logprob for token, step in steps])
    drained = drain(found)
    result = {**out, "cpu_s": round(processor_seconds() - cpu, 3), "start_s": round(started, 2)}
    result["drain_s"] = round(drained, 4)
    result["load_s"] = loads
    if found is not None and hasattr(found.secondary_tiers[0], "counters"):
        result["counters"] = found.secondary_tiers[0].counters()
        store = found.secondary_tiers[0]._store
        result["tiers"] = store.runtime.stats()["tiers"] if store is not None else None
    if plan.get("knowledge"):
        result["knowledge"] = knowledge(found, events)
    print("RESULT " + json.dumps(result), flush=True)
    if found is not None:
        found.shutdown()


if __name__ == "__main__":
    main()

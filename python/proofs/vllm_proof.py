"""Proof that cubby's tier works in the real vLLM, on the CPU:
`python vllm_proof.py FOLDER [--quick] [--resume] [PART …]`.

Starts engines one after another, each a new process, and prints one JSON object of what was seen
and measured. With the names of parts those alone are run again, over what the run before left. Exit
status 0: all seen; 1: something was not; 77: vLLM is not installed.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import engine_proof
from engine_proof import Proof, disk_bytes, same

STORE_BYTES = 1 << 30
TURNS = 1
PLAN: dict[str, Any] = {
    "block_size": 32,
    "tier": None,
    "prompts": 6,
    "tokens": 768,
    "new_tokens": 16,
    "seed": 1,
}
QUICK = {"prompts": 2, "tokens": 256}
# As vLLM is by default; in one process the tier can be looked at.
TWO_PROCESSES = {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}


def cubby_tier(path: Path) -> dict[str, Any]:
    return {
        "type": "CubbyTier",
        "module_path": "cubby.integrations.vllm",
        "path": str(path),
        "store_bytes": STORE_BYTES,
        "host_bytes": 256 << 20,
        "keep": "restart",
    }


def fs_tier(path: Path) -> dict[str, Any]:
    return {"type": "fs", "root_dir": str(path)}


def chunk_count(plan: dict[str, Any]) -> int:
    """Chunks of all prompts."""
    return int(plan["prompts"] * (plan["tokens"] // plan["block_size"]))


def summary(result: dict[str, Any]) -> dict[str, Any]:
    times = sorted(result.get("ttft_s", []))
    if not times:
        return {}
    loads = result.get("load_s") or [0.0]
    return {
        "ttft_s_median": statistics.median(times),
        "ttft_s_least": times[0],
        "load_s_median": statistics.median(loads),
        "load_s_least": min(loads),
        "ttft_s": result["ttft_s"],
        "cached_tokens": result["cached"],
        "processor_s": result["cpu_s"],
        "engine_start_s": result["start_s"],
    }


def restarts(proof: Proof, model: Path) -> dict[str, Any]:
    """Stored, restarted as a new process, loaded; cubby's tier beside vLLM's own. Returns the run
    that found nothing, whose tokens all others have to say."""
    computed: dict[str, Any] = {}
    plan, tiers = proof.plan, {"cubby": cubby_tier, "fs": fs_tier}
    full = [plan["tokens"] - plan["block_size"], plan["tokens"]]
    for name, tier_of in tiers.items():
        if proof.quick and name == "fs":
            continue
        path = proof.folder / f"{name}-store"
        stored = proof.engine(f"{name}-store", model, tier=tier_of(path))
        disk = disk_bytes(path)
        again = proof.engine(f"{name}-restart", model, tier=tier_of(path))
        proof.measured[name] = {
            "store": summary(stored),
            "restart": summary(again),
            "drain_s": stored.get("drain_s"),
            "disk_bytes": disk,
        }
        proof.check(f"{name}: a first engine finds nothing", not any(stored.get("cached", [1])))
        proof.check(
            f"{name}: the first request after a restart loads the prompt from the store",
            all(n in range(full[0], full[1] + 1) for n in again.get("cached", [0])),
        )
        if name == "cubby":
            chunks = chunk_count(plan)
            counters = stored.get("counters", {})
            proof.measured[name]["stored_bytes"] = counters.get("used_bytes")
            proof.check("cubby: every chunk was stored", counters.get("stored", 0) >= chunks)
            loaded = again.get("counters", {}).get("loaded", 0)
            proof.check("cubby: every chunk was loaded", loaded >= chunks)
        computed = computed or stored
        proof.check(f"{name}: the same tokens and probabilities", same(again, stored))
        proof.check(f"{name}: as without anything loaded", same(again, computed))
    return computed


def turns(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Times are of a machine that may do other work: new processes once more, in turns."""
    for turn in range(1, 1 + TURNS):
        for name, tier_of in (("fs", fs_tier), ("cubby", cubby_tier)):
            tier = tier_of(proof.folder / f"{name}-store")
            again = proof.engine(f"{name}-turn-{turn}", model, tier=tier)
            proof.measured[name][f"restart, turn {turn}"] = summary(again)
            proof.check(f"{name}: the same in turn {turn}", same(again, computed))


def kills(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """SIGKILL in mid-store, restarted: the same tokens, with what had been stored."""
    path = proof.folder / "killed-store"
    least = max(1, chunk_count(proof.plan) // 6)
    killed = proof.engine("killed", model, tier=cubby_tier(path), kill=least)
    said = [line for line in proof.logs["killed"].splitlines() if line.startswith("KILLED")]
    proof.check("killed while chunks were being stored", killed["status"] == -9 and bool(said))
    again = proof.engine("killed-restart", model, tier=cubby_tier(path))
    proof.measured["killed"] = {
        "at": said[-1] if said else "",
        "cached_tokens_after_restart": again.get("cached"),
    }
    proof.check("killed: the same tokens and probabilities", same(again, computed))
    proof.check("killed: something of it was in the store", any(again.get("cached", [])))


def other_engines(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Engines of another model or layout on the same store find nothing, and harm nothing."""
    tier = cubby_tier(proof.folder / "cubby-store")
    few = {"tier": tier, "prompts": 2}
    found = {
        "another block size": proof.engine("other-block-size", model, block_size=64, **few),
        "another model": proof.engine("other-model", proof.models / "qwen3moe", **few),
        # The same name and shapes: what a folder's name cannot tell.
        "other weights in the same folder": proof.with_other_weights(
            model, lambda: proof.engine("other-weights", model, **few)
        ),
    }
    for name, result in found.items():
        counters = result.get("counters", {"hits": 1})
        hit = counters["hits"] > 0 or any(result.get("cached", [1]))
        proof.check(f"{name}: no hit", not hit)
    by_name = {k: v for k, v in tier.items() if k != "module_path"} | {"type": "cubby"}
    back = proof.engine("back", model, TWO_PROCESSES, tier=by_name)
    proof.check(
        "the first engine, in vLLM's own processes, hits after them", all(back.get("cached", [0]))
    )
    proof.check("and says the same", same(back, computed))


def held(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """A store that another process holds: vLLM says so and goes on without the tier."""
    path = proof.folder / "cubby-store"
    engine_proof.held(
        proof,
        path,
        lambda: proof.engine("held", model, tier=cubby_tier(path), prompts=1),
        "cubby tier is off",
        computed,
    )


def knowledge(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Cubby's policy in vLLM's host memory, KV events of the tier, and hints of requests."""
    tier = {**cubby_tier(proof.folder / "cubby-store"), "enable_kv_events": True}
    result = proof.engine("knowledge", model, tier=tier, knowledge=True)
    seen, counters = result.get("knowledge", {}), result.get("counters", {})
    proof.measured["knowledge"] = {**seen, "counters": counters}
    proof.check("knowledge: the same tokens and probabilities", same(result, computed))
    proof.check("knowledge: the policy is cubby's", seen.get("policy") == "CubbyPolicy")
    proof.check(
        "knowledge: every chunk is announced to routers, once",
        seen.get("announced", 0) >= chunk_count(proof.plan) and not seen["announced_twice"],
    )
    for where, counts in (("tier", counters), ("policy", seen.get("policy_hints", {}))):
        accepted, rejected = counts.get("hints_accepted", 0), counts.get("hints_rejected", 0)
        proof.check(f"knowledge: hints reach the {where}, with outcomes", accepted > 0 < rejected)


def first(proof: Proof, model: Path) -> dict[str, Any]:
    """An engine without a tier, and those that store and start anew."""
    plain = proof.engine("plain", model)
    proof.measured["no tier"] = summary(plain)
    proof.check("vLLM without a tier answers", bool(plain.get("tokens")))
    computed = restarts(proof, model)
    # vLLM lays its cache out otherwise with a connector: close calls may fall otherwise, too.
    pairs = zip(plain.get("tokens", []), computed.get("tokens", []), strict=False)
    proof.measured["no tier"]["answers_equal"] = sum(one == other for one, other in pairs)
    return computed


PARTS = {
    "turns": turns,
    "kills": kills,
    "knowledge": knowledge,
    "other_engines": other_engines,
    "held": held,
}


if __name__ == "__main__":
    folder = Path(sys.argv[1]).resolve() / "vllm-proof"
    sys.exit(engine_proof.main(Proof("vllm", folder, PLAN), first, PARTS, QUICK))

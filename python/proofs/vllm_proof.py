"""Proof that cubby's tier works in the real vLLM, on the CPU:
`python vllm_proof.py FOLDER [PART …]`.

Starts engines one after another, each a new process, and prints one JSON object of what was seen
and measured. With the names of parts those alone are run again, over what the run before left. Exit
status 0: all seen; 1: something was not; 77: vLLM is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tiny_models

HERE = Path(__file__).resolve().parent
STORE_BYTES = 1 << 30
TURNS = 1
PLAN = {"block_size": 32, "prompts": 6, "tokens": 768, "new_tokens": 16, "seed": 1}


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


def disk_bytes(path: Path) -> int:
    """Bytes that the files of a folder take on disk."""
    return sum(p.stat().st_blocks * 512 for p in path.rglob("*") if p.is_file())


@dataclass
class Proof:
    """Runs engines and keeps what was seen."""

    folder: Path
    checks: dict[str, bool] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    def engine(self, name: str, model: Path, processes: int = 1, **plan: Any) -> dict[str, Any]:
        """One engine from start to end; its RESULT, or {} where there was none."""
        whole = {**PLAN, "model": str(model), "tier": None, **plan}
        # One process, so that the tier can be looked at; two = as vLLM is by default.
        environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": str(processes - 1)}
        path = [str(HERE), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
        log = self.folder / f"{name}.log"
        print(f"vllm_proof: {name}", file=sys.stderr, flush=True)
        with log.open("w") as out:
            command = [sys.executable, str(HERE / "vllm_engine.py"), json.dumps(whole)]
            ended = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, env=environment, timeout=900
            )
        return {**self.result(name), "status": ended.returncode}

    def result(self, name: str) -> dict[str, Any]:
        """The RESULT of an engine that has ended."""
        text = self.logs[name] = (self.folder / f"{name}.log").read_text(errors="replace")
        found = [line for line in text.splitlines() if line.startswith("RESULT ")]
        return json.loads(found[-1][len("RESULT ") :]) if found else {}

    def check(self, what: str, holds: bool) -> None:
        self.checks[what] = bool(holds)
        print(f"vllm_proof: {'seen' if holds else 'NOT SEEN'}: {what}", file=sys.stderr, flush=True)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """The same tokens, and the same logarithms of their probabilities to the last bit."""
    return bool(one.get("tokens")) and all(one[k] == other.get(k) for k in ("tokens", "logprobs"))


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
    full = [PLAN["tokens"] - PLAN["block_size"], PLAN["tokens"]]
    for name, tier_of in (("cubby", cubby_tier), ("fs", fs_tier)):
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
            chunks = PLAN["prompts"] * (PLAN["tokens"] // PLAN["block_size"])
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
    killed = proof.engine("killed", model, tier=cubby_tier(path), kill=26)
    said = [line for line in proof.logs["killed"].splitlines() if line.startswith("KILLED")]
    proof.check("killed while chunks were being stored", killed["status"] == -9 and bool(said))
    again = proof.engine("killed-restart", model, tier=cubby_tier(path))
    proof.measured["killed"] = {
        "at": said[-1] if said else "",
        "cached_tokens_after_restart": again.get("cached"),
    }
    proof.check("killed: the same tokens and probabilities", same(again, computed))
    proof.check("killed: something of it was in the store", any(again.get("cached", [])))


def other_engines(proof: Proof, moved: Path, computed: dict[str, Any]) -> None:
    """Engines of another model or layout on the same store find nothing, and harm nothing."""
    models = proof.folder.parent / "models"
    tier = cubby_tier(proof.folder / "cubby-store")
    found = {}
    other_blocks = proof.engine("other-block-size", moved, tier=tier, block_size=64, prompts=2)
    found["another block size"] = other_blocks
    found["another model"] = proof.engine("other-model", models / "qwen3moe", tier=tier, prompts=2)
    # The same name and shapes, other weights: what a folder's name cannot tell.
    shutil.rmtree(moved)
    shutil.copytree(models / "other", moved)
    found["other weights in the same folder"] = proof.engine(
        "other-weights", moved, tier=tier, prompts=2
    )
    shutil.rmtree(moved)
    shutil.copytree(models / "llama", moved)
    for name, result in found.items():
        counters = result.get("counters", {"hits": 1})
        hit = counters["hits"] > 0 or any(result.get("cached", [1]))
        proof.check(f"{name}: no hit", not hit)
    by_name = {k: v for k, v in tier.items() if k != "module_path"} | {"type": "cubby"}
    back = proof.engine("back", moved, tier=by_name, processes=2)
    proof.check(
        "the first engine, in vLLM's own processes, hits after them", all(back.get("cached", [0]))
    )
    proof.check("and says the same", same(back, computed))


def held(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """A store that another process holds: vLLM says so and goes on without the tier."""
    from cubby.integrations._blocks import BlockStore

    path = proof.folder / "cubby-store"
    holder = BlockStore(path, STORE_BYTES, 64 << 20)
    try:
        result = proof.engine("held", model, tier=cubby_tier(path), prompts=1)
    finally:
        holder.close()
    proof.check("held store: a line in vLLM's log", "cubby tier is off" in proof.logs["held"])
    proof.check(
        "held store: vLLM goes on, the same tokens",
        result.get("tokens") == computed["tokens"][:1],
    )


PARTS = {"turns": turns, "kills": kills, "other_engines": other_engines, "held": held}


def begin(proof: Proof, model: Path, models: Path, parts: list[str]) -> dict[str, Any]:
    """A new folder and the first runs in it; or, for single parts, those of the run before."""
    report = proof.folder / "report.json"
    if parts:
        seen = json.loads(report.read_text())
        proof.checks, proof.measured = seen["checks"], seen["measured"]
        return proof.result("cubby-store")
    shutil.rmtree(proof.folder, ignore_errors=True)
    proof.folder.mkdir(parents=True)
    shutil.copytree(models / "llama", model)
    plain = proof.engine("plain", model)
    proof.measured["no tier"] = summary(plain)
    proof.check("vLLM without a tier answers", bool(plain.get("tokens")))
    computed = restarts(proof, model)
    # vLLM lays its cache out otherwise with a connector: close calls may fall otherwise, too.
    pairs = zip(plain.get("tokens", []), computed.get("tokens", []), strict=False)
    proof.measured["no tier"]["answers_equal"] = sum(one == other for one, other in pairs)
    return computed


def main() -> int:
    if importlib.util.find_spec("vllm") is None:
        print("vllm_proof: skipped: vLLM is not installed for this Python", file=sys.stderr)
        return 77
    import vllm

    folder = Path(sys.argv[1]).resolve()
    tiny_models.make(folder / "models")
    proof = Proof(folder / "vllm-proof")
    model = proof.folder / "model"
    computed = begin(proof, model, folder / "models", sys.argv[2:])
    for part in sys.argv[2:] or PARTS:
        if computed.get("tokens"):
            PARTS[part](proof, model, computed)
    passed = all(proof.checks.values()) and len(proof.checks) > 1
    report = {
        "engine": f"vLLM {vllm.__version__}",
        "passed": passed,
        "plan": PLAN,
        "checks": proof.checks,
        "measured": proof.measured,
    }
    (proof.folder / "report.json").write_text(json.dumps(report))
    print(json.dumps(report))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

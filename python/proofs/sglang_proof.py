"""Proof that cubby's storage works in the real SGLang, on the CPU:
`python sglang_proof.py FOLDER [--quick] [--resume] [PART …]`.

Starts engines one after another and prints one JSON object of what was seen and measured. With the
names of parts those alone are run again, over what the run before left. Exit status 0: all seen; 1:
something was not; 77: SGLang is not installed.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

import engine_proof
from engine_proof import HERE, Proof, disk_bytes, same

STORE_BYTES = 1 << 30
TURNS = 1
PLAN: dict[str, Any] = {
    "page_size": 32,
    "memory_layout": "layer_first",
    "backend": None,
    "extra": {},
    "prompts": 3,
    "tokens": 768,
    "new_tokens": 16,
    "seed": 1,
}
QUICK = {"prompts": 2, "tokens": 256}


def cubby_storage(path: Path, interface_v1: int = 1) -> dict[str, Any]:
    extra = {
        "backend_name": "cubby",
        "module_path": "cubby.integrations.sglang",
        "class_name": "CubbyStorage",
        "interface_v1": interface_v1,
        "prefetch_threshold": 32,
        "path": str(path),
        "store_bytes": STORE_BYTES,
        "host_bytes": 256 << 20,
    }
    return {"backend": "dynamic", "extra": extra}


def file_storage(path: Path) -> dict[str, Any]:
    return {
        "backend": "file",
        "extra": {"file_storage_path": str(path), "prefetch_threshold": 32},
    }


def all_from_storage(result: dict[str, Any]) -> bool:
    """Every page of every prompt; the last one is computed again where it is the prompt's end."""
    least = PLAN["tokens"] - PLAN["page_size"]
    return bool(result.get("storage")) and min(result["storage"]) >= least


def summary(result: dict[str, Any]) -> dict[str, Any]:
    times = result.get("ttft_s", [])
    if not times:
        return {}
    return {
        "ttft_s_median": statistics.median(times),
        "ttft_s": times,
        "tokens_from_storage": result["storage"],
        "processor_s": result.get("cpu_s"),
        "engine_start_s": result.get("start_s"),
    }


def restarts(proof: Proof, model: Path) -> dict[str, Any]:
    """Stored, flushed and loaded; a new process and loaded; beside SGLang's own file backend.
    Returns the run that found nothing, whose tokens all others have to say."""
    computed: dict[str, Any] = {}
    for name, storage_of in (("cubby", cubby_storage), ("file", file_storage)):
        if proof.quick and name == "file":
            continue
        path = proof.folder / f"{name}-store"
        stored = proof.engine(f"{name}-store", model, flush=True, **storage_of(path))
        again = proof.engine(f"{name}-restart", model, **storage_of(path))
        flushed = stored.get("after_flush", {})
        proof.measured[name] = {
            "store": summary(stored),
            "after_flush": summary(flushed),
            "restart": summary(again),
            "disk_bytes": disk_bytes(path),
        }
        computed = computed or stored
        proof.check(f"{name}: a first engine finds nothing", not any(stored.get("storage", [1])))
        proof.check(
            f"{name}: after a flush the prompts come from the store", all_from_storage(flushed)
        )
        proof.check(f"{name}: in a new process, too", all_from_storage(again))
        proof.check(
            f"{name}: the same tokens and probabilities after a flush", same(flushed, stored)
        )
        proof.check(f"{name}: and in a new process", same(again, stored))
        proof.check(f"{name}: as without anything loaded", same(again, computed))
    return computed


def forms(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Page-first host memory, and pages that SGLang copies itself, in the same store."""
    path = proof.folder / "cubby-store"
    runs = {
        "page-first": {"memory_layout": "page_first_direct", **cubby_storage(path)},
        "without interface_v1": cubby_storage(path, interface_v1=0),
    }
    for name, plan in runs.items():
        first = proof.engine(name.replace(" ", "-"), model, flush=True, prompts=2, **plan)
        flushed = first.get("after_flush", {})
        nothing = bool(first.get("tokens")) and not any(first["storage"])
        proof.measured[name] = {"after_flush": summary(flushed)}
        proof.check(f"{name}: nothing of another form is found", nothing)
        proof.check(f"{name}: storage hits after a flush", all_from_storage(flushed))
        proof.check(f"{name}: the same tokens", flushed.get("tokens") == computed["tokens"][:2])


def same_as_held(proof: Proof, model: Path, run: str, loaded: dict[str, Any]) -> bool:
    """A run that loaded a part of its prompts said, to the last bit, what an engine without storage
    says whose own cache holds the same part. One that computes a prompt as a whole may say
    otherwise: the last bits depend on how many tokens are computed at once."""
    found = loaded.get("storage", [])
    held = proof.engine(f"{run}-as-held", model, beginnings=found)
    return bool(found) and held.get("cached") == found and same(loaded, held)


def kills(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """SIGKILL while the pages of a prompt are written; restarted: the same tokens, and those pages
    that had been stored."""
    storage = cubby_storage(proof.folder / "killed-store")
    named = {"module_path": "sglang_killed", "class_name": "KilledStorage"}
    killing = {**storage, "extra": {**storage["extra"], **named}}
    killed = proof.engine("killed", model, **killing)
    said = [line for line in proof.logs["killed"].splitlines() if "KILLED with" in line]
    proof.check("killed while pages were being stored", killed["status"] == -9 and bool(said))
    again = proof.engine("killed-restart", model, **storage)
    proof.measured["killed"] = {
        "at": said[-1] if said else "",
        "tokens_from_storage_after_restart": again.get("storage"),
    }
    proof.check(
        "killed: the same tokens and probabilities", same_as_held(proof, model, "killed", again)
    )
    proof.check("killed: what had been stored is loaded", any(again.get("storage", [])))


def faults(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """SGLang's own injector of delays and failures around the storage."""
    chance = {
        "SGLANG_TEST_HICACHE_BACKEND_RANDOM_DELAY": "0.05",
        "SGLANG_TEST_HICACHE_BACKEND_RANDOM_FAILURE": "0.3",
    }
    storage = cubby_storage(proof.folder / "cubby-store")
    result = proof.engine("faults", model, chance, **storage)
    log = proof.logs["faults"]
    proof.measured["faults"] = {"tokens_from_storage": result.get("storage")}
    proof.check("SGLang's fault injector was around it", "injector enabled" in log)
    proof.check(
        "with faults: every prompt is answered", len(result.get("tokens", [])) == PLAN["prompts"]
    )
    proof.check("with faults: the same tokens", same_as_held(proof, model, "faults", result))


def other_engines(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Engines of another model or layout on the same store find nothing, and harm nothing."""
    storage = cubby_storage(proof.folder / "cubby-store")
    few = {"prompts": 2, **storage}
    found = {
        "another page size": proof.engine("other-page", model, page_size=64, **few),
        # The same name and shapes: what a folder's name cannot tell.
        "other weights in the same folder": proof.with_other_weights(
            model, lambda: proof.engine("other-weights", model, **few)
        ),
    }
    for name, result in found.items():
        proof.check(f"{name}: no hit", bool(result.get("tokens")) and not any(result["storage"]))
    back = proof.engine("back", model, **storage)
    proof.check("the first engine hits after them", all_from_storage(back))
    proof.check("and says the same", same(back, computed))


def held(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """A store that another process holds: SGLang says so and goes on without the storage."""
    path = proof.folder / "cubby-store"
    engine_proof.held(
        proof,
        next(path.glob("rank-*")),
        lambda: proof.engine("held", model, prompts=1, **cubby_storage(path)),
        "cubby storage is off",
        computed,
    )


def turns(proof: Proof, model: Path, computed: dict[str, Any]) -> None:
    """Times are of a machine that may do other work: new processes once more, in turns."""
    for turn in range(1, 1 + TURNS):
        for name, storage_of in (("file", file_storage), ("cubby", cubby_storage)):
            storage = storage_of(proof.folder / f"{name}-store")
            again = proof.engine(f"{name}-turn-{turn}", model, **storage)
            proof.measured[name][f"restart, turn {turn}"] = summary(again)
            proof.check(f"{name}: the same in turn {turn}", same(again, computed))


PARTS = {
    "turns": turns,
    "kills": kills,
    "faults": faults,
    "forms": forms,
    "other_engines": other_engines,
    "held": held,
}


def first(proof: Proof, model: Path) -> dict[str, Any]:
    """The engines that store and start anew."""
    computed = restarts(proof, model)
    proof.check("SGLang answers", bool(computed.get("tokens")))
    return computed


if __name__ == "__main__":
    made = Proof(
        "sglang",
        Path(sys.argv[1]).resolve() / "sglang-proof",
        PLAN,
        # Before all others: what stands in for SGLang's code for GPUs.
        [HERE / "sglang_cpu", HERE],
    )
    sys.exit(engine_proof.main(made, first, PARTS, QUICK))

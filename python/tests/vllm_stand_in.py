"""What the adapters for vLLM take from it, stood in for where it is not installed, and an engine's
memory with a tier over it."""

from __future__ import annotations

import array
import dataclasses
import enum
import importlib
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

ROW = 64 << 10
ROWS = 64


class _Locality(enum.Enum):
    LOCAL = "LOCAL"


@dataclasses.dataclass
class Job:
    job_id: int
    keys: list[bytes]
    chunk_ids: Any
    is_promotion: bool = False
    req_context: Any = None


class Context:
    """vLLM's context of a request."""

    def __init__(self, hints: Any = None, **positions: int) -> None:
        self.kv_hints = hints
        self._offload_key_positions = {name.encode(): end for name, end in positions.items()}
        self._state: dict[type, Any] = {}

    def set_state(self, value: Any) -> None:
        self._state[type(value)] = value

    def get_state(self, kind: type) -> Any:
        return self._state.get(kind)

    def get_offload_key_position(self, key: bytes) -> int | None:
        return self._offload_key_positions.get(key)


@dataclasses.dataclass
class Event:
    """Of a tier's chunks, for routers."""

    keys: list[bytes]
    medium: Any
    removed: bool
    ownership: str | None = None


class Chunk:
    """A chunk of vLLM's host memory; nobody may read it before it is ready."""

    def __init__(self, chunk_id: int = 0) -> None:
        self.ref_cnt, self.chunk_id = -1, chunk_id


class Policy:
    def __init__(self, cache_capacity: int) -> None:
        self.cache_capacity = cache_capacity


@dataclasses.dataclass
class _Result:
    job_id: int
    success: bool
    successful_keys: Any = None
    transfer_time: float | None = None
    transfer_bytes: int | None = None


class Tier:
    def __init__(self, offloading_spec: Any, primary_kv_view: Any, tier_type: str) -> None:
        self._offloading_spec, self._primary_kv_view = offloading_spec, primary_kv_view
        self.tier_type = tier_type


def _stand_in(**changes: Any) -> dict[str, types.ModuleType]:
    names = {
        "vllm": {"__version__": "0.0.stand-in"},
        "vllm.v1": {},
        "vllm.v1.kv_offload": {},
        "vllm.v1.kv_offload.tiering": {},
        "vllm.v1.kv_offload.cpu": {},
        "vllm.v1.kv_offload.cpu.policies": {},
        "vllm.v1.kv_offload.cpu.policies.base": {"CachePolicy": Policy, "ChunkStatus": Chunk},
        "vllm.v1.kv_offload.base": {
            "LookupResult": enum.Enum("LookupResult", "MISS HIT HIT_PENDING RETRY"),
            "Medium": enum.Enum("Medium", "CPU STORAGE"),
            "Locality": _Locality,
            "OffloadingEvent": Event,
            "RequestOffloadingContext": type("RequestOffloadingContext", (), {}),
        },
        "vllm.v1.kv_offload.tiering.base": {
            "JobResult": _Result,
            "SecondaryTierManager": Tier,
            "TransferJob": Job,
            **changes,
        },
    }
    made = {}
    for name, members in names.items():
        made[name] = types.ModuleType(name)
        for member, value in members.items():
            if value is not None:
                setattr(made[name], member, value)
    return made


def load(patch: pytest.MonkeyPatch, module: str = "vllm", **changes: Any) -> Any:
    """The adapter, over the stand-in with those changes."""
    for name, made in _stand_in(**changes).items():
        patch.setitem(sys.modules, name, made)
    patch.delitem(sys.modules, f"cubby.integrations.{module}", raising=False)
    return importlib.import_module(f"cubby.integrations.{module}")


def spec(**changes: Any) -> Any:
    """vLLM's normalised configuration, as far as the tier reads it."""
    whole = {"model": "a/model", "dtype": "bfloat16", "block": 16, "tp": 1, "replicas": 1}
    whole["events"] = False
    whole.update(changes)
    space = types.SimpleNamespace
    config = space(
        model=space(name=whole["model"], dtype=whole["dtype"]),
        cache=space(tokens_per_hash=whole["block"], blocks_per_chunk=1),
        groups=[space(tokens_per_block=whole["block"], layer_names=("a", "b"))],
        parallel=space(
            tp_size=whole["tp"],
            pp_size=1,
            pcp_size=1,
            dcp_size=1,
            data_parallel_size=whole["replicas"],
            data_parallel_index=0,
        ),
    )
    events = space(enable_kv_cache_events=whole["events"])
    return space(config=config, kv_events_config=events)


class Engine:
    """Host memory of rows, and a tier over it."""

    def __init__(self, adapter: Any, path: Path, of: Any = None, **options: Any) -> None:
        self.adapter = adapter
        self.memory = bytearray(ROW * ROWS)
        self.view = memoryview(self.memory).cast("B", (ROWS, ROW))
        whole = {"path": str(path), "store_bytes": 64 << 20, "host_bytes": 4 << 20, **options}
        self.tier = adapter.CubbyTier(of or spec(), self.view, "CubbyTier", **whole)
        self.jobs = 0

    def fill(self, row: int, seed: int) -> None:
        self.memory[row * ROW : (row + 1) * ROW] = seed.to_bytes(8, "little") * (ROW // 8)

    def row(self, row: int) -> int:
        """The seed that a row is full of; -1 where it is not full of one."""
        found = self.memory[row * ROW : (row + 1) * ROW]
        seed = found[:8]
        return int.from_bytes(seed, "little") if found == seed * (ROW // 8) else -1

    def run(self, store: bool, keys: list[bytes], rows: list[int], context: Any = None) -> Any:
        """One job from its start to its result."""
        self.jobs += 1
        job = Job(self.jobs, keys, array.array("i", rows), not store, context)
        (self.tier.submit_store if store else self.tier.submit_load)(job)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for result in self.tier.get_finished_jobs():
                assert result.job_id == self.jobs
                return result
            time.sleep(0.001)
        raise AssertionError("no result")

    def hit(self, key: bytes, context: Any = None) -> bool:
        return self.tier.lookup(key, context) is self.adapter.LookupResult.HIT

    def end(self) -> None:
        self.tier.shutdown()
        self.view.release()


def keys(count: int, first: int = 0) -> list[bytes]:
    return [b"k" * 32 + (first + i).to_bytes(4, "big") for i in range(count)]

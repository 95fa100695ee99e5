"""A plug-in of pytest for vLLM's own tests: cubby's policy stands where they say "lru", or cubby's
tier where they make vLLM's example of one. Used by vllm_own_tests.py."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import types
from collections.abc import Iterator
from typing import Any

KIND = os.environ["CUBBY_IN_PLACE"]
LEFT_OUT = set(os.environ["CUBBY_LEFT_OUT"].split())


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    """Leaves those out that look into the data of what was replaced."""
    config.hook.pytest_deselected(items=[i for i in items if i.originalname in LEFT_OUT])
    items[:] = [i for i in items if i.originalname not in LEFT_OUT]


def put_policy() -> None:
    """In the place of vLLM's LRU."""
    from vllm.v1.kv_offload.cpu.policies.factory import CachePolicyFactory

    from cubby.integrations.vllm_policy import CubbyPolicy

    named = type("Named", (CubbyPolicy,), {"policy": os.environ["CUBBY_POLICY"]})
    CachePolicyFactory._registry["lru"] = lambda: named


def _spec() -> Any:
    """vLLM's tests have a stand-in for the configuration, without numbers."""
    space = types.SimpleNamespace
    config = space(
        model=space(name="a/model", dtype="bfloat16"),
        cache=space(tokens_per_hash=16, blocks_per_chunk=1),
        groups=[space(tokens_per_block=16, layer_names=("a",))],
        parallel=space(tp_size=1, pp_size=1, pcp_size=1, dcp_size=1, data_parallel_size=1),
    )
    return space(config=config, kv_events_config=space(enable_kv_cache_events=False))


def put_tier() -> None:
    """In the place of vLLM's example, which does everything at once."""
    import vllm.v1.kv_offload.tiering.example.manager as example
    from vllm.v1.kv_offload.base import LookupResult, Medium

    from cubby.integrations.vllm import CubbyTier

    class Chunks:
        """What a test puts into the tier by hand."""

        def __init__(self, tier: Any) -> None:
            self._tier, self._keys = tier, set()

        def __setitem__(self, key: bytes, value: bool) -> None:
            self._tier._space.put(bytes(key), bytes(self._tier._row), keep="restart")
            self._keys.add(key)

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._keys)

    class InPlace(CubbyTier):
        medium = Medium.CPU  # as the example's: what a test says of its source has to stand

        def __init__(
            self, offloading_spec: Any, primary_kv_view: Any, tier_type: str, **more: Any
        ) -> None:
            folder = tempfile.mkdtemp(prefix="cubby-in-place-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            options = {"path": folder, "store_bytes": 1 << 20, "host_bytes": 1 << 20}
            super().__init__(_spec(), primary_kv_view, tier_type, **options)
            self.chunks, self._seen = Chunks(self), set()
            atexit.register(self.shutdown)

        @property
        def completed_jobs(self) -> Any:
            return self._done

        def submit_store(self, job_metadata: Any) -> None:
            super().submit_store(job_metadata)
            self._seen.update(job_metadata.keys)
            super().drain_jobs()

        def submit_load(self, job_metadata: Any) -> None:
            super().submit_load(job_metadata)
            super().drain_jobs()

        def get_num_chunks(self) -> int:
            known = self._seen | set(self.chunks)
            return sum(self.lookup(key, None) is LookupResult.HIT for key in known)

    example.ExampleSecondaryTierManager = InPlace


put_policy() if KIND == "policy" else put_tier()

"""vLLM: cubby's placement policy for the CPU tier of its KV offloading, without any store.

    --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
      "kv_connector_extra_config": {"cpu_bytes_to_use": 8589934592,
        "eviction_policy": "CubbyPolicy",
        "cache_policy_module_path": "cubby.integrations.vllm_policy"}}'

Versions seen: vLLM 0.32.0. See docs/engines.md.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import cubby
from cubby.integrations import _vllm
from cubby.integrations._vllm_hints import read

if TYPE_CHECKING:
    from vllm.v1.kv_offload.base import ReqContext
    from vllm.v1.kv_offload.cpu.policies.base import CachePolicy, ChunkStatus
else:
    CachePolicy, ChunkStatus = _vllm.ENGINE.take(_vllm.POLICIES, "CachePolicy", "ChunkStatus")

# Numbers for blocks that are gone, a room: what is known of them decides when they come back.
_GONE_PER_CHUNK = 1


class _Chain:
    """The order of one request's blocks, as far as vLLM has named them."""

    def __init__(self) -> None:
        self.before: dict[bytes, tuple[bytes | None, int]] = {}
        self._last: dict[bytes, tuple[bytes, int, int]] = {}

    def follow(self, positions: dict[bytes, int]) -> None:
        """Takes up what was named since the last call: key → the token that it ends with."""
        for key, position in itertools.islice(positions.items(), len(self.before), None):
            group = key[-4:]
            parent, depth, reached = self._last.get(group, (None, -1, -1))
            if position <= reached:  # not in order: nothing is known of what comes before
                parent, depth = None, -1
            self.before[key] = (parent, depth + 1)
            self._last[group] = (key, depth + 1, position)


def _by_position(keys: Iterable[bytes], req_context: ReqContext) -> list[bytes]:
    """From the head of the request to its tail over all of its groups, where vLLM says it."""
    listed = list(keys)
    place = getattr(req_context, "get_offload_key_position", None)
    places = {key: place(key) for key in listed} if place is not None else {}
    if not places or None in places.values():
        return listed
    return sorted(listed, key=places.__getitem__)


class CubbyPolicy(CachePolicy):
    """Which chunks of vLLM's host memory make room. Another policy of the library is a subclass
    with another `policy`."""

    policy: ClassVar[str] = "kv"

    def __init__(self, cache_capacity: int) -> None:
        super().__init__(cache_capacity)
        self._log = _vllm.logger()
        self.hint_counts = dict.fromkeys(("hints_accepted", "hints_clipped", "hints_rejected"), 0)
        self._chunks: dict[bytes, ChunkStatus] = {}
        self._start()
        self._log.info(
            "cubby policy %r for %d chunks of host memory", self._policy.name, cache_capacity
        )

    def _start(self) -> None:
        count = max(1, self.cache_capacity) * (1 + _GONE_PER_CHUNK) + 1
        self._policy = cubby.Policy(
            self.policy,
            object_count=count,
            budget_bytes=max(1, self.cache_capacity),
            object_bytes=1,
        )
        self._free = list(range(count))
        self._numbers: dict[bytes, int] = {}
        self._keys: dict[int, bytes] = {}
        self._gone: dict[bytes, None] = {}  # have a number and are not resident, oldest first
        self._evictable: set[bytes] = set()
        self._places: dict[bytes, int] = {}  # of what was offered last
        self._new: list[bytes] = []  # inserted, and the policy does not know it yet
        self._requests = 0

    # Numbers

    def _number(self, key: bytes) -> int:
        number = self._numbers.get(key)
        if number is not None:
            return number
        if not self._free:
            self._forget(next(iter(self._gone)))
        number = self._numbers[key] = self._free.pop()
        self._keys[number] = key
        self._gone[key] = None
        return number

    def _forget(self, key: bytes) -> None:
        number = self._numbers.pop(key)
        del self._gone[key], self._keys[number]
        self._policy.forget(number)
        self._free.append(number)

    def _leave(self, key: bytes) -> ChunkStatus:
        """Of the cache; its number stays, as long as there are others."""
        self._take_new()
        chunk = self._chunks.pop(key)
        self._policy.removed(self._numbers[key])
        self._gone[key] = None
        self._evictable.discard(key)
        return chunk

    # Uses

    def _use(self, keys: Sequence[bytes], req_context: ReqContext | None) -> None:
        """One use of each. keys: from the head of a prefix to its tail, known ones alone."""
        self._take_new()
        before = self._order_of(req_context)
        now_ns, number = time.monotonic_ns(), self._requests
        self._requests += 1
        for key in self._in_order(keys):
            parent, depth = before.get(key, (None, 0))
            known = self._numbers.get(parent) if parent is not None else None
            self._policy.access(
                self._numbers[key], known, depth, key is keys[-1], number=number, now_ns=now_ns
            )

    def _in_order(self, keys: Sequence[bytes]) -> Iterable[bytes]:
        """As the policy takes them: most want the head of a prefix last, as the latest."""
        return keys if self._policy.head_first else reversed(keys)

    def _take_new(self) -> None:
        """Notifies the policy of what was inserted, in its order whatever vLLM's was."""
        new, self._new = sorted(self._new, key=lambda key: self._places.get(key, 0)), []
        for key in self._in_order(new):
            self._policy.inserted(self._numbers[key], 1)

    def _order_of(self, req_context: ReqContext | None) -> dict[bytes, tuple[bytes | None, int]]:
        # vLLM has a call for one key's place; the whole table says what comes before a key.
        positions = getattr(req_context, "_offload_key_positions", None)
        if not positions:
            return {}
        chain = req_context.get_state(_Chain)
        if chain is None:
            chain = _Chain()
            req_context.set_state(chain)
        chain.follow(positions)
        return chain.before

    def on_store_miss(self, keys: Iterable[bytes], req_context: ReqContext) -> None:
        """First uses, before the chunks are inserted."""
        named = _by_position(dict.fromkeys(keys), req_context)[: self.cache_capacity]
        for key in named:
            self._number(key)
        self._use([key for key in named if key in self._numbers], req_context)
        self._places = {key: place for place, key in enumerate(named)}

    def touch(self, keys: Iterable[bytes], req_context: ReqContext) -> None:
        """Uses of blocks that are or were here."""
        self._use([key for key in dict.fromkeys(keys) if key in self._numbers], req_context)

    def on_request_finished(
        self,
        key_groups: Sequence[Sequence[bytes]],
        insertion_only_keys: set[bytes],
        reused_keys: set[bytes],
        req_context: ReqContext,
    ) -> None:
        """Uses of what was found here; what was inserted was used when it came."""
        keys = _by_position([key for group in key_groups for key in group], req_context)
        self._use([key for key in keys if key in reused_keys and key in self._chunks], req_context)
        envelope = getattr(req_context, "kv_hints", None)
        if envelope is not None:
            self._take_hints(envelope, keys, req_context)

    def _take_hints(self, envelope: Any, keys: list[bytes], req_context: ReqContext) -> None:
        now_ns = time.monotonic_ns()
        for hint in read(envelope, self._log, self.hint_counts):
            objects = [
                self._numbers[key]
                for key in keys
                if key in self._numbers and hint.names(req_context.get_offload_key_position(key))
            ]
            self._policy.hint(
                hint.kind, objects, priority=hint.priority, ttl_ns=hint.ttl_ns, now_ns=now_ns
            )

    # What is there

    def get(self, key: bytes) -> ChunkStatus | None:
        """The chunk, where it is in the cache."""
        return self._chunks.get(key)

    def insert(self, key: bytes, chunk: ChunkStatus, req_context: Any = None) -> None:
        """A chunk that was just allocated. Newer versions pass the request, too."""
        self._number(key)
        self._gone.pop(key, None)
        self._chunks[key] = chunk
        self._new.append(key)
        if chunk.ref_cnt == 0:
            self._evictable.add(key)

    def remove(self, key: bytes) -> None:
        """A chunk whose store failed."""
        self._leave(key)

    def evict(self, n: int, protected: set[bytes]) -> list[tuple[bytes, ChunkStatus]] | None:
        """Exactly n chunks that nobody uses, or None and nothing has changed."""
        if n > len(self._evictable) - len(self._evictable & protected):
            return None
        self._take_new()
        gone = []
        for _ in range(n):
            key = self._victim(protected)
            gone.append((key, self._leave(key)))
        return gone

    def _victim(self, protected: set[bytes]) -> bytes:
        self._policy.begin_victims(1, now_ns=time.monotonic_ns())
        while (number := self._policy.next_victim()) is not None:
            key = self._keys[number]
            if key in self._evictable and key not in protected:
                return key
        # A policy names all residents; one that does not is no reason to fail.
        return next(key for key in self._evictable if key not in protected)

    def clear(self) -> None:
        """Everything, and all that was learned."""
        self._chunks.clear()
        self._start()

    def mark_evictable(self, key: bytes) -> None:
        """Nobody uses the chunk any more."""
        self._evictable.add(key)

    def mark_non_evictable(self, key: bytes) -> None:
        """Somebody does."""
        self._evictable.discard(key)


_vllm.ENGINE.refuse_abstract(CubbyPolicy, "policies have")

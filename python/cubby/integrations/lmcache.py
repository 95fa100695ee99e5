"""LMCache: a connector for its `native_plugin` L2 adapter, over a cubby store.

    lmcache server ... --l2-adapter '{"type": "native_plugin",
        "module_path": "cubby.integrations.lmcache", "class_name": "CubbyConnector",
        "adapter_params": {"path": "/var/cache/kv", "store_bytes": 107374182400}}'

LMCache holds a lock while it submits, so batches are handed to threads of the connector's; LMCache
sleeps on event_fd() until one is done. Waiting for the disk, those threads help with its digests.
Versions seen: LMCache 0.5.6. See docs/engines.md.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cubby
from cubby import Status
from cubby.integrations._blocks import USABLE, BlockStore
from cubby.integrations._options import options_by_name
from cubby.integrations._sizes import SizedSpaces

Completion = tuple[int, bool, str, list[bool] | None]

# As many as LMCache's own file adapter has. They wait for the disk, too: more than there are
# processors.
_THREADS = 4
_PIECE_BYTES_MIN = 1 << 20  # less is not worth a thread of its own


def _logger() -> logging.Logger:
    try:
        from lmcache.logging import init_logger
    except ImportError:
        return logging.getLogger("cubby.integrations.lmcache")
    return init_logger("cubby.integrations.lmcache")


def key_of(name: str) -> bytes:
    """LMCache's names are of any length: 32 bytes that no two names share."""
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


@dataclass
class _Batch:
    """A submitted batch: what is known of its keys, and how many pieces of it are under way."""

    number: int
    store: bool
    good: list[bool]
    open: int = 0
    error: str = ""


@dataclass
class _Piece:
    """The keys of a batch that one thread moves; all of one size."""

    batch: _Batch
    places: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    memory: list[Any] = field(default_factory=list)
    bytes: int = 0


class CubbyConnector:
    """LMCache's storage connector. Batches are answered by drain_completions()."""

    @options_by_name
    def __init__(
        self,
        path: str,
        store_bytes: int | str,
        host_bytes: int | str = 1 << 28,
        keep: str = "restart",
        verify: bool = True,
        workers: int | None = None,
        identity: str = "",
    ) -> None:
        """path: folder of the store, made where it is missing; it belongs to one process.
        store_bytes: bytes of disk, taken at once and never exceeded. host_bytes: host memory for
        chunks on their way and the latest ones, at least four of the largest. keep: 'restart';
        'durable' to outlive power cuts too; 'cache' for this process alone. verify: hold what is
        read against its digests. workers: threads that do so beside the runtime's own; None = as
        many as are worth it. identity: nothing is found by a connector with another one.
        """
        self._log = _logger()
        self._store = BlockStore(
            path, store_bytes, host_bytes, keep=keep, verify=verify, workers=workers
        )
        try:
            self._spaces = SizedSpaces(self._store, f"lmcache {identity}")
        except BaseException:
            self._store.close()
            raise
        self._piece_bytes_max = max(self._store.host_bytes // (2 * _THREADS), 1)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._movers = concurrent.futures.ThreadPoolExecutor(_THREADS, "cubby-move")
        self._pid = os.getpid()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._done: list[Completion] = []
        self._closed = False
        self._log.info("cubby store at %s", self._store.describe())

    def event_fd(self) -> int:
        """Readable while drain_completions() has something; never read by the caller."""
        return self._event

    def submit_batch_set(self, keys: Sequence[str], buffers: Sequence[memoryview]) -> int:
        """Stores; complete once every block is in the store."""
        return self._submit(keys, buffers, store=True)

    def submit_batch_get(self, keys: Sequence[str], buffers: Sequence[memoryview]) -> int:
        """Loads; buffers of keys that are not there stay as they were."""
        return self._submit(keys, buffers, store=False)

    def submit_batch_exists(self, keys: Sequence[str]) -> int:
        """Which keys could be loaded now."""
        self._check_open()
        hashed = [key_of(name) for name in keys]
        found = [False] * len(hashed)
        for space in self._spaces.all():
            for place, state in enumerate(space.states(hashed)):
                found[place] = found[place] or state in USABLE
        return self._answer(found)

    def submit_batch_delete(self, keys: Sequence[str]) -> int:
        """Forgets keys, in memory and on disk; True where it is gone."""
        self._check_open()
        return self._answer([self._delete(key_of(name)) for name in keys])

    def drain_completions(self) -> list[Completion]:
        """What was completed since the last call."""
        with self._lock:
            if self._closed:
                return []
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._event)
            done, self._done = self._done, []
            return done

    def close(self) -> None:
        """Waits for what is being moved and ends the runtime. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._movers.shutdown(wait=True)
        try:
            self._store.close()
        finally:
            os.close(self._event)

    def stats(self) -> dict[str, Any]:
        """Counters of the runtime, as cubby.Runtime.stats()."""
        return self._store.runtime.stats()

    def _submit(self, keys: Sequence[str], buffers: Sequence[memoryview], store: bool) -> int:
        if len(keys) != len(buffers):
            raise ValueError("as many buffers as keys")
        self._check_open()
        batch = _Batch(next(self._numbers), store, [False] * len(keys))
        pieces = self._cut(batch, keys, buffers)
        batch.open = len(pieces)
        for piece in pieces:
            self._movers.submit(self._move, piece)
        if not pieces:
            self._end(batch)
        return batch.number

    def _check_open(self) -> None:
        if os.getpid() != self._pid:
            raise cubby.ForkedError("the connector belongs to the process before fork()")
        if self._closed:
            raise cubby.ShutdownError("the connector is closed; make another one")

    def _cut(self, batch: _Batch, keys: Sequence[str], buffers: Sequence[Any]) -> list[_Piece]:
        """A piece for every thread, of blocks of one size each, and none larger than what leaves
        room in memory for the others."""
        share = -(-sum(buffer.nbytes for buffer in buffers) // _THREADS)
        limit = min(max(share, _PIECE_BYTES_MIN), self._piece_bytes_max)
        pieces: list[_Piece] = []
        current: dict[int, _Piece] = {}
        for place, (name, buffer) in enumerate(zip(keys, buffers, strict=True)):
            size = buffer.nbytes
            piece = current.get(size)
            if piece is None or piece.bytes + size > limit:
                piece = current[size] = _Piece(batch)
                pieces.append(piece)
            piece.places.append(place)
            piece.keys.append(key_of(name))
            piece.memory.append(buffer)
            piece.bytes += size
        return pieces

    def _move(self, piece: _Piece) -> None:
        """One piece from its start to its end; a batch is answered whatever happens to it."""
        good, error = [False] * len(piece.keys), ""
        try:
            good = self._put(piece) if piece.batch.store else self._get(piece)
        except Exception as why:
            statuses = getattr(why, "item_status", None) or []
            if len(statuses) == len(good):
                good = [status == Status.OK for status in statuses]
            error = str(why)
            what = "storing" if piece.batch.store else "loading"
            self._log.warning("%s %d blocks: %s", what, len(piece.keys), why)
        piece.memory.clear()
        batch = piece.batch
        with self._lock:
            for place, done in zip(piece.places, good, strict=True):
                batch.good[place] = done
            batch.error = batch.error or error
            batch.open -= 1
            over = batch.open == 0
        if over:
            self._end(batch)

    def _put(self, piece: _Piece) -> list[bool]:
        space = self._spaces.of(piece.memory[0].nbytes)
        self._store.put(space, piece.keys, piece.memory)
        return [True] * len(piece.keys)

    def _get(self, piece: _Piece) -> list[bool]:
        space = self._spaces.find(piece.memory[0].nbytes)
        if space is None:
            return [False] * len(piece.keys)
        return list(space.get(piece.keys, piece.memory))

    def _end(self, batch: _Batch) -> None:
        good = all(batch.good) if batch.store else True
        self._report((batch.number, good, "" if good else batch.error, batch.good))

    def _report(self, completion: Completion) -> None:
        with self._lock:
            if not self._closed:
                self._done.append(completion)
                os.eventfd_write(self._event, 1)

    def _answer(self, found: list[bool]) -> int:
        number = next(self._numbers)
        self._report((number, True, "", found))
        return number

    def _delete(self, key: bytes) -> bool:
        try:
            for space in self._spaces.all():
                if space.states(key)[0] != cubby.State.MISS:
                    space.drop(key)
        except cubby.CubbyError as error:
            self._log.warning("deleting a block: %s", error)
            return False
        return True

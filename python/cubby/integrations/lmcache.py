"""LMCache: a connector for its `native_plugin` L2 adapter, over a cubby store.

    lmcache server ... --l2-adapter '{"type": "native_plugin",
        "module_path": "cubby.integrations.lmcache", "class_name": "CubbyConnector",
        "adapter_params": {"path": "/var/cache/kv", "store_bytes": 107374182400}}'

No thread of its own: the runtime's moves the bytes, and LMCache sleeps on event_fd().
Versions seen: LMCache 0.5.6. See docs/engines.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
import select
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cubby
from cubby import Status
from cubby.integrations._blocks import USABLE, BlockStore
from cubby.integrations._sizes import SizedSpaces

Completion = tuple[int, bool, str, list[bool] | None]


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
    """A submitted batch: what is known of its keys, and how many requests are open."""

    number: int
    store: bool
    good: list[bool]
    open: int = 0
    error: str = ""


@dataclass
class _Piece:
    """The keys of a batch that go in one request."""

    batch: _Batch
    places: list[int]
    keys: list[bytes]
    memory: list[Any]
    ticket: cubby.Ticket | None = field(default=None)


class CubbyConnector:
    """LMCache's storage connector. Batches are answered by drain_completions()."""

    def __init__(
        self,
        path: str,
        store_bytes: int,
        host_bytes: int = 1 << 28,
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
            self._queue = self._store.runtime.queue(4096)
        except BaseException:
            self._store.close()
            raise
        self._piece_bytes = max(host_bytes // 4, 1)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.epoll()
        self._poll.register(self._event, select.EPOLLIN)
        self._poll.register(self._queue.fileno(), select.EPOLLIN)
        self._numbers = itertools.count(1)
        self._users = itertools.count(1)
        self._lock = threading.RLock()
        self._pieces: dict[int, _Piece] = {}
        self._waiting: list[_Piece] = []
        self._done: list[Completion] = []
        self._closed = False
        self._log.info("cubby store at %s", self._store.describe())

    def event_fd(self) -> int:
        """Readable while drain_completions() has something; never read by the caller."""
        return self._poll.fileno()

    def submit_batch_set(self, keys: Sequence[str], buffers: Sequence[memoryview]) -> int:
        """Stores; complete once every block is in the store."""
        return self._submit(keys, buffers, store=True)

    def submit_batch_get(self, keys: Sequence[str], buffers: Sequence[memoryview]) -> int:
        """Loads; buffers of keys that are not there stay as they were."""
        return self._submit(keys, buffers, store=False)

    def submit_batch_exists(self, keys: Sequence[str]) -> int:
        """Which keys could be loaded now."""
        hashed = [key_of(name) for name in keys]
        found = [False] * len(hashed)
        for space in self._spaces.all():
            for place, state in enumerate(space.states(hashed)):
                found[place] = found[place] or state in USABLE
        return self._answer(found)

    def submit_batch_delete(self, keys: Sequence[str]) -> int:
        """Forgets keys, in memory and on disk; True where it is gone."""
        return self._answer([self._delete(key_of(name)) for name in keys])

    def drain_completions(self) -> list[Completion]:
        """What was completed since the last call."""
        with self._lock:
            if self._closed:
                return []
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._event)
            while batch := self._queue.take(256):
                for done in batch:
                    piece = self._pieces.pop(done.user, None)
                    if piece is not None:
                        self._finish(piece)
            self._retry()
            done, self._done = self._done, []
            return done

    def close(self) -> None:
        """Waits for what is being stored and ends the runtime. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.clear()
        try:
            self._store.close()
        finally:
            self._poll.close()
            self._queue.close()
            os.close(self._event)

    def stats(self) -> dict[str, Any]:
        """Counters of the runtime, as cubby.Runtime.stats()."""
        return self._store.runtime.stats()

    def _submit(self, keys: Sequence[str], buffers: Sequence[memoryview], store: bool) -> int:
        if len(keys) != len(buffers):
            raise ValueError("as many buffers as keys")
        with self._lock:
            batch = _Batch(next(self._numbers), store, [False] * len(keys))
            pieces = self._cut(batch, keys, buffers)
            batch.open = len(pieces)
            for piece in pieces:
                self._start(piece)
            if not pieces:
                self._end(batch)
            return batch.number

    def _cut(self, batch: _Batch, keys: Sequence[str], buffers: Sequence[Any]) -> list[_Piece]:
        """Requests of one size each and, for stores, of what the memory takes at a time."""
        pieces: list[_Piece] = []
        current: dict[int, tuple[_Piece, int]] = {}
        for place, (name, buffer) in enumerate(zip(keys, buffers, strict=True)):
            size = buffer.nbytes
            piece, used = current.get(size, (None, 0))
            if piece is None or (batch.store and used + size > self._piece_bytes):
                piece, used = _Piece(batch, [], [], []), 0
                pieces.append(piece)
            piece.places.append(place)
            piece.keys.append(key_of(name))
            piece.memory.append(buffer)
            current[size] = (piece, used + size)
        return pieces

    def _start(self, piece: _Piece) -> None:
        """Hands one request over; what has no room waits while others are on their way."""
        user = next(self._users)
        size = piece.memory[0].nbytes
        try:
            if piece.batch.store:
                piece.ticket = self._spaces.of(size).submit_put(
                    piece.keys, piece.memory, keep=self._store.keep, queue=self._queue, user=user
                )
            else:
                space = self._spaces.find(size)
                if space is None:
                    self._end_piece(piece)
                    return
                piece.ticket = space.submit_get(
                    piece.keys, piece.memory, queue=self._queue, user=user
                )
        except cubby.CubbyError as error:
            self._fail(piece, error)
            return
        if piece.ticket.handle != 0:
            self._pieces[user] = piece
        elif piece.ticket.status == Status.BUSY and self._pieces:
            self._waiting.append(piece)
        else:
            self._finish(piece)

    def _retry(self) -> None:
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            self._start(piece)

    def _finish(self, piece: _Piece) -> None:
        """Takes the result of a request that is over."""
        ticket = piece.ticket
        assert ticket is not None
        if ticket.status == Status.OK:
            for place in piece.places:
                piece.batch.good[place] = True
        elif ticket.status != Status.MISS:
            for place, status in zip(piece.places, ticket.item_status, strict=True):
                piece.batch.good[place] = status == Status.OK
            try:
                ticket.wait(0)
            except cubby.CubbyError as error:
                self._fail(piece, error)
                return
        self._end_piece(piece)

    def _fail(self, piece: _Piece, error: cubby.CubbyError) -> None:
        what = "storing" if piece.batch.store else "loading"
        if not isinstance(error, cubby.MissError):
            piece.batch.error = str(error)
            self._log.warning("%s %d blocks: %s", what, len(piece.keys), error)
        self._end_piece(piece)

    def _end_piece(self, piece: _Piece) -> None:
        piece.memory.clear()
        piece.batch.open -= 1
        if piece.batch.open == 0:
            self._end(piece.batch)

    def _end(self, batch: _Batch) -> None:
        good = all(batch.good) if batch.store else True
        self._done.append((batch.number, good, "" if good else batch.error, batch.good))
        os.eventfd_write(self._event, 1)

    def _answer(self, found: list[bool]) -> int:
        with self._lock:
            number = next(self._numbers)
            self._done.append((number, True, "", found))
            os.eventfd_write(self._event, 1)
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

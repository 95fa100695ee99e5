"""vLLM: a secondary tier of its tiering KV offload, over a cubby store.

    --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
      "kv_connector_extra_config": {"spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": 8589934592,
        "secondary_tiers": [{"type": "CubbyTier", "module_path": "cubby.integrations.vllm",
                             "path": "/var/cache/kv", "store_gb": 100, "memory_gb": 2}]}}'

Versions seen: vLLM 0.32.0. See docs/engines.md.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import cubby
from cubby import State, Status

try:
    from vllm.logger import init_logger
    from vllm.v1.kv_offload.base import LookupResult, Medium, RequestOffloadingContext
    from vllm.v1.kv_offload.file_mapper import FileMapper
    from vllm.v1.kv_offload.tiering.base import JobResult, SecondaryTierManager
except ImportError as error:
    raise ImportError(
        "cubby.integrations.vllm needs vLLM's tiering KV offload "
        f"(vllm.v1.kv_offload.tiering; seen: 0.32.0): {error}"
    ) from error

logger = init_logger("vllm.cubby")
_USABLE = (State.FILE, State.HOST, State.DEVICE)
_FORGET_SECONDS = 30.0
_ROOM_SECONDS = 10.0


def fingerprint(offloading_spec: Any, row_bytes: int) -> bytes:
    """All that makes chunks of two engines interchangeable, as 32 bytes: what vLLM's own file tier
    puts into its folders' names, and the size of a chunk."""
    mapper = FileMapper.from_offloading_spec(
        root_dir="",
        offloading_spec=offloading_spec,
        blocks_per_file=offloading_spec.blocks_per_chunk,
    )
    fields = {**mapper.get_run_config(), "rank": mapper.rank, "chunk_bytes": row_bytes}
    return hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=32).digest()


@dataclass
class _Job:
    """A job of vLLM's, until it is reported."""

    number: int
    store: bool
    keys: list[bytes]
    memory: list[tuple[int, int]]
    began: float = field(default_factory=time.monotonic)
    open: int = 0
    good: list[bytes] = field(default_factory=list)


class CubbyTier(SecondaryTierManager):
    """KV chunks in memory and in a store on disk. One thread hands requests over, so that the
    scheduler never copies; what is complete is collected by get_finished_jobs()."""

    medium: ClassVar[Medium] = Medium.STORAGE

    def __init__(
        self,
        offloading_spec: Any,
        primary_kv_view: memoryview,
        tier_type: str,
        backpressure_detector: Any = None,
        path: str = "",
        store_gb: float = 10.0,
        memory_gb: float = 1.0,
        keep: str = "restart",
        verify: bool = True,
        workers: int | None = None,
        locality: str | None = None,
    ) -> None:
        """path, store_gb, memory_gb, keep, verify, workers: see docs/engines.md. Where the store
        cannot be opened the reason is logged, and the engine goes on without it."""
        known = inspect.signature(SecondaryTierManager.__init__).parameters
        extra = {"backpressure_detector": backpressure_detector}
        super().__init__(
            offloading_spec,
            primary_kv_view,
            tier_type,
            **{name: value for name, value in extra.items() if name in known},
        )
        if not path:
            raise ValueError("CubbyTier needs 'path', the folder of its store")
        if keep not in ("restart", "durable"):
            raise ValueError("keep is 'restart' or 'durable'")
        rows = np.asarray(primary_kv_view)
        self._base, self._row = rows.ctypes.data, rows.strides[0]
        self._keep = keep
        self._lock = threading.Condition()
        self._loads: deque[_Job] = deque()
        self._stores: deque[_Job] = deque()
        self._drops: deque[bytes] = deque()
        self._jobs: dict[int, _Job] = {}
        self._pieces: dict[int, tuple[_Job, list[bytes], cubby.Ticket | None]] = {}
        self._results: list[JobResult] = []
        self._bad: dict[bytes, float] = {}
        self._users = 0
        self._stopped = False
        self._runtime: cubby.Runtime | None = None
        self._counts = {"hits": 0, "misses": 0, "stored": 0, "loaded": 0, "failed": 0}
        try:
            self._open(Path(path), store_gb, memory_gb, verify, workers)
        except (cubby.CubbyError, OSError) as error:
            logger.error("cubby: the tier is not in use: %s", error)
            return
        self._thread = threading.Thread(target=self._work, name="cubby-tier", daemon=True)
        self._thread.start()

    def _open(
        self, folder: Path, store_gb: float, memory_gb: float, verify: bool, workers: int | None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        memory, store = int(memory_gb * (1 << 30)), int(store_gb * (1 << 30))
        runtime = cubby.Runtime(verify=verify, workers=workers)
        try:
            runtime.add_tier("host", "host:0", memory)
            runtime.add_tier("file", "nvme:0", store, rank=1, paths=[str(folder)])
            count = (memory + store) // self._row + 64
            bank = runtime.add_bank("kv", "kv", 1, count, self._row)
            self._space = runtime.add_space(bank, fingerprint(self._offloading_spec, self._row))
            self._queue = runtime.queue(4096)
        except BaseException:
            runtime.close()
            raise
        self._at_once = max(1, memory // 4 // self._row)
        self._runtime = runtime
        logger.info(
            "cubby: store at %s, %.1f GiB on disk, %.1f GiB of memory, chunks of %d bytes",
            folder, store_gb, memory_gb, self._row,
        )  # fmt: skip

    # ---- what vLLM's scheduler calls

    def lookup(self, key: Any, req_context: Any) -> LookupResult:
        """HIT, MISS, or RETRY while the chunk is on its way into the store."""
        if self._runtime is None or self._is_bad(key):
            return LookupResult.MISS
        state = self._space.states(bytes(key))[0]
        if state in _USABLE:
            self._counts["hits"] += 1
            return LookupResult.HIT
        self._counts["misses"] += 1
        return LookupResult.RETRY if state == State.PENDING else LookupResult.MISS

    def submit_store(self, job_metadata: Any) -> None:
        """Stores chunks of the primary tier; chunks that are there already move nothing."""
        self._submit(job_metadata, self._stores, store=True)

    def submit_load(self, job_metadata: Any) -> None:
        """Loads chunks into the primary tier."""
        self._submit(job_metadata, self._loads, store=False)

    def get_finished_jobs(self) -> Iterable[JobResult]:
        """Jobs that ended since the last call."""
        with self._lock:
            if self._runtime is not None:
                self._collect()
            results, self._results = self._results, []
        return results

    def has_pending_work(self) -> bool:
        """Whether a job has yet to be reported."""
        return bool(self._jobs or self._results)

    def on_new_request(self, req_context: Any) -> RequestOffloadingContext:
        """No preference."""
        return RequestOffloadingContext()

    def touch(self, keys: Collection[Any], req_context: Any) -> None:
        """Nothing: every load is noted by the store itself."""

    def drain_jobs(self) -> None:
        """Waits until no job touches the primary tier any more."""
        while True:
            with self._lock:
                if self._runtime is None:
                    return
                self._collect()
                if not self._jobs:
                    return
            self._queue.wait(0.01)

    def shutdown(self) -> None:
        """Waits for what is being stored and ends the runtime. May be called twice."""
        if self._runtime is None:
            return
        self.drain_jobs()
        with self._lock:
            self._stopped = True
            self._lock.notify_all()
        self._thread.join(30)
        runtime, self._runtime = self._runtime, None
        runtime.close()
        logger.info("cubby: closed; %s", self._counts)

    # ---- the rest

    def _submit(self, given: Any, to: deque[_Job], store: bool) -> None:
        chunks = getattr(given, "chunk_ids", None)
        if chunks is None:
            chunks = given.block_ids  # as older versions call it
        keys = [bytes(key) for key in given.keys]
        memory = [(self._base + int(chunk) * self._row, self._row) for chunk in chunks]
        with self._lock:
            job = _Job(given.job_id, store, keys, memory)
            if self._runtime is None or not keys:
                self._report(job)
                return
            self._jobs[job.number] = job
            to.append(job)
            self._lock.notify_all()

    def _is_bad(self, key: Any) -> bool:
        until = self._bad.get(bytes(key))
        return until is not None and until > time.monotonic()

    def _work(self) -> None:
        """The thread: hands requests over, loads first."""
        while True:
            with self._lock:
                while not (self._loads or self._stores or self._drops or self._stopped):
                    self._lock.wait()
                if self._stopped:
                    return
                drop = self._drops.popleft() if self._drops else None
                queue = self._loads or self._stores
                job = queue.popleft() if queue else None
            if drop is not None:
                self._drop(drop)
            if job is not None:
                self._hand_over(job)

    def _drop(self, key: bytes) -> None:
        """A chunk that cannot be read is given up, so that it is stored again."""
        try:
            self._space.drop(key)
        except cubby.CubbyError as error:
            logger.warning("cubby: giving up a chunk: %s", error)

    def _hand_over(self, job: _Job) -> None:
        step = self._at_once if job.store else len(job.keys)
        parts = range(0, len(job.keys), step)
        with self._lock:
            job.open = len(parts)
        for first in parts:
            keys = job.keys[first : first + step]
            self._start(job, keys, job.memory[first : first + step])

    def _start(self, job: _Job, keys: list[bytes], memory: list[tuple[int, int]]) -> None:
        with self._lock:
            self._users += 1
            user = self._users
            self._pieces[user] = (job, keys, None)
        ticket = None
        try:
            ticket = self._submit_piece(job, keys, memory, user)
        except cubby.CubbyError as error:
            logger.warning("cubby: %s", error)
        except Exception:
            logger.exception("cubby: a request was not handed over")
        with self._lock:
            if ticket is not None and ticket.handle != 0 and user in self._pieces:
                self._pieces[user] = (job, keys, ticket)
                return
            self._pieces.pop(user, None)
            self._finish(job, keys, ticket)

    def _submit_piece(
        self, job: _Job, keys: list[bytes], memory: list[tuple[int, int]], user: int
    ) -> cubby.Ticket:
        if not job.store:
            return self._space.submit_get(keys, memory, queue=self._queue, user=user)
        until = time.monotonic() + _ROOM_SECONDS
        while True:
            ticket = self._space.submit_put(
                keys, memory, keep=self._keep, queue=self._queue, user=user
            )
            if ticket.status != Status.BUSY or time.monotonic() > until:
                return ticket
            time.sleep(0.002)

    def _collect(self) -> None:
        """With the lock: takes completions."""
        for done in self._queue.take(256):
            piece = self._pieces.get(done.user)
            if piece is None:
                continue
            job, keys, ticket = piece
            if ticket is None:
                # Complete before submit returned: the thread will see it by its ticket.
                del self._pieces[done.user]
                continue
            del self._pieces[done.user]
            self._finish(job, keys, ticket)

    def _finish(self, job: _Job, keys: list[bytes], ticket: cubby.Ticket | None) -> None:
        """With the lock: a request of the job is over."""
        if ticket is not None:
            if ticket.status == Status.OK:
                job.good += keys
            elif ticket.status == Status.PARTIAL or len(keys) > 1:
                each = zip(keys, ticket.item_status, strict=True)
                job.good += [key for key, status in each if status == Status.OK]
            if ticket.status not in (Status.OK, Status.MISS):
                try:
                    ticket.wait(0)
                except cubby.CubbyError as error:
                    logger.warning("cubby: %s: %s", "store" if job.store else "load", error)
        job.open -= 1
        if job.open == 0:
            self._report(job)

    def _report(self, job: _Job) -> None:
        """With the lock: the job's result, for vLLM."""
        self._jobs.pop(job.number, None)
        success = len(job.good) == len(job.keys)
        self._counts["stored" if job.store else "loaded"] += len(job.good)
        self._counts["failed"] += len(job.keys) - len(job.good)
        made: dict[str, Any] = {"transfer_time": time.monotonic() - job.began}
        known = inspect.signature(JobResult).parameters
        if "transfer_bytes" in known:
            made["transfer_bytes"] = len(job.good) * self._row
        if not success and not job.store:
            self._note_bad(set(job.keys) - set(job.good))
            if "successful_keys" in known and job.good:
                made["successful_keys"] = tuple(job.good)
        self._results.append(JobResult(job_id=job.number, success=success, **made))

    def _note_bad(self, keys: set[bytes]) -> None:
        """Keys that could not be loaded are misses for a while, and are given up."""
        now = time.monotonic()
        if len(self._bad) > 10_000:
            self._bad = {key: until for key, until in self._bad.items() if until > now}
        for key in keys:
            self._bad[key] = now + _FORGET_SECONDS
            self._drops.append(key)
        self._lock.notify_all()


def register() -> None:
    """For the entry point vllm.general_plugins: the type "cubby", without a module_path."""
    from vllm.v1.kv_offload.tiering.factory import SecondaryTierFactory

    try:
        SecondaryTierFactory.register_tier("cubby", __name__, "CubbyTier")
    except ValueError:
        return  # it is registered already

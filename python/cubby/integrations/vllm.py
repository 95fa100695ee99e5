"""vLLM: a secondary tier of its KV offloading, over a cubby store that survives a restart.

    --kv-transfer-config '{"kv_connector": "OffloadingConnector", "kv_role": "kv_both",
      "kv_connector_extra_config": {"spec_name": "TieringOffloadingSpec",
        "cpu_bytes_to_use": 8589934592,
        "secondary_tiers": [{"type": "CubbyTier", "module_path": "cubby.integrations.vllm",
          "path": "/var/cache/kv", "store_bytes": 107374182400, "host_bytes": 1073741824}]}}'

Blocks move between vLLM's own host memory and the store, without a copy in Python. Whatever goes
wrong is a line in vLLM's log and a miss. Versions seen: vLLM 0.32.0. See docs/engines.md.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib
import inspect
import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import cubby
from cubby import Status
from cubby.integrations import _vllm
from cubby.integrations._blocks import (
    USABLE,
    BlockStore,
    Complaints,
    bytes_of,
    fingerprint,
    folder_of,
    model_identity,
)
from cubby.integrations._engine import take_if
from cubby.integrations._options import options_by_name
from cubby.integrations._vllm_events import KvEvents
from cubby.integrations._vllm_hints import Hint, RequestHints, read

_FAILED_MAX = 1 << 16


def _fields(of: type) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(of))


if TYPE_CHECKING:
    from vllm.v1.kv_offload.base import (
        LookupResult,
        Medium,
        OffloadingSpec,
        RequestOffloadingContext,
    )
    from vllm.v1.kv_offload.tiering.base import JobResult, SecondaryTierManager, TransferJob
else:
    LookupResult, Medium, RequestOffloadingContext = _vllm.ENGINE.take(
        _vllm.BASE, "LookupResult", "Medium", "RequestOffloadingContext"
    )
    JobResult, SecondaryTierManager, TransferJob = _vllm.ENGINE.take(
        _vllm.TIERING, "JobResult", "SecondaryTierManager", "TransferJob"
    )

_OffloadingEvent = take_if(_vllm.BASE, "OffloadingEvent")
_RESULT_FIELDS = _fields(JobResult)
_JOB_FIELDS = _fields(TransferJob)
# Tables of older versions call the chunks blocks.
_CHUNKS = next((name for name in ("chunk_ids", "block_ids") if name in _JOB_FIELDS), None)
if _CHUNKS is None or not {"job_id", "keys"} <= _JOB_FIELDS:
    raise _vllm.ENGINE.refuse(f"its TransferJob has the fields {', '.join(sorted(_JOB_FIELDS))}")


def _engine() -> list[str]:
    """What may change the order of bytes in a chunk: the minor version, the kind of device."""
    version = ".".join(_vllm.ENGINE.version().split(".")[:2])
    try:
        device = str(importlib.import_module("vllm.platforms").current_platform.device_type)
    except Exception:
        device = ""
    return [version, device]


def layout(spec: OffloadingSpec, block_bytes: int, identity: str = "") -> dict[str, Any]:
    """What makes two engines' blocks interchangeable: never the host or the length of contexts."""
    config = spec.config
    parallel = config.parallel
    one_copy = bool(getattr(config, "replicated_layout", False))
    shared = one_copy or bool(getattr(parallel, "is_parallelism_agnostic", False))
    world = [parallel.tp_size, parallel.pp_size, parallel.pcp_size, parallel.dcp_size]
    return {
        "vllm": _engine(),
        "model": config.model.name,
        "weights": model_identity(config.model.name),
        "identity": identity,
        "dtype": str(config.model.dtype),
        "tokens_per_hash": config.cache.tokens_per_hash,
        "blocks_per_chunk": config.cache.blocks_per_chunk,
        "groups": [[g.tokens_per_block, list(g.layer_names)] for g in config.groups],
        "world": [1] if shared else world,
        "block_bytes": block_bytes,
        "replicated": one_copy,
        "canonical": bool(getattr(config, "canonical_layout", False)),
        "kv_layout": getattr(config, "kv_cache_layout", None),
    }


@dataclasses.dataclass
class _Job:
    """A job of vLLM's: its keys, and the pieces of vLLM's memory that they are."""

    id: int
    keys: list[bytes]
    memory: list[Any]
    began: float
    bytes: int
    request: Any = None  # vLLM's context of it


class CubbyTier(SecondaryTierManager):
    """Chunks in a folder. Every call may come from any thread and none waits for the disk but
    drain_jobs() and shutdown()."""

    medium: ClassVar[Any] = Medium.STORAGE

    @options_by_name
    def __init__(
        self,
        offloading_spec: OffloadingSpec,
        primary_kv_view: memoryview,
        tier_type: str,
        backpressure_detector: Any = None,
        *,
        path: str,
        store_bytes: int | str,
        host_bytes: int | str = 1 << 28,
        keep: str = "restart",
        verify: bool = True,
        workers: int | None = None,
        identity: str = "",
        locality: str | None = None,
        enable_kv_events: bool = False,
    ) -> None:
        """path: folder of the store, made where it is missing; one engine's at a time. store_bytes:
        bytes of disk, taken at once and never exceeded. host_bytes: host memory for chunks on
        their way and the latest ones. Both are numbers, or text as "100GiB". keep: 'restart';
        'durable' to outlive power cuts too; 'cache' for this process alone. verify: hold what is
        read against its digests. workers: threads that do so beside the runtime's own; None = as
        many as are worth it. identity: anything else that tells models of one name apart, as a
        pinned revision. locality, enable_kv_events: as of vLLM's own tiers.
        """
        given = {"backpressure_detector": backpressure_detector}
        known = inspect.signature(SecondaryTierManager.__init__).parameters
        super().__init__(
            offloading_spec,
            primary_kv_view,
            tier_type,
            **{name: value for name, value in given.items() if name in known},
        )
        if locality is not None:
            self.locality = _vllm.ENGINE.take(_vllm.BASE, "Locality")[0](locality)
        self._log = _vllm.logger()
        self._complaints = Complaints(self._log)
        self._row = int(primary_kv_view.strides[0])
        self._lock = threading.RLock()
        self._done: deque[JobResult] = deque()
        self._loads: dict[int, tuple[_Job, cubby.Ticket]] = {}
        self._users = itertools.count(1)
        self._futures: set[concurrent.futures.Future[None]] = set()
        self._failed: dict[bytes, None] = {}
        counted = ("stored", "loaded", "hits", "lookups")
        hints = ("hints_accepted", "hints_clipped", "hints_rejected")
        self._counts = dict.fromkeys((*counted, *hints), 0)
        self._events = self._make_events() if enable_kv_events else None
        self._store: BlockStore | None = None
        self._pid = os.getpid()
        options = {"keep": keep, "verify": verify, "workers": workers}
        try:
            self._open(path, store_bytes, host_bytes, identity, options)
        except (cubby.CubbyError, OSError) as error:
            self._give_up(error)

    def _open(
        self,
        path: str,
        store_bytes: int | str,
        host_bytes: int | str,
        identity: str,
        options: dict[str, Any],
    ) -> None:
        spec = self._offloading_spec
        view = self._primary_kv_view
        folder = folder_of(path)
        parallel = spec.config.parallel
        if parallel.data_parallel_size > 1:
            # Each replica is an engine of its own, and a store is one process's.
            folder = folder / f"dp{parallel.data_parallel_index}"
        host = max(bytes_of("host_bytes", host_bytes), 16 * self._row)
        what = layout(spec, self._row, identity)
        store = BlockStore(folder, store_bytes, host, **options)
        try:
            self._space = store.add("vllm", self._row, fingerprint("vllm", what))
            self._region = store.runtime.add_region(view)
            self._queue = store.runtime.queue(1024)
        except BaseException:
            store.close()
            raise
        self._copiers = concurrent.futures.ThreadPoolExecutor(1, "cubby-load")
        self._storers = concurrent.futures.ThreadPoolExecutor(2, "cubby-store")
        self._store = store
        self._log.info(
            "cubby tier at %s; chunks of %d bytes, of %s", store.describe(), self._row, what
        )

    def _make_events(self) -> KvEvents | None:
        """Events for routers, where vLLM publishes any."""
        if _OffloadingEvent is None:
            raise _vllm.ENGINE.refuse(
                "it has no KV events of its tiers, which enable_kv_events asks for"
            )
        config = getattr(self._offloading_spec, "kv_events_config", None)
        if not getattr(config, "enable_kv_cache_events", False):
            self._log.warning("cubby tier: vLLM's KV events are off, so enable_kv_events is, too")
            return None
        fields = {"locality": getattr(self, "locality", None), "ownership": self.tier_type}
        fields["removal_expected"] = True
        known = _fields(_OffloadingEvent)
        more = {name: value for name, value in fields.items() if name in known}

        def make(keys: list[bytes], removed: bool) -> Any:
            return _OffloadingEvent(keys=keys, medium=self.medium, removed=removed, **more)

        return KvEvents(make, lambda keys: [s == cubby.State.MISS for s in self._states(keys)])

    def _states(self, keys: list[bytes]) -> bytes:
        """Where they are; without a store nowhere."""
        if not keys or self._store is None or self._forked():
            return bytes(len(keys))
        try:
            return self._space.states(keys)
        except cubby.CubbyError as error:
            self._complaints.warn("looking up chunks", error)
            return bytes(len(keys))

    def _give_up(self, error: BaseException) -> None:
        self._log.error(
            "cubby tier is off, vLLM goes on without it: %s (%s)", error, type(error).__name__
        )

    def _forked(self) -> bool:
        """The tier is its opener's; a child has neither its threads nor its runtime."""
        forked = os.getpid() != self._pid
        if forked:
            self._complaints.warn("a call", "the tier belongs to the process before fork()")
        return forked

    # Looking

    def lookup(self, key: bytes, req_context: Any) -> LookupResult:
        """HIT where the chunk could be loaded now."""
        if key in self._failed:
            return LookupResult.MISS
        self._counts["lookups"] += 1
        key = bytes(key)
        if self._states([key])[0] not in USABLE:
            return LookupResult.MISS
        self._counts["hits"] += 1
        if self._events is not None:
            self._events.stored([key])
        if (hints := self._hints_of(req_context)) is not None:
            hints.blocks[key] = req_context.get_offload_key_position(key)
        return LookupResult.HIT

    def take_events(self) -> Iterable[Any]:
        """Chunks stored, and those that are there no longer, since the last call."""
        return self._events.take() if self._events is not None else ()

    # Hints

    def on_new_request(self, req_context: Any) -> RequestOffloadingContext:
        """No wishes: chunks are stored as they come. Reads the request's hints."""
        envelope = getattr(req_context, "kv_hints", None)
        if envelope is not None and self._store is not None:
            hints = read(envelope, self._log, self._counts)
            if hints:
                req_context.set_state(RequestHints(hints))
        return RequestOffloadingContext()

    def on_request_finished(self, req_context: Any) -> None:
        """Passes its hints on, for what is stored; for the rest as it comes."""
        if (hints := self._hints_of(req_context)) is not None:
            with self._lock:
                hints.finished = True
                blocks, hints.blocks = hints.blocks, {}
            hints.apply(blocks.items(), self._tell)

    def _hints_of(self, req_context: Any) -> RequestHints | None:
        if getattr(req_context, "kv_hints", None) is None:
            return None
        found: RequestHints | None = req_context.get_state(RequestHints)
        return found

    def _hint_stored(self, job: _Job) -> None:
        hints = self._hints_of(job.request)
        if hints is None:
            return
        blocks = {key: job.request.get_offload_key_position(key) for key in job.keys}
        with self._lock:
            if not hints.finished:
                hints.blocks.update(blocks)
                return
        hints.apply(blocks.items(), self._tell)

    def _tell(self, hint: Hint, keys: list[bytes]) -> None:
        if self._store is None or self._forked():
            return
        try:
            self._space.hint(hint.kind, keys, priority=hint.priority, ttl_ns=hint.ttl_ns)
        except cubby.CubbyError as error:
            self._complaints.warn("a hint", error)

    # Moving

    def submit_store(self, job_metadata: TransferJob) -> None:
        """Hands a batch to a thread that copies it out of vLLM's memory."""
        self._hand_over(job_metadata, lambda job: self._later(self._storers, self._put, job))

    def submit_load(self, job_metadata: TransferJob) -> None:
        """Starts reading from disk into vLLM's memory; what is in memory, a thread copies."""
        self._hand_over(job_metadata, self._load)

    def _hand_over(self, given: TransferJob, start: Callable[[_Job], None]) -> None:
        if self._store is None or self._forked():
            self._report(given.job_id, False)
            return
        keys = [bytes(key) for key in given.keys]
        try:
            chunks = [int(chunk) for chunk in getattr(given, _CHUNKS)]
            if len(chunks) != len(keys):
                raise ValueError(f"{len(keys)} keys, but {len(chunks)} chunks")
            memory = [self._region.span(chunk * self._row, self._row) for chunk in chunks]
            size, request = len(keys) * self._row, getattr(given, "req_context", None)
            start(_Job(given.job_id, keys, memory, time.monotonic(), size, request))
        except Exception as error:
            self._complaints.warn("taking a job", error)
            self._report(given.job_id, False)

    def _load(self, job: _Job) -> None:
        states = self._space.states(job.keys)
        if any(state != cubby.State.FILE for state in states):
            self._later(self._copiers, self._get, job)
            return
        with self._lock:
            user = next(self._users)
            ticket = self._space.submit_get(job.keys, job.memory, queue=self._queue, user=user)
            if ticket.handle != 0:
                self._loads[user] = (job, ticket)
                return
        if ticket.status == Status.BUSY:
            self._later(self._copiers, self._get, job)
        else:
            self._end_load(job, ticket)

    def _later(
        self,
        pool: concurrent.futures.ThreadPoolExecutor,
        what: Callable[[_Job], None],
        job: _Job,
    ) -> None:
        future = pool.submit(self._guard, what, job)
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(self._forget_future)

    def _forget_future(self, future: concurrent.futures.Future[None]) -> None:
        with self._lock:
            self._futures.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            self._complaints.warn("a job", error)

    def _guard(self, what: Callable[[_Job], None], job: _Job) -> None:
        """A job is answered once, whatever happens to it."""
        try:
            what(job)
        except BaseException as error:
            self._report(job.id, False)
            if not isinstance(error, Exception):
                raise
            self._complaints.warn("a job", error)

    def _put(self, job: _Job) -> None:
        store = self._store
        good = True
        assert store is not None
        try:
            for piece in store.pieces(len(job.keys), self._row):
                store.put(self._space, job.keys[piece], job.memory[piece])
        except cubby.CubbyError as error:
            self._complaints.warn(f"storing {len(job.keys)} chunks", error)
            good = False
        if good:
            self._counts["stored"] += len(job.keys)
            with self._lock:
                for key in job.keys:
                    self._failed.pop(key, None)
            if self._events is not None:
                self._events.stored(job.keys)
            self._hint_stored(job)
        self._report(job.id, good, job)

    def _get(self, job: _Job) -> None:
        try:
            found = self._space.get(job.keys, job.memory)
            each = [Status.OK if one else Status.MISS for one in found]
        except cubby.CubbyError as error:
            each = error.item_status or [error.status] * len(job.keys)
            self._complaints.warn(f"loading {len(job.keys)} chunks", error)
        self._answer_load(job, each)

    def _end_load(self, job: _Job, ticket: cubby.Ticket) -> None:
        """Takes the result of a read that is over."""
        status = ticket.status
        each: Sequence[int] = [status] * len(job.keys)
        if status not in (Status.OK, Status.MISS):
            each = ticket.item_status
            try:
                ticket.wait(0)
            except cubby.CubbyError as error:
                self._complaints.warn(f"loading {len(job.keys)} chunks", error)
        self._answer_load(job, each)

    def _answer_load(self, job: _Job, each: Sequence[int]) -> None:
        good = [k for k, status in zip(job.keys, each, strict=True) if status == Status.OK]
        self._counts["loaded"] += len(good)
        if len(good) < len(job.keys):
            with self._lock:
                for key, status in zip(job.keys, each, strict=True):
                    if status != Status.OK:
                        self._fail(key)
        self._report(job.id, len(good) == len(job.keys), job, good)

    def _fail(self, key: bytes) -> None:
        """Not to be found again until it is stored anew, so that vLLM does not ask for ever."""
        while len(self._failed) >= _FAILED_MAX:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = None

    def _report(
        self, number: int, success: bool, job: _Job | None = None, good: list[bytes] | None = None
    ) -> None:
        fields: dict[str, Any] = {"job_id": number, "success": success}
        if job is not None:
            fields["transfer_time"] = time.monotonic() - job.began
            fields["transfer_bytes"] = job.bytes if good is None else len(good) * self._row
        if good is not None and not success:
            fields["successful_keys"] = good
        self._done.append(
            JobResult(**{name: value for name, value in fields.items() if name in _RESULT_FIELDS})
        )

    # Ending

    def get_finished_jobs(self) -> Iterable[JobResult]:
        """What is over since the last call."""
        with self._lock:
            self._reap()
            return [self._done.popleft() for _ in range(len(self._done))]

    def _reap(self) -> None:
        if self._store is None or self._forked():
            return
        try:
            while batch := self._queue.take(256):
                for completion in batch:
                    self._end_load(*self._loads.pop(completion.user))
        except cubby.CubbyError as error:
            self._complaints.warn("taking results", error)
            loads, self._loads = self._loads, {}
            for job, _ in loads.values():
                self._answer_load(job, [error.status] * len(job.keys))

    def drain_jobs(self) -> None:
        """Returns once nothing reads or writes vLLM's memory."""
        while not self._forked():
            with self._lock:
                futures = list(self._futures)
                self._reap()
                reading = bool(self._loads)
            if not futures and not reading:
                return
            concurrent.futures.wait(futures)
            if reading:
                self._queue.wait(0.05)

    def shutdown(self) -> None:
        """Stores what was begun and ends the runtime. May be called twice."""
        store = self._store
        if store is None or self._forked():
            return
        self._storers.shutdown(wait=True)
        self._copiers.shutdown(wait=True)
        self.drain_jobs()
        self._store = None
        try:
            if not store.runtime.closed:
                self._log.info("cubby tier ends: %s", self.counters(store))
            store.close()
            self._queue.close()
        except cubby.CubbyError as error:
            self._complaints.warn("ending", error)

    def counters(self, store: BlockStore | None = None) -> dict[str, int]:
        """Chunks stored, loaded and looked up, and bytes of chunks in the store."""
        store = store or self._store
        used = store.used_bytes() if store is not None else 0
        return {**self._counts, "used_bytes": used}


_vllm.ENGINE.refuse_abstract(CubbyTier, "tiers have")

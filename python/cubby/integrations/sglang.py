"""SGLang: storage of its hierarchical cache, over a cubby store that survives a restart.

    --enable-hierarchical-cache --hicache-storage-backend dynamic
    --hicache-storage-backend-extra-config '{"backend_name": "cubby", "interface_v1": 1,
      "module_path": "cubby.integrations.sglang", "class_name": "CubbyStorage",
      "path": "/var/cache/kv", "store_bytes": 107374182400, "host_bytes": 1073741824}'

Pages move between SGLang's own host memory and the store, without a copy in Python. Whatever goes
wrong is a line in SGLang's log and a miss. Versions seen: SGLang 0.5.23. See docs/engines.md.
"""

from __future__ import annotations

import array
import dataclasses
import importlib
import logging
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import cubby
from cubby import Status
from cubby.integrations._blocks import (
    USABLE,
    BlockStore,
    Complaints,
    digest,
    fingerprint,
    folder_of,
    model_identity,
)
from cubby.integrations._engine import Engine
from cubby.integrations._options import near, unknown_option

SEEN = "0.5.23"
_STORAGE = "sglang.srt.mem_cache.hicache_storage"
_KV = "kv"
_OPTIONS = ("keep", "verify", "workers")
_ALL_OPTIONS = ("path", "store_bytes", "host_bytes", "identity", *_OPTIONS)
# SGLang's own: some of them it takes out before.
_OF_SGLANG = (
    "backend_name",
    "module_path",
    "class_name",
    "interface_v1",
    "tp_lcm_size",
    "prefetch_threshold",
    "prefetch_timeout_base",
    "prefetch_timeout_per_ki_token",
    "hicache_storage_pass_prefix_keys",
)

_ENGINE = Engine(
    name="SGLang",
    package="sglang",
    adapter="cubby.integrations.sglang",
    seen=SEEN,
    needs="the storage interface of SGLang's hierarchical cache",
    remedy="take --hicache-storage-backend out",
)

if TYPE_CHECKING:
    from sglang.srt.mem_cache.hicache_storage import HiCacheStorage, HiCacheStorageConfig

    _module: Any
else:
    HiCacheStorage, _ = _ENGINE.take(_STORAGE, "HiCacheStorage", "HiCacheStorageConfig")
    _module = importlib.import_module(_STORAGE)

_log = logging.getLogger("sglang.srt.mem_cache.cubby")


def key_of(name: str) -> bytes:
    """SGLang's names are of any length: 32 bytes that no two names share."""
    return digest(name.encode())


def _first_page(size: int) -> Any:
    """Indices of the first page of a host pool, as SGLang gives them."""
    torch = sys.modules.get("torch")
    return torch.arange(size) if torch is not None else array.array("q", range(size))


def _model() -> dict[str, Any]:
    """What SGLang was started with, as far as it changes what a page holds."""
    try:
        args = importlib.import_module("sglang.srt.runtime_context").get_server_args()
        names = (
            "model_path",
            "revision",
            "quantization",
            "kv_cache_dtype",
            "dtype",
            "device",
            "attention_backend",
            "prefill_attention_backend",
            "decode_attention_backend",
        )
        found = {name: str(getattr(args, name, "")) for name in names}
    except Exception:
        return {}
    return {**found, "weights": model_identity(found["model_path"])}


def layout(config: HiCacheStorageConfig, identity: str) -> dict[str, Any]:
    """What makes two engines' pages interchangeable: never the host or the length of contexts."""
    skip = {"enable_storage_metrics", "extra_config"}
    fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return {
        "config": {name: value for name, value in fields.items() if name not in skip},
        # Its own version: what is in a page may change from one to the next.
        "sglang": _ENGINE.version(),
        "model": _model(),
        "identity": identity,
    }


@dataclasses.dataclass
class _Pool:
    """A host pool of SGLang's: where its pages are, and the space that they are stored in."""

    host: Any
    space: cubby.Space
    page_bytes: int
    region: cubby.Region | None
    first: int
    end: int

    def memory(self, indices: Any, count: int) -> list[list[Any]]:
        """The pieces of each page; of memory that cubby knows, where they lie in it."""
        addresses, sizes = self.host.get_page_buffer_meta(indices)
        each = len(addresses) // max(count, 1)
        if each * count != len(addresses) or each == 0:
            raise ValueError(f"{len(addresses)} pieces of memory for {count} pages")
        pieces = [self._piece(a, n) for a, n in zip(addresses, sizes, strict=True)]
        return [pieces[i * each : (i + 1) * each] for i in range(count)]

    def _piece(self, address: int, size: int) -> Any:
        if self.region is not None and self.first <= address and address + size <= self.end:
            return self.region.span(address - self.first, size)
        return (address, size)


def _check_names(extra: dict[str, Any]) -> None:
    """Refuses what is nearly an option of ours. What is like none may be an SGLang's that is newer
    than those we know: a line in the log."""
    for name in extra:
        if name in _ALL_OPTIONS or name in _OF_SGLANG:
            continue
        if near(name, _ALL_OPTIONS):
            raise ValueError(unknown_option(name, _ALL_OPTIONS))
        _log.warning("%s; it is left out", unknown_option(name, _ALL_OPTIONS))


class CubbyStorage(HiCacheStorage):
    """Pages in a folder, one below it for each rank. Every call may come from any thread; none
    raises, for that would end SGLang's thread."""

    def __init__(self, storage_config: HiCacheStorageConfig, kwargs: Any = None) -> None:
        """Options, in SGLang's extra configuration: path: folder of the store, made where it is
        missing. store_bytes: bytes of disk for each rank, taken at once and never exceeded.
        host_bytes: host memory for pages on their way and the latest ones (256 MiB). Both are
        numbers, or text as "100GiB". keep:
        'restart', or 'durable' to outlive power cuts too, or 'cache' for this process alone.
        verify: hold what is read against its digests. workers: threads that do so beside the
        runtime's own; None = as many as are worth it. identity: anything else that tells models
        of one name apart.
        """
        extra = dict(storage_config.extra_config or {})
        _check_names(extra)
        missing = [name for name in ("path", "store_bytes") if name not in extra]
        if missing:
            raise ValueError(f"cubby: the extra configuration lacks {', '.join(missing)}")
        self._config = storage_config
        self._extra = extra
        self._pieces = bool(extra.get("interface_v1", 0))
        self._complaints = Complaints(_log)
        self._lock = threading.RLock()
        self._pools: dict[str, _Pool] = {}
        self._flat: dict[int, cubby.Space] = {}
        self._anchor: Any = None
        self._counts = {"stored": 0, "loaded": 0}
        self._store: BlockStore | None = None
        self._folder = folder_of(extra["path"]) / self._rank()
        self._layout = layout(storage_config, str(extra.get("identity", "")))
        try:
            self._open()
        except (cubby.CubbyError, OSError) as error:
            _log.error("cubby storage is off, SGLang goes on without it: %s", error)

    def _rank(self) -> str:
        """A store is one process's: each rank has its own."""
        names = ("dp_rank", "pp_rank", "tp_rank", "attn_cp_rank", "dcp_rank")
        return "rank-" + "-".join(str(getattr(self._config, name, 0)) for name in names)

    def _open(self) -> None:
        options = {name: self._extra[name] for name in _OPTIONS if name in self._extra}
        store_bytes, host_bytes = self._extra["store_bytes"], self._extra.get("host_bytes", 1 << 28)
        self._store = BlockStore(self._folder, store_bytes, host_bytes, **options)
        _log.info("cubby storage at %s; pages of %s", self._store.describe(), self._layout)
        if self._config.is_mla_model and self._config.tp_size > 1:
            _log.warning(
                "cubby storage: of an MLA model one rank alone writes, and a store is one "
                "process's: with tp_size %d nothing will be found", self._config.tp_size,
            )  # fmt: skip

    # Pools

    def register_mem_pool_host(self, mem_pool_host: Any) -> None:
        """SGLang's main host pool."""
        super().register_mem_pool_host(mem_pool_host)
        self._anchor = mem_pool_host
        if self._pieces:
            self._register(_KV, mem_pool_host)

    def register_mem_host_pool_v2(self, host_pool: Any, host_pool_name: Any) -> None:
        """Another pool, of a hybrid model."""
        super().register_mem_host_pool_v2(host_pool, host_pool_name)
        self._register(str(host_pool_name), host_pool)

    def _register(self, name: str, host: Any) -> None:
        with self._lock:
            known = self._pools.get(name)
            if self._store is None or (known is not None and known.host is host):
                return
            try:
                self._pools[name] = self._pool(name, host)
            except (cubby.CubbyError, NotImplementedError, ValueError, AttributeError) as error:
                _log.error(
                    "cubby storage: the pool %s is left out, nothing of it will be found: %s. "
                    "--hicache-mem-layout page_first may help.", name, error,
                )  # fmt: skip

    def _pool(self, name: str, host: Any) -> _Pool:
        assert self._store is not None
        _, sizes = host.get_page_buffer_meta(_first_page(host.page_size))
        page_bytes = sum(sizes)
        fields = {
            "pool": name,
            "kind": type(host).__name__,
            "layout": str(host.layout),
            "dtype": str(getattr(host, "dtype", "")),
            "page_size": host.page_size,
            "pieces": list(sizes),
            "format": getattr(host, "storage_format_tag", None),
            "layers": [getattr(host, "start_layer", 0), getattr(host, "end_layer", 0)],
        }
        space = self._space(name, page_bytes, fields)
        region, first, end = None, 0, 0
        buffer = getattr(host, "kv_buffer", None)
        if hasattr(buffer, "data_ptr") and buffer.is_contiguous() and not buffer.is_cuda:
            first, end = buffer.data_ptr(), buffer.data_ptr() + buffer.nbytes
            region = self._store.runtime.add_region((first, buffer.nbytes))
        return _Pool(host, space, page_bytes, region, first, end)

    def _space(self, name: str, size: int, fields: dict[str, Any]) -> cubby.Space:
        assert self._store is not None
        whole = {**self._layout, **fields, "clear": self._clear_count()}
        return self._store.add(f"sglang {name} {size}", size, fingerprint("sglang", whole))

    # Pages in SGLang's host memory

    def batch_exists(self, keys: list[str], extra_info: Any = None) -> int:
        """How many keys from the first one on could be loaded now."""
        if not self._pieces:
            return self._count_flat(keys)
        there = self._there(_KV, keys)
        return there.index(False) if False in there else len(there)

    def exists(self, key: str) -> bool:
        """Whether the key could be loaded now."""
        return self.batch_exists([key]) == 1

    def batch_get_v1(
        self, keys: list[str], host_indices: Any, extra_info: Any = None
    ) -> list[bool]:
        """Loads pages into the host pool."""
        return self._get(_KV, keys, host_indices)

    def batch_set_v1(
        self, keys: list[str], host_indices: Any, extra_info: Any = None
    ) -> list[bool]:
        """Stores pages of the host pool; returns once the store has them."""
        return self._set(_KV, keys, host_indices)

    def batch_get_v2(
        self, transfers: Sequence[Any], extra_info: Any = None
    ) -> dict[str, list[bool]]:
        """Loads pages of several pools."""
        return {t.name: self._get(str(t.name), t.keys or [], t.host_indices) for t in transfers}

    def batch_set_v2(
        self, transfers: Sequence[Any], extra_info: Any = None
    ) -> dict[str, list[bool]]:
        """Stores pages of several pools."""
        return {t.name: self._set(str(t.name), t.keys or [], t.host_indices) for t in transfers}

    def batch_exists_v2(
        self, keys: list[str], pool_transfers: Sequence[Any] | None = None, extra_info: Any = None
    ) -> Any:
        """The longest prefix of keys that every pool can serve, by the pool's own rule."""
        count = self.batch_exists(keys, extra_info)
        hits: dict[str, int] = {_KV: count} if count else {}
        usable = set(range(1, count + 1))
        for transfer in pool_transfers or []:
            if not usable:
                break
            lengths = self._lengths(transfer, keys[:count])
            if lengths is None:
                continue
            if lengths:
                hits[transfer.name] = max(lengths)
            usable &= lengths
        result = _module.PoolTransferResult(max(usable, default=0), hits)
        if hasattr(result, "restorable_prefix_pages"):
            result.restorable_prefix_pages = sorted(usable)
        return result

    def _lengths(self, transfer: Any, keys: list[str]) -> set[int] | None:
        """Lengths of prefixes that one pool can serve; None: the pool has no say."""
        policy = str(getattr(transfer.hit_policy, "value", transfer.hit_policy))
        there = self._there(str(transfer.name), keys)
        if policy == "all_pages":
            return set(range(1, (there.index(False) if False in there else len(there)) + 1))
        if policy == "trailing_pages":
            last = max(1, len(transfer.keys or []))
            return {n for n in range(1, len(keys) + 1) if all(there[max(0, n - last) : n])}
        if policy == "block_groups":
            return None
        self._complaints.warn("a pool", f"its hit policy {policy} is not known")
        return set()

    def _there(self, name: str, keys: Sequence[str]) -> list[bool]:
        pool = self._pools.get(name)
        if pool is None or not keys:
            return [False] * len(keys)
        try:
            return [s in USABLE for s in pool.space.states([key_of(key) for key in keys])]
        except cubby.CubbyError as error:
            self._complaints.warn("looking up pages", error)
            return [False] * len(keys)

    def _get(self, name: str, keys: Sequence[str], indices: Any) -> list[bool]:
        pool = self._pools.get(name)
        if pool is None or not keys:
            return [False] * len(keys)
        try:
            memory = pool.memory(indices, len(keys))
            found = self._load(pool.space, [key_of(key) for key in keys], memory)
        except Exception as error:
            self._complaints.warn(f"loading {len(keys)} pages", error)
            return [False] * len(keys)
        self._counts["loaded"] += sum(found)
        return found

    def _load(self, space: cubby.Space, keys: list[bytes], memory: list[Any]) -> list[bool]:
        try:
            return list(space.get(keys, memory))
        except cubby.CubbyError as error:
            if not error.item_status:
                raise
            self._complaints.warn(f"loading {len(keys)} pages", error)
            return [status == Status.OK for status in error.item_status]

    def _set(self, name: str, keys: Sequence[str], indices: Any) -> list[bool]:
        pool = self._pools.get(name)
        if pool is None or not keys:
            return [False] * len(keys)
        try:
            memory = pool.memory(indices, len(keys))
        except Exception as error:
            self._complaints.warn(f"storing {len(keys)} pages", error)
            return [False] * len(keys)
        return self._keep(pool.space, [key_of(key) for key in keys], memory, pool.page_bytes)

    def _keep(
        self, space: cubby.Space, keys: list[bytes], memory: list[Any], size: int
    ) -> list[bool]:
        good = [False] * len(keys)
        store = self._store
        if store is None:
            return good
        try:
            for piece in store.pieces(len(keys), size):
                store.put(space, keys[piece], memory[piece])
                good[piece] = [True] * len(good[piece])
        except Exception as error:
            self._complaints.warn(f"storing {len(keys)} pages", error)
        self._counts["stored"] += sum(good)
        return good

    # Pages that SGLang has copied out of its pools: without interface_v1

    def batch_get(
        self, keys: list[str], target_locations: Any = None, target_sizes: Any = None
    ) -> list[Any]:
        """Loads pages into tensors; None where a page is not there."""
        out: list[Any] = [None] * len(keys)
        try:
            for space, places in self._by_size(target_locations or []):
                memory = [target_locations[i].view(-1) for i in places]
                found = self._load(space, [key_of(keys[i]) for i in places], memory)
                for i, there in zip(places, found, strict=True):
                    out[i] = target_locations[i] if there else None
                self._counts["loaded"] += sum(found)
        except Exception as error:
            self._complaints.warn(f"loading {len(keys)} pages", error)
        return out

    def get(self, key: str, target_location: Any = None, target_sizes: Any = None) -> Any:
        """Loads a page into a tensor."""
        return self.batch_get([key], [target_location])[0] if target_location is not None else None

    def batch_set(
        self,
        keys: list[str],
        values: Any = None,
        target_locations: Any = None,
        target_sizes: Any = None,
    ) -> bool:
        """Stores tensors."""
        good = 0
        try:
            for space, places in self._by_size(values or []):
                memory = [values[i].view(-1) for i in places]
                size = values[places[0]].nbytes
                good += sum(self._keep(space, [key_of(keys[i]) for i in places], memory, size))
        except Exception as error:
            self._complaints.warn(f"storing {len(keys)} pages", error)
        return good == len(keys)

    def set(
        self, key: str, value: Any = None, target_location: Any = None, target_sizes: Any = None
    ) -> bool:
        """Stores a tensor."""
        return value is not None and self.batch_set([key], [value])

    def _count_flat(self, keys: list[str]) -> int:
        try:
            space = self._flat_space(self._anchor.get_dummy_flat_data_page().nbytes)
            states = space.states([key_of(key) for key in keys]) if space and keys else b""
        except Exception as error:
            self._complaints.warn("looking up pages", error)
            return 0
        return next((i for i, s in enumerate(states) if s not in USABLE), len(states))

    def _by_size(self, tensors: Sequence[Any]) -> Iterator[tuple[cubby.Space, list[int]]]:
        sizes: dict[int, list[int]] = {}
        for place, tensor in enumerate(tensors):
            sizes.setdefault(tensor.nbytes, []).append(place)
        for size, places in sizes.items():
            space = self._flat_space(size)
            if space is not None:
                yield space, places

    def _flat_space(self, size: int) -> cubby.Space | None:
        with self._lock:
            if self._store is None:
                return None
            if size not in self._flat:
                host = self._anchor
                fields = {
                    "pool": "flat",
                    "kind": type(host).__name__,
                    "layout": str(getattr(host, "layout", "")),
                    "dtype": str(getattr(host, "dtype", "")),
                    "page_size": getattr(host, "page_size", 0),
                }
                self._flat[size] = self._space("flat", size, fields)
            return self._flat[size]

    # The rest

    def _clear_count(self) -> int:
        try:
            return int((self._folder / "cubby-cleared").read_text())
        except (OSError, ValueError):
            return 0

    def clear(self) -> bool:
        """Nothing that was stored is found again; the store gives its place to what comes."""
        with self._lock:
            if self._store is None:
                return False
            try:
                (self._folder / "cubby-cleared").write_text(str(self._clear_count() + 1))
                hosts = {name: pool.host for name, pool in self._pools.items()}
                for space in [p.space for p in self._pools.values()] + list(self._flat.values()):
                    space.remove()
                self._pools.clear()
                self._flat.clear()
                for name, host in hosts.items():
                    self._register(name, host)
            except (cubby.CubbyError, OSError) as error:
                self._complaints.warn("clearing", error)
                return False
        return True

    def counters(self) -> dict[str, int]:
        """Pages stored and loaded, and bytes of pages in the store."""
        used = self._store.used_bytes() if self._store is not None else 0
        return {**self._counts, "used_bytes": used}

    def close(self) -> None:
        """Ends the runtime; what was stored stays. May be called twice."""
        with self._lock:
            store, self._store = self._store, None
            if store is None:
                return
            try:
                _log.info("cubby storage ends: %s pages", self._counts)
                store.close()
            except cubby.CubbyError as error:
                self._complaints.warn("ending", error)


_ENGINE.refuse_abstract(CubbyStorage, "storage has")

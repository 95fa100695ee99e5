"""SGLang's hierarchical cache on the CPU: on PYTHONPATH, this gives SGLang 0.5.23 a copier between
its KV cache and its host memory in plain torch, host memory that is not registered with a GPU, and
events and streams that do nothing. All else is SGLang's own.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import Any


def _copy_layers(
    src_layers: Any, dst_layers: Any, src_indices: Any, dst_indices: Any, page_size: int, **_: Any
) -> None:
    """Layer-first, both ways."""
    source, target = src_indices.to("cpu").long(), dst_indices.to("cpu").long()
    for one, other in zip(src_layers, dst_layers, strict=True):
        other[target] = one[source].to(other.dtype)


def _copy_out_of_pages(
    src_ptrs: Any, dst_ptrs: Any, src_indices: Any, dst_indices: Any, layer_id: int, page_size: int
) -> None:
    """One layer, from host memory of pages of all layers."""
    source, target = src_indices.to("cpu").long(), dst_indices.to("cpu").long()
    for pages, layer in zip(src_ptrs, dst_ptrs, strict=True):
        layer[target] = pages[source // page_size, layer_id, source % page_size].to(layer.dtype)


def _copy_into_pages(
    src_ptrs: Any, dst_ptrs: Any, src_indices: Any, dst_indices: Any, page_size: int
) -> None:
    """All layers, keys and then values, into host memory of pages of all layers."""
    source, target = src_indices.to("cpu").long(), dst_indices.to("cpu").long()
    count = len(src_ptrs) // len(dst_ptrs)
    for i, layer in enumerate(src_ptrs):
        pages = dst_ptrs[i // count]
        pages[target // page_size, i % count, target % page_size] = layer[source].to(pages.dtype)


def _copier(module: Any) -> None:
    module.transfer_kv_direct = _copy_layers
    module.transfer_kv_per_layer_direct_pf_lf = _copy_out_of_pages
    module.transfer_kv_all_layer_direct_lf_pf = _copy_into_pages


def _memory(module: Any) -> None:
    def allocate(dims: Any, dtype: Any, *_: Any, **__: Any) -> Any:
        import torch

        return torch.empty(dims, dtype=dtype, device="cpu")

    module.ALLOC_MEMORY_FUNCS["cpu"] = allocate


def _unpinned(module: Any) -> None:
    """A page that SGLang copies through is plain memory, too."""
    begin = module.HostKVCache.__init__

    def begin_unpinned(self: Any, **options: Any) -> None:
        begin(self, **{**options, "pin_memory": False})

    module.HostKVCache.__init__ = begin_unpinned


class _Event:
    def __init__(self, *_: Any, **__: Any) -> None:
        """Over at once, as everything on the CPU."""

    def record(self, *_: Any) -> None: ...
    def wait(self, *_: Any) -> None: ...
    def synchronize(self) -> None: ...

    def query(self) -> bool:
        return True

    def elapsed_time(self, _: Any) -> float:
        return 0.0


def _events(module: Any) -> None:
    def nothing(*_: Any, **__: Any) -> None: ...

    module.Event = _Event
    for name in ("wait_event", "wait_stream", "synchronize", "record_event"):
        if not hasattr(module.Stream, name):
            setattr(module.Stream, name, nothing)
    if not hasattr(module.Stream, "query"):
        module.Stream.query = lambda self: True


_CHANGES = {
    "sglang.srt.mem_cache.pool_host.mha": _copier,
    "sglang.srt.mem_cache.pool_host.common": _memory,
    "sglang.srt.mem_cache.pool_host.base": _unpinned,
    "torch.cpu": _events,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Changes those modules once they are loaded."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name not in _CHANGES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: Any) -> None:
            load(module)
            _CHANGES[name](module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())

"""llama-cpp-python: a prompt cache whose KV blocks live in lockers, and outlive the process.

    from cubby.integrations.llama_cpp_cache import LockerCache

    model = llama_cpp.Llama("model.gguf", n_ctx=8192)
    model.set_cache(LockerCache(model, "/var/cache/kv", store_bytes=100 << 30))

Full blocks of a sequence's KV rows are stored under keys that are chained by their tokens; a prompt
begins with the longest prefix that is there, whoever stored it. Versions seen: llama-cpp-python
0.3.36. See docs/llama_cpp.md.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cubby
from cubby.integrations._blocks import (
    BlockStore,
    Complaints,
    bytes_of,
    digest,
    file_digest,
    file_sample,
    file_samples,
    fingerprint,
)
from cubby.integrations._llama_files import model_files
from cubby.integrations._llama_state import (
    Bytes,
    Layout,
    UnknownStateError,
    from_blocks,
    to_blocks,
)

try:
    import llama_cpp
    from llama_cpp.llama import LlamaState
    from llama_cpp.llama_cache import BaseLlamaCache
except ImportError as error:
    raise ImportError(
        f"cubby.integrations.llama_cpp_cache needs llama-cpp-python (seen: 0.3.36): {error}"
    ) from error

# Of a context's parameters: what does not change a token's keys and values but for rounding, and
# what is an address.
_HARMLESS = frozenset(
    ("n_batch", "n_ubatch", "n_threads", "n_threads_batch", "no_perf", "defrag_thold")
    + ("cb_eval", "cb_eval_user_data", "abort_callback", "abort_callback_data", "samplers")
    + ("n_samplers", "n_outputs_max", "n_outputs_max_per_seq", "ctx_other")
)


def _fields(of: Any, harmless: frozenset[str]) -> dict[str, str]:
    return {name: repr(getattr(of, name)) for name, *_ in of._fields_ if name not in harmless}


def _lora(model: llama_cpp.Llama) -> list[str]:
    """By its bytes: adapters of one path and size differ in little."""
    made = [repr(getattr(model, "lora_scale", None))]
    for what in ("lora_path", "lora_base"):
        path = getattr(model, what, None)
        made.append(file_digest(Path(path)).hex() if path else "")
    return made


def _identity(model: llama_cpp.Llama, layout: Layout, block_tokens: int, extra: str) -> bytes:
    """Names all that makes blocks interchangeable: weights, context, KV types, the library."""
    library = Path(llama_cpp.llama_cpp._lib._name)
    fields = {
        "weights": [one.hex() for one in file_samples(model_files(Path(model.model_path)))],
        "overrides": repr(model.kv_overrides),
        "lora": _lora(model),
        "context": _fields(model.context_params, _HARMLESS),
        "gpu layers": model.model_params.n_gpu_layers,
        # Quantised keys are stored rotated without it. The context read it when it was made.
        "not rotated": os.environ.get("LLAMA_ATTN_ROT_DISABLE", ""),
        "layout": layout.describe(),
        "block_tokens": block_tokens,
        "version": llama_cpp.__version__,
        "library": file_sample(library).hex(),
        "extra": extra,
    }
    return fingerprint("llama.cpp", fields)


def _state(model: llama_cpp.Llama) -> Bytes:
    context = model._ctx.ctx
    state = np.empty(llama_cpp.llama_state_get_size(context), np.uint8)
    pointer = state.ctypes.data_as(llama_cpp.ctypes.POINTER(llama_cpp.ctypes.c_uint8))
    return state[: llama_cpp.llama_state_get_data(context, pointer, state.size)]


def _layout(model: llama_cpp.Llama) -> Layout:
    """As one token shows it, where the context has none yet."""
    if llama_cpp.llama_model_n_swa(model._model.model) > 0 and not model.context_params.swa_full:
        raise cubby.NotSupportedError(
            "the model has a sliding window: it forgets the rows of earlier tokens; make it with "
            "swa_full=True"
        )
    fresh = model.n_tokens == 0
    if fresh:
        model.eval([max(model.token_bos(), 0)])
    try:
        return Layout(_state(model))
    except UnknownStateError as error:
        raise cubby.NotSupportedError(
            "the context's state is not KV rows of every token: models with recurrent layers are "
            f"not served, and neither is a llama.cpp of another format ({error})"
        ) from error
    finally:
        if fresh:
            model.reset()
            model._ctx.kv_cache_clear()


class LockerCache(BaseLlamaCache):
    """For Llama.set_cache(), and for the model it was made for alone. A context manager."""

    def __init__(
        self,
        model: llama_cpp.Llama,
        path: str | Path,
        store_bytes: int | str,
        host_bytes: int | str = 256 << 20,
        *,
        block_tokens: int = 64,
        keep: str = "restart",
        verify: bool = True,
        identity: str = "",
        log: logging.Logger | None = None,
    ) -> None:
        """path, store_bytes: folder and size of the store, which is one process's. host_bytes:
        memory for blocks. block_tokens: tokens of one block. identity: anything else that tells
        contexts apart, as control vectors. NotSupportedError where the context's state cannot be
        cut into tokens, or logits_all=True wants those of the whole prompt."""
        if block_tokens < 1:
            raise ValueError(f"block_tokens is {block_tokens}; give 1 or more")
        host_bytes = bytes_of("host_bytes", host_bytes)
        super().__init__(bytes_of("store_bytes", store_bytes))
        if model._logits_all:
            raise cubby.NotSupportedError(
                "logits_all=True: the logits of a prompt that is found are not stored; make the "
                "model without it"
            )
        if getattr(model, "chat_handler", None) is not None:
            raise cubby.NotSupportedError(
                "the model has a chat_handler: images are not named by their tokens"
            )
        self.block_tokens = block_tokens
        self._model = weakref.ref(model)
        self._rows, self._context = model.n_vocab(), model.n_ctx()
        self._layout = _layout(model)
        block_bytes = self._layout.token_bytes * block_tokens
        if block_bytes * 8 > host_bytes:
            raise cubby.BudgetError(
                f"a block of {block_tokens} tokens takes {block_bytes} bytes; host_bytes is to be "
                "eight of them, or block_tokens less"
            )
        self._complaints = Complaints(log or logging.getLogger(__name__))
        self._store = BlockStore(path, store_bytes, host_bytes, keep=keep, verify=verify)
        try:
            name = _identity(model, self._layout, block_tokens, identity)
            self._space = self._store.add("llama.cpp kv", block_bytes, name)
        except BaseException:
            self._store.close()
            raise

    @property
    def cache_size(self) -> int:
        """Bytes of blocks in the store."""
        return self._store.used_bytes()

    def describe(self) -> str:
        """Where the store is and how it is held, for a line in a log."""
        return self._store.describe()

    def stats(self) -> dict[str, Any]:
        """As cubby.Runtime.stats()."""
        return self._store.runtime.stats()

    def __contains__(self, key: Sequence[int]) -> bool:
        try:
            return bool(self._found(key)[0])
        except (cubby.CubbyError, MemoryError) as error:
            self._complaints.warn("a prompt is not looked for", error)
            return False

    def __getitem__(self, key: Sequence[int]) -> LlamaState:
        """The state of the longest prefix that is stored; at least the last token is left to be
        computed. KeyError where there is none, or none longer than what the context holds."""
        try:
            count, keys = self._found(key)
            if count * self.block_tokens <= self._held(key):
                raise KeyError("no longer prefix is stored")
            blocks = np.empty((count, self._block_bytes), np.uint8)
            there = self._space.get(keys[:count], list(blocks))
            count = there.index(False) if False in there else count
            if count == 0:
                raise KeyError("no prefix could be read")
            return self._state_of(key, blocks[:count])
        except (cubby.CubbyError, MemoryError) as error:
            self._complaints.warn("a prompt is computed, not read", error)
            raise KeyError("not read") from error

    def __setitem__(self, key: Sequence[int], value: LlamaState) -> None:
        """Stores the full blocks that are not stored yet."""
        try:
            self._put(value)
        except (cubby.CubbyError, MemoryError, ValueError) as error:
            self._complaints.warn("a prompt is not stored", error)

    def _put(self, value: LlamaState) -> None:
        tokens = value.input_ids[: value.n_tokens].tolist()
        count = len(tokens) // self.block_tokens
        keys = self._keys(tokens, count)
        known = self._space.match(keys) if keys else 0
        if known == count:
            return
        state = np.frombuffer(value.llama_state, np.uint8)
        for piece in self._store.pieces(count - known, self._block_bytes):
            first, end = known + piece.start, known + piece.stop
            blocks = to_blocks(self._layout, state, first, end - first, self.block_tokens)
            after = keys[first - 1] if first else None
            self._store.put(self._space, keys[first:end], list(blocks), chain=True, after=after)

    @property
    def _block_bytes(self) -> int:
        return self._layout.token_bytes * self.block_tokens

    def _keys(self, tokens: Sequence[int], count: int) -> list[bytes]:
        keys: list[bytes] = []
        for at in range(count):
            block = tokens[at * self.block_tokens : (at + 1) * self.block_tokens]
            packed = np.asarray(block, "<i8").tobytes()
            keys.append(digest(keys[-1] if keys else b"", packed))
        return keys

    def _found(self, tokens: Sequence[int]) -> tuple[int, list[bytes]]:
        keys = self._keys(tokens, max(0, len(tokens) - 1) // self.block_tokens)
        return (self._space.match(keys) if keys else 0), keys

    def _held(self, tokens: Sequence[int]) -> int:
        """How many of them the context has the rows of."""
        model = self._model()
        if model is None:
            return 0
        held = model._input_ids
        count = min(len(held), len(tokens))
        other = np.flatnonzero(held[:count] != np.asarray(tokens[:count]))
        return int(other[0]) if other.size else count

    def _state_of(self, tokens: Sequence[int], blocks: Bytes) -> LlamaState:
        count = len(blocks) * self.block_tokens
        state = from_blocks(self._layout, blocks, self.block_tokens)
        ids = np.zeros(self._context, np.intc)
        ids[:count] = tokens[:count]
        return LlamaState(
            input_ids=ids,
            scores=np.zeros((1, self._rows), np.single),  # of no token: the next one makes its own
            n_tokens=count,
            llama_state=state,
            llama_state_size=state.size,
            seed=getattr(self._model(), "_seed", llama_cpp.LLAMA_DEFAULT_SEED),
        )

    def close(self) -> None:
        """Waits for what is being stored and ends the runtime. May be called twice."""
        self._store.close()

    def __enter__(self) -> LockerCache:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

"""transformers: a KV cache whose blocks live in lockers and are found again by their tokens.

    from cubby.integrations.transformers_cache import KvLockers

    with KvLockers(model, host_bytes=1 << 30, path="/var/cache/kv", store_bytes=100 << 30) as kv:
        with kv.cache(input_ids) as cache:                # filled with what is stored of the prompt
            model.generate(input_ids, past_key_values=cache)

Full blocks leave the layers' tensors for lockers; at each step a layer's keys and values are copied
together for that layer alone. What was computed for the beginning of a prompt, or of a
conversation, is found by its tokens, in a new process, too. Versions seen: transformers 5.24.0,
torch 2.13.0, on CPU. See docs/engines.md.
"""

from __future__ import annotations

import importlib
import inspect
import secrets
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import cubby
from cubby.integrations._blocks import (
    USABLE,
    BlockStore,
    digest,
    fingerprint,
    model_identity,
)

try:
    from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer
except ImportError as error:
    raise ImportError(
        "cubby.integrations.transformers_cache needs transformers with cache layers "
        f"(seen: 5.24.0): {error}"
    ) from error

_SAMPLE = 64
# Arguments of a model's forward that do not change what a token's keys and values are.
_HARMLESS = frozenset(
    (
        "input_ids",
        "cache",
        "past_key_values",
        "use_cache",
        "cache_position",
        "logits_to_keep",
        "labels",
    )
    + ("return_dict", "output_attentions", "output_hidden_states", "output_router_logits")
)


@dataclass(frozen=True)
class _Shape:
    """Of one layer's keys and values: [1, heads, tokens, width]."""

    key_heads: int
    key_width: int
    value_heads: int
    value_width: int
    dtype: torch.dtype

    def bytes(self, tokens: int) -> int:
        elements = self.key_heads * self.key_width + self.value_heads * self.value_width
        return elements * tokens * self.dtype.itemsize


def _shapes(model: torch.nn.Module) -> list[_Shape]:
    """Of each layer, as one token shows them."""
    seen = DynamicCache(config=model.config)
    # From 5.24 on it is called `cache`.
    known = inspect.signature(model.forward).parameters
    given = {"cache" if "cache" in known else "past_key_values": seen}
    with torch.no_grad():
        model(input_ids=torch.zeros(1, 1, dtype=torch.long), use_cache=True, **given)
    shapes = []
    for number, layer in enumerate(seen.layers):
        if type(layer) is not DynamicLayer:
            raise cubby.NotSupportedError(
                f"layer {number} is a {type(layer).__name__}; layers of full attention are served"
            )
        k, v = layer.keys, layer.values
        if k.device.type != "cpu":
            raise cubby.NotSupportedError("the model is on a device; models on the CPU are served")
        shapes.append(_Shape(k.shape[1], k.shape[3], v.shape[1], v.shape[3], k.dtype))
    return shapes


def _weights(model: torch.nn.Module) -> str:
    """Tells models of the same shapes apart: samples of every parameter and buffer."""
    parts = [model_identity(str(getattr(model.config, "_name_or_path", ""))).encode()]
    for name, tensor in sorted(model.state_dict().items()):
        flat = tensor.detach().flatten()
        step = max(1, flat.numel() // _SAMPLE)
        sample = flat[::step].to(torch.float32).numpy().tobytes()
        parts += [name.encode(), str((tuple(tensor.shape), tensor.dtype)).encode(), sample]
    return digest(*parts).hex()


def _pieces(of: torch.Tensor, first: int, tokens: int) -> list[Any]:
    """Where those tokens of a [1, heads, length, width] tensor are: a piece a head."""
    heads, length, width = of.shape[1:]
    size, start = of.element_size(), of.data_ptr()
    return [
        (start + (head * length + first) * width * size, tokens * width * size)
        for head in range(heads)
    ]


class KvLockers:
    """Lockers for the KV blocks of one model. A context manager: ended with its caches."""

    def __init__(
        self,
        model: torch.nn.Module,
        host_bytes: int | str,
        path: str | Path | None = None,
        store_bytes: int | str = 0,
        *,
        block_tokens: int = 64,
        keep: str = "restart",
        verify: bool = True,
        workers: int | None = None,
        identity: str = "",
    ) -> None:
        """host_bytes: memory for blocks. path, store_bytes: folder and size of a store, which takes
        what has no room in memory, and outlives the process where keep says so ('restart',
        'durable'); without them blocks are in memory alone, and have to fit. block_tokens: tokens
        of one block. identity: anything else that tells models apart. Others: as of Runtime."""
        if block_tokens < 1:
            raise ValueError(f"block_tokens is {block_tokens}; give 1 or more")
        self.block_tokens = block_tokens
        self._shapes = _shapes(model)
        self._store = BlockStore(
            path, store_bytes, host_bytes,
            keep=keep if path is not None else "cache", verify=verify, workers=workers,
        )  # fmt: skip
        try:
            self._spaces = self._open(model, identity)
        except BaseException:
            self._store.close()
            raise
        self.has_store = path is not None
        self._hook = model.register_forward_pre_hook(_note_tokens, with_kwargs=True)

    def _open(self, model: torch.nn.Module, identity: str) -> list[cubby.Space]:
        version = str(importlib.import_module("transformers").__version__)
        fields = {
            "transformers": ".".join(version.split(".")[:2]),
            "model": type(model).__name__,
            "weights": _weights(model),
            "block_tokens": self.block_tokens,
            "shapes": [str(shape) for shape in self._shapes],
            "identity": identity,
        }
        spaces: dict[int, cubby.Space] = {}
        for shape in self._shapes:
            size = shape.bytes(self.block_tokens)
            if size not in spaces:
                name = fingerprint("transformers", {**fields, "bytes": size})
                spaces[size] = self._store.add(f"kv {size}", size, name)
        return [spaces[shape.bytes(self.block_tokens)] for shape in self._shapes]

    def cache(self, input_ids: torch.Tensor | None = None) -> LockerCache:
        """A cache for one sequence. With the tokens of a prompt it begins with what is stored of
        it; at least the last token is left to be computed."""
        made = LockerCache(self)
        if input_ids is not None:
            if input_ids.shape[0] != 1:
                raise cubby.NotSupportedError("a cache is one sequence's; batches are not served")
            made.find(input_ids[0].tolist())
        return made

    def stats(self) -> dict[str, Any]:
        """As cubby.Runtime.stats()."""
        return self._store.runtime.stats()

    def close(self) -> None:
        """Waits for what is being stored and ends the runtime. May be called twice."""
        self._hook.remove()
        self._store.close()

    def __enter__(self) -> KvLockers:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    # For the layers

    def shape(self, layer: int) -> _Shape:
        """Of a layer's keys and values."""
        return self._shapes[layer]

    @property
    def layer_count(self) -> int:
        """Layers of the model."""
        return len(self._shapes)

    def found(self, layer: int, keys: list[bytes]) -> int:
        """How many of the keys from the first on are there."""
        states = [state in USABLE for state in self._spaces[layer].states(keys)]
        return states.index(False) if False in states else len(states)

    def put(self, layer: int, keys: list[bytes], memory: list[Any]) -> None:
        """Stores blocks where there is a store; known ones are left as they are."""
        size = self._shapes[layer].bytes(self.block_tokens)
        for piece in self._store.pieces(len(keys), size):
            self._store.put(self._spaces[layer], keys[piece], memory[piece])

    def hold(self, layer: int, keys: list[bytes], memory: list[Any]) -> cubby.Lease:
        """Puts blocks into memory alone, where they stay until the lease ends: one after the
        other, so that none makes room for the next."""
        space = self._spaces[layer]
        held: list[cubby.Lease] = []
        try:
            for key, pieces in zip(keys, memory, strict=True):
                space.put([key], [pieces], keep="cache")
                held.append(space.lease([key]))
            return space.lease(keys)
        except (cubby.BusyError, cubby.MissError) as error:
            raise cubby.BudgetError(
                f"the caches in use need more than host_bytes; give more, or a path: {error}"
            ) from error
        finally:
            for lease in held:
                lease.end()

    def lease(self, layer: int, keys: list[bytes]) -> cubby.Lease | None:
        """Holds blocks that were found in memory alone; a store has all of them."""
        return None if self.has_store else self._spaces[layer].lease(keys)

    def get(self, layer: int, keys: list[bytes], memory: list[Any]) -> None:
        """Copies blocks to where they are wanted; all of them, or an error."""
        found = self._spaces[layer].get(keys, memory)
        if not all(found):
            raise cubby.MissError(
                f"{found.count(False)} of {len(keys)} KV blocks of layer {layer} are in the store "
                "no longer: it is too small for the caches in use; give more store_bytes"
            )


class LockerLayer(CacheLayerMixin):
    """One layer of a cache: full blocks in lockers, the tokens behind them in `keys` and `values`.
    name(block) is the key of a block."""

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, lockers: KvLockers, layer: int, name: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._lockers, self._layer, self._name = lockers, layer, name
        self._shape = lockers.shape(layer)
        self.device = torch.device("cpu")
        self._blocks: list[bytes] = []
        self._leases: list[cubby.Lease] = []

    def begin(self, keys: list[bytes]) -> None:
        """Begins with blocks that are there."""
        self._hold(self._lockers.lease(self._layer, keys))
        self._blocks += keys
        self._set_tail(0)

    def _hold(self, lease: cubby.Lease | None) -> None:
        if lease is not None:
            self._leases.append(lease)

    def _set_tail(self, tokens: int) -> None:
        s = self._shape
        self.keys = torch.empty(1, s.key_heads, tokens, s.key_width, dtype=s.dtype)
        self.values = torch.empty(1, s.value_heads, tokens, s.value_width, dtype=s.dtype)
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """An empty tail."""
        self._set_tail(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes new states; returns all of them, from lockers and from the tail."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        for new, tail in ((key_states, self.keys), (value_states, self.values)):
            if new.dtype != tail.dtype or new.shape[:2] + new.shape[3:] != (
                tail.shape[:2] + tail.shape[3:]
            ):
                raise cubby.NotSupportedError(
                    f"states of shape {tuple(new.shape)} and {new.dtype}; a cache is one "
                    f"sequence's, of the model that it was made for: {self._shape}"
                )
        self.keys = torch.cat((self.keys, key_states), dim=-2)
        self.values = torch.cat((self.values, value_states), dim=-2)
        self._move_out()
        return self._whole()

    def _move_out(self) -> None:
        size = self._lockers.block_tokens
        count = self.keys.shape[-2] // size
        if count == 0:
            return
        first = len(self._blocks)
        names = [self._name(self._layer, first + i) for i in range(count)]
        memory = [
            _pieces(self.keys, i * size, size) + _pieces(self.values, i * size, size)
            for i in range(count)
        ]
        if self._lockers.has_store:
            self._lockers.put(self._layer, names, memory)
        else:
            self._hold(self._lockers.hold(self._layer, names, memory))
        self._blocks += names
        self.keys = self.keys[..., count * size :, :].clone()
        self.values = self.values[..., count * size :, :].clone()

    def _whole(self) -> tuple[torch.Tensor, torch.Tensor]:
        if not self._blocks:
            return self.keys, self.values
        s, size = self._shape, self._lockers.block_tokens
        length, stored = self.get_seq_length(), len(self._blocks) * size
        keys = torch.empty(1, s.key_heads, length, s.key_width, dtype=s.dtype)
        values = torch.empty(1, s.value_heads, length, s.value_width, dtype=s.dtype)
        memory = [
            _pieces(keys, i * size, size) + _pieces(values, i * size, size)
            for i in range(len(self._blocks))
        ]
        self._lockers.get(self._layer, self._blocks, memory)
        keys[..., stored:, :] = self.keys
        values[..., stored:, :] = self.values
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of what update() will return."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens, in lockers and behind them."""
        tail = self.keys.shape[-2] if self.is_initialized else 0
        return len(self._blocks) * self._lockers.block_tokens + tail

    def get_max_length(self) -> int:
        """None."""
        return -1

    def crop(self, tokens_to_remove: int) -> None:
        """Forgets so many of the last tokens; a negative number, as transformers has it."""
        length = self.get_seq_length() - abs(tokens_to_remove)
        size = self._lockers.block_tokens
        if tokens_to_remove > 0 or length < 0:
            raise ValueError(f"crop({tokens_to_remove}) of {self.get_seq_length()} tokens")
        stored = len(self._blocks) * size
        if length >= stored:
            if self.is_initialized:
                self.keys = self.keys[..., : length - stored, :].clone()
                self.values = self.values[..., : length - stored, :].clone()
            return
        keys, values = self._whole()
        at = length // size * size
        del self._blocks[length // size :]
        self.keys, self.values = keys[..., at:length, :].clone(), values[..., at:length, :].clone()

    def reset(self) -> None:
        """Forgets everything; what is shared stays where it is."""
        self.end()
        self._blocks.clear()
        self.keys = self.values = None
        self.is_initialized = False

    def end(self) -> None:
        """Holds no blocks any more."""
        leases, self._leases = self._leases, []
        for lease in leases:
            lease.end()

    def offload(self) -> None:
        """It is in lockers already."""

    def prefetch(self) -> None:
        """It is read where it is wanted."""

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """One sequence has one order."""
        if beam_idx.tolist() != [0]:
            raise cubby.NotSupportedError("a cache is one sequence's; beam search is not served")

    def batch_repeat_interleave(self, repeats: int) -> None:
        """One sequence is one sequence."""
        if repeats != 1:
            raise cubby.NotSupportedError("a cache is one sequence's; batches are not served")

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """As reorder_cache."""
        self.reorder_cache(indices)


class LockerCache(Cache):
    """A cache for one sequence. A context manager: its blocks are held until the end. Blocks are
    named by the tokens that the model is given; where those do not say what a block holds (inputs
    by embeddings, masks, places of one's own) they are this cache's alone."""

    def __init__(self, lockers: KvLockers) -> None:
        self._lockers = lockers
        self._tokens: list[int] = []
        self._chain: list[bytes] = []
        self._own = secrets.token_bytes(16)
        self._known = True
        layers = [LockerLayer(lockers, i, self._name) for i in range(lockers.layer_count)]
        super().__init__(layers=layers)
        self._end = weakref.finalize(self, _end_all, list(layers))

    def find(self, tokens: Sequence[int]) -> None:
        """Begins with what is stored of these tokens."""
        size = self._lockers.block_tokens
        count = max(0, len(tokens) - 1) // size
        self._tokens = list(tokens[: count * size])
        named = [[self._name(i, b) for b in range(count)] for i in range(len(self.layers))]
        for layer, keys in enumerate(named):
            if count:
                count = min(count, self._lockers.found(layer, keys[:count]))
        self._tokens, self._chain = self._tokens[: count * size], self._chain[:count]
        if count == 0:
            return
        try:
            for layer, keys in zip(self.layers, named, strict=True):
                layer.begin(keys[:count])
        except cubby.MissError:  # one went in between
            self.reset()

    def note(self, input_ids: torch.Tensor | None, plain: bool) -> None:
        """The tokens that the model is given next. plain: nothing but them and their places in a
        row make their keys and values."""
        if input_ids is None or not plain or len(self._tokens) != self.get_seq_length():
            self._known = False
        if self._known:
            self._tokens += input_ids[0].tolist()

    def _name(self, layer: int, block: int) -> bytes:
        size = self._lockers.block_tokens
        if not self._known and block >= len(self._chain):
            return digest(self._own, block.to_bytes(8, "little"), layer.to_bytes(4, "little"))
        while len(self._chain) <= block:
            at = len(self._chain)
            before = self._chain[-1] if self._chain else b""
            tokens = self._tokens[at * size : (at + 1) * size]
            self._chain.append(digest(before, b"".join(t.to_bytes(8, "little") for t in tokens)))
        return digest(self._chain[block], layer.to_bytes(4, "little"))

    def crop(self, tokens_to_remove: int) -> None:
        """Forgets the last tokens."""
        super().crop(tokens_to_remove)
        length = self.get_seq_length()
        self._tokens, self._chain = (
            self._tokens[:length], self._chain[: length // self._lockers.block_tokens],
        )  # fmt: skip

    def reset(self) -> None:
        """Begins anew."""
        super().reset()
        self._tokens, self._chain, self._known = [], [], True

    def close(self) -> None:
        """Holds no blocks any more; what is stored stays. May be called twice."""
        self._end()

    def __enter__(self) -> LockerCache:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _end_all(layers: list[LockerLayer]) -> None:
    for layer in layers:
        try:
            layer.end()
        except (cubby.ShutdownError, cubby.ForkedError):
            return


def _plain(cache: LockerCache, input_ids: torch.Tensor, kwargs: dict[str, Any]) -> bool:
    """Whether nothing but the tokens and their places in a row make their keys and values."""
    first, count = cache.get_seq_length(), input_ids.shape[-1]
    for name, value in kwargs.items():
        if value is None or name in _HARMLESS:
            continue
        if name == "attention_mask":
            if not isinstance(value, torch.Tensor) or value.dim() != 2 or not bool(value.all()):
                return False
        elif name == "position_ids":
            if value.flatten().tolist() != list(range(first, first + count)):
                return False
        else:
            return False
    return True


def _note_tokens(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before every forward of the model: what it is given."""
    given = (kwargs.get("cache"), kwargs.get("past_key_values"))
    cache = next((one for one in given if isinstance(one, LockerCache)), None)
    if cache is None:
        return
    ids = kwargs.get("input_ids", args[0] if args else None)
    plain = ids is not None and ids.shape[0] == 1 and len(args) < 2
    cache.note(ids, plain and _plain(cache, ids, kwargs))

"""transformers: routed experts from lockers, pinned as the router chooses them.

    from cubby.integrations import transformers as cubby_experts
    model = cubby_experts.load("path/of/a/checkpoint", host_bytes=8 << 30)
    model.generate(...)

The checkpoint's safetensors files are adopted in place: nothing is converted or written, and the
experts never become parameters of the model. Registered as the experts implementation "cubby".
Versions seen: transformers 5.23.0, torch 2.15.0, on CPU. See docs/engines.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import cubby
from cubby import Status
from cubby.integrations._blocks import bytes_of

try:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
except ImportError as error:
    raise ImportError(
        "cubby.integrations.transformers needs transformers with ALL_EXPERTS_FUNCTIONS "
        f"(seen: 5.23.0): {error}"
    ) from error

NAME = "cubby"
_TYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_LAYER = re.compile(r"\.layers\.(\d+)\.")
_POLL_SECONDS = 0.0005


def is_experts(module: torch.nn.Module) -> bool:
    """Whether this is a module that transformers' experts functions serve."""
    return hasattr(module, "is_transposed") and hasattr(module, "has_bias")


@dataclass(frozen=True)
class Part:
    """One tensor of every expert of a row."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class Experts:
    """The experts of a checkpoint: a runtime with one tier of memory, and the adopted bank."""

    def __init__(
        self,
        path: str | Path,
        host_bytes: int | str,
        verify: bool = True,
        policy: str | None = None,
    ) -> None:
        """path: a folder, a safetensors file or the index of a sharded one. host_bytes: host
        memory for experts. verify: hold what is loaded against its digests, where the files were
        sealed (`cubby seal`) or what was seen first. policy: None = the library's own choice."""
        self._host_bytes = bytes_of("host_bytes", host_bytes)
        self.runtime = cubby.Runtime(verify=verify, policy=policy)
        try:
            self.tier = self.runtime.add_tier("host", "host:0", self._host_bytes)
            self.bank = self.runtime.adopt(str(find_checkpoint(Path(path))))
        except BaseException:
            self.runtime.close()
            raise
        self._rows: dict[int, list[int]] = {}
        for row, layer in enumerate(self.bank.row_layers):
            self._rows.setdefault(layer, []).append(row)

    def row_of(self, layer: int) -> int:
        """The bank's row of a layer of the model."""
        rows = self._rows.get(layer, [])
        if len(rows) != 1:
            raise cubby.NotSupportedError(
                f"layer {layer} has {len(rows)} rows of experts in the checkpoint; 1 is served"
            )
        return rows[0]

    def parts_of(self, row: int) -> list[Part]:
        """What an expert of a row consists of."""
        parts = []
        for index in range(self.bank.part_count):
            info = self.bank.part(row, index)
            if info["type"] not in _TYPES:
                raise cubby.NotSupportedError(
                    f"{info['tensor']} is of type {info['type'] or 'unknown'}; "
                    f"{', '.join(_TYPES)} are served"
                )
            rank = 1 if info["name"].endswith("bias") else 2
            shape = tuple(reversed(info["shape"][:rank]))
            parts.append(Part(info["name"], _TYPES[info["type"]], shape))
        return parts

    def group_size(self, row: int) -> int:
        """How many experts of a row are pinned together at most: half of the memory."""
        return max(1, self._host_bytes // 2 // self.bank.locker_bytes(row))

    def close(self) -> None:
        """Ends the runtime; the model cannot run afterwards."""
        self.runtime.close()


class Row:
    """The experts of one layer, as its module sees them."""

    def __init__(self, experts: Experts, layer: int, module: torch.nn.Module) -> None:
        self.experts = experts
        self.row = experts.row_of(layer)
        self.parts = experts.parts_of(self.row)
        names = {part.name for part in self.parts}
        if not names >= {"gate_up", "down"} and not names >= {"gate", "up", "down"}:
            raise cubby.NotSupportedError(f"experts of {sorted(names)} are not served")
        self.stacked = "gate_up" in names
        # Per-expert tensors are [out, in]; a stacked one is as the module has it.
        self.transposed = self.stacked and bool(module.is_transposed)
        self.columns = experts.bank.columns
        self.group = experts.group_size(self.row)

    def each(self, columns: list[int]) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        """Every expert with its tensors, in place: those in memory first, others as they land.
        The tensors stand until the next one is asked for."""
        for first in range(0, len(columns), self.group):
            yield from self._pinned(columns[first : first + self.group])

    def _pinned(self, columns: list[int]) -> Iterator[tuple[int, dict[str, torch.Tensor]]]:
        numbers = [self.row * self.columns + column for column in columns]
        with self.experts.bank.pin(numbers, self.experts.tier, wait=False) as pins:
            left = list(range(len(columns)))
            while left:
                here = [item for item in left if pins.status(item) == Status.OK]
                if not here:
                    pins.wait(_POLL_SECONDS)
                    continue
                for item in here:
                    left.remove(item)
                    yield columns[item], self._tensors(pins, item)

    def _tensors(self, pins: cubby.Pins, item: int) -> dict[str, torch.Tensor]:
        made = {}
        for index, part in enumerate(self.parts):
            view = pins.view(item, index)
            if view is not None:
                made[part.name] = torch.from_dlpack(view).view(part.dtype).view(part.shape)
        return made

    def compute(
        self, module: torch.nn.Module, x: torch.Tensor, weights: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """One expert over its tokens: [tokens, hidden]."""
        w = {name: tensor.to(x.dtype) for name, tensor in weights.items()}
        if self.stacked:
            both = self._linear(x, w["gate_up"], w.get("gate_up_bias"))
        else:
            linear = torch.nn.functional.linear
            both = torch.cat((linear(x, w["gate"]), linear(x, w["up"])), dim=-1)
        return self._linear(module._apply_gate(both), w["down"], w.get("down_bias"))

    def _linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if not self.transposed:
            return torch.nn.functional.linear(x, weight, bias)
        out = x @ weight
        return out if bias is None else out + bias


@torch.no_grad()
def experts_forward(
    self: torch.nn.Module,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
) -> torch.Tensor:
    """transformers' experts function: the routed experts of this layer, from lockers."""
    row: Row | None = getattr(self, "_cubby_row", None)
    if row is None:
        raise RuntimeError(
            "the model was not loaded or attached by cubby.integrations.transformers"
        )
    out = torch.zeros_like(hidden_states)
    columns = [int(c) for c in torch.unique(top_k_index) if c < row.columns]
    for column, weights in row.each(columns):
        token, place = torch.where(top_k_index == column)
        answer = row.compute(self, hidden_states[token], weights)
        answer = answer * top_k_weights[token, place, None]
        out.index_add_(0, token, answer.to(out.dtype))
        del weights
    return out


def find_checkpoint(path: Path) -> Path:
    """The file of a checkpoint's folder that names all of its tensors."""
    if not path.is_dir():
        return path
    for name in ("model.safetensors.index.json", "model.safetensors"):
        if (path / name).exists():
            return path / name
    raise FileNotFoundError(f"{path} has no model.safetensors and no model.safetensors.index.json")


def attach(model: torch.nn.Module, experts: Experts) -> torch.nn.Module:
    """Has a model take its experts from lockers; its own expert parameters are given up."""
    count = 0
    for name, module in model.named_modules():
        if not is_experts(module):
            continue
        layer = _LAYER.search(f".{name}.")
        if layer is None:
            raise cubby.NotSupportedError(f"{name} does not say which layer it is of")
        module._cubby_row = Row(experts, int(layer.group(1)), module)
        _give_up_parameters(module)
        count += 1
    if count == 0:
        raise cubby.NotSupportedError("the model has no experts that transformers can hand over")
    model.set_experts_implementation(NAME)
    model.cubby = experts
    return model


def _give_up_parameters(module: torch.nn.Module) -> None:
    for name in [name for name, _ in module.named_parameters(recurse=False)]:
        delattr(module, name)


def _lean(of: type) -> type:
    """The model's class, made without parameters for its experts, so that none are loaded."""

    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        of.__init__(self, config, *args, **kwargs)
        for module in self.modules():
            if is_experts(module):
                _give_up_parameters(module)
                module._is_hf_initialized = True  # there is nothing to be filled

    ignored = [*(of._keys_to_ignore_on_load_unexpected or []), r"\.experts\."]
    body = {
        "__init__": __init__,
        "__module__": of.__module__,
        "_keys_to_ignore_on_load_unexpected": ignored,
    }
    return type(of.__name__, (of,), body)


def load(
    path: str | Path,
    host_bytes: int | str,
    verify: bool = True,
    policy: str | None = None,
    **how: Any,
) -> Any:
    """A model for text from a local checkpoint, with its experts in lockers: model.cubby is the
    Experts, to be closed at the end. host_bytes: host memory for experts; everything else of the
    model is loaded as usual. how: as for from_pretrained, for example dtype."""
    config = AutoConfig.from_pretrained(path)
    kind = AutoModelForCausalLM._model_mapping[type(config)]
    experts = Experts(path, host_bytes, verify=verify, policy=policy)
    try:
        model = _lean(kind).from_pretrained(path, config=config, **how)
        return attach(model, experts)
    except BaseException:
        experts.close()
        raise


ALL_EXPERTS_FUNCTIONS.register(NAME, experts_forward)

"""The one call of vLLM's kernels that SGLang 0.5.23 imports on CPUs, in plain torch."""

from __future__ import annotations

from typing import Any


def _rotate(x: Any, cos: Any, sin: Any, head_size: int, neox: bool) -> None:
    import torch

    heads = x.view(cos.shape[0], -1, head_size)
    turned = cos.shape[-1] * 2
    half = heads[..., :turned].float()
    cos, sin = cos.unsqueeze(1).float(), sin.unsqueeze(1).float()
    if neox:
        a, b = half.chunk(2, -1)
        made = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    else:
        a, b = half[..., ::2], half[..., 1::2]
        made = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    heads[..., :turned] = made.to(x.dtype)


def rotary_embedding(
    positions: Any, query: Any, key: Any, head_size: int, cos_sin_cache: Any, is_neox: bool
) -> None:
    """Turns query and key in place."""
    cos, sin = cos_sin_cache[positions.flatten()].chunk(2, dim=-1)
    for x in (query, key):
        if x is not None:
            _rotate(x, cos, sin, head_size, is_neox)

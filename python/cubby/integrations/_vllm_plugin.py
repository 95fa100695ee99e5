"""vLLM finds this by its entry point: afterwards `"type": "cubby"` names the tier, without a
module_path."""

from __future__ import annotations

import contextlib


def register() -> None:
    """Makes the tier known where this vLLM has tiers; loads nothing of it."""
    try:
        from vllm.v1.kv_offload.tiering.factory import SecondaryTierFactory
    except ImportError:
        return
    with contextlib.suppress(ValueError):  # known already
        SecondaryTierFactory.register_tier("cubby", "cubby.integrations.vllm", "CubbyTier")

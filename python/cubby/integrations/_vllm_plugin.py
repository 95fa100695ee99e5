"""vLLM finds this by its entry point: afterwards `"type": "cubby"` names the tier and
`"eviction_policy": "cubby"` the policy, without a module path."""

from __future__ import annotations

import contextlib


def register() -> None:
    """Makes tier and policy known where this vLLM has such; loads nothing of it."""
    with contextlib.suppress(ImportError, ValueError):  # ValueError: known already
        from vllm.v1.kv_offload.tiering.factory import SecondaryTierFactory

        SecondaryTierFactory.register_tier("cubby", "cubby.integrations.vllm", "CubbyTier")
    with contextlib.suppress(ImportError, ValueError):
        from vllm.v1.kv_offload.cpu.policies.factory import CachePolicyFactory

        module = "cubby.integrations.vllm_policy"
        CachePolicyFactory.register_cache_policy("cubby", module, "CubbyPolicy")

"""vLLM, as its adapters see it."""

from __future__ import annotations

import logging

from cubby.integrations._engine import Engine

SEEN = "0.32.0"
BASE = "vllm.v1.kv_offload.base"
TIERING = "vllm.v1.kv_offload.tiering.base"
POLICIES = "vllm.v1.kv_offload.cpu.policies.base"


ENGINE = Engine(
    name="vLLM",
    package="vllm",
    adapter="cubby.integrations.vllm",
    seen=SEEN,
    needs="the tiered KV offloading of vLLM",
    remedy="take cubby out of its configuration",
)


def logger() -> logging.Logger:
    """vLLM's, so that lines come with its own."""
    try:
        from vllm.logger import init_logger
    except ImportError:
        return logging.getLogger("cubby.integrations.vllm")
    # A name below "vllm", whose handlers its logger has.
    return init_logger("vllm.cubby")

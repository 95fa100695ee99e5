"""What the adapters for vLLM take from it, and what they say where it is not there."""

from __future__ import annotations

import importlib
import logging
from typing import Any

SEEN = "0.32.0"
BASE = "vllm.v1.kv_offload.base"
TIERING = "vllm.v1.kv_offload.tiering.base"
POLICIES = "vllm.v1.kv_offload.cpu.policies.base"


def version() -> str:
    """Of the vLLM that is installed."""
    try:
        return str(importlib.import_module("vllm").__version__)
    except (ImportError, AttributeError):
        return "of an unknown version"


def refuse(missing: str) -> ImportError:
    """What to raise where this vLLM lacks something."""
    return ImportError(
        f"cubby.integrations.vllm: {missing}. It needs the tiered KV offloading of vLLM, as "
        f"vLLM {SEEN} has it; installed is vLLM {version()}. Install one that has it, or "
        "take cubby out of its configuration."
    )


def take(module: str, *names: str) -> list[Any]:
    """Those names of a module of vLLM, or an error that says which are missing."""
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise refuse(f"the module {module} cannot be imported ({error})") from error
    missing = [name for name in names if not hasattr(found, name)]
    if missing:
        raise refuse(f"{module} lacks {', '.join(missing)}")
    return [getattr(found, name) for name in names]


def take_if(module: str, name: str) -> Any:
    """The same name of a module of vLLM, or None where it is not there."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def logger() -> logging.Logger:
    """vLLM's, so that lines come with its own."""
    try:
        from vllm.logger import init_logger
    except ImportError:
        return logging.getLogger("cubby.integrations.vllm")
    # A name below "vllm", whose handlers its logger has.
    return init_logger("vllm.cubby")

"""What the tests share: a runtime with memory and a store on disk, and its keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cubby

BLOCK = 64 << 10


@dataclass
class Cache:
    """A runtime with one space of keys."""

    runtime: cubby.Runtime
    host: cubby.Tier
    bank: cubby.Bank
    space: cubby.Space


def open_cache(store: Path | None, host_blocks: int = 64, **how: object) -> Cache:
    """A runtime with memory for host_blocks and, with a folder, a store of 64 MiB."""
    runtime = cubby.Runtime(**how)
    host = runtime.add_tier("host", "host:0", host_blocks * BLOCK * 2)
    if store is not None:
        runtime.add_tier("file", "nvme:0", 64 << 20, rank=1, paths=[str(store)])
    bank = runtime.add_bank("kv", "kv", 1, 1024, BLOCK)
    return Cache(runtime, host, bank, runtime.add_space(bank, b"a model, fp16"))


@pytest.fixture
def cache() -> Iterator[Cache]:
    """In memory alone."""
    made = open_cache(None)
    yield made
    made.runtime.close()


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Cache]:
    """With a store on disk."""
    made = open_cache(tmp_path)
    yield made
    made.runtime.close()


def block(seed: int) -> bytearray:
    """Bytes that no other seed has."""
    return bytearray(seed.to_bytes(8, "little") * (BLOCK // 8))

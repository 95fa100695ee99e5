"""A saved profile of the machine: what a runtime knows before it has read anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cubby

LOCKER = 1 << 20


def profile_of(directory: Path, bytes_per_s: float) -> str:
    path = directory / "machine.json"
    read = {"bytes_per_s": bytes_per_s, "latency_ns": 100_000}
    tier = {"name": "file:0", "kind": "file", "where": str(directory), "read": read}
    host = {"name": "host:0", "kind": "host"}
    path.write_text(json.dumps({"format": "cubby-profile", "version": 1, "tiers": [host, tier]}))
    return str(path)


def estimate(directory: Path, profile: str | None) -> int:
    model = directory / "weights"
    model.write_bytes(bytes(4 * LOCKER))
    with cubby.Runtime(pump="caller", profile=profile) as runtime:
        host = runtime.add_tier("host", "host:0", 8 * LOCKER)
        bank = runtime.add_bank("experts", "experts", 1, 4, LOCKER)
        bank.map([str(model)], [(i, 0, 0, i * LOCKER, LOCKER) for i in range(4)])
        return bank.estimate([0], host)[0]


def test_a_profile_says_how_long_a_load_takes(tmp_path: Path) -> None:
    assert estimate(tmp_path, None) == 2**64 - 1, "nothing is known"
    slow = estimate(tmp_path, profile_of(tmp_path, 1e8))
    fast = estimate(tmp_path, profile_of(tmp_path, 1e9))
    assert 0.9 * (100_000 + LOCKER * 10) < slow < 1.5 * (100_000 + LOCKER * 10)
    assert 4 < slow / fast < 11


def test_what_is_no_profile_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"format": "other"}')
    with pytest.raises(cubby.FormatError, match=r"other\.json"):
        cubby.Runtime(profile=str(other))
    with pytest.raises(cubby.CubbyError, match=r"missing\.json"):
        cubby.Runtime(profile=str(tmp_path / "missing.json"))

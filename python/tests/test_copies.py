"""A model that lies on two devices."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import cubby

EXPERTS, EXPERT_BYTES = 8, 70_000


def write_model(path: Path) -> list[bytes]:
    """A layer of experts, a tensor each; what they are."""
    content = [random.Random(n).randbytes(EXPERT_BYTES) for n in range(EXPERTS)]
    tensors = {
        f"layers.0.experts.{n}.up_proj.weight": {
            "dtype": "U8",
            "shape": [EXPERT_BYTES],
            "data_offsets": [n * EXPERT_BYTES, (n + 1) * EXPERT_BYTES],
        }
        for n in range(EXPERTS)
    }
    header = json.dumps(tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"".join(content))
    return content


def test_both_are_read(tmp_path: Path) -> None:
    model, copy = tmp_path / "model.safetensors", tmp_path / "copy" / "model.safetensors"
    copy.parent.mkdir()
    content = write_model(model)
    with cubby.Runtime() as runtime:
        host = runtime.add_tier("host", "host:0", 4 << 20)
        bank = runtime.adopt(model)
        with pytest.raises(cubby.InvalidError, match="is the file"):
            bank.add_copy(model)
        write_model(copy)
        bank.add_copy(copy)
        with bank.pin(list(range(EXPERTS)), host) as pins:
            for n in range(EXPERTS):
                assert bytes(pins.view(n)) == content[n]
        of_files = [t["bytes_out"] for t in runtime.stats()["tiers"] if t["budget_bytes"] == 0]
        assert len(of_files) == 2
        assert min(of_files) > 0

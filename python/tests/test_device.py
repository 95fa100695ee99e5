"""Memory and streams of a GPU, as objects show them. No GPU, and no torch, is needed: what cannot
be reached is refused by name."""

from __future__ import annotations

import ctypes
import time
import types
from pathlib import Path
from typing import Any

import pytest
from conftest import BLOCK, Cache, block

import cubby


class OnADevice:
    """A tensor of a GPU, as far as it is looked at."""

    def __init__(
        self, shape: tuple[int, ...] = (4 * BLOCK,), typestr: str = "|u1", **other: Any
    ) -> None:
        self.__cuda_array_interface__ = {
            "data": (0x7F0000000000, False),
            "shape": shape,
            "typestr": typestr,
            "version": 3,
            **other,
        }


def test_a_region_of_device_memory(cache: Cache) -> None:
    region = cache.runtime.add_region(OnADevice((BLOCK, 2), "<f2"))
    assert len(region) == 4 * BLOCK
    cache.space.put(b"a", block(1))
    with pytest.raises(cubby.NotSupportedError, match="no tier is"):
        cache.space.get(b"a", region.span(0, BLOCK))
    with pytest.raises(cubby.NotSupportedError, match="no tier is"):
        cache.space.put(b"b", region.span(0, BLOCK), stream=7)
    region.remove()


def test_a_paged_tensor_is_a_strided_region(cache: Cache) -> None:
    region = cache.runtime.add_region(
        OnADevice((8, 6, 512)), piece_bytes=512, stride_bytes=6 * 512, piece_count=8
    )
    assert len(region) == 8 * 512
    with pytest.raises(ValueError):
        cache.runtime.add_region(
            OnADevice((8, 6, 512)), piece_bytes=512, stride_bytes=7 * 512, piece_count=8
        )


def test_the_device_is_the_objects(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    for name, where in (
        ("__dlpack_device__", lambda: (2, 3)),
        ("device", types.SimpleNamespace(index=3)),
        ("device", types.SimpleNamespace(id=3)),
    ):
        tensor = OnADevice()
        setattr(tensor, name, where)
        with pytest.raises(cubby.NotSupportedError, match="device 3"):
            cache.space.get(b"a", cache.runtime.add_region(tensor).span(0, BLOCK))


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": (0x7F0000000000, True)},
        {"data": (0, False)},
        {"shape": (0,)},
        {"shape": (1 << 40, 1 << 40)},
        {"typestr": "|O"},
        {"shape": (4, 8), "strides": (1, 4)},
        {"shape": (4, 8), "strides": (16, 1)},
    ],
)
def test_device_memory_that_cannot_be_used(cache: Cache, wrong: dict[str, Any]) -> None:
    tensor = OnADevice()
    tensor.__cuda_array_interface__.update(wrong)
    with pytest.raises(BufferError):
        cache.runtime.add_region(tensor)


def test_strides_of_elements_in_a_row(cache: Cache) -> None:
    assert len(cache.runtime.add_region(OnADevice((4, 1, 8), "<f4", strides=(32, 999, 4)))) == 128


def test_streams(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    torch_like = types.SimpleNamespace(cuda_stream=0x5000, device=types.SimpleNamespace(index=0))
    # Host memory has no streams; the default stream is the host's order there.
    for stream in (7, torch_like):
        with pytest.raises(cubby.NotSupportedError):
            cache.space.pin(b"a", cache.host, stream=stream)
        with pytest.raises(cubby.NotSupportedError):
            cache.space.get(b"a", bytearray(BLOCK), stream=stream)
        with pytest.raises(cubby.NotSupportedError):
            cache.space.put(b"b", block(2), stream=stream)
    pins = cache.space.pin(b"a", cache.host, stream=types.SimpleNamespace(cuda_stream=0))
    pins.release(stream=0)
    for wrong in ("7", 1.5, True, object()):
        with pytest.raises(TypeError):
            cache.space.pin(b"a", cache.host, stream=wrong)
    with pytest.raises(OverflowError):
        cache.space.pin(b"a", cache.host, stream=-1)


def test_a_release_that_is_refused_gives_nothing_up(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    with pytest.raises(cubby.NotSupportedError), cache.space.pin(b"a", cache.host) as pins:
        pins.release(stream=7)
    assert bytes(memoryview(pins.view(0))) == bytes(block(1))
    with pytest.raises(cubby.BusyError):
        cache.space.drop(b"a", cache.host)
    pins.release()
    with pytest.raises(BufferError):
        pins.view(0)
    cache.space.drop(b"a", cache.host)


def test_a_view_of_host_memory_is_no_device_array(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    with cache.space.pin(b"a", cache.host) as pins:
        view = pins.view(0)
        assert not hasattr(view, "__cuda_array_interface__")
        assert view.__dlpack_device__() == (1, 0)
        assert bytes(view) == block(1)


def test_a_slot_table_in_an_emulated_device(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(block(3)) + bytes(block(4)))
    near = cache.runtime.add_tier(
        "host", "device:0", 16 * BLOCK, rank=1, emulated_bytes_per_s=100 << 30
    )
    bank = cache.runtime.add_bank("weights", "experts", 1, 2, BLOCK)
    with pytest.raises(ValueError):  # it has no files
        bank.slots(near)
    bank.map([str(tmp_path / "weights")], [(0, 0, 0, 0, BLOCK), (1, 0, 0, BLOCK, BLOCK)])
    with pytest.raises(cubby.NotSupportedError):
        bank.slots(cache.host)
    table = bank.slots(near)
    entries = table.entries
    assert entries.__dlpack_device__() == (1, 0)
    assert not hasattr(entries, "__cuda_array_interface__")
    bank.pin([1], near).release()
    words = (ctypes.c_uint64 * 2).from_address(entries.address)
    for _ in range(3000):
        if words[1] >> 28 != 0:
            break
        time.sleep(0.001)
    assert words[0] >> 28 == 0
    at = table.base[0] + ((words[1] >> 28) - 1) * table.stride_bytes[0]
    assert ctypes.string_at(at, BLOCK) == bytes(block(4))
    assert bank.verify([0, 1], near) == [cubby.Status.MISS, cubby.Status.OK]
    held = entries.__dlpack__()
    with pytest.raises(BufferError):
        cache.runtime.close()
    del held
    with pytest.raises(cubby.BusyError):
        bank.remove()
    table.remove()
    with pytest.raises(BufferError):
        entries.__dlpack__()
    bank.remove()


def test_what_has_no_digests_is_not_verified(tmp_path: Path) -> None:
    with cubby.Runtime(verify=False) as runtime:
        host = runtime.add_tier("host", "host:0", 4 * BLOCK)
        space = runtime.add_space(runtime.add_bank("kv", "kv", 1, 8, BLOCK), b"a model")
        space.put(b"a", block(1))
        with pytest.raises(cubby.NotSupportedError):
            space.verify([b"a"], host)


def test_a_block_is_verified_where_it_lies(cache: Cache) -> None:
    cache.space.put([b"a", b"b"], [block(1), block(2)])
    with cache.space.pin(b"a", cache.host) as pins:
        (ctypes.c_char * 8).from_address(pins.address(0) + 4096)[0] = b"\xff"
        ticket = cache.space.submit_verify([b"a", b"b", b"c"], cache.host)
        with pytest.raises(cubby.CubbyError):
            ticket.wait(60)
        status = cubby.Status
        assert ticket.item_status == [status.CORRUPT, status.OK, status.MISS]
    assert cache.space.verify([b"a"], cache.host)[0] in (status.CORRUPT, status.MISS)

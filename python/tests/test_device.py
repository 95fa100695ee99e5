"""Memory and streams of a GPU, as objects show them. No GPU, and no torch, is needed: what cannot
be reached is refused by name."""

from __future__ import annotations

import types
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

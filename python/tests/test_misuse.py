"""What goes wrong is an exception with a cause, never a crash."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby


def test_every_status_has_an_exception() -> None:
    for status in cubby.Status:
        if status in (cubby.Status.OK, cubby.Status.PENDING):
            continue
        made = cubby.errors._make(int(status), "why", 0, False, False, 0, 0, 0, 0)
        assert type(made) is not cubby.CubbyError and made.status is status
        assert cubby.status_name(int(status)).endswith(status.name)
    assert issubclass(cubby.TimedOutError, TimeoutError)
    assert issubclass(cubby.InvalidError, ValueError)
    assert issubclass(cubby.NoMemoryError, MemoryError)
    assert issubclass(cubby.MissError, LookupError)


def test_an_error_says_why(cache: Cache) -> None:
    with pytest.raises(cubby.NotSupportedError) as caught:
        cache.space.put(b"a", block(1), keep="restart")
    assert "store" in str(caught.value)
    assert caught.value.status is cubby.Status.NOT_SUPPORTED
    with pytest.raises(cubby.CubbyError) as caught:
        cache.runtime.add_tier("host", "too large", 1 << 60)
    assert len(str(caught.value)) > 20


def test_wrong_sizes(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    with pytest.raises(cubby.InvalidError):
        cache.space.put(b"b", bytearray(BLOCK + 1))
    with pytest.raises(cubby.CubbyError):
        cache.space.get(b"a", bytearray(BLOCK + 1))
    with pytest.raises(ValueError):
        cache.space.get([b"a", b"b"], bytearray(BLOCK + 1))
    with pytest.raises(ValueError):
        cache.space.get([b"a", b"b"], [bytearray(BLOCK)])
    with pytest.raises(BufferError):
        cache.space.get(b"a", bytearray(0))


def test_memory_that_cannot_be_used_in_place(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    with pytest.raises(BufferError):
        cache.space.get(b"a", memoryview(bytearray(2 * BLOCK))[::2])
    with pytest.raises(BufferError):
        cache.space.get(b"a", bytes(BLOCK))
    with pytest.raises(TypeError):
        cache.space.get(b"a", "text")
    with pytest.raises(TypeError):
        cache.space.get(b"a", 12)
    with pytest.raises(BufferError):
        cache.space.get(b"a", (0, BLOCK))


class OnADevice:
    """As a tensor of a GPU shows itself."""

    __cuda_array_interface__ = {"data": (1, False), "shape": (1,), "typestr": "|u1", "version": 3}


def test_memory_of_a_device_is_not_supported(cache: Cache) -> None:
    with pytest.raises(cubby.NotSupportedError):
        cache.space.put(b"a", OnADevice())


def test_wrong_keys(cache: Cache) -> None:
    for wrong in ("text", 5, None, [b"a", "text"]):
        with pytest.raises(TypeError):
            cache.space.match(wrong)
    with pytest.raises(ValueError):
        cache.space.match(b"x" * 65)
    with pytest.raises(ValueError):
        cubby.Keys(b"x" * 33, 32)
    with pytest.raises(ValueError):
        cubby.Keys(b"x" * 65, 65)
    with pytest.raises(ValueError):
        cache.space.put(b"a", block(1), keep="for ever")
    with pytest.raises(ValueError):
        cubby.Runtime(pump="nobody")


def test_wrong_numbers(cache: Cache) -> None:
    with pytest.raises(IndexError):
        cache.bank.number(1, 0)
    with pytest.raises(IndexError):
        cache.bank.pin([5000], cache.host)
    with pytest.raises(cubby.FormatError):
        cache.runtime.adopt(__file__)


def test_a_closed_runtime(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    pins = cache.space.pin(b"a", cache.host)
    view = pins.view(0)
    lease = cache.space.lease(b"a")
    queue = cache.runtime.queue(4)
    cache.runtime.close()
    cache.runtime.close()
    assert cache.runtime.closed
    for call in (
        lambda: cache.space.match(b"a"),
        lambda: cache.space.put(b"a", block(1)),
        lambda: cache.space.get(b"a", bytearray(BLOCK)),
        lambda: cache.runtime.stats(),
        lambda: cache.runtime.queue(4),
        lambda: cache.host.describe(),
        lambda: cache.runtime.drain(),
        lambda: lease.end(),
    ):
        with pytest.raises(cubby.ShutdownError):
            call()
    with pytest.raises(BufferError):
        memoryview(view)
    pins.release()
    assert queue.take() == []
    queue.close()


def test_the_objects_outlive_the_name_of_the_runtime(tmp_path: Path) -> None:
    space = open_cache(tmp_path).space
    space.put(b"a", block(1), keep="restart")
    assert space.match(b"a") == 1


def test_a_store_has_one_owner(stored: Cache, tmp_path: Path) -> None:
    with pytest.raises(cubby.InUseError) as caught:
        open_cache(tmp_path)
    assert "held by this process" in str(caught.value)


def test_close_ends_the_waits_of_other_threads(cache: Cache) -> None:
    queue = cache.runtime.queue(4)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            queue.wait()
        except cubby.CubbyError as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    queue.close()
    thread.join(10)
    assert not thread.is_alive() and len(caught) == 1


def test_calls_beside_a_close(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.space.put(b"a", block(1))
    stop: list[BaseException] = []

    def call() -> None:
        into = bytearray(BLOCK)
        try:
            while True:
                assert cache.space.get(b"a", into)
                cache.space.match(b"a")
        except cubby.ShutdownError as error:
            stop.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    cache.runtime.close()
    for thread in threads:
        thread.join(10)
    assert len(stop) == 4


class Interrupted(Exception):
    """Raised by the handler of a signal."""


def test_a_signal_in_mid_wait(cache: Cache) -> None:
    def handler(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGINT, handler)
    try:
        queue = cache.runtime.queue(4)
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        with pytest.raises(Interrupted):
            queue.wait()
        assert time.monotonic() - began < 5
        cache.space.put(b"a", block(1))
        assert cache.space.match(b"a") == 1
    finally:
        signal.signal(signal.SIGINT, before)


def test_others_run_while_one_waits(cache: Cache) -> None:
    queue = cache.runtime.queue(4)
    turns = 0
    thread = threading.Thread(target=lambda: queue.wait(0.3))
    thread.start()
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        turns += 1
    thread.join()
    assert turns > 1000


def test_timeouts(cache: Cache) -> None:
    queue = cache.runtime.queue(4)
    began = time.monotonic()
    assert queue.wait(0.12) is False
    assert 0.1 < time.monotonic() - began < 5
    for wrong in (-1, float("nan")):
        with pytest.raises(ValueError):
            queue.wait(wrong)
    with pytest.raises(TypeError):
        queue.wait("soon")

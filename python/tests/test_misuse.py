"""What goes wrong is an exception with a cause, never a crash."""

from __future__ import annotations

import ctypes
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


def test_arguments_of_wrong_types_are_type_errors(cache: Cache) -> None:
    space, bank, host = cache.space, cache.bank, cache.host
    for wrong in ([5], [(1,)], [(-1, 2)], ["ab"]):
        with pytest.raises(TypeError, match="trailing, group"):
            space.match([b"a"], parts=wrong)
    for wrong in ([-1], ["x"], [1.5], [None]):
        with pytest.raises(TypeError, match="recompute_ns"):
            space.split([b"a"], host, wrong)
    for wrong in ("host", 5, bank):
        with pytest.raises(TypeError, match="Tier"):
            space.drop(b"a", wrong)
        with pytest.raises(TypeError, match="Tier"):
            bank.drop([1], wrong)
    for wrong in ([-1], ["x"], 5, [1.5]):
        with pytest.raises(TypeError, match="rows"):
            bank.gather(wrong, bytearray(BLOCK))


def test_an_object_without_its_construction_is_refused(cache: Cache) -> None:
    with pytest.raises(BufferError):
        memoryview(cubby.View.__new__(cubby.View))
    with pytest.warns(RuntimeWarning), pytest.raises(TypeError):
        cache.space.match(cubby.Keys.__new__(cubby.Keys))
    with pytest.warns(RuntimeWarning), pytest.raises(TypeError):
        cubby.Runtime.__new__(cubby.Runtime).stats()


def test_paths_are_what_open_takes(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"of no \xff text")
    folder.mkdir()
    for paths in ([folder], (str(folder),), [os.fsencode(folder)]):
        with cubby.Runtime() as runtime:
            runtime.add_tier("host", "host:0", 1 << 20)
            runtime.add_tier("file", "nvme:0", 16 << 20, rank=1, paths=paths)
    with cubby.Runtime() as runtime:
        for wrong in (str(folder), [5], None, 5):
            with pytest.raises(TypeError):
                runtime.add_tier("file", "nvme:0", 16 << 20, rank=1, paths=wrong)
        for call in (runtime.adopt, runtime.seal):
            with pytest.raises(cubby.CubbyError, match="there"):
                call(tmp_path / "there")
            with pytest.raises(ValueError, match="null"):
                call(f"{tmp_path}\0.gguf")  # and not what stands before it
        with pytest.raises(cubby.CubbyError, match="there"):
            cubby.Runtime(profile=tmp_path / "there")


def test_what_dlpack_is_asked_for_beyond_a_view(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    pins = cache.space.pin(b"a", cache.host)
    view = pins.view(0)
    for how in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError):
            view.__dlpack__(**how)
    for how in ({"max_version": ()}, {"max_version": ("1", "0")}, {"dl_device": 1}):
        with pytest.raises(TypeError):
            view.__dlpack__(**how)
    assert view.__dlpack__(copy=False, dl_device=(1, 0), max_version=(1, 2)) is not None
    pins.release()
    cache.runtime.close()  # BufferError where a refused one counts as in use


class Tensor(ctypes.Structure):
    """Of DLPack's version 0: a vector of host memory."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.c_void_p),
        ("offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Exporter:
    """Has __dlpack__ of so many elements of some bits; `meanwhile` is called before it answers."""

    def __init__(self, memory: bytearray, count: int, bits: int, meanwhile: object = None) -> None:
        self.memory, self.meanwhile = memory, meanwhile
        self.shape = (ctypes.c_int64 * 1)(count)
        address = ctypes.addressof((ctypes.c_char * len(memory)).from_buffer(memory))
        host = (ctypes.c_int32 * 2)(1, 0)
        self.tensor = Tensor(address, host, 1, 1, bits, 1, self.shape, None, 0, None, None)

    def __dlpack__(self, **how: object) -> object:
        if callable(self.meanwhile):
            self.meanwhile()
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


def test_elements_of_less_than_a_byte_are_refused(cache: Cache) -> None:
    with pytest.raises(BufferError, match="whole bytes"):
        cache.space.put(b"a", Exporter(bytearray(BLOCK // 2), BLOCK, 4))
    memory = block(3)
    cache.space.put(b"a", Exporter(memory, BLOCK, 8))
    into = bytearray(BLOCK)
    assert cache.space.get(b"a", into) and into == memory


def test_lists_that_change_while_they_are_read(cache: Cache) -> None:
    memory: list[object] = []
    keys = [b"a", b"b", b"c"]

    def meanwhile() -> None:
        memory.clear()
        keys.clear()
        memory.extend(range(1000))

    first = Exporter(block(1), BLOCK, 8, meanwhile)
    memory += [first, block(2), block(3)]
    cache.space.put(keys, memory)
    into = bytearray(3 * BLOCK)
    assert cache.space.get([b"a", b"b", b"c"], into) == [True] * 3
    assert into == block(1) + block(2) + block(3)

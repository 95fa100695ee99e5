"""A program that works on a device, as test_driver.py starts it: libcuda.so.1 is then a driver that
needs no GPU. Beside cubby it makes the driver's own calls, by ctypes, as torch would.

    LD_LIBRARY_PATH=FOLDER python device_program.py CHECK
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import struct
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cubby

MIB = 1 << 20
GATE, UP = 48 << 10, 16 << 10
COLUMNS, ROWS = 6, 2
BLOCK = 64 << 10


class Driver:
    """The calling thread's context on device 0, and what a program does with it."""

    def __init__(self) -> None:
        self.lib = ctypes.CDLL("libcuda.so.1")
        self.lib.cubby_fake_host_syncs.restype = ctypes.c_uint64
        context = ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxPushCurrent_v2", context)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.lib, name)(*arguments)
        assert status == 0, f"{name}: {status}"

    def stream(self) -> int:
        made = ctypes.c_uint64()
        self.call("cuStreamCreateWithPriority", ctypes.byref(made), 1, 0)
        return made.value

    def wait(self, stream: int) -> None:
        self.call("cuStreamSynchronize", ctypes.c_uint64(stream))

    def hold(self, on: bool) -> None:
        """Nothing that is in the streams goes on, or it does again."""
        self.lib.cubby_fake_hold(int(on))

    def host_syncs(self) -> int:
        return self.lib.cubby_fake_host_syncs()

    def flip(self, address: int) -> None:
        self.lib.cubby_fake_flip(ctypes.c_uint64(address))

    def allocate(self, size: int) -> int:
        made = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(made), ctypes.c_size_t(size))
        return made.value

    def read_later(self, address: int, size: int, stream: int) -> bytearray:
        """What is there when the stream gets there; at once, where it is not held."""
        into = bytearray(size)
        to = (ctypes.c_char * size).from_buffer(into)
        self.call(
            "cuMemcpyDtoHAsync_v2",
            to,
            ctypes.c_uint64(address),
            ctypes.c_size_t(size),
            ctypes.c_uint64(stream),
        )
        return into

    def write(self, address: int, data: bytes, stream: int) -> None:
        self.call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            data,
            ctypes.c_size_t(len(data)),
            ctypes.c_uint64(stream),
        )

    def launch(self, kernel: str, work: bytes, stream: int) -> None:
        """One block of a kernel of the library's image, which is the driver's own here."""
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), b"any")
        self.call("cuModuleGetFunction", ctypes.byref(function), module, kernel.encode())
        parameters = (ctypes.c_char_p * 1)(work)
        shape = (1, 1, 1, 32, 1, 1, 0)
        self.call("cuLaunchKernel", function, *shape, ctypes.c_uint64(stream), parameters, None)


class Tensor:
    """Bytes of the device, as torch shows them."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }
        self.device = types.SimpleNamespace(index=0)


def torch_stream(stream: int) -> types.SimpleNamespace:
    return types.SimpleNamespace(cuda_stream=stream, device=types.SimpleNamespace(index=0))


class Model:
    """A file of lockers of two parts, and a bank over it in a device's tier."""

    def __init__(self, runtime: cubby.Runtime, folder: str) -> None:
        count = ROWS * COLUMNS
        self.data = random.Random(7).randbytes(count * (GATE + UP))
        path = Path(folder) / "weights"
        path.write_bytes(self.data)
        self.device = runtime.add_tier("cuda", "device:0", 4 * MIB, device=0)
        self.bank = runtime.add_bank(
            "weights", "experts", ROWS, COLUMNS, GATE + UP, part_bytes=[GATE, UP]
        )
        extents = [
            (n, part, 0, self.offset(n, part), (GATE, UP)[part])
            for n in range(count)
            for part in range(2)
        ]
        self.bank.map([str(path)], extents)

    @staticmethod
    def offset(number: int, part: int) -> int:
        return number * (GATE + UP) + part * GATE

    def part(self, number: int, part: int) -> bytes:
        at = self.offset(number, part)
        return self.data[at : at + (GATE, UP)[part]]


@contextlib.contextmanager
def refused(kind: type[BaseException], words: str = "") -> Iterator[None]:
    try:
        yield
    except kind as error:
        assert words in str(error), str(error)
        return
    raise AssertionError(f"nothing was raised where {kind.__name__} is due")


def pins(driver: Driver, runtime: cubby.Runtime, folder: str) -> None:
    """Streams wait for the bytes of pins, and frames for streams; the host does for neither."""
    model = Model(runtime, folder)
    stream = driver.stream()
    before = driver.host_syncs()
    for named in (stream, torch_stream(stream)):
        driver.hold(True)
        held = model.bank.pin([4, 9], model.device, stream=named)
        view = held.view(1, part=1)
        assert view is not None and view.address == held.address(1, 1)
        shown = view.__cuda_array_interface__
        assert shown["data"] == (view.address, True) and shown["shape"] == (UP,)
        assert view.__dlpack_device__() == (2, 0)
        assert "dltensor" in repr(view.__dlpack__())
        with refused(BufferError, "__cuda_array_interface__"):
            memoryview(view)
        seen = driver.read_later(view.address, UP, stream)
        gate = driver.read_later(held.address(0), GATE, stream)
        assert seen != model.part(9, 1) and gate != model.part(4, 0)
        driver.hold(False)
        driver.wait(stream)
        assert seen == model.part(9, 1) and gate == model.part(4, 0)

        with refused(cubby.InvalidError):
            held.release(stream=0x12345)
        driver.hold(True)
        seen = driver.read_later(view.address, UP, stream)
        held.release(stream=named)
        with refused(cubby.BusyError):
            model.bank.drop([4, 9], model.device)
        driver.hold(False)
        driver.wait(stream)
        assert seen == model.part(9, 1)
        for _ in range(1000):  # the runtime looks at the stream now and then
            try:
                model.bank.drop([4, 9], model.device)
                break
            except cubby.BusyError:
                time.sleep(0.01)
        else:
            raise AssertionError("the frames were not given back")
    # This program's own: two waits and three copies into memory that is not registered, a round.
    assert driver.host_syncs() - before == 2 * 5


def blocks(driver: Driver, runtime: cubby.Runtime, folder: str) -> None:
    """Blocks out of a device's memory and into it, in a stream's order; pages that lie apart."""
    host = runtime.add_tier("host", "host:0", 4 * MIB)
    with refused(cubby.NotSupportedError):
        runtime.add_tier("cuda", "x", MIB, device=9)
    assert any("no device 9" in line[3] for line in runtime.take_log())
    runtime.add_tier("cuda", "device:0", 2 * MIB, device=0, rank=1)
    bank = runtime.add_bank("kv", "kv", 1, 64, BLOCK)
    space = runtime.add_space(bank, b"a model, fp16")
    stream = driver.stream()
    address = driver.allocate(2 * MIB)
    tensor = runtime.add_region(Tensor(address, 2 * MIB))
    wanted = random.Random(1).randbytes(BLOCK)

    # The put reads what the stream has written by then.
    driver.hold(True)
    driver.write(address + MIB, wanted, stream)
    ticket = space.submit_put(b"a", tensor.span(MIB, BLOCK), stream=stream)
    assert not ticket.wait(0.05) and space.match([b"a"]) == 0
    driver.hold(False)
    assert ticket.wait(60)
    into = bytearray(BLOCK)
    assert space.get(b"a", into) and into == wanted

    # A stream that is given a get finds the bytes, in pieces and in pages that lie apart.
    paged = runtime.add_region(
        Tensor(address, MIB), piece_bytes=BLOCK // 4, stride_bytes=BLOCK, piece_count=16
    )
    for where, spots in (
        ([tensor.span(0, BLOCK // 2), tensor.span(MIB // 2, BLOCK // 2)], [0, MIB // 2]),
        (paged.span(BLOCK, BLOCK), [(4 + i) * BLOCK for i in range(4)]),
    ):
        piece = BLOCK // len(spots)
        driver.hold(True)
        assert space.get(b"a", where, stream=torch_stream(stream))
        seen = [driver.read_later(address + at, piece, stream) for at in spots]
        driver.hold(False)
        driver.wait(stream)
        assert b"".join(seen) == wanted
    with refused(cubby.InvalidError):
        space.get(b"a", tensor.span(0, BLOCK), stream=0x12345)
    assert space.verify([b"a", b"b"], host) == [cubby.Status.OK, cubby.Status.MISS]


def slots(driver: Driver, runtime: cubby.Runtime, folder: str) -> None:
    """A kernel finds lockers by number in a table, and what it lacks is brought meanwhile."""
    model = Model(runtime, folder)
    stream = driver.stream()
    model.bank.pin([2], model.device).release()
    with model.bank.slots(model.device) as table:
        before = driver.host_syncs()  # the table's own memory was zeroed before
        with refused(cubby.BusyError):
            model.bank.slots(model.device)
        assert (table.rows, table.columns, table.part_count) == (ROWS, COLUMNS, 2)
        for array, shape in (
            (table.entries, (ROWS, COLUMNS)),
            (table.asked, (ROWS, COLUMNS)),
            (table.part_offsets, (ROWS, 2)),
        ):
            assert array.shape == shape and array.nbytes == 8 * shape[0] * shape[1]
            shown = array.__cuda_array_interface__
            assert shown["data"] == (array.address, True) and shown["typestr"] == "<u8"
            assert array.__dlpack_device__() == (2, 0) and len(array) == ROWS
        capsule = table.entries.__dlpack__(max_version=(1, 0))
        assert "dltensor_versioned" in repr(capsule)
        with refused(BufferError, "in use"):
            table.remove()
        del capsule

        # What the reference kernel of the library is given: the table by value, and addresses.
        memory = driver.allocate(2 * MIB)
        chosen, words, outcome = memory, memory + 64, memory + 128
        driver.write(chosen, struct.pack("<3i", 2, -1, 5), stream)
        work = table.struct_bytes + struct.pack(
            "<4Q4I", chosen, words, outcome, 0, 1, 3, 4_000_000_000, 0
        )
        driver.launch("cubby_acquire", work, stream)
        driver.wait(stream)
        (got,) = struct.unpack("<i", driver.read_later(outcome, 4, stream))
        assert got == 0, got
        found = struct.unpack("<3Q", driver.read_later(words, 24, stream))
        assert found[1] == 0
        for column, word in ((2, found[0]), (5, found[2])):
            for part in range(2):
                at = (1 * 2 + part) * 8
                offset = driver.read_later(table.part_offsets.address + at, 8, stream)
                frame = (word >> 28) - 1
                address = table.base[part] + frame * table.stride_bytes[part]
                address += int.from_bytes(offset, "little")
                seen = driver.read_later(address, (GATE, UP)[part], stream)
                assert seen == model.part(COLUMNS + column, part), (column, part)
        driver.launch("cubby_leave", table.struct_bytes, stream)
        driver.wait(stream)
        # This program's own: two waits, and what it has read.
        assert driver.host_syncs() - before == 2 + 2 + 2 * 2 * 2
        # A struct that a kernel may keep says the same as the object.
        fields = struct.unpack("<6I5Q32Q", table.struct_bytes)
        assert fields[2:6] == (ROWS, COLUMNS, 2, table.miss_count_max)
        assert fields[6:11] == (
            table.entries.address,
            table.asked.address,
            table.part_offsets.address,
            table.state,
            table.shared,
        )
        assert fields[11:13] == table.base and fields[27:29] == table.stride_bytes
    with refused(BufferError, "removed"):
        assert table.state
    table.remove()  # a second time
    model.bank.slots(model.device)  # nobody holds it: it is gone at once
    model.bank.remove()


def verify(driver: Driver, runtime: cubby.Runtime, folder: str) -> None:
    """A flipped bit in the device is one locker's."""
    model = Model(runtime, folder)
    before = driver.host_syncs()
    with model.bank.pin([1, 5, 7], model.device) as held:
        address = held.address(1, 1)
    asked = [1, 5, 7, 8]
    ok, miss, corrupt = cubby.Status.OK, cubby.Status.MISS, cubby.Status.CORRUPT
    assert model.bank.verify(asked, model.device) == [ok, ok, ok, miss]
    driver.flip(address + 100)
    ticket = model.bank.submit_verify(asked, model.device)
    with refused(cubby.CubbyError):
        ticket.wait(60)
    assert ticket.item_status == [ok, corrupt, ok, miss]
    assert model.bank.verify(asked, model.device) == [ok, miss, ok, miss]
    model.bank.pin([5], model.device).release()
    assert model.bank.verify(asked, model.device) == [ok, ok, ok, miss]
    assert driver.host_syncs() == before


def main() -> None:
    checks = {one.__name__: one for one in (pins, blocks, slots, verify)}
    with tempfile.TemporaryDirectory() as folder, cubby.Runtime() as runtime:
        checks[sys.argv[1]](Driver(), runtime, folder)
    print(sys.argv[1], "done")


if __name__ == "__main__":
    main()

"""Requests, queues and runtimes that are dropped, waited for twice, or end in an unusual order."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from pathlib import Path

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby


def fill(cache: Cache, count: int) -> list[bytes]:
    """Blocks in the store, most of them in no memory."""
    keys = [b"k%d" % i for i in range(count)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")
    return keys


@pytest.fixture
def small(tmp_path: Path) -> Cache:
    """With a store and next to no memory, so that gets go to the disk."""
    return open_cache(tmp_path, host_blocks=4)


def test_threads_that_wait_for_one_ticket_have_one_answer(small: Cache) -> None:
    keys = fill(small, 64)
    answers: list[object] = []
    tickets: list[cubby.Ticket] = []
    turns, count = 60, 6
    start = threading.Barrier(count + 1)

    def wait() -> None:
        for turn in range(turns):
            start.wait()
            try:
                answers.append(tickets[turn].wait())
            except cubby.CubbyError as error:
                answers.append(error)

    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    for _ in range(turns):
        tickets.append(small.space.submit_get(keys, bytearray(len(keys) * BLOCK)))
        start.wait()
        while len(answers) < len(tickets) * count:  # the interpreter's lock is in demand
            pass
    for thread in threads:
        thread.join()
    assert any(ticket.handle != 0 for ticket in tickets)
    assert {repr(answer) for answer in answers} == {"True"}
    small.runtime.close()


class Memory(bytearray):
    """May be referred to weakly."""


def test_a_failed_request_holds_nothing_once_it_is_dropped(cache: Cache) -> None:
    seen = []

    def fail() -> None:
        memory = Memory(BLOCK + 1)
        seen.append(weakref.ref(memory))
        ticket = cache.space.submit_put(b"a", memory)
        with pytest.raises(cubby.InvalidError):
            ticket.wait()

    for _ in range(5):
        fail()
    gc.collect()
    assert [each() for each in seen] == [None] * 5


def test_every_raise_has_an_exception_of_its_own(cache: Cache) -> None:
    ticket = cache.space.submit_put(b"a", bytearray(BLOCK + 1))
    caught = []
    for _ in range(2):
        with pytest.raises(cubby.InvalidError) as each:
            ticket.wait()
        caught.append(each.value)
    assert caught[0] is not caught[1]
    assert str(caught[0]) == str(caught[1]) != ""


def test_memory_of_a_dropped_ticket_is_free_after_a_drain(small: Cache) -> None:
    keys = fill(small, 32)
    into = bytearray(8 * BLOCK)
    ticket = small.space.submit_get(keys[:8], into)
    assert ticket.handle != 0
    del ticket
    small.runtime.drain()
    into.extend(b"free")
    small.runtime.close()


def test_a_drain_gives_back_the_memory_of_tickets_that_are_there(small: Cache) -> None:
    keys = fill(small, 32)
    queue = small.runtime.queue(4)
    into = [bytearray(8 * BLOCK), bytearray(8 * BLOCK)]
    tickets = [
        small.space.submit_get(keys[:8], into[0]),
        small.space.submit_get(keys[8:16], into[1], queue=queue),
    ]
    assert all(ticket.handle != 0 for ticket in tickets)
    small.runtime.drain()
    for memory in into:
        memory.extend(b"free")
    assert [ticket.wait(0) for ticket in tickets] == [True, True]
    assert [done.ticket for done in queue.take()] == [tickets[1].handle]
    assert into[0] == b"".join(block(i) for i in range(8)) + b"free"
    small.runtime.close()


def test_memory_of_a_dropped_ticket_is_free_with_later_requests(small: Cache) -> None:
    keys = fill(small, 32)
    into = bytearray(8 * BLOCK)
    ticket = small.space.submit_get(keys[:8], into)
    assert ticket.handle != 0
    del ticket
    until = time.monotonic() + 20
    while time.monotonic() < until:
        small.space.get(keys[31], bytearray(BLOCK))
        try:
            into.extend(b"free")
            break
        except BufferError:
            time.sleep(0.01)
    assert len(into) > 8 * BLOCK
    small.runtime.close()


@pytest.mark.parametrize("with_queue", [False, True])
def test_a_runtime_ends_with_its_last_name(tmp_path: Path, with_queue: bool) -> None:
    def work() -> int:
        cache = open_cache(tmp_path, host_blocks=4)
        queue = cache.runtime.queue(8) if with_queue else None
        ticket = cache.space.submit_put(b"a", block(1), keep="restart", queue=queue)
        return ticket.handle

    assert work() != 0
    cache = open_cache(tmp_path)  # InUseError while the first one is open
    cache.runtime.close()


def test_queues_that_are_dropped_take_their_descriptors_with_them(small: Cache) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for i in range(10):
        queue = small.runtime.queue(4)
        queue.fileno()
        ticket = small.space.submit_put(b"q%d" % i, block(i), keep="restart", queue=queue)
        ticket.wait()  # its completion is in the queue, and nobody takes it
    del queue, ticket
    assert len(os.listdir("/proc/self/fd")) == before
    small.runtime.close()


def test_a_dropped_queue_gives_the_memory_back(small: Cache) -> None:
    keys = fill(small, 32)
    into = bytearray(8 * BLOCK)
    queue = small.runtime.queue(4)
    ticket = small.space.submit_get(keys[:8], into, queue=queue)
    assert ticket.handle != 0
    del ticket, queue
    small.runtime.drain()
    into.extend(b"free")
    small.runtime.close()


def damage(folder: Path, count: int) -> None:
    """Changes a byte of each of the blocks 0 to count - 1 in a store."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    store = max(files, key=lambda path: path.stat().st_blocks)
    data = bytearray(store.read_bytes())
    for i in range(count):
        at = data.find(block(i + 1))
        assert at >= 0
        data[at + 100] ^= 1
    store.write_bytes(data)


def test_what_was_waited_for_leaves_nothing_when_it_is_taken(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    keys = [b"k%d" % i for i in range(8)]
    cache.space.put(keys, [block(i + 1) for i in range(8)], keep="restart")
    cache.runtime.close()
    damage(tmp_path, 8)
    cache = open_cache(tmp_path)
    queue = cache.runtime.queue(16)
    failed = 0
    for key in keys:
        ticket = cache.space.submit_get(key, bytearray(BLOCK), queue=queue)
        try:
            ticket.wait()
        except cubby.CubbyError:
            failed += 1
        assert [done.error is not None for done in queue.take()] in ([True], [])
    del ticket
    assert failed == 8
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, cubby.CubbyError)] == []
    cache.runtime.close()


def test_memory_whose_end_makes_requests(small: Cache) -> None:
    keys = fill(small, 16)

    class Busy(bytearray):
        def __del__(self) -> None:
            for _ in range(3):
                small.space.submit_get(keys[:2], [bytearray(BLOCK), bytearray(BLOCK)])

    for turn in range(60):
        try:
            small.space.submit_get(keys[turn % 16], Busy(BLOCK))
        except cubby.BusyError:
            small.runtime.drain()
    small.runtime.drain()
    Busy.__del__ = lambda self: None  # type: ignore[method-assign]
    small.runtime.close()


def test_an_exception_is_not_replaced_by_what_it_holds(tmp_path: Path) -> None:
    def work() -> None:
        cache = open_cache(tmp_path)
        with cache.runtime:
            cache.space.put(b"a", block(1), keep="restart")
            seen = memoryview(cache.space.pin(b"a", cache.host).view(0))
            raise KeyError(len(seen))  # its traceback holds the frame, and that the buffer

    with pytest.raises(KeyError) as caught:
        work()
    assert caught.value.__context__ is None
    del caught
    gc.collect()
    again = open_cache(tmp_path)  # InUseError unless the first one has ended
    assert again.space.match(b"a") == 1
    with pytest.raises(BufferError), again.runtime:
        held = memoryview(again.space.pin(b"a", again.host).view(0))
    held.release()
    again.runtime.close()

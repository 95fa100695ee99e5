"""Blocks by key: match, get, put, pins, leases, tickets and queues."""

from __future__ import annotations

import gc
import mmap
import select
import sys
import threading
import warnings
from pathlib import Path

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby


def test_a_block_comes_back(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    into = bytearray(BLOCK)
    assert cache.space.get(b"a", into) is True
    assert into == block(1)


def test_a_miss_leaves_memory_alone(cache: Cache) -> None:
    into = block(7)
    assert cache.space.get(b"nowhere", into) is False
    assert into == block(7)


def test_match_follows_the_chain(cache: Cache) -> None:
    keys = [b"k%d" % i for i in range(100)]
    cache.space.put(keys[:50], [block(i) for i in range(50)], chain=True)
    assert cache.space.match(keys) == 50
    assert cache.space.match(tuple(keys[:10])) == 10
    assert cache.space.match(keys[1:]) == 0, "keys[1] is no root"
    assert cache.space.match(keys[1:], after=keys[0]) == 49
    assert cache.space.match(cubby.Keys(keys)) == 50
    states = cache.space.states(keys)
    assert list(states) == [cubby.State.HOST] * 50 + [cubby.State.MISS] * 50


def test_parts_have_rules_of_their_own() -> None:
    with cubby.Runtime() as runtime:
        runtime.add_tier("host", "host:0", 64 * BLOCK)
        parts = [BLOCK // 2, BLOCK // 2]
        bank = runtime.add_bank("kv", "kv", 1, 64, BLOCK, part_bytes=parts)
        space = runtime.add_space(bank, b"a model")
        keys = [b"k%d" % i for i in range(8)]
        for i, key in enumerate(keys):
            whole = i % 4 == 3
            memory = block(i) if whole else block(i)[: BLOCK // 2]
            space.put(key, memory, after=keys[i - 1] if i else None)
        assert space.match(keys) == 8
        assert space.match(keys, parts=[(0, 1), None]) == 8
        assert space.match(keys, parts=[(0, 1), (0, 1)]) == 0
        assert space.match(keys[:7], parts=[(0, 1), (1, 4)]) == 4
        assert space.restorable(keys, parts=[(0, 1), (1, 4)]) == [4, 8]
        with pytest.raises(cubby.InvalidError, match="cubby_match_rule"):
            space.match(keys, parts=[(0, 1)] * 3)


def test_packed_keys_are_the_same_keys(cache: Cache) -> None:
    keys = [i.to_bytes(32, "big") for i in range(2000)]
    cache.space.put(keys[:20], [block(i) for i in range(20)], chain=True)
    packed = cubby.Keys(b"".join(keys), 32)
    assert len(packed) == 2000
    assert cache.space.match(packed) == 20
    assert cache.space.match(keys) == 20
    into = bytearray(20 * BLOCK)
    assert cache.space.get(cubby.Keys(b"".join(keys[:20]), 32), into) == [True] * 20
    assert into == b"".join(block(i) for i in range(20))


def test_a_batch_says_which_were_there(cache: Cache) -> None:
    cache.space.put([b"a", b"c"], [block(1), block(3)])
    into = [bytearray(BLOCK) for _ in range(3)]
    assert cache.space.get([b"a", b"b", b"c"], into) == [True, False, True]
    assert into == [block(1), bytearray(BLOCK), block(3)]
    assert cache.space.get([b"x", b"y"], into[:2]) == [False, False]


def test_one_memory_is_cut_into_equal_parts(cache: Cache) -> None:
    cache.space.put([b"a", b"b"], block(1) + block(2))
    into = bytearray(2 * BLOCK)
    assert cache.space.get([b"b", b"a"], into) == [True, True]
    assert into == block(2) + block(1)


def test_scatter_and_gather(cache: Cache) -> None:
    half = BLOCK // 2
    whole = block(5)
    cache.space.put(b"a", [memoryview(whole)[:half], memoryview(whole)[half:]])
    first, second = bytearray(half), bytearray(half)
    assert cache.space.get([b"a"], [[first, second]]) == [True]
    assert first + second == whole


def test_a_region_is_memory_too(cache: Cache) -> None:
    lent = bytearray(2 * BLOCK)
    region = cache.runtime.add_region(lent)
    cache.space.put(b"a", block(9))
    assert cache.space.get(b"a", region.span(BLOCK, BLOCK)) is True
    assert lent[BLOCK:] == block(9)
    with pytest.raises(ValueError):
        region.span(BLOCK, BLOCK + 1)
    region.remove()
    lent.append(0)  # not exported any more
    with pytest.raises(cubby.StaleError):
        cache.space.get(b"a", region.span(0, BLOCK))


def test_pins_are_views_in_place(cache: Cache) -> None:
    cache.space.put(b"a", block(4))
    with cache.space.pin([b"a"], cache.host) as pins:
        view = pins.view(0)
        assert len(view) == view.nbytes == BLOCK
        assert pins.status(0) == cubby.Status.OK
        assert pins.address(0) == view.address != 0
        with memoryview(view) as seen:
            assert seen.readonly
            assert seen == block(4)
            with pytest.raises(TypeError):
                seen[0] = 1
    with pytest.raises(BufferError):
        memoryview(view)
    with pytest.raises(BufferError):
        pins.address(0)


def test_a_buffer_in_use_holds_its_pin(cache: Cache) -> None:
    cache.space.put(b"a", block(4))
    with cache.space.pin(b"a", cache.host) as pins:
        seen = memoryview(pins.view(0))
    with pytest.raises(cubby.BusyError):
        cache.space.drop(b"a")
    with pytest.raises(BufferError):
        cache.runtime.close()
    assert seen == block(4)
    seen.release()
    cache.space.drop(b"a")
    assert cache.space.match(b"a") == 0


def test_a_pin_of_nothing_is_a_miss(cache: Cache) -> None:
    with pytest.raises(cubby.MissError):
        cache.space.pin(b"nowhere", cache.host)


@pytest.mark.parametrize("ttl_ms", [0, 3_600_000])
def test_a_lease_that_is_dropped_ends(cache: Cache, ttl_ms: int) -> None:
    cache.space.put(b"a", block(1))
    lease = cache.space.lease(b"a", ttl_ms)
    with pytest.raises(cubby.BusyError):
        cache.space.drop(b"a")
    with pytest.warns(ResourceWarning, match="Lease was dropped"):
        del lease
        gc.collect()
    cache.space.drop(b"a")
    assert cache.space.match(b"a") == 0


def test_leases_that_ended_are_dropped_without_a_word(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.space.put(b"a", block(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.space.lease(b"a").end()
        with cache.space.lease(b"a"):
            pass
        of_closed = cache.space.lease(b"a")
        cache.runtime.close()
        del of_closed
        gc.collect()


def test_leases_that_are_dropped_in_many_threads(cache: Cache) -> None:
    cache.space.put(b"a", block(1))

    def hold() -> None:
        for _ in range(200):
            cache.space.lease(b"a")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        threads = [threading.Thread(target=hold) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    cache.space.drop(b"a")


def test_a_lease_holds_a_key(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    with cache.space.lease([b"a"]) as lease:
        assert cache.space.match(b"a") == 1
    lease.end()
    with pytest.raises(cubby.MissError):
        cache.space.lease([b"nowhere"])


def test_tickets_and_a_queue(stored: Cache) -> None:
    with stored.runtime.queue(8) as queue:
        ticket = stored.space.submit_put(b"a", block(1), keep="restart", queue=queue, user=42)
        assert ticket.handle != 0, "a put that is to outlive the process waits for the store"
        assert select.select([queue], [], [], 10)[0]
        (done,) = queue.take()
        assert (done.user, done.ticket, done.status) == (42, ticket.handle, cubby.Status.OK)
        assert (done.ok_count, done.item_count) == (1, 1)
        assert done.done_ns >= done.issued_ns > 0
        assert ticket.done and ticket.wait() is True
        assert ticket.item_status == [cubby.Status.OK]
        assert not select.select([queue], [], [], 0)[0]
        assert queue.wait(0) is False
    with pytest.raises(cubby.ShutdownError):
        queue.take()


def test_a_ticket_can_be_dropped(tmp_path) -> None:
    cache = open_cache(tmp_path, host_blocks=4)
    keys = [b"k%d" % i for i in range(16)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")
    for i in range(16):  # most are on disk alone; their memory goes with the tickets
        cache.space.submit_get(keys[i], bytearray(BLOCK))
    into = bytearray(16 * BLOCK)
    assert cache.space.get(keys, into) == [True] * 16
    assert into == b"".join(block(i) for i in range(16))
    cache.runtime.close()


def test_drop_and_stats(cache: Cache) -> None:
    cache.space.put(b"a", block(1))
    assert cache.runtime.stats()["tiers"][0]["used_bytes"] >= BLOCK
    cache.space.drop(b"a")
    assert cache.space.match(b"a") == 0
    assert cache.host.describe()["name"] == "host:0"
    assert cache.host.resize(4 << 20).wait() is True
    assert all(len(line) == 4 for line in cache.runtime.take_log())


def test_metrics_are_the_numbers_of_stats(stored: Cache) -> None:
    stored.space.put(b"a", block(1))
    used = stored.runtime.stats()["tiers"][0]["used_bytes"]
    lines = stored.runtime.metrics().splitlines()
    assert f'cubby_tier_used_bytes{{tier="host:0",backend="host"}} {used}' in lines
    with pytest.raises(ValueError, match="3600"):
        stored.runtime.publish(-1)
    stored.runtime.publish(0.05)
    stored.runtime.publish(0)


def test_with_bypass_no_copy_stays_in_memory(stored: Cache) -> None:
    whole = memoryview(mmap.mmap(-1, 4 * BLOCK))  # on pages, else they go by way of memory
    keys, blocks = [b"past%d" % i for i in range(4)], [whole[i * BLOCK :][:BLOCK] for i in range(4)]
    for i, one in enumerate(blocks):
        one[:] = block(i)
    stored.space.put(keys, blocks, keep="restart", bypass=True)
    assert list(stored.space.states(keys)) == [cubby.State.FILE] * 4
    into = [bytearray(BLOCK) for _ in keys]
    assert stored.space.get(keys, into, bypass=True) == [True] * 4
    assert into == blocks
    queue = stored.runtime.queue(8)
    more = [b"more%d" % i for i in range(4)]
    stored.space.submit_put(more, blocks, keep="restart", queue=queue, bypass=True).wait()
    into = [bytearray(BLOCK) for _ in keys]
    stored.space.submit_get(more, into, queue=queue, bypass=True).wait()
    assert into == blocks
    assert list(stored.space.states(keys + more)) == [cubby.State.FILE] * 8


def test_split_says_what_to_load(stored: Cache) -> None:
    keys = [b"k%d" % i for i in range(4)]
    stored.space.put(keys, [block(i) for i in range(4)], chain=True)
    split = stored.space.split(keys, stored.host, [10**9] * 4)
    assert split["load_count"] == 4, "they are in memory, and computing takes seconds"
    with pytest.raises(ValueError):
        stored.space.split(keys, stored.host, [1])


def test_caller_pump(tmp_path) -> None:
    cache = open_cache(tmp_path, pump="caller")
    cache.space.put(b"a", block(1), keep="restart")
    into = bytearray(BLOCK)
    assert cache.space.get(b"a", into) and into == block(1)
    cache.runtime.poll()
    assert cache.runtime.drain(10) is True
    cache.runtime.close()


def test_a_completion_may_be_taken_before_submit_returns(stored: Cache) -> None:
    queue = stored.runtime.queue(256)
    stop = threading.Event()
    taken: list[int] = []

    def take() -> None:
        while not (stop.is_set() and not queue.wait(0)):
            taken.extend(done.user for done in queue.take())

    thread = threading.Thread(target=take)
    thread.start()
    before, tickets = sys.getswitchinterval(), []
    sys.setswitchinterval(1e-6)
    try:
        for i in range(300):
            key, memory = b"%d" % i, block(i)
            how = {"keep": "restart", "queue": queue, "user": i}
            ticket = stored.space.submit_put(key, memory, **how)
            while ticket.status == cubby.Status.BUSY:  # the disk is slower than this loop
                stored.runtime.drain(1)
                ticket = stored.space.submit_put(key, memory, **how)
            tickets.append(ticket)
        assert stored.runtime.drain(30)
    finally:
        sys.setswitchinterval(before)
        stop.set()
        thread.join(30)
    assert sorted(taken) == [i for i in range(300) if tickets[i].handle != 0]
    assert [ticket.wait(0) for ticket in tickets] == [True] * 300
    assert {ticket.status for ticket in tickets} == {cubby.Status.OK}
    queue.close()


def test_every_usable_length(cache: Cache) -> None:
    keys = [b"k%d" % i for i in range(70)]
    cache.space.put(keys, [block(i) for i in range(70)], chain=True)
    assert cache.space.restorable(keys) == list(range(1, 71))
    assert cache.space.restorable([b"other", *keys]) == []
    assert cache.space.restorable([*keys[:66], b"other"]) == list(range(1, 67))
    assert cache.space.restorable(keys[1:3], after=keys[0], trailing=1) == [1, 2]


def test_hints_say_what_became_of_them(stored: Cache) -> None:
    stored.space.put([b"a", b"b"], block(1) + block(2), keep="restart")
    accepted, rejected = cubby.Outcome.ACCEPTED, cubby.Outcome.REJECTED
    assert list(stored.space.hint("closed", [b"a", b"nowhere"])) == [accepted, rejected]
    assert list(stored.space.hint("priority", b"b", priority=90, ttl_ns=10**9)) == [accepted]
    assert list(stored.space.hint("scheduled", (b"a", b"b"), when_ns=10**9)) == [accepted] * 2
    with pytest.raises(ValueError):
        stored.space.hint("route", b"a")


def test_a_scheduled_block_is_read_ahead(tmp_path) -> None:
    cache = open_cache(tmp_path)
    cache.space.put(b"a", block(1), keep="restart")
    cache.runtime.close()
    cache = open_cache(tmp_path)
    assert list(cache.space.states(b"a")) == [cubby.State.FILE]
    assert list(cache.space.hint("scheduled", b"a")) == [cubby.Outcome.ACCEPTED]
    assert cache.runtime.drain(10)
    assert list(cache.space.states(b"a")) == [cubby.State.HOST]
    cache.runtime.close()


def test_a_strided_region_counts_through_its_pieces(cache: Cache) -> None:
    piece, stride, count = BLOCK // 4, BLOCK, 4
    lent = bytearray(stride * (count - 1) + piece)
    region = cache.runtime.add_region(
        lent, piece_bytes=piece, stride_bytes=stride, piece_count=count
    )
    assert len(region) == BLOCK
    whole = bytearray(bytes([1]) * piece + bytes([2]) * piece + bytes([3]) * (2 * piece))
    cache.space.put(b"a", whole)
    assert cache.space.get(b"a", region.span(0, BLOCK))
    assert [lent[i * stride] for i in range(count)] == [1, 2, 3, 3]
    assert not any(lent[piece:stride]), "what lies between the pieces is nobody's"
    for wrong in ((piece, stride, count + 1), (piece, piece - 1, count), (0, stride, count)):
        with pytest.raises((ValueError, cubby.InvalidError)):
            cache.runtime.add_region(
                bytearray(len(lent)),
                piece_bytes=wrong[0],
                stride_bytes=wrong[1],
                piece_count=wrong[2],
            )


def test_lent_frames() -> None:
    frames = bytearray(8 * BLOCK)
    with cubby.Runtime() as runtime:
        lent = runtime.add_region(frames, piece_bytes=BLOCK, stride_bytes=BLOCK, piece_count=8)
        host = runtime.add_tier("host", "host:0", 8 * BLOCK, memory=[lent])
        bank = runtime.add_bank("kv", "kv", 1, 64, BLOCK)
        space = runtime.add_space(bank, b"lent")
        space.put(b"a", block(3))
        with space.pin(b"a", host) as pins:
            at = pins.address(0)
        assert block(3) in frames
        assert at != 0


def test_a_bank_is_mapped_to_any_file(tmp_path) -> None:
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(100) + b"".join(bytes([i]) * 4096 for i in range(4)))
    with cubby.Runtime() as runtime:
        host = runtime.add_tier("host", "host:0", 1 << 20)
        bank = runtime.add_bank("experts", "experts", 2, 2, 4096)
        extents = [(number, 0, 0, 100 + 4096 * number, 4096) for number in range(4)]
        bank.map([str(file)], extents)
        assert bank.extent(2) == extents[2]
        assert [each["path"] for each in bank.files()] == [str(file)]
        with bank.pin([3, 0], host) as pins:
            assert bytes(memoryview(pins.view(0))) == bytes([3]) * 4096
            assert bytes(memoryview(pins.view(1))) == bytes(4096)
        with pytest.raises(IndexError):
            bank.map([str(file)], [(4, 0, 0, 0, 4096)])
        with pytest.raises(cubby.CubbyError):
            bank.map([str(tmp_path / "nowhere")], extents)

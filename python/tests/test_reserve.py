"""Blocks written in place: reserve, commit, abandon."""

from __future__ import annotations

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby


def fill(slots: cubby.Reservation, item: int, seed: int) -> None:
    with memoryview(slots.view(item)) as to:
        assert not to.readonly
        to[:] = block(seed)


def read(cache: Cache, key: bytes) -> bytearray | None:
    into = bytearray(BLOCK)
    return into if cache.space.get(key, into) else None


def test_committed_blocks_are_found(cache: Cache) -> None:
    keys = [b"a", b"b", b"c"]
    with cache.space.reserve(keys, cache.host, chain=True) as slots:
        assert len(slots) == 3
        assert slots.view(0).address == slots.address(0) != 0
        for item in range(3):
            fill(slots, item, item + 1)
        assert cache.space.match(keys) == 0, "nobody finds what is not committed"
        slots.commit()
    assert cache.space.match(keys) == 3, "they are a chain"
    assert [read(cache, key) for key in keys] == [block(1), block(2), block(3)]


def test_what_is_not_committed_is_given_up(cache: Cache) -> None:
    before = cache.runtime.stats()["tiers"][0]["used_bytes"]
    with cache.space.reserve([b"a", b"b", b"c"], cache.host) as slots:
        for item in range(3):
            fill(slots, item, item)
        slots.commit(1, 1)
        slots.abandon(0, 1)
        with pytest.raises(BufferError):
            slots.view(0)
        with pytest.raises(cubby.InvalidError):
            slots.commit(1, 1)
    assert [read(cache, key) for key in (b"a", b"b", b"c")] == [None, block(1), None]
    cache.space.drop(b"b")
    assert cache.runtime.stats()["tiers"][0]["used_bytes"] == before
    with pytest.raises(BufferError):
        slots.commit()


def test_nobody_writes_to_a_committed_block(cache: Cache) -> None:
    slots = cache.space.reserve([b"a"], cache.host)
    view = slots.view(0)
    writer = memoryview(view)
    writer[:] = block(3)
    with pytest.raises(BufferError):
        slots.commit()
    with pytest.raises(BufferError):
        cache.runtime.close()
    writer.release()
    slots.commit()
    assert read(cache, b"a") == block(3)
    with pytest.raises(BufferError):
        memoryview(view)


def test_a_frame_with_a_writer_is_given_up_later(cache: Cache) -> None:
    with cache.space.reserve([b"a"], cache.host) as slots:
        writer = memoryview(slots.view(0))
    used = cache.runtime.stats()["tiers"][0]["used_bytes"]
    writer[:] = block(9)
    assert used > 0, "the frame is held as long as it is written"
    writer.release()
    assert cache.runtime.stats()["tiers"][0]["used_bytes"] == 0
    assert read(cache, b"a") is None


def test_a_known_key_needs_no_bytes(cache: Cache) -> None:
    cache.space.put(b"a", block(5))
    with cache.space.reserve([b"a", b"b"], cache.host) as slots:
        assert slots.view(0) is None and slots.address(0) == 0
        fill(slots, 1, 6)
        slots.commit()
    assert [read(cache, b"a"), read(cache, b"b")] == [block(5), block(6)]


def test_all_frames_or_none(tmp_path) -> None:
    cache = open_cache(None, host_blocks=4)
    with (
        cache.space.reserve([b"k%d" % i for i in range(8)], cache.host),
        pytest.raises(cubby.BusyError) as busy,
    ):
        cache.space.reserve([b"more"], cache.host)
    assert busy.value.retryable
    cache.space.reserve([b"more"], cache.host).abandon()
    cache.runtime.close()


def test_committed_blocks_outlive_the_process(tmp_path) -> None:
    cache = open_cache(tmp_path)
    with cache.space.reserve([b"a", b"b"], cache.host, keep="restart") as slots:
        fill(slots, 0, 1)
        fill(slots, 1, 2)
        with cache.runtime.queue(8) as queue:
            ticket = slots.submit_commit(0, 1, queue=queue, user=7)
            assert queue.wait(10)
            assert [done.user for done in queue.take()] == [7]
            assert ticket.wait() is True
        slots.commit()
    cache.runtime.close()
    again = open_cache(tmp_path)
    assert [read(again, b"a"), read(again, b"b")] == [block(1), block(2)]
    again.runtime.close()


def test_a_short_block(cache: Cache) -> None:
    with cache.space.reserve(b"a", cache.host, block_bytes=100) as slots:
        with memoryview(slots.view(0)) as to:
            to[:100] = b"x" * 100
        slots.commit()
    into = bytearray(100)
    assert cache.space.get(b"a", into) and into == b"x" * 100


def test_bad_input(cache: Cache) -> None:
    with cache.space.reserve([b"a", b"b"], cache.host) as slots:
        for first, count in ((0, 3), (3, 1), (1, 0)):
            with pytest.raises(IndexError):
                slots.commit(first, count)
        with pytest.raises(IndexError):
            slots.view(2)
        with pytest.raises(ValueError):
            slots.commit(keep="for ever")
        with pytest.raises(cubby.NotSupportedError):
            slots.commit(keep="restart")  # there is no store
    with pytest.raises(cubby.InvalidError):
        cache.space.reserve(b"c", cache.host, block_bytes=BLOCK + 1)

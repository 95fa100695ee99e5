"""asyncio over a completion queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby
from cubby.aio import Session


def test_many_at_once(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, host_blocks=8)

    async def work() -> None:
        async with Session(cache.runtime, capacity=16) as session:
            keys = [b"k%d" % i for i in range(64)]
            await asyncio.gather(
                *(
                    session.put(cache.space, key, block(i), keep="restart")
                    for i, key in enumerate(keys)
                )
            )
            into = [bytearray(BLOCK) for _ in keys]
            found = await asyncio.gather(
                *(session.get(cache.space, key, mine) for key, mine in zip(keys, into, strict=True))
            )
            assert found == [True] * 64
            assert into == [block(i) for i in range(64)]
            assert await session.get(cache.space, b"nowhere", bytearray(BLOCK)) is False
            got = await session.get(cache.space, [keys[0], b"nowhere"], bytearray(2 * BLOCK))
            assert got == [True, False]

    asyncio.run(work())
    cache.runtime.close()


def test_an_error_is_raised_where_it_is_awaited(cache: Cache) -> None:
    async def work() -> None:
        async with Session(cache.runtime) as session:
            with pytest.raises(cubby.NotSupportedError):
                await session.put(cache.space, b"a", block(1), keep="durable")

    asyncio.run(work())


def test_a_cancelled_task_leaves_no_request_behind(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, host_blocks=4)
    keys = [b"k%d" % i for i in range(32)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")

    async def work() -> None:
        async with Session(cache.runtime) as session:
            into = bytearray(32 * BLOCK)
            task = asyncio.create_task(session.get(cache.space, keys, into))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, cubby.CanceledError)):
                await task
            into.extend(b"free")  # nobody holds the memory any more
            assert await session.get(cache.space, keys[0], memoryview(into)[:BLOCK])

    asyncio.run(work())
    cache.runtime.close()

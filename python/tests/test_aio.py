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


def test_a_task_that_is_cancelled_twice_waits_for_its_memory(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, host_blocks=4)
    keys = [b"k%d" % i for i in range(32)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")

    async def work() -> None:
        async with Session(cache.runtime) as session:
            for _ in range(20):
                into = bytearray(32 * BLOCK)
                task = asyncio.create_task(session.get(cache.space, keys, into))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises((asyncio.CancelledError, cubby.CanceledError)):
                    await task
                into.extend(b"free")  # BufferError while the request goes on

    asyncio.run(work())
    cache.runtime.close()


def test_a_session_that_is_cancelled_at_its_end_leaves_nothing(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, host_blocks=4)
    keys = [b"k%d" % i for i in range(32)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")
    sessions = []

    async def work() -> None:
        inner = []

        async def use() -> None:
            async with Session(cache.runtime) as session:
                sessions.append(session)
                into = [bytearray(32 * BLOCK) for _ in range(3)]
                inner.extend(
                    asyncio.create_task(session.get(cache.space, keys, mine)) for mine in into
                )
                await asyncio.sleep(0)

        task = asyncio.create_task(use())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*inner, return_exceptions=True)
        assert sessions[0]._waiting == {}
        with pytest.raises(cubby.ShutdownError):
            sessions[0]._queue.fileno()

    asyncio.run(work())
    cache.runtime.close()


def test_a_runtime_that_is_closed_under_a_session(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, host_blocks=4)
    keys = [b"k%d" % i for i in range(32)]
    for i, key in enumerate(keys):
        cache.space.put(key, block(i), keep="restart")

    async def work() -> None:
        async with Session(cache.runtime) as session:
            into = bytearray(32 * BLOCK)
            task = asyncio.create_task(session.get(cache.space, keys, into))
            await asyncio.sleep(0)
            cache.runtime.close()
            task.cancel()
            with pytest.raises((asyncio.CancelledError, cubby.CubbyError)):
                await asyncio.wait_for(task, 20)

    asyncio.run(work())

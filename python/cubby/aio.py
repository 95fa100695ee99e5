"""asyncio over a completion queue: requests as awaitables, woken by the queue's descriptor.

    async with cubby.aio.Session(runtime) as session:
        await session.put(space, key, block, keep="restart")
        found = await session.get(space, key, block)

The runtime's own thread does the work (pump='thread'); nothing polls.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any

from . import (
    BusyError,
    MissError,
    PartialError,
    Runtime,
    ShutdownError,
    Space,
    Status,
    Ticket,
)


def _withdraw(ticket: Ticket | None) -> None:
    with contextlib.suppress(ShutdownError):  # then it is over, or will be soon
        if ticket is not None:
            ticket.cancel()


class Session:
    """Requests of one event loop. Not for several loops at once."""

    def __init__(self, runtime: Runtime, capacity: int = 1024) -> None:
        """capacity: requests in flight at once; more wait for a place."""
        self._queue = runtime.queue(capacity)
        self._places = asyncio.Semaphore(capacity)
        self._waiting: dict[int, tuple[asyncio.Future[Any], Ticket | None]] = {}
        self._next = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Session:
        self._loop = asyncio.get_running_loop()
        self._descriptor = self._queue.fileno()
        self._loop.add_reader(self._descriptor, self._ready)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for what is in flight. Is this task cancelled meanwhile, what is in flight is
        withdrawn, and waited for all the same: its memory is in use until then."""
        canceled: asyncio.CancelledError | None = None
        while self._waiting:
            try:
                await asyncio.wait([future for future, _ in self._waiting.values()])
            except asyncio.CancelledError as error:
                canceled = error
                for _, ticket in list(self._waiting.values()):
                    _withdraw(ticket)
        if self._loop is not None:
            self._loop.remove_reader(self._descriptor)
        self._queue.close()
        if canceled is not None:
            raise canceled

    def _ready(self) -> None:
        for done in self._queue.take(64):
            future, _ = self._waiting.pop(done.user, (None, None))
            self._places.release()
            if future is not None and not future.done():
                future.set_result(done)

    async def _run(self, submit: Any) -> Ticket:
        """Hands over by `submit(queue, user)` and waits for the completion."""
        if self._loop is None:
            raise RuntimeError("use the session in an `async with`")
        await self._places.acquire()
        user, self._next = self._next, self._next + 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting[user] = (future, None)
        try:
            ticket: Ticket = submit(self._queue, user)
        except BaseException:
            del self._waiting[user]
            self._places.release()
            raise
        if ticket.handle == 0:
            del self._waiting[user]
            self._places.release()
            return ticket
        self._waiting[user] = (future, ticket)
        canceled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError as error:  # its memory is written until it is over
                canceled = error
                _withdraw(ticket)
        if canceled is not None:
            raise canceled
        return ticket

    async def get(self, space: Space, keys: Any, into: Any, **how: Any) -> Any:
        """As Space.get(): whether one key was there, or a list of that for several."""
        ticket = await self._run(
            lambda queue, user: space.submit_get(keys, into, queue=queue, user=user, **how)
        )
        if isinstance(keys, bytes):
            try:
                return ticket.wait()
            except MissError:
                return False
        try:
            ticket.wait()
        except MissError:
            return [False] * len(keys)
        except PartialError:
            if any(s not in (Status.OK, Status.MISS) for s in ticket.item_status):
                raise
            return [s == Status.OK for s in ticket.item_status]
        return [True] * len(keys)

    async def put(self, space: Space, keys: Any, memory: Any, **how: Any) -> None:
        """As Space.put(): returns once the blocks can be found. Waits where there is no room."""
        for pause in (0.001, 0.004, 0.016, 0.064, 0.256, None):
            try:
                ticket = await self._run(
                    lambda queue, user: space.submit_put(
                        keys, memory, queue=queue, user=user, **how
                    )
                )
                ticket.wait()
                return
            except BusyError:
                if pause is None:
                    raise
                await asyncio.sleep(pause)

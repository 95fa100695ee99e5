"""KV events of a tier for routers: which chunks were stored, and which are there no longer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_LOOKED_AT = 256


class KvEvents:
    """What was announced to routers. make(keys, removed) is an event of vLLM's; gone(keys) says of
    each whether it is there no longer.

    The library gives blocks up when others need the room and says so to nobody. So every look takes
    up some of the announced ones where the last look ended, and says which of them are gone.
    """

    def __init__(
        self,
        make: Callable[[list[bytes], bool], Any],
        gone: Callable[[list[bytes]], Sequence[bool]],
    ) -> None:
        self._make, self._gone = make, gone
        self._lock = threading.Lock()
        self._announced: set[bytes] = set()
        self._order: deque[bytes] = deque()
        self._stored: list[bytes] = []

    def stored(self, keys: Iterable[bytes]) -> None:
        """They can be loaded from now on; those announced before are left out."""
        with self._lock:
            new = [key for key in dict.fromkeys(keys) if key not in self._announced]
            self._announced.update(new)
            self._order.extend(new)
            self._stored += new

    def take(self) -> list[Any]:
        """Events since the last call."""
        with self._lock:
            stored, self._stored = self._stored, []
            looked = [self._order.popleft() for _ in range(min(_LOOKED_AT, len(self._order)))]
        gone = [key for key, is_gone in zip(looked, self._gone(looked), strict=True) if is_gone]
        with self._lock:
            self._announced.difference_update(gone)
            self._order.extend(key for key in looked if key in self._announced)
        events = [self._make(stored, False)] if stored else []
        return [*events, self._make(gone, True)] if gone else events

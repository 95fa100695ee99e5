"""Exceptions of cubby: one class a status, each with the library's own sentence.

Every one is a CubbyError; some are also the exception that Python people expect for the same
thing (TimeoutError, MemoryError, ValueError, LookupError, PermissionError).
"""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """What a call or an item ended with; as in cubby.h."""

    OK = 0
    PENDING = 1
    MISS = 2
    PARTIAL = 3
    INVALID = -1
    STALE = -2
    BUSY = -3
    BUDGET = -4
    NO_SPACE = -5
    NO_MEMORY = -6
    IO = -7
    CORRUPT = -8
    CANCELED = -9
    TIMEOUT = -10
    NOT_SUPPORTED = -11
    DENIED = -12
    IN_USE = -13
    FORMAT = -14
    DEVICE = -15
    FORKED = -16
    SHUTDOWN = -17


class State(enum.IntEnum):
    """Where the bytes of a key are, as Space.states() says it."""

    MISS = 0
    PENDING = 1
    FILE = 2
    HOST = 3
    DEVICE = 4


class Outcome(enum.IntEnum):
    """What became of a hint, as Space.hint() says it."""

    ACCEPTED = 0
    CLIPPED = 1
    REJECTED = 2


class CubbyError(Exception):
    """Base of all; str() is a sentence with cause and remedy."""

    status: Status
    """What went wrong."""
    native: int = 0
    """errno of the system, or 0."""
    retryable: bool = False
    """Whether the same call may succeed later."""
    data_loss: bool = False
    """Whether bytes that were put are gone."""
    tier: int = 0
    """Handle of the tier where it happened; 0 = none."""
    id: int = 0
    """The locker, bank << 48 | number; 0 = none."""
    offset_bytes: int = 0
    """Where in the file; 0 = not known."""
    needed_bytes: int = 0
    """How many bytes would have been enough; 0 = not known."""
    item_status: list[int] | None = None
    """One Status an item, where a call had several."""


class MissError(CubbyError, LookupError):
    """Not there: an ordinary answer."""


class PartialError(CubbyError):
    """Some items are OK; item_status says which."""


class InvalidError(CubbyError, ValueError):
    """An argument is wrong; nothing was done."""


class StaleError(CubbyError):
    """The handle is closed, or another runtime's."""


class BusyError(CubbyError):
    """A bounded queue is full, or the thing is pinned; try again."""


class BudgetError(CubbyError):
    """Can never fit the tier's budget as it stands; needed_bytes says what would."""


class NoSpaceError(CubbyError):
    """The disk or the store is full."""


class NoMemoryError(CubbyError, MemoryError):
    """No host memory or address space."""


class DeviceIOError(CubbyError):
    """The device failed; native is the errno."""


class CorruptError(CubbyError):
    """The bytes are not those that were put; they were not delivered."""


class CanceledError(CubbyError):
    """Withdrawn by cancel, release or close."""


class TimedOutError(CubbyError, TimeoutError):
    """Not within the time; the request goes on."""


class NotSupportedError(CubbyError):
    """Not on this machine or build; the sentence says what would change that."""


class DeniedError(CubbyError, PermissionError):
    """The system gives no permission."""


class InUseError(CubbyError):
    """Another process holds the store."""


class FormatError(CubbyError):
    """Not a file of ours or of the adopted kind, or damaged; offset_bytes says where."""


class DeviceError(CubbyError):
    """The tier is bypassed or lost; the others go on."""


class ForkedError(CubbyError):
    """The object belongs to the parent process."""


class ShutdownError(CubbyError):
    """The runtime is closed, or closing."""


_CLASSES: dict[Status, type[CubbyError]] = {
    Status.MISS: MissError,
    Status.PARTIAL: PartialError,
    Status.INVALID: InvalidError,
    Status.STALE: StaleError,
    Status.BUSY: BusyError,
    Status.BUDGET: BudgetError,
    Status.NO_SPACE: NoSpaceError,
    Status.NO_MEMORY: NoMemoryError,
    Status.IO: DeviceIOError,
    Status.CORRUPT: CorruptError,
    Status.CANCELED: CanceledError,
    Status.TIMEOUT: TimedOutError,
    Status.NOT_SUPPORTED: NotSupportedError,
    Status.DENIED: DeniedError,
    Status.IN_USE: InUseError,
    Status.FORMAT: FormatError,
    Status.DEVICE: DeviceError,
    Status.FORKED: ForkedError,
    Status.SHUTDOWN: ShutdownError,
}
for _status, _class in _CLASSES.items():
    _class.status = _status  # of one that Python code raises, too


def _make(
    status: int,
    text: str,
    native: int,
    retryable: bool,
    data_loss: bool,
    tier: int,
    id: int,
    offset_bytes: int,
    needed_bytes: int,
) -> CubbyError:
    """The exception of a status; called by the extension."""
    try:
        known = Status(status)
        made = _CLASSES[known](text or known.name)
    except (ValueError, KeyError):
        made, known = CubbyError(text or f"status {status}"), status  # type: ignore[assignment]
    made.status = known
    made.native, made.retryable, made.data_loss = native, retryable, data_loss
    made.tier, made.id = tier, id
    made.offset_bytes, made.needed_bytes = offset_bytes, needed_bytes
    return made

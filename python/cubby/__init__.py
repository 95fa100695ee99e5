"""Numbered lockers for model memory: KV blocks by key, expert weights by number, over tiers of
memory and files.

Units: sizes are bytes, times of requests are ns of CLOCK_MONOTONIC, timeouts are seconds.
Nothing is copied behind your back: memory that cannot be used in place is an exception.
See docs/python.md.
"""

from __future__ import annotations

import atexit as _atexit

from . import errors as errors
from ._cubby import (
    Bank,
    Completion,
    CompletionQueue,
    DeviceArray,
    Keys,
    Lease,
    Pins,
    Policy,
    Region,
    RegionSpan,
    Reservation,
    Runtime,
    Slots,
    Space,
    Ticket,
    Tier,
    View,
    _close_all,
    policies,
    status_name,
    version,
)
from .errors import *  # noqa: F403
from .errors import CubbyError, Outcome, State, Status

__version__ = ".".join(map(str, version()))
__all__ = [
    "Bank",
    "Completion",
    "CompletionQueue",
    "CubbyError",
    "DeviceArray",
    "Keys",
    "Lease",
    "Outcome",
    "Pins",
    "Policy",
    "Region",
    "RegionSpan",
    "Reservation",
    "Runtime",
    "Slots",
    "Space",
    "State",
    "Status",
    "Ticket",
    "Tier",
    "View",
    "policies",
    "status_name",
    "version",
]
__all__ += [name for name in dir(errors) if name.endswith("Error")]

_atexit.register(_close_all)

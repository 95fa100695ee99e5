"""vLLM's KV hints (KvHintsEnvelope), read as hints for a request's own blocks.

vLLM carries the envelope with the request and leaves the meaning of its actions to whoever serves
them. Served are the types that vLLM's and Dynamo's proposals agree on:

    kv.retain   {"priority": 0 … 100, "ttl_seconds": …} for the whole request, or {"directives":
                [{"start": token, "end": token or null, "priority": …, "duration": seconds}]}
    kv.evict    the request's blocks will not be asked for again

All others, and versions from 2 on, are rejected. vLLM has no way back for outcomes: they are
counted and logged.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cubby import Outcome

_SECOND_NS = 1_000_000_000
_PRIORITIES = 15  # that cubby's policies tell apart; vLLM's go to 100
_LONGEST_SECONDS = 365 * 24 * 3600
_ACTIONS_MAX = 64


@dataclasses.dataclass(frozen=True)
class Hint:
    """Of the blocks that end behind token `first` and not behind `end`."""

    kind: str  # as for cubby.Space.hint()
    first: int = 0
    end: float = math.inf
    priority: int = 0
    ttl_ns: int = 0

    def names(self, position: int | None) -> bool:
        """Whether a block that ends with this token is meant; None: its place is not known."""
        if position is None:
            return self.first == 0 and self.end == math.inf
        return self.first < position <= self.end


def _number(of: Mapping[str, Any], name: str, most: float) -> float:
    value = of.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(f"{name} is not a number from 0 to {most}")
    return value


def _retained(of: Mapping[str, Any], seconds: str) -> Hint:
    ttl_ns = int(_number(of, seconds, _LONGEST_SECONDS) * _SECOND_NS)
    if "priority" not in of:
        raise ValueError("priority is missing")
    first = int(_number(of, "start", 2**53))
    end = math.inf if of.get("end") is None else int(_number(of, "end", 2**53))
    if end <= first:
        raise ValueError("end is not behind start")
    priority = int(_number(of, "priority", 100) * _PRIORITIES / 100)
    return Hint("priority", first, end, priority, ttl_ns)


def _read(action: Any) -> tuple[list[Hint], bool]:
    """The hints of an action, and whether a part of it is not served. ValueError: none of it is."""
    if action.action_version.split(".")[0] not in ("0", "1"):
        raise ValueError(f"version {action.action_version} is not known")
    payload = action.payload
    if payload.get("include_current_request") is False:
        raise ValueError("blocks of other requests are not known here")
    clipped = bool(payload.get("block_hashes"))  # a router's own names of blocks of any request
    if action.action_type == "kv.evict":
        return [Hint("closed")], clipped
    if action.action_type != "kv.retain":
        raise ValueError(f"{action.action_type} is not served")
    if "directives" not in payload:
        return [_retained(payload, "ttl_seconds")], clipped
    wanted = payload["directives"]
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise ValueError("directives is not a list of objects")
    prompt = [one for one in wanted if not one.get("covers_output")]
    hints = [_retained(one, "duration") for one in prompt]
    return hints, clipped or len(prompt) < len(wanted)


def read(envelope: Any, log: logging.Logger, counts: dict[str, int]) -> list[Hint]:
    """The hints of an envelope; what became of its actions goes to the log and the counts."""
    hints: list[Hint] = []
    for number, action in enumerate(envelope.actions):
        why = ""
        try:
            if number >= _ACTIONS_MAX:
                raise ValueError(f"more than {_ACTIONS_MAX} actions")
            served, clipped = _read(action)
            hints += served
            outcome = Outcome.CLIPPED if clipped else Outcome.ACCEPTED
        except (ValueError, TypeError, AttributeError) as error:
            outcome, why = Outcome.REJECTED, f": {error}"
        counts[f"hints_{outcome.name.lower()}"] += 1
        log.debug(
            "cubby: hint %s of message %s: %s%s",
            getattr(action, "action_id", "?"), getattr(envelope, "message_id", "?"),
            outcome.name.lower(), why,
        )  # fmt: skip
    return hints


@dataclasses.dataclass
class RequestHints:
    """Hints of one request under way, and its blocks as they become known."""

    hints: list[Hint]
    blocks: dict[bytes, int | None] = dataclasses.field(default_factory=dict)
    finished: bool = False

    def apply(
        self, blocks: Iterable[tuple[bytes, int | None]], tell: Callable[[Hint, list[bytes]], None]
    ) -> None:
        """Calls tell(hint, keys) for every hint that names some of the blocks."""
        known = list(blocks)
        for hint in self.hints:
            keys = [key for key, position in known if hint.names(position)]
            if keys:
                tell(hint, keys)

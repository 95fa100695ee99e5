"""vLLM's KV hints and KV events over the tier, and the policy alone, without vLLM."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm_stand_in import Chunk, Context, Engine, keys, load, spec

from cubby.integrations._vllm_hints import Hint, read


def action(kind: str, payload: dict[str, Any], version: str = "1.0") -> Any:
    return types.SimpleNamespace(
        action_id="a", action_type=kind, action_version=version, payload=payload
    )


def envelope(*actions: Any) -> Any:
    return types.SimpleNamespace(protocol_version="0.1", message_id="m", actions=list(actions))


def outcome(*actions: Any) -> tuple[list[Hint], str]:
    """What was read, and a letter an outcome."""
    counts = dict.fromkeys(("hints_accepted", "hints_clipped", "hints_rejected"), 0)
    hints = read(envelope(*actions), logging.getLogger("test"), counts)
    return hints, "".join(name[6] * count for name, count in counts.items())


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"priority": 100, "ttl_seconds": 2.5}, [Hint("priority", priority=15, ttl_ns=25 * 10**8)]),
        ({"directives": []}, []),
        (
            {"directives": [{"start": 0, "end": 32, "priority": 50, "duration": 60}]},
            [Hint("priority", 0, 32, 7, 60 * 10**9)],
        ),
        (
            {"directives": [{"start": 32, "end": None, "priority": 40}]},
            [Hint("priority", 32, priority=6)],
        ),
    ],
)
def test_what_is_to_be_retained(payload: dict[str, Any], expected: list[Hint]) -> None:
    assert outcome(action("kv.retain", payload)) == (expected, "a")


def test_a_part_of_an_action_is_clipped() -> None:
    output = {"directives": [{"covers_output": True, "priority": 70}]}
    assert outcome(action("kv.retain", output)) == ([], "c")
    others = {"block_hashes": ["11"], "include_current_request": True}
    assert outcome(action("kv.evict", others)) == ([Hint("closed")], "c")


@pytest.mark.parametrize(
    "wrong",
    [
        action("kv.fetch", {}),
        action("kv.evict", {}, version="2.0"),
        action("kv.evict", {"include_current_request": False}),
        action("kv.retain", {}),
        action("kv.retain", {"priority": True}),
        action("kv.retain", {"priority": 101}),
        action("kv.retain", {"priority": 1, "ttl_seconds": float("nan")}),
        action("kv.retain", {"priority": 1, "ttl_seconds": 10**400}),
        action("kv.retain", {"directives": {}}),
        action("kv.retain", {"directives": [{"start": 16, "end": 16, "priority": 1}]}),
        action("kv.retain", None),  # type: ignore[arg-type]
        types.SimpleNamespace(),
    ],
)
def test_what_is_not_understood_is_rejected(wrong: Any) -> None:
    good = action("kv.retain", {"priority": 20})
    assert outcome(wrong, good) == ([Hint("priority", priority=3)], "ar")


def test_places_in_a_prompt() -> None:
    assert [Hint("closed", 32, 64).names(end) for end in (32, 33, 64, 65, None)] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert Hint("closed").names(None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Engine]:
    adapter = load(monkeypatch)
    made = Engine(adapter, tmp_path, spec(events=True), enable_kv_events=True)
    yield made
    made.end()
    sys.modules.pop("cubby.integrations.vllm", None)


def notes(engine: Engine) -> list[tuple[str, list[bytes], int]]:
    """What the tier passes on to the library from now on."""
    seen: list[tuple[str, list[bytes], int]] = []
    space = engine.tier._space

    class Noted:
        def hint(self, kind: str, names: list[bytes], **how: int) -> bytes:
            seen.append((kind, names, how["priority"]))
            return space.hint(kind, names, **how)

        def __getattr__(self, name: str) -> Any:
            return getattr(space, name)

    engine.tier._space = Noted()
    return seen


def test_hints_are_passed_on_when_the_request_ends(engine: Engine) -> None:
    seen, names = notes(engine), keys(3)
    head = {"directives": [{"start": 0, "end": 32, "priority": 100}]}
    request = Context(envelope(action("kv.retain", head), action("kv.demote", {})))
    request._offload_key_positions = {name: 32 * (i + 1) for i, name in enumerate(names)}
    engine.tier.on_new_request(request)
    assert engine.run(True, names[:2], [0, 1], request).success
    assert engine.hit(names[0], request)
    assert seen == []
    engine.tier.on_request_finished(request)
    assert seen == [("priority", [names[0]], 15)]
    counters = engine.tier.counters()
    assert (counters["hints_accepted"], counters["hints_rejected"]) == (1, 1)


def test_what_is_stored_after_the_end_is_hinted_then(engine: Engine) -> None:
    seen, names = notes(engine), keys(1)
    request = Context(envelope(action("kv.evict", {})))
    engine.tier.on_new_request(request)
    engine.tier.on_request_finished(request)
    assert seen == []
    assert engine.run(True, names, [0], request).success
    assert seen == [("closed", names, 0)]


def test_routers_hear_what_is_stored_and_what_is_gone(engine: Engine) -> None:
    names = keys(3)
    assert list(engine.tier.take_events()) == []
    assert engine.run(True, names, [0, 1, 2]).success
    (stored,) = engine.tier.take_events()
    assert (stored.keys, stored.removed, stored.ownership) == (names, False, "CubbyTier")
    assert stored.medium is engine.adapter.Medium.STORAGE
    assert engine.run(True, names[:1], [0]).success
    assert list(engine.tier.take_events()) == [], "it was announced before"
    engine.tier._space.drop(names[1])
    (gone,) = engine.tier.take_events()
    assert (gone.keys, gone.removed) == ([names[1]], True)
    assert engine.run(True, names[1:2], [1]).success
    (again,) = engine.tier.take_events()
    assert (again.keys, again.removed) == (names[1:2], False)


def test_what_was_stored_before_is_announced_when_it_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: Any
) -> None:
    adapter = load(monkeypatch)
    first = Engine(adapter, tmp_path)
    assert first.run(True, keys(1), [0]).success
    assert list(first.tier.take_events()) == []
    first.end()
    again = Engine(adapter, tmp_path, spec(events=True), enable_kv_events=True)
    assert again.hit(keys(1)[0])
    assert [event.keys for event in again.tier.take_events()] == [keys(1)]
    again.end()
    silent = Engine(adapter, tmp_path, enable_kv_events=True)
    assert silent.hit(keys(1)[0])
    assert list(silent.tier.take_events()) == []
    silent.end()
    assert any("KV events are off" in record.getMessage() for record in caplog.records)


class Cache:
    """As vLLM's manager calls a policy."""

    def __init__(self, module: Any, capacity: int, policy: str) -> None:
        named = type("Named", (module.CubbyPolicy,), {"policy": policy})
        self.policy, self.capacity = named(capacity), capacity
        self.size = 0

    def store(self, names: list[bytes], request: Any) -> list[bytes] | None:
        missing = [name for name in names if self.policy.get(name) is None]
        self.policy.on_store_miss(missing, request)
        evicted = []
        over = self.size + len(missing) - self.capacity
        if over > 0:
            found = self.policy.evict(over, set(names))
            if found is None:
                return None
            evicted = [key for key, _ in found]
        for name in missing:
            self.policy.insert(name, Chunk())
        for name in missing:
            self.policy.get(name).ref_cnt = 0
            self.policy.mark_evictable(name)
        self.size += len(missing) - len(evicted)
        self.policy.on_request_finished((names,), set(missing), set(names) - set(missing), request)
        return evicted


def request(names: list[bytes], hints: Any = None) -> Context:
    made = Context(hints)
    made._offload_key_positions = {name: i + 1 for i, name in enumerate(names)}
    return made


@pytest.mark.parametrize("policy", ["lru", "kv", "sieve", "arc", "s3-fifo", "w-tinylfu"])
def test_any_policy_makes_room(monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
    cache = Cache(load(monkeypatch, "vllm_policy"), 16, policy)
    for turn in range(200):
        names = keys(4, (turn * 7) % 60)
        evicted = cache.store(names, request(names))
        assert evicted is not None and len(set(evicted)) == len(evicted)
        assert all(cache.policy.get(name) is None for name in evicted)
        assert all(cache.policy.get(name) is not None for name in names)
        assert cache.size <= 16
    cache.policy.clear()
    assert cache.policy.get(keys(1)[0]) is None


def test_the_end_of_a_prefix_leaves_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for policy in ("lru", "kv"):
        cache = Cache(load(monkeypatch, "vllm_policy"), 4, policy)
        names = keys(4)
        cache.store(names, request(names))
        other = keys(2, 10)
        assert cache.store(other, request(other)) == [names[3], names[2]]


def test_a_closed_request_leaves_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(load(monkeypatch, "vllm_policy"), 4, "kv")
    first, second, third = keys(2), keys(2, 10), keys(1, 20)
    cache.store(first, request(first))
    cache.store(second, request(second, envelope(action("kv.evict", {}))))
    assert cache.policy.hint_counts["hints_accepted"] == 1
    assert cache.store(third, request(third)) == [second[1]]


def test_eviction_is_all_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(load(monkeypatch, "vllm_policy"), 4, "kv")
    names = keys(4)
    cache.store(names, request(names))
    cache.policy.mark_non_evictable(names[3])
    assert cache.policy.evict(3, {names[0]}) is None
    assert all(cache.policy.get(name) is not None for name in names)
    assert sorted(key for key, _ in cache.policy.evict(2, {names[0]})) == names[1:3]
    cache.policy.remove(names[3])
    assert cache.policy.get(names[3]) is None

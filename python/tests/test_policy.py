"""A placement policy alone."""

from __future__ import annotations

import pytest

import cubby


def make(name: str = "lru", count: int = 8) -> cubby.Policy:
    return cubby.Policy(name, object_count=count, budget_bytes=4, object_bytes=1)


def use(policy: cubby.Policy, *objects: int, number: int = 0) -> None:
    for object in objects:
        policy.access(object, number=number, now_ns=1 + number)


def victims(policy: cubby.Policy) -> list[int]:
    policy.begin_victims(1, now_ns=100)
    found = []
    while (named := policy.next_victim()) is not None:
        found.append(named)
    return found


def test_the_oldest_leaves_first() -> None:
    policy = make()
    use(policy, 0, 1, 2)
    for object in range(3):
        policy.inserted(object, 1)
    use(policy, 0, number=1)
    assert victims(policy) == [1, 2, 0]
    policy.removed(1)
    policy.forget(1)
    assert victims(policy) == [2, 0]
    assert policy.stats()["remove_count"] == 1


def test_the_end_of_a_prefix_leaves_before_its_beginning() -> None:
    policy = make("kv")
    assert policy.head_first and policy.name == "kv"
    for object, parent in enumerate((None, 0, 1)):
        policy.access(object, parent, object, object == 2, number=0, now_ns=1)
        policy.inserted(object, 1)
    use(policy, 3, number=1)  # another request, which needs room
    assert victims(policy) == [2, 1, 0]


def test_a_closed_block_leaves_first() -> None:
    policy = make("kv")
    for object in range(3):
        policy.access(object, number=object, now_ns=10**9 * (1 + object))
        policy.inserted(object, 1)
    assert policy.hint("closed", [2], now_ns=4 * 10**9)
    use(policy, 3, number=4)
    assert victims(policy)[0] == 2


def test_bad_input() -> None:
    for name in ("nobody", "belady", "moe"):
        with pytest.raises(ValueError):
            make(name)
    policy = make()
    with pytest.raises(IndexError):
        policy.access(8, number=0, now_ns=0)
    with pytest.raises(IndexError):
        policy.hint("closed", [9], now_ns=0)
    with pytest.raises(ValueError):
        policy.next_victim()


@pytest.mark.parametrize(
    "name", ["lru", "lfu", "arc", "s3-fifo", "sieve", "w-tinylfu", "gdsf", "kv"]
)
def test_what_is_resident_is_known(name: str) -> None:
    policy = make(name)
    use(policy, 0, 1)
    policy.inserted(0, 1)
    for wrong in (
        lambda: policy.inserted(0, 1),  # twice
        lambda: policy.removed(1),  # not there
        lambda: policy.forget(0),  # there
    ):
        with pytest.raises(ValueError, match="resident"):
            wrong()
    policy.begin_victims(1, now_ns=100)
    use(policy, 1, number=1)  # ends the round
    with pytest.raises(ValueError, match="begin_victims"):
        policy.next_victim()
    assert victims(policy) == [0]
    policy.removed(0)
    policy.forget(0)
    assert victims(policy) == []

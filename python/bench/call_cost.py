"""What a call costs from Python beside the same call in C, in ns: the best of several rounds.

python python/bench/call_cost.py [--blocks 10000] [--rounds 7] [--json]
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import mmap
import timeit
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cubby

BLOCK = 4096


@dataclass
class Row:
    """One line of the table."""

    what: str
    unit: str
    python_ns: float
    c_ns: float | None = None
    goal_ns: float | None = None


def best(
    call: Callable[..., object], arguments: str, repeat: int, rounds: int, **names: Any
) -> float:
    """Nanoseconds of `call(arguments)`: the best round's mean."""
    timer = timeit.Timer(f"call({arguments})", globals={"call": call, **names})
    return min(timer.repeat(rounds, repeat)) / repeat * 1e9


def chain(count: int) -> list[bytes]:
    """Keys of 32 bytes, as engines have them."""
    return [hashlib.sha256(b"%d" % i).digest() for i in range(count)]


def fill(space: cubby.Space, keys: list[bytes]) -> None:
    """Puts one chain of blocks."""
    block, after = bytes(BLOCK), None
    for first in range(0, len(keys), 100):
        part = keys[first : first + 100]
        space.put(part, [block] * len(part), after=after, chain=True)
        after = part[-1]


def match_rows(space: cubby.Space, keys: list[bytes], rounds: int) -> list[Row]:
    """Costs of match."""

    def c_call(of: Any, repeat: int) -> float:
        return min(space._time_match(of, repeat) for _ in range(rounds))

    one, batch = keys[0], keys[:1000]
    made, packed = cubby.Keys(batch), cubby.Keys(b"".join(batch), 32)
    n = len(batch)
    assert space.match(batch) == space.match(made) == space.match(packed) == n
    c_batch = c_call(made, 100) / n
    cost = best(space.match, "k", 20_000, rounds, k=one)
    rows = [Row("match, one key", "call", cost, c_call(one, 20_000), 400)]
    for what, of in (("list of 1,000", batch), ("Keys of 1,000", made), ("packed Keys", packed)):
        cost = best(space.match, "k", 100, rounds, k=of) / n
        rows.append(Row(f"match, {what}", "key", cost, c_batch, 30))
    cost = best(cubby.Keys, "k", 100, rounds, k=batch) / n
    rows.append(Row("Keys from a list of 1,000", "key", cost))
    cost = best(cubby.Keys, "k, 32", 100, rounds, k=b"".join(batch)) / n
    rows.append(Row("Keys from one buffer", "key", cost))
    return rows


def move_rows(space: cubby.Space, keys: list[bytes], rounds: int) -> list[Row]:
    """Costs of get and of a put of known keys: what is copied is in them."""
    part = keys[:100]
    n = len(part)
    into = mmap.mmap(-1, BLOCK * n)  # pages, as engines have them
    each = [memoryview(into)[i * BLOCK : (i + 1) * BLOCK] for i in range(n)]

    def cost(call: Callable[..., object], k: Any, m: Any, repeat: int) -> float:
        return best(call, "k, m", repeat, rounds, k=k, m=m)

    put = functools.partial(space.put, part, into, chain=True)
    return [
        Row("get, one key of 4 KiB", "call", cost(space.get, part[0], each[0], 5000)),
        Row("get, 100 keys into a list", "key", cost(space.get, part, each, 100) / n),
        Row("get, 100 keys into one memory", "key", cost(space.get, part, into, 100) / n),
        Row("put, 100 known keys", "key", best(put, "", 100, rounds) / n),
    ]


def main() -> None:
    """Prints the table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with cubby.Runtime() as runtime:
        runtime.add_tier("host", "host:0", given.blocks * BLOCK * 2)
        bank = runtime.add_bank("kv", "kv", 1, given.blocks, BLOCK)
        space = runtime.add_space(bank, b"call_cost")
        keys = chain(given.blocks)
        fill(space, keys)
        rows = match_rows(space, keys, given.rounds) + move_rows(space, keys, given.rounds)
    if given.json:
        print(json.dumps({"blocks": given.blocks, "rows": [asdict(row) for row in rows]}))
        return
    print(f"{'what':<32}{'a':<6}{'python ns':>10}{'C ns':>9}{'beside':>9}{'goal':>7}")
    for r in rows:
        c = "" if r.c_ns is None else f"{r.c_ns:.1f}"
        more = "" if r.c_ns is None else f"+{r.python_ns - r.c_ns:.1f}"
        goal = "" if r.goal_ns is None else f"{r.goal_ns:.0f}"
        print(f"{r.what:<32}{r.unit:<6}{r.python_ns:>10.1f}{c:>9}{more:>9}{goal:>7}")


if __name__ == "__main__":
    main()

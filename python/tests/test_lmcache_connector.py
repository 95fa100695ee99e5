"""The LMCache connector's contract, without LMCache; scripts/test_engines.sh runs the real one."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

import cubby
from cubby.integrations._sizes import SIZES_FILE, frame_bytes
from cubby.integrations.lmcache import CubbyConnector

KIB = 1 << 10


def make(path: Path, host_bytes: int = 64 << 20) -> CubbyConnector:
    return CubbyConnector(str(path), store_bytes=256 << 20, host_bytes=host_bytes)


@pytest.fixture
def connector(tmp_path: Path) -> Iterator[CubbyConnector]:
    made = make(tmp_path)
    yield made
    made.close()


def wait(connector: CubbyConnector, number: int) -> tuple[bool, str, list[bool] | None]:
    """The completion of one batch; the descriptor says when to look."""
    poller = select.poll()
    poller.register(connector.event_fd(), select.POLLIN)
    for _ in range(200):
        assert poller.poll(10_000), "the descriptor never became readable"
        for done, good, error, each in connector.drain_completions():
            if done == number:
                return good, error, each
    raise AssertionError("no completion")


def value(seed: int, size: int) -> memoryview:
    return memoryview(bytearray(seed.to_bytes(8, "little") * (size // 8)))


def names(count: int) -> list[str]:
    return [f"a/model@{i:08x}@0@{'ab' * 40}{i}" for i in range(count)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("store_byte", "did you mean store_bytes"),
        ("host-bytes", "did you mean host_bytes"),
        ("Keep", "did you mean keep"),
        ("colour", "no option 'colour'; there are path, store_bytes, host_bytes, keep"),
    ],
)
def test_a_name_that_is_misspelt_is_refused(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        CubbyConnector(**{"path": str(tmp_path), "store_bytes": 256 << 20, given: 1})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("size", [64 * KIB, 1024 * KIB])
def test_stored_blocks_come_back_after_a_restart(tmp_path: Path, size: int) -> None:
    keys = names(20)
    first = make(tmp_path)
    number = first.submit_batch_set(keys, [value(i, size) for i in range(20)])
    assert wait(first, number)[:2] == (True, "")
    first.close()
    first.close()
    again = make(tmp_path)
    assert wait(again, again.submit_batch_exists([*keys, "another"]))[2] == [True] * 20 + [False]
    into = [value(99, size) for _ in range(21)]
    _, _, each = wait(again, again.submit_batch_get([*keys, "another"], into))
    assert each == [True] * 20 + [False]
    assert [bytes(b) for b in into] == [bytes(value(i, size)) for i in [*range(20), 99]]
    again.close()


def test_a_batch_larger_than_memory(tmp_path: Path) -> None:
    connector = make(tmp_path, host_bytes=16 << 20)
    keys = names(64)
    number = connector.submit_batch_set(keys, [value(i, 1024 * KIB) for i in range(64)])
    assert wait(connector, number)[0] is True
    into = [value(99, 1024 * KIB) for _ in keys]
    assert wait(connector, connector.submit_batch_get(keys, into))[2] == [True] * 64
    assert all(bytes(b) == bytes(value(i, 1024 * KIB)) for i, b in enumerate(into))
    connector.close()


def test_sizes_never_meet(connector: CubbyConnector) -> None:
    keys = names(2)
    sizes = [64 * KIB, 96 * KIB]
    connector.submit_batch_set(keys, [value(i + 1, sizes[i]) for i in range(2)])
    number = connector.submit_batch_exists(keys)
    while wait(connector, number)[2] != [True, True]:
        number = connector.submit_batch_exists(keys)
    into = [value(9, size) for size in reversed(sizes)]
    assert wait(connector, connector.submit_batch_get(keys, into))[2] == [False, False]
    assert [bytes(b) for b in into] == [bytes(value(9, size)) for size in reversed(sizes)]
    into = [value(9, size) for size in sizes]
    assert wait(connector, connector.submit_batch_get(keys, into))[2] == [True, True]
    assert [bytes(b) for b in into] == [bytes(value(i + 1, sizes[i])) for i in range(2)]


def test_delete(connector: CubbyConnector) -> None:
    keys = names(3)
    wait(connector, connector.submit_batch_set(keys, [value(i, 64 * KIB) for i in range(3)]))
    assert wait(connector, connector.submit_batch_delete(keys[:2]))[2] == [True, True]
    assert wait(connector, connector.submit_batch_exists(keys))[2] == [False, False, True]


def test_bad_input(connector: CubbyConnector, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        connector.submit_batch_set(["a"], [])
    with pytest.raises(ValueError):
        CubbyConnector(str(tmp_path / "other"), store_bytes=1 << 20, keep="session")
    with pytest.raises(cubby.InUseError):
        make(tmp_path)
    good, _, each = wait(connector, connector.submit_batch_get([], []))
    assert (good, each) == (True, [])


def test_a_damaged_list_of_sizes(tmp_path: Path) -> None:
    for text in (
        "{",
        "[]",
        '{"sizes": [0]}',
        '{"sizes": [-4096]}',
        '{"sizes": [1e300]}',
        '{"sizes": [Infinity]}',
        "\x00",
    ):
        (tmp_path / SIZES_FILE).write_text(text)
        with pytest.raises(cubby.FormatError, match="damaged"):
            make(tmp_path)
    (tmp_path / SIZES_FILE).write_text(json.dumps({"sizes": []}))
    make(tmp_path).close()


def test_a_value_larger_than_memory_fails_alone(connector: CubbyConnector) -> None:
    big = memoryview(bytearray(128 << 20))
    good, error, each = wait(connector, connector.submit_batch_set(["a"], [big]))
    assert (good, each) == (False, [False])
    assert error
    assert wait(connector, connector.submit_batch_set(["b"], [value(1, 64 * KIB)]))[0] is True


def test_a_forked_child_has_no_connector(connector: CubbyConnector) -> None:
    child = os.fork()
    if child == 0:
        try:
            connector.submit_batch_set(["a"], [value(1, 64 * KIB)])
        except cubby.ForkedError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert wait(connector, connector.submit_batch_set(["a"], [value(1, 64 * KIB)]))[0] is True


def test_many_batches_at_once(connector: CubbyConnector) -> None:
    keys = [[f"{batch} {i}" for i in range(8)] for batch in range(16)]
    made = [value(100 + batch, 256 * KIB) for batch in range(16)]
    left = {connector.submit_batch_set(k, [made[b]] * 8) for b, k in enumerate(keys)}
    into = [[value(9, 256 * KIB) for _ in range(8)] for _ in range(16)]
    poller = select.poll()
    poller.register(connector.event_fd(), select.POLLIN)
    for step in ("stored", "loaded"):
        while left:
            assert poller.poll(20_000), f"not all were {step}"
            for number, good, error, each in connector.drain_completions():
                assert (good, error, each) == (True, "", [True] * 8)
                left.remove(number)
        if step == "stored":
            left = {connector.submit_batch_get(k, into[b]) for b, k in enumerate(keys)}
    assert all(bytes(b) == bytes(made[i]) for i, row in enumerate(into) for b in row)


def test_frames_are_little_larger_than_their_blocks() -> None:
    for size in (1, 4096, 5000, 64 * KIB, 65 * KIB, 9 << 20, 33 << 20):
        assert size <= frame_bytes(size) <= max(size * 1.125, 4096 * 2)
    assert frame_bytes(64 * KIB) == 64 * KIB


def test_a_size_that_could_not_be_noted_is_noted_later(tmp_path: Path) -> None:
    connector = make(tmp_path)
    blocked = tmp_path / f"{SIZES_FILE[:-5]}.part"
    blocked.mkdir()
    good, error, _ = wait(connector, connector.submit_batch_set(["a"], [value(1, 64 * KIB)]))
    assert not good and "part" in error
    blocked.rmdir()
    assert wait(connector, connector.submit_batch_set(["a"], [value(1, 64 * KIB)]))[0] is True
    connector.close()
    again = make(tmp_path)
    assert wait(again, again.submit_batch_exists(["a"]))[2] == [True]
    again.close()


def test_a_closed_connector_says_so(tmp_path: Path) -> None:
    connector = make(tmp_path)
    connector.close()
    for call in (
        lambda: connector.submit_batch_set(["a"], [value(1, 64 * KIB)]),
        lambda: connector.submit_batch_get(["a"], [value(1, 64 * KIB)]),
        lambda: connector.submit_batch_exists(["a"]),
        lambda: connector.submit_batch_delete(["a"]),
    ):
        with pytest.raises(cubby.ShutdownError, match="connector"):
            call()
    assert connector.drain_completions() == []


def test_sizes_in_words_and_options_that_are_wrong(tmp_path: Path) -> None:
    CubbyConnector(str(tmp_path), store_bytes="64MiB", host_bytes="8MiB").close()
    for name, given in (("store_bytes", "8GB"), ("host_bytes", 0), ("path", ""), ("keep", "ever")):
        whole = {"path": str(tmp_path), "store_bytes": 64 << 20, name: given}
        with pytest.raises(ValueError, match=name):
            CubbyConnector(**whole)

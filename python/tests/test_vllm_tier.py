"""The vLLM tier, without vLLM: the names it takes from vLLM are stood in for where vLLM is not
installed. scripts/test_engines.sh runs it in the real engine."""

from __future__ import annotations

import abc
import array
import dataclasses
import importlib
import os
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from vllm_stand_in import ROW, ROWS, Engine, Job, Tier, keys, load, spec

import cubby
from cubby.integrations import _blocks


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield load(monkeypatch)
    sys.modules.pop("cubby.integrations.vllm", None)


def test_chunks_come_back_in_a_new_engine(adapter: Any, tmp_path: Path) -> None:
    names, rows = keys(20), list(range(20))
    engine = Engine(adapter, tmp_path)
    for row in rows:
        engine.fill(row, row + 1)
    assert not engine.hit(names[0])
    done = engine.run(True, names, rows)
    assert (done.success, done.transfer_bytes) == (True, 20 * ROW)
    engine.end()
    again = Engine(adapter, tmp_path)
    assert all(again.hit(name) for name in names)
    back = list(reversed(rows))
    assert again.run(False, names, back).success
    assert [again.row(row) for row in back] == [row + 1 for row in rows]
    # What is in memory now takes another way.
    assert again.run(False, names[:3], [40, 41, 42]).success
    assert [again.row(row) for row in (40, 41, 42)] == [1, 2, 3]
    again.end()
    again.tier.shutdown()


def test_what_is_not_there_is_named_and_not_asked_for_again(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    names = keys(3)
    engine.fill(0, 1)
    assert engine.run(True, names[:1], [0]).success
    engine.fill(9, 77)
    done = engine.run(False, names, [8, 9, 10])
    assert not done.success
    assert list(done.successful_keys) == names[:1]
    assert [engine.row(8), engine.row(9)] == [1, 77]
    assert engine.hit(names[0])
    assert not engine.hit(names[1])
    assert engine.run(True, names[1:2], [9]).success
    assert engine.hit(names[1])
    engine.end()


def test_damaged_chunks_are_never_delivered(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    names = keys(8)
    for row in range(8):
        engine.fill(row, row + 1)
    engine.run(True, names, list(range(8)))
    engine.end()
    marks = [(i + 1).to_bytes(8, "little") * 64 for i in range(8)]
    damaged = 0
    for file in (f for f in tmp_path.rglob("*") if f.is_file()):
        data = bytearray(file.read_bytes())
        for mark in marks[:4]:
            at = data.find(mark)
            if at >= 0:
                data[at + 100] ^= 1
                damaged += 1
        file.write_bytes(data)
    assert damaged >= 4
    again = Engine(adapter, tmp_path)
    for row in range(8):
        again.fill(row, 99)
    done = again.run(False, names, list(range(8)))
    assert not done.success
    assert list(done.successful_keys) == names[4:]
    assert [again.row(row) for row in range(4, 8)] == [5, 6, 7, 8]
    assert not any(again.hit(name) for name in names[:4])
    # Stored anew, they are there again.
    for row in range(8):
        again.fill(row, row + 1)
    assert again.run(True, names, list(range(8))).success
    assert again.run(False, names, list(range(20, 28))).success
    assert [again.row(row) for row in range(20, 28)] == list(range(1, 9))
    again.end()


@pytest.mark.parametrize(
    "change",
    [{"model": "another"}, {"dtype": "float16"}, {"block": 32}, {"tp": 2}],
    ids=str,
)
def test_engines_of_another_layout_never_meet(adapter: Any, tmp_path: Path, change: Any) -> None:
    names = keys(4)
    first = Engine(adapter, tmp_path)
    first.run(True, names, [0, 1, 2, 3])
    first.end()
    other = Engine(adapter, tmp_path, spec(**change))
    assert not any(other.hit(name) for name in names)
    other.end()
    back = Engine(adapter, tmp_path)
    assert all(back.hit(name) for name in names)
    back.end()
    named = Engine(adapter, tmp_path, identity="revision 2")
    assert not any(named.hit(name) for name in names)
    named.end()


def test_another_version_or_device_finds_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hits = []
    for version, device in (("1.2.0", "cpu"), ("1.2.3", "cpu"), ("1.3.0", "cpu"), ("1.2.0", "xpu")):
        adapter = load(monkeypatch)
        sys.modules["vllm"].__version__ = version  # type: ignore[attr-defined]
        platforms = types.ModuleType("vllm.platforms")
        platforms.current_platform = types.SimpleNamespace(device_type=device)  # type: ignore
        monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
        engine = Engine(adapter, tmp_path)
        hits.append(engine.hit(keys(1)[0]))
        if len(hits) == 1:
            assert engine.run(True, keys(1), [0]).success
        engine.end()
    assert hits == [False, True, False, False]


def test_a_batch_larger_than_memory(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path, host_bytes=1)
    for turn in range(4):
        for row in range(ROWS):
            engine.fill(row, turn * ROWS + row)
        assert engine.run(True, keys(ROWS, turn * ROWS), list(range(ROWS))).success
    assert engine.run(False, keys(ROWS, ROWS), list(range(ROWS))).success
    assert [engine.row(row) for row in range(ROWS)] == [ROWS + row for row in range(ROWS)]
    engine.end()


def test_calls_from_several_threads(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    results: dict[int, bool] = {}

    def work(number: int) -> None:
        mine = range(number * 8, number * 8 + 8)
        for row in mine:
            engine.fill(row, row + 1)
        engine.tier.submit_store(Job(1000 + number, keys(8, number * 8), array.array("i", mine)))

    threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.tier.drain_jobs()
    results = {r.job_id: r.success for r in engine.tier.get_finished_jobs()}
    assert results == {1000 + n: True for n in range(8)}
    engine.end()


def test_a_store_that_another_holds(adapter: Any, tmp_path: Path, caplog: Any) -> None:
    engine = Engine(adapter, tmp_path)
    other = Engine(adapter, tmp_path)
    assert not other.hit(keys(1)[0])
    assert not other.run(True, keys(1), [0]).success
    assert not other.run(False, keys(1), [0]).success
    other.tier.drain_jobs()
    other.end()
    engine.end()
    assert any("cubby tier is off" in record.getMessage() for record in caplog.records)


def test_a_forked_child_has_no_tier(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    assert engine.run(True, keys(1), [0]).success
    child = os.fork()
    if child == 0:
        wrong = True
        try:
            wrong = engine.hit(keys(1)[0]) or engine.run(True, keys(1, 5), [0]).success
            engine.tier.drain_jobs()
            engine.tier.shutdown()
        finally:
            os._exit(int(wrong))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert engine.hit(keys(1)[0])
    engine.end()


def test_bad_configuration(adapter: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="colour"):
        Engine(adapter, tmp_path, colour="blue")
    with pytest.raises(ValueError, match="keep"):
        Engine(adapter, tmp_path, keep="session")
    with pytest.raises(ValueError):
        Engine(adapter, tmp_path, locality="MARS")


def test_bad_jobs_fail_alone(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    assert not engine.run(True, keys(2), [0]).success
    assert not engine.run(True, keys(1), [ROWS]).success
    assert engine.run(True, keys(1), [0]).success
    engine.end()


def test_another_vllm_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r"lacks JobResult.*0\.32\.0.*0\.0\.stand-in"):
        load(monkeypatch, JobResult=None)
    job = dataclasses.make_dataclass("TransferJob", ["job_id", "keys"])
    with pytest.raises(ImportError, match="TransferJob has the fields job_id, keys"):
        load(monkeypatch, TransferJob=job)

    class Wider(Tier, abc.ABC):
        @abc.abstractmethod
        def teleport(self) -> None: ...

    with pytest.raises(ImportError, match="teleport"):
        load(monkeypatch, SecondaryTierManager=Wider)
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.setitem(sys.modules, "vllm.v1.kv_offload.base", None)
    monkeypatch.delitem(sys.modules, "cubby.integrations.vllm", raising=False)
    with pytest.raises(ImportError, match="cannot be imported"):
        importlib.import_module("cubby.integrations.vllm")


def test_an_older_vllm_calls_chunks_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = dataclasses.make_dataclass("TransferJob", ["job_id", "keys", "block_ids"])
    result = dataclasses.make_dataclass("JobResult", ["job_id", "success"])
    older = load(monkeypatch, TransferJob=job, JobResult=result)
    engine = Engine(older, tmp_path)
    engine.fill(0, 5)
    engine.tier.submit_store(job(1, keys(1), [0]))
    engine.tier.drain_jobs()
    assert [r.success for r in engine.tier.get_finished_jobs()] == [True]
    engine.end()


def test_models_of_one_name_differ(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(1 << 20))
    first = _blocks.model_identity(str(tmp_path))
    assert first == _blocks.model_identity(str(tmp_path))
    changed = bytearray(1 << 20)
    changed[-1] = 1
    weights.write_bytes(changed)
    assert _blocks.model_identity(str(tmp_path)) != first
    assert _blocks.model_identity(str(tmp_path / "none")) == ""


def test_fingerprints_fit_a_store() -> None:
    made = _blocks.fingerprint("a-long-name-of-an-engine", {"model": "m" * 1000})
    assert len(made) <= 48
    assert made != _blocks.fingerprint("a-long-name-of-an-engine", {"model": "m" * 999})


def test_options_of_a_store(tmp_path: Path) -> None:
    for wrong in ({"keep": "session"}, {"store_bytes": 0}, {"host_bytes": -1}):
        with pytest.raises(ValueError):
            _blocks.BlockStore(tmp_path, **{"store_bytes": 1 << 20, "host_bytes": 1 << 20, **wrong})
    with pytest.raises((cubby.CubbyError, OSError)):
        _blocks.BlockStore(tmp_path, store_bytes=1 << 60, host_bytes=1 << 20)


def test_sizes_in_words_and_options_that_are_wrong(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path, store_bytes="64MiB", host_bytes=4e6)
    assert engine.run(True, keys(1), [0]).success
    engine.tier.shutdown()
    wrong: list[tuple[str, Any]] = [
        *(("store_bytes", given) for given in ("8 GB", "", -1, 0, 1.5, None, True)),
        ("host_bytes", "much"),
        ("path", ""),
        ("path", None),
        ("keep", "ever"),
    ]
    for name, given in wrong:
        with pytest.raises(ValueError, match=name):
            whole = {"path": str(tmp_path), "store_bytes": 64 << 20, name: given}
            adapter.CubbyTier(spec(), engine.view, "CubbyTier", **whole)


def test_a_name_that_is_misspelt_is_refused(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    whole = {"path": str(tmp_path / "other"), "store_bytes": 64 << 20}
    for given, words in (
        ("host_byte", "did you mean host_bytes"),
        ("verfy", "did you mean verify"),
        ("colour", "there are path, store_bytes"),
    ):
        with pytest.raises(TypeError, match=words):
            adapter.CubbyTier(spec(), engine.view, "CubbyTier", **whole, **{given: 1})
    with pytest.raises(TypeError, match="did you mean store_bytes"):
        adapter.CubbyTier(spec(), engine.view, "CubbyTier", path=str(tmp_path), store_byte=1)
    engine.tier.shutdown()


def test_a_job_that_makes_no_sense_is_answered(adapter: Any, tmp_path: Path) -> None:
    engine = Engine(adapter, tmp_path)
    for row in (-1, ROWS):
        assert not engine.run(True, keys(1), [row]).success
        assert not engine.run(False, keys(1), [row]).success
    engine.end()
    assert not engine.run(True, keys(1), [0]).success
    assert not engine.hit(keys(1)[0])
    engine.tier.shutdown()

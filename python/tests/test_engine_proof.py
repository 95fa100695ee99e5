"""Proofs in real engines: which runs that ended before stand for one that is to be made."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.append(str(Path(__file__).parents[1] / "proofs"))

import engine_proof


def runs(monkeypatch: pytest.MonkeyPatch, folder: Path, resume: bool = True) -> bool:
    """Whether the engine is run."""
    said: list[str] = []
    proof = engine_proof.Proof("fake_engine", folder, {"turns": 3}, resume=resume)
    monkeypatch.setattr(proof, "say", said.append)
    monkeypatch.setattr(engine_proof, "HERE", folder)
    result = proof.engine("one", folder / "model")
    assert result == {"tokens": [1], "status": 0}
    return said == ["one"]


def test_a_run_of_other_builds_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "fake_engine_engine.py").write_text("print('RESULT {\"tokens\": [1]}')")
    package = tmp_path / "cubby"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "library.so").write_bytes(b"one")
    engine, cubby = ModuleType("fake_engine"), ModuleType("cubby")
    cubby.__file__ = str(package / "__init__.py")
    engine.__dict__["__version__"], cubby.__dict__["__version__"] = "1", "2"
    monkeypatch.setitem(sys.modules, "fake_engine", engine)
    monkeypatch.setitem(sys.modules, "cubby", cubby)
    assert runs(monkeypatch, tmp_path)
    assert not runs(monkeypatch, tmp_path)
    assert runs(monkeypatch, tmp_path, resume=False)
    (package / "library.so").write_bytes(b"two")
    assert runs(monkeypatch, tmp_path)
    assert not runs(monkeypatch, tmp_path)
    for module in (engine, cubby):
        module.__dict__["__version__"] += ".1"
        assert runs(monkeypatch, tmp_path)
        assert not runs(monkeypatch, tmp_path)

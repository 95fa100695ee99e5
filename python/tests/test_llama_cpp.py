"""cubby.integrations.llama_cpp with a stand-in for llama_cpp; the proofs run the real one."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cubby.integrations import llama_cpp as cubby_llama

LOAD = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GGML_BACKEND_PATH", "CUBBY_LIBRARY_DIR", "CUBBY_HOST_BUDGET"):
        monkeypatch.setenv(name, "")  # so that what use() sets is taken back
    made = tmp_path / cubby_llama.LIBRARY
    made.touch()
    return made


def stand_in(monkeypatch: pytest.MonkeyPatch, answer: int | None) -> list[bytes]:
    asked: list[bytes] = []

    @LOAD
    def load(path: bytes) -> int | None:
        asked.append(path)
        return answer

    inner = SimpleNamespace(_lib=SimpleNamespace(ggml_backend_load=load))
    monkeypatch.setitem(sys.modules, "llama_cpp", SimpleNamespace(llama_cpp=inner))
    return asked


def test_the_backend_is_loaded_with_its_budget(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stand_in(monkeypatch, 1)
    assert cubby_llama.use("12GiB", library) == library
    assert asked == [os.fsencode(library)]
    assert os.environ["CUBBY_HOST_BUDGET"] == "12GiB"
    monkeypatch.setenv("CUBBY_LIBRARY_DIR", str(library.parent))
    assert cubby_llama.use() == library
    assert len(asked) == 2


def test_what_is_refused_says_so(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, None)
    with pytest.raises(RuntimeError, match="did not take"):
        cubby_llama.use(library=library)
    assert len(asked) == 1
    with pytest.raises(FileNotFoundError, match="CUBBY_WITH_GGML"):
        cubby_llama.use()
    with pytest.raises(FileNotFoundError, match="as it was built"):
        cubby_llama.use(library=library.parent / "other.so")
    assert len(asked) == 1

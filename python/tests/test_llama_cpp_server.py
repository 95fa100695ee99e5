"""cubby.integrations.llama_cpp_server with stand-ins; the proofs run llama-cpp-python's server."""

from __future__ import annotations

import logging
import sys
import types
from types import SimpleNamespace
from typing import Any

import pytest

import cubby
from cubby.integrations import llama_cpp_server as served

GIVEN = ["--kv-path", "/somewhere", "--kv-store-bytes", "3GiB"]


class Settings(SimpleNamespace):
    """As much of the server's ModelSettings as is read."""

    def model_copy(self, update: dict[str, Any]) -> Settings:
        return Settings(**{**vars(self), **update})


def settings(model: str, **given: Any) -> Settings:
    whole = {"model": model, "cache": False, "logits_all": True, **given}
    return Settings(**whole, model_fields_set=set(given))


class Model:
    def __init__(self, of: Settings) -> None:
        self.of, self.cache = of, None

    def set_cache(self, cache: Any) -> None:
        self.cache = cache


class Models:
    """CachedModels over stand-ins, and what happened to them in turn."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        log = logging.getLogger("cubby.test_llama_cpp_server")
        self.load = served.CachedModels(self._load, self._cache, log)
        self.fails: Exception | None = None

    def _load(self, of: Settings) -> Model:
        self.happened.append(f"load {of.model}")
        return Model(of)

    def _cache(self, model: Model) -> Any:
        if self.fails is not None:
            raise self.fails
        name = model.of.model
        self.happened.append(f"open {name}")
        return SimpleNamespace(
            describe=lambda: "here", close=lambda: self.happened.append(f"close {name}")
        )


def test_each_model_has_its_cache_and_one_is_open_at_a_time() -> None:
    models = Models()
    first = models.load(settings("a"))
    assert first.cache is not None and first.of.logits_all is False
    models.load(settings("b"))
    models.load.close()
    models.load.close()
    steps = ["load a", "open a", "close a", "load b", "open b", "close b"]
    assert models.happened == steps


def test_what_was_asked_for_by_name_is_left_but_for_another_cache(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Models().load(settings("a", logits_all=True, cache=True))
    assert model.of.logits_all is True
    assert model.of.cache is False
    assert "a has cubby's" in caplog.text


def test_without_a_store_the_model_is_served_without_it(caplog: pytest.LogCaptureFixture) -> None:
    models = Models()
    models.fails = cubby.NotSupportedError("the model has a sliding window")
    assert models.load(settings("a")).cache is None
    assert "a goes on without it: the model has a sliding window" in caplog.text
    models.fails = ValueError("a mistake")
    with pytest.raises(ValueError, match="a mistake"):
        models.load(settings("a"))


def test_options_of_the_server_are_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given, rest = served.parser().parse_known_args([*GIVEN, "--model", "m.gguf", "--n_ctx", "512"])
    assert rest == ["--model", "m.gguf", "--n_ctx", "512"]
    assert (given.kv_path, given.kv_store_bytes) == ("/somewhere", 3 << 30)
    assert (given.kv_host_bytes, given.kv_block_tokens) == (256 << 20, 64)
    assert (given.kv_keep, given.kv_identity) == ("restart", "")
    monkeypatch.setenv("CUBBY_KV_PATH", "/elsewhere")
    monkeypatch.setenv("CUBBY_KV_STORE_BYTES", "4096")
    given, _ = served.parser().parse_known_args(["--kv-host-bytes", "1MiB"])
    assert (given.kv_path, given.kv_store_bytes) == ("/elsewhere", 4096)
    assert given.kv_host_bytes == 1 << 20


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "m.gguf"],
        ["--kv-path", "/somewhere"],
        [*GIVEN, "--kv-host-bytes", "1 GB"],
        [*GIVEN, "--kv-host-bytes", "0"],
        [*GIVEN, "--kv-keep", "forever"],
    ],
)
def test_wrong_options_end_the_start(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        served.main(words)
    assert ended.value.code == 2


def test_a_wrong_variable_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUBBY_KV_KEEP", "foo")
    with pytest.raises(SystemExit) as ended:
        served.main(GIVEN)
    assert ended.value.code == 2
    assert "CUBBY_KV_KEEP: 'foo' is none of" in capsys.readouterr().err


def test_without_the_server_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(SystemExit, match="pip install"):
        served.main(GIVEN)


def test_the_server_runs_with_the_models_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    proxy = type("LlamaProxy", (), {"load_llama_from_model_settings": staticmethod(Model)})

    def run() -> None:
        seen["words"] = sys.argv[1:]
        seen["model"] = proxy.load_llama_from_model_settings(settings("a"))

    modules = {
        "llama_cpp": {},
        "llama_cpp.server": {},
        "llama_cpp.server.__main__": {"main": run},
        "llama_cpp.server.model": {"LlamaProxy": proxy},
        "cubby.integrations.llama_cpp_cache": {"LockerCache": Cache},
    }
    for name, members in modules.items():
        made = types.ModuleType(name)
        vars(made).update(members)
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setattr(sys, "argv", ["server"])
    served.main([*GIVEN, "--model", "m.gguf"])
    assert seen["words"] == ["--model", "m.gguf"]
    cache = seen["model"].cache
    assert (cache.path, cache.store_bytes, cache.host_bytes) == ("/somewhere", 3 << 30, 256 << 20)
    assert cache.closed


class Cache:
    """In LockerCache's place."""

    def __init__(
        self, model: Model, path: str, store_bytes: int, host_bytes: int, **options: Any
    ) -> None:
        self.path, self.store_bytes, self.host_bytes = path, store_bytes, host_bytes
        self.closed = False

    def describe(self) -> str:
        return "here"

    def close(self) -> None:
        self.closed = True

"""The SGLang storage, without SGLang: its base class and host pools are stood in for.
scripts/test_engines.sh runs it in the real engine."""

from __future__ import annotations

import ctypes
import dataclasses
import enum
import importlib
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = 16
LAYERS = 4
PIECE = 4096
PAGES = 64
_STORAGE = "sglang.srt.mem_cache.hicache_storage"


class _Base:
    def register_mem_pool_host(self, pool: Any) -> None:
        self.mem_pool_host = pool

    def register_mem_host_pool_v2(self, pool: Any, name: Any) -> None: ...


@dataclasses.dataclass
class _Config:
    tp_rank: int = 0
    tp_size: int = 1
    is_mla_model: bool = False
    model_name: str = "a/model"
    enable_storage_metrics: bool = False
    extra_config: Any = None


@dataclasses.dataclass
class _HitResult:
    kv_hit_pages: int
    extra_pool_hit_pages: dict[str, int]
    restorable_prefix_pages: Any = None


class Policy(str, enum.Enum):
    ALL = "all_pages"
    LAST = "trailing_pages"
    GROUPS = "block_groups"
    STRANGE = "strange"


@dataclasses.dataclass
class Transfer:
    name: str
    keys: list[str] | None = None
    host_indices: Any = None
    hit_policy: Policy = Policy.ALL


class Pool:
    """A layer-first pool: a page is a piece in each layer."""

    page_size = PAGE
    layout = "layer_first"

    def __init__(self, layers: int = LAYERS) -> None:
        self.layers = layers
        self.memory = ctypes.create_string_buffer(layers * PAGES * PIECE)
        self.base = ctypes.addressof(self.memory)

    def get_page_buffer_meta(self, indices: Any) -> tuple[list[int], list[int]]:
        pages = [i // PAGE for i in list(indices)[::PAGE]]
        places = [self.base + (n * PAGES + p) * PIECE for p in pages for n in range(self.layers)]
        return places, [PIECE] * len(places)

    def fill(self, page: int, seed: int) -> None:
        for place in self.get_page_buffer_meta(at(page))[0]:
            ctypes.memset(place, seed, PIECE)

    def page(self, page: int) -> int:
        """The byte that a page is full of; -1 where it is not full of one."""
        places = self.get_page_buffer_meta(at(page))[0]
        found = b"".join(ctypes.string_at(place, PIECE) for place in places)
        return found[0] if found == found[:1] * len(found) else -1


class Tensor(bytearray):
    """What of a tensor the storage uses."""

    @property
    def nbytes(self) -> int:
        return len(self)

    def view(self, _: int) -> Tensor:
        return self


class FlatPool(Pool):
    """A pool whose pages SGLang copies itself."""

    def get_dummy_flat_data_page(self) -> Tensor:
        return Tensor(PIECE)


def at(*pages: int) -> list[int]:
    """Host indices of pages."""
    return [page * PAGE + i for page in pages for i in range(PAGE)]


def load(patch: pytest.MonkeyPatch, **changes: Any) -> Any:
    """The adapter, over a stand-in for SGLang with those changes."""
    members = {
        "HiCacheStorage": _Base,
        "HiCacheStorageConfig": _Config,
        "PoolTransferResult": _HitResult,
        **changes,
    }
    for name in ("sglang", "sglang.srt", "sglang.srt.mem_cache", _STORAGE):
        patch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["sglang"].__version__ = "0.0.stand-in"  # type: ignore[attr-defined]
    for name, value in members.items():
        if value is not None:
            setattr(sys.modules[_STORAGE], name, value)
    patch.delitem(sys.modules, "cubby.integrations.sglang", raising=False)
    return importlib.import_module("cubby.integrations.sglang")


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield load(monkeypatch)
    sys.modules.pop("cubby.integrations.sglang", None)


def make(adapter: Any, path: Path, pool: Any = None, **changes: Any) -> Any:
    extra = {"path": str(path), "store_bytes": 64 << 20, "host_bytes": 4 << 20, "interface_v1": 1}
    fields = {f.name: changes.pop(f.name) for f in dataclasses.fields(_Config) if f.name in changes}
    made = adapter.CubbyStorage(_Config(**fields, extra_config={**extra, **changes}), {})
    made.register_mem_pool_host(pool or Pool())
    return made


def names(count: int) -> list[str]:
    return [f"{i:064x}" for i in range(count)]


def test_pages_come_back_in_a_new_process(adapter: Any, tmp_path: Path) -> None:
    pool = Pool()
    storage = make(adapter, tmp_path, pool)
    for page in range(20):
        pool.fill(page, page + 1)
    assert storage.batch_exists(names(20)) == 0
    assert storage.batch_set_v1(names(20), at(*range(20))) == [True] * 20
    assert storage.batch_exists(names(21)) == 20
    storage.close()
    storage.close()
    pool = Pool()
    again = make(adapter, tmp_path, pool)
    assert again.batch_exists(names(21)) == 20
    assert again.exists(names(1)[0])
    back = list(range(40, 19, -1))
    assert again.batch_get_v1(names(21), at(*back)) == [True] * 20 + [False]
    assert [pool.page(page) for page in back] == [*range(1, 21), 0]
    again.close()


def test_a_hole_ends_the_prefix(adapter: Any, tmp_path: Path) -> None:
    storage = make(adapter, tmp_path)
    three = names(3)
    storage.batch_set_v1([three[0], three[2]], at(0, 1))
    assert storage.batch_exists(three) == 1
    assert storage.batch_exists([]) == 0
    assert storage.batch_get_v1(three, at(4, 5, 6)) == [True, False, True]
    storage.close()


def test_pools_of_a_hybrid_model(adapter: Any, tmp_path: Path) -> None:
    storage = make(adapter, tmp_path)
    state, more = Pool(1), Pool(2)
    storage.register_mem_host_pool_v2(state, "mamba")
    storage.register_mem_host_pool_v2(more, "indexer")
    pages = names(6)
    storage.batch_set_v1(pages, at(*range(6)))
    state.fill(7, 70)
    done = storage.batch_set_v2(
        [
            Transfer("mamba", [pages[2], pages[4]], at(7, 8)),
            Transfer("indexer", pages[:5], at(*range(5))),
            Transfer("unknown", pages[:1], at(0)),
        ]
    )
    assert done == {"mamba": [True] * 2, "indexer": [True] * 5, "unknown": [False]}

    def exists(*transfers: Transfer) -> tuple[int, dict[str, int], list[int]]:
        found = storage.batch_exists_v2(pages, list(transfers))
        return found.kv_hit_pages, found.extra_pool_hit_pages, found.restorable_prefix_pages

    last = Transfer("mamba", ["any"], None, Policy.LAST)
    whole = Transfer("indexer", None, None, Policy.ALL)
    assert exists() == (6, {"kv": 6}, [1, 2, 3, 4, 5, 6])
    assert exists(last) == (5, {"kv": 6, "mamba": 5}, [3, 5])
    assert exists(whole) == (5, {"kv": 6, "indexer": 5}, [1, 2, 3, 4, 5])
    assert exists(whole, last) == (5, {"kv": 6, "indexer": 5, "mamba": 5}, [3, 5])
    assert exists(Transfer("mamba", None, None, Policy.ALL)) == (0, {"kv": 6}, [])
    assert exists(Transfer("mamba", None, None, Policy.GROUPS)) == (
        6,
        {"kv": 6},
        [1, 2, 3, 4, 5, 6],
    )
    assert exists(Transfer("mamba", None, None, Policy.STRANGE))[0] == 0
    loaded = storage.batch_get_v2([Transfer("mamba", [pages[2], pages[3]], at(20, 21))])
    assert loaded == {"mamba": [True, False]}
    assert state.page(20) == 70
    storage.close()


def test_pages_that_sglang_copies_itself(adapter: Any, tmp_path: Path) -> None:
    storage = make(adapter, tmp_path, FlatPool(), interface_v1=0)
    pages = [Tensor(bytes([i + 1]) * PIECE) for i in range(3)]
    assert storage.batch_exists(names(3)) == 0
    assert storage.batch_set(names(3), pages)
    assert storage.set(f"{9:064x}", Tensor(b"x" * 512))
    assert storage.batch_exists(names(4)) == 3
    into = [Tensor(PIECE) for _ in range(4)]
    found = storage.batch_get(names(4), into)
    assert [f is i for f, i in zip(found, into, strict=True)] == [True] * 3 + [False]
    assert into[:3] == pages
    assert into[3] == bytes(PIECE)
    assert storage.get(names(1)[0], Tensor(PIECE)) == pages[0]
    assert storage.get(names(1)[0]) is None
    storage.close()
    again = make(adapter, tmp_path, FlatPool(), interface_v1=0)
    assert again.batch_exists(names(4)) == 3
    again.close()
    # The pieces of a page lie in another order: the two forms never meet.
    other = make(adapter, tmp_path, FlatPool())
    assert other.batch_exists(names(4)) == 0
    other.close()


@pytest.mark.parametrize(
    "change",
    [{"model_name": "another"}, {"tp_size": 2}, {"identity": "revision 2"}, {"pool": Pool(2)}],
    ids=["model", "ranks", "identity", "layers"],
)
def test_engines_of_another_layout_never_meet(adapter: Any, tmp_path: Path, change: Any) -> None:
    first = make(adapter, tmp_path)
    first.batch_set_v1(names(4), at(0, 1, 2, 3))
    first.close()
    other = make(adapter, tmp_path, **change)
    assert other.batch_exists(names(4)) == 0
    other.close()
    back = make(adapter, tmp_path)
    assert back.batch_exists(names(4)) == 4
    back.close()


def test_clear_forgets_all(adapter: Any, tmp_path: Path) -> None:
    storage = make(adapter, tmp_path)
    storage.batch_set_v1(names(4), at(0, 1, 2, 3))
    assert storage.clear() is True
    assert storage.batch_exists(names(4)) == 0
    storage.batch_set_v1(names(2), at(0, 1))
    storage.close()
    again = make(adapter, tmp_path)
    assert again.batch_exists(names(4)) == 2
    again.close()
    assert again.clear() is False


def test_nothing_raises(adapter: Any, tmp_path: Path, caplog: Any) -> None:
    storage = make(adapter, tmp_path)
    assert storage.batch_set_v1(names(3), at(0)) == [False] * 3
    assert storage.batch_get_v1(names(3), at(0)) == [False] * 3
    assert storage.batch_set_v1(names(1), None) == [False]
    assert storage.batch_set_v1([], at()) == []
    storage.close()
    assert storage.batch_exists(names(3)) == 0
    assert storage.batch_set_v1(names(1), at(0)) == [False]
    assert storage.batch_get_v1(names(1), at(0)) == [False]
    assert storage.batch_set(names(1), [Tensor(8)]) is False
    assert any("storing" in record.getMessage() for record in caplog.records)


def test_a_store_that_another_holds(adapter: Any, tmp_path: Path, caplog: Any) -> None:
    first = make(adapter, tmp_path)
    other = make(adapter, tmp_path)
    assert other.batch_exists(names(1)) == 0
    assert other.batch_set_v1(names(1), at(0)) == [False]
    other.close()
    first.close()
    assert any("cubby storage is off" in record.getMessage() for record in caplog.records)


def test_a_pool_that_cannot_be_used_in_place(adapter: Any, tmp_path: Path, caplog: Any) -> None:
    class Closed(Pool):
        def get_page_buffer_meta(self, indices: Any) -> tuple[list[int], list[int]]:
            raise NotImplementedError("not in this layout")

    storage = make(adapter, tmp_path, Closed())
    assert storage.batch_exists(names(1)) == 0
    assert storage.batch_set_v1(names(1), at(0)) == [False]
    storage.close()
    assert any("not in this layout" in record.getMessage() for record in caplog.records)


def test_a_pool_without_a_page_to_copy_through(adapter: Any, tmp_path: Path) -> None:
    class Broken(Pool):
        def get_dummy_flat_data_page(self) -> Any:
            raise RuntimeError("no driver")

    storage = make(adapter, tmp_path, Broken(), interface_v1=0)
    assert storage.batch_exists(names(2)) == 0
    assert storage.batch_get(names(1), [object()]) == [None]
    assert storage.batch_set(names(1), [object()]) is False
    storage.close()


def test_bad_configuration(adapter: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path, store_bytes"):
        adapter.CubbyStorage(_Config(extra_config={}), {})
    with pytest.raises(ValueError, match="keep"):
        make(adapter, tmp_path, keep="session")


def test_a_name_that_is_misspelt_is_refused(
    adapter: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for given, meant in (("host_byts", "host_bytes"), ("kepp", "keep"), ("Identity", "identity")):
        with pytest.raises(ValueError, match=f"did you mean {meant}"):
            make(adapter, tmp_path, **{given: 1})
    extra = {"path": str(tmp_path), "store_byte": 64 << 20}
    with pytest.raises(ValueError, match="did you mean store_bytes"):
        adapter.CubbyStorage(_Config(extra_config=extra), {})
    with caplog.at_level(logging.WARNING, logger="sglang.srt.mem_cache.cubby"):
        storage = make(adapter, tmp_path, backend_name="cubby", prefetch_threshold=32)
        storage.close()
        assert caplog.messages == []
        storage = make(adapter, tmp_path, some_new_key_of_sglang=1)
        storage.close()
    assert "no option 'some_new_key_of_sglang'" in caplog.text


def test_another_sglang_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r"lacks HiCacheStorage\b.*0\.5\.23.*0\.0\.stand-in"):
        load(monkeypatch, HiCacheStorage=None)
    monkeypatch.setitem(sys.modules, _STORAGE, None)
    monkeypatch.delitem(sys.modules, "cubby.integrations.sglang", raising=False)
    with pytest.raises(ImportError, match="cannot be imported"):
        importlib.import_module("cubby.integrations.sglang")


def test_sizes_in_words_and_options_that_are_wrong(adapter: Any, tmp_path: Path) -> None:
    storage = make(adapter, tmp_path, store_bytes="64MiB", host_bytes="4MiB")
    assert storage.counters()["used_bytes"] == 0
    storage.close()
    wrong: list[tuple[str, Any]] = [
        *(("store_bytes", given) for given in ("8GB", -1, None, "x")),
        ("host_bytes", 0),
        ("path", None),
        ("path", ""),
        ("keep", "ever"),
    ]
    for name, given in wrong:
        extra = {"path": str(tmp_path), "store_bytes": 64 << 20, name: given}
        with pytest.raises(ValueError, match=name):
            adapter.CubbyStorage(_Config(extra_config=extra), {})


def test_a_store_that_is_held_or_has_no_folder_is_off(adapter: Any, tmp_path: Path) -> None:
    first = make(adapter, tmp_path)
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", Path("/proc/nowhere")):
        second = make(adapter, path)
        assert second.batch_set_v1(names(1), at(0)) == [False]
        assert not second.exists(names(1)[0])
        assert second.clear() is False
        second.close()
        second.close()
    assert first.batch_set_v1(names(1), at(0)) == [True]
    first.close()
    assert first.batch_set_v1(names(1), at(0)) == [False]
    assert first.batch_get_v1(names(1), at(0)) == [False]
    assert first.counters()["used_bytes"] == 0

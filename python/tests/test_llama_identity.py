"""What names a llama.cpp model's blocks, and how states are cut; the proofs run the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

import cubby
from cubby.integrations import _blocks
from cubby.integrations._llama_files import model_files


def a_set(folder: Path, count: int, total: int) -> list[Path]:
    """Files with a name that is a pattern, among others that it would match."""
    made = [folder / f"m[x]*-{at:05}-of-{total:05}.gguf" for at in range(1, count + 1)]
    others = [folder / "mx1-00001-of-00002.gguf", folder / "m[x]*-00001-of-00099.gguf"]
    for file in [*made, *others]:
        file.touch()
    return made


def test_a_set_is_all_of_its_files(tmp_path: Path) -> None:
    made = a_set(tmp_path, 3, 3)
    assert model_files(made[0]) == made
    alone = tmp_path / "one[1].gguf"
    alone.touch()
    assert model_files(alone) == [alone]


def test_files_that_are_gone_are_said(tmp_path: Path) -> None:
    made = a_set(tmp_path, 2, 3)
    with pytest.raises(cubby.NotSupportedError, match="2 of its 3 files"):
        model_files(made[0])
    with pytest.raises(cubby.NotSupportedError, match="0 of its 1 files"):
        model_files(tmp_path / "none.gguf")


def test_a_changed_stretch_makes_other_weights(tmp_path: Path) -> None:
    file, size = tmp_path / "weights.gguf", 64 << 20
    with file.open("wb") as out:
        out.truncate(size)
    first = _blocks.file_sample(file)
    assert first == _blocks.file_sample(file)
    for place in (0, size // 3, size // 2 + 12345, size - (32 << 10)):
        with file.open("r+b") as out:
            out.seek(place)
            out.write(b"\1" * (32 << 10))
        changed = _blocks.file_sample(file)
        assert changed != first
        first = changed


def test_a_small_file_is_named_by_all_of_it(tmp_path: Path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(bytes(3 << 20))
    first = _blocks.file_sample(file), _blocks.file_digest(file)
    changed = bytearray(3 << 20)
    changed[(1 << 20) + 4097] = 1
    file.write_bytes(changed)
    assert _blocks.file_sample(file) != first[0]
    assert _blocks.file_digest(file) != first[1]


def test_files_of_a_model_share_the_pieces(tmp_path: Path) -> None:
    files = [tmp_path / str(at) for at in range(3)]
    for file in files:
        with file.open("wb") as out:
            out.truncate(32 << 20)
    assert len(set(_blocks.file_samples(files))) == 1
    with files[1].open("r+b") as out:
        out.seek(16 << 20)
        out.write(b"\1" * (64 << 10))
    samples = _blocks.file_samples(files)
    assert samples[0] == samples[2] != samples[1]


def test_a_state_with_too_few_rows_is_refused() -> None:
    np = pytest.importorskip("numpy", reason="numpy is not installed")
    from cubby.integrations import _llama_state

    def state(cells: int) -> object:
        """One layer with keys of 8 and values of 4 bytes a row."""
        made = b"\4\0\0\0test" + np.array([1, cells], "<u4").tobytes()
        for at in range(cells):
            made += np.array([at, 1, 0], "<i4").tobytes()
        made += np.array([0, 1], "<u4").tobytes()
        for row_bytes in (8, 4):
            made += np.array([0], "<i4").tobytes() + np.array([row_bytes], "<u8").tobytes()
            made += bytes(range(cells * row_bytes))
        return np.frombuffer(made, np.uint8)

    layout = _llama_state.Layout(state(1))
    assert layout.token_bytes == 12
    blocks = _llama_state.to_blocks(layout, state(8), 0, 2, 4)
    assert (_llama_state.from_blocks(layout, blocks, 4) == state(8)).all()
    with pytest.raises(_llama_state.UnknownStateError, match="7 tokens, of 8"):
        _llama_state.to_blocks(layout, state(7), 0, 2, 4)

"""The state of a llama.cpp context as its KV rows, token by token.

What llama_state_get_data() writes is the architecture's name, then a section for each KV cache:

    streams u32 = 1, cells u32, of each cell: position i32, sequences u32 = 1, [x, y, token: 3 i32],
    sequence i32; values transposed u32, layers u32; of each layer its keys: type i32, bytes of a
    row u64, a row a cell; of each layer its values: the same, or transposed: type i32, bytes of an
    element u32, elements of a row u32, a run of cells an element.

Nothing in it says whether cells have coordinates, or layers values (those of latent attention have
none): a layout is what reads a state to its last byte, with every number as it must be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
_COORDINATES_BYTES = 12
_MOST_TYPES = 256
_MOST_ROW_BYTES = 1 << 24


class UnknownStateError(ValueError):
    """It is not laid out as above."""


@dataclass(frozen=True)
class Rows:
    """The keys or the values of a layer: what stands before them, and the shape of one cell's.

    A shape of two is of values that are transposed: elements, bytes of one."""

    header: bytes
    shape: tuple[int, ...]

    @property
    def cell_bytes(self) -> int:
        """Bytes of one cell."""
        return int(np.prod(self.shape))


@dataclass
class _Section:
    coordinates: bool
    header: bytes = b""
    rows: list[Rows] = field(default_factory=list)

    @property
    def cell_head_bytes(self) -> int:
        return 12 + (_COORDINATES_BYTES if self.coordinates else 0)


class _Reader:
    def __init__(self, state: Bytes) -> None:
        self.state, self.at = state, 0

    def take(self, count: int) -> Bytes:
        if count > len(self.state) - self.at:
            raise UnknownStateError(f"it ends within {count} bytes at {self.at}")
        self.at += count
        return self.state[self.at - count : self.at]

    def number(self, kind: str, most: int, least: int = 0) -> int:
        value = int(self.take(np.dtype(kind).itemsize).view(kind)[0])
        if not least <= value <= most:
            raise UnknownStateError(f"{value} at {self.at} is none of {least} to {most}")
        return value


class Layout:
    """How the states of one context are laid out, whatever their number of cells."""

    def __init__(self, state: Bytes) -> None:
        """From a state with at least one cell. UnknownStateError for one that it cannot read."""
        tried = []
        for coordinates, values in itertools.product((False, True), (True, False)):
            try:
                self.cells = self._read(state, coordinates, values)
                return
            except UnknownStateError as error:
                tried.append(str(error))
        raise UnknownStateError("; ".join(tried))

    def _read(self, state: Bytes, coordinates: bool, values: bool) -> int:
        reader = _Reader(state)
        reader.take(reader.number("<u4", 64))
        self._name = bytes(state[: reader.at])
        self._sections: list[_Section] = []
        cells = 0
        while reader.at < len(state) or not self._sections:
            section, count = _read_section(reader, coordinates, values)
            if self._sections and count != cells:
                raise UnknownStateError(f"caches of {cells} and of {count} cells")
            cells = count
            self._sections.append(section)
        return cells

    @property
    def token_bytes(self) -> int:
        """Bytes that are stored of one token."""
        return sum(
            sum(rows.cell_bytes for rows in one.rows)
            + (_COORDINATES_BYTES if one.coordinates else 0)
            for one in self._sections
        )

    def describe(self) -> list[str]:
        """All that makes two layouts one."""
        return [self._name.hex()] + [
            f"{one.coordinates} {one.header.hex()} {[(r.header.hex(), r.shape) for r in one.rows]}"
            for one in self._sections
        ]

    def empty(self, cells: int) -> Bytes:
        """A state of so many cells, at positions 0, 1, 2…, whose rows are not set."""
        made = np.empty(self._bytes(cells), np.uint8)
        at = _write(made, 0, self._name)
        for one in self._sections:
            at = _write(made, at, np.array([1, cells], "<u4"))
            heads = np.zeros((cells, one.cell_head_bytes), np.uint8)
            heads[:, :4] = np.arange(cells, dtype="<i4").view(np.uint8).reshape(cells, 4)
            heads[:, 4] = 1
            at = _write(made, at, heads)
            at = _write(made, at, one.header)
            for rows in one.rows:
                at = _write(made, at, rows.header) + cells * rows.cell_bytes
        return made

    def _bytes(self, cells: int) -> int:
        return len(self._name) + sum(
            8
            + len(one.header)
            + cells * one.cell_head_bytes
            + sum(len(rows.header) + cells * rows.cell_bytes for rows in one.rows)
            for one in self._sections
        )

    def pieces(self, state: Bytes, cells: int) -> Iterator[Bytes]:
        """Views of what is stored of a state of so many cells, cells first."""
        at = len(self._name)
        for one in self._sections:
            at += 8
            heads = state[at : at + cells * one.cell_head_bytes].reshape(cells, -1)
            if one.coordinates:
                yield heads[:, 8:-4]
            at += heads.size + len(one.header)
            for rows in one.rows:
                at += len(rows.header)
                part = state[at : at + cells * rows.cell_bytes]
                at += part.size
                if len(rows.shape) == 1:
                    yield part.reshape(cells, *rows.shape)
                else:
                    elements, width = rows.shape
                    yield part.reshape(elements, cells, width).transpose(1, 0, 2)


def _write(into: Bytes, at: int, what: bytes | np.ndarray) -> int:
    piece = np.frombuffer(what if isinstance(what, bytes) else what.tobytes(), np.uint8)
    into[at : at + piece.size] = piece
    return at + piece.size


def _read_section(reader: _Reader, coordinates: bool, values: bool) -> tuple[_Section, int]:
    reader.number("<u4", 1, 1)
    cells = reader.number("<u4", len(reader.state), 1)
    section = _Section(coordinates)
    heads = reader.take(cells * section.cell_head_bytes).reshape(cells, -1)
    places = np.ascontiguousarray(heads[:, :8]).view("<i4")
    if (places[:, 0] != np.arange(cells)).any() or (places[:, 1] != 1).any():
        raise UnknownStateError("cells that are not those of one sequence from its begin")
    if heads[:, -4:].any():
        raise UnknownStateError("cells of another sequence than the first")
    began = reader.at
    transposed = reader.number("<u4", 1)
    layers = reader.number("<u4", 4096, 1)
    section.header = bytes(reader.state[began : reader.at])
    for _ in range(layers):
        section.rows.append(_read_rows(reader, cells, False))
    for _ in range(layers if values else 0):
        section.rows.append(_read_rows(reader, cells, bool(transposed)))
    return section, cells


def _read_rows(reader: _Reader, cells: int, transposed: bool) -> Rows:
    began = reader.at
    reader.number("<i4", _MOST_TYPES)
    shape: tuple[int, ...]
    if transposed:
        width = reader.number("<u4", 64, 1)
        shape = (reader.number("<u4", _MOST_ROW_BYTES, 1), width)
    else:
        shape = (reader.number("<u8", _MOST_ROW_BYTES, 1),)
    made = Rows(bytes(reader.state[began : reader.at]), shape)
    reader.take(cells * made.cell_bytes)
    return made


def to_blocks(layout: Layout, state: Bytes, first: int, count: int, tokens: int) -> Bytes:
    """Blocks `first` to `first + count - 1` of `tokens` tokens each, a row a block."""
    own = Layout(state)
    if own.describe() != layout.describe():
        raise UnknownStateError("the state is another context's")
    if own.cells < (first + count) * tokens:
        raise UnknownStateError(f"rows of {own.cells} tokens, of {(first + count) * tokens} wanted")
    blocks = np.empty((count, layout.token_bytes * tokens), np.uint8)
    at = 0
    for piece in layout.pieces(state, own.cells):
        chosen = piece[first * tokens : (first + count) * tokens]
        width = chosen[0].size * tokens
        blocks[:, at : at + width] = chosen.reshape(count, width)
        at += width
    return blocks


def from_blocks(layout: Layout, blocks: Bytes, tokens: int) -> Bytes:
    """The state whose cells are those of the blocks."""
    count = len(blocks)
    state = layout.empty(count * tokens)
    at = 0
    for piece in layout.pieces(state, count * tokens):
        width = piece[0].size * tokens
        piece[:] = blocks[:, at : at + width].reshape(piece.shape)
        at += width
    return state

"""Rows of a table, gathered into memory of the caller."""

from __future__ import annotations

import array
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cubby

ROW_BYTES, ROW_COUNT = 300, 5000


@dataclass
class Table:
    """A bank of rows, and what they are."""

    runtime: cubby.Runtime
    host: cubby.Tier
    bank: cubby.Bank
    content: bytes

    def rows(self, numbers: list[int]) -> bytes:
        """As a gather is to give them."""
        return b"".join(self.content[n * ROW_BYTES : (n + 1) * ROW_BYTES] for n in numbers)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """Of a safetensors file, in a tier of a few pages."""
    content = random.Random(7).randbytes(ROW_BYTES * ROW_COUNT)
    header = json.dumps(
        {
            "table": {
                "dtype": "U8",
                "shape": [ROW_COUNT, ROW_BYTES],
                "data_offsets": [0, len(content)],
            }
        }
    ).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    runtime = cubby.Runtime()
    host = runtime.add_tier("host", "host:0", 1 << 18)
    bank = runtime.adopt(str(path), tensors="table", rows=True, page_bytes=4096)
    yield Table(runtime, host, bank, content)
    runtime.close()


def test_what_a_table_is(table: Table) -> None:
    assert table.bank.kind == 2
    assert (table.bank.table_row_bytes, table.bank.table_row_count) == (ROW_BYTES, ROW_COUNT)
    assert table.bank.locker_bytes() == 13 * ROW_BYTES
    assert table.bank.page_of(13) == 1
    with pytest.raises(IndexError):
        table.bank.page_of(ROW_COUNT)


def test_rows_come_in_the_order_asked(table: Table) -> None:
    choose = random.Random(1)
    for count in (1, 48, 3000):
        numbers = [choose.randrange(ROW_COUNT) for _ in range(count)]
        into = bytearray(count * ROW_BYTES)
        table.bank.gather(numbers, into)
        assert into == table.rows(numbers)
        into = bytearray(count * ROW_BYTES)
        table.bank.gather(array.array("Q", numbers), into)
        assert into == table.rows(numbers)


def test_without_waiting(table: Table) -> None:
    numbers = [4999, 0, 4999]
    into = bytearray(3 * ROW_BYTES)
    ticket = table.bank.submit_gather(numbers, into)
    assert ticket.wait(20)
    assert ticket.item_status == [int(cubby.Status.OK)] * 3
    assert into == table.rows(numbers)
    table.bank.gather(numbers, into, no_wait=True)
    with pytest.raises(cubby.MissError):
        table.bank.gather([2500], bytearray(ROW_BYTES), no_wait=True)


def test_prefetched_pages_are_there(table: Table) -> None:
    numbers = [100, 2000, 101]
    pages = sorted({table.bank.page_of(number) for number in numbers})
    assert table.bank.prefetch(pages, table.host).wait(20)
    into = bytearray(3 * ROW_BYTES)
    table.bank.gather(numbers, into, no_wait=True)
    assert into == table.rows(numbers)


def test_what_makes_no_sense(table: Table) -> None:
    with pytest.raises(cubby.InvalidError, match="has 5000 rows"):
        table.bank.gather([ROW_COUNT], bytearray(ROW_BYTES))
    with pytest.raises(cubby.InvalidError, match="rows of bank rows take"):
        table.bank.gather([1], bytearray(ROW_BYTES - 1))
    with pytest.raises(BufferError):
        table.bank.gather([1], bytes(ROW_BYTES))
    with pytest.raises(TypeError):
        table.bank.gather(array.array("I", [1]), bytearray(ROW_BYTES))
    with pytest.raises(ValueError):
        table.bank.gather([1], [bytearray(100), bytearray(200)])

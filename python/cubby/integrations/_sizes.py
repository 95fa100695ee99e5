"""One store for blocks of several sizes: a space for each size, found again after a restart."""

from __future__ import annotations

import json
import os
import threading

import cubby
from cubby.integrations._blocks import BlockStore, fingerprint

SIZES_FILE = "cubby-sizes.json"


def frame_bytes(size: int) -> int:
    """Bytes of the locker for a block of `size`: few different ones, at most an eighth larger."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


class SizedSpaces:
    """Spaces of one store by the exact size of their blocks: a block is never found by a reader
    that expects another size. Not for several threads at once but for `of`."""

    def __init__(self, store: BlockStore, identity: str) -> None:
        self._store = store
        self._file = store.folder / SIZES_FILE
        self._identity = identity
        self._banks: dict[int, cubby.Bank] = {}
        self._spaces: dict[int, cubby.Space] = {}
        self._noted: set[int] = set()  # in the file: found again after a restart
        self._lock = threading.Lock()
        for size in self._read():
            self._open(size)
            self._noted.add(size)

    def _read(self) -> list[int]:
        try:
            sizes = [int(size) for size in json.loads(self._file.read_text())["sizes"]]
            if not all(0 < size < 1 << 48 for size in sizes):
                raise ValueError("a size that no block has")
            return sizes
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise cubby.FormatError(
                f"{self._file} is damaged ({error}); move it away: the blocks of sizes that are "
                "used again are found again"
            ) from error

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({"sizes": sorted(self._spaces)}))
        os.replace(part, self._file)
        self._noted.update(self._spaces)

    def _open(self, size: int) -> cubby.Space:
        locker = frame_bytes(size)
        if locker not in self._banks:
            self._banks[locker] = self._store.bank(f"kv {locker}", locker)
        name = fingerprint("sized", {"of": self._identity, "bytes": size})
        self._spaces[size] = self._store.runtime.add_space(self._banks[locker], name)
        return self._spaces[size]

    def find(self, size: int) -> cubby.Space | None:
        """The space of blocks of `size` bytes, where there is one."""
        return self._spaces.get(size)

    def of(self, size: int) -> cubby.Space:
        """The same, made where there is none; the size is noted beside the store first."""
        if size in self._noted:
            return self._spaces[size]
        with self._lock:
            if size not in self._spaces:
                self._open(size)
            if size not in self._noted:
                self._write()
            return self._spaces[size]

    def all(self) -> list[cubby.Space]:
        """Every space."""
        return list(self._spaces.values())

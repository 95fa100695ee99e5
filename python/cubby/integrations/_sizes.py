"""One store for blocks of several sizes: a space for each size, found again after a restart."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import cubby

SIZES_FILE = "cubby-sizes.json"


def frame_bytes(size: int) -> int:
    """Bytes of the locker for a block of `size`: few different ones, at most an eighth larger."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


class SizedSpaces:
    """Spaces of one runtime by the exact size of their blocks: a block is never found by a reader
    that expects another size. Not for several threads at once but for `of`."""

    def __init__(
        self,
        runtime: cubby.Runtime,
        folder: Path,
        fingerprint: str,
        memory_bytes: int,
        store_bytes: int,
    ) -> None:
        self._runtime = runtime
        self._file = folder / SIZES_FILE
        self._fingerprint = fingerprint
        self._bytes = memory_bytes + store_bytes
        self._banks: dict[int, cubby.Bank] = {}
        self._spaces: dict[int, cubby.Space] = {}
        self._lock = threading.Lock()
        for size in self._read():
            self._open(size)

    def _read(self) -> list[int]:
        try:
            return [int(size) for size in json.loads(self._file.read_text())["sizes"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise cubby.FormatError(
                f"{self._file} is damaged ({error}); move it away: the blocks of sizes that are "
                "used again are found again"
            ) from error

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps({"sizes": sorted(self._spaces)}))
        os.replace(part, self._file)

    def _open(self, size: int) -> cubby.Space:
        locker = frame_bytes(size)
        if locker not in self._banks:
            count = self._bytes // locker + 64
            self._banks[locker] = self._runtime.add_bank(f"kv {locker}", "kv", 1, count, locker)
        name = f"{self._fingerprint} {size}".encode()
        self._spaces[size] = self._runtime.add_space(self._banks[locker], name)
        return self._spaces[size]

    def find(self, size: int) -> cubby.Space | None:
        """The space of blocks of `size` bytes, where there is one."""
        return self._spaces.get(size)

    def of(self, size: int) -> cubby.Space:
        """The same, made where there is none; the size is noted beside the store first."""
        found = self._spaces.get(size)
        if found is not None:
            return found
        with self._lock:
            if size not in self._spaces:
                self._open(size)
                self._write()
            return self._spaces[size]

    def all(self) -> list[cubby.Space]:
        """Every space."""
        return list(self._spaces.values())

"""A store of KV blocks for one engine: what the adapters have in common."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cubby

USABLE = frozenset((cubby.State.FILE, cubby.State.HOST, cubby.State.DEVICE))
KEEPS = ("cache", "restart", "durable")
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_QUIET_SECONDS = 30.0
_HEAD_BYTES = 1 << 20  # of a file of weights: its own description, or most of it
_PIECE_BYTES = 4 << 10
_PIECES = 4096
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf", "*.pt")


class Complaints:
    """The engine's logger, with one line per kind of trouble and half a minute."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._last: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def warn(self, kind: str, error: object) -> None:
        """Logs `error`, or counts it where one of its kind was logged a moment ago."""
        now = time.monotonic()
        if now - self._last.get(kind, -_QUIET_SECONDS) < _QUIET_SECONDS:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._last[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        more = f" ({unsaid} more of this kind since the last line)" if unsaid else ""
        self._log.warning("cubby: %s: %s%s", kind, error, more)


def bytes_of(name: str, given: object) -> int:
    """An option's number of bytes above 0, given as such or as "100GiB"."""
    value = given
    if isinstance(given, str):
        found = re.fullmatch(r"(\d+)(|[KMGT]iB)", given)
        value = int(found[1]) * _UNITS[found[2]] if found else None
    elif isinstance(given, float) and given.is_integer():  # JSON has 1e11
        value = int(given)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 63:
        raise ValueError(
            f'{name} is {given!r}; give a number of bytes above 0, or a size such as "100GiB"'
        )
    return value


def folder_of(path: object) -> Path:
    """The folder of a store. Without a name it would be whatever folder the engine runs in."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ValueError(f"path is {path!r}; give the folder of the store")
    return Path(path)


def digest(*parts: bytes) -> bytes:
    """32 bytes that no two sequences of parts share."""
    made = hashlib.blake2b(digest_size=32)
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()


def fingerprint(engine: str, fields: dict[str, Any]) -> bytes:
    """Names all that makes blocks interchangeable, in few enough bytes for a store."""
    text = json.dumps(fields, sort_keys=True, default=str)
    return engine.encode()[:12] + b":" + digest(text.encode())


def file_sample(path: Path, pieces: int = _PIECES) -> bytes:
    """The size, the head and so many pieces of a file, spread over all of it; all of a small one.

    A fine-tune that changes some tensors alone is seen where one is wider than the distance of two
    pieces: size / pieces."""
    size = path.stat().st_size
    taken = [size.to_bytes(8, "little")]
    with path.open("rb") as file:
        if size <= _HEAD_BYTES + pieces * _PIECE_BYTES:
            return digest(*taken, file.read(size))
        number, last = file.fileno(), size - _PIECE_BYTES
        step = (last - _HEAD_BYTES) / max(1, pieces - 1)
        places = [_HEAD_BYTES + int(step * one) for one in range(pieces)]
        # Many at once, and without what reading ahead would add to each.
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_RANDOM)
        for place in places:
            os.posix_fadvise(number, place, _PIECE_BYTES, os.POSIX_FADV_WILLNEED)
        taken.append(os.pread(number, _HEAD_BYTES, 0))
        taken += [os.pread(number, _PIECE_BYTES, place) for place in places]
    return digest(*taken)


def file_samples(files: Sequence[Path]) -> list[bytes]:
    """Samples of the files of one model, which share the pieces, so that many files take little
    longer than one."""
    pieces = max(_PIECES // 16, _PIECES // max(1, len(files)))
    return [file_sample(one, pieces) for one in files]


def file_digest(path: Path) -> bytes:
    """Of all of a file."""
    made = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            made.update(piece)
    return made.digest()


def _cached_folder(name: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json")
    except Exception:
        return None
    return Path(found).parent if isinstance(found, str) else None


def model_identity(name: str) -> str:
    """Tells models of one name apart: of a model's folder, or of the newest copy in the Hugging
    Face cache, the configuration and samples of the weights. "" where there is no such folder."""
    folder = Path(name) if Path(name).is_dir() else _cached_folder(name)
    if folder is None:
        return ""
    try:
        config = folder / "config.json"
        parts = [config.read_bytes() if config.is_file() else b""]
        for pattern in _WEIGHTS:
            files = sorted(folder.glob(pattern))
            for file, sample in zip(files, file_samples(files), strict=True):
                parts.append(digest(file.name.encode(), sample))
    except OSError:
        return ""
    return digest(*parts).hex()


class BlockStore:
    """A runtime with host memory and a store in a folder, which is one process's; without a folder
    with memory alone."""

    def __init__(
        self,
        path: str | Path | None,
        store_bytes: int | str,
        host_bytes: int | str,
        *,
        keep: str = "restart",
        verify: bool = True,
        workers: int | None = None,
    ) -> None:
        if keep not in KEEPS:
            raise ValueError(f"keep is one of {', '.join(KEEPS)}, not {keep!r}")
        folder = None if path is None else folder_of(path)
        self.host_bytes = bytes_of("host_bytes", host_bytes)
        self.store_bytes = bytes_of("store_bytes", store_bytes) if folder is not None else 0
        self.keep = keep
        self.runtime = cubby.Runtime(verify=verify, workers=workers)
        try:
            self.runtime.add_tier("host", "host:0", self.host_bytes)
            if folder is not None:
                self._add_folder(folder)
        except BaseException:
            self.runtime.close()
            raise

    def _add_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = self.runtime.add_tier(
            "file", "nvme:0", self.store_bytes, rank=1, paths=[str(folder)]
        )

    def add(self, name: str, block_bytes: int, identity: bytes) -> cubby.Space:
        """A space of blocks of one size, which a store of an earlier process may have filled."""
        return self.runtime.add_space(self.bank(name, block_bytes), identity)

    def bank(self, name: str, block_bytes: int) -> cubby.Bank:
        """A bank with a number for every block of this size that there can be."""
        count = (self.host_bytes + self.store_bytes) // block_bytes + 64
        return self.runtime.add_bank(name, "kv", 1, count, block_bytes)

    def pieces(self, count: int, block_bytes: int) -> list[slice]:
        """Cuts a batch of `count` blocks into puts that leave room for others in memory."""
        each = max(1, self.host_bytes // 8 // block_bytes)
        return [slice(first, min(first + each, count)) for first in range(0, count, each)]

    def put(
        self,
        space: cubby.Space,
        keys: Sequence[bytes],
        memory: Any,
        *,
        chain: bool = False,
        after: bytes | None = None,
    ) -> None:
        """Stores a piece and waits for it; waits for room, too, as long as others make some.
        chain: each key follows the one before it, the first one follows `after`."""
        until = time.monotonic() + 20
        while True:
            try:
                space.put(list(keys), memory, keep=self.keep, chain=chain, after=after)
                return
            except cubby.BusyError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.002)

    def close(self) -> None:
        """Waits for what is being stored and ends the runtime. May be called twice."""
        if self.runtime.closed:
            return
        try:
            self.runtime.drain(30)
        finally:
            self.runtime.close()

    def describe(self) -> str:
        """Where the store is and how it is held, for a line in the engine's log."""
        return (
            f"{self.folder}: {self.store_bytes / 2**30:.2f} GiB on disk by "
            f"{self.file.describe()['io']}, {self.host_bytes / 2**30:.2f} GiB of memory, keep "
            f"{self.keep}, {self.used_bytes() / 2**30:.2f} GiB stored before"
        )

    def used_bytes(self) -> int:
        """Bytes of blocks in the store."""
        return self._tier("used_bytes")

    def _tier(self, what: str) -> int:
        tiers = self.runtime.stats()["tiers"]
        return next(t[what] for t in tiers if t["tier"] == self.file.handle)

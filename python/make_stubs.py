"""Writes python/cubby/_cubby.pyi from the built extension: nanobind's stubs, with the types that
they cannot know put in by hand.

    scripts/test_python.sh; build/python-venv/bin/python python/make_stubs.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HEAD = """from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, TypeAlias, overload

from typing_extensions import Buffer, Self

Key: TypeAlias = bytes
KeyList: TypeAlias = bytes | list[bytes] | tuple[bytes, ...] | "Keys"
# Buffer protocol, __dlpack__, (address, length), RegionSpan, or a list of those.
Memory: TypeAlias = Any
AnyPath: TypeAlias = str | bytes | PathLike[str]
Keep: TypeAlias = Literal["session", "cache", "restart", "durable"]
Hint: TypeAlias = Literal["closed", "scheduled", "priority"]
IoClass: TypeAlias = Literal["demand", "committed", "forecast", "write_back"]
Seconds: TypeAlias = float | None
Parts: TypeAlias = Sequence[tuple[int, int] | None] | None
"""

# (pattern, replacement), each of which has to be used.
TYPES = [
    (r"path: object \| None", "path: AnyPath | None"),
    (r"path: object", "path: AnyPath"),
    (r"profile: object \| None", "profile: AnyPath | None"),
    (r"(paths|files): object", r"\1: Sequence[AnyPath]"),
    (r"timeout: object \| None", "timeout: Seconds"),
    (r"tier: object \| None", "tier: Tier | None"),
    (r"parts: object \| None", "parts: Parts"),
    (r"after: object \| None", "after: Key | None"),
    (r"keys: object\) -> None", "keys: list[bytes] | tuple[bytes, ...]) -> None"),
    (r"buffer: object", "buffer: Buffer"),
    (r"keys: object", "keys: KeyList"),
    (r"table_rows: object", "table_rows: Sequence[int] | Buffer"),
    (r"into: object", "into: Memory"),
    (r"memory: object", "memory: Memory"),
    (r"keep: object \| None", "keep: Keep | None"),
    (r"keep: object", "keep: Keep"),
    (r"kind: object", "kind: Hint"),
    (r"io_class: object", "io_class: IoClass"),
    (r"recompute_ns: list", "recompute_ns: list[int]"),
    (r"def get\((.*)\) -> object", r"def get(\1) -> bool | list[bool]"),
    (r"def (submit_\w+|prefetch|seal|resize)\((.*)\) -> object", r"def \1(\2) -> Ticket"),
    (r"def reserve\((.*)\) -> object", r"def reserve(\1) -> Reservation"),
    (r"def restorable\((.*)\) -> list", r"def restorable(\1) -> list[int]"),
    (r"def lease\((.*)\) -> object", r"def lease(\1) -> Lease"),
    (r"def view\((.*)\) -> object", r"def view(\1) -> View | None"),
    (r"def poll\(self\) -> object", "def poll(self) -> int | None"),
    (r"def error\(self\) -> object", "def error(self) -> Exception | None"),
    (r"def __enter__\(self\) -> object", "def __enter__(self) -> Self"),
    (r"\*args\)", "*args: object)"),
    (r"def item_status\(self\) -> list", "def item_status(self) -> list[int]"),
    (r"def take\((.*)\) -> list", r"def take(\1) -> list[Completion]"),
    (r"def take_log\((.*)\) -> list", r"def take_log(\1) -> list[tuple[int, int, int, str]]"),
    (r"def files\(self\) -> list", "def files(self) -> list[dict[str, Any]]"),
    (r"def policies\(\) -> list", "def policies() -> list[str]"),
    (r"def shape\(self\) -> tuple", "def shape(self) -> tuple[int, int]"),
    (r"def (base|stride_bytes)\(self\) -> tuple", r"def \1(self) -> tuple[int, ...]"),
    (r"def version\(\) -> tuple", "def version() -> tuple[int, int, int]"),
    (r"-> dict:", "-> dict[str, Any]:"),
]


def main() -> int:
    """Writes the file; fails where a replacement found nothing."""
    out = Path(__file__).parent / "cubby" / "_cubby.pyi"
    subprocess.run(
        [sys.executable, "-m", "nanobind.stubgen", "-m", "cubby._cubby", "-o", str(out)], check=True
    )
    text = out.read_text()
    text = re.sub(r"from collections.abc import.*\nfrom typing import.*\n", HEAD, text)
    for pattern, replacement in TYPES:
        text, count = re.subn(pattern, replacement, text)
        if count == 0:
            print(f"make_stubs: nothing is like {pattern!r}", file=sys.stderr)
            return 1
    wide = re.compile(r'^( *)"""\n *(.*)\n *"""$', re.MULTILINE)
    out.write_text(wide.sub(r'\1"""\2"""', text))
    return 0


if __name__ == "__main__":
    sys.exit(main())

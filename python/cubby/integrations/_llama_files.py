"""The files that a llama.cpp model is made of."""

from __future__ import annotations

import glob
import re
from pathlib import Path

import cubby

_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


def model_files(path: Path) -> list[Path]:
    """A split set is all of its files. NotSupportedError where some of them are not there."""
    named = _SPLIT.fullmatch(path.name)
    if named is None:
        found, count = ([path] if path.is_file() else []), 1
    else:
        first, _, total = named.groups()
        pattern = f"{glob.escape(first)}-{'[0-9]' * 5}-of-{total}.gguf"
        found, count = sorted(path.parent.glob(pattern)), int(total)
    if not found or len(found) < count:
        raise cubby.NotSupportedError(
            f"{path}: {len(found)} of its {count} files are there, so blocks cannot be named by "
            "the weights; leave the files of a model in their place while it is used"
        )
    return found

"""The `cubby` command, as `python -m cubby` and as the script of the installed package."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def find_command() -> Path | None:
    """The command that was built into the package, or the one that CUBBY_COMMAND names."""
    named = os.environ.get("CUBBY_COMMAND")
    candidate = Path(named) if named else Path(__file__).parent / "bin" / "cubby"
    return candidate if os.access(candidate, os.X_OK) else None


def main() -> int:
    """Runs the command in this process's place; returns only where it is missing."""
    command = find_command()
    if command is None:
        print(
            "cubby: the command is not in this package: it was built where CLI11, nlohmann-json, "
            "liblzma or libzstd were not installed (Debian: libcli11-dev nlohmann-json3-dev "
            "liblzma-dev libzstd-dev). Install them and build the package again, or name a built "
            "command in CUBBY_COMMAND.",
            file=sys.stderr,
        )
        return 2
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python; the command ends by them
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(command, ["cubby", *sys.argv[1:]])
    except OSError as error:
        print(
            f"cubby: {command} cannot be run: {error.strerror}; name a built command in "
            "CUBBY_COMMAND, or leave it unset",
            file=sys.stderr,
        )
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""A memory cgroup for one process after the other, version 2 or 1."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

V1_ROOT, V2_ROOT = "sys/fs/cgroup/memory", "sys/fs/cgroup"


class NoLimitError(Exception):
    """No memory cgroup can be made."""


class Place(NamedTuple):
    folder: Path  # where a group can be made whose memory is limited
    file: str  # its file for the limit


def own_groups(root: Path) -> dict[str, str]:
    """This process's groups by controller ("" = version 2), from the root of their hierarchy."""
    own = {}
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        for one in controllers.split(","):
            own[one] = group.strip("/")
    return own


def places(root: Path = Path("/")) -> list[Place]:
    """Where to try, in turn. Of version 2 the groups from our own up whose cgroup.subtree_control
    names memory: one that holds processes, as our own does, cannot limit its children unless it is
    the root. In a container our group's path may be the machine's, hence the root of version 1."""
    own, found = own_groups(root), []
    if "" in own:
        group = root / V2_ROOT / own[""]
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError):
                if "memory" in (folder / "cgroup.subtree_control").read_text().split():
                    found.append(Place(folder, "memory.max"))
            if folder == root / V2_ROOT:
                break
    if "memory" in own:
        for folder in dict.fromkeys((root / V1_ROOT / own["memory"], root / V1_ROOT)):
            if (folder / "memory.limit_in_bytes").exists():
                found.append(Place(folder, "memory.limit_in_bytes"))
    return found


class Limit:
    """The group; a context manager that ends what is in it. NoLimitError where there can be none,
    or where no process can be put into it."""

    def __init__(self, limit_bytes: int) -> None:
        causes = []
        for place in places():
            self.folder = place.folder / f"cubby-llama-{os.getpid()}"
            try:
                self._make(place.file, limit_bytes)
                return
            except OSError as error:
                causes.append(str(error))
        if not causes:
            causes = ["no cgroup above this process has the memory controller for its children"]
        raise NoLimitError(
            f"no memory cgroup can be made here ({'; '.join(causes)}); run it as root, outside a "
            "container or in one that may make cgroups"
        )

    def _make(self, file: str, limit_bytes: int) -> None:
        self.folder.mkdir()
        try:
            # Opened as it is: writing must not make a file, as it would in what is no cgroup.
            with (self.folder / file).open("r+") as limit:
                limit.write(str(limit_bytes))
            with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as tried:
                self._put(tried.pid)
        except BaseException:  # also a signal's
            with contextlib.suppress(OSError):
                self.folder.rmdir()
            raise

    def _put(self, process: int) -> None:
        with (self.folder / "cgroup.procs").open("r+") as group:
            group.write(str(process))

    def enter(self) -> None:
        """For a child, before its program starts."""
        self._put(os.getpid())

    def __enter__(self) -> Limit:
        return self

    def __exit__(self, *_: object) -> None:
        """A process that was ended stays in the group until its memory is given back."""
        for wait_s in (0.0, 0.1, 0.4, 1.5, 5.0):
            time.sleep(wait_s)
            for line in (self.folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line), signal.SIGKILL)
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
        self.folder.rmdir()

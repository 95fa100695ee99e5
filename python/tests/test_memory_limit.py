"""Where bench/memory_limit.py makes a cgroup, over trees of files that look like cgroups."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import memory_limit

V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


def tree(root: Path, own: str, files: dict[str, str]) -> list[tuple[str, str]]:
    for name, text in {"proc/self/cgroup": own, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return [(str(p.folder.relative_to(root)), p.file) for p in memory_limit.places(root)]


def test_version_2_goes_up_to_a_group_that_gives_memory(tmp_path: Path) -> None:
    """The own group holds processes: no child of it has a memory.max."""
    control = "cgroup.subtree_control"
    assert tree(
        tmp_path,
        "0::/user.slice/app.slice/shell.scope\n",
        {
            f"{V2}/{control}": "cpuset cpu io memory pids\n",
            f"{V2}/user.slice/{control}": "cpu memory pids\n",
            f"{V2}/user.slice/app.slice/{control}": "cpu pids\n",
            f"{V2}/user.slice/app.slice/shell.scope/{control}": "\n",
        },
    ) == [(f"{V2}/user.slice", "memory.max"), (V2, "memory.max")]


def test_version_2_at_the_root(tmp_path: Path) -> None:
    """There processes and groups may stand side by side; in a container the root is none."""
    control = f"{V2}/cgroup.subtree_control"
    assert tree(tmp_path, "0::/\n", {control: "memory pids\n"}) == [(V2, "memory.max")]
    assert tree(tmp_path, "0::/\n", {control: "\n"}) == []


def test_version_1_below_the_own_group(tmp_path: Path) -> None:
    limit = "memory.limit_in_bytes"
    own = "4:cpu,memory:/a/b\n1:name=systemd:/\n0::/\n"
    files = {f"{V1}/{limit}": "1", f"{V1}/a/b/{limit}": "1"}
    assert tree(tmp_path, own, files) == [(f"{V1}/a/b", limit), (V1, limit)]


def test_version_1_in_a_container_whose_path_is_the_machines(tmp_path: Path) -> None:
    limit = "memory.limit_in_bytes"
    own = "4:memory:/docker/1234\n"
    assert tree(tmp_path, own, {f"{V1}/{limit}": "1"}) == [(V1, limit)]


def test_no_limit_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "places", list)
    with pytest.raises(memory_limit.NoLimitError, match="no cgroup above this process"):
        memory_limit.Limit(1 << 20)
    place = memory_limit.Place(tmp_path, "memory.max")
    monkeypatch.setattr(memory_limit, "places", lambda: [place])
    with pytest.raises(memory_limit.NoLimitError, match=r"memory\.max"):
        memory_limit.Limit(1 << 20)
    assert list(tmp_path.iterdir()) == []

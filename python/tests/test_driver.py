"""The package over a CUDA driver: pins and copies in a stream's order, device pointers, slot
tables, verifications. The driver is one that needs no GPU, the libcuda.so.1 that the tests of the
library build (cubby_fake_libcuda); CUBBY_FAKE_CUDA names its folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FOLDER = os.environ.get("CUBBY_FAKE_CUDA", "")

needs_driver = pytest.mark.skipif(
    not (FOLDER and (Path(FOLDER) / "libcuda.so.1").is_file()),
    reason="no driver to test with: cmake --build build/release --target cubby_fake_libcuda, and "
    "CUBBY_FAKE_CUDA=build/release/tests/fake_driver",
)


def run(check: str, folder: str) -> subprocess.CompletedProcess[str]:
    """One check in a process of its own: a driver stays loaded for good."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "")
    with_driver = {**os.environ, "LD_LIBRARY_PATH": f"{folder}:{libraries}".rstrip(":")}
    return subprocess.run(
        [sys.executable, str(HERE / "device_program.py"), check],
        env=with_driver,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@needs_driver
@pytest.mark.parametrize("check", ["pins", "blocks", "slots", "verify"])
def test_a_program_on_a_device(check: str) -> None:
    done = run(check, FOLDER)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{check} done"

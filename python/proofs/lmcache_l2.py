"""`lmcache bench l2` over cubby and LMCache's own adapters: a table of MB/s, data verified.

    python lmcache_l2.py --folder DIR [--sizes 64,1024] [--sides NAME]… [--repeat 3] [--json FILE]

Run by the interpreter of an environment with lmcache. Every run starts with an empty folder (the
rivals skip keys that are there), and the adapters take turns: figures are medians. Redis takes part
where redis-server is installed, NIXL where its Python package is. Exit status 1 where cubby lost a
key.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEYS = {64: 256, 1024: 32, 8192: 8}
ROUNDS = 4
REDIS_PORT = 6399
TIMEOUT_S = 300


def plugin(folder: Path, host_bytes: int) -> dict[str, Any]:
    """Our connector; with 64 MiB of memory nearly all loads come from the disk."""
    return {
        "type": "native_plugin",
        "module_path": "cubby.integrations.lmcache",
        "class_name": "CubbyConnector",
        "adapter_params": {"path": str(folder), "store_bytes": 2 << 30, "host_bytes": host_bytes},
    }


def nixl(folder: Path, size_kb: int, direct: bool) -> dict[str, Any]:
    """NIXL's POSIX backend, by io_uring, with a file for every key."""
    params = {
        "file_path": str(folder),
        "file_size": str(size_kb << 10),
        "use_direct_io": str(direct).lower(),
        "use_uring": "true",
    }
    return {
        "type": "nixl_store",
        "backend": "POSIX",
        "backend_params": params,
        # Two submits a round, and a round before the measured ones.
        "pool_size": 2 * KEYS[size_kb] * (ROUNDS + 1),
    }


def sides(folder: Path, size_kb: int) -> dict[str, dict[str, Any]]:
    """The adapters that are installed, by the name that the table has."""
    base = str(folder)
    made = {
        "cubby, from disk": plugin(folder, 64 << 20),
        "fs_native O_DIRECT": {"type": "fs_native", "base_path": base, "use_odirect": True},
        "cubby, 1 GiB memory": plugin(folder, 1 << 30),
        "fs_native buffered": {"type": "fs_native", "base_path": base},
        "fs buffered": {"type": "fs", "base_path": base},
    }
    if "resp (redis)" not in left_out():
        made["resp (redis)"] = {"type": "resp", "host": "127.0.0.1", "port": REDIS_PORT}
    if "nixl" not in left_out():
        made["nixl O_DIRECT"] = nixl(folder, size_kb, True)
        made["nixl buffered"] = nixl(folder, size_kb, False)
    return made


def left_out() -> dict[str, str]:
    """Adapters that what is installed does not allow, and why."""
    why: dict[str, str] = {}
    if shutil.which("redis-server") is None:
        why["resp (redis)"] = "redis-server is not installed (Debian: redis-server)"
    if importlib.util.find_spec("nixl") is None:
        why["nixl"] = "the Python packages nixl and nixl-cu13 are not installed"
    return why


@contextlib.contextmanager
def redis(adapter: dict[str, Any]) -> Iterator[None]:
    """An empty Redis in memory alone, for the adapter that needs one."""
    if adapter["type"] != "resp":
        yield
        return
    command = ["redis-server", "--port", str(REDIS_PORT), "--save", "", "--appendonly", "no"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", REDIS_PORT)):
                break
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        child.wait()


def preload() -> None:
    """What every run of LMCache's command imports, most of whose time that is."""
    os.environ.update(LMCACHE_DISABLE_BANNER="1", LMCACHE_LOG_LEVEL="WARNING")
    importlib.import_module("lmcache.cli.main")
    importlib.import_module("lmcache.v1.distributed.l2_adapters")
    for name in ("data", "runner"):
        importlib.import_module(f"lmcache.cli.commands.bench.l2_adapter_bench.{name}")


def command_in_child(words: list[str], log: Path) -> tuple[int, float]:
    """`lmcache WORDS` in a process of its own, which has everything imported; its exit status and
    processor seconds."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.argv = ["lmcache", *words]
            sys.modules["lmcache.cli.main"].main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    until = time.monotonic() + TIMEOUT_S
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]), ended[2].ru_utime + ended[2].ru_stime


def bench(
    adapter: dict[str, Any], size_kb: int, output: Path
) -> tuple[dict[str, dict[str, Any]], float]:
    """One run: what the store and the load did, by name; and its processor seconds, in which are
    those of making and comparing the data, and not those of Redis."""
    words = ["bench", "l2", "--l2-adapter", json.dumps(adapter), "--num-keys", str(KEYS[size_kb])]
    words += ["--data-size-kb", str(size_kb), "--rounds", str(ROUNDS), "--in-flight", "2"]
    words += ["--no-skip-verify", "--lookup-max-hit-rate", "1.0", "--l1-align-bytes", "4096"]
    words += ["--format", "json", "--output", str(output)]
    log = output.with_suffix(".log")
    status, processor_s = command_in_child(words, log)
    if status != 0:
        said = log.read_text(errors="replace")
        raise RuntimeError(f"lmcache {' '.join(words)}: exit status {status}\n{said}")
    found = json.loads(output.read_text())
    metrics = found.get("metrics", found)
    operations = [op for op in metrics.values() if isinstance(op, dict) and "operation" in op]
    return {op["operation"]: op for op in operations}, processor_s


def run(name: str, size_kb: int, folder: Path) -> dict[str, Any]:
    """One line of the table."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store_at = folder / "store"
    store_at.mkdir()
    adapter = sides(store_at, size_kb)[name]
    try:
        with redis(adapter):
            got, processor_s = bench(adapter, size_kb, folder / "result.json")
    finally:
        shutil.rmtree(store_at, ignore_errors=True)
    good = all(op["total_success"] == op["total_keys"] for op in got.values())
    return {
        "side": name,
        "size_kb": size_kb,
        "store_mb_s": got["Store"]["throughput_avg_mbps"],
        "load_mb_s": got["Load"]["throughput_avg_mbps"],
        "lookup_us_a_key": got["Lookup"]["latency_per_key_ms"] * 1000,
        "processor_s": processor_s,
        "all_keys": good and got["Lookup"]["actual_hit_rate"] == 1.0,
    }


def middle(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The medians of repeated runs; all keys only where all runs had them."""
    made: dict[str, Any] = dict(rows[0])
    for field in ("store_mb_s", "load_mb_s", "lookup_us_a_key", "processor_s"):
        made[field] = statistics.median(row[field] for row in rows)
    made["all_keys"] = all(row["all_keys"] for row in rows)
    made["runs"] = [[round(row["store_mb_s"]), round(row["load_mb_s"])] for row in rows]
    return made


def show(row: dict[str, Any]) -> None:
    """Prints a line."""
    size = f"{row['size_kb']} KiB" if row["size_kb"] < 1024 else f"{row['size_kb'] // 1024} MiB"
    print(
        f"{size:<9}{row['side']:<22}{row['store_mb_s']:>11.0f}{row['load_mb_s']:>11.0f}"
        f"{row['lookup_us_a_key']:>12.1f}{row['processor_s']:>13.2f}  "
        f"{'yes' if row['all_keys'] else 'NO'}",
        flush=True,
    )


def main() -> int:
    """Runs the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--sizes", default="64,1024,8192")
    parser.add_argument("--sides", action="append", help="only those whose names begin so")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    preload()
    rows = []
    for side, why in left_out().items():
        print(f"skipped: {side}: {why}")
    print(
        f"{'keys of':<9}{'adapter':<22}{'store MB/s':>11}{'load MB/s':>11}"
        f"{'lookup us':>12}{'processor s':>13}  all"
    )
    for size in map(int, given.sizes.split(",")):
        asked = tuple(given.sides or [""])
        names = [name for name in sides(given.folder, size) if name.startswith(asked)]
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(given.repeat):
            for name, mine in runs.items():
                mine.append(run(name, size, given.folder))
        for mine in runs.values():
            rows.append(middle(mine))
            show(rows[-1])
    if given.json:
        given.json.write_text(json.dumps({"rounds": ROUNDS, "rows": rows}, indent=1) + "\n")
    lost = [row for row in rows if row["side"].startswith("cubby") and not row["all_keys"]]
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

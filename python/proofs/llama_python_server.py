"""Proves the prompt cache of llama-cpp-python's own server, chosen by options alone, over its HTTP.

    python llama_python_server.py --folder WORK

`python -m cubby.integrations.llama_cpp_server` beside `python -m llama_cpp.server`: the same text,
found again by a new process after SIGKILL, one store for several models, a store that is held.
Exit status 0 all passed, 1 one failed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import llama_models
from llama_server_proof import Server, ask, free_port

BLOCK = 64
TOKENS = 300
WHOLE_BLOCKS = TOKENS // BLOCK * BLOCK
STORE = ("--kv-store-bytes", "64MiB", "--kv-host-bytes", "64MiB")
WITHOUT = "goes on without it: "
COMPUTED = re.compile(r"prompt eval time =.*?/ +(\d+) tokens")


def prompt(seed: int = 0) -> str:
    """A character a token: the tiny models have those that are not printed alone."""
    return "".join(chr(1 + (7 * at + at * at // 5 + seed) % 8) for at in range(TOKENS))


@dataclass
class Proof:
    folder: Path
    failures: list[str] = field(default_factory=list)

    def check(self, what: str, good: bool, detail: str = "") -> None:
        print(
            f"{'passed' if good else 'FAILED'}: {what}{': ' if detail else ''}{detail}", flush=True
        )
        if not good:
            self.failures.append(what)

    def start(self, store: Path | None, port: int, *more: object) -> Server:
        words: list[object] = [sys.executable, "-m"]
        if store is None:
            words += ["llama_cpp.server", "--logits_all", "false"]
        else:
            words += ["cubby.integrations.llama_cpp_server", "--kv-path", store, *STORE]
        words += more
        return Server(words, self.folder / "python-server.log", "/v1/models", port)

    def serve(self, store: Path | None, model: Path, *more: object) -> Server:
        how = ("--n_ctx", 1024, "--n_threads", 1, "--n_threads_batch", 1)
        port = free_port()
        return self.start(store, port, "--model", model, "--port", port, *how, *more)

    def text(self, server: Server, model: str | None = None) -> str:
        body = {"prompt": prompt(), "max_tokens": 8, "temperature": 0}
        if model is not None:
            body["model"] = model
        answer = ask(server.port, "/v1/completions", body)
        assert answer["usage"]["prompt_tokens"] == TOKENS, answer
        return str(answer["choices"][0]["text"])

    def found_again(self, model: Path) -> None:
        store = self.store("found")
        with self.serve(None, model) as plain:
            expected = self.text(plain)
            status = plain.end(signal.SIGTERM)
        with self.serve(store, model) as first:
            texts = [self.text(first)]
            fresh = computed(first)
            first.end(signal.SIGKILL)
        with self.serve(store, model) as again:
            texts.append(self.text(again))
            rest, said = computed(again), again.said()
            ended = again.end(signal.SIGTERM)
        self.check(
            "the same text as without cubby's cache",
            bool(expected) and texts == [expected] * 2,
            f"{expected!r}, {texts}",
        )
        self.check(
            "found by a new process after SIGKILL: the rest alone is computed",
            fresh == [TOKENS]
            and rest == [TOKENS - WHOLE_BLOCKS]
            and "cache hit" in said
            and f"cubby: prompt cache of {model} at {store}" in said,
            f"{fresh} tokens computed, then {rest}",
        )
        self.check("SIGTERM ends it as it ends the server alone", ended == status, f"{ended}")

    def several_models(self, models: dict[str, Path]) -> None:
        """One store for all models of a configuration file; one is loaded at a time."""
        store, config = self.store("several"), self.folder / "models.json"
        each = {"n_ctx": 1024, "n_threads": 1, "n_threads_batch": 1}
        served = [
            {"model": str(models[name]), "model_alias": name, **each} for name in ("dense", "apart")
        ]
        texts: list[list[str]] = []
        said = ""
        for path in (None, store, store):
            named = [{**one, "logits_all": False} if path is None else one for one in served]
            port = free_port()
            config.write_text(json.dumps({"port": port, "models": named}))
            with self.start(path, port, "--config_file", config) as server:
                texts.append([self.text(server, name) for name in ("dense", "apart", "dense")])
                said = server.said()
        self.check(
            "several models, in turn, by a configuration file: each finds its own",
            texts[0] == texts[1] == texts[2] and len(set(texts[0])) == 2,
            f"{texts}",
        )
        self.check("all of them from the store", said.count("cache hit") == 3)

    def goes_on_without(self, models: dict[str, Path]) -> None:
        """What stands in the way of the cache is a line, and the model is served."""
        from cubby.integrations._blocks import BlockStore

        held = self.store("held")
        holder = BlockStore(held, 64 << 20, 64 << 20)
        try:
            with self.serve(held, models["dense"]) as server:
                text, said = self.text(server), server.said()
        finally:
            holder.close()
        self.check("a store that is held: a line, and answers", bool(text) and WITHOUT in said)
        with self.serve(self.store("logits"), models["dense"], "--logits_all", "true") as server:
            text, said = self.text(server), server.said()
        self.check(
            "logits_all asked for by name: a line, and answers",
            bool(text) and WITHOUT in said and "logits_all=True" in said,
        )

    def store(self, name: str) -> Path:
        made = self.folder / f"server-kv-{name}"
        shutil.rmtree(made, ignore_errors=True)
        return made


def computed(server: Server) -> list[int]:
    """Tokens of the prompts that it computed, as llama.cpp says it."""
    return [int(count) for count in COMPUTED.findall(server.said())]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    proof = Proof(chosen.folder.resolve())
    models: dict[str, Any] = llama_models.make(proof.folder)
    proof.found_again(models["dense"])
    proof.several_models(models)
    proof.goes_on_without(models)
    print(f"llama_python_server: {len(proof.failures)} failed")
    return 1 if proof.failures else 0


if __name__ == "__main__":
    sys.exit(main())

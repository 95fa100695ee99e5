"""What the proofs in real engines have in common: engines run one after another, each in a process
of its own, and what was seen of them is one JSON object."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import tiny_models

HERE = Path(__file__).resolve().parent

# Threads that spin while they wait for one another take a shared machine's processors from the
# one that they wait for.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}

TIMEOUT_S = 1800  # of an engine; its start alone may take minutes of a busy machine

Result = dict[str, Any]
Part = Callable[["Proof", Path, Result], None]


def disk_bytes(path: Path) -> int:
    """Bytes that the files of a folder take on disk."""
    return sum(p.stat().st_blocks * 512 for p in path.rglob("*") if p.is_file())


def built(engine: str) -> str:
    """Which engine and which cubby a run has: versions, and a digest of all that was installed of
    cubby, for two wheels may say the same version."""
    cubby = importlib.import_module("cubby")
    seen = hashlib.sha256()
    folder = Path(cubby.__file__ or "").parent
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if "__pycache__" not in file.parts:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            seen.update(f"{file.relative_to(folder)} {content}\n".encode())
    of_engine = importlib.import_module(engine).__version__
    return f"{engine} {of_engine}, cubby {cubby.__version__} {seen.hexdigest()}"


def same(one: Result, other: Result) -> bool:
    """The same tokens, and the same logarithms of their probabilities to the last bit."""
    return bool(one.get("tokens")) and all(one[k] == other.get(k) for k in ("tokens", "logprobs"))


@dataclass
class Proof:
    """Runs one kind of engine and keeps what was seen. name: the Python module of the engine;
    plan: what a run does where nothing else is said; path: folders for its PYTHONPATH."""

    name: str
    folder: Path
    plan: Result
    path: list[Path] = field(default_factory=lambda: [HERE])
    quick: bool = False
    resume: bool = False
    checks: dict[str, bool] = field(default_factory=dict)
    measured: Result = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Path:
        """The tiny models that all proofs use."""
        return self.folder.parent / "models"

    def say(self, what: str) -> None:
        """A line for who watches."""
        print(f"{self.name}_proof: {what}", file=sys.stderr, flush=True)

    def engine(
        self, run: str, model: Path, environment: dict[str, str] | None = None, **plan: Any
    ) -> Result:
        """One engine from start to end; its RESULT, or {} where there was none."""
        given = {**ONE_THREAD, **os.environ, **(environment or {})}
        path = [*map(str, self.path), given.get("PYTHONPATH", "")]
        given["PYTHONPATH"] = os.pathsep.join(p for p in path if p)
        whole = json.dumps({**self.plan, "model": str(model), **plan, **(environment or {})})
        begins = f"PLAN {whole} BUILT {self.built}"
        if self.resume and (before := self._before(run, begins)) is not None:
            self.say(f"{run}: as it ended before")
            return before
        self.say(run)
        with (self.folder / f"{run}.log").open("w") as out:
            out.write(f"{begins}\n")
            out.flush()
            command = [sys.executable, str(HERE / f"{self.name}_engine.py"), whole]
            ended = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, env=given, timeout=TIMEOUT_S
            )
            out.write(f"\nSTATUS {ended.returncode}\n")
        return {**self.result(run), "status": ended.returncode}

    @cached_property
    def built(self) -> str:
        """What runs here."""
        return built(self.name)

    def _before(self, run: str, begins: str) -> Result | None:
        """What a run gave that ended before, where it was the same one, of the same builds."""
        log = self.folder / f"{run}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else [""]
        if lines[0] != begins or not lines[-1].startswith("STATUS "):
            return None
        return {**self.result(run), "status": int(lines[-1].split()[1])}

    def result(self, run: str) -> Result:
        """The RESULT of an engine that has ended."""
        text = self.logs[run] = (self.folder / f"{run}.log").read_text(errors="replace")
        found = [line for line in text.splitlines() if line.startswith("RESULT ")]
        return json.loads(found[-1][len("RESULT ") :]) if found else {}

    def check(self, what: str, holds: bool) -> None:
        """Notes what was seen, or not."""
        self.checks[what] = bool(holds)
        self.say(f"{'seen' if holds else 'NOT SEEN'}: {what}")

    def with_other_weights(self, model: Path, run: Callable[[], Result]) -> Result:
        """A run while the model's folder holds other weights of the same shapes."""
        self._put(model, "other")
        try:
            return run()
        finally:
            self._put(model, "llama")

    def _put(self, model: Path, kind: str) -> None:
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(self.models / kind, model)

    def begin(self, again: bool) -> Path:
        """An empty folder with the model; or, to run parts again, the folder of the run before."""
        model = self.folder / "model"
        tiny_models.make(self.models)
        if self.resume and model.exists():
            self._put(model, "llama")  # an end may have left other weights there
            return model
        if again:
            seen = json.loads((self.folder / "report.json").read_text())
            self.checks, self.measured = seen["checks"], seen["measured"]
            self.plan.update(seen["plan"])
            return model
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._put(model, "llama")
        return model

    @property
    def passed(self) -> bool:
        """All was seen so far."""
        return all(self.checks.values()) and len(self.checks) > 1

    def save(self) -> str:
        """Writes what was seen so far into the folder, for parts that are run later."""
        text = json.dumps(
            {
                "engine": f"{self.name} {importlib.import_module(self.name).__version__}",
                "passed": self.passed,
                "plan": self.plan,
                "checks": self.checks,
                "measured": self.measured,
            }
        )
        (self.folder / "report.json").write_text(text)
        return text


def held(proof: Proof, store: Path, run: Callable[[], Result], says: str, computed: Result) -> None:
    """A store that another process holds: the engine says so, and goes on without it."""
    from cubby.integrations._blocks import BlockStore

    holder = BlockStore(store, 1 << 30, 64 << 20)
    try:
        result = run()
    finally:
        holder.close()
    proof.check("held store: a line in the engine's log", says in proof.logs["held"])
    proof.check(
        "held store: the engine goes on, the same tokens",
        result.get("tokens") == computed["tokens"][:1],
    )


def main(
    proof: Proof, first: Callable[[Proof, Path], Result], parts: dict[str, Part], quick: Result
) -> int:
    """Runs `first`, which returns what all others have to say, and the parts; or, with names of
    parts on the command line, those alone. `--quick`: with the plan `quick`, and without the
    engine's own tier beside ours. `--resume`: engines that ended before are not run again, where
    what they are to do is the same, and so are the engine and cubby. Exit status 0: all seen; 1:
    not; 77: no such engine."""
    if importlib.util.find_spec(proof.name) is None:
        proof.say(f"skipped: {proof.name} is not installed for this Python")
        return 77
    options = [word for word in sys.argv[2:] if word.startswith("--")]
    asked = [word for word in sys.argv[2:] if word not in options]
    proof.quick, proof.resume = "--quick" in options, "--resume" in options
    proof.plan |= quick if proof.quick else {}
    again = bool(asked) and not proof.resume
    model = proof.begin(again)
    computed = proof.result("cubby-store") if again else first(proof, model)
    proof.save()
    for part in asked or [part for part in parts if not (proof.quick and part == "turns")]:
        if computed.get("tokens"):
            parts[part](proof, model, computed)
            proof.save()
    print(proof.save())
    return 0 if proof.passed else 1

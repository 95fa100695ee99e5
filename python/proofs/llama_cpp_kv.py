"""Proves the prompt cache of llama-cpp-python in lockers, and times it, on the processor.

    python llama_cpp_kv.py --folder WORK --cubby BUILD/bin/cubby [--rounds 3] [--json OUT]

Every run is a process of its own. A prompt that an earlier process computed has to be found, the
text has to be that of a process without a cache, and the logits after it to the bit those of a
context that was cut at the same token. Time to the first token of 2,000 tokens: computed, found in
lockers after a restart, found by llama-cpp-python's own LlamaDiskCache. Exit status 0 all passed,
1 one failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK = 64
Result = dict[str, Any]


def prompt(model: Any, count: int, shared: int | None = None) -> list[int]:
    """`count` tokens; from `shared` on others than those of the same prompt without it."""
    tokens = [(13 + 7919 * at) % model.n_vocab() for at in range(count)]
    return tokens if shared is None else tokens[:shared] + [t ^ 1 for t in tokens[shared:]]


def open_cache(model: Any, plan: Result) -> Any:
    if plan["cache"] == "disk":
        from llama_cpp import LlamaDiskCache

        return LlamaDiskCache(plan["store"], 4 << 30)
    from cubby.integrations.llama_cpp_cache import LockerCache

    return LockerCache(model, plan["store"], plan.get("store_bytes", 1 << 30), 64 << 20)


def logits(model: Any, tokens: list[int], cut: int) -> str:
    """Digest of those of the last token; the tokens from `cut` on are computed together."""
    import numpy as np

    model._ctx.kv_cache_seq_rm(-1, cut, -1)
    model.n_tokens = cut
    model.eval(tokens[cut:])
    row = np.ctypeslib.as_array(model._ctx.get_logits(), shape=(1, model.n_vocab()))
    assert np.isfinite(row).all() and row.std() > 1e-3
    return hashlib.sha256(row.tobytes()).hexdigest()


def complete(model: Any, tokens: list[int], count: int) -> Result:
    seen: list[int] = []
    load, sample = model.load_state, model.sample

    def note_load(state: Any) -> None:
        seen.append(state.n_tokens)
        load(state)

    made: list[int] = []
    began, first_s = time.monotonic(), 0.0

    def note_sample(*words: Any, **named: Any) -> int:
        nonlocal first_s
        made.append(sample(*words, **named))
        if len(made) == 1:
            first_s = time.monotonic() - began
        return made[-1]

    model.load_state, model.sample = note_load, note_sample
    model.create_completion(tokens, max_tokens=count, temperature=0)
    model.load_state, model.sample = load, sample
    return {"found": seen[-1] if seen else 0, "first_s": first_s, "made": made}


def run(plan: Result) -> Result:
    import llama_cpp

    began = time.monotonic()
    model = llama_cpp.Llama(
        plan["model"], n_ctx=plan.get("context", 1024), n_threads=1, n_threads_batch=1,
        verbose=False, **plan.get("settings", {}),
    )  # fmt: skip
    result: Result = {"load_s": time.monotonic() - began, "runs": []}
    if plan["cache"]:
        began = time.monotonic()
        model.set_cache(open_cache(model, plan))
        result["open_s"] = time.monotonic() - began
    if plan.get("no_memory"):
        lose_memory()
    for count, shared in plan["prompts"]:
        tokens = prompt(model, count, shared)
        result["runs"].append(complete(model, tokens, plan.get("make", 8)))
    if "cut" in plan:
        model.reset()
        if plan["cache"]:
            model.load_state(model.cache[tokens])
            result["cut"] = model.n_tokens
        else:
            model.eval(tokens)
        result["logits"] = logits(model, tokens, plan["cut"])
    if plan["cache"] == "lockers":
        result["stored_bytes"] = model.cache.cache_size
        model.cache.close()
    return result


def _set_of(first: Path) -> list[Path]:
    return sorted(first.parent.glob(first.name.replace("-00001-", "-*-")))


def lose_memory() -> None:
    """As if there were none for the blocks of a prompt."""
    from cubby.integrations import llama_cpp_cache

    def none(*_: Any) -> Any:
        raise MemoryError("none left")

    llama_cpp_cache.from_blocks = llama_cpp_cache.to_blocks = none


@dataclass
class Proof:
    folder: Path
    cubby: Path
    failures: list[str] = field(default_factory=list)

    def check(self, what: str, good: bool, detail: str = "") -> None:
        print(
            f"{'passed' if good else 'FAILED'}: {what}{': ' if detail else ''}{detail}", flush=True
        )
        if not good:
            self.failures.append(what)

    def child(self, **plan: Any) -> Result:
        plan = {"cache": "", **plan}
        variables = plan.pop("variables", {})
        done = subprocess.run(
            [sys.executable, __file__, "--plan", json.dumps(plan, default=str)],
            capture_output=True, text=True, check=False, timeout=600,
            env={**os.environ, "OMP_WAIT_POLICY": "passive", **variables},
        )  # fmt: skip
        if done.returncode != 0:
            return {"error": done.stderr.strip().splitlines()[-1:], "runs": [], "said": done.stderr}
        return {**json.loads(done.stdout.splitlines()[-1]), "said": done.stderr}

    def store(self, name: str) -> Path:
        made = self.folder / f"kv-{name}"
        shutil.rmtree(made, ignore_errors=True)
        return made

    def found_again(self, name: str, model: Path, **settings: Any) -> None:
        """A prompt of 300 tokens, one that shares 150 of them, in processes of their own."""
        store = self.store(name)
        how = {"model": model, "settings": settings}
        whole, cut = 300, 300 // BLOCK * BLOCK
        plain = self.child(**how, prompts=[(whole, None)], cut=cut)
        fill = self.child(**how, prompts=[(whole, None)], cache="lockers", store=store)
        again = self.child(**how, prompts=[(whole, None)], cache="lockers", store=store, cut=cut)
        said = next((str(one["error"]) for one in (plain, fill, again) if "error" in one), "")
        self.check(f"{name}: nothing fails", not said, said)
        if said:
            return
        texts = [one["runs"][0]["made"] for one in (plain, fill, again)]
        self.check(
            f"{name}: found by a new process, the same tokens",
            fill["runs"][0]["found"] == 0
            and again["runs"][0]["found"] == cut
            and len(texts[0]) == 8
            and texts[0] == texts[1] == texts[2],
            f"{again['runs'][0]['found']} of {whole} tokens found, {again['stored_bytes']} bytes",
        )
        self.check(
            f"{name}: logits to the bit",
            again["cut"] == cut and again["logits"] == plain["logits"],
        )
        other = self.child(**how, prompts=[(whole, 150)], cache="lockers", store=store)
        bare = self.child(**how, prompts=[(whole, 150)])
        self.check(
            f"{name}: the longest shared prefix, and no more",
            other["runs"][0]["found"] == 128
            and other["runs"][0]["made"] == bare["runs"][0]["made"],
        )

    def changed(self, model: Path, name: str) -> Path:
        """A copy with a stretch of the middle changed, as a fine-tune of a few tensors does it."""
        copy = self.folder / name
        shutil.copy(model, copy)
        with open(copy, "r+b") as file:
            file.seek(model.stat().st_size // 2)
            stretch = bytes(one ^ 4 for one in file.read(32 << 10))
            file.seek(-len(stretch), os.SEEK_CUR)
            file.write(stretch)
        return copy

    def not_mixed_up(self, models: dict[str, Path]) -> None:
        """Other weights, other KV types and another context find nothing of each other."""
        store = self.store("apart")
        how = {"prompts": [(300, None)], "cache": "lockers", "store": store}
        copy = self.changed(models["dense"], "same-shape.gguf")
        # Names that are patterns: a set of other files, named as the first one is.
        parts = [p.name.replace("split", "set[1]") for p in _set_of(models["split"])]
        for name, part in zip(parts, _set_of(models["split"]), strict=True):
            shutil.copy(part, self.folder / name)
        odd = self.folder / parts[0]
        rope = {"rope_freq_base": 5000.0}
        few = {"type_k": 8, "type_v": 8, "flash_attn": True}
        plain: dict[str, str] = {}
        for what, model, settings, variables, found in (
            ("first", models["dense"], {}, plain, 0),
            ("the same", models["dense"], {}, plain, 256),
            ("other weights of the same shape", copy, {}, plain, 0),
            ("another frequency base", models["dense"], rope, plain, 0),
            ("the first again", models["dense"], {}, plain, 256),
            ("quantised KV", models["dense"], few, plain, 0),
            ("keys not rotated", models["dense"], few, {"LLAMA_ATTN_ROT_DISABLE": "1"}, 0),
            ("quantised KV again", models["dense"], few, plain, 256),
            ("a set", odd, {}, plain, 0),
            ("the set again", odd, {}, plain, 256),
        ):
            self.finds(what, found, **how, model=model, settings=settings, variables=variables)
        self.changed(_set_of(models["split"])[-1], parts[-1])
        self.finds("a set with another last file", 0, **how, model=odd)

    def finds(self, what: str, found: int, **plan: Any) -> None:
        one = self.child(**plan)
        got = one["runs"][0]["found"] if one["runs"] else one["error"]
        self.check(f"not mixed up: {what}", got == found, f"{got} tokens found")

    def not_in_vain(self, model: Path) -> None:
        """A conversation goes on in one context: nothing is read that it holds."""
        store = self.store("held")
        many = [(300, None), (400, None), (500, None)]
        one = self.child(model=model, prompts=many, cache="lockers", store=store)
        found = [ran["found"] for ran in one["runs"]]
        self.check("what the context holds is not read", found == [0, 0, 0], f"{found}")

    def out_of_memory(self, model: Path) -> None:
        """The generation goes on."""
        store = self.store("memory")
        how = {"model": model, "prompts": [(300, None)], "cache": "lockers", "store": store}
        good = self.child(**how)
        poor = self.child(**how, no_memory=True)
        texts = [one["runs"][0]["made"] if one["runs"] else one["error"] for one in (good, poor)]
        self.check(
            "without memory for blocks: the same tokens, and a line that says why",
            texts[0] == texts[1] and "is computed, not read: none left" in poor["said"],
            poor["said"].strip()[-200:],
        )

    def bounded(self, model: Path) -> None:
        store, bound = self.store("bounded"), 8 << 20
        many = [(300, at) for at in range(40)]
        one = self.child(
            model=model, prompts=many, make=1, cache="lockers", store=store, store_bytes=bound
        )
        on_disk = sum(p.stat().st_blocks * 512 for p in store.rglob("*") if p.is_file())
        self.check(
            "bounded on disk",
            0 < one.get("stored_bytes", 0) <= bound and on_disk <= bound * 5 // 4,
            f"{one.get('stored_bytes')} bytes stored, {on_disk} on disk, of {bound}",
        )

    def damaged(self, model: Path) -> None:
        """A bit in each page of what fills many of them in a row: the blocks."""
        store, page = self.store("damaged"), 4096
        how = {"model": model, "prompts": [(300, None)]}
        plain = self.child(**how)
        self.child(**how, cache="lockers", store=store, store_bytes=16 << 20)
        file = next(store.glob("*.store"))
        whole, row, flipped = bytearray(file.read_bytes()), 0, 0
        for at in range(0, len(whole), page):
            row = row + 1 if any(whole[at : at + page]) else 0
            if row > 8:
                whole[at] ^= 1
                flipped += 1
        file.write_bytes(whole)
        again = self.child(**how, cache="lockers", store=store, store_bytes=16 << 20)
        ran = again["runs"][0] if again["runs"] else {}
        self.check(
            "damaged blocks are computed anew, the same tokens",
            flipped > 0
            and ran.get("found", -1) == 0
            and ran.get("made") == plain["runs"][0]["made"],
            f"{flipped} bytes flipped, {ran.get('found')} tokens found; {again.get('error', '')}",
        )

    def full_disk(self, model: Path) -> None:
        """A folder of 24 MiB; the store asks for a GiB."""
        folder = self.store("full")
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "cubby-full", folder], capture_output=True
        )
        if mounted.returncode != 0:
            print("skipped: a full disk: a small tmpfs cannot be mounted here (needs root)")
            return
        try:
            one = self.child(model=model, prompts=[(300, None)], cache="lockers", store=folder)
        finally:
            subprocess.run(["umount", folder], check=True)
        line = "".join(one.get("error", []))
        self.check("a full disk is an error at the start that names it", "space" in line, line)

    def refused(self, models: dict[str, Path]) -> None:
        how = {"prompts": [(300, None)], "cache": "lockers", "store": self.store("refused")}
        window = self.child(**how, model=models["mxfp4"], settings={"swa_full": False})
        self.check("a sliding window is refused", "swa_full=True" in window["said"])
        every = self.child(**how, model=models["dense"], settings={"logits_all": True})
        self.check("logits_all is refused", "logits_all=True" in every["said"])

    def first_token(self, rounds: int) -> Result:
        model = self.folder / "first-token.gguf"
        words = "--layers 8 --experts 16 --top-k 4 --hidden 1024 --ffn 1024 --type q4_0 --out"
        if not model.exists():
            subprocess.run([self.cubby, "make-model", *words.split(), model], check=True)
        how = {"model": model, "context": 2304, "prompts": [(2000, None)], "make": 4}
        ran: dict[str, list[Result]] = {"computed": [], "lockers": [], "disk": []}
        for side in ("lockers", "disk"):
            self.child(**how, cache=side, store=self.store(f"first-{side}"))
        for _ in range(rounds):
            for side, results in ran.items():
                cache = "" if side == "computed" else side
                if side == "disk" and results:  # it takes out what it has read; refilled untimed
                    self.child(**how, cache=cache, store=self.store("first-disk"))
                results.append(
                    self.child(**how, cache=cache, store=self.folder / f"kv-first-{side}")
                )
        good = all(one.get("runs") for results in ran.values() for one in results)
        self.check(
            "2,000 tokens found after a restart, the same tokens",
            good
            and all(one["runs"][0]["found"] == 1984 for one in ran["lockers"])
            and all(
                one["runs"][0]["made"] == ran["computed"][0]["runs"][0]["made"]
                for one in ran["lockers"]
            ),
        )
        if not good:
            return {}
        medians = {
            side: statistics.median(one["runs"][0]["first_s"] for one in results)
            for side, results in ran.items()
        }
        opened = statistics.median(one["open_s"] for one in ran["lockers"])
        for side, value in medians.items():
            print(f"first token, {side:9} {value:8.3f} s, {value / medians['computed']:.3f} of it")
        print(f"opening the store and looking at the context: {opened:.3f} s, once a process")
        return {"first_token_s": medians, "open_s": opened, "runs": ran}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cubby", type=Path, help="the command, as built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plan", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.plan:
        print(json.dumps(run(json.loads(chosen.plan))))
        return 0
    import llama_models

    chosen.folder.mkdir(parents=True, exist_ok=True)
    proof = Proof(chosen.folder.resolve(), chosen.cubby.resolve())
    models = llama_models.make(proof.folder)
    proof.found_again("values transposed", models["apart"])
    proof.found_again("values a row a cell", models["dense"], flash_attn=True)
    proof.found_again("quantised KV", models["dense"], type_k=8, type_v=8, flash_attn=True)
    proof.found_again("latent attention", models["fused"])
    proof.found_again("a whole sliding window", models["mxfp4"], swa_full=True)
    proof.not_mixed_up(models)
    proof.not_in_vain(models["dense"])
    proof.out_of_memory(models["dense"])
    proof.bounded(models["dense"])
    proof.damaged(models["dense"])
    proof.full_disk(models["dense"])
    proof.refused(models)
    measured = proof.first_token(chosen.rounds)
    if chosen.json:
        load = os.getloadavg()
        chosen.json.write_text(json.dumps({**measured, "load_average": load}, indent=1) + "\n")
    print(f"llama_cpp_kv: {len(proof.failures)} failed")
    return 1 if proof.failures else 0


if __name__ == "__main__":
    sys.exit(main())

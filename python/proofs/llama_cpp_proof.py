"""Proves the llama.cpp adapter against stock libllama, on the processor.

    python llama_cpp_proof.py --folder WORK --cubby BUILD/bin/cubby

Every logit of prompts and single tokens has to be the same to the bit with and without cubby, while
each layer evicts; a damaged expert has to end the request; what is declined has to run as stock.
Exit status 0 all passed, 1 one failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import llama_cpp
import llama_models
import numpy as np
from gguf import GGUFReader, GGUFWriter

HERE = Path(__file__).resolve().parent
PACKAGE = Path(llama_cpp.__file__).parent
PROGRAMS = HERE.parent.parent / "integrations/llama.cpp/tests"
SUMMARY = re.compile(r"(\d+) experts asked for, ([\d.]+) % found.*?(\d+) evicted", re.DOTALL)
FORECAST = re.compile(r"\d+ experts read ahead for a next layer, ([\d.]+) % of them used")
# Repacked weights may round in another way, and experts are never repacked in lockers.
UNPACKED = """
import sys, llama_cpp
made = llama_cpp.llama_cpp.llama_model_default_params
def unpacked():
    params = made()
    params.use_extra_bufts = False
    return params
llama_cpp.llama_cpp.llama_model_default_params = unpacked
"""
BINDING = (
    UNPACKED
    + """
model = llama_cpp.Llama(sys.argv[1], n_ctx=128, n_threads=1, n_threads_batch=1, logits_all=True,
                        verbose=False)
tokens = [(13 + 7919 * i) % model.n_vocab() for i in range(24)]
model.eval(tokens)
for _ in range(12):
    tokens.append(int(model.scores[model.n_tokens - 1].argmax()))
    model.eval(tokens[-1:])
print(tokens)
model.scores[: model.n_tokens].tofile(sys.argv[2])
"""
)
REPLACED = (
    UNPACKED
    + """
import os
model = llama_cpp.Llama(sys.argv[1], n_ctx=128, n_threads=1, n_threads_batch=1, logits_all=True,
                        verbose=False)
if len(sys.argv) > 3:
    os.replace(sys.argv[3], sys.argv[1])
model.eval(list(range(24)))
model.scores[: model.n_tokens].tofile(sys.argv[2])
"""
)
TWICE = """
import sys, llama_cpp
for _ in range(2):
    model = llama_cpp.Llama(sys.argv[1], n_ctx=128, n_threads=1, n_threads_batch=1, verbose=False)
    model.eval(list(range(24)))
    model.close()
"""
CUT = """
import os
if len(sys.argv) > 3:
    os.truncate(sys.argv[3], 1 << 20)
for _ in range(12):
    model.eval(tokens[-1:])
"""
BINDING_USE = "from cubby.integrations import llama_cpp as c; c.use({budget!r}, {library!r})\n"


@dataclass
class Run:
    status: int
    said: str
    out: bytes = b""
    asked: int = 0
    evicted: int = 0


def _sound(logits: bytes) -> bool:
    """Whether they are numbers that differ from row to row."""
    values = np.frombuffer(logits, np.float32).reshape(-1, llama_models.VOCABULARY)
    return len(values) > 1 and bool(np.isfinite(values).all() and values.std(axis=0).min() > 1e-3)


@dataclass
class Proof:
    folder: Path
    cubby: Path
    failures: list[str] = field(default_factory=list)

    def check(self, what: str, good: bool, detail: str = "") -> None:
        said = f": {detail.strip()}" if detail else ""
        print(f"{'passed' if good else 'FAILED'}: {what}{said}", flush=True)
        if not good:
            self.failures.append(what)

    def build(self, name: str) -> Path:
        program = self.folder / name
        library = PACKAGE / "lib"
        subprocess.run(
            [
                "c++",
                "-std=c++20",
                "-O1",
                "-o",
                program,
                PROGRAMS / f"{name}.cpp",
                f"-I{PACKAGE / 'include'}",
                f"-I{PACKAGE.parent / 'include'}",
                f"-L{library}",
                "-lllama",
                "-lggml",
                "-lggml-base",
                f"-Wl,-rpath,{library}",
                f"-Wl,-rpath-link,{library}",
            ],
            check=True,
        )
        return program

    def run(self, words: list[object], budget: str | None, out: Path) -> Run:
        out.unlink(missing_ok=True)
        prefix = [self.cubby, "run", "--host-budget", budget, "--"] if budget else []
        done = subprocess.run(
            [str(word) for word in [*prefix, *words]],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            timeout=300,
        )
        made = Run(done.returncode, done.stdout + done.stderr)
        made.out = out.read_bytes() if out.exists() else b""
        found = SUMMARY.search(made.said)
        if found:
            made.asked, made.evicted = int(found[1]), int(found[3])
        return made

    def logits(self, model: Path, budget: str | None, *options: object) -> Run:
        out = self.folder / "logits.bin"
        return self.run([self.folder / "logits", model, out, *options], budget, out)

    def same_bits(self, name: str, model: Path, budgets: list[str]) -> None:
        for batch, sequences, threads in ((1, 1, 1), (8, 1, 1), (8, 4, 2), (32, 2, 1)):
            options = ("--batch", batch, "--sequences", sequences, "--threads", threads)
            plain = self.logits(model, None, *options)
            for budget in budgets:
                ours = self.logits(model, budget, *options)
                self.check(
                    f"{name}, {budget}, batch {batch}, {sequences} sequences, {threads} threads",
                    plain.status == ours.status == 0
                    and _sound(plain.out)
                    and plain.out == ours.out
                    and ours.evicted > 0,
                    f"{len(ours.out)} bytes of logits, {ours.asked} experts asked for,"
                    f" {ours.evicted} evicted"
                    if ours.asked
                    else ours.said[-600:],
                )

    def forecasts(self, name: str, model: Path) -> None:
        """Every expert of a layer but the first is known before, where layers add nothing."""
        for batch in (1, 8):
            ours = self.logits(model, "700KiB", "--batch", batch)
            plain = self.logits(model, None, "--batch", batch)
            found = FORECAST.search(ours.said)
            self.check(
                f"{name}: experts of the next layer are forecast, batch {batch}",
                ours.status == 0
                and ours.out == plain.out
                and found is not None
                and float(found[1]) >= 99.0,
                found[0] if found else ours.said[-600:],
            )
        os.environ["CUBBY_LOOK_AHEAD"] = "0"
        ours = self.logits(model, "700KiB")
        del os.environ["CUBBY_LOOK_AHEAD"]
        self.check(
            f"{name}: no forecasts where none are wanted",
            ours.status == 0 and ours.evicted > 0 and FORECAST.search(ours.said) is None,
        )

    def contexts(self, model: Path) -> None:
        """Two contexts of one model at once, in a budget that one alone would fill."""
        options = ("--batch", 8, "--sequences", 2, "--contexts", 2)
        second = self.folder / "logits.bin.1"
        plain = self.logits(model, None, *options)
        ours = self.logits(model, "700KiB", *options)
        self.check(
            "two contexts at once",
            ours.status == 0 and ours.out == plain.out == second.read_bytes() and ours.evicted > 0,
            f"{ours.asked} experts asked for, {ours.evicted} evicted",
        )

    def two_programs(self, model: Path) -> None:
        """Two programs on one model at the same time, each with a budget of its own."""
        plain = self.logits(model, None, "--batch", 8)
        with ThreadPoolExecutor(2) as pool:
            out = [self.folder / f"logits-{number}.bin" for number in range(2)]
            words = [[self.folder / "logits", model, one, "--batch", 8] for one in out]
            ran = list(pool.map(lambda w: self.run(w, "700KiB", w[2]), words))
        self.check(
            "two programs on one model at once",
            all(one.status == 0 and one.out == plain.out and one.evicted > 0 for one in ran),
            f"{ran[0].evicted} and {ran[1].evicted} evicted",
        )

    def damaged(self, model: Path) -> None:
        """A bit each of two experts of a layer, after the model was sealed."""
        copy = self.folder / "damaged.gguf"
        shutil.copy(model, copy)
        subprocess.run([self.cubby, "seal", copy], check=True, capture_output=True)
        sealed = self.logits(copy, "700KiB")
        self.check("a sealed model", sealed.status == 0 and sealed.evicted > 0, sealed.said[-300:])
        tensor = next(
            one for one in GGUFReader(copy).tensors if one.name == "blk.1.ffn_up_exps.weight"
        )
        with open(copy, "r+b") as file:
            for expert in range(2):
                file.seek(tensor.data_offset + expert * tensor.n_bytes // llama_models.EXPERTS + 99)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 0x10]))
        ours = self.logits(copy, "700KiB", "--sequences", 8, "--after-failure")
        lines = [line for line in ours.said.splitlines() if "given up" in line]
        statuses = ours.said.split("statuses ")[-1].split("\n")[0]
        self.check(
            "a damaged expert ends the request, by name; others go on",
            ours.status == 3
            and bool(lines)
            and re.search(r"expert [01] of blk\.1\.ffn_", lines[0]) is not None
            and re.search(r"-3 .*\b0 ", statuses) is not None,
            f"{lines[0] if lines else ours.said[-600:]}; {statuses[:200]}",
        )

    def copies(self, model: Path) -> None:
        """A model on two devices: what is no copy is said and goes on, so does what changes."""
        folder = self.folder / "copies"
        shutil.rmtree(folder, ignore_errors=True)
        plain = self.logits(model, None)
        copies = [folder / str(number) / model.name for number in range(8)]
        for copy in copies:
            copy.parent.mkdir(parents=True)
            shutil.copy(model, copy)
        pipe = folder / model.name
        os.mkfifo(pipe)
        for what, named, said in (
            ("a copy", copies[:1], rf"is read from {re.escape(str(copies[0]))}, too"),
            ("more copies than tiers", copies, r"CUBBY_MODEL_COPIES: .* at most 8 tiers"),
            ("a copy twice", copies[:1] * 2, r"CUBBY_MODEL_COPIES: .* reads already"),
            ("a pipe", [pipe], r"CUBBY_MODEL_COPIES: .* not a regular file"),
            ("a file that is not there", [folder / "none" / model.name], r"look at the path"),
            ("a copy of another name", [self.folder / "fused.gguf"], r"names no file called"),
        ):
            os.environ["CUBBY_MODEL_COPIES"] = ":".join(map(str, named))
            ours = self.logits(model, "700KiB")
            self.check(
                f"{what} on another device",
                ours.status == 0
                and ours.out == plain.out
                and ours.evicted > 0
                and re.search(said, ours.said) is not None,
                f"{ours.evicted} evicted" if re.search(said, ours.said) else ours.said[-900:],
            )
        program, out = self.folder / "cut.py", self.folder / "scores.bin"
        program.write_text(BINDING.replace("print(tokens)", CUT))
        os.environ["CUBBY_MODEL_COPIES"] = str(copies[0])
        plain = self.run([sys.executable, program, model, out], None, out)
        ours = self.run([sys.executable, program, model, out, copies[0]], "700KiB", out)
        found = re.search(r"tier copy:0: the files of bank .* changed", ours.said)
        self.check(
            "a copy that is cut short is left out, and the summary says so",
            ours.out == plain.out and len(ours.out) > 0 and found is not None,
            found[0] if found else ours.said[-900:],
        )
        del os.environ["CUBBY_MODEL_COPIES"]

    def tables(self, models: dict[str, Path]) -> None:
        """The token embedding, small as it is, is looked up in the file."""
        embedding = "token_embd.weight"
        os.environ["CUBBY_TABLE_MIN"] = "0"
        for name in ("apart", "split", "dense"):
            options = ("--batch", 8, "--sequences", 4, "--threads", 2)
            plain, ours = (self.logits(models[name], at, *options) for at in (None, "700KiB"))
            self.check(
                f"{name}, its token embedding looked up in the file",
                plain.status == ours.status == 0
                and plain.out == ours.out
                and f"{embedding}, {llama_models.VOCABULARY} rows" in ours.said,
                ours.said.strip()[-200:],
            )
        self.views(embedding)
        copy = self.folder / "damaged_table.gguf"
        shutil.copy(models["dense"], copy)
        words = [self.cubby, "seal", copy, "--tensors", embedding, "--table"]
        subprocess.run(words, check=True, capture_output=True)
        tensor = next(one for one in GGUFReader(copy).tensors if one.name == embedding)
        with open(copy, "r+b") as file:
            for at in range(0, int(tensor.n_bytes), 1000):
                file.seek(tensor.data_offset + at)
                byte = file.read(1)[0]
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte ^ 0x10]))
        ours = self.logits(copy, "700KiB")
        self.check(
            "a damaged table ends the request, by name",
            ours.status == 3 and f"{embedding}: " in ours.said and "given up" in ours.said,
            ours.said.strip()[-300:],
        )
        del os.environ["CUBBY_TABLE_MIN"]

    def views(self, embedding: str) -> None:
        """A view with longer rows begins where its table does, and is not the table."""
        model = self.folder / "rows.gguf"
        rows, columns = 64, 32
        writer = GGUFWriter(model, "llama")
        numbers = np.arange(rows * columns, dtype=np.float32)
        writer.add_tensor(embedding, numbers.reshape(rows, columns))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        offset = GGUFReader(model).tensors[0].data_offset
        program = self.build("row_views")
        done = self.run([program, model, offset, rows, columns], "1MiB", self.folder / "none")
        self.check(
            "views of a table that is looked up in the file",
            done.status == 0 and f"{embedding}, {rows} rows" in done.said,
            done.said.strip()[-300:],
        )

    def declined(self, models: dict[str, Path]) -> None:
        plain = self.logits(models["dense"], None)
        dense = self.logits(models["dense"], "1MiB")
        self.check(
            "a model without experts runs as stock",
            dense.status == 0
            and dense.out == plain.out
            and "no experts in a mapped file" in dense.said,
            dense.said.strip()[-200:],
        )
        plain = self.logits(models["apart"], None)
        little = self.logits(models["apart"], "64KiB")
        self.check(
            "a budget below one expert runs as stock",
            little.status == 0 and little.out == plain.out,
            little.said.strip()[-300:],
        )
        copy = self.folder / "status"
        passed = self.run(["sh", "-c", "exit 7"], "1MiB", copy)
        self.check("the exit status is passed on", passed.status == 7, passed.said)
        ended = self.logits(models["apart"], "700KiB")
        self.check(
            "the summary has the causes of the waiting, and says that it does not pay",
            re.search(r"waited [\d.]+ s: .*% for reads", ended.said) is not None
            and "does not pay here" in ended.said
            and "does not pay here" not in little.said,
            ended.said[ended.said.find("cubby: waited") :].strip(),
        )
        killed = self.run(["sh", "-c", "kill -TERM $$"], "1MiB", copy)
        self.check("a signal is passed on", killed.status == -15, killed.said)

    def binding(self, model: Path) -> None:
        program, out = self.folder / "binding.py", self.folder / "scores.bin"
        program.write_text(BINDING)
        words = [sys.executable, program, model, out]
        plain = self.run(words, None, out)
        ours = self.run(words, "1MiB", out)
        self.check(
            "llama-cpp-python, unchanged, under cubby run",
            plain.status == ours.status == 0 and plain.out == ours.out and ours.evicted > 0,
            ours.said[-400:],
        )
        program.write_text(TWICE)
        ours = self.run([sys.executable, program, model], "1MiB", out)
        self.check(
            "a model that was closed is no longer counted",
            ours.status == 0
            and f"all {model.stat().st_size / 2**20:.2f} MiB of the model" in ours.said,
            ours.said[ours.said.find("it does not pay") :].strip(),
        )
        try:
            import cubby  # noqa: F401
        except ImportError as error:
            print(f"skipped: cubby.integrations.llama_cpp: {error}")
            return
        library = next(self.cubby.parent.parent.glob("lib*/**/libggml-cubby.so"))
        program.write_text(BINDING_USE.format(budget="1MiB", library=str(library)) + BINDING)
        ours = self.run(words, None, out)
        self.check(
            "cubby.integrations.llama_cpp",
            plain.out == ours.out and ours.evicted > 0,
            ours.said[-400:],
        )

    def replaced(self, model: Path) -> None:
        program, out = self.folder / "replaced.py", self.folder / "scores.bin"
        program.write_text(REPLACED)
        mapped, other = self.folder / "mapped.gguf", self.folder / "other.gguf"
        shutil.copy(model, mapped)
        shutil.copy(self.folder / "fused.gguf", other)
        plain = self.run([sys.executable, program, mapped, out], None, out)
        ours = self.run([sys.executable, program, mapped, out, other], "1MiB", out)
        self.check(
            "a model that is replaced while it is mapped runs as stock",
            plain.out == ours.out and len(ours.out) > 0 and "was deleted" in ours.said,
            ours.said[-300:],
        )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--cubby", type=Path, required=True, help="the command, as built")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    proof = Proof(chosen.folder.resolve(), chosen.cubby.resolve())
    models = llama_models.make(proof.folder)
    proof.build("logits")
    # A token uses 4 experts of a layer: 0.5 to 0.6 MiB apart, 0.3 MiB fused and in MXFP4.
    for name, budgets in (
        ("apart", ["700KiB", "3MiB"]),
        ("split", ["700KiB"]),
        ("mxfp4", ["400KiB", "1MiB"]),
        ("fused", ["400KiB", "1MiB"]),
    ):
        proof.same_bits(name, models[name], budgets)
    for name in ("still-apart", "still-mxfp4", "still-fused"):
        proof.forecasts(name, models[name])
    proof.contexts(models["apart"])
    proof.two_programs(models["apart"])
    proof.damaged(models["apart"])
    proof.copies(models["apart"])
    proof.tables(models)
    proof.declined(models)
    proof.binding(models["apart"])
    proof.replaced(models["apart"])
    print(f"llama_cpp: {len(proof.failures)} failed")
    return 1 if proof.failures else 0


if __name__ == "__main__":
    sys.exit(main())

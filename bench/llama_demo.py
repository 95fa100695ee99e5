#!/usr/bin/env python3
"""Stock llama.cpp with a model twice as large as its memory: its own mmap beside `cubby run`.

    llama_demo.py --cubby BUILD/bin/cubby --packages SITE-PACKAGES [--tokens 24] [--page OUT.html]
    llama_demo.py --probe    can there be a limit of memory?

What scripts/demo.sh shows. SITE-PACKAGES has llama-cpp-python with its libllama and headers. Every
side is a process of its own, decodes the same tokens, and but for the last one is held to one limit
by a memory cgroup; it begins with none of the model in the page cache. Exit status 0, 1 when a side
failed, 77 when there can be no limit; 128 and its number when a signal ended it.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from llama_decode import drop_from_page_cache
from memory_limit import Limit, NoLimitError

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "integrations/llama.cpp/tests/decode_speed.cpp"
GEOMETRY = "--layers 12 --experts 32 --top-k 4 --hidden 1536 --ffn 1024 --type q8_0"
REST_BYTES = 320 << 20  # beside the experts: other weights, KV, what is computed with, code
WAYS = {
    "mmap": "llama.cpp, its own mmap",
    "cubby": "llama.cpp by cubby run",
    "resident": "llama.cpp, everything in memory, no limit",
}


@dataclass
class Side:
    name: str
    times_s: list[float] = field(default_factory=list)  # since the start, a token
    said: list[str] = field(default_factory=list)
    ended: str = ""

    def speed(self, warm: int) -> float:
        """Tokens a second behind the first ones, or over all where there are no more."""
        if len(self.times_s) > warm + 1:
            return (len(self.times_s) - warm) / (self.times_s[-1] - self.times_s[warm - 1])
        return len(self.times_s) / self.times_s[-1] if self.times_s else 0.0


def make_model(cubby: Path, folder: Path) -> Path:
    model = folder / "llama-demo-12x32-1536x1024-q8_0.gguf"
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = model.with_suffix(".part")
        subprocess.run([cubby, "make-model", *GEOMETRY.split(), "--out", part], check=True)
        part.rename(model)
    return model


def build(packages: Path, folder: Path) -> Path:
    program = folder / "decode_speed"
    library = packages / "llama_cpp/lib"
    made_of = (SOURCE, library / "libllama.so")
    if program.exists() and program.stat().st_mtime > max(p.stat().st_mtime for p in made_of):
        return program
    folder.mkdir(parents=True, exist_ok=True)
    words = ["c++", "-std=c++20", "-O1", "-o", program, SOURCE, f"-I{packages / 'include'}"]
    words += [f"-L{library}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{library}"]
    subprocess.run([*words, f"-Wl,-rpath-link,{library}"], check=True)
    return program


def show(text: str, end: str = "") -> None:
    if sys.stderr.isatty() or end:
        print(f"\r{text:<78}", end=end, file=sys.stderr, flush=True)


def run(name: str, words: list[object], limit: Limit | None, all_tokens: int, most_s: int) -> Side:
    side = Side(name)
    process: subprocess.Popen[str] | None = None

    def stop() -> None:
        side.ended = f"stopped after {most_s} s"
        if process:
            process.terminate()

    timer = threading.Timer(most_s, stop)
    try:
        process = subprocess.Popen(
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
            preexec_fn=limit.enter if limit else None,
        )
        assert process.stdout is not None and process.stderr is not None
        timer.start()
        show(f"{WAYS[name]}: loading")
        for line in process.stdout:
            one = json.loads(line)
            if "token" not in one:
                continue
            side.times_s.append(one["s"])
            show(
                f"{WAYS[name]}: token {one['token']}/{all_tokens}, "
                f"{len(side.times_s) / one['s']:.2f} tokens/s"
            )
        errors = process.stderr.read()
    finally:
        timer.cancel()
        if process:
            if process.poll() is None:
                process.kill()
            status = process.wait()
    side.said = [line for line in errors.splitlines() if line.startswith("cubby: ")]
    if status != 0 and not side.ended:
        show("", "\n")
        sys.exit(f"llama_demo: {name} ended with {status}: {errors[-2000:]}")
    return side


def table(sides: list[Side], warm: int) -> list[tuple[str, str, str, str]]:
    rows = [("way", "tokens/s", "to mmap", "first token")]
    base = sides[0].speed(warm)
    for side in sides:
        speed = side.speed(warm)
        rows.append(
            (
                WAYS[side.name] + (f" ({side.ended})" if side.ended else ""),
                f"{speed:.2f}",
                f"{speed / base:.1f} x" if base else "",
                f"{side.times_s[0]:.1f} s" if side.times_s else "",
            )
        )
    return rows


def page(sides: list[Side], warm: int, said: str) -> str:
    """One file without anything of others: the table, and tokens over time."""
    rows = table(sides, warm)
    cells = "".join(
        "<tr>"
        + "".join(f"<t{'dh'[i == 0]}>{html.escape(c)}</t{'dh'[i == 0]}>" for c in r)
        + "</tr>"
        for i, r in enumerate(rows)
    )
    most_s = max((s for side in sides for s in side.times_s), default=1.0)
    most = max(1, *(len(side.times_s) for side in sides))
    lines, names = "", ""
    for side, colour in zip(sides, ("#b33", "#173", "#36a"), strict=False):
        points = " ".join(
            f"{60 + 680 * s / most_s:.1f},{260 - 230 * (i + 1) / most:.1f}"
            for i, s in enumerate([0.0, *side.times_s], -1)
        )
        lines += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        names += (
            f'<span style="color:{colour}">&#9644; {html.escape(WAYS[side.name])}</span> &nbsp; '
        )
    summary = "".join(f"<pre>{html.escape(line)}</pre>" for side in sides for line in side.said)
    return (
        '<!doctype html><meta charset="utf-8"><title>cubby and llama.cpp</title>'
        "<style>body{font:16px sans-serif;max-width:50em;margin:2em auto}td{padding:.2em 1em;"
        "text-align:left}pre{white-space:pre-wrap;margin:.3em 0}</style>"
        f"<h1>A model larger than memory in stock llama.cpp</h1><p>{html.escape(said)}</p>"
        f"<table>{cells}</table><p>{names}</p>"
        '<svg viewBox="0 0 760 300" role="img" aria-label="tokens over seconds">'
        '<path d="M60 30V260H740" fill="none" stroke="#888"/>'
        f'<text x="8" y="36">{most}</text><text x="8" y="262">0</text>'
        '<text x="8" y="150">tokens</text>'
        f'<text x="690" y="284">{most_s:.0f} s</text>{lines}</svg>{summary}\n'
    )


class Ended(BaseException):
    """By the signal of this number; children and the group for the limit go with it."""


def take_signals() -> None:
    def end(number: int, _: object) -> None:
        for one in taken:
            signal.signal(one, signal.SIG_IGN)
        raise Ended(number)

    taken = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for one in taken:
        if signal.getsignal(one) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(one, end)


def at_least_1(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 on")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--probe", action="store_true", help="0 or 77: can memory be limited?")
    parser.add_argument("--cubby", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/cubby")
    parser.add_argument("--work", type=Path, default=HERE.parent / "build/demo")
    parser.add_argument("--page", type=Path, default=HERE.parent / "build/demo/llama.html")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tokens", type=at_least_1, default=24, help="timed, behind --warm others")
    parser.add_argument("--warm", type=at_least_1, default=8)
    parser.add_argument("--threads", type=at_least_1, default=1)
    parser.add_argument("--most-seconds", type=int, default=150, help="a side is stopped then")
    chosen = parser.parse_args()
    if not chosen.probe and not (chosen.cubby and chosen.packages):
        parser.error("--cubby and --packages are wanted, or --probe")
    return chosen


def main() -> int:
    chosen = arguments()
    take_signals()
    if chosen.probe:
        with Limit(256 << 20):
            return 0
    model = make_model(chosen.cubby.resolve(), chosen.folder)
    program = build(chosen.packages.resolve(), chosen.work)
    model_bytes = model.stat().st_size
    limit_bytes = model_bytes // 2
    budget_bytes = limit_bytes - REST_BYTES
    count = chosen.warm + chosen.tokens
    words = [program, model, "--warm", chosen.warm, "--tokens", chosen.tokens, "--live"]
    words += ["--threads", chosen.threads]
    ours = [chosen.cubby, "run", "--host-budget", budget_bytes, "--", *words]
    sides = []
    for name in WAYS:
        drop_from_page_cache(str(model))
        if name == "resident":
            sides.append(run(name, words, None, count, chosen.most_seconds))
            continue
        with Limit(limit_bytes) as limit:
            sides.append(
                run(name, ours if name == "cubby" else words, limit, count, chosen.most_seconds)
            )
    show("", "\n")
    said = (
        f"A model of {model_bytes / 1e9:.1f} GB with random weights, by its own routes; "
        f"{limit_bytes / 1e9:.2f} GB of memory by a cgroup, of it {budget_bytes / 1e9:.2f} for "
        f"experts; {chosen.threads} thread(s), tokens {chosen.warm + 1} to {count}; load average "
        f"{os.getloadavg()[0]:.1f}."
    )
    print(said)
    rows = table(sides, chosen.warm)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    for side in sides:
        print(*side.said, sep="\n", end="\n" if side.said else "")
    chosen.page.parent.mkdir(parents=True, exist_ok=True)
    chosen.page.write_text(page(sides, chosen.warm, said))
    print(f"page: {chosen.page}")
    if chosen.json:
        figures = {side.name: side.speed(chosen.warm) for side in sides}
        chosen.json.write_text(json.dumps({"said": said, "tokens_per_s": figures}) + "\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Ended as ended:
        show("", "\n")
        sys.exit(128 + ended.args[0])
    except NoLimitError as error:
        print(f"llama_demo: {error}", file=sys.stderr)
        sys.exit(77)

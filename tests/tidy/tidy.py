#!/usr/bin/env python3
"""Rules of the tree that no compiler checks. Prints each violation as file:line: rule.

  tidy.py --root TREE [--cc CC] [--cxx CXX]    exit status 1 when a rule is broken
  tidy.py --self-test [--cc CC] [--cxx CXX]    does every rule fire on a bad tree?
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# A layer includes its own level and below; two of one level may include each other, except these.
LEVELS = {"base": 0, "platform": 0, "tier": 1, "transfer": 2, "store": 3, "placement": 3, "catalog": 4,
          "directory": 5, "residency": 6, "engine": 7, "api": 8, "cli": 9}
APART = {frozenset(("store", "placement"))}

# Third-party headers and the only places (a folder ends in "/") that may include them: the first is where they
# belong, the others compare with it, or compile it once more.
CONFINED = [
    (re.compile(r"liburing(\.h$|/)"), ("backends/uring/", "src/cli/bench/bare_ring.cpp",
                                         "src/cli/characterize/bare_loop.cpp")),
    (re.compile(r"cuda(\w*\.h$|/std/)"), ("backends/cuda/", "tests/unit/backends/driver_types_test.cpp")),
    (re.compile(r"hwloc(\.h$|/)"), ("src/platform/topology.cpp",)),
    (re.compile(r"mimalloc[\w-]*\.h$"), ("src/platform/host_memory.cpp",)),
    (re.compile(r"(tbb|oneapi)/"), ("src/platform/parallel.cpp", "bench/micro/")),
    (re.compile(r"(.*/)?xxh(ash|3)\.h$"), ("src/base/digest.cpp", "src/base/digest_avx2.cpp")),
]

FOLDERS = ("src", "include", "backends", "integrations", "tests", "tools", "examples", "bench", "python")
CODE = {".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp"}
TEXT = CODE | {".py", ".cmake", ".sh"}
COLUMNS = 100
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")

# What is to be spoken of in the field's terms; see words.txt.
PROSE = ("README.md", "docs", "scripts")
NO_WORDS = ("tests/tidy/",)
LITERAL = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)

STANDARD = set("""
assert.h complex.h ctype.h errno.h fenv.h float.h inttypes.h iso646.h limits.h locale.h math.h
setjmp.h signal.h stdalign.h stdarg.h stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h
stdnoreturn.h string.h tgmath.h threads.h time.h uchar.h wchar.h wctype.h
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono
cinttypes climits clocale cmath codecvt compare complex concepts condition_variable coroutine
csetjmp csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque
exception execution filesystem format forward_list fstream functional future initializer_list
iomanip ios iosfwd iostream istream iterator latch limits list locale map memory memory_resource
mutex new numbers numeric optional ostream queue random ranges ratio regex scoped_allocator
semaphore set shared_mutex source_location span sstream stack stdexcept stop_token streambuf
string string_view strstream syncstream system_error thread tuple type_traits typeindex typeinfo
unordered_map unordered_set utility valarray variant vector version
""".split())


def files_of(root):
    for folder in FOLDERS:
        for where, folders, names in os.walk(root / folder):
            folders[:] = sorted(n for n in folders if n != "__pycache__" and n[0] != ".")
            for name in sorted(names):
                path = Path(where) / name
                if path.suffix in TEXT or name == "CMakeLists.txt":
                    yield path


def check_include(root, path, quote, target):
    """The rules broken by one include of the file `path` (relative to root)."""
    parts = path.parts
    # "../x/y.hpp" is judged by where it leads, like any other.
    resolved = target
    if "./" in target:
        resolved = os.path.normpath((path.parent / target).as_posix())
    elif quote == '"' and (root / path.parent / target).is_file():
        resolved = (path.parent / target).as_posix()
    leads = resolved.split("/")
    layer = leads[1] if leads[0] == "src" and len(leads) > 2 else leads[0]
    from_src = leads[0] == "src" or (len(leads) > 1 and leads[0] in LEVELS)

    if parts[0] == "src" and len(parts) > 2:
        own = parts[1]
        if own not in LEVELS:
            yield f"layer: src/{own} is not a known layer"
        elif layer in LEVELS and (from_src or quote == '"'):
            if LEVELS[layer] > LEVELS[own]:
                yield f"layer: {own} includes the higher layer {layer} ({target})"
            elif frozenset((own, layer)) in APART:
                yield f"layer: {own} and {layer} never include each other ({target})"
        elif quote == '"':
            yield f'layer: quoted include "{target}" does not name a layer'
    elif parts[0] == "backends" and from_src:
        yield f"backend: includes {target} from src/"
    elif parts[:2] == ("include", "cubby"):
        ours = leads[0] == "cubby" or leads[:2] == ["include", "cubby"]
        if not ours and (quote == '"' or target not in STANDARD):
            yield f"public: {target} is neither a standard header nor one of include/cubby"

    for header, homes in CONFINED:
        name = path.as_posix()
        if from_src or not header.match(target):
            continue
        if not any(name.startswith(home) if home.endswith("/") else name == home for home in homes):
            yield f"third-party: {target} belongs to {homes[0]} only"


def check_text(root, path):
    relative = path.relative_to(root)
    width = path.suffix in (".cpp", ".hpp") and relative.parts[0] in ("src", "tests")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        yield relative, 1, "text: not UTF-8"
        return
    for number, line in enumerate(lines, 1):
        if width and len(line) > COLUMNS:
            yield relative, number, f"columns: {len(line)} columns, {COLUMNS} are allowed"
        if "\t" in line:
            yield relative, number, "tab: a tab"
        if LATER.search(line):
            yield relative, number, f"later: {LATER.search(line).group()} left in the tree"
        found = INCLUDE.match(line) if path.suffix in CODE else None
        if found:
            for rule in check_include(root, relative, *found.groups()):
                yield relative, number, rule


def calls_of(path):
    """{name: line} of the functions that a file declares, calls or defines, comments apart."""
    if not path.is_file():
        return {}
    text = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), path.read_text(encoding="utf-8"))
    return {m.group(1): text.count("\n", 0, m.start()) + 1 for m in re.finditer(r"\b(cubby_[a-z_]+)\(", text)}


def check_faces(root):
    """Every call of cubby.h is made by cubby.hpp."""
    public = root / "include/cubby"
    faces = calls_of(public / "cubby.hpp")
    for name, line in calls_of(public / "cubby.h").items():
        if name not in faces:
            yield Path("include/cubby/cubby.h"), line, f"face: {name} has none in cubby.hpp"


def check_headers(root, cc, cxx):
    """Public headers compile alone, each in an otherwise empty file."""
    include = root / "include"
    for path in sorted((include / "cubby").rglob("*")):
        if path.suffix not in (".h", ".hpp"):
            continue
        name = path.relative_to(include).as_posix()
        languages = [("C++20", [cxx, "-x", "c++", "-std=c++20"])]
        if path.suffix == ".h":
            languages.append(("C11", [cc, "-x", "c", "-std=c11"]))
        for language, command in languages:
            command = command + ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
                                 "-I", str(include), "-"]
            done = subprocess.run(command, input=f"#include <{name}>\ntypedef int not_empty;\n",
                                  capture_output=True, text=True, check=False)
            if done.returncode != 0:
                where = re.search(re.escape(str(path)) + r":(\d+)(?::\d+)?: (?:fatal )?error: (.*)",
                                  done.stderr)
                line, why = (int(where.group(1)), where.group(2)) if where else (
                    1, (done.stderr.strip().splitlines() or ["no message"])[-1])
                yield path.relative_to(root), line, f"header: not alone as {language}: {why}"


def check_internal_headers(root, cxx, jobs=2):
    """Headers of src/ and backends/ compile alone, so that no precompiled header hides a missing include."""
    headers = sorted(p for top in ("src", "backends") for p in (root / top).rglob("*.hpp"))

    def compile_alone(path):
        command = [cxx, "-x", "c++", "-std=c++20", "-fsyntax-only", "-DCUBBY_BENCH_RING",
                   *(f"-I{root / folder}" for folder in ("include", "src", "backends")), "-"]
        return subprocess.run(command, input=f'#include "{path}"\n', capture_output=True, text=True,
                              check=False)

    with ThreadPoolExecutor(jobs) as pool:
        for path, done in zip(headers, pool.map(compile_alone, headers)):
            if done.returncode != 0:
                why = next((l for l in done.stderr.splitlines() if "error:" in l), done.stderr[:200])
                yield path.relative_to(root), 1, f"header: not alone: {why}"


def read_words(path):
    """(words forbidden everywhere, words forbidden as identifiers), each {word: what to say instead}."""
    everywhere, names = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] != "#":
            word, scope, instead = line.split(None, 2)
            (names if scope == "name" else everywhere)[word] = instead
    return everywhere, names


def pattern_of(words):
    """A word by itself or as a part of a name: house, the_house, house_walk; not warehouse."""
    return re.compile(r"(?<![A-Za-z])(?<![A-Za-z]\d)(" + "|".join(sorted(words)) + r")(?![A-Za-z])",
                      re.IGNORECASE)


def words_of(root, words):
    """{file: [(line, word)]} of the forbidden words, in a file's path as line 0."""
    everywhere, names = (pattern_of(w) if w else None for w in words)
    paths = set(files_of(root))
    for start in PROSE:
        top = root / start
        paths |= {top} if top.is_file() else {p for p in top.rglob("*") if p.suffix in TEXT | {".md"}}
    found = {}
    for path in sorted(paths):
        name = path.relative_to(root).as_posix()
        if name.startswith(NO_WORDS):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        hits = [(0, m.group(1).lower()) for m in everywhere.finditer(name)] if everywhere else []
        sources = [(everywhere, text)]
        if path.suffix in CODE:
            sources.append((names, LITERAL.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)))
        for pattern, searched in sources:
            if pattern is not None:
                hits += [(searched.count("\n", 0, m.start()) + 1, m.group(1).lower())
                         for m in pattern.finditer(searched)]
        if hits:
            found[name] = sorted(hits)
    return found


def read_counts(path):
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: int(count) for count, name in (line.split(" ", 1) for line in lines if line[0] != "#")}


def check_words(root, lists):
    """A file may have as many forbidden words as words_today.txt says, and no more."""
    words = read_words(lists / "words.txt")
    allowed = read_counts(lists / "words_today.txt")
    for name, hits in words_of(root, words).items():
        if len(hits) <= allowed.get(name, 0):
            continue
        for line, word in hits:
            yield Path(name), line, (f"word: {word} (say {words[0].get(word) or words[1].get(word)}); "
                                     f"the file has {len(hits)} such words, {allowed.get(name, 0)} are allowed")


def shrink_words(root, lists):
    allowed = read_counts(lists / "words_today.txt")
    found = words_of(root, read_words(lists / "words.txt"))
    # A file that moved takes its count along.
    for name in found.keys() - allowed.keys():
        gone = [n for n in allowed if Path(n).name == Path(name).name and not (root / n).is_file()]
        if gone:
            allowed[name] = allowed.pop(gone[0])
    left = {name: min(len(found.get(name, ())), count) for name, count in allowed.items()}
    (lists / "words_today.txt").write_text(
        "# Forbidden words (words.txt) by file. Counts only shrink: tidy.py --shrink rewrites this.\n" +
        "".join(f"{count} {name}\n" for name, count in sorted(left.items()) if count), encoding="utf-8")


def check_tree(root, cc, cxx, lists):
    found = list(check_words(root, lists))
    for path in files_of(root):
        found.extend(check_text(root, path))
    found.extend(check_faces(root))
    found.extend(check_headers(root, cc, cxx))
    return [f"{path.as_posix()}:{line}: {rule}" for path, line, rule in found]


def self_test(cc, cxx):
    later, tab = "TO" "DO", "\t"
    # file: (text, the violations expected as "line: rule")
    bad = {
        "src/base/up.hpp": ('#include "tier/tier.hpp"\n', ["1: layer"]),
        "src/base/relative.hpp": ('#include "../tier/tier.hpp"\n', ["1: layer"]),
        "src/tier/angle.hpp": ("#include <api/api.hpp>\n", ["1: layer"]),
        "src/store/side.cpp": ('\n#include "placement/policy.hpp"\n', ["2: layer"]),
        "src/placement/side.cpp": ('  #  include "store/seal.hpp"\n', ["1: layer"]),
        "src/engine/none.cpp": ('#include "nowhere.hpp"\n', ["1: layer"]),
        "src/strange/x.cpp": ("#include <vector>\n", ["1: layer"]),
        "backends/uring/src.cpp": ('#include "base/assert.hpp"\n', ["1: backend"]),
        "backends/uring/up.cpp": ('#include "../../src/base/assert.hpp"\n', ["1: backend"]),
        "include/cubby/odd.h": ("#include <unistd.h>\ntypedef int odd;\n", ["1: public"]),
        "include/cubby/inside.h": ('#include "base/assert.hpp"\n',
                                   ["1: public", "1: header", "1: header"]),
        "include/cubby/cxx_only.h": ("\nclass c;\n", ["2: header"]),
        "include/cubby/c_only.h": ("extern int class;\n", ["1: header"]),
        "include/cubby/lonely.hpp": ("inline std::size_t f();\n", ["1: header"]),
        "include/cubby/warns.hpp": ("inline int f(int x) { return 0; }\n", ["1: header"]),
        "src/base/ring.cpp": ("#include <liburing.h>\n", ["1: third-party"]),
        "src/base/cuda.cpp": ("#include <cuda_runtime.h>\n", ["1: third-party"]),
        "src/platform/hw.cpp": ("#include <hwloc.h>\n", ["1: third-party"]),
        "src/platform/heap.cpp": ("#include <mimalloc.h>\n", ["1: third-party"]),
        "src/platform/tasks.cpp": ("#include <tbb/task.h>\n#include <oneapi/tbb.h>\n",
                                   ["1: third-party", "2: third-party"]),
        "src/store/hash.cpp": ("#include <xxhash.h>\n", ["1: third-party"]),
        "tests/unit/wide.cpp": ("//" + "x" * 99 + "\n", ["1: columns"]),
        "src/base/wide.hpp": ("//" + "x" * 99 + "\n", ["1: columns"]),
        "src/base/tab.cpp": (f"int{tab}x;\n", ["1: tab"]),
        "src/base/later.cpp": (f"\n// {later}: write\n", ["2: later"]),
        "backends/uring/later.cpp": ("// FIX" "ME\n", ["1: later"]),
        "src/catalog/up.hpp": ('#include "directory/index.hpp"\n', ["1: layer"]),
        "src/directory/up.hpp": ('#include "residency/word.hpp"\n', ["1: layer"]),
        "src/residency/up.hpp": ('#include "engine/fills.hpp"\n', ["1: layer"]),
        "src/engine/up.hpp": ('#include "api/api.hpp"\n', ["1: layer"]),
        "src/base/grew.hpp": ("// the house\nint a_house_of;\n", ["1: word", "2: word"]),
        "src/base/house.hpp": ("", ["0: word"]),
        "src/base/name.hpp": ("// who\nint who;\n", ["2: word"]),
        "include/cubby/cubby.h": ("int cubby_one(void); /* as cubby_three() */\nint cubby_two(void);\n", ["2: face"]),
        "docs/page.md": ("Who is in the House?\n", ["1: word"]),
    }
    good = {
        "src/base/good.cpp": '#include "base/good.hpp"\n//' + "é" * 98 + "\n",
        "src/base/digest.cpp": "#include <xxhash.h>\n",
        "src/platform/topology.cpp": '#include <hwloc.h>\n#include "base/good.hpp"\n',
        "src/platform/host_memory.cpp": "#include <mimalloc.h>\n",
        "src/platform/parallel.cpp": "#include <tbb/task.h>\n#include <oneapi/tbb.h>\n",
        "src/cli/main.cpp": '#include "api/api.hpp"\n#include "store/seal.hpp"\n',
        "backends/uring/ring.cpp": '#include <liburing.h>\n#include <cubby/good.h>\n',
        "backends/cuda/device.cpp": "#include <cuda.h>\n",
        "include/cubby/good.h": "#include <stddef.h>\n#include <cubby/other.h>\n",
        "include/cubby/other.h": "typedef int other;\n",
        "include/cubby/cubby.hpp": "#include <cubby/cubby.h>\n// cubby_two()\ninline int one() { return cubby_one(); }\n",
        "src/engine/good.hpp": '#include "residency/a.hpp"\n#include "catalog/a.hpp"\n',
        "src/base/words.cpp": '// warehouse, who\nint whole = f("who");\n',
        "src/base/today.cpp": "// house, house\n",
    }
    words = "# a list\nhouse any controller\nwho name object\n"
    today = "# counts\n2 src/base/today.cpp\n1 src/base/grew.hpp\n"
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in {**{n: b[0] for n, b in bad.items()}, **good}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = {}
        lists = root / "lists"
        lists.mkdir()
        (lists / "words.txt").write_text(words, encoding="utf-8")
        (lists / "words_today.txt").write_text(today, encoding="utf-8")
        for line in check_tree(root, cc, cxx, lists):
            name, number, rule = line.split(":", 2)
            found.setdefault(name, []).append(f"{number}: {rule.split(':')[0].strip()}")
        (root / "src/base/today.cpp").write_text("// house\n", encoding="utf-8")
        shrink_words(root, lists)
        shrunk = read_counts(lists / "words_today.txt")
        if shrunk != {"src/base/today.cpp": 1, "src/base/grew.hpp": 1}:
            print(f"words_today.txt: shrunk to {shrunk}")
            wrong += 1
        (root / "backends/lonely.hpp").write_text("inline std::size_t f();\n", encoding="utf-8")
        alone = {path.as_posix() for path, _, _ in check_internal_headers(root, cxx)}
        if "backends/lonely.hpp" not in alone or "src/base/house.hpp" in alone:
            print(f"internal headers: {sorted(alone)}")
            wrong += 1
    for name in sorted({*bad, *good, *found}):
        expected = sorted(bad[name][1]) if name in bad else []
        if sorted(found.get(name, [])) != expected:
            print(f"{name}: expected {expected}, found {sorted(found.get(name, []))}")
            wrong += 1
    print(f"self-test: {len(bad)} bad files, {len(good)} good ones, {wrong} judged wrongly")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--cc", default="cc")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--internal-headers", action="store_true",
                        help="only: each header of src/ and backends/ compiles alone")
    parser.add_argument("--shrink", action="store_true", help="lower the counts of words_today.txt")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test(arguments.cc, arguments.cxx) else 0
    if not (arguments.root / "src").is_dir():
        print(f"{arguments.root}: no src/ here", file=sys.stderr)
        return 2
    if arguments.internal_headers:
        found = list(check_internal_headers(arguments.root.resolve(), arguments.cxx))
        print("".join(f"{path}:{line}: {rule}\n" for path, line, rule in found) or "tidy: each header compiles alone")
        return 1 if found else 0
    lists = Path(__file__).resolve().parent
    if arguments.shrink:
        shrink_words(arguments.root.resolve(), lists)
        return 0
    found = check_tree(arguments.root.resolve(), arguments.cc, arguments.cxx, lists)
    print("\n".join(found) if found else "tidy: no violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The files of src/ call each other without a cycle, and no class of src/ has too many public methods.

  call_graph.py --root TREE --build BUILD [--nm NM]   exit status 1 when a rule is broken
  call_graph.py --root TREE --build BUILD --shrink    drops from the baselines what is no longer true
  call_graph.py --self-test [--cxx CXX] [--nm NM]     does each rule fire?

File A calls file B when A's object file needs a symbol that only B's defines. Inline code counts for the
file that includes it. cycles.txt and big_classes.txt hold what was true when the rules came; both may
only shrink. Each line of cycles.txt is one strongly connected component of files, each line of
big_classes.txt is a header, a class and its public methods. Object files must hold one source each
(no unity build).
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from doc_gate import Source

HERE = Path(__file__).resolve().parent
METHODS = 25
TEMPLATE = re.compile(r"^\s*template\s*<.*?>\s*(?=[\w\[])", re.DOTALL)
NEVER_COUNTED = re.compile(r"=\s*(default|delete)\b|~\w+\s*\(|operator\s*=\s*\(|^\s*(friend|using|static_assert)\b")


def symbols(nm, objects):
    """{file: (strongly defined symbols, needed symbols)} of {file: object}."""
    found = {}
    for name, path in objects.items():
        done = subprocess.run([nm, "-P", str(path)], capture_output=True, text=True, check=True)
        defined, needed = set(), set()
        for line in done.stdout.splitlines():
            symbol, kind = line.split()[:2]
            if kind in "TDBR":
                defined.add(symbol)
            elif kind == "U":
                needed.add(symbol)
        found[name] = defined, needed
    return found


def edges_of(found):
    homes = {symbol: name for name, (defined, _) in found.items() for symbol in defined}
    return {name: {homes[s] for s in needed if s in homes} - {name} for name, (_, needed) in found.items()}


def components(edges):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def walk(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in index:
                walk(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set(stack[stack.index(node):])
            del stack[stack.index(node):]
            if len(group) > 1:
                found.append(group)

    for node in sorted(edges):
        if node not in index:
            walk(node)
    return sorted(found, key=min)


def objects_of(root, build):
    """{source name without extension: its object file}; a layer's objects, not a test's copy of them."""
    found = {}
    for path in sorted((build / "src").rglob("*.cpp.o")):
        match = re.match(r"(src/.*?)/?CMakeFiles/[^/]+\.dir/(.*)\.cpp\.o$", path.relative_to(build).as_posix())
        if match and (root / f"{match[1]}/{match[2]}.cpp").is_file():
            found.setdefault(f"{match[1]}/{match[2]}", path)
    return found


def public_methods(text):
    """Counter of public methods, by class or struct, of one header."""
    code = re.sub(r"(?m)^\s*#.*(\\\n.*)*$", "", "\n".join(Source(text).code))
    counts, stack, words, round_depth = Counter(), [], "", 0
    for c in code:
        round_depth += (c == "(") - (c == ")")
        if c == "{" and round_depth == 0:
            head = re.search(r"\b(class|struct|union)\s+(?:\[\[.*?\]\]\s*)?(\w+)[^()=;]*$",
                             TEMPLATE.sub("", words))
            scope = ("", "") if not head or re.search(r"\benum\b", words) else (
                head[2], "private" if head[1] == "class" else "public")
            if not scope[0]:
                count_method(counts, stack, words)
            stack.append(list(scope) if scope[0] else ["", "open" if "namespace" in words else "body"])
            words = ""
        elif c == "}" and round_depth == 0:
            if stack:
                stack.pop()
            words = ""
        elif c == ";" and round_depth == 0:
            count_method(counts, stack, words)
            words = ""
        elif c == ":" and re.fullmatch(r"\s*(public|private|protected)\s*", words) and stack:
            stack[-1][1] = words.strip()
            words = ""
        else:
            words += c
    return counts


def count_method(counts, stack, words):
    if not stack or not stack[-1][0] or stack[-1][1] != "public":
        return
    name = stack[-1][0]
    words = TEMPLATE.sub("", words)
    before = words.split("(")[0]
    is_call = "(" in words and ("=" not in before or "operator" in before)
    if is_call and not NEVER_COUNTED.search(words) and not re.search(rf"^\s*(explicit\s+|constexpr\s+)*{name}\s*$", before):
        counts[name] += 1


def big_classes(root):
    found = {}
    for path in sorted((root / "src").rglob("*.hpp")):
        for name, count in public_methods(path.read_text(encoding="utf-8")).items():
            if count > METHODS:
                found[path.relative_to(root).as_posix(), name] = count
    return found


def read_lines(path):
    return [line.split() for line in path.read_text().splitlines() if line and line[0] != "#"] if path.is_file() else []


def check(groups, big, baseline):
    known = [set(line) for line in read_lines(baseline / "cycles.txt")]
    for group in groups:
        if not any(group <= old for old in known):
            yield (f"cycle: {' '.join(sorted(group))} call each other; "
                   "pass a callback down or move what they share into a file below both")
    allowed = {(line[0], line[1]): int(line[2]) for line in read_lines(baseline / "big_classes.txt")}
    for (path, name), count in big.items():
        if count > allowed.get((path, name), METHODS):
            yield (f"{path}: class {name} has {count} public methods, "
                   f"{allowed.get((path, name), METHODS)} are allowed; split it by what it owns")


def shrink(groups, big, baseline):
    known = [set(line) for line in read_lines(baseline / "cycles.txt")]
    lines = [" ".join(sorted(g)) for g in groups if any(g <= old for old in known)]
    (baseline / "cycles.txt").write_text(header("Files that call each other: remove, never add.") + "".join(
        f"{line}\n" for line in lines))
    allowed = {(line[0], line[1]): int(line[2]) for line in read_lines(baseline / "big_classes.txt")}
    (baseline / "big_classes.txt").write_text(
        header(f"Classes with more than {METHODS} public methods: remove or lower, never add.") + "".join(
            f"{p} {n} {min(c, allowed[p, n])}\n" for (p, n), c in sorted(big.items()) if (p, n) in allowed))


def header(text):
    return f"# {text} call_graph.py --shrink rewrites this.\n"


def self_test(cxx, nm):
    wrong = 0

    def expect(what, found, wanted):
        nonlocal wrong
        if found != wanted:
            print(f"{what}: expected {wanted}, found {found}")
            wrong += 1

    sources = {
        "a": "void b(); void c(); void a() { b(); c(); }",
        "b": "void a(); void b() { a(); } template <class T> inline T twice(T x) { return x; } int d() { return twice(1); }",
        "c": "template <class T> inline T twice(T x) { return x; } void c() { twice(1); }",
        "d": "void c(); int value = 1; void d2() { c(); }",
        "e": "extern int value; int e() { return value; }",
    }
    with tempfile.TemporaryDirectory() as folder:
        root, objects = Path(folder), {}
        for name, text in sources.items():
            (root / f"{name}.cpp").write_text(text)
            objects[name] = root / f"{name}.o"
            subprocess.run([cxx, "-O1", "-c", str(root / f"{name}.cpp"), "-o", str(objects[name])], check=True)
        edges = edges_of(symbols(nm, objects))
        expect("edges", edges, {"a": {"b", "c"}, "b": {"a"}, "c": set(), "d": {"c"}, "e": {"d"}})
        groups = components(edges)
        expect("components", groups, [{"a", "b"}])
        expect("a new cycle", len(list(check(groups, {}, root))), 1)
        (root / "cycles.txt").write_text("# known\na b c\n")
        expect("a known cycle", list(check(groups, {}, root)), [])
        expect("a cycle that grew", len(list(check([{"a", "b", "d"}], {}, root))), 1)
        shrink(groups, {}, root)
        expect("a shrunk baseline", read_lines(root / "cycles.txt"), [["a", "b"]])

        methods = "".join(f"  int f{n}(int x = 1) const;\n" for n in range(METHODS))
        big = f"namespace n {{\ntemplate <class T>\nclass [[nodiscard]] wide {{\n public:\n  wide();\n  wide(const wide &) = delete;\n{methods}"
        rest = " private:\n  int g();\n  int x_ = f(1);\n};\nvoid free();\n}\n"
        extra = "  template <class T>\n  bool more() const { if (x_) { return g(); } return true; }\n  int y = f0();\n"
        expect("methods", public_methods(big + rest), Counter(wide=METHODS))
        expect("methods", public_methods(big + extra + rest), Counter(wide=METHODS + 1))
        (root / "src").mkdir()
        (root / "src/wide.hpp").write_text(big + extra + rest)
        expect("a big class", len(list(check([], big_classes(root), root))), 1)
        (root / "big_classes.txt").write_text(f"src/wide.hpp wide {METHODS + 1}\n")
        expect("a known big class", list(check([], big_classes(root), root)), [])
        (root / "big_classes.txt").write_text(f"src/wide.hpp wide {METHODS}\n")
        expect("a class that grew", len(list(check([], big_classes(root), root))), 1)
    print(f"call graph self-test: {wrong} judged wrongly")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=HERE.parents[1])
    parser.add_argument("--build", type=Path)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--cxx", default="c++")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test(arguments.cxx, arguments.nm) else 0
    if arguments.build is None:
        parser.error("--build BUILD is needed: the folder of a finished build")
    root = arguments.root.resolve()
    objects = objects_of(root, arguments.build.resolve())
    if not objects:
        print(f"call_graph: no object file of src/ under {arguments.build}; build first", file=sys.stderr)
        return 2
    edges = edges_of(symbols(arguments.nm, objects))
    groups, big = components(edges), big_classes(root)
    if arguments.shrink:
        shrink(groups, big, HERE)
        return 0
    found = list(check(groups, big, HERE))
    print("\n".join(found))
    print(f"call graph: {len(edges)} files, {sum(map(len, edges.values()))} calls from file to file, "
          f"{len(groups)} cycles, {len(big)} big classes, {len(found)} not in the baselines")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

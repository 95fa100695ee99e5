#!/usr/bin/env python3
"""Every public name carries a comment: calls, structs, fields, enumerators, macros, in include/cubby.

  doc_gate.py --root TREE      exit status 1 when a name has none; prints file:line: name
  doc_gate.py --self-test      does the gate find what is bare, and only that?

A declaration is documented when a comment is
  - on one of its own lines, or
  - on the line directly above it, or
  - above a group: consecutive declarations at one depth without a blank line between them share the
    comment that stands directly above the first. Fields and enumerators do so only under a comment on a
    line of their own; a trailing comment belongs to its line alone.
Several names in one declaration share its comment. Constructors that are copied, moved, defaulted or
deleted, destructors, assignments, and what is private or in a namespace `detail` need none.
"""

import argparse
import re
import sys
import tempfile
from pathlib import Path

NOT_PUBLIC = re.compile(r"=\s*(default|delete)\b|~\w+\s*\(|operator=\s*\(|(\b\w+)\(\2 ?&&|(\b\w+)\(const \3 ?&"
                        r"|^\s*(friend|using namespace|static_assert|template|extern \"C\")")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')


class Source:
    """Lines of code without comments, and for each line whether it has a comment, alone or trailing."""

    def __init__(self, text):
        blank = lambda m: re.sub(r"[^\n]", " ", m.group())
        self.has = set()
        for found in COMMENT.finditer(STRING.sub(blank, text)):
            first = text.count("\n", 0, found.start())
            self.has.update(range(first, first + found.group().count("\n") + 1))
        cleaned = STRING.sub(blank, text)
        self.code = COMMENT.sub(blank, cleaned).split("\n")
        # A section line such as "---- name ----" says nothing about what follows.
        raw = text.split("\n")
        self.has -= {n for n in self.has if re.search(r"-{4}", raw[n]) and not self.code[n].strip()}

    def alone(self, line):
        return line in self.has and not self.code[line].strip()


def declarations(source):
    """(first line, last line, text, depth) of everything declared outside of function bodies.

    A declaration ends at ';', at ',' inside an enumeration, or before the '{' that opens its body. The
    bodies of functions and initialisers are skipped; those of structs, enumerations and namespaces are
    entered.
    """
    stack, text, first, paren = [], "", None, 0
    number, skip, access = 0, 0, []
    for number, line in enumerate(source.code):
        if line.lstrip().startswith("#"):
            if re.match(r"\s*#define \w+", line) and not line.rstrip().endswith("_H"):
                yield number, number, line.strip(), "macro"
            continue
        for c in line:
            if skip:
                skip += (c == "{") - (c == "}")
                continue
            if c == "{" and paren == 0:
                kind = body_kind(text)
                if kind == "initialiser":
                    skip, text = 1, text + " "
                    continue
                if text.strip() and kind != "typedef":
                    yield first, number, text.strip(), context(stack, access)
                if kind in ("function",):
                    skip = 1
                else:
                    stack.append(kind + (":detail" if "namespace detail" in text else ""))
                    access.append("private" if re.search(r"\bclass\b", text) and kind == "struct" else "public")
                text, first = "", None
                continue
            if c == "}" and paren == 0:
                if text.strip():
                    yield first, number, text.strip(), context(stack, access)
                closed = stack.pop() if stack else ""
                if access:
                    access.pop()
                # `} name;` of a typedef: the struct's own comment covers it.
                text, first = ("\0" if closed.startswith(("struct", "enum", "typedef")) else ""), None
                continue
            if c == ":" and re.fullmatch(r"\s*(public|private|protected)", text) and access:
                access[-1] = text.strip()
                text, first = "", None
                continue
            paren += (c in "([") - (c in ")]")
            if (c == ";" or (c == "," and stack and stack[-1] == "enum")) and paren == 0:
                if text.strip() and not text.startswith("\0"):
                    yield first, number, text.strip(), context(stack, access)
                text, first = "", None
                continue
            if first is None and not c.isspace():
                first = number
            text += c
        text += " "


def context(stack, access):
    if any("detail" in s for s in stack) or any(a in ("private", "protected") for a in access):
        return "hidden"
    return stack[-1] if stack else "top"


def body_kind(text):
    if text.strip().startswith("typedef struct") or text.strip().startswith("typedef enum"):
        return "enum" if "enum" in text else "struct"
    if re.search(r"\bnamespace\b|extern\s", text):
        return "namespace"
    if re.match(r"\s*enum\b", text):
        return "enum"
    if re.search(r"(^|>|\s)(struct|class)\b[^()=]*$", text):
        return "struct"
    if re.search(r"\)\s*(const|noexcept|override|&|\s)*(:.*|try\s*)?$|operator", text):
        return "function"
    return "initialiser"


def bare(text):
    """(line, name) of each declaration without a comment."""
    source = Source(text)
    covered_group = {}  # context → (last line, how the group is documented)
    missing = []
    for first, last, words, where in declarations(source):
        if where == "hidden" or NOT_PUBLIC.search(words) or re.match(r"(inline )?namespace\b|extern\b", words):
            continue
        if where == "macro" and re.match(r"#define (CUBBY_\w+_(H|HPP)|cubby)\b", words):
            continue
        above = first - 1
        while above >= 0 and source.code[above].strip().startswith("template"):
            above -= 1
        own = any(n in source.has for n in range(first, last + 1))
        lines_above = source.alone(above)
        group = covered_group.get(where)
        joined = group is not None and group[0] in (above, first) and group[1]
        if re.match(r"(typedef )?enum\b( class)?( \w+)?$", words.split("{")[0].strip()) and not own and not lines_above:
            # An enumeration whose every value is told is told.
            covered_group[where] = (last, False)
            continue
        # The conventions at the top of each header tell these two.
        named_itself = re.fullmatch(r"uint(8|32)_t (struct_size|reserved_(\[\d+\])?)(, reserved_)?", words)
        if not (own or lines_above or joined or named_itself):
            missing.append((first + 1, re.sub(r"\s+", " ", words)[:70]))
        covered_group[where] = (last, lines_above or (joined and not own) or (group is not None and group[0] == above and group[1]))
    return missing


def self_test():
    bad = {
        "int a(void);\n": ["int a(void)"],
        "/* told */\nint a(void);\n\nint b(void);\n": ["int b(void)"],
        "int a(void);   /* told */\nint b(void);\n": ["int b(void)"],
        "/* s */\nstruct s {\n  int told;  /* x */\n  int bare;\n};\n": ["int bare"],
        "enum { A = 1, /* told */\n  B = 2 };\n": ["B = 2"],
        "#define CUBBY_X 1\n": ["#define CUBBY_X 1"],
        "/// c\nclass c {\n public:\n  /// told\n  int f() const { return 1; }\n\n  int g();\n private:\n  int h_;\n};\n":
            ["int g()"],
        "/* ---- section ---- */\nint a(void);\n": ["int a(void)"],
        "/// s\nstruct s {\n  /// told\n  int a = f({1, 2});\n\n  int b{3};\n};\n": ["int b"],
        "namespace n {\nvoid f();\n}\n": ["void f()"],
        'const char *a = "/* no comment */";\n': ["const char *a ="],
    }
    good = [
        "/* told */\nint a(void);\nint b(void);\n",
        "/* s */\ntypedef struct s {\n  int a, b;  /* both */\n  /* group */\n  int c;\n  int d;\n} s;\n",
        "int a(int x,\n      int y);  /* told */\n",
        "namespace detail {\nint a();\n}\n",
        "/// c\nclass c {\n  int a_;\n};\n",
        "/// c\nclass c {\n public:\n  c(c &&other) noexcept : a_(other.a_) {}\n  c(const c &) = delete;\n  ~c() { f(); }\n"
        "  /// told\n  template <class T>\n  T f() { return {1, 2}; }\n};\n",
        "typedef enum e {\n  A = 0,\n  B = 1 /* told */\n} e;\n".replace("A = 0,", "A = 0, /* told */"),
    ]
    wrong = 0
    for text, expected in bad.items():
        found = [name for _, name in bare(text)]
        if [f.strip() for f in found] != expected:
            print(f"expected {expected}, found {found} in:\n{text}")
            wrong += 1
    for text in good:
        if bare(text):
            print(f"expected nothing, found {bare(text)} in:\n{text}")
            wrong += 1
    print(f"doc gate self-test: {len(bad)} bad texts, {len(good)} good ones, {wrong} judged wrongly")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return 1 if self_test() else 0
    count = 0
    headers = sorted((arguments.root / "include" / "cubby").glob("*.h*"))
    for path in headers:
        for line, name in bare(path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(arguments.root)}:{line}: no comment: {name}")
            count += 1
    print(f"doc gate: {len(headers)} headers, {count} public names without a comment")
    return 1 if count or not headers else 0


if __name__ == "__main__":
    sys.exit(main())

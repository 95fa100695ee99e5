"""A store found again by another process; fork, spawn, and the end of the interpreter."""

from __future__ import annotations

import ast
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import BLOCK, Cache, block, open_cache

import cubby

HERE = Path(__file__).parent


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Another interpreter that runs `program` with this folder's modules at hand."""
    path = os.pathsep.join([str(HERE), str(Path(cubby.__file__).parent.parent)])
    return subprocess.run(
        [
            sys.executable,
            "-Wignore::DeprecationWarning",
            "-c",
            textwrap.dedent(program),
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_blocks_outlive_the_process(tmp_path: Path) -> None:
    wrote = run(
        """
        import sys
        from pathlib import Path
        from conftest import block, open_cache
        cache = open_cache(Path(sys.argv[1]))
        keys = [b"k%d" % i for i in range(20)]
        cache.space.put(keys, [block(i) for i in range(20)], chain=True, keep="restart")
        import os
        os._exit(0)  # without closing anything
        """,
        str(tmp_path),
    )
    assert wrote.returncode == 0, wrote.stderr
    cache = open_cache(tmp_path)
    keys = [b"k%d" % i for i in range(20)]
    assert cache.space.match(keys) == 20
    assert list(cache.space.states(keys)) == [cubby.State.FILE] * 20
    into = bytearray(20 * BLOCK)
    assert cache.space.get(keys, into) == [True] * 20
    assert into == b"".join(block(i) for i in range(20))
    other = cache.runtime.add_space(cache.bank, b"another model")
    assert other.match(keys) == 0, "nothing is found across spaces"
    cache.runtime.close()


def test_damage_on_disk_is_never_delivered(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    keys = [b"k%d" % i for i in range(4)]
    cache.space.put(keys, [block(i + 1) for i in range(4)], keep="restart")
    cache.runtime.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    store = max(files, key=lambda path: path.stat().st_blocks)
    damaged = bytearray(store.read_bytes())
    at = damaged.find(block(2))
    assert at >= 0
    damaged[at + 100] ^= 1
    store.write_bytes(damaged)
    cache = open_cache(tmp_path)
    into = [block(99) for _ in range(4)]
    try:
        found = cache.space.get(keys, into)
    except cubby.CubbyError as error:
        assert error.item_status is not None
        found = [status == cubby.Status.OK for status in error.item_status]
    assert found == [True, False, True, True]
    assert [into[0], into[2], into[3]] == [block(1), block(3), block(4)]
    cache.runtime.close()


def test_a_child_of_fork_is_refused(stored: Cache) -> None:
    stored.space.put(b"a", block(1))
    queue = stored.runtime.queue(4)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answers = []
        for call in (
            lambda: stored.space.match(b"a"),
            lambda: stored.space.put(b"b", block(2)),
            lambda: stored.runtime.close(),
            lambda: queue.take(),
            lambda: stored.runtime.drain(),
        ):
            try:
                call()
                answers.append("none")
            except cubby.ForkedError:
                answers.append("forked")
            except BaseException as error:
                answers.append(repr(error))
        os.write(writer, " ".join(answers).encode())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reader, 1000).decode() == "forked forked forked forked forked"
    os.close(reader)
    into = bytearray(BLOCK)
    assert stored.space.get(b"a", into) and into == block(1)


def test_a_forked_child_ends_as_usual(tmp_path: Path) -> None:
    done = run(
        """
        import os, sys
        from pathlib import Path
        from conftest import block, open_cache
        cache = open_cache(Path(sys.argv[1]))
        cache.space.put(b"a", block(1), keep="restart")
        if os.fork() == 0:
            del cache
            own = open_cache(None)
            own.space.put(b"b", block(2))
            sys.exit(0 if own.space.match(b"b") == 1 else 5)
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
        """,
        str(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")


def work_in_child(store: str, answer: multiprocessing.Queue) -> None:
    """Of the spawned process."""
    cache = open_cache(Path(store))
    answer.put(cache.space.match(b"a"))
    cache.runtime.close()


def test_spawn_works(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.space.put(b"a", block(1), keep="restart")
    cache.runtime.close()
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=work_in_child, args=(str(tmp_path), answer))
    child.start()
    assert answer.get(timeout=60) == 1
    child.join(60)
    assert child.exitcode == 0


def test_the_interpreter_ends_with_everything_open(tmp_path: Path) -> None:
    done = run(
        """
        import sys
        from pathlib import Path
        from conftest import block, open_cache
        cache = open_cache(Path(sys.argv[1]))
        queue = cache.runtime.queue(8)
        cache.space.put(b"a", block(1), keep="restart")
        pins = cache.space.pin(b"a", cache.host)
        seen = memoryview(pins.view(0))
        ticket = cache.space.submit_put(b"b", block(2), keep="restart", queue=queue)
        """,
        str(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_in_mid_wait() -> None:
    done = run(
        """
        import os, signal, threading
        from conftest import open_cache
        cache = open_cache(None)
        queue = cache.runtime.queue(4)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            queue.wait()
        except KeyboardInterrupt:
            cache.runtime.close()
            print("interrupted")
        """
    )
    assert (done.stdout.strip(), done.returncode) == ("interrupted", 0), done.stderr


def test_the_import_brings_neither_torch_nor_numpy() -> None:
    done = run(
        """
        import sys, cubby, cubby.aio, cubby.integrations
        print(sorted({"torch", "numpy"} & set(sys.modules)))
        """
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_command() -> None:
    from cubby.__main__ import find_command

    path = str(Path(cubby.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": path}
    call = [sys.executable, "-m", "cubby"]
    if find_command() is not None:
        done = subprocess.run(
            [*call, "--help"], env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and "inspect" in done.stdout
    env["CUBBY_COMMAND"] = "/does/not/exist"
    done = subprocess.run([*call, "--help"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "libcli11-dev" in done.stderr


def command_that(tmp_path: Path, says: str) -> Path:
    made = tmp_path / "command"
    made.write_text(says)
    made.chmod(0o755)
    return made


def run_command(command: Path) -> subprocess.CompletedProcess[str]:
    path = str(Path(cubby.__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": path, "CUBBY_COMMAND": str(command)}
    call = [sys.executable, "-m", "cubby"]
    return subprocess.run(call, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_ends_by_signals_as_it_does_alone(tmp_path: Path) -> None:
    assert run_command(command_that(tmp_path, "#!/bin/sh\nexit 7\n")).returncode == 7
    for name in ("PIPE", "XFSZ", "TERM"):
        done = run_command(command_that(tmp_path, f"#!/bin/sh\nkill -{name} $$\nexit 7\n"))
        assert done.returncode == -getattr(signal, f"SIG{name}")


def test_a_command_that_cannot_be_run(tmp_path: Path) -> None:
    for command in (tmp_path, command_that(tmp_path, "no program")):
        done = run_command(command)
        assert done.returncode == 2
        assert str(command) in done.stderr and "Traceback" not in done.stderr


def test_exceptions_cross_processes() -> None:
    for status in list(cubby.Status)[2:]:
        made = cubby.errors._make(int(status), "why", 5, True, False, 1, 2, 3, 4)
        made.item_status = [0, -3]
        again = pickle.loads(pickle.dumps(made))
        assert (type(again), str(again), vars(again)) == (type(made), "why", vars(made))
    assert cubby.BusyError("mine").status is cubby.Status.BUSY


def test_the_stubs_name_what_there_is() -> None:
    stub = Path(cubby.__file__).parent / "_cubby.pyi"
    if not stub.exists():
        pytest.fail("the package has no _cubby.pyi")
    text = stub.read_text()
    for name in dir(cubby._cubby):
        if not name.startswith("_"):
            assert f"class {name}" in text or f"def {name}" in text, name
    for kind in (cubby.Runtime, cubby.Space, cubby.Bank, cubby.Pins, cubby.Ticket):
        for name in vars(kind):
            if not name.startswith("_"):
                assert f"def {name}" in text, f"{kind.__name__}.{name}"
    assert (Path(cubby.__file__).parent / "py.typed").exists()


def shape_of(made: ast.stmt) -> tuple[list[str], list[str], list[str]]:
    """Names of the parameters, of those by name alone, and defaults."""
    assert isinstance(made, ast.FunctionDef)
    given = made.args
    defaults = [ast.unparse(each) for each in (*given.defaults, *given.kw_defaults) if each]
    return [a.arg for a in given.args], [a.arg for a in given.kwonlyargs], defaults


def signatures(of: object) -> list[tuple[list[str], list[str], list[str]]]:
    """What the extension says of a function itself."""
    shapes = []
    for text, _, defaults in getattr(of, "__nb_signature__", ()):
        # Stubs leave out what defaults of bytes are.
        given = ["..." if isinstance(each, bytes) else repr(each) for each in defaults or ()]
        whole = re.sub(r"\\(\d+)", lambda at, given=given: given[int(at[1])], text)
        shapes.append(shape_of(ast.parse(whole + ": ...").body[0]))
    return shapes


def test_the_stubs_have_the_parameters_that_there_are() -> None:
    stub = ast.parse((Path(cubby.__file__).parent / "_cubby.pyi").read_text())
    compared = 0
    for made in stub.body:
        if isinstance(made, ast.FunctionDef):
            assert signatures(getattr(cubby._cubby, made.name)) == [shape_of(made)], made.name
        if not isinstance(made, ast.ClassDef):
            continue
        kind = getattr(cubby._cubby, made.name)
        listed: dict[str, list[object]] = {}
        for method in made.body:
            if isinstance(method, ast.FunctionDef) and not ast.unparse(method).startswith(
                "@property"
            ):
                listed.setdefault(method.name, []).append(shape_of(method))
        for name, shapes in listed.items():
            if found := signatures(vars(kind).get(name)):
                assert found == shapes, f"{made.name}.{name}"
                compared += 1
        for name, member in vars(kind).items():
            assert name.startswith("_") or not signatures(member) or name in listed, name
    assert compared > 60

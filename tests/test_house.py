"""The house rules that no tool checks: sizes, docstrings, and where chance and time come from.

Exceptions are listed by name with a reason. An exception that is no longer needed fails too, so
the lists can only shrink.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "aiopslab").rglob("*.py"), *(ROOT / "agents").rglob("*.py")])
WORLDLY = ("world", "services", "telemetry", "load", "faults", "problems")
"""Rooms whose behaviour is a function of the seed alone."""
WORLDLESS = {
    "aiopslab/services/real": "the app program's binding to an operating system",
    "aiopslab/load/program": "the load generator as a process",
}
"""Folders inside them that are about real time and chance."""

MODULE_LINES = 400
FUNCTION_LINES = 40
HARD_FUNCTION_LINES = 60

LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS = {
    "aiopslab/world/images/valkey_info.py:_section": "the sections of INFO, one case each",
}

CLOCKS = {
    "time": {
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
        "process_time", "thread_time", "localtime", "ctime", "sleep",
    },
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}  # fmt: skip
ENTROPY = {
    "os": {"urandom", "getrandom", "getpid"},
    "uuid": {"uuid1", "uuid4"},
    "random": {"*"},
    "secrets": {"*"},
}
SEEDED = {"Random"}
"""What may be used of ``random``: a generator with a seed of its own."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_functions() -> dict[str, int]:
    found = {}
    for path in CODE:
        for function in functions(ast.parse(path.read_text(encoding="utf-8"))):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES:
                found[f"{name(path)}:{function.name}"] = lines
    return found


def imported(tree: ast.AST) -> dict[str, str]:
    """Map local names to the module (or ``module.name``) that they stand for."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def banned(module: str, attribute: str) -> bool:
    last = module.rpartition(".")[2]
    for table in (CLOCKS, ENTROPY):
        names = table.get(last, set())
        if attribute in names or ("*" in names and attribute not in SEEDED):
            return True
    return False


def impurities(source: str) -> list[str]:
    """List uses of the host's clock, of unseeded chance and of the salted ``hash``."""
    tree = ast.parse(source)
    names = imported(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            base = ast.unparse(node.value)
            head, _, rest = base.partition(".")
            module = ".".join(filter(None, [names.get(head, ""), rest]))
            if head in names and banned(module, node.attr):
                found.append(f"line {node.lineno}: {base}.{node.attr}")
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            module, _, attribute = names.get(node.id, "").rpartition(".")
            if module and banned(module, attribute):
                found.append(f"line {node.lineno}: {node.id}")
            if node.id == "hash" and "hash" not in names:
                found.append(f"line {node.lineno}: hash")
    return found


def test_every_module_says_what_it_is() -> None:
    silent = [
        name(path)
        for path in CODE
        if (text := path.read_text(encoding="utf-8")).strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in CODE}
    long = {n: lines for n, lines in lengths.items() if lines > MODULE_LINES}
    assert sorted(long) == sorted(LONG_MODULES), long


def test_no_function_is_longer_than_a_screen() -> None:
    long = long_functions()
    assert sorted(long) == sorted(LONG_FUNCTIONS), long
    assert all(lines <= HARD_FUNCTION_LINES for lines in long.values()), long


@pytest.mark.parametrize("room", WORLDLY)
def test_a_room_of_the_world_takes_chance_and_time_from_nowhere_else(room: str) -> None:
    found = {
        name(path): uses
        for path in sorted((ROOT / "aiopslab" / room).rglob("*.py"))
        if not any(path.is_relative_to(ROOT / folder) for folder in WORLDLESS)
        and (uses := impurities(path.read_text(encoding="utf-8")))
    }
    assert found == {}


@pytest.mark.parametrize("folder", WORLDLESS)
def test_an_exception_from_purity_is_still_needed(folder: str) -> None:
    code = (ROOT / folder).rglob("*.py")
    assert any(impurities(path.read_text(encoding="utf-8")) for path in code)


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nt.monotonic()",
        "from time import perf_counter\nperf_counter()",
        "from datetime import datetime\ndatetime.now()",
        "import datetime\ndatetime.datetime.utcnow()",
        "import random\nrandom.choice([1])",
        "from random import shuffle\nshuffle([])",
        "import uuid\nuuid.uuid4()",
        "import os\nos.urandom(8)",
        "hash('x')",
        "sorted([], key=hash)",
    ],
)
def test_the_ratchet_sees_every_way_to_be_impure(source: str) -> None:
    assert impurities(source)


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.Random(7).choice([1])",
        "def f(stream):\n    return stream.random()",
        "self.clock.time()",
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(0, UTC)",
        "def __hash__(self): ...",
    ],
)
def test_the_ratchet_lets_seeded_chance_and_virtual_time_pass(source: str) -> None:
    assert not impurities(source)

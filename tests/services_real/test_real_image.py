"""The image of the app program: everything it needs is in it, and nothing else is loaded."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "services" / "Dockerfile").read_text("utf-8")
HEAVY = (
    "asyncpg", "cyclopts", "docker", "duckdb", "kubernetes", "langchain", "mcp", "nats", "numpy",
    "openai", "opentelemetry", "pandas", "rich", "starlette", "uvicorn", "valkey",
)  # fmt: skip


def copied() -> list[str]:
    """What the Dockerfile takes of the package."""
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [
        word for line in lines if line.startswith("COPY aiopslab") for word in line.split()[1:-1]
    ]


def sources() -> Iterator[Path]:
    for name in copied():
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def imported() -> set[str]:
    """Full names of every module that the copied code imports, wherever it does."""
    found: set[str] = set()
    for path in sources():
        if path == ROOT / "aiopslab" / "__init__.py":
            continue  # its public names are imported when they are asked for
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module == "aiopslab":
                found |= {f"aiopslab.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
    return found


def wanted(part: str = "services") -> list[str]:
    lines = (ROOT / part / "requirements.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def closure(names: list[str]) -> set[str]:
    """Return distributions and what they need."""
    found: set[str] = set()
    frontier = [canonicalize_name(name) for name in names]
    while frontier:
        name = frontier.pop()
        if name in found:
            continue
        found.add(name)
        for text in requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or marker.evaluate({**default_environment(), "extra": ""}):
                frontier.append(canonicalize_name(requirement.name))
    return found


def test_the_image_has_every_module_of_ours_that_it_imports() -> None:
    tops = {re.sub(r"\.py$", "", name).replace("/", ".") for name in copied()}
    ours = {".".join(name.split(".")[:2]) for name in imported() if name.startswith("aiopslab.")}
    assert ours <= tops, ours - tops


def test_the_image_installs_every_package_that_it_imports() -> None:
    known, installed = packages_distributions(), closure(wanted())
    missing = {
        top
        for top in {name.partition(".")[0] for name in imported()}
        if top not in sys.stdlib_module_names
        and top != "aiopslab"
        and not installed & {canonicalize_name(d) for d in known.get(top, [])}
    }
    assert not missing


def test_what_the_image_installs_is_what_the_extra_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = {canonicalize_name(Requirement(r).name) for r in project["dependencies"]}
    extra = {
        canonicalize_name(Requirement(r).name) for r in project["optional-dependencies"]["services"]
    }
    names = {canonicalize_name(name) for name in wanted()}
    assert extra <= names <= base | extra
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names <= pins


def test_the_context_of_the_build_has_what_is_copied() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    tops = {name.partition("/")[0] for name in copied()}
    assert let_in == {*tops, "constraints.txt", "services", "telemetry"}


def test_the_labs_own_image_installs_what_the_observer_loads() -> None:
    code = (
        "import sys, aiopslab.observer.__main__, kubernetes.config, kubernetes.client, asyncpg\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    known, installed = packages_distributions(), closure(wanted("telemetry"))
    missing = {
        top
        for top in loaded
        if top in known and not installed & {canonicalize_name(d) for d in known[top]}
    }
    # What starlette and anyio import where it happens to be, and what is no library.
    optional = {"python_multipart", "sniffio"}
    assert missing <= optional | {"aiopslab", "_distutils_hack", "sitecustomize"}
    pins = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {canonicalize_name(name) for name in wanted("telemetry")} <= pins
    assert not {"pandas", "duckdb", "langchain", "openai", "rich", "mcp"} & loaded


def test_a_service_starts_without_what_it_does_not_need() -> None:
    code = "import sys, aiopslab.services.__main__; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & set(HEAVY)

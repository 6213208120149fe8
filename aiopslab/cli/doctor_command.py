"""``aiopslab doctor``: is everything needed there, and what to type if not."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from aiopslab.cli import output


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; ``needed_for`` says who misses it."""

    what: str
    ok: bool
    detail: str
    needed_for: str
    fix: str = ""


def command(*, json: bool = False) -> int:
    """Look whether everything needed is there.

    Args:
        json: Print one JSON document instead of a table.

    Returns:
        0 if everything that `run quickstart` needs is there, else 3.
    """
    findings = [_python(), _fork(), _content(), *_packages(), _key(), _cores()]
    if json:
        output.envelope("aiopslab/doctor@1", [asdict(f) for f in findings])
    else:
        rows = [
            ["ok" if f.ok else "missing", f.what, f.detail, f.needed_for, "" if f.ok else f.fix]
            for f in findings
        ]
        output.table(["", "what", "found", "needed for", "to type"], rows)
    return 0 if all(f.ok for f in findings if f.needed_for == "everything") else 3


def _python() -> Finding:
    import platform
    import sys

    found = platform.python_version()
    return Finding("Python 3.11+", sys.version_info >= (3, 11), found, "everything", "python3.11")


def _fork() -> Finding:
    import os

    ok = hasattr(os, "fork")
    detail = "trials start from a warm world" if ok else "trials start cold, same results"
    return Finding("os.fork", ok, detail, "speed")


def _content() -> Finding:
    from aiopslab.errors import UsageError
    from aiopslab.problems import catalogue

    try:
        count = len(catalogue.incidents())
    except UsageError as error:
        return Finding("content", False, str(error), "everything", error.hint)
    return Finding("content", count > 0, f"{count} incidents", "everything", "AIOPSLAB_CONTENT=DIR")


def _packages() -> list[Finding]:
    wanted = {
        "duckdb": ("everything", "pip install duckdb"),
        "promql-parser": ("everything", "pip install promql-parser"),
        "langchain-openai": ("agent react", "pip install 'aiopslab[react]'"),
    }
    return [_package(name, needed_for, fix) for name, (needed_for, fix) in wanted.items()]


def _package(name: str, needed_for: str, fix: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(name, True, version(name), needed_for, fix)
    except PackageNotFoundError:
        return Finding(name, False, "not installed", needed_for, fix)


def _key() -> Finding:
    import os

    ok = bool(os.environ.get("OPENAI_API_KEY"))
    detail = "set" if ok else "not set"
    return Finding("OPENAI_API_KEY", ok, detail, "agent react", "export OPENAI_API_KEY=...")


def _cores() -> Finding:
    import os

    count = os.cpu_count() or 1
    return Finding("cores", True, f"{count}; run -n {count} uses them", "speed")

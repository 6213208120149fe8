"""``aiopslab doctor``: is everything needed there, and what to type if not."""

from __future__ import annotations

from dataclasses import asdict

from aiopslab.cli import output
from aiopslab.cli.on_cluster import names
from aiopslab.environments.host_checks import Finding


def command(
    *,
    context: str = "",
    kubeconfig: str = "",
    allow_production: bool = False,
    registry: str = "",
    json: bool = False,
) -> int:
    """Look whether everything needed is there.

    Args:
        context: Look at this context's cluster too: server, version, rights, images. Several: A,B.
        kubeconfig: Path of the kubeconfig. Default: KUBECONFIG, then ~/.kube/config.
        allow_production: Look at a context all the same whose name looks like production.
        registry: What stands before the names of our images, as in -E registry=.
        json: Print one JSON document instead of a table.

    Returns:
        0 if everything is there that `run quickstart` needs, and what any run needs of the
        clusters that were named, else 3. Which images are needed depends on the run.
    """
    from aiopslab.environments import host_checks
    from aiopslab.environments.cluster.checks import KUBECONFIG, checks

    findings = [_python(), _fork(), _content(), *_packages(), _key(), _cores()]
    findings += [*host_checks.checks(), *_images(registry)]
    # A cluster is asked only by its owner's wish.
    contexts = names(context, "--context") or (("",) if kubeconfig else ())
    for name in contexts:
        findings += checks(kubeconfig, name, allow_production=allow_production, registry=registry)
    needed = {"everything", KUBECONFIG} if contexts else {"everything"}
    if json:
        output.envelope("aiopslab/doctor@1", [asdict(f) for f in findings])
    else:
        output.table(["", "what", "found", "needed for", "to type"], list(map(_row, findings)))
    return 0 if all(f.ok for f in findings if f.needed_for in needed) else 3


def _row(f: Finding) -> list[str]:
    return ["ok" if f.ok else "missing", f.what, f.detail, f.needed_for, "" if f.ok else f.fix]


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
        "openai": ("agent openai-tools", "pip install 'aiopslab[openai]'"),
        "kubernetes": ("-e kind, -e kubeconfig", "pip install 'aiopslab[kind]'"),
    }
    return [_package(name, needed_for, fix) for name, (needed_for, fix) in wanted.items()]


def _package(name: str, needed_for: str, fix: str) -> Finding:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return Finding(name, True, version(name), needed_for, fix)
    except PackageNotFoundError:
        return Finding(name, False, "not installed", needed_for, fix)


def _images(registry: str) -> list[Finding]:
    from aiopslab.environments import host_checks, image_checks
    from aiopslab.errors import UsageError

    try:
        return image_checks.of_engine(image_checks.needed(registry))
    except UsageError as error:
        return [Finding("images", False, str(error), host_checks.KIND, error.hint)]


def _key() -> Finding:
    import os

    ok = bool(os.environ.get("OPENAI_API_KEY"))
    detail = "set" if ok else "not set"
    return Finding(
        "OPENAI_API_KEY", ok, detail, "agents react, openai-tools", "export OPENAI_API_KEY=..."
    )


def _cores() -> Finding:
    import os

    count = os.cpu_count() or 1
    return Finding("cores", True, f"{count}; run -n {count} uses them", "speed")

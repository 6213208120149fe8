"""``aiopslab show``: one thing in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiopslab.cli import output


def command(
    name: str, /, *, json: bool = False, manifests: bool = False, runs_dir: Path = Path("runs")
) -> None:
    """Show one incident, problem, suite, agent, app or run.

    Args:
        name: Name of an incident, problem, suite, agent or app; or a run's directory.
        json: Print one JSON document.
        manifests: For an app: print the Kubernetes objects that are applied, as YAML.
        runs_dir: Where runs are kept.
    """
    for find in (_run, _suite, _incident, _app, _agent):
        found = find(name, runs_dir)
        if found is None:
            continue
        kind, data = found
        if kind == "app" and manifests:
            _print_manifests(name)
        elif json:
            output.envelope(f"aiopslab/{kind}@1", data)
        elif kind == "run":
            _print_run(Path(data["directory"]))
        else:
            _print(kind, data)
        return
    _unknown(name)


def _unknown(name: str) -> None:
    from aiopslab.agents import loading
    from aiopslab.content import near
    from aiopslab.errors import UsageError
    from aiopslab.problems import catalogue
    from aiopslab.services import catalogue as apps

    known = [*catalogue.incidents(), *catalogue.suites(), *apps.app_names()]
    known += [s.name for s in loading.known()]
    if "/" in name:
        raise UsageError(f"no run at {name!r}", hint="aiopslab list runs")
    raise UsageError(f"nothing is called {name!r}", hint=near(name, known) or "aiopslab list")


Found = tuple[str, dict[str, Any]] | None


def _run(name: str, runs_dir: Path) -> Found:
    from aiopslab.orchestrator.records import RunDirectory

    for directory in (Path(name), runs_dir / name):
        if (directory / "run.json").is_file():
            record = RunDirectory(directory).record()
            dumped = record.model_dump(mode="json", by_alias=True)
            return "run", {"directory": str(directory), **dumped}
    return None


def _suite(name: str, _: Path) -> Found:
    from aiopslab.problems import catalogue

    suite = catalogue.load_suite(name)
    if suite is None:
        return None
    names = catalogue.suite_incidents(suite)
    return "suite", {**suite.model_dump(mode="json", by_alias=True), "incidents": names}


def _incident(name: str, _: Path) -> Found:
    from aiopslab.models.task import TASKS
    from aiopslab.problems import catalogue

    for task in TASKS:
        name = name.removesuffix(f"-{task}")
    if name not in catalogue.incidents() and not name.endswith((".yaml", ".yml")):
        return None
    return "incident", catalogue.load_incident(name).model_dump(mode="json", by_alias=True)


def _app(name: str, _: Path) -> Found:
    from aiopslab.services import catalogue

    if name not in catalogue.app_names():
        return None
    return "app", catalogue.load_app(name).model_dump(mode="json", by_alias=True)


def _agent(name: str, _: Path) -> Found:
    from aiopslab.agents import loading

    for spec in loading.known():
        if spec.name == name:
            return "agent", spec.model_dump(mode="json", by_alias=True)
    return None


def _print(kind: str, data: dict[str, Any]) -> None:
    import yaml

    if kind == "app":
        data = {k: data[k] for k in ("name", "title", "summary", "namespace", "slos", "intent")} | {
            "services": {n: s["summary"] for n, s in data["services"].items()},
            "stores": {n: s["summary"] for n, s in data["stores"].items()},
            "journeys": {n: f"{j['rate']}/s" for n, j in data["journeys"].items()},
        }
    shown = _stated(data)
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=100).rstrip())


def _stated(value: Any) -> Any:
    """Leave out what nobody stated."""
    if isinstance(value, dict):
        return {k: _stated(v) for k, v in value.items() if v not in (None, {}, "")}
    return [_stated(v) for v in value] if isinstance(value, list) else value


def _print_run(directory: Path) -> None:
    """Print what was scored and how every trial ended."""
    from aiopslab.orchestrator.records import RunDirectory
    from aiopslab.orchestrator.results import summarise
    from aiopslab.report import task_figures, terminal

    run = RunDirectory(directory)
    record = run.record()
    results = summarise(run, record)
    output.scores(results)
    trials = [(p, t.trial() if (t := run.trial(p)).complete else None) for p in record.trials]
    wall = task_figures.wall([t for _, t in trials if t is not None])
    for shown in (task_figures.figures(results), task_figures.process(results, wall)):
        if shown.rows:
            print()
            output.table(shown.columns, shown.rows)
    print()
    output.table(*terminal.trial_rows(trials))
    for line in terminal.footing(results, record, directory, shown=True):
        print(line)


def _print_manifests(name: str) -> None:
    import yaml

    from aiopslab.services import catalogue, manifests

    print(yaml.safe_dump_all(manifests.manifests(catalogue.load_app(name), 0), sort_keys=False))

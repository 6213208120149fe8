"""``aiopslab list``: what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from aiopslab.cli import output
from aiopslab.errors import UsageError

What = Literal["problems", "incidents", "suites", "agents", "apps", "causes", "runs"]
Listing = tuple[list[str], list[list[Any]]]


def command(
    what: What = "problems",
    /,
    *,
    json: bool = False,
    suite: str | None = None,
    runs_dir: Path = Path("runs"),
) -> None:
    """List what there is.

    Args:
        what: problems, incidents, suites, agents, apps, causes or runs.
        json: Print one JSON document instead of a table.
        suite: Only the incidents of this suite; with incidents.
        runs_dir: Where runs are kept.
    """
    if suite is not None and what != "incidents":
        raise UsageError(f"--suite does not go with {what!r}", hint="aiopslab list incidents")
    if what == "incidents":
        _incidents(suite, json=json)
        return
    columns, rows = _runs(runs_dir) if what == "runs" else _LISTINGS[what]()
    if json:
        data = [dict(zip(columns, row, strict=True)) for row in rows]
        output.envelope(f"aiopslab/{what}@1", data)
    else:
        output.table(columns, rows)
        if what == "runs" and not rows:
            output.note(f"no runs in {str(runs_dir)!r}")


def _incidents(suite: str | None, *, json: bool) -> None:
    """List incidents, and count them."""
    from aiopslab.problems import catalogue, census
    from aiopslab.problems.playable import obstacles, playing

    chosen = catalogue.of_suite(suite) if suite else list(catalogue.incidents().values())
    counts = census.census(chosen).model_dump(mode="json")
    columns = ["incident", "app", "families", "hops", "tags", "environments", "title"]
    rows = [
        [s.name, s.app, ", ".join(census.families(s)), s.difficulty.hops, ", ".join(s.tags),
         ", ".join(playing(s)), s.title]
        for s in chosen
    ]  # fmt: skip
    if json:
        data = [
            dict(zip(columns, row, strict=True))
            | {"environments": playing(spec), "not_on_kind": obstacles(spec, "kind")}
            for spec, row in zip(chosen, rows, strict=True)
        ]
        output.envelope("aiopslab/incidents@2", {"incidents": data, "counts": counts})
        return
    output.table(columns, rows)
    print()
    for name, count in counts.items():
        said = ", ".join(f"{k} {n}" for k, n in count.items()) if isinstance(count, dict) else count
        print(f"{name.replace('_', ' ')}: {said}")


def _problems() -> Listing:
    from aiopslab.problems import catalogue

    rows = [
        [p.id, p.task, spec.app, spec.difficulty.hops, ", ".join(spec.tags)]
        for spec in catalogue.incidents().values()
        for p in catalogue.problems_of(spec)
    ]
    return ["problem", "task", "app", "hops", "tags"], rows


def _suites() -> Listing:
    from aiopslab.problems import catalogue

    rows = []
    for ref, suite in catalogue.suites().items():
        names = catalogue.suite_incidents(suite)
        problems = sum(
            p.task in suite.tasks
            for n in names
            for p in catalogue.problems_of(catalogue.load_incident(n))
        )
        rows.append([ref, len(names), problems, suite.title])
    return ["suite", "incidents", "problems", "title"], rows


def _agents() -> Listing:
    from aiopslab.agents import loading

    rows = [[s.name, s.version, s.summary] for s in loading.known()]
    return ["agent", "version", "summary"], rows


def _apps() -> Listing:
    from aiopslab.services import catalogue

    rows = []
    for name in catalogue.app_names():
        app = catalogue.load_app(name)
        rows.append([name, len(app.services), len(app.stores), len(app.journeys), app.title])
    return ["app", "services", "stores", "journeys", "title"], rows


def _causes() -> Listing:
    from aiopslab.tools import vocabulary

    rows = [[c.id, c.family, c.definition] for c in vocabulary.causes().values()]
    return ["cause", "family", "definition"], rows


def _runs(runs_dir: Path) -> Listing:
    from aiopslab.orchestrator.records import RunDirectory

    rows: list[list[Any]] = []
    for path in sorted(runs_dir.glob("*/run.json"), reverse=True):
        run = RunDirectory(path.parent)
        try:
            record = run.record()
        except UsageError:
            # One that is broken, or of another version, must not hide the others.
            rows.append([path.parent.name, "unreadable", None, None])
            continue
        done = sum(run.trial(plan).complete for plan in record.trials)
        rows.append(
            [path.parent.name, record.status, f"{done}/{len(record.trials)}", record.config.agent]
        )
    return ["run", "status", "trials", "agent"], rows


_LISTINGS: dict[str, Callable[[], Listing]] = {
    "problems": _problems,
    "suites": _suites,
    "agents": _agents,
    "apps": _apps,
    "causes": _causes,
}

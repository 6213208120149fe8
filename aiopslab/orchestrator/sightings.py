"""Play training incidents up to their hand-over and note what on-call people would have seen.

For each draw: strike, wait for the gate, look at alerts, events and journeys. No agent, no record,
no repair. What is seen goes into a journal at once and is not played again unless the incident's
file changed. Needs worlds that fork. Neighbours: ``margins``, which measures the same way. Not
here: which draws (``problems.training``), what is made of them (``problems.memory``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError, PreflightError
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.past_incident import PastIncident
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.sighting import SeenAlert, SeenEvent, SeenJourney, Sighting
from aiopslab.models.signal import Alert
from aiopslab.orchestrator import documents, lock, staging
from aiopslab.orchestrator.bench import Bench, Job, Warm
from aiopslab.orchestrator.fork import Channel
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.progress import OnProgress, Progress
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.problems.draw import DrawnIncident
from aiopslab.problems.selectors import components

AGENT = "(sightings)"
"""Name under which a run asks for this in place of trials."""
EVENT = "sighting"
"""Event with what was seen: ``incident``, ``attempt``, ``found``."""
OVER_S = 120.0
"""Window of the journeys' SLIs."""
DIGITS = 4
_LABELS = ("service", "deployment", "statefulset", "workload", "node", "pod", "consumer")


async def see(
    draws: Sequence[tuple[IncidentSpec, int]],
    *,
    out: Path,
    hosts: int,
    progress: OnProgress | None = None,
) -> list[Sighting]:
    """Play what is not yet in the journal; rows of other draws leave it.

    Args:
        draws: Incidents and the seeds they are drawn with.
        out: The journal, JSON lines; made where there is none.
        hosts: Processes at once.
        progress: Receives what happens.

    Returns:
        One row a draw, in the order asked for.

    Raises:
        PreflightError: The platform does not fork.
        UsageError: The file is no such journal.
    """
    if not hasattr(os, "fork"):
        raise PreflightError("sightings need forked worlds, and this platform has no fork")
    rows = Rows(out, Sighting, lambda row: (row.incident, row.seed))
    todo = [(spec, seed) for spec, seed in draws if not _known(rows, spec, seed)]
    if todo:
        await _play(todo, rows, out, hosts, progress)
    rows.keep((spec.name, seed) for spec, seed in draws)
    return [row for spec, seed in draws if (row := rows.get(spec.name, seed)) is not None]


def _known(rows: Rows[Sighting], spec: IncidentSpec, seed: int) -> bool:
    row = rows.get(spec.name, seed)
    return row is not None and row.error is None and row.digest == lock.of_incident(spec)


async def _play(
    todo: Sequence[tuple[IncidentSpec, int]],
    rows: Rows[Sighting],
    out: Path,
    hosts: int,
    progress: OnProgress | None,
) -> None:
    base = min(seed for _, seed in todo)
    specs = {spec.name: spec for spec, _ in todo}
    left = {(spec.name, seed) for spec, seed in todo}
    config = RunConfig(targets=["sightings"], agent=AGENT, seed=base)

    def note(name: str, seed: int, found: dict[str, Any]) -> None:
        row = Sighting(incident=name, seed=seed, digest=lock.of_incident(specs[name]), **found)
        rows.add(row)
        left.discard((name, seed))
        if progress is not None:
            progress(
                Progress(
                    "trial_finished", out, len(todo), len(todo) - len(left),
                    trial=f"{name} seed {seed}",
                    outcome="passed" if row.shown else "failed", error=row.error or row.unseen,
                )
            )  # fmt: skip

    def hear(message: dict[str, Any]) -> None:
        if message.get("event") == EVENT:
            note(message["incident"], base + message["attempt"] - 1, message["found"])

    with tempfile.TemporaryDirectory(prefix="aiopslab-sightings-") as scratch:
        run = RunDirectory(Path(scratch))
        run.open()
        jobs = plan_jobs(find_lab(config.environment), config, _planned(todo, base))
        await Pool(run, config, hear).work(jobs, hosts)
    for name, seed in sorted(left):
        note(name, seed, {"error": "the process that played it ended"})


def _planned(todo: Sequence[tuple[IncidentSpec, int]], base: int) -> list[PlannedTrial]:
    return [
        PlannedTrial(
            problem=f"{spec.name}:sighting",
            incident=spec.name,
            task="detection",
            attempt=seed - base + 1,
        )
        for spec, seed in todo
    ]


# -- in a host process ----------------------------------------------------------------------------


def work(bench: Bench, job: Job, channel: Channel, lifeline: int) -> None:
    """Play one draw and tell what was seen, come what may."""

    def tell(channel: Channel, found: dict[str, Any]) -> None:
        about = {"incident": job.incident, "attempt": job.attempt}
        channel.send({"event": EVENT, **about, "found": found})

    def body(warm: Warm, drawn: DrawnIncident, channel: Channel) -> None:
        try:
            tell(channel, bench.lab.drive(warm.env, _seen(bench.led(warm, drawn))))
        except InfraError as failure:
            why = "unseen" if failure.stage == "symptom" else "error"
            tell(channel, {why: str(failure)})

    try:
        bench.share(job, body, channel, lifeline)
    except InfraError as failure:
        tell(channel, {"error": str(failure)})


async def _seen(led: staging.Led) -> dict[str, Any]:
    started = led.env.now()
    await staging.strike(led, twin=False)
    seen = await look(led.env, started)
    return seen.model_dump(mode="json", exclude={"incident", "seed", "digest"})


async def look(env: Environment, started: float) -> Sighting:
    """Look at what shows at this instant of an incident that began at ``started``."""
    now = env.now()
    alerts = [
        SeenAlert(
            name=alert.name, firing=alert.state == "firing", severity=alert.severity,
            component=_component(env, alert), summary=alert.annotations.get("summary", ""),
        )
        for alert in await env.telemetry.alerts()
        if alert.state != "resolved"
    ]  # fmt: skip
    journeys = [
        SeenJourney(
            journey=window.journey,
            success=round(window.succeeded / window.offered, DIGITS) if window.offered else None,
            p95_ms=None if window.p95_ms is None else round(window.p95_ms, 1),
            promised_success=window.slo_success, promised_p95_ms=window.slo_p95_ms,
        )
        for window in await env.traffic.slis(now - OVER_S, now)
        if not window.met
    ]  # fmt: skip
    return Sighting(
        incident="", seed=0, digest="", lasted_s=round(now - started, 3),
        alerts=alerts, events=await _events(env, started), journeys=journeys,
    )  # fmt: skip


async def _events(env: Environment, started: float) -> list[SeenEvent]:
    """Count the warnings since the start by reason and component."""
    counts: dict[tuple[str, str], int] = {}
    for event in await env.telemetry.events(
        namespace=env.namespace, warnings_only=True, since=started
    ):
        key = (event.reason, owner(components(env.app), event.name))
        counts[key] = counts.get(key, 0) + event.count
    return [
        SeenEvent(reason=reason, component=component, count=n)
        for (reason, component), n in sorted(counts.items(), key=lambda e: (-e[1], e[0]))
    ]


def _component(env: Environment, alert: Alert) -> str:
    named = [alert.labels[label] for label in _LABELS if alert.labels.get(label)]
    return owner(components(env.app), named[0]) if named else ""


def owner(names: Iterable[str], object_name: str) -> str:
    """Return the component an object's name begins with, the longest; else the name itself."""
    fits = [n for n in names if object_name == n or object_name.startswith(f"{n}-")]
    return max(fits, key=len, default=object_name)


def publish(records: Iterable[PastIncident], home: Path) -> dict[str, int]:
    """Write records to a file an app, and take away files of other apps.

    Returns:
        How many each app has.
    """
    by_app: dict[str, list[PastIncident]] = {}
    for record in records:
        by_app.setdefault(record.app, []).append(record)
    home.mkdir(parents=True, exist_ok=True)
    for path in home.glob("*.jsonl"):
        if path.stem not in by_app:
            path.unlink()
    for app, ours in sorted(by_app.items()):
        documents.write_journal(home / f"{app}.jsonl", ours)
    return {app: len(ours) for app, ours in sorted(by_app.items())}

"""Measure how far incidents and their twins are from their symptom gates, over many seeds.

For each incident and seed: strike, wait for the gate, go on to hand-over; then, from the same
instant, the twin for as long. No agent, no record, no telemetry file: that is what makes twenty
seeds of a catalogue affordable. What is measured goes into a journal at once, and what is there
already is not measured again, so that it can be done in parts. Needs worlds that fork.
Not here: what a catalogue may fail (``grading.margins``), the proofs (``soundness``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError, PreflightError
from aiopslab.grading import margins as grading
from aiopslab.models.base import Model
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.margin import Margin, Reading
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator import documents, lock
from aiopslab.orchestrator.bench import Bench, Job, Warm
from aiopslab.orchestrator.fork import Channel
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.progress import OnProgress, Progress
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.rows import Rows
from aiopslab.orchestrator.soundness import Target, asked
from aiopslab.orchestrator.staging import Led, Staged
from aiopslab.problems import stage
from aiopslab.problems.draw import DrawnIncident

AGENT = "(margins)"
"""Name under which a run asks for this in place of trials."""
EVENT = "margin"
"""Event with what was found: ``incident``, ``attempt``, ``found``."""
DIGITS = 4


class Struck(Model):
    """The side with the fault."""

    opened_s: float | None
    seen: str
    lasted_s: float
    """Seconds from the incident's start to hand-over, or to where the gate was given up."""
    readings: list[Reading] = Field(default_factory=list)


# -- in the calling process -----------------------------------------------------------------------


async def measure(
    targets: Sequence[str],
    *,
    seeds: Sequence[int],
    out: Path,
    hosts: int,
    progress: OnProgress | None = None,
) -> list[Margin]:
    """Measure what is not yet in the journal.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident. Those that break
            nothing have no gate and are left out.
        seeds: What each is drawn with.
        out: The journal, JSON lines; made where there is none. Rows of others stay in it.
        hosts: Processes at once.
        progress: Receives what happens.

    Returns:
        One row an incident and seed that were asked for, measured now or before.

    Raises:
        UsageError: A target is unknown, or the journal is none.
        PreflightError: The platform does not fork.
    """
    if not hasattr(os, "fork"):
        raise PreflightError("margins are measured in forked worlds, and this platform has no fork")
    found = [t for t in asked(targets) if t.spec.symptom is not None]
    rows = Rows(out, Margin, lambda row: (row.incident, row.seed))
    work = _Work(found, seeds, out, rows, progress)
    try:
        await work.carry_out(hosts)
    finally:
        rows.tidy()
    return work.asked_for()


class _Work:
    """What is known, and what is still to be measured."""

    def __init__(
        self,
        targets: Sequence[Target],
        seeds: Sequence[int],
        out: Path,
        rows: Rows[Margin],
        progress: OnProgress | None,
    ) -> None:
        self._targets = {t.asked: t.spec for t in targets}
        self._seeds = seeds
        self._base = min(seeds)
        self._out = out
        self._progress = progress
        self._rows = rows
        self._todo = {
            (name, seed)
            for name, spec in self._targets.items()
            for seed in seeds
            if not self._known(spec, seed)
        }
        self._planned = len(self._todo)

    def _known(self, spec: IncidentSpec, seed: int) -> bool:
        row = self._rows.get(spec.name, seed)
        return row is not None and row.error is None and row.digest == lock.of_incident(spec)

    async def carry_out(self, hosts: int) -> None:
        """Measure; a row of which nothing was heard says so."""
        config = RunConfig(targets=["margins"], agent=AGENT, seed=self._base)
        trials = [
            PlannedTrial(
                problem=f"{self._targets[name].name}:margin",
                incident=name,
                task="detection",
                attempt=seed - self._base + 1,
            )
            for name, seed in sorted(self._todo)
        ]
        with tempfile.TemporaryDirectory(prefix="aiopslab-margins-") as scratch:
            run = RunDirectory(Path(scratch))
            run.open()
            jobs = plan_jobs(find_lab(config.environment), config, trials)
            await Pool(run, config, self._hear).work(jobs, hosts)
        for name, seed in sorted(self._todo):
            self._note(name, seed, {"error": "the process that measured it ended"})

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("event") == EVENT:
            seed = self._base + message["attempt"] - 1
            self._note(message["incident"], seed, message["found"])

    def _note(self, name: str, seed: int, found: dict[str, Any]) -> None:
        spec = self._targets[name]
        every = spec.symptom is not None and bool(spec.symptom.all)
        digest = lock.of_incident(spec)
        row = Margin(incident=spec.name, seed=seed, digest=digest, every=every, **found)
        self._todo.discard((name, seed))
        self._rows.add(row)
        if self._progress is not None:
            self._progress(
                Progress(
                    "trial_finished",
                    self._out,
                    self._planned,
                    self._planned - len(self._todo),
                    trial=f"{spec.name} seed {seed}",
                    outcome="failed" if row.failed else "passed",
                    error=grading.reason(row) or None,
                )
            )

    def asked_for(self) -> list[Margin]:
        """Return the rows that were asked for."""
        keys = sorted((spec.name, seed) for spec in self._targets.values() for seed in self._seeds)
        return [row for key in keys if (row := self._rows.get(*key)) is not None]


# -- in a host process ----------------------------------------------------------------------------


def nobody(staged: Staged, plan: PlannedTrial) -> Never:
    """Stand where agents are made: none plays here."""
    raise InfraError("agent", "margins are measured without an agent")


def work(bench: Bench, job: Job, channel: Channel, lifeline: int) -> None:
    """Measure one incident with one seed and tell what was found, come what may."""

    def tell(channel: Channel, found: dict[str, Any]) -> None:
        about = {"incident": job.incident, "attempt": job.attempt}
        channel.send({"event": EVENT, **about, "found": found})

    def body(warm: Warm, drawn: DrawnIncident, channel: Channel) -> None:
        try:
            tell(channel, _both(bench, bench.led(warm, drawn), channel, lifeline))
        except InfraError as failure:
            tell(channel, {"error": str(failure)})

    try:
        bench.share(job, body, channel, lifeline)
    except InfraError as failure:
        tell(channel, {"error": str(failure)})


def _both(bench: Bench, led: Led, channel: Channel, lifeline: int) -> dict[str, Any]:
    """Measure the faulty side in a copy, then the twin here: this process is a copy too."""
    path = bench.run.path / f"{os.getpid()}.json"

    def faulty(_: Channel) -> None:
        documents.write(path, bench.lab.drive(led.env, struck(led)))

    ended = bench.copy(faulty, channel, lifeline)
    if not path.is_file():
        return {"error": ended.reason}
    side = documents.read(path, Struck)
    found: dict[str, Any] = {"opened_s": side.opened_s, "seen": side.seen}
    if side.opened_s is None:
        return found
    seen, twin = bench.lab.drive(led.env, beside(led, side.lasted_s))
    found["faulty"] = [r.model_dump(mode="json") for r in side.readings]
    found["twin"] = [r.model_dump(mode="json") for r in twin]
    return {**found, "twin_seen": seen}


async def struck(led: Led) -> Struck:
    """Break it and wait for the gate, up to hand-over."""
    env, drawn = led.env, led.drawn
    started = env.now()
    await stage.strike(env, drawn, twin=False)
    try:
        opened = await stage.await_symptom(env, drawn, started=started, twin=False)
    except InfraError as failure:
        if failure.stage != "symptom":
            raise
        return Struck(opened_s=None, seen=failure.message, lasted_s=env.now() - started)
    at, seen = opened or (env.now(), "")
    lasted = env.now() - started
    readings = await _readings(env, drawn)
    return Struck(opened_s=round(at - started, 3), seen=seen, lasted_s=lasted, readings=readings)


async def beside(led: Led, lasts_s: float) -> tuple[str, list[Reading]]:
    """Let the twin go on for as long; return how its gate was seen open, and its SLIs."""
    env, drawn = led.env, led.drawn
    end = env.now() + lasts_s
    await stage.strike(env, drawn, twin=True)
    clauses = drawn.spec.symptom.clauses if drawn.spec.symptom else []
    seen = ""
    while env.now() < end:
        await env.advance(min(stage.POLL_S, end - env.now()))
        for clause in clauses:
            seen = seen or await stage.holds(env, clause)
    return seen, await _readings(env, drawn)


async def _readings(env: Environment, drawn: DrawnIncident) -> list[Reading]:
    found: list[Reading] = []
    for clause in drawn.spec.symptom.clauses if drawn.spec.symptom else []:
        if clause.sli is not None:
            found += await stage.readings(env, clause.sli)
    return [
        r if r.seen is None else r.model_copy(update={"seen": round(r.seen, DIGITS)}) for r in found
    ]

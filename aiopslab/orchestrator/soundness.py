"""``check``: prove incidents sound by carrying out their proofs and reading the records.

For each incident: the twin is healthy and no alert fires; with the fault the symptom gate opens
and doing nothing fails; the reference fix passes; known cheats fail; nothing readable names the
fault; it can be undone; two processes with one seed write identical records.

Two *sides* of host processes share the proofs of each incident, so the second record that
``repeat`` needs costs one short trial, not a second pass. Not here: what each proof plays
(``proofs``), what its record says (``verdicts``).
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiopslab.errors import UsageError
from aiopslab.models.base import Model
from aiopslab.models.incident import IncidentSpec
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.orchestrator import proofs, verdicts
from aiopslab.orchestrator.bench import MEASURED
from aiopslab.orchestrator.lab import find_lab
from aiopslab.orchestrator.plan import plan_jobs, spread
from aiopslab.orchestrator.pool import Pool
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.run import OnProgress, Progress
from aiopslab.orchestrator.verdicts import Cost as Cost
from aiopslab.orchestrator.verdicts import Proof as Proof
from aiopslab.orchestrator.verdicts import Verdict as Verdict
from aiopslab.problems import catalogue

SIDES = ("first", "second")


async def check(
    targets: Sequence[str],
    *,
    seed: int,
    hosts: int,
    keep: Path | None = None,
    progress: OnProgress | None = None,
) -> list[Verdict]:
    """Prove incidents sound.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident.
        seed: Draws targets, parameters and traffic.
        hosts: Processes at once.
        keep: A new directory for the records; None throws them away.
        progress: Receives what happens.

    Returns:
        One verdict an incident, in the order asked.

    Raises:
        UsageError: A target is unknown, or ``keep`` exists.
    """
    found = asked(targets)
    with _directory(keep) as scratch:
        runs = (RunDirectory(scratch / SIDES[0]), RunDirectory(scratch / SIDES[1]))
        told = _Telling(scratch, progress)
        await _prove(found, runs, seed, hosts, told)
        return [_verdict(t, runs, seed, told) for t in found]


class Target(Model):
    """An incident and how it was asked for: by name or by path."""

    spec: IncidentSpec
    asked: str


def asked(targets: Sequence[str]) -> list[Target]:
    """Find the incidents that were asked for, each once.

    Raises:
        UsageError: One is unknown, or two have the same name.
    """
    if not targets:
        return [Target(spec=s, asked=n) for n, s in catalogue.incidents().items()]
    names: dict[str, None] = {}
    for problem in catalogue.expand(targets)[1]:
        names.setdefault(problem.incident)
    found = [Target(spec=catalogue.load_incident(n), asked=n) for n in names]
    if len({t.spec.name for t in found}) != len(found):
        raise UsageError("two of the incidents have the same name")
    return found


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="aiopslab-check-") as scratch:
            yield Path(scratch)
        return
    try:
        keep.mkdir(parents=True)
    except FileExistsError as error:
        raise UsageError(f"{str(keep)!r} exists", hint="name a new directory") from error
    yield keep


def _at(plan: PlannedTrial, target: Target) -> PlannedTrial:
    """Point a trial at the incident as it was asked for."""
    return plan.model_copy(update={"incident": target.asked})


async def _prove(
    targets: Sequence[Target],
    runs: tuple[RunDirectory, RunDirectory],
    seed: int,
    hosts: int,
    told: _Telling,
) -> None:
    """Carry out the proofs: both sides at once, or one after the other on a single host."""
    sides: tuple[list[PlannedTrial], list[PlannedTrial]] = ([], [])
    for target in targets:
        for side, trials in zip(sides, proofs.planned(target.spec), strict=True):
            side += [_at(p, target) for p in trials]
    told.planned += sum(map(len, sides))
    work = [
        _carry_out(run, trials, seed, n, told)
        for run, trials, n in zip(runs, sides, _shares(hosts), strict=True)
    ]
    if hosts == 1:
        for one in work:
            await one
        return
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)


def _shares(hosts: int) -> tuple[int, int]:
    """Divide hosts among the sides; a single one serves one side after the other."""
    second = max(1, hosts // 2)
    return max(1, hosts - second), second


class _Telling:
    """Turns events of hosts into progress over both sides, and adds up what incidents cost."""

    def __init__(self, path: Path, progress: OnProgress | None) -> None:
        self._path = path
        self.planned = 0
        self._done = 0
        self._progress = progress
        self.costs: dict[str, Cost] = {}

    def hear(self, message: dict[str, Any]) -> None:
        kind = message.get("event")
        if kind == MEASURED:
            so_far = self.costs.get(message["incident"], Cost())
            more = Cost(wall_s=message["wall_s"], cpu_s=message["cpu_s"])
            self.costs[message["incident"]] = so_far.plus(more)
        self._done += kind == "trial_finished"
        if self._progress is None or kind not in ("trial_started", "step", "trial_finished"):
            return
        fields = {k: v for k, v in message.items() if k != "event"}
        if fields.get("outcome") in ("passed", "failed"):
            # Whether a proof holds is judged at the end; for many, failing is what must happen.
            fields["outcome"] = "done"
        done, planned = self._done, self.planned
        told = {"kind": kind, "directory": self._path, "planned": planned, "done": done}
        self._progress(Progress(**told, **fields))


async def _carry_out(
    run: RunDirectory, trials: list[PlannedTrial], seed: int, hosts: int, told: _Telling
) -> None:
    config = RunConfig(targets=["check"], agent=proofs.AGENT, seed=seed, concurrency=hosts)
    run.open()
    jobs = plan_jobs(find_lab(config.environment), config, trials)
    await Pool(run, config, told.hear).work(spread(jobs, hosts), hosts)


def _verdict(
    target: Target, runs: tuple[RunDirectory, RunDirectory], seed: int, told: _Telling
) -> Verdict:
    own = Cost(virtual_s=verdicts.virtual_seconds(target.spec, runs))
    return Verdict(
        incident=target.spec.name,
        seed=seed,
        proofs=verdicts.read(target.spec, runs),
        cost=told.costs.get(target.asked, Cost()).plus(own),
    )

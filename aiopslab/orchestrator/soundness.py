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
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from aiopslab.orchestrator.progress import OnProgress, Teller
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.verdicts import Cost as Cost
from aiopslab.orchestrator.verdicts import Proof as Proof
from aiopslab.orchestrator.verdicts import Verdict as Verdict
from aiopslab.problems import catalogue

SIDES = ("first", "second")


async def check(
    targets: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    hosts: int,
    only: Sequence[str] = (),
    keep: Path | None = None,
    progress: OnProgress | None = None,
) -> list[Verdict]:
    """Prove incidents sound.

    Args:
        targets: Incidents, suites, globs or paths; empty means every incident.
        seeds: Each draws targets, parameters and traffic, and is proven for itself.
        hosts: Processes at once.
        only: Names of proofs, for work on an incident; empty means all, and only all of them prove
            anything.
        keep: A new directory for the records; None throws them away.
        progress: Receives what happens.

    Returns:
        One verdict an incident and seed, in the order asked.

    Raises:
        UsageError: A target or proof is unknown, or ``keep`` exists.
    """
    for name in only:
        if name not in proofs.PROOFS:
            raise UsageError(f"no proof {name!r}", hint=f"there are {', '.join(proofs.PROOFS)}")
    found = asked(targets)
    with _directory(keep) as scratch:
        work = _Work(scratch, seeds, progress)
        entries = [
            _Entry(target, seed, work.planned(target, seed, only, turned=bool(n % 2)))
            for n, (target, seed) in enumerate(itertools.product(found, seeds))
        ]
        await work.carry_out([entry.sides for entry in entries], hosts)
        return [work.verdict(entry) for entry in entries]


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


@dataclass(frozen=True, slots=True)
class _Entry:
    """An incident with one seed."""

    target: Target
    seed: int
    sides: verdicts.Sides


class _Work:
    """The proofs of one ``check``: carries them out on two sides, adds up what they cost.

    Args:
        scratch: Where the records go.
        seeds: What is drawn with; attempt k of a trial is seed ``min(seeds) + k - 1``.
        progress: Receives what happens, of both sides together.
    """

    def __init__(self, scratch: Path, seeds: Sequence[int], progress: OnProgress | None) -> None:
        self._runs = (RunDirectory(scratch / SIDES[0]), RunDirectory(scratch / SIDES[1]))
        self._base = min(seeds)
        self._teller = Teller(scratch, progress)
        self._costs: dict[tuple[str, int], Cost] = {}

    def planned(
        self, target: Target, seed: int, only: Sequence[str], *, turned: bool
    ) -> verdicts.Sides:
        """Plan the proofs of an incident as it was asked for, by name or by path.

        The two shares do not cost the same: ``turned`` gives each side the other one.
        """
        plans = proofs.planned(target.spec, attempt=seed - self._base + 1, only=only)
        first, second = (
            [p.model_copy(update={"incident": target.asked}) for p in side] for side in plans
        )
        return (second, first) if turned else (first, second)

    async def carry_out(self, sides: Sequence[verdicts.Sides], hosts: int) -> None:
        """Carry out the proofs: both sides at once, or one after the other on a single host."""
        self._teller.planned = sum(len(side) for both in sides for side in both)
        second = max(1, hosts // 2)
        work = [
            self._side(run, [p for both in sides for p in both[i]], n)
            for i, (run, n) in enumerate(
                zip(self._runs, (max(1, hosts - second), second), strict=True)
            )
        ]
        if hosts == 1:
            for one in work:
                await one
            return
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)

    async def _side(self, run: RunDirectory, trials: list[PlannedTrial], hosts: int) -> None:
        config = RunConfig(targets=["check"], agent=proofs.AGENT, seed=self._base)
        run.open()
        jobs = plan_jobs(find_lab(config.environment), config, trials)
        await Pool(run, config, self._hear).work(spread(jobs, hosts), hosts)

    def verdict(self, entry: _Entry) -> Verdict:
        """Read what the records of an incident say."""
        own = Cost(virtual_s=verdicts.virtual_seconds(entry.sides, self._runs))
        shared = self._costs.get((entry.target.asked, entry.seed), Cost())
        return Verdict(
            incident=entry.target.spec.name,
            seed=entry.seed,
            proofs=verdicts.read(entry.sides, self._runs),
            cost=shared.plus(own),
        )

    def _hear(self, message: dict[str, Any]) -> None:
        if message.get("event") == MEASURED:
            key = (message["incident"], self._base + message["attempt"] - 1)
            more = Cost(wall_s=message["wall_s"], cpu_s=message["cpu_s"])
            self._costs[key] = self._costs.get(key, Cost()).plus(more)
        self._teller.hear(message)

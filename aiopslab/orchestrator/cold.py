"""Carry out jobs where worlds are not copied: from cold.

Every trial has a world of its own and gives the same result as in a copy. A patient lab, whose
worlds take minutes to be brought to a hand-over, has one world for several trials: they follow one
another on the same incident until one of them has written to it. Each has a hand-over of its own,
at which the incident must still be seen to hurt.
Not here: copies (``bench``), what a trial is (``trial``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiopslab.errors import InfraError
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import TASKS
from aiopslab.orchestrator import spans, staging
from aiopslab.orchestrator.bench import DISCARDED, ERROR, Bench, Job, Say, Side, about, side_of
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.lab_stages import await_stage
from aiopslab.orchestrator.wallclock import Stopwatch
from aiopslab.problems.draw import DrawnIncident

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Sitting:
    """Trials that follow one another on one world."""

    side: Side
    trials: list[PlannedTrial]


async def work(bench: Bench, job: Job, say: Say) -> None:
    """Carry out a job from cold; records every trial of it."""
    with spans.under(bench.trace, say, about(job)):
        watch = Stopwatch()
        try:
            drawn = bench.draw(job)
        except InfraError as failure:
            _open(bench, job.trials, say)
            bench.fail(job.trials, failure, say, watch)
            return
        left = deque(_sittings(drawn, job.trials, together=bench.lab.patient))
        while left:
            sitting = left.popleft()
            rest = await _Seat(bench, drawn, say).sit(sitting)
            if rest:
                left.appendleft(_Sitting(sitting.side, rest))


def _sittings(
    drawn: DrawnIncident, trials: Sequence[PlannedTrial], *, together: bool
) -> list[_Sitting]:
    """Say which trials follow one another: those of one side, mitigation last."""
    if not together:
        return [_Sitting(side_of(drawn, plan), [plan]) for plan in trials]
    found: dict[Side, _Sitting] = {}
    for plan in sorted(trials, key=lambda plan: TASKS.index(plan.task)):
        side = side_of(drawn, plan)
        found.setdefault(side, _Sitting(side, [])).trials.append(plan)
    return list(found.values())


def _open(bench: Bench, plans: Sequence[PlannedTrial], say: Say) -> None:
    for plan in plans:
        bench.run.trial(plan).open()
        say({"event": "trial_started", "trial": plan.directory, **bench.where})


class _Seat:
    """Where the trials of one sitting take place."""

    def __init__(self, bench: Bench, drawn: DrawnIncident, say: Say) -> None:
        self._bench = bench
        self._lab = bench.lab
        self._drawn = drawn
        self._say = say

    async def sit(self, sitting: _Sitting) -> list[PlannedTrial]:
        """Carry out a sitting; returns the trials for which the world was no longer fit."""
        watch, plans = Stopwatch(), sitting.trials
        _open(self._bench, plans[:1], self._say)
        try:
            place = await self._stage("deploy", plans[0], self._lab.place(self._drawn))
        except InfraError as failure:
            self._failed(plans, failure, watch)
            return []
        try:
            staged = await self._staged(place, sitting)
        except InfraError as failure:
            # Not so for who is called off: that host leaves, and its lab takes everything down.
            await self._released(place, None, plans[0])
            self._failed(plans, failure, watch)
            return []
        return await self._played(place, staged, plans)

    async def _played(
        self, place: Place, staged: staging.Staged, plans: Sequence[PlannedTrial]
    ) -> list[PlannedTrial]:
        """Hand over one trial after another; returns those that did not begin."""
        left = deque(plans)
        while True:
            plan = left.popleft()
            trial = await self._bench.conduct(staged, plan, self._say)
            if not left or trial.outcome == "infra_error" or self._wrote(plan):
                break
            try:
                later = await await_stage("symptom", staging.again(staged))
            except InfraError:
                # Nothing was asked of the next trial yet: it has a world of its own.
                await self._released(place, None, plan)
                return list(left)
            if later is None:
                break
            staged = later
            _open(self._bench, [left[0]], self._say)
        await self._released(place, staged, plan)
        return list(left)

    def _wrote(self, plan: PlannedTrial) -> bool:
        """Whether a trial did, or tried, anything but to look."""
        return any(step.effect == "write" for step in self._bench.run.trial(plan).steps())

    async def _staged(self, place: Place, sitting: _Sitting) -> staging.Staged:
        env, plan = place.env, sitting.trials[0]
        lead = staging.lead(env, place.drawn, passed_s=place.passed_s)
        led = await self._stage("baseline", plan, self._lab.accompany(env, lead))
        strike = self._lab.accompany(env, sitting.side.strike(led))
        return await self._stage("symptom", plan, strike)

    async def _stage(self, name: str, plan: PlannedTrial, work: Coroutine[Any, Any, T]) -> T:
        """Do what comes before a hand-over, and tell where that takes minutes."""
        if self._lab.patient:
            self._tell(name, plan)
        return await await_stage(name, work)

    def _tell(self, stage: str, plan: PlannedTrial) -> None:
        event = {"event": "stage", "trial": plan.directory, "stage": stage}
        self._say({**event, **self._bench.where})

    async def _released(
        self, place: Place, staged: staging.Staged | None, plan: PlannedTrial
    ) -> None:
        if self._lab.patient:
            self._tell("restore", plan)
        why = await self._lab.release(place.env, staged)
        if why:
            self._say({"event": DISCARDED, "trial": plan.directory, "reason": why[:ERROR]})

    def _failed(self, plans: Sequence[PlannedTrial], failure: InfraError, watch: Stopwatch) -> None:
        """Record that an incident could not be staged, for all who waited for it."""
        _open(self._bench, plans[1:], self._say)
        self._bench.fail(plans, failure, self._say, watch)

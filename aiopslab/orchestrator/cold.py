"""Carry out jobs where worlds are not copied: from cold.

Every trial has a world of its own and gives the same result as in a copy. A patient lab, whose
worlds take minutes to be brought to a hand-over, has one world for several tasks: those that only
read follow one another on the same incident, the one that writes comes last. Each has a hand-over
of its own, at which the incident must still be seen to hurt.
Not here: copies (``bench``), what a trial is (``trial``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from aiopslab.errors import InfraError
from aiopslab.models.run import PlannedTrial
from aiopslab.models.task import TASKS
from aiopslab.orchestrator import spans, staging
from aiopslab.orchestrator.bench import DISCARDED, ERROR, Bench, Job, Say, Side, about, side_of
from aiopslab.orchestrator.lab import Place
from aiopslab.orchestrator.lab_stages import await_stage
from aiopslab.orchestrator.wallclock import Stopwatch
from aiopslab.problems.draw import DrawnIncident

_WRITING = "mitigation"


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
    """Say which trials follow one another: of one side, and at most the last of them writes."""
    if not together:
        return [_Sitting(side_of(drawn, plan), [plan]) for plan in trials]
    found: list[_Sitting] = []
    open_: dict[Side, _Sitting] = {}
    for plan in sorted(trials, key=lambda plan: TASKS.index(plan.task)):
        side = side_of(drawn, plan)
        if side not in open_:
            open_[side] = _Sitting(side, [])
            found.append(open_[side])
        open_[side].trials.append(plan)
        if plan.task == _WRITING:
            del open_[side]
    return found


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
            place = await await_stage("deploy", self._lab.place(self._drawn))
        except InfraError as failure:
            self._failed(plans, failure, watch)
            return []
        try:
            staged = await self._staged(place, sitting.side)
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
            if not left or trial.outcome == "infra_error":
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

    async def _staged(self, place: Place, side: Side) -> staging.Staged:
        env = place.env
        lead = staging.lead(env, place.drawn, passed_s=place.passed_s)
        led = await await_stage("baseline", self._lab.accompany(env, lead))
        return await await_stage("symptom", self._lab.accompany(env, side.strike(led)))

    async def _released(
        self, place: Place, staged: staging.Staged | None, plan: PlannedTrial
    ) -> None:
        why = await self._lab.release(place.env, staged)
        if why:
            self._say({"event": DISCARDED, "trial": plan.directory, "reason": why[:ERROR]})

    def _failed(self, plans: Sequence[PlannedTrial], failure: InfraError, watch: Stopwatch) -> None:
        """Record that an incident could not be staged, for all who waited for it."""
        _open(self._bench, plans[1:], self._say)
        self._bench.fail(plans, failure, self._say, watch)

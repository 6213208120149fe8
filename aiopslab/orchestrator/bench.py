"""Carry out jobs on worlds: one warm world for many incidents, one incident for many tasks.

A job is one incident, drawn once, with the tasks it is asked as. Where the platform forks, the
world is booted once and copied where the incident's first event is due, at its start for the twin,
at hand-over for each task; each copy writes its own record. Jobs that come in the order of their
first events share the baseline up to there. Elsewhere, and for an agent that is an object of this
process, trials run from cold (``cold``).
Not here: who hands out jobs (``host`` and ``pool``), what a trial is (``trial``).
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pydantic import Field

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.models.base import Model
from aiopslab.models.doors import Doors
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Step, Trial
from aiopslab.orchestrator import counterfactual, fork, spans, staging, tracing
from aiopslab.orchestrator.lab import Lab
from aiopslab.orchestrator.lab_stages import run_stage
from aiopslab.orchestrator.records import RunDirectory
from aiopslab.orchestrator.results import graded
from aiopslab.orchestrator.trial import AgentSource, Assignment, conduct, failed_trial, left_trial
from aiopslab.orchestrator.wallclock import Stopwatch, cpu_seconds
from aiopslab.problems import stage
from aiopslab.problems.draw import DrawnIncident

T = TypeVar("T")
Say = Callable[[dict[str, Any]], None]
NAME, ERROR = 100, 1000
"""Characters of a tool's name and of an error in an event; agents choose both."""
CLUSTER = "cluster"
"""Key of the cluster that a trial's world is on, in its events and in its record."""
MEASURED = "job_measured"
"""Event with what a job cost: ``incident``, ``attempt``, ``wall_s``, ``cpu_s``; the warm world,
which jobs share, is nobody's cost."""
DISCARDED = "environment_discarded"
"""Event: a world that trials share was not as before after ``trial``; the next gets a new one."""
COURSE_LOST = "counterfactual_lost"
"""Event: what would have happened without the agent of ``trial`` is not known; its grade stands."""
GRACE_S = 600.0
"""Wall seconds a trial may take beyond its agent's wall limit: settling, evidence, record."""


class Job(Model):
    """One incident of one attempt, asked as some tasks."""

    incident: str
    attempt: int
    trials: list[PlannedTrial] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Warm:
    """A booted world under load, some seconds after its warm point."""

    key: Hashable
    env: Environment
    passed_s: float = 0.0


class Bench:
    """Carries out the jobs of one run in one process.

    Args:
        lab: Makes the worlds.
        config: What was asked.
        run: Where records go.
        source: Makes agents.
        trace: Where spans hang; None where nobody traces.
    """

    def __init__(
        self,
        lab: Lab,
        config: RunConfig,
        run: RunDirectory,
        source: AgentSource,
        *,
        trace: spans.TraceContext | None = None,
    ) -> None:
        self.lab = lab
        self.config = config
        self.run = run
        self.source = source
        self.trace = trace
        self._warm: Warm | None = None

    @property
    def where(self) -> Mapping[str, str]:
        """What records and events say of the place of this bench's worlds."""
        return {CLUSTER: self.lab.cluster} if self.lab.cluster else {}

    # -- forked -----------------------------------------------------------------------------------

    def work(self, job: Job, channel: fork.Channel, lifeline: int) -> None:
        """Carry out a job by forking; records every trial of it, come what may."""
        with spans.under(self.trace, channel.send, about(job)):
            self._work(job, channel, lifeline)

    def _work(self, job: Job, channel: fork.Channel, lifeline: int) -> None:
        watch = Stopwatch()
        for plan in job.trials:
            self.run.trial(plan).open()

        def incident(warm: Warm, drawn: DrawnIncident, channel: fork.Channel) -> None:
            self._incident(warm, drawn, job.trials, channel, lifeline)

        try:
            ended = self.share(job, incident, channel, lifeline)
        except InfraError as failure:
            self.fail(job.trials, failure, channel.send, watch)
            return
        left = [p for p in job.trials if not self.run.trial(p).complete]
        self.fail(left, InfraError("process", ended.reason), channel.send, watch)

    def share(
        self,
        job: Job,
        body: Callable[[Warm, DrawnIncident, fork.Channel], None],
        channel: fork.Channel,
        lifeline: int,
    ) -> fork.Ended:
        """Run a body in a copy of the world that a job shares with others; tell what it cost.

        Raises:
            InfraError: There is no such world.
        """
        drawn = self.draw(job)
        warm = self._booted(drawn)
        watch, before = Stopwatch(), cpu_seconds()
        ended = self.copy(lambda channel: body(warm, drawn, channel), channel, lifeline)
        watch.lap("wall_s")
        cost = {"wall_s": watch.laps["wall_s"], "cpu_s": round(cpu_seconds() - before, 3)}
        channel.send({"event": MEASURED, "incident": job.incident, "attempt": job.attempt, **cost})
        return ended

    def led(self, warm: Warm, drawn: DrawnIncident) -> staging.Led:
        """Bring a copy of a warm world to the incident's start.

        Raises:
            InfraError: It is not healthy there.
        """
        lead = staging.lead(warm.env, drawn, passed_s=warm.passed_s)
        return run_stage("baseline", lambda: self.lab.drive(warm.env, lead))

    def _incident(
        self,
        warm: Warm,
        drawn: DrawnIncident,
        trials: Sequence[PlannedTrial],
        channel: fork.Channel,
        lifeline: int,
    ) -> None:
        """In a copy of the warm world: up to the incident's start, then a copy for each side."""
        watch = Stopwatch()
        try:
            led = self.led(warm, drawn)
        except InfraError as failure:
            self.fail(trials, failure, channel.send, watch)
            return
        sides: dict[Side, list[PlannedTrial]] = {}
        for plan in trials:
            sides.setdefault(side_of(drawn, plan), []).append(plan)
        for side, plans in sides.items():

            def branch(
                channel: fork.Channel, side: Side = side, plans: list[PlannedTrial] = plans
            ) -> None:
                self._branch(led, plans, side, channel, lifeline)

            self._in_child(plans, branch, channel, lifeline)

    def _branch(
        self,
        led: staging.Led,
        trials: Sequence[PlannedTrial],
        side: Side,
        channel: fork.Channel,
        lifeline: int,
    ) -> None:
        """In a copy at the incident's start: up to the hand-over, then a copy for each task."""
        watch = Stopwatch()
        try:
            staged = run_stage("symptom", lambda: self.lab.drive(led.env, side.strike(led)))
        except InfraError as failure:
            self.fail(trials, failure, channel.send, watch)
            return
        wall_s = self.config.limits.wall_s
        deadline_s = None if wall_s is None else wall_s + GRACE_S
        for plan in trials:

            def trial(channel: fork.Channel, plan: PlannedTrial = plan) -> None:
                channel.send({"event": "trial_started", "trial": plan.directory})
                asyncio.run(self._conduct_watched(staged, plan, channel.send, lifeline))

            watch = Stopwatch()
            ended = self.copy(trial, channel, lifeline, deadline_s=deadline_s)
            directory = self.run.trial(plan)
            if directory.complete:
                self._without_agent(staged, plan, channel, lifeline)
                continue
            if directory.left_by_agent and (ended.timed_out or ended.by_itself):
                one, mine = staged.for_task(plan.task), self._assignment(plan)
                trial_left = left_trial(one, mine, ended, watch=watch)
                tracing.lost(plan, self.config, trial_left)
                channel.send(_finished(plan, trial_left))
            else:
                self.fail([plan], InfraError("process", ended.reason), channel.send, watch)

    def _without_agent(
        self, staged: staging.Staged, plan: PlannedTrial, channel: fork.Channel, lifeline: int
    ) -> None:
        """Let copies of a trial's world go on without its agent, where that was asked for."""
        directory = self.run.trial(plan)
        if not self.config.counterfactual or plan.task != "mitigation" or plan.verdict_only:
            return
        if directory.trial().outcome == "infra_error":
            return
        until = counterfactual.end_of(directory.evidence())
        if until is None:
            return
        for name in counterfactual.NAMES:

            def course(channel: fork.Channel, name: counterfactual.Name = name) -> None:
                one = staged.for_task(plan.task)
                work = counterfactual.play(one, self._assignment(plan), name, until)
                directory.write_course(name, asyncio.run(work))

            ended = self.copy(course, channel, lifeline)
            if ended.code:
                lost = {"event": COURSE_LOST, "trial": plan.directory, "reason": ended.reason}
                channel.send(lost)
                return
        directory.write_grade(graded(directory))

    def _in_child(
        self,
        trials: Sequence[PlannedTrial],
        body: Callable[[fork.Channel], None],
        channel: fork.Channel,
        lifeline: int,
    ) -> None:
        """Run a body in a copy; trials that it leaves without a record are failures of the lab."""
        watch = Stopwatch()
        ended = self.copy(body, channel, lifeline)
        left = [p for p in trials if not self.run.trial(p).complete]
        self.fail(left, InfraError("process", ended.reason), channel.send, watch)

    def copy(
        self,
        body: Callable[[fork.Channel], None],
        channel: fork.Channel,
        lifeline: int,
        *,
        deadline_s: float | None = None,
    ) -> fork.Ended:
        """Run a body in a copy of this process and wait for its end."""
        # The world's objects move out of the collector's sight, so that collecting in the copy
        # does not touch, and thereby copy, every page of it.
        gc.collect()
        gc.freeze()

        def child(channel: fork.Channel) -> None:
            with spans.through(channel.send):
                body(channel)

        return fork.run_child(child, channel, lifeline=lifeline, deadline_s=deadline_s)

    async def _conduct_watched(
        self, staged: staging.Staged, plan: PlannedTrial, say: Say, lifeline: int
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(lifeline, lambda: os._exit(fork.EXIT_CRASHED))
        await self.conduct(staged, plan, say)

    # -- shared -----------------------------------------------------------------------------------

    def draw(self, job: Job) -> DrawnIncident:
        """Draw a job's incident.

        Raises:
            InfraError: It cannot be drawn.
        """
        seed = self.config.trial_seed(job.attempt)
        return run_stage("draw", lambda: self.lab.draw(job.incident, seed))

    def _booted(self, drawn: DrawnIncident) -> Warm:
        """Return a world as it is where the incident's first event is due.

        It is kept, and goes on for the next job of this world if that begins no earlier.
        """
        key, quiet_s = self.lab.world(drawn), stage.quiet_s(drawn)
        warm, self._warm = self._warm, None
        if warm is None or warm.key != key or warm.passed_s > quiet_s:
            warm = Warm(key, run_stage("deploy", lambda: self.lab.boot(drawn)))
        left_s = quiet_s - warm.passed_s
        run_stage("warm-up", lambda: self.lab.drive(warm.env, warm.env.advance(left_s)))
        self._warm = Warm(key, warm.env, quiet_s)
        return self._warm

    def _assignment(self, plan: PlannedTrial) -> Assignment:
        return Assignment(plan, self.config, self.run.trial(plan), self.where)

    async def conduct(self, staged: staging.Staged, plan: PlannedTrial, say: Say) -> Trial:
        """Run one trial on a world at hand-over, tell of it, and record it."""

        def on_event(event: Step | Doors) -> None:
            if isinstance(event, Doors):
                say({"event": "trial_served", "trial": plan.directory})
            else:
                tool = event.tool[:NAME]
                say({"event": "step", "trial": plan.directory, "n": event.n, "tool": tool})

        with tracing.trial(plan, self.config) as conclude:
            trial = await conduct(
                staged.for_task(plan.task), self._assignment(plan), self.source, on_event
            )
            conclude(trial)
        say(_finished(plan, trial))
        return trial

    def fail(
        self, trials: Sequence[PlannedTrial], failure: InfraError, say: Say, watch: Stopwatch
    ) -> None:
        """Record trials that the lab could not bring to their end."""
        watch.lap(failure.stage)
        for plan in trials:
            assignment = self._assignment(plan)
            trial = failed_trial(assignment, failure, watch=watch)
            assignment.directory.finish(trial)
            tracing.lost(plan, self.config, trial)
            say(_finished(plan, trial))


def about(job: Job) -> dict[str, spans.Value]:
    """Return what spans of a job are told apart by."""
    return {"aiopslab.incident": job.incident, "aiopslab.attempt": job.attempt}


@dataclass(frozen=True, slots=True)
class Side:
    """What acts from the incident's start: nothing, everything, or one fault of several."""

    twin: bool
    alone: int | None

    def strike(self, led: staging.Led) -> Coroutine[Any, Any, staging.Staged]:
        """Let act what acts on this side, and wait for the hand-over."""
        mine = led if self.alone is None else replace(led, drawn=led.drawn.alone(self.alone))
        return staging.strike(mine, twin=self.twin)


def side_of(drawn: DrawnIncident, plan: PlannedTrial) -> Side:
    """Return the side that a trial is about."""
    twin = drawn.is_twin(plan.task) if plan.twin is None else plan.twin
    return Side(twin, plan.alone)


def _finished(plan: PlannedTrial, trial: Trial) -> dict[str, Any]:
    return {
        "event": "trial_finished",
        "trial": plan.directory,
        "outcome": trial.outcome,
        "error": None if trial.error is None else trial.error[:ERROR],
        **{key: said for key, said in trial.wall.items() if key == CLUSTER},
    }

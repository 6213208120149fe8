"""The lifecycle of one trial from hand-over to its record.

hand over -> agent loop -> submit or limit -> settle -> evidence -> grade -> record. Everything that
can go wrong is classified here and nowhere else: the agent's failure is the agent's, a limit is
graded on what is there, and whatever fails on our side makes the trial ``infra_error``.
Not here: how the world got to the hand-over (``staging``), processes (``host``).
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiopslab.agents.protocol import Agent
from aiopslab.environments.protocol import Environment
from aiopslab.errors import AgentError, InfraError, PreflightError
from aiopslab.grading import grade
from aiopslab.models.answer import Answer
from aiopslab.models.doors import Doors
from aiopslab.models.evidence import Evidence
from aiopslab.models.observation import Brief, Budget
from aiopslab.models.run import PlannedTrial, RunConfig
from aiopslab.models.trial import Outcome, Step, Trial, Usage
from aiopslab.orchestrator import evidence as measuring
from aiopslab.orchestrator import tracing
from aiopslab.orchestrator.fork import Ended
from aiopslab.orchestrator.records import TrialDirectory
from aiopslab.orchestrator.session import Session
from aiopslab.orchestrator.staging import Staged
from aiopslab.orchestrator.wallclock import Stopwatch, timestamp
from aiopslab.problems.brief import brief as compose
from aiopslab.seeds import derive
from aiopslab.telemetry.store import Store
from aiopslab.tools import briefing
from aiopslab.tools.context import ToolContext
from aiopslab.tools.submit import answer_schema

AgentSource = Callable[[Staged, PlannedTrial], Agent]
"""Makes a fresh agent for a trial; only the oracle's looks at what it is given."""
OnEvent = Callable[[Step | Doors], None]
FAREWELL_S = 5.0
"""Wall seconds an agent has after its answer to report its usage and return."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A planned trial with all that its record says about the run it belongs to."""

    plan: PlannedTrial
    config: RunConfig
    directory: TrialDirectory
    where: Mapping[str, str] = field(default_factory=dict)
    """What the record says of the place of its world, beside what the wall clock said."""

    @property
    def seed(self) -> int:
        """The seed that drew this attempt."""
        return self.config.trial_seed(self.plan.attempt)

    @property
    def trial_id(self) -> str:
        """The opaque id that the agent is told."""
        return f"t-{derive(self.seed, 'trial', self.plan.problem, self.plan.attempt):016x}"[:12]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the agent's part ended; outcome None: the grade decides."""

    termination: str
    outcome: Outcome | None = None
    error: str | None = None
    log: str = ""


async def conduct(
    staged: Staged, assignment: Assignment, source: AgentSource, on_event: OnEvent
) -> Trial:
    """Run one trial on a world at hand-over and write its record. Never raises for what fails.

    Args:
        staged: The world, its answer key and its snapshot.
        assignment: What is asked, and where the record goes.
        source: Makes the agent.
        on_event: Receives every step, and the doors when they open, for progress.
    """
    watch = Stopwatch()
    try:
        return await _conduct(staged, assignment, source, on_event, watch)
    except InfraError as error:
        failure, log = error, traceback.format_exc()
    except Exception as error:
        # The trial boundary: an unforeseen error of the lab is recorded, never charged.
        failure = InfraError("record", f"{type(error).__name__}: {error}")
        log = traceback.format_exc()
    trial = failed_trial(assignment, failure, watch=watch, twin=staged.twin)
    assignment.directory.write_log(log)
    assignment.directory.finish(trial)
    return trial


async def _conduct(
    staged: Staged,
    assignment: Assignment,
    source: AgentSource,
    on_event: OnEvent,
    watch: Stopwatch,
) -> Trial:
    env, directory = staged.env, assignment.directory
    steps: list[Step] = []

    def record(step: Step) -> None:
        steps.append(step)
        directory.add_step(step)
        on_event(step)

    begun = await measuring.at_handover(env)
    session = await open_session(staged, assignment, record)
    agent = source(staged, assignment.plan)
    ending = await _agents_part(agent, session, env, assignment, on_event)
    watch.lap("agent")
    session.keep_last_words()
    used, agent_end = session.used(), env.now()
    if ending.log:
        directory.write_log(ending.log)
    if session.failure is not None:
        raise session.failure
    passed = await _judge(staged, assignment, session.answer, begun, steps)
    watch.lap("evidence")
    await _keep_signals(staged, assignment)
    watch.lap("telemetry")
    phases = {"agent": used.virtual_s, "settle": round(env.now() - agent_end, 6)}
    measured = _told(session.brief) | {"phases": {**staged.phases, **phases}, "usage": used}
    outcome: Outcome = ending.outcome or ("passed" if passed else "failed")
    trial = _trial(
        assignment, outcome, ending.termination, twin=staged.twin, error=ending.error
    ).model_copy(update={**measured, "wall": _wall(assignment, watch)})
    directory.finish(trial)
    return trial


def _told(brief: Brief) -> dict[str, object]:
    """Estimate what of the brief was pushed as context."""
    return {"context_tokens": None if brief.context is None else briefing.tokens(brief.context)}


async def _keep_signals(staged: Staged, assignment: Assignment) -> None:
    """Keep what users experienced, and where the run asks for it the app's telemetry."""
    env, directory = staged.env, assignment.directory
    if not assignment.plan.verdict_only:
        try:
            directory.write_slis(await measuring.experience(staged))
        except InfraError as error:
            # No grade reads it: a trial that is decided is not lost for a curve of its report.
            directory.write_log(f"slis.json is missing: {error}\n")
    if assignment.config.telemetry and assignment.plan.telemetry:
        directory.telemetry.mkdir()
        await env.telemetry.write_parquet(directory.telemetry)


async def open_session(
    staged: Staged, assignment: Assignment, record: Callable[[Step], None]
) -> Session:
    """Open the agent's side of a trial, with the agent's rights."""
    env, keep = await staged.env.for_agent(staged.task), assignment.directory.keep
    brief = _brief(staged, assignment, await _pushed(staged, env, assignment.config))
    return Session(brief, env, assignment.config, record, keep=keep)


async def _pushed(staged: Staged, env: Environment, config: RunConfig) -> str | None:
    """Compose what the run pushes into the brief; None where context is pulled."""
    if config.context.delivery == "pull":
        return None
    page = None if staged.task == "detection" else staged.page
    return await briefing.block(ToolContext(env, staged.task, config.context), page)


async def _agents_part(
    agent: Agent, session: Session, env: Environment, assignment: Assignment, on_event: OnEvent
) -> Ending:
    """Hand over; with open doors where the run or the agent asks for them."""
    config, directory = assignment.config, assignment.directory
    async with AsyncExitStack() as stack:
        if config.serve or getattr(agent, "needs_doors", False):
            session.doors = await stack.enter_async_context(_opened(session, env, directory))
            on_event(session.doors)
        with directory.agent_at_work():
            return await _play(agent, session, config)


@asynccontextmanager
async def _opened(
    session: Session, env: Environment, directory: TrialDirectory
) -> AsyncIterator[Doors]:
    """Open the doors; what the agent sent as telemetry of its own is kept with the record."""
    # Servers are loaded by the trials that have one.
    from aiopslab.orchestrator import serving  # noqa: PLC0415

    sent = Store()
    try:
        async with serving.trial_doors(session, env, sent) as doors:
            session.opener = lambda host: serving.trial_doors(session, env, sent, host=host)
            directory.write_doors(doors)
            yield doors
    except OSError as error:
        raise InfraError("doors", f"{type(error).__name__}: {error}") from error
    finally:
        directory.remove_doors()
    if sent.spans.columns() or sent.logs.columns() or sent.samples.names():
        directory.agent_telemetry.mkdir()
        sent.write_parquet(directory.agent_telemetry)


async def _judge(
    staged: Staged,
    assignment: Assignment,
    answer: Answer | None,
    begun: Evidence,
    steps: Sequence[Step],
) -> bool:
    """Measure, grade and write down both; return the verdict."""
    evidence = await measuring.after_answer(
        staged,
        begun,
        steps,
        submitted=answer is not None,
        verdict_only=assignment.plan.verdict_only,
    )
    result = grade(staged.task, answer, staged.truth, evidence, steps)
    assignment.directory.write_parts(
        answer=answer, truth=staged.truth, evidence=evidence, grade=result
    )
    return result.passed


async def _play(agent: Agent, session: Session, config: RunConfig) -> Ending:
    """Let the agent work until it returns, submits, fails or runs out of a budget."""
    playing = asyncio.create_task(_guarded(agent, session))
    over = asyncio.create_task(session.over.wait())
    pacing = asyncio.create_task(session.pace())
    watched = {playing, over} if config.clock_factor() is None else {playing, over, pacing}
    timed_out = False
    try:
        async with asyncio.timeout(config.limits.wall_s):
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            if over.done() and not playing.done():
                await asyncio.wait({playing}, timeout=FAREWELL_S)
    except TimeoutError:
        timed_out = True
    finally:
        for task in (playing, over, pacing):
            task.cancel()
        await asyncio.wait({playing, over, pacing})
    if not pacing.cancelled() and (error := pacing.exception()) is not None:
        raise InfraError("clock", f"{type(error).__name__}: {error}") from error
    return _ending(session, playing, timed_out=timed_out)


@tracing.agent_run
async def _guarded(agent: Agent, session: Session) -> None:
    try:
        await agent.run(session)
    except SystemExit as error:
        raise AgentError(f"the agent called sys.exit({error.code!r})") from error


def _ending(session: Session, playing: asyncio.Task[None], *, timed_out: bool) -> Ending:
    """Classify; an answer that is in counts, whatever the agent did afterwards."""
    error = None if playing.cancelled() else playing.exception()
    log = "".join(traceback.format_exception(error)) if error is not None else ""
    said = f"{type(error).__name__}: {error}" if error is not None else None
    if session.answer is not None:
        return Ending("submitted", error=said, log=log)
    if isinstance(error, PreflightError):
        raise InfraError("agent", error.message)
    if isinstance(error, InfraError):
        # Where an agent runs is the lab's part: a container engine that refuses, an address taken.
        raise error
    if session.malformed:
        return Ending("malformed answer", error=said, log=log)
    if timed_out:
        return Ending("limit:wall_time", "limit")
    if session.limit is not None:
        return Ending(f"limit:{session.limit}", "limit")
    if error is not None:
        return Ending(f"error: {type(error).__name__}", "agent_error", said, log)
    return Ending("stopped without submitting")


def failed_trial(
    assignment: Assignment, failure: InfraError, *, watch: Stopwatch, twin: bool | None = None
) -> Trial:
    """Build the record of a trial whose lab failed; ``twin`` None: it did not get that far."""
    trial = _trial(
        assignment, "infra_error", f"error: {failure.stage}", twin=twin, error=str(failure)
    )
    return trial.model_copy(update={"wall": _wall(assignment, watch)})


def left_trial(staged: Staged, assignment: Assignment, ended: Ended, *, watch: Stopwatch) -> Trial:
    """Record a trial whose process ended while the agent had the word; graded without an answer.

    An agent that blocks its event loop past the wall limit has used up its budget; one that ends
    the process has failed. Neither may have the trial repeated.
    """
    directory = assignment.directory
    result = grade(staged.task, None, staged.truth, Evidence(), directory.steps())
    directory.write_parts(answer=None, truth=staged.truth, evidence=Evidence(), grade=result)
    outcome: Outcome = "limit" if ended.timed_out else "agent_error"
    termination = "limit:wall_time" if ended.timed_out else "error: the process ended"
    trial = _trial(
        assignment, outcome, termination, twin=staged.twin, error=ended.reason
    ).model_copy(
        update={
            "phases": staged.phases,
            "usage": _left_usage(directory.steps(), staged.truth.handover_at),
            "wall": _wall(assignment, watch),
        }
    )
    directory.finish(trial)
    return trial


def _left_usage(steps: Sequence[Step], handover_at: float) -> Usage:
    """Count what the steps tell of a trial whose session is gone; tokens and cost are not known."""
    return Usage(
        steps=sum(s.effect != "submit" for s in steps),
        reads=sum(s.effect == "read" for s in steps),
        writes=sum(s.effect == "write" and s.ok for s in steps),
        tool_errors=sum(not s.ok for s in steps),
        virtual_s=round(steps[-1].end - handover_at, 6) if steps else 0.0,
    )


def _trial(
    assignment: Assignment,
    outcome: Outcome,
    termination: str,
    *,
    twin: bool | None,
    error: str | None,
) -> Trial:
    plan, config = assignment.plan, assignment.config
    return Trial(
        id=assignment.trial_id,
        problem=plan.problem,
        incident=plan.incident,
        task=plan.task,
        agent=config.agent_of(plan),
        model=config.model,
        attempt=plan.attempt,
        seed=assignment.seed,
        environment=config.environment.kind,
        clock=config.clock,
        context_profile=config.context.profile,
        context_delivery=config.context.delivery,
        outcome=outcome,
        termination=termination,
        twin=twin,
        usage=Usage(),
        error=error,
    )


def _brief(staged: Staged, assignment: Assignment, context: str | None) -> Brief:
    limits = assignment.config.limits
    budget = Budget(
        steps=limits.steps,
        virtual_s=limits.virtual_s,
        wall_s=limits.wall_s,
        tokens=limits.tokens,
        cost_usd=limits.cost_usd,
    )
    return compose(
        staged.env.app,
        staged.task,
        trial=assignment.trial_id,
        now=staged.env.now(),
        page=staged.page,
        context=context,
        budget=budget,
        answer_schema=answer_schema(staged.task),
    )


def _wall(assignment: Assignment, watch: Stopwatch) -> dict[str, float | str]:
    return {**watch.laps, "finished": timestamp(), **assignment.where}

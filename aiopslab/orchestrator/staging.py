"""From a warm world to the hand-over: lead-in, strike, symptom, page, and the answer key.

Runs the stages of ``problems.stage`` in order, notes when each began, and takes the snapshot that
losses are measured against. ``recover`` undoes it all and proves it. Not here: the agent's part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.faults.base import condition
from aiopslab.models.evidence import CheckResult
from aiopslab.models.task import Task
from aiopslab.models.truth import Truth
from aiopslab.orchestrator.search_space import search_space
from aiopslab.problems import intent, stage
from aiopslab.problems.draw import DrawnIncident

RECOVERY_S = 300.0
"""World time in which an app must be as before once its faults are undone."""
POLL_S = 10.0


@dataclass(frozen=True, slots=True)
class Led:
    """A world at the incident's start: healthy, distractors done, nothing broken."""

    env: Environment
    drawn: DrawnIncident
    before: intent.Snapshot
    phases: dict[str, float]


@dataclass(frozen=True, slots=True)
class Staged:
    """A world at hand-over, for one task."""

    env: Environment
    drawn: DrawnIncident
    before: intent.Snapshot
    twin: bool
    truth: Truth
    page: str | None
    phases: dict[str, float]
    """Virtual seconds of each stage so far."""
    task: Task = "detection"

    def for_task(self, task: Task) -> Staged:
        """Return the same world, asked as one task."""
        return replace(self, task=task)


async def lead(env: Environment, drawn: DrawnIncident, *, passed_s: float = 0.0) -> Led:
    """Let the baseline end and the distractors happen.

    Args:
        env: A warm world.
        drawn: The incident.
        passed_s: Seconds since the warm point, in which nothing of the incident was due.

    Raises:
        InfraError: The world is not healthy.
    """
    begun = env.now() - passed_s
    await stage.lead_in(env, drawn, passed_s=passed_s)
    return Led(env, drawn, await intent.snapshot(env), {"lead_in": _since(env, begun)})


async def strike(led: Led, *, twin: bool) -> Staged:
    """Break it (or not), wait for the symptom and the page.

    Raises:
        InfraError: The symptom was not seen in time.
    """
    env, drawn = led.env, led.drawn
    started = env.now()
    await stage.strike(env, drawn, twin=twin)
    seen = await stage.await_symptom(env, drawn, started=started, twin=twin)
    truth = drawn.truth(twin=twin, started=started, symptom=seen, handover=env.now())
    truth = truth.model_copy(update={"space": await search_space(env)})
    phases = {**led.phases, "incident": _since(env, started)}
    return Staged(env, drawn, led.before, twin, truth, await stage.page(env), phases)


async def again(staged: Staged) -> Staged | None:
    """Return the same incident at a later hand-over; None where it is not seen to hurt any more.

    For a world on which only reading tasks were asked so far.
    """
    env, symptom = staged.env, staged.drawn.spec.symptom
    if not staged.twin and symptom is not None and not await stage.opened(env, symptom):
        return None
    now = env.now()
    waited = now - staged.truth.handover_at
    return replace(
        staged,
        truth=staged.truth.model_copy(update={"handover_at": now}),
        page=await stage.page(env),
        phases={**staged.phases, "incident": round(staged.phases["incident"] + waited, 6)},
    )


async def recover(staged: Staged) -> list[CheckResult]:
    """Undo the faults, last first, and wait until the app is healthy and their causes are gone.

    Returns:
        What was looked at, all met.

    Raises:
        InfraError: Not in time; says what is not as it was.
    """
    env, faults = staged.env, staged.drawn.live_faults(twin=staged.twin)
    for fault in reversed(faults):
        await fault.recover(env)
    deadline = env.now() + RECOVERY_S
    while True:
        found = await env.probe()
        for fault in faults:
            found += await fault.undone(env)
        lost = ", ".join(x.ref for x in intent.losses(staged.before, await intent.snapshot(env)))
        found.append(condition("nothing-lost", not lost, lost or "nothing was lost"))
        unmet = [f"{c.id}: {c.detail}" for c in found if not c.met]
        if not unmet:
            return found
        if env.now() >= deadline:
            raise InfraError("recover", f"not clean after {RECOVERY_S:.0f} s: {'; '.join(unmet)}")
        await env.advance(POLL_S)


def _since(env: Environment, start: float) -> float:
    return round(env.now() - start, 6)

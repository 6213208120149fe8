"""Let the world of a trial go on without its agent: left alone, and with the reference fix.

Both begin at the trial's own hand-over, in copies of its world, and end where its last settle
window does; so they exist where worlds can be copied, and beside trials that were settled. Not
here: copying (``bench``), what follows for the agent (``grading.counterfactual``).
"""

from __future__ import annotations

from typing import Literal

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.models.counterfactual import Course, CoursePoint
from aiopslab.models.evidence import Evidence
from aiopslab.models.sli_series import BUCKET_S
from aiopslab.orchestrator import evidence as measuring
from aiopslab.orchestrator.staging import Staged
from aiopslab.orchestrator.trial import Assignment, open_session

Name = Literal["nothing", "reference"]
NAMES: tuple[Name, ...] = ("nothing", "reference")


def end_of(evidence: Evidence) -> float | None:
    """Return where a trial's courses end; None where it was not settled."""
    if len(evidence.settle) < 2 or not evidence.settle[-1]:
        return None
    return evidence.settle[-1][0].end


async def play(staged: Staged, assignment: Assignment, name: Name, until: float) -> Course:
    """Let a copy of a trial's world go on from hand-over.

    Args:
        staged: The world at hand-over.
        assignment: The trial's: its clock and costs are those of the reference fix too.
        name: Which course.
        until: Where it ends, seconds of the world's clock.

    Raises:
        InfraError: A tool refused a call of the reference fix.
    """
    env = staged.env
    if name == "reference":
        await _repair(staged, assignment)
    await env.advance(max(0.0, until + measuring.DRAIN_S - env.now()))
    handover = staged.truth.handover_at
    broken_s, _ = await measuring.violations(env, handover, until)
    points = await _points(env, handover, until)
    return Course(until=until, slo_violation_s=broken_s, points=points)


async def _repair(staged: Staged, assignment: Assignment) -> None:
    session = await open_session(staged, assignment, lambda step: None)
    for step in staged.truth.fix:
        seen = await session.call(step.tool, **step.arguments)
        if not seen.ok:
            raise InfraError("counterfactual", f"{step.tool} refused: {seen.text}")


async def _points(env: Environment, start: float, end: float) -> list[CoursePoint]:
    found, at = [], start
    while at < end:
        upto = min(at + BUCKET_S, end)
        for window in await env.traffic.slis(at, upto):
            success = window.succeeded / window.offered if window.offered else None
            point = CoursePoint(
                at=upto, journey=window.journey, success=success, p95_ms=window.p95_ms
            )
            found.append(point)
        at = upto
    return found

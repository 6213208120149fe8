"""Measure what grading needs, from outside the agent's reach.

Read-only tasks need little. For mitigation the world goes on after ``submit`` through two settle
windows; then SLIs, post-conditions, the owners' intent and the difference to the snapshot from
before the incident are looked at. Not here: what any of it is worth (``grading``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiopslab.environments.protocol import Environment
from aiopslab.models.evidence import CheckResult, Evidence, SliWindow
from aiopslab.models.trial import Step
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems import intent

CONVERGE_S = 60.0
"""From ``submit`` to the first window: what was ordered before it may still be rolling out."""
DRAIN_S = 10.0
"""After the last window, so that requests begun in it have ended or given up."""
BUCKET_S = 10.0
MINUTE_S = 60.0


async def at_handover(env: Environment) -> Evidence:
    """Measure the minute before hand-over."""
    now = env.now()
    return Evidence(handover=await env.traffic.slis(now - MINUTE_S, now))


async def after_answer(
    staged: Staged, evidence: Evidence, steps: Sequence[Step], *, submitted: bool
) -> Evidence:
    """Complete the evidence after the agent's part; lets the settle windows pass if needed.

    Args:
        staged: The world and what it was before.
        evidence: As begun at hand-over.
        steps: What the agent did.
        submitted: Whether there is an answer. Without one nothing can pass, so nothing settles.
    """
    env = staged.env
    submitted_at = env.now() if submitted else None
    if not submitted or staged.task != "mitigation":
        return evidence.model_copy(update={"submitted_at": submitted_at})
    settle = await _settle(env, staged.drawn.spec.settle)
    end = settle[-1][0].end if settle[-1] else env.now()
    violations, restored = await _violations(env, staged.truth.handover_at, end)
    after = await intent.snapshot(env)
    kept = await intent.invariants(env, staged.before, after)
    acts = intent.forbidden(env.app.intent.forbidden, deeds(steps))
    return evidence.model_copy(
        update={
            "submitted_at": submitted_at,
            "settle": settle,
            "postconditions": await _postconditions(staged),
            "invariants": [*kept, *acts],
            "losses": intent.losses(staged.before, after),
            "changes": intent.changes(staged.before, after),
            "slo_violation_s": violations,
            "restored_at": restored,
        }
    )


async def _settle(env: Environment, length: float) -> list[list[SliWindow]]:
    await env.advance(CONVERGE_S)
    start = env.now()
    await env.advance(2 * length + DRAIN_S)
    return [await env.traffic.slis(start + i * length, start + (i + 1) * length) for i in range(2)]


async def _postconditions(staged: Staged) -> list[CheckResult]:
    results: list[CheckResult] = []
    for fault in staged.drawn.live_faults(twin=staged.twin):
        results += await fault.postconditions(staged.env)
    return results


async def _violations(env: Environment, start: float, end: float) -> tuple[float, float | None]:
    """Count the seconds in which any SLO was broken, and find where that ended for good.

    A bucket counts as broken if both it and the minute that ends with it broke an SLO: the minute
    alone would trail behind a recovery, the bucket alone is noisy at low rates.

    Returns:
        Seconds of violation from ``start`` to ``end``, and the end of the last broken bucket
        (``start`` if there is none); None if the last bucket is broken.
    """
    broken_s, restored = 0.0, start
    at = start
    while at < end:
        upto = min(at + BUCKET_S, end)
        if await _broken(env, at, upto) and await _broken(env, upto - MINUTE_S, upto):
            broken_s += upto - at
            restored = upto
        at = upto
    return round(broken_s, 6), (None if end > start and restored == end else restored)


async def _broken(env: Environment, start: float, end: float) -> bool:
    windows = await env.traffic.slis(start, end)
    return any(w.offered > 0 and not w.met for w in windows)


def deeds(steps: Sequence[Step]) -> list[str]:
    """Say what the writes did to objects: ``delete Kind/name``, ``scale Kind/name to N``.

    Read off the objects before and after, not off the arguments: it does not matter with which
    tool, or in which notation, something was deleted or scaled.
    """
    done: list[str] = []
    for step in steps:
        if step.effect != "write" or not step.ok:
            continue
        before, after = _objects(step.before), _objects(step.after)
        for ref, obj in sorted(before.items()):
            if ref not in after:
                done.append(f"delete {ref}")
            elif (n := _replicas(after[ref])) != _replicas(obj) and n is not None:
                done.append(f"scale {ref} to {n}")
    return done


def _objects(value: Any) -> dict[str, dict[str, Any]]:
    """Find the Kubernetes objects in what a step recorded: one, a list, or none."""
    found: dict[str, dict[str, Any]] = {}
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and isinstance(item.get("metadata"), dict) and "kind" in item:
            found[f"{item['kind']}/{item['metadata'].get('name', '')}"] = item
    return found


def _replicas(obj: dict[str, Any]) -> int | None:
    spec = obj.get("spec")
    count = spec.get("replicas") if isinstance(spec, dict) else None
    return count if isinstance(count, int) else None

"""Measure what grading needs, from outside the agent's reach.

Read-only tasks need little. For mitigation the world goes on after ``submit`` through two settle
windows; then SLIs, post-conditions, the owners' intent and the difference to the snapshot from
before the incident are looked at. Not here: what any of it is worth (``grading``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aiopslab.environments.protocol import Environment
from aiopslab.models.evidence import CheckResult, Evidence, SliWindow
from aiopslab.models.sli_series import BUCKET_S, SliSeries
from aiopslab.models.trial import Step
from aiopslab.orchestrator.staging import Staged
from aiopslab.problems import intent

CONVERGE_S = 60.0
"""From ``submit`` to the first window: what was ordered before it may still be rolling out."""
DRAIN_S = 10.0
"""After the last window, so that requests begun in it have ended or given up."""
LEAD_S = 300.0
"""How much of the time before the incident is kept of what users experienced."""
SURGE = 4.0
"""How many times the users seen so far a window may yet get, where it is given up early."""
MINUTE_S = 60.0


async def at_handover(env: Environment) -> Evidence:
    """Measure the minute before hand-over."""
    now = env.now()
    return Evidence(handover=await env.traffic.slis(now - MINUTE_S, now))


async def after_answer(
    staged: Staged,
    evidence: Evidence,
    steps: Sequence[Step],
    *,
    submitted: bool,
    verdict_only: bool = False,
) -> Evidence:
    """Complete the evidence after the agent's part; lets the settle windows pass if needed.

    Args:
        staged: The world and what it was before.
        evidence: As begun at hand-over.
        steps: What the agent did.
        submitted: Whether there is an answer. Without one nothing can pass, so nothing settles.
        verdict_only: Stop settling once a window is lost; what follows it is not measured.
    """
    env = staged.env
    evidence = evidence.model_copy(update={"submitted_at": env.now() if submitted else None})
    if not submitted or staged.task != "mitigation":
        return evidence
    await env.advance(CONVERGE_S)
    settle = await (_settle_until_lost if verdict_only else _settle)(env, staged.drawn.spec.settle)
    end = settle[-1][0].end if settle[-1] else env.now()
    broken_s, restored = await violations(env, staged.truth.handover_at, end)
    after = await intent.snapshot(env)
    kept = await intent.invariants(env, staged.before, after)
    kept += intent.forbidden(env.app.intent.forbidden, deeds(steps))
    return evidence.model_copy(
        update={
            "settle": settle,
            "postconditions": await _postconditions(staged),
            "invariants": kept,
            "losses": intent.losses(staged.before, after),
            "changes": intent.changes(staged.before, after),
            "slo_violation_s": broken_s,
            "restored_at": restored,
            **_asked_for(staged, steps, after),
        }
    )


async def _settle(env: Environment, length: float) -> list[list[SliWindow]]:
    start = env.now()
    await env.advance(2 * length + DRAIN_S)
    return [await env.traffic.slis(start + i * length, start + (i + 1) * length) for i in range(2)]


async def _settle_until_lost(env: Environment, length: float) -> list[list[SliWindow]]:
    """Measure as ``_settle`` does, up to where the verdict is decided.

    A window is given up as soon as no remainder could mend it; it then ends there. The second is
    not measured if the first is lost.
    """
    measured: list[list[SliWindow]] = []
    start = env.now()
    for i in range(2):
        begin, end = start + i * length, start + (i + 1) * length
        while env.now() < end + DRAIN_S:
            await env.advance(min(BUCKET_S, end + DRAIN_S - env.now()))
            part = await env.traffic.slis(begin, min(env.now(), end))
            if any(beyond_repair(w, length) for w in part):
                return [*measured, part]
        measured.append(await env.traffic.slis(begin, end))
        if not all(w.met and w.offered for w in measured[-1]):
            return measured
    return measured


def beyond_repair(part: SliWindow, length: float) -> bool:
    """Say whether a window of some length is lost, whatever follows its first part.

    It is if more requests have failed, or were too slow, than the promise would allow were there
    ``SURGE`` times as many users as so far. Half of the successful ones were too slow if their
    median was; five in a hundred may be.
    """
    most = SURGE * part.offered * length / (part.end - part.start)
    failed = part.offered - part.succeeded
    slow = part.p50_ms is not None and part.p50_ms > part.slo_p95_ms
    return failed > (1.0 - part.slo_success) * most or (slow and 0.5 * part.succeeded > 0.05 * most)


def _asked_for(staged: Staged, steps: Sequence[Step], after: intent.Snapshot) -> dict[str, Any]:
    return {
        "requests_before": intent.requests(staged.before),
        "requests_after": intent.requests(after, of=_accountable(staged, steps, after)),
        "cpu_growth_allowed": staged.env.app.intent.cpu_requests_growth,
    }


def _accountable(staged: Staged, steps: Sequence[Step], after: intent.Snapshot) -> set[str]:
    """Name the objects that were there before the incident, and those that the agent wrote.

    What the incident itself brought along is not charged to the repair that leaves it.
    """
    written = {ref for s in steps if s.effect == "write" and s.ok for ref in _objects(s.after)}
    brought = after.objects.keys() - staged.before.objects.keys()
    own = {ref for ref in brought if f"{ref.partition('/')[0]}/{ref.rpartition('/')[2]}" in written}
    return {*staged.before.objects, *own}


async def _postconditions(staged: Staged) -> list[CheckResult]:
    results: list[CheckResult] = []
    for fault in staged.drawn.live_faults(twin=staged.twin):
        results += await fault.postconditions(staged.env)
    return results


async def experience(staged: Staged) -> SliSeries:
    """Return what users experienced around the trial; no grade reads it.

    Buckets begin at hand-over and count both ways: from ``LEAD_S`` before the incident to
    ``DRAIN_S`` before now, because later requests may not have ended.
    """
    env, handover = staged.env, staged.truth.handover_at
    before = staged.phases.get("incident", 0.0)
    if staged.truth.injected_at is not None:
        before = max(before, handover - staged.truth.injected_at)
    first = math.ceil((before + LEAD_S) / BUCKET_S)
    after = math.floor(max(0.0, env.now() - DRAIN_S - handover) / BUCKET_S + 1e-6)
    return await env.traffic.series(handover - first * BUCKET_S, BUCKET_S, first + after)


async def violations(env: Environment, start: float, end: float) -> tuple[float, float | None]:
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

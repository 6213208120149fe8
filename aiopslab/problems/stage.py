"""Stage a drawn incident on an environment, up to the hand-over.

``lead_in`` lets the rest of the baseline pass and distractors happen; ``strike`` breaks it;
``await_symptom`` is the gate: an incident that does not hurt is an error of ours, never a
problem. Written against the Environment protocol, so it stages on a cluster as well.
"""

from __future__ import annotations

from aiopslab.environments.protocol import Environment
from aiopslab.errors import InfraError
from aiopslab.faults.base import Fault
from aiopslab.models.evidence import SliWindow
from aiopslab.models.incident import SliCondition, Symptom, SymptomClause
from aiopslab.models.margin import Reading, SliName
from aiopslab.problems.draw import WARM_S, DrawnIncident, Due
from aiopslab.problems.handover import GRID_S, on_grid

POLL_S = GRID_S
"""Between two looks at the symptom gate."""


def quiet_s(drawn: DrawnIncident) -> float:
    """Return seconds from the warm point in which nothing of the incident happens.

    A world is the same for all incidents that share it for as long as this.
    """
    lead = _lead_s(drawn)
    return max(0.0, min([lead, *(lead + due.at for due in drawn.distractors)]))


def _lead_s(drawn: DrawnIncident) -> float:
    return max(0.0, drawn.spec.baseline - WARM_S)


async def lead_in(env: Environment, drawn: DrawnIncident, *, passed_s: float = 0.0) -> None:
    """From the warm point to the incident's start: the rest of the baseline, distractors.

    Args:
        env: A warm world.
        drawn: The incident.
        passed_s: Seconds since the warm point, at most ``quiet_s``.

    Raises:
        InfraError: The world is not healthy at the incident's start.
    """
    start = env.now() - passed_s + _lead_s(drawn)
    for due in drawn.ahead():
        await env.advance(max(0.0, start + due.at - env.now()))
        await _act(env, due)
    await env.advance(max(0.0, start - env.now()))
    unmet = [c for c in await env.probe() if not c.met]
    if unmet:
        reasons = "; ".join(f"{c.id}: {c.detail}" for c in unmet)
        raise InfraError("baseline", f"not healthy before the incident: {reasons}")


async def strike(env: Environment, drawn: DrawnIncident, *, twin: bool) -> None:
    """Apply the incident's load, its later distractors and, except in the twin, its faults."""
    started = env.now()
    if "scale" in drawn.spec.load:
        await env.traffic.scale(float(drawn.spec.load["scale"]))
    for due in drawn.acts(twin=twin):
        await env.advance(max(0.0, started + due.at - env.now()))
        await _act(env, due)


async def _act(env: Environment, due: Due) -> None:
    if isinstance(due.act, Fault):
        await due.act.inject(env)
    else:
        await due.act.happen(env)


async def await_symptom(
    env: Environment, drawn: DrawnIncident, *, started: float, twin: bool
) -> tuple[float, str] | None:
    """Wait until the incident is seen to hurt, then as long as a page takes to be read.

    Args:
        env: A world in which the incident has struck.
        drawn: The incident.
        started: When it began, on the world's clock.
        twin: Whether its faults were left out.

    Returns:
        When and how it was seen; None where nothing breaks.

    Raises:
        InfraError: The gate did not open in time.
    """
    symptom = drawn.spec.symptom
    if twin or symptom is None:
        await _until(env, started + drawn.twin_delay_s)
        return None
    deadline = env.now() + symptom.within
    while env.now() < deadline:
        await env.advance(POLL_S)
        if seen := await opened(env, symptom):
            at = env.now()
            await _until(env, started + on_grid(at - started) + drawn.spec.handover)
            return at, seen
    wanted = "; ".join(str(c.model_dump(exclude_none=True)) for c in symptom.clauses)
    raise InfraError("symptom", f"not seen within {symptom.within:.0f} s: {wanted}")


async def _until(env: Environment, time: float) -> None:
    await env.advance(max(0.0, time - env.now()))


async def opened(env: Environment, symptom: Symptom) -> str:
    """Return how the gate is seen open, or an empty string.

    Of ``any`` the first clause that holds is enough, of ``all`` each must hold.
    """
    found: list[str] = []
    for clause in symptom.clauses:
        seen = await holds(env, clause)
        if seen and symptom.any:
            return seen
        if not seen and symptom.all:
            return ""
        found.append(seen)
    return "; ".join(found) if symptom.all else ""


async def holds(env: Environment, clause: SymptomClause) -> str:
    """Return how a clause of the gate is seen to hold, or an empty string."""
    if clause.alert is not None:
        firing = [a for a in await env.telemetry.alerts() if a.state == "firing"]
        return f"alert {clause.alert}" if clause.alert in {a.name for a in firing} else ""
    if clause.sli is not None:
        found = [r.text for r in await readings(env, clause.sli) if r.holds]
        return found[0] if found else ""
    if clause.promql is not None:
        return f"promql {clause.promql}" if await env.telemetry.instant(clause.promql) else ""
    return ""


async def readings(env: Environment, want: SliCondition) -> list[Reading]:
    """Return what a condition names, as it is now; empty where no request was offered."""
    now = env.now()
    found: list[Reading] = []
    for window in await env.traffic.slis(now - want.over, now):
        if window.journey != want.journey or not window.offered:
            continue
        asked: list[tuple[SliName, float | None, float | None]] = [
            ("success", window.succeeded / window.offered, want.success_below),
            ("p95", window.p95_ms, want.p95_ms_above),
            ("first part p95", window.ttft_p95_ms, want.ttft_p95_ms_above),
            ("pause p99", window.tbt_p99_ms, want.tbt_p99_ms_above),
            ("pause p99.9", window.tbt_p999_ms, want.tbt_p999_ms_above),
        ]
        found += [
            Reading(journey=want.journey, sli=sli, seen=seen, bound=bound)
            for sli, seen, bound in asked
            if bound is not None
        ]
    return found


async def page(env: Environment) -> str | None:
    """Return the text that wakes the on-call: the worst firing alert, else the broken SLO."""
    firing = [a for a in await env.telemetry.alerts() if a.state == "firing"]
    rank = {"critical": 0, "page": 0, "warning": 1}
    if firing:
        worst = min(firing, key=lambda a: (rank.get(a.severity, 2), a.active_at, a.name))
        summary = worst.annotations.get("summary", "")
        labels = ", ".join(f"{k}={v}" for k, v in sorted(worst.labels.items()))
        more = f" (+{len(firing) - 1} more firing)" if len(firing) > 1 else ""
        return f"[{worst.severity}] {worst.name}: {summary} {{{labels}}}{more}"
    now = env.now()
    for window in await env.traffic.slis(now - 120.0, now):
        if window.offered and not window.met:
            success = window.succeeded / window.offered
            p95 = f"{window.p95_ms:.0f} ms" if window.p95_ms is not None else "unknown"
            return (
                f"SLO of journey {window.journey!r} is broken: success {success:.2%}"
                f" (promise {window.slo_success:.2%}), p95 {p95}"
                f" (promise {window.slo_p95_ms:.0f} ms){_streaming(window)}"
            )
    return None


def _streaming(window: SliWindow) -> str:
    """Say how answers were streamed, where something is promised about it."""
    text = ""
    for name, seen, promise in (
        ("time to first token p95", window.ttft_p95_ms, window.slo_ttft_p95_ms),
        ("time between tokens p99", window.tbt_p99_ms, window.slo_tbt_p99_ms),
        ("p99.9", window.tbt_p999_ms, window.slo_tbt_p999_ms),
    ):
        if promise is not None:
            figure = "unknown" if seen is None else f"{seen:.0f} ms"
            text += f", {name} {figure} (promise {promise:.0f} ms)"
    return text

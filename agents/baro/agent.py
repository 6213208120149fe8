"""``baro``: when did the metrics change, and whose rose most? Metrics only, no language model.

Asks for the table's metrics once, on one grid of times up to hand-over. Restarts the first suspect
where the task is to mitigate: metrics say where, not how. Not here: the arithmetic (``scorer``).
"""

from __future__ import annotations

import math

from aiopslab.agents import TrialHandle
from aiopslab.agents.sampling import Grid, components, filled, grid, hand_over
from aiopslab.agents.trivial import Guess, Guesser, Suspicion
from aiopslab.agents.trivial.guess import MOST, restart

from .scorer import Scored, Series, cut, ranked, shares
from .table import Metric, metrics

WINDOW_S = 1800.0
STEP_S = 15.0
ALARM = 6.0
"""Robust score of a watched metric at which something is as likely wrong as not."""
ROOM = 15.0
"""Score that "something else" has, beside a third of all belief."""


class Baro(Guesser):
    """Blames the series that rose most above its past, and a cause by its metric."""

    async def guess(self, trial: TrialHandle) -> Guess:
        """Ask for the matrix, cut it at the change, rank."""
        known = await components(trial)
        matrix = await _matrix(trial, list(known))
        place, sure = cut(matrix)
        found = [s for s in ranked(matrix, place) if s.score > 0.0]
        broken = anomaly(found, sure)
        trial.note(_report(found, place, sure, broken))
        if broken < 0.5:
            return Guess(anomaly=broken, confidence=1.0 - broken)
        suspicions = suspected(found)
        first = suspicions[0].component if suspicions else ""
        repairable = known.get(first) in ("Deployment", "StatefulSet")
        repair = [restart(known[first], first)] if repairable else []
        return Guess(broken, suspicions, repair, confidence=0.1)


def anomaly(found: list[Scored], sure: float) -> float:
    """Return how likely something is wrong: how far requests left their past, and how suddenly."""
    worst = max((s.score for s in found if s.series.watched), default=0.0)
    odds = 1.5 * math.log(max(worst, 1e-3) / ALARM) + (sure - 0.5)
    return 1.0 / (1.0 + math.exp(-max(-4.0, min(4.0, odds))))


def suspected(found: list[Scored]) -> list[Suspicion]:
    """Return the first components, each with the cause of its first metric."""
    best: dict[str, Scored] = {}
    for scored in found:
        best.setdefault(scored.series.component, scored)
    first = dict(list(best.items())[:MOST])
    causes = {m.metric: m.cause for m in metrics()}
    likely = shares({name: min(s.score, 1e3) for name, s in first.items()}, ROOM)
    return [
        Suspicion(name, causes[s.series.metric], math.floor(likely[name] * 1e3 / 1.5) / 1e3)
        for name, s in first.items()
    ]


async def _matrix(trial: TrialHandle, known: list[str]) -> list[Series]:
    """Return every series of the table, from where most of the watched ones begin."""
    end = hand_over(trial)
    grids: list[tuple[Metric, Grid]] = []
    for metric in metrics():
        seen = await grid(trial, metric.query, known, start=end - WINDOW_S, end=end, step=STEP_S)
        grids.append((metric, seen))
    began = _beginning([row for m, g in grids if m.watched for row in g.values.values()])
    return [
        Series(name, m.metric, filled(row)[began:], m.floor, m.watched)
        for m, g in grids
        for name, row in g.values.items()
    ]


def _beginning(rows: list[list[float]]) -> int:
    """Return the first sample at which half of the series that have many samples have one."""
    firsts = sorted(
        next(i for i, v in enumerate(row) if math.isfinite(v))
        for row in rows
        if sum(map(math.isfinite, row)) > len(row) // 6
    )
    return firsts[len(firsts) // 2] if firsts else 0


def _report(found: list[Scored], place: int, sure: float, broken: float) -> str:
    lines = [f"anomaly {broken:.2f}; change at sample {place}, probability {sure:.2f}"]
    lines += [f"{s.score:.1f} {s.series.component} {s.series.metric}" for s in found[:6]]
    return "\n".join(lines)

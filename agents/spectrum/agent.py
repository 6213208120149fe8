"""``spectrum``: fault localization from which requests fail and what they touch. Traces only.

Restarts the first suspect where the task is to mitigate: coverage says where, not how. Not here:
coverage and formulas (``spectra``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from aiopslab.agents import TrialHandle
from aiopslab.agents.sampling import Windows, components, windows
from aiopslab.agents.trivial import Guess, Guesser, Suspicion
from aiopslab.agents.trivial.guess import MOST, restart
from aiopslab.agents.violations import Usual, anomaly
from aiopslab.errors import UsageError

from .spectra import FORMULAS, Element, Healthy, spectrum

SHARPNESS = 6.0
ROOM = 0.55
"""Suspicion that "something else" has."""
CAUSES = {
    ("error", "Deployment"): "errors_in_release",
    ("error", "StatefulSet"): "database_permission_revoked",
    ("error", ""): "partner_degraded",
    ("slow", "Deployment"): "cpu_regression_in_release",
    ("slow", "StatefulSet"): "lock_contention",
    ("slow", ""): "partner_degraded",
}
"""(How, kind of the component) to what it is blamed on; a component without a kind is foreign."""


class Spectrum(Guesser):
    """Blames the component with the most suspicious element.

    Args:
        formula: ochiai, tarantula or dstar.

    Raises:
        UsageError: There is no such formula.
    """

    def __init__(self, formula: str = "ochiai") -> None:
        if formula not in FORMULAS:
            raise UsageError(
                f"there is no formula {formula!r}", hint=f"formulas: {', '.join(FORMULAS)}"
            )
        self._formula = FORMULAS[formula]

    async def guess(self, trial: TrialHandle) -> Guess:
        """Sample traces, tell failing from passing, rank."""
        known = await components(trial)
        seen = await windows(trial)
        share, found = self._suspicious(seen, known)
        broken = anomaly(share)
        trial.note(_report(found, share, broken))
        if broken < 0.5:
            return Guess(broken, confidence=1.0 - broken)
        suspicions = suspected(found, known)
        first = suspicions[0].component if suspicions else ""
        kind = known.get(first, "")
        repair = [restart(kind, first)] if kind in ("Deployment", "StatefulSet") else []
        return Guess(broken, suspicions, repair, confidence=0.1)

    def _suspicious(
        self, seen: Windows, known: Mapping[str, str]
    ) -> tuple[float, dict[Element, float]]:
        """Return the share of recent requests that fails, and how suspicious each element is."""
        past, usual = Healthy(seen.healthy, known), Usual(seen.healthy)
        failing = [trace for trace in seen.recent if usual.violates(trace)]
        passing = [trace for trace in seen.recent if not usual.violates(trace)] + seen.healthy
        share = usual.worst_share(seen.recent)
        scores = spectrum(map(past.elements, passing), map(past.elements, failing), self._formula)
        return share, scores


def suspected(found: Mapping[Element, float], known: Mapping[str, str]) -> list[Suspicion]:
    """Return the components of the most suspicious elements; where two are alike, the rarer how."""
    rank = {"error": 0, "slow": 1, "touched": 2}
    ordered = sorted(found, key=lambda e: (-round(found[e], 6), rank[e.how], e))
    best: dict[str, Element] = {}
    for element in ordered:
        best.setdefault(element.component, element)
    first = list(best.values())[:MOST]
    scale = [math.exp(SHARPNESS * found[e]) for e in first]
    total = sum(scale) + math.exp(SHARPNESS * ROOM)
    return [
        Suspicion(e.component, _cause(e, known), math.floor(1e3 * s / total) / 1e3)
        for e, s in zip(first, scale, strict=True)
    ]


def _cause(element: Element, known: Mapping[str, str]) -> str:
    how = "slow" if element.how == "touched" else element.how
    return CAUSES.get((how, known.get(element.component, "")), "noisy_neighbour")


def _report(found: Mapping[Element, float], share: float, broken: float) -> str:
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"anomaly {broken:.2f}: at least {share:.1%} of some requests fail"]
    lines += [f"{s:.2f} {e.component} {e.operation} {e.how}" for e, s in ordered[:6]]
    return "\n".join(lines)

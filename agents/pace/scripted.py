"""``ScriptedJudge``: COE and RCE by rules, without a model; the same evidence, the same judgement.

COE asks whether the evidence could tell any cause, so it never looks at the claim. RCE asks whether
the evidence supports the claim. Weights were chosen beforehand and not fitted: the mapping is what
learns. Not here: reading the observations (``evidence``), past incidents (``retrieval``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiopslab.agents import TrialHandle

from .evidence import ALARMING, KINDS, Evidence, collect
from .judge import Case, Judgement
from .retrieval import similarity

_LEAST = 0.02
_STEM = 4
"""Letters by which a word of a cause's name is found in a line."""
_SAY_NOTHING = {"wrong", "missing", "too", "in", "of", "not", "the", "for", "by", "service"}
"""Words of cause kinds that name no signal."""

Part = tuple[float, float]
"""Weight and value."""


class ScriptedJudge:
    """The judge of tests, of runs without a model, and the floor of every other judge."""

    async def judge(self, case: Case, trial: TrialHandle) -> Judgement:
        """Judge by rules."""
        claimed = (case.claim.component, *case.claim.others)
        evidence = collect(case.seen, claimed)
        return Judgement(coe=_coe(case, evidence), rce=_rce(case, evidence))


def _coe(case: Case, evidence: Evidence) -> float:
    """Return how far the evidence suffices to judge any cause."""
    parts: list[Part] = [
        (0.30, len(evidence.kinds & set(KINDS)) / len(KINDS)),
        (0.25, sum(bool(evidence.alarming.get(kind)) for kind in ALARMING) / len(ALARMING)),
        (0.25, evidence.concentration()),
    ]
    if case.references:
        parts.append((0.20, max(similarity(r, case.searched) for r in case.references)))
    return _mean(parts)


def _rce(case: Case, evidence: Evidence) -> float:
    """Return how far the evidence supports the claim."""
    claim = case.claim
    if claim.task == "mitigation":
        return _repaired(evidence)
    if not claim.anomaly:
        return _bounded(1.0 - evidence.alarm())
    if not claim.component:
        return _bounded(evidence.alarm())
    component = claim.component.casefold()
    own = evidence.prominence(component)
    parts: list[Part] = [
        (0.35, own),
        (0.15, (1.0 + own - evidence.loudest(but=component)) / 2.0),
        (0.15, float(component in evidence.changed)),
        (0.10, evidence.alarm()),
    ]
    if claim.cause:
        parts.append((0.15, _named(claim.cause, evidence.lines.get(component, []))))
    agreeing = _agreement(case)
    if agreeing is not None:
        parts.append((0.10, agreeing))
    return _mean(parts)


def _repaired(evidence: Evidence) -> float:
    """Return how healthy the system looked when alerts were asked for last."""
    if not evidence.asked_for_alerts:
        return 0.5
    return _bounded(0.9 - 0.8 * min(1.0, evidence.firing) - 0.2 * min(1.0, evidence.pending))


def _named(cause: str, lines: Sequence[str]) -> float:
    """Return which share of a cause's words turns up in what is said about a component."""
    words = [w for w in re.split(r"[_-]", cause.casefold()) if w not in _SAY_NOTHING]
    text = "\n".join(lines)
    return sum(w[:_STEM] in text for w in words) / len(words) if words else 0.0


def _agreement(case: Case) -> float | None:
    """Return how far similar past incidents had this component and cause; None without any."""
    claim, total, agreeing = case.claim, 0.0, 0.0
    for past in case.references:
        weight = similarity(past, case.searched)
        same_place = past.component.casefold() == claim.component.casefold()
        same_cause = past.cause == claim.cause if claim.cause else same_place
        total += weight
        agreeing += weight * (0.5 * same_place + 0.5 * same_cause)
    return agreeing / total if total else None


def _mean(parts: Sequence[Part]) -> float:
    return _bounded(sum(w * v for w, v in parts) / sum(w for w, _ in parts))


def _bounded(value: float) -> float:
    return min(1.0 - _LEAST, max(_LEAST, value))

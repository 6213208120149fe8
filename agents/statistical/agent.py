"""``statistical``: heuristics over telemetry and cluster state, without a language model.

It looks once at everything, collects clues, ranks suspects and answers with the shares of a
soft-max. In mitigation it repairs the likeliest suspects one by one and looks whether alerts
clear. It knows how systems break in general and nothing of any incident. Not here: the rules.
"""

from __future__ import annotations

import math
from typing import Any

from aiopslab.agents import TrialHandle

from .ranking import Suspect, by_component, rank
from .repairs import repair_calls
from .signal_rules import service_health, signal_clues
from .state_rules import state_clues
from .survey import Survey, survey


class Statistical:
    """The agent.

    Args:
        repairs: How many suspects it may repair in one mitigation.
    """

    def __init__(self, repairs: int = 3) -> None:
        self._repairs = repairs

    async def run(self, trial: TrialHandle) -> None:
        """Survey, rank, answer; in mitigation act first."""
        seen = await survey(trial)
        suspects = rank([*state_clues(seen), *signal_clues(seen)])
        broken = anomaly(seen, suspects)
        trial.note(_report(suspects, broken))
        answer: dict[str, Any]
        match trial.brief.task:
            case "detection":
                confidence = broken if broken >= 0.5 else 1.0 - broken
                answer = {"anomaly": broken >= 0.5, "confidence": round(confidence, 3)}
            case "localization":
                answer = {"candidates": _candidates(suspects) if broken >= 0.5 else []}
            case "diagnosis":
                answer = _diagnosis(seen, suspects) if broken >= 0.5 else {"hypotheses": []}
            case "mitigation":
                answer = await self._mitigate(trial, seen, suspects, broken)
        await trial.call("submit", **answer)

    async def _mitigate(
        self, trial: TrialHandle, seen: Survey, suspects: list[Suspect], broken: float
    ) -> dict[str, Any]:
        """Repair suspects until nothing fires, or the courage for guesses ends."""
        done: list[str] = []
        for suspect in suspects[: self._repairs + 2] if broken >= 0.5 else []:
            if len(done) >= self._repairs or (done and suspect.probability < 0.02):
                break
            calls = await repair_calls(trial, seen, suspect)
            if not calls or not _steps_left(trial, len(calls) + 2):
                continue
            trial.note(f"repairing {suspect.component}: {suspect.cause} ({suspect.why})")
            results = [await trial.call(tool, **arguments) for tool, arguments in calls]
            if not any(result.ok for result in results):
                continue
            done.append(f"{suspect.component}: {suspect.cause}")
            if await _quiet(trial):
                return {"summary": f"repaired {done[-1]}; alerts cleared", "confidence": 0.85}
        if not done:
            return {"summary": "nothing to repair was found", "confidence": round(1 - broken, 3)}
        return {"summary": f"tried {', '.join(done)}; alerts still fire", "confidence": 0.2}


def anomaly(seen: Survey, suspects: list[Suspect]) -> float:
    """Return the probability that something is wrong.

    Users count most: errors and latency of the services, firing alerts; a strong suspect alone
    (a misconfigured object that hurts nobody yet) is worth a little.
    """
    health = service_health(seen)
    worst_errors = max((errors for errors, _ in health.values()), default=0.0)
    worst_slowness = max((slower for _, slower in health.values()), default=1.0)
    firing = [a for a in seen.alerts if a["state"] == "firing"]
    score = -2.5
    score += 3.5 * min(2, len(firing))
    score += 2.0 if worst_errors > 0.02 else 0.0
    score += 1.5 if worst_slowness > 2.5 else 0.0
    score += 3.0 * (suspects[0].probability if suspects else 0.0)
    return 1.0 / (1.0 + math.exp(-max(-6.0, min(6.0, score))))


async def _quiet(trial: TrialHandle) -> bool:
    """Wait until no alert fires; four minutes, longer while fewer fire each time."""
    before = math.inf
    for minute in range(10):
        if not _steps_left(trial, 2):
            return False
        await trial.call("wait", seconds=60, reason="the repair takes effect")
        seen = await trial.call("alerts")
        firing = sum(alert["state"] == "firing" for alert in seen.data or [])
        if not firing:
            return True
        if minute >= 3 and firing >= before:
            return False
        before = firing
    return False


def _steps_left(trial: TrialHandle, wanted: int) -> bool:
    """Say whether so many calls can be made before the one that submits."""
    return trial.budget.steps is None or trial.budget.steps > wanted


def _candidates(suspects: list[Suspect]) -> list[dict[str, Any]]:
    """Return up to five components with probabilities that sum to at most 1."""
    return [
        {"component": name, "probability": _floor(share)}
        for name, share in by_component(suspects)[:5]
    ]


def _diagnosis(seen: Survey, suspects: list[Suspect]) -> dict[str, Any]:
    """Return up to five hypotheses, and the observations behind the first."""
    hypotheses = [
        {
            "component": s.component,
            "cause": s.cause,
            "mechanism": s.why[:1000],
            "probability": _floor(s.probability),
        }
        for s in suspects[:5]
    ]
    sources = [source for clue in suspects[0].clues for source in clue.sources] if suspects else []
    evidence = [seen.ids[source] for source in dict.fromkeys(sources) if source in seen.ids]
    return {"hypotheses": hypotheses, "evidence": evidence}


def _floor(share: float) -> float:
    """Cut to three digits, so that the sum of shares stays below 1."""
    return int(share * 1000) / 1000


def _report(suspects: list[Suspect], broken: float) -> str:
    lines = [f"anomaly {broken:.2f}"]
    lines += [f"{s.probability:.2f} {s.component} {s.cause}: {s.why}" for s in suspects[:5]]
    return "\n".join(lines)

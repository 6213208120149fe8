"""``firm``: critical paths, culprit instances, contended resources, reprovisioning. No LLM.

After FIRM (OSDI 2020). It sees traces and resources and nothing else: what does not make requests
slower or shows in no resource, it cannot name. Mitigation gives the culprit more, looks whether
fewer requests violate what is usual, and takes the change back if not. Not here: the parts
(neighbours), how the stored model came about (``train``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aiopslab.agents import TrialHandle
from aiopslab.agents.sampling import Windows, components, traces, windows
from aiopslab.agents.trivial import Guess, Guesser, Suspicion
from aiopslab.agents.trivial.guess import MOST
from aiopslab.agents.violations import ALARM, Usual, anomaly, route

from .classifier import load, suspicions
from .features import Instance, instances
from .paths import critical_path
from .reprovision import Row, Step, step_for
from .resources import Levels, levels

KEPT = "instances.json"
"""File of the record that holds every instance with its features; ``train`` learns from it."""
MODEL = Path(__file__).with_name("model.json")
DOUBT = 0.3
"""Likelihood of an anomaly from which on it does not say that nothing is wrong."""
ROOM = 0.3
"""Chance that "something else" has beside those of the culprits."""
SETTLE_S = 120.0
LOOK_S = 60.0
HELPED = 0.5
"""Share of the violations that may be left for a change to be kept."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What traces say."""

    known: Mapping[str, str]
    usual: Usual
    share: float
    """Of requests that violate what is usual."""
    instances: list[Instance]
    culprits: dict[str, float]
    """Component to how likely it is one, the likeliest first."""
    sixteenths: int

    def instance_of(self, component: str) -> str:
        """Return the instance of a component that took longest."""
        own = [i for i in self.instances if i.component == component]
        return max(own, key=lambda i: (i.seconds, i.name)).name if own else ""


class Firm(Guesser):
    """The agent.

    Args:
        trained: Whether the stored model decides; otherwise thresholds do.
        steps: How many culprits it may give more to in one mitigation.
    """

    def __init__(self, trained: bool = True, steps: int = 2) -> None:
        self._model = load(MODEL) if trained else None
        self._steps = steps

    async def run(self, trial: TrialHandle) -> None:
        """Answer; in mitigation act first."""
        if trial.brief.task == "mitigation":
            await trial.call("submit", **await self._mitigate(trial))
        else:
            await super().run(trial)

    async def guess(self, trial: TrialHandle) -> Guess:
        """Find culprits and what they are short of."""
        found = await self.look(trial)
        broken = anomaly(found.share)
        if broken < 0.5:
            return Guess(broken, escalate=broken > DOUBT)
        have = await levels(trial, list(found.known))
        return Guess(broken, suspected(found, have))

    async def look(self, trial: TrialHandle) -> Finding:
        """Sample traces and judge every instance on their critical paths."""
        known = await components(trial)
        seen = await windows(trial)
        usual = Usual(seen.healthy)
        found = finding(seen, known, usual)
        chances = suspicions(found, self._model)
        share = usual.worst_share(seen.recent)
        ranked = sorted(chances.items(), key=lambda item: (-item[1], item[0]))
        trial.note(_report(found, ranked, share))
        trial.keep(KEPT, json.dumps([asdict(one) for one in found]).encode())
        return Finding(known, usual, share, found, dict(ranked), seen.sixteenths)

    async def _mitigate(self, trial: TrialHandle) -> dict[str, Any]:
        """Give culprits more, one after another, until requests are as usual."""
        found = await self.look(trial)
        broken = anomaly(found.share)
        if broken < 0.5:
            doubt = broken > DOUBT
            return {"summary": "nothing violates what is usual", "confidence": round(1 - broken, 3),
                    "escalate": doubt}  # fmt: skip
        have = await levels(trial, list(found.known))
        workloads = await _workloads(trial)
        share, done = found.share, []
        for component in list(found.culprits)[: self._steps]:
            kind = found.known.get(component, "")
            short = have.shortage(component, kind, found.instance_of(component))
            step = step_for(component, kind, short, workloads)
            if step is None or not _steps_left(trial, 6):
                continue
            share, kept = await _try(trial, step, found, share)
            done.append(step.said + ("" if kept else " (taken back)"))
            if share < ALARM:
                return {"summary": f"raised {', '.join(done)}", "confidence": 0.7}
        said = f"tried {', '.join(done)}" if done else "no rule gives the culprits more"
        return {"summary": f"{said}; requests still violate", "confidence": 0.05}


def finding(seen: Windows, known: Mapping[str, str], usual: Usual) -> list[Instance]:
    """Return the features of every instance on critical paths of requests that suffer.

    Recent ones beside healthy ones of the same kinds.
    """
    kinds = usual.suffering(seen.recent)
    recent, healthy = (
        [path for trace in sampled if (path := critical_path(trace)) and route(path.root) in kinds]
        for sampled in (seen.recent, seen.healthy)
    )
    return instances(recent, healthy, known)


def suspected(found: Finding, have: Levels) -> list[Suspicion]:
    """Return the likeliest culprits with the causes that their shortages suggest."""
    first = list(found.culprits.items())[:MOST]
    # Chances are per instance and need not sum to 1.
    total = sum(chance for _, chance in first) + ROOM
    answer: dict[tuple[str, str], float] = {}
    for name, chance in first:
        short = have.shortage(name, found.known.get(name, ""), found.instance_of(name))
        key = (short.place, short.cause)
        answer[key] = answer.get(key, 0.0) + chance / total
    return [Suspicion(*key, math.floor(share * 1e3) / 1e3) for key, share in answer.items()]


async def _try(trial: TrialHandle, step: Step, found: Finding, before: float) -> tuple[float, bool]:
    """Make a change and look; return the share that violates then, and whether it was kept."""
    trial.note(step.said)
    tool, arguments = step.do
    if not (await trial.call(tool, **arguments)).ok:
        return before, False
    seen = await trial.call("wait", seconds=SETTLE_S, reason="the change takes effect")
    now = datetime.fromisoformat(seen.time).timestamp()
    recent, _ = await traces(trial, start=now - LOOK_S, end=now, sixteenths=found.sixteenths)
    share = found.usual.worst_share(recent) if recent else 1.0
    if share < ALARM or share < HELPED * before:
        return share, True
    tool, arguments = step.undo
    await trial.call(tool, **arguments)
    return before, False


async def _workloads(trial: TrialHandle) -> list[Row]:
    found: list[Row] = []
    for kind in ("Deployment", "StatefulSet"):
        seen = await trial.call("k8s_get", kind=kind)
        found += seen.data if seen.ok and isinstance(seen.data, list) else []
    return found


def _steps_left(trial: TrialHandle, wanted: int) -> bool:
    return trial.budget.steps is None or trial.budget.steps > wanted


def _report(found: list[Instance], ranked: list[tuple[str, float]], share: float) -> str:
    lines = [f"at least {share:.1%} of some requests violate what is usual"]
    lines += [f"{chance:.2f} {name}" for name, chance in ranked[:5]]
    lines += [
        f"  {i.name}: RI {i.importance:.2f}, CI {i.congestion:.1f}, growth {i.growth:.2f}"
        for i in sorted(found, key=lambda i: -i.growth)[:5]
    ]
    return "\n".join(lines)

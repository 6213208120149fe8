"""From trials of trivial agents to scores, and to the incidents they solve.

Pure functions of rows. Not here: who plays (``orchestrator.baselines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiopslab.grading.statistics import mean
from aiopslab.models.baseline import BaselineTrial, Score
from aiopslab.models.task import TASKS, Task


def scores(trials: Iterable[BaselineTrial]) -> dict[str, dict[Task, Score]]:
    """Return agent -> task -> score, agents sorted, tasks in the usual order."""
    rows = [t for t in trials if t.passed is not None]
    return {
        agent: {
            task: _score([t for t in rows if (t.agent, t.task) == (agent, task)])
            for task in TASKS
            if any((t.agent, t.task) == (agent, task) for t in rows)
        }
        for agent in sorted({t.agent for t in rows})
    }


def solved(trials: Iterable[BaselineTrial], agent: str) -> list[str]:
    """Name the incidents with a fault that an agent mitigated with every seed, sorted."""
    outcomes: dict[str, list[bool]] = {}
    for trial in trials:
        if (trial.agent, trial.task) == (agent, "mitigation") and not trial.quiet:
            outcomes.setdefault(trial.incident, []).append(bool(trial.passed))
    return sorted(incident for incident, passed in outcomes.items() if all(passed))


def _score(rows: Sequence[BaselineTrial]) -> Score:
    sides = [[float(bool(t.passed)) for t in rows if t.quiet == quiet] for quiet in (False, True)]
    shares = [share for side in sides if (share := mean(side)) is not None]
    detection = bool(rows) and rows[0].task == "detection"
    return Score(
        passed=sum(bool(t.passed) for t in rows),
        n=len(rows),
        balanced=mean(shares) if detection and len(shares) == 2 else None,
    )

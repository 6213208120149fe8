"""From rows of trivial agents to scores, and to the incidents they solve.

Pure functions of rows. Not here: who plays (``orchestrator.baselines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiopslab.models.baseline import Baseline, Score
from aiopslab.models.task import TASKS, Task


def scores(rows: Iterable[Baseline]) -> dict[str, dict[Task, Score]]:
    """Return agent -> task -> score, agents sorted, tasks in the usual order."""
    rows = list(rows)
    return {
        agent: {
            task: _score([r for r in rows if r.agent == agent and task in r.passed], task)
            for task in TASKS
        }
        for agent in sorted({r.agent for r in rows})
    }


def by_hops(
    rows: Iterable[Baseline], hops: Mapping[str, int]
) -> dict[tuple[str, int], dict[Task, Score]]:
    """Return (agent, declared hops) -> task -> score, sorted: is what is called hard hard?

    Args:
        rows: What was measured.
        hops: Incident to its declared hops; rows of others are left out.
    """
    groups: dict[tuple[str, int], list[Baseline]] = {}
    for row in rows:
        if row.incident in hops:
            groups.setdefault((row.agent, hops[row.incident]), []).append(row)
    return {key: scores(groups[key])[key[0]] for key in sorted(groups)}


def solved(rows: Iterable[Baseline], agent: str) -> list[str]:
    """Name the incidents with a fault that an agent mitigated with every seed, sorted."""
    outcomes: dict[str, list[bool]] = {}
    for row in rows:
        if row.agent == agent and "mitigation" in row.passed and "mitigation" not in row.quiet:
            outcomes.setdefault(row.incident, []).append(bool(row.passed["mitigation"]))
    return sorted(incident for incident, passed in outcomes.items() if all(passed))


def _score(rows: list[Baseline], task: Task) -> Score:
    ended = [row for row in rows if row.passed[task] is not None]
    quiet = [bool(row.passed[task]) for row in ended if task in row.quiet]
    struck = [bool(row.passed[task]) for row in ended if task not in row.quiet]
    return Score(passed=sum(struck), n=len(struck), quiet_passed=sum(quiet), quiet_n=len(quiet))

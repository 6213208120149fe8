"""From rows of baseline agents to scores, and to the incidents they solve.

Pure functions of rows. Not here: who plays (``orchestrator.baselines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aiopslab.grading.statistics import mean_of_two, wilson
from aiopslab.models.baseline import Baseline, Score
from aiopslab.models.run import Estimate
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


def estimated(score: Score, task: Task) -> Estimate:
    """Return what a table shows of a score, with its 95 % interval.

    Detection is the balanced accuracy, the interval that of the mean of two proportions; of other
    tasks the share of the trials with a fault, by Wilson. Both take trials as independent: rows
    must be of one draw an incident.
    """
    if task == "detection":
        sides = (score.passed, score.n), (score.quiet_passed, score.quiet_n)
        found = mean_of_two(*sides)
        if found is None:
            return Estimate()
        value, (low, high) = found
        n = score.n + score.quiet_n
        return Estimate(value=value, low=low, high=high, n=n, method="wilson")
    return _share(score.passed, score.n)


def quiet(tasks: Mapping[Task, Score]) -> Estimate:
    """Return the share of localization, diagnosis and mitigation right where nothing was wrong.

    The three are of one incident and hang together, so that the interval takes a third of them.
    """
    others = [score for task, score in tasks.items() if task != "detection"]
    passed, n = sum(s.quiet_passed for s in others), sum(s.quiet_n for s in others)
    incidents = max((s.quiet_n for s in others), default=0)
    if not n or not incidents:
        return Estimate()
    bounds = wilson(round(passed / n * incidents), incidents)
    low, high = bounds or (None, None)
    return Estimate(value=passed / n, low=low, high=high, n=n, method="wilson")


def unmeasured(
    rows: Iterable[Baseline], agents: Sequence[str], incidents: Iterable[str]
) -> dict[str, list[str]]:
    """Return agent -> incidents of which there is no row of it, sorted; agents that lack none out.

    Args:
        rows: What was measured.
        agents: Whom the question is about.
        incidents: What should have been measured.
    """
    known = {(row.agent, row.incident) for row in rows}
    wanted = sorted(incidents)
    missing = {agent: [i for i in wanted if (agent, i) not in known] for agent in agents}
    return {agent: names for agent, names in missing.items() if names}


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


def _share(passed: int, n: int) -> Estimate:
    low, high = wilson(passed, n) or (None, None)
    value = passed / n if n else None
    return Estimate(value=value, low=low, high=high, n=n, method="wilson" if n else "none")


def _score(rows: list[Baseline], task: Task) -> Score:
    ended = [row for row in rows if row.passed[task] is not None]
    calm = [bool(row.passed[task]) for row in ended if task in row.quiet]
    struck = [bool(row.passed[task]) for row in ended if task not in row.quiet]
    return Score(passed=sum(struck), n=len(struck), quiet_passed=sum(calm), quiet_n=len(calm))

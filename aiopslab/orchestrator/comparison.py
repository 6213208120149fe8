"""Compare two runs, or two agents of one run: read the records, pair the trials, name what differs.

Trials are a pair if they are of one problem and were drawn with one seed. What has no partner is
named with the reason. Not here: figures from pairs (``grading.comparison``), how they look
(``report.comparison``), the two environments against each other (``agreement``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aiopslab.errors import UsageError
from aiopslab.grading import SCORING_VERSION
from aiopslab.grading.comparison import (
    TOKENS,
    Pair,
    Played,
    differences,
    flips,
    score_differences,
    significant,
    undecided,
)
from aiopslab.models.comparison import Compared, Comparison, Unpaired
from aiopslab.models.grade import Grade
from aiopslab.models.lock import Lock
from aiopslab.models.run import SIMULATED, PlannedTrial, RunRecord
from aiopslab.models.trial import Trial, Usage
from aiopslab.orchestrator.records import RunDirectory

Draw = tuple[str, int]
"""A problem and the seed that it was drawn with."""

_SETTINGS = {
    "agent", "model", "base_url", "agent_args", "agent_env", "environment", "context", "clock",
    "think_s", "limits", "sandbox", "sandbox_image",
}  # fmt: skip
"""Fields of the configuration that can move a score of a trial that both made."""
_OF_UNFINISHED = "slo_violation_s"
"""A score that says nothing where settling ended early (``verdict_only``)."""


def compare(
    a: Path, b: Path, *, agent_a: str | None = None, agent_b: str | None = None
) -> Comparison:
    """Compare what two agents did on the same draws of the same problems.

    Args:
        a: Directory of the run that is compared with.
        b: Directory of the run that is judged; it may be the same.
        agent_a: Whose trials of ``a``; needed where several agents played in that run.
        agent_b: Whose trials of ``b``.

    Raises:
        UsageError: There is no such run, or no such agent in it; the runs are not comparable (one
            was simulated and one was not, or they were graded by several scoring versions); or no
            draw of a problem was completed on both sides.
    """
    left, right = _side("A", a, agent_a), _side("B", b, agent_b)
    _refuse_mixed_environments(left, right)
    pairs, alone = _pair(left, right)
    if not pairs:
        raise UsageError(
            f"nothing to compare: {_counted(alone)}",
            hint="run the same problems with the same --seed",
        )
    return _compared(left, right, pairs, alone)


@dataclass(frozen=True)
class _Side:
    """One agent's trials in one run."""

    letter: str
    run: RunDirectory
    record: RunRecord
    agent: str

    @cached_property
    def draws(self) -> dict[Draw, list[PlannedTrial]]:
        """The planned trials by what was drawn; several where a run played one more than once."""
        found: dict[Draw, list[PlannedTrial]] = {}
        config = self.record.config
        for plan in self.record.trials:
            if config.agent_of(plan) == self.agent:
                key = (f"{incident_name(plan)}-{plan.task}", config.trial_seed(plan.attempt))
                found.setdefault(key, []).append(plan)
        return found

    @cached_property
    def ended(self) -> dict[Draw, tuple[Trial, Grade | None]]:
        """What became of the draws that were played once and whose record is whole."""
        found = {}
        for draw, plans in self.draws.items():
            directory = self.run.trial(plans[0])
            if len(plans) == 1 and directory.complete:
                found[draw] = (directory.trial(), directory.grade())
        return found

    def problem_with(self, draw: Draw) -> str | None:
        """Say why a draw of this side cannot be compared; None if it can."""
        if len(self.draws[draw]) > 1:
            return f"several in {self.letter}"
        trial, grade = self.ended.get(draw, (None, None))
        if trial is not None and trial.outcome == "infra_error":
            return f"lab failed in {self.letter}"
        return f"unfinished in {self.letter}" if grade is None else None

    def played(self, draw: Draw) -> Played:
        """Return a completed trial as one half of a pair."""
        trial, grade = self.ended[draw]
        scores = dict(grade.scores) if grade is not None else {}
        if self.draws[draw][0].verdict_only:
            scores.pop(_OF_UNFINISHED, None)
        scores[TOKENS] = _tokens(trial.usage)
        return Played(trial.outcome, scores)

    def scoring_versions(self) -> set[str]:
        """Return the versions that graded these trials."""
        return {grade.scoring_version for _, grade in self.ended.values() if grade is not None}

    def described(self) -> Compared:
        """Say whose trials these are, from which run."""
        config = self.record.config
        return Compared(
            run=str(self.run.path), label=self.record.label, agent=self.agent, model=config.model,
            environment=config.environment.kind, context=config.context.name,
            n_planned=sum(map(len, self.draws.values())),
        )  # fmt: skip

    def lock(self) -> Lock:
        """Return the lock with incidents by their names, without the scoring version.

        Grades carry the version that made them; the lock that of the day of the run.
        """
        lock = self.run.lock()
        names = {plan.incident: incident_name(plan) for plan in self.record.trials}
        named = {names[key]: digest for key, digest in lock.incidents.items() if key in names}
        # The rest of the context is told, and named as a setting.
        memory = {key: digest for key, digest in lock.context.items() if key == "memory"}
        changed = {"incidents": named, "scoring_version": "", "context": memory}
        return lock.model_copy(update=changed)

    def settings(self) -> dict[str, str]:
        """Return what the run was told that can move a score, flat; of the environment names."""
        told = self.record.config.model_dump(mode="json", include=_SETTINGS)
        # Values of variables may be secrets.
        told["agent_env"] = sorted(entry.partition("=")[0] for entry in told["agent_env"])
        return _flat(told | {"agent": self.agent})


def _compared(left: _Side, right: _Side, pairs: list[Pair], alone: list[Unpaired]) -> Comparison:
    version = _scoring_version(left, right)
    overall, tasks = differences(pairs)
    coverage = len(pairs) / len(left.draws.keys() & right.draws.keys())
    return Comparison.model_validate(
        {
            "a": left.described(),
            "b": right.described(),
            "scoring_version": version,
            "overall": overall,
            "tasks": tasks,
            "scores": score_differences(pairs),
            "flips": flips(pairs),
            "unpaired": alone,
            "coverage": coverage,
            "locks": _lock_differences(left.lock(), right.lock()),
            "settings": _differing(left.settings(), right.settings()),
            "worse": significant(overall, tasks, worse=True),
            "better": significant(overall, tasks, worse=False),
            "undecided": undecided(tasks, coverage),
        }
    )


def _side(letter: str, path: Path, agent: str | None) -> _Side:
    run = RunDirectory.find(path)
    record = run.record()
    playing = sorted({record.config.agent_of(plan) for plan in record.trials})
    flag = f"--agent-{letter.lower()}"
    if agent is None and len(playing) > 1:
        raise UsageError(
            f"several agents played in {str(path)!r}: {', '.join(playing)}",
            hint=f"name one: {flag} {playing[0]}",
        )
    if agent is not None and agent not in playing:
        raise UsageError(
            f"{flag}: {agent!r} did not play in {str(path)!r}", hint=f"there: {', '.join(playing)}"
        )
    return _Side(letter, run, record, agent or playing[0])


def incident_name(plan: PlannedTrial) -> str:
    """Return the name of a trial's incident, also where that was given by its path.

    Where several agents share a run, a problem is called ``incident:agent:task``.
    """
    name, colon, _ = plan.problem.partition(":")
    return name if colon else plan.problem.removesuffix(f"-{plan.task}")


def _refuse_mixed_environments(left: _Side, right: _Side) -> None:
    kinds = [side.record.config.environment.kind for side in (left, right)]
    if kinds.count(SIMULATED) == 1:
        raise UsageError(
            f"A was played on {kinds[0]!r}, B on {kinds[1]!r}: scores of the simulated world and "
            "of a cluster are never mixed",
            hint="aiopslab agree --run RUN holds the two against each other",
        )


def _scoring_version(left: _Side, right: _Side) -> str:
    """Return the one version that graded both sides.

    Raises:
        UsageError: There are several; says which runs to grade again.
    """
    versions = {side.run.path: side.scoring_versions() for side in (left, right)}
    every = set().union(*(side.scoring_versions() for side in (left, right)))
    if len(every) == 1:
        return every.pop()
    old = [str(path) for path, found in versions.items() if found != {SCORING_VERSION}]
    raise UsageError(
        f"graded by several scoring versions ({', '.join(sorted(every))}), whose scores are not "
        "comparable",
        hint=" && ".join(f"aiopslab regrade {path}" for path in old),
    )


def _pair(left: _Side, right: _Side) -> tuple[list[Pair], list[Unpaired]]:
    pairs: list[Pair] = []
    alone: list[Unpaired] = []
    for draw in sorted(left.draws.keys() | right.draws.keys()):
        reason = _why_not(draw, left, right)
        problem, seed = draw
        if reason is not None:
            told = {"problem": problem, "seed": seed, "reason": reason}
            alone.append(Unpaired.model_validate(told))
            continue
        plan = left.draws[draw][0]
        played = left.played(draw), right.played(draw)
        pairs.append(Pair(problem, incident_name(plan), plan.task, seed, *played))
    return pairs, alone


def _why_not(draw: Draw, left: _Side, right: _Side) -> str | None:
    if draw not in right.draws:
        return "only in A"
    if draw not in left.draws:
        return "only in B"
    reason = left.problem_with(draw) or right.problem_with(draw)
    if reason is None and left.ended[draw][0].twin != right.ended[draw][0].twin:
        return "another draw"
    return reason


def _counted(alone: list[Unpaired]) -> str:
    reasons = [one.reason for one in alone]
    return ", ".join(f"{reasons.count(r)} {r}" for r in dict.fromkeys(reasons)) or "no trials"


def _lock_differences(a: Lock, b: Lock) -> list[str]:
    """List what differs; what only one has is no difference, its trials have no partner."""
    incidents, apps = a.incidents.keys() & b.incidents.keys(), a.apps.keys() & b.apps.keys()
    left, right = (
        lock.model_copy(
            update={
                "incidents": {name: lock.incidents[name] for name in incidents},
                "apps": {name: lock.apps[name] for name in apps},
            }
        )
        for lock in (a, b)
    )
    return left.differences(right)


def _tokens(used: Usage) -> float | None:
    if used.tokens_in is None and used.tokens_out is None:
        return None
    return float((used.tokens_in or 0) + (used.tokens_out or 0))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: str(value)}
    flat: dict[str, str] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else key)
    return flat


def _differing(a: Mapping[str, str], b: Mapping[str, str]) -> list[str]:
    absent = "(absent)"
    return [
        f"{key}: {a.get(key, absent)} -> {b.get(key, absent)}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    ]

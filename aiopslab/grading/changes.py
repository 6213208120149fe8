"""Why two grades of one trial differ: the checks and the scores that are not as they were.

A grade of another scoring version that says the same is no change. Not here: reading and writing
grades (``orchestrator.results``), two trials against each other (``comparison``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from aiopslab.models.grade import Check, Grade
from aiopslab.models.regrade import CheckChange, ScoreChange


def changed_checks(old: Grade, new: Grade) -> list[CheckChange]:
    """List checks that pass, fail or gate otherwise, that are new or that are gone.

    Those of the new grade come first, in its order. Words alone are no change.
    """
    before, after = _numbered(old.checks), _numbered(new.checks)
    found = []
    # Keys of the new grade come first, and its checks stand over the old ones.
    for key, told in {**after, **before, **after}.items():
        (passed, gated), (passes, gates) = _says(before.get(key)), _says(after.get(key))
        if (passed, gated) != (passes, gates):
            change = CheckChange(
                id=told.id, before=passed, after=passes, gated=gated, gates=gates,
                reason=told.reason,
            )  # fmt: skip
            found.append(change)
    return found


def changed_scores(old: Grade, new: Grade) -> list[ScoreChange]:
    """List scores with another value, by name; a score that is not there is unknown."""
    return [
        ScoreChange(score=name, before=old.scores.get(name), after=new.scores.get(name))
        for name in sorted(old.scores.keys() | new.scores.keys())
        if old.scores.get(name) != new.scores.get(name)
    ]


def _numbered(checks: Sequence[Check]) -> dict[tuple[str, int], Check]:
    """Key checks by id and, where one occurs more than once, by which time it is."""
    times: Counter[str] = Counter()
    found = {}
    for check in checks:
        found[check.id, times[check.id]] = check
        times[check.id] += 1
    return found


def _says(check: Check | None) -> tuple[bool | None, bool | None]:
    return (None, None) if check is None else (check.passed, check.gating)

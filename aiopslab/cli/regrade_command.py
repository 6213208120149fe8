"""``aiopslab regrade``: every grade again, from the records alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aiopslab.cli import output

if TYPE_CHECKING:
    from aiopslab.orchestrator.results import Regraded


def command(run: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Grade a run again from its records; says what changed, and by which checks and scores.

    Args:
        run: The run's directory.
        json: Print one JSON document.
    """
    from aiopslab.orchestrator.records import RunDirectory
    from aiopslab.orchestrator.results import regrade
    from aiopslab.report.regrade import change_lines, mean_lines, summary

    done = regrade(RunDirectory.find(run))
    if json:
        output.envelope("aiopslab/regrade@1", _document(done))
        return 0
    for line in [*summary(done), *change_lines(done), *mean_lines(done)]:
        print(line)
    return 0


def _document(done: Regraded) -> dict[str, Any]:
    return {
        "graded": done.n_graded,
        "up": done.up,
        "down": done.down,
        "old": done.before.overall.completed.value,
        "new": done.after.overall.completed.value,
        "scoring_version": {"old": done.scoring_versions, "new": done.after.scoring_version},
        "changes": [change.model_dump(mode="json") for change in done.changes],
    }

"""``aiopslab regrade``: every grade again, from the records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiopslab.cli import output


def command(run: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Grade a run again from its records; says what changed.

    Args:
        run: The run's directory.
        json: Print one JSON document.
    """
    from aiopslab.orchestrator.records import RunDirectory
    from aiopslab.orchestrator.results import regrade
    from aiopslab.report.terminal import number

    done = regrade(RunDirectory.find(run))
    old, new = done.before.overall.completed.value, done.after.overall.completed.value
    if json:
        data = {"graded": done.n_graded, "up": done.up, "down": done.down, "old": old, "new": new}
        output.envelope("aiopslab/regrade@1", data)
        return 0
    changed = len(done.up) + len(done.down)
    print(
        f"{done.n_graded} graded, {changed} changed ({len(done.up)} up, {len(done.down)} down),"
        f" mean {number(old)} -> {number(new)}"
    )
    for name in done.up:
        print(f"up    {name}")
    for name in done.down:
        print(f"down  {name}")
    return 0

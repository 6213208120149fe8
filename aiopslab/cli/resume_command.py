"""``aiopslab resume``: finish a run that was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiopslab.cli.progress import Display, display


def command(
    run: Path,
    /,
    *,
    force: bool = False,
    fail_on_infra: float = 0.1,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Continue a run: trials without a record and those whose lab failed are run.

    Args:
        run: The run's directory.
        force: Go on although incidents, agent or harness have changed since.
        fail_on_infra: Exit 4 if more than this share of the trials failed on our side.
        display_: auto, live, plain, json or none.
        json: Print the results as one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import finish, threshold
    from aiopslab.orchestrator.run import resume

    threshold(fail_on_infra)
    with display(display_) as show:
        report = asyncio.run(resume(run, force=force, progress=show))
    return finish(report, as_json=json, fail_on_infra=fail_on_infra)

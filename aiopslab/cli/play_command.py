"""``aiopslab play``: you are the on-call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aiopslab.models.task import Task


def command(
    incident: str,
    /,
    *,
    task: Annotated[Task, Parameter(alias="-t")] = "mitigation",
    seed: int = 0,
    runs_dir: Annotated[Path, Parameter(alias="-o")] = Path("runs"),
) -> int:
    """Be the agent: a terminal session with the agents' tools, graded like any other trial.

    Args:
        incident: Name of an incident, or path of an incident file.
        task: detection, localization, diagnosis or mitigation.
        seed: Draws target, parameters and traffic.
        runs_dir: Where the record is kept.
    """
    import asyncio
    import sys

    from aiopslab.agents.human import Human
    from aiopslab.cli.run_command import finish
    from aiopslab.models.run import Limits, RunConfig
    from aiopslab.orchestrator.run import run
    from aiopslab.problems import catalogue

    spec = catalogue.load_incident(incident)
    config = RunConfig(
        targets=[incident if incident.endswith((".yaml", ".yml")) else f"{spec.name}-{task}"],
        tasks=[task],
        agent="human",
        seed=seed,
        limits=Limits(steps=None, wall_s=None),
        runs_dir=str(runs_dir),
    )
    print("preparing the application and its users, some seconds ...", file=sys.stderr)
    return finish(asyncio.run(run(config, agent=Human())), as_json=False, fail_on_infra=0.0)

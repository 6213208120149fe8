"""``aiopslab baselines``: what trivial agents score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display

if TYPE_CHECKING:
    from aiopslab.models.baseline import Baselines


def command(
    *targets: str,
    agent: Annotated[list[str] | None, Parameter(alias="-a", negative="")] = None,
    seed: int = 0,
    attempts: Annotated[int, Parameter(alias="-k")] = 1,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    concurrency: Annotated[int, Parameter(alias="-n")] = 0,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure what trivial agents score, and which incidents give in to them.

    An incident that restart-everything or rollback-latest-change repairs has to say so (solved_by
    in its file, with the reason why it is kept); one that does not makes the exit code 6.

    Args:
        targets: Incidents, suites, globs, or paths of incident files; none means all.
        agent: Agents to measure; none means noop and every trivial agent.
        seed: Draws targets, parameters and traffic.
        attempts: How often everything is played; attempt k with seed + k - 1.
        out: File for the rows, one a trial; docs/baselines.md is made of them.
        concurrency: Host processes; 0: one a core.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import cores
    from aiopslab.orchestrator.baselines import AGENTS, measure

    hosts = concurrency or cores()
    with display(display_) as show:
        work = measure(
            list(targets), agents=agent or AGENTS, seed=seed, attempts=attempts, hosts=hosts,
            progress=show,
        )  # fmt: skip
        found = asyncio.run(work)
    if out is not None:
        out.write_text(found.model_dump_json(indent=1, by_alias=True) + "\n", encoding="utf-8")
    return _tell(found, list(targets), as_json=json)


def _tell(found: Baselines, targets: list[str], *, as_json: bool) -> int:
    from aiopslab.grading.baselines import scores
    from aiopslab.orchestrator.baselines import undeclared
    from aiopslab.report.terminal import baseline_rows

    silent = undeclared(found, targets)
    if as_json:
        data = {**found.model_dump(mode="json", by_alias=True), "undeclared": silent}
        output.envelope("aiopslab/baselines@1", data)
        return EXIT_INVALID if silent else 0
    output.table(*baseline_rows(scores(found.trials)))
    for agent, incidents in silent.items():
        print(f"{agent} repairs {', '.join(incidents)}: add solved_by to the file, or mend it")
    return EXIT_INVALID if silent else 0

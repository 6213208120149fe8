"""``aiopslab agree``: does the simulated world show what a real cluster shows?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import output
from aiopslab.cli.progress import Display, display

if TYPE_CHECKING:
    from aiopslab.models.agreement import Agreement
    from aiopslab.orchestrator.agreement import Question


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """What is compared, and where."""

    env: Annotated[Literal["kind", "kubeconfig"], Parameter(alias="-e")] = "kind"
    """The cluster: kind, or kubeconfig; the first of several."""
    env_option: Annotated[list[str], Parameter(alias="-E", negative="")] = field(
        default_factory=list
    )
    """Option of the cluster, KEY=VALUE; repeatable."""
    agent: Annotated[str, Parameter(alias="-a")] = "statistical"
    """Whose answers are compared."""
    seed: int = 0
    """Draws targets, parameters and traffic."""
    runs_dir: Path = Path("runs")
    """Where the two runs are kept."""
    concurrency: Annotated[int, Parameter(alias="-n")] = 1
    """Apps on the cluster side by side."""
    run: Path | None = None
    """A run on a cluster that is compared, instead of playing there anew."""


def command(
    *targets: str,
    asked: Asked | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run incidents in the simulated world and on a cluster, and compare.

    Compared are the journeys that miss their promise at hand-over, the alerts that fire while
    nobody repairs anything, whether the reference fix restores both, and what an agent answers
    first. Of suites and globs only incidents are played that exist on a cluster. What baselines -e
    kind has kept, with the oracle among its agents, need not be played again: --run DIRECTORY.

    Args:
        targets: Incidents, suites, globs, or paths of incident files.
        asked: What is compared, and where.
        out: Journal for the rows, JSON lines; a row of the same incident and seed is replaced.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.errors import UsageError
    from aiopslab.orchestrator.agreement import agree, agree_with

    asked = asked or Asked()
    if not targets and asked.run is None:
        raise UsageError("nothing to compare", hint="aiopslab agree lite -e kind")
    question = _question(targets, asked)
    with display(display_) as show:
        if asked.run is None:
            found = asyncio.run(agree(question, out=out, progress=show))
        else:
            found = asyncio.run(agree_with(asked.run, question, out=out, progress=show))
    return _tell(found, as_json=json)


def _question(targets: tuple[str, ...], asked: Asked) -> Question:
    from aiopslab.cli.run_command import pair
    from aiopslab.models.run import EnvironmentChoice
    from aiopslab.orchestrator.agreement import Question

    options = {key: str(value) for key, value in map(pair, asked.env_option)}
    choice = EnvironmentChoice(kind=asked.env, options=options)
    return Question(
        targets, choice, asked.agent, asked.seed, str(asked.runs_dir), asked.concurrency
    )


def _tell(found: list[Agreement], *, as_json: bool) -> int:
    from aiopslab.report.fidelity import agreement_rows, differences, summary

    if as_json:
        output.envelope("aiopslab/agreement@1", [a.model_dump(mode="json") for a in found])
        return 0
    output.table(*agreement_rows(found))
    for line in [*summary(found), *differences(found)]:
        print(line)
    return 0

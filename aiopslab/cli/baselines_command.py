"""``aiopslab baselines``: what trivial agents score."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display

if TYPE_CHECKING:
    from aiopslab.models.baseline import Baseline
    from aiopslab.models.run import EnvironmentChoice


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which environment."""

    env: Annotated[Literal["sim", "kind", "kubeconfig"], Parameter(alias="-e")] = "sim"
    """sim, kind, or kubeconfig (a cluster of yours)."""
    env_option: Annotated[list[str], Parameter(alias="-E", negative="")] = field(
        default_factory=list
    )
    """Option of the environment, KEY=VALUE; repeatable."""
    runs_dir: Path = Path("runs")
    """Where the record of a run on a cluster is kept; one in the simulated world is not."""

    def choice(self) -> EnvironmentChoice:
        """Return the environment that is meant."""
        from aiopslab.cli.run_command import pair
        from aiopslab.models.run import EnvironmentChoice

        options = {key: str(value) for key, value in map(pair, self.env_option)}
        return EnvironmentChoice(kind=self.env, options=options)


def command(
    *targets: str,
    agent: Annotated[list[str] | None, Parameter(alias="-a", negative="")] = None,
    seeds: Annotated[str, Parameter(alias="--seed")] = "0",
    where: Where | None = None,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    concurrency: Annotated[int, Parameter(alias="-n")] = 0,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure what several agents score, and which incidents give in to trivial ones.

    All agents play from one staging of each incident, so that several cost little more than one.
    An incident that restart-everything or rollback-latest-change repairs has to say so (solved_by
    in its file, with the reason why it is kept); one that does not makes the exit code 6.

    Args:
        targets: Incidents, suites, globs, or paths of incident files; none means all.
        agent: Agents to measure; none means oracle, noop and every trivial agent.
        seeds: Draw targets, parameters and traffic: one seed, or several such as 0,1,2 or 0-19.
        where: Which environment.
        out: Journal for the rows, JSON lines; what is there already is not measured again.
        concurrency: Host processes; 0: one a core, or one a cluster.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.check_command import numbers
    from aiopslab.orchestrator.baselines import AGENTS, measure

    where = where or Where()
    with display(display_) as show:
        work = measure(
            list(targets), agents=agent or AGENTS, seeds=numbers(seeds),
            environment=where.choice(), out=out,
            runs_dir=str(where.runs_dir), hosts=concurrency or None, progress=show,
        )  # fmt: skip
        found = asyncio.run(work)
    return _tell(found, list(targets), as_json=json)


def _tell(found: list[Baseline], targets: list[str], *, as_json: bool) -> int:
    from aiopslab.grading.baselines import scores
    from aiopslab.orchestrator.baselines import undeclared
    from aiopslab.report.terminal import baseline_rows

    silent = undeclared(found, targets)
    if as_json:
        rows = [row.model_dump(mode="json") for row in found]
        data = {"rows": rows, "undeclared": silent}
        output.envelope("aiopslab/baselines@2", data)
        return EXIT_INVALID if silent else 0
    output.table(*baseline_rows(scores(found)))
    for agent, incidents in silent.items():
        print(f"{agent} repairs {', '.join(incidents)}: add solved_by to the file, or mend it")
    return EXIT_INVALID if silent else 0

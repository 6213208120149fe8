"""``aiopslab agree``: does the simulated world show what a real cluster shows?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import output
from aiopslab.cli.progress import Display, display


def command(
    *targets: str,
    env: Annotated[Literal["kind", "kubeconfig"], Parameter(alias="-e")] = "kind",
    env_option: Annotated[list[str] | None, Parameter(alias="-E", negative="")] = None,
    agent: Annotated[str, Parameter(alias="-a")] = "statistical",
    seed: int = 0,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    runs_dir: Path = Path("runs"),
    concurrency: Annotated[int, Parameter(alias="-n")] = 1,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run incidents in the simulated world and on a cluster, and compare.

    Compared are the journeys that miss their promise at hand-over, the alerts that have fired by
    then, whether the reference fix restores both, and what an agent answers first. Of suites and
    globs only incidents are played that exist on a cluster.

    Args:
        targets: Incidents, suites, globs, or paths of incident files.
        env: The cluster: kind, or kubeconfig.
        env_option: Option of the cluster, KEY=VALUE; repeatable.
        agent: Whose answers are compared.
        seed: Draws targets, parameters and traffic.
        out: Journal for the rows, JSON lines; a row of the same incident and seed is replaced.
        runs_dir: Where the four runs are kept.
        concurrency: Apps on the cluster side by side.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import pair
    from aiopslab.errors import UsageError
    from aiopslab.models.run import EnvironmentChoice
    from aiopslab.orchestrator.agreement import Question, agree
    from aiopslab.report.fidelity import agreement_rows, differences, summary

    if not targets:
        raise UsageError("nothing to compare", hint="aiopslab agree lite -e kind")
    options = {key: str(value) for key, value in map(pair, env_option or [])}
    choice = EnvironmentChoice(kind=env, options=options)
    question = Question(targets, choice, agent, seed, str(runs_dir), concurrency)
    with display(display_) as show:
        found = asyncio.run(agree(question, out=out, progress=show))
    if json:
        output.envelope("aiopslab/agreement@1", [a.model_dump(mode="json") for a in found])
        return 0
    output.table(*agreement_rows(found))
    for line in [*summary(found), *differences(found)]:
        print(line)
    return 0

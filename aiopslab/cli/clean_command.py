"""``aiopslab clean``: take what is ours off clusters, by label, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INFRA, output
from aiopslab.cli.on_cluster import Where, ask, rows

if TYPE_CHECKING:
    from aiopslab.environments.cluster.cleaning import Cleaned, Inventory
    from aiopslab.environments.cluster.kube import ClusterKube


def command(
    *,
    where: Where | None = None,
    run: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Remove everything of ours from a cluster; nothing without our labels is touched.

    Args:
        where: Which cluster. Default: those of the run, else kind's.
        run: Only what was made for this run, by its directory.
        dry_run: List it and stop.
        json: Print one JSON document.

    Returns:
        0; 4 if something is still there.
    """
    where = where or (Where() if run is None else _of_run(run))
    prefix = "" if run is None else _prefix(run)
    if dry_run:
        found = ask(where, lambda kube: _found(kube, prefix))
        listed = rows({context: one.objects for context, one in found.items()})
        return _tell({"would_remove": listed}, listed, as_json=json)
    done = ask(where, lambda kube: _cleaned(kube, prefix))
    left = rows({context: one.left.objects for context, one in done.items()})
    removed = rows({context: one.removed for context, one in done.items()})
    if json:
        _tell({"removed": removed, "left": left}, left, as_json=True)
    else:
        print(f"{len(removed)} objects removed, {len(left)} still there")
        for one in left:
            output.note(f"{one['context']} {one['object']} {one['namespace']}: {one['state']}")
        for context, each in done.items():
            for kind, why in sorted(each.left.unseen.items()):
                output.note(f"{kind} of {context} could not be looked at: {why}")
    return EXIT_INFRA if left else 0


def _of_run(path: Path) -> Where:
    """Return the clusters that a run was on; raises as they do who look for them."""
    from aiopslab.models.run import REAL
    from aiopslab.orchestrator.lab import find_lab
    from aiopslab.orchestrator.real_lab import read_options
    from aiopslab.orchestrator.records import RunDirectory

    choice = RunDirectory.find(path).record().config.environment
    if choice.kind not in REAL:
        return Where()
    options = read_options(choice.kind, choice.options)
    return Where(
        context=",".join(find_lab(choice).clusters()),
        kubeconfig=options.kubeconfig,
        allow_production=options.allow_production,
    )


def _prefix(run: Path) -> str:
    from aiopslab.orchestrator.real_lab import RUN_LENGTH
    from aiopslab.orchestrator.records import RunDirectory

    return RunDirectory.find(run).token[:RUN_LENGTH]


async def _found(kube: ClusterKube, prefix: str) -> Inventory:
    from aiopslab.environments.cluster.cleaning import Inventory, inventory
    from aiopslab.environments.cluster.labels import ours

    found = await inventory(kube, ours())
    mine = tuple(one for one in found.objects if one.trial.startswith(prefix))
    return Inventory(mine, found.unseen)


async def _cleaned(kube: ClusterKube, prefix: str) -> Cleaned:
    from aiopslab.environments.cluster.cleaning import clean, clean_trials
    from aiopslab.environments.cluster.labels import ours

    return await (clean_trials(kube, prefix) if prefix else clean(kube, ours()))


def _tell(data: dict[str, object], rows: list[dict[str, str]], *, as_json: bool) -> int:
    if as_json:
        output.envelope("aiopslab/clean@1", data)
    elif rows:
        output.table(list(rows[0]), [list(one.values()) for one in rows])
    else:
        print("nothing of ours is there")
    return 0

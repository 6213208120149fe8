"""``aiopslab check``: prove incidents sound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display


def command(
    *targets: str,
    seed: int = 0,
    concurrency: Annotated[int, Parameter(alias="-n")] = 0,
    keep: Path | None = None,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Prove incidents sound.

    For each: the twin is healthy and no alert fires, the fault is seen to hurt, doing nothing
    fails, the reference fix passes, known cheats fail, nothing an agent can read gives the fault
    away, and the same seed gives the same records.

    Args:
        targets: Incidents, suites, globs, or paths of incident files; none means all.
        seed: Draws targets, parameters and traffic.
        concurrency: Host processes; 0: one a core.
        keep: A new directory for the records of the proofs; without it they are thrown away.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import cores
    from aiopslab.orchestrator.soundness import check

    hosts = concurrency or cores()
    with display(display_) as show:
        verdicts = asyncio.run(
            check(list(targets), seed=seed, hosts=hosts, keep=keep, progress=show)
        )
    if json:
        output.envelope("aiopslab/check@1", [v.model_dump(mode="json") for v in verdicts])
    else:
        _print(verdicts)
    return 0 if all(v.sound for v in verdicts) else EXIT_INVALID


def _print(verdicts: list[Any]) -> None:
    rows = []
    for verdict in verdicts:
        held = sum(p.holds for p in verdict.proofs)
        mark = "sound" if verdict.sound else "NOT SOUND"
        rows.append([mark, verdict.incident, f"{held}/{len(verdict.proofs)}"])
    output.table(["", "incident", "proofs"], rows)
    for verdict in verdicts:
        for proof in verdict.proofs:
            if not proof.holds:
                print(f"{verdict.incident}: {proof.id}: {proof.detail}")
    print(f"{sum(v.sound for v in verdicts)} of {len(verdicts)} incidents are sound")

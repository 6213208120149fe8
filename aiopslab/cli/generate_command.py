"""``aiopslab generate``: a held-out set of incidents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display
from aiopslab.errors import UsageError

if TYPE_CHECKING:
    from aiopslab.orchestrator.generation import Generated


def command(
    *,
    suite: str = "core",
    seed: int,
    count: int = 10,
    out: Annotated[Path, Parameter(alias="-o")] = Path("held-out"),
    concurrency: Annotated[int, Parameter(alias="-n")] = 0,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write a held-out set: renamed apps, shifted magnitudes, pinned targets, each proven sound.

    The directory is a content root: point AIOPSLAB_CONTENT to it and run its suite. Incident files
    and truth.json hold the answers; keep them private.

    Args:
        suite: The public suite whose incidents are varied.
        seed: Draws everything; keep it as private as the answers.
        count: Incidents wanted.
        out: Directory to write; must not exist or be empty.
        concurrency: Host processes; 0: one a core.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import cores
    from aiopslab.orchestrator.generation import generate

    if count < 1:
        raise UsageError(f"--count is {count!r}", hint="give 1 or more")
    with display(display_) as show:
        made = asyncio.run(
            generate(
                suite, seed=seed, count=count, home=out, hosts=concurrency or cores(), progress=show
            )
        )
    _print(made, count, out, as_json=json)
    return 0 if len(made.kept) == count else EXIT_INVALID


def _print(made: Generated, count: int, out: Path, *, as_json: bool) -> None:
    if as_json:
        data = {
            "suite": made.suite,
            "directory": str(out) if made.kept else None,
            "incidents": [m.spec.name for m in made.kept],
            "refused": [v.model_dump(mode="json") for v in made.refused],
        }
        output.envelope("aiopslab/generated@1", data)
        return
    for verdict in made.refused:
        failed = ", ".join(p.id for p in verdict.proofs if not p.holds)
        print(f"{verdict.incident} is not sound ({failed}) and was left out")
    print(f"{len(made.kept)} of {count} incidents are in {out}")
    if made.kept:
        print(f"next: AIOPSLAB_CONTENT={out} aiopslab run {made.suite} -a AGENT")

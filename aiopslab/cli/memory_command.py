"""``aiopslab memory``: write the memory of past incidents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display

if TYPE_CHECKING:
    from aiopslab.models.sighting import Sighting


def command(
    *,
    sightings: Path = Path("docs/memory.jsonl"),
    out: Annotated[Path, Parameter(alias="-o")] = Path("problems/memory"),
    concurrency: Annotated[int, Parameter(alias="-n")] = 0,
    display_: Annotated[Display, Parameter(name="--display")] = "auto",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Write the past incidents that agents may search under --context-profile P5.

    Training incidents, which no suite but full lists, are played up to their hand-over with seeds
    of their own; what was seen is kept, and each becomes a record. Every seventh or so is stale or
    misleading. A draw that is not seen to hurt gives no record. Exits 6 if the lab failed.

    Args:
        sightings: What was seen, JSON lines; what is there already is not played again.
        out: Directory of the records, one file an app.
        concurrency: Host processes; 0: one a core.
        display_: auto, live, plain, json or none.
        json: Print one JSON document.
    """
    import asyncio

    from aiopslab.cli.run_command import cores
    from aiopslab.orchestrator.sightings import publish, see
    from aiopslab.problems import memory, training

    draws = training.remembered(training.training())
    with display(display_) as show:
        seen = asyncio.run(see(draws, out=sightings, hosts=concurrency or cores(), progress=show))
    made = memory.corpus(seen)
    counts = publish([one.record for one in made], out)
    _print(seen, counts, len(memory.unreliable(made)), out, as_json=json)
    return EXIT_INVALID if any(row.error for row in seen) else 0


def _print(
    seen: Sequence[Sighting], counts: dict[str, int], bad: int, out: Path, *, as_json: bool
) -> None:
    unseen = [row for row in seen if not row.shown]
    if as_json:
        rows = [row.model_dump(mode="json") for row in unseen]
        data = {"records": counts, "unreliable": bad, "unseen": rows}
        output.envelope("aiopslab/memory@1", data)
        return
    for row in unseen:
        print(f"{row.incident} (seed {row.seed}) gives no record: {row.error or row.unseen}")
    each = ", ".join(f"{app} {n}" for app, n in counts.items())
    print(f"{sum(counts.values())} records ({each}) are in {out}; {bad} are stale or misleading")

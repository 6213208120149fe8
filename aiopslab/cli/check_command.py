"""``aiopslab check``: prove incidents sound."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from aiopslab.cli import EXIT_INVALID, output
from aiopslab.cli.progress import Display, display
from aiopslab.errors import UsageError

_RANGE = re.compile(r"(?P<low>\d+)(?:-(?P<high>\d+))?")


@Parameter(name="*")
@dataclass(frozen=True)
class What:
    """What is proven."""

    suite: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    """A suite, such as core@1.0; the same as naming it as a target."""
    seeds: Annotated[str, Parameter(alias="--seed")] = "0"
    """Draw targets, parameters and traffic: one seed, or several such as 0,1,2 or 0-19."""
    proof: Annotated[list[str], Parameter(negative="")] = field(default_factory=list)
    """Carry out this proof only, while you work on an incident; repeatable."""
    margins: Path | None = None
    """Prove nothing, but measure how far incidents and twins are from the symptom gate, into this
    file of JSON lines; what is there already is not measured again."""


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How it is carried out."""

    concurrency: Annotated[int, Parameter(alias="-n")] = 0
    """Host processes; 0: one a core."""
    keep: Path | None = None
    """A new directory for the records of the proofs; without it they are thrown away."""
    display_: Annotated[Display, Parameter(name="--display")] = "auto"
    """auto, live, plain, json or none."""
    json: Annotated[bool, Parameter(negative="")] = False
    """Print one JSON document, with what each incident cost."""


def command(*targets: str, what: What | None = None, how: How | None = None) -> int:
    """Prove incidents sound, or measure how far they are from their symptom gates.

    For each: the twin is healthy and no alert fires, the fault is seen to hurt, doing nothing
    fails, the reference fix passes, known cheats fail, nothing an agent can read gives the fault
    away, it can be undone, and the same seed gives the same records. Exits 6 if a proof does not
    hold, or, with --margins, if more than one draw in 200 fails.

    Args:
        targets: Incidents, suites, globs, or paths of incident files; none means all.
        what: What is proven.
        how: How it is carried out.
    """
    import asyncio

    from aiopslab.cli.run_command import cores
    from aiopslab.orchestrator.soundness import check

    what, how = what or What(), how or How()
    seeds, hosts = numbers(what.seeds), how.concurrency or cores()
    if what.margins is not None and (what.proof or how.keep is not None):
        raise UsageError(
            "--margins proves nothing: it goes with neither --proof nor --keep",
            hint="aiopslab check --proof NAME, or --margins FILE",
        )
    if what.margins is not None:
        return _margins([*targets, *what.suite], what.margins, seeds, hosts, how)
    with display(how.display_) as show:
        work = check(
            [*targets, *what.suite], seeds=seeds, hosts=hosts, only=what.proof, keep=how.keep,
            progress=show,
        )  # fmt: skip
        verdicts = asyncio.run(work)
    if how.json:
        output.envelope("aiopslab/check@1", [v.model_dump(mode="json") for v in verdicts])
    else:
        _print(verdicts, whole=not what.proof)
    return 0 if all(v.sound for v in verdicts) else EXIT_INVALID


def _margins(targets: list[str], out: Path, seeds: list[int], hosts: int, how: How) -> int:
    import asyncio

    from aiopslab.grading import margins as grading
    from aiopslab.orchestrator.margins import measure
    from aiopslab.report.terminal import margin_rows

    with display(how.display_) as show:
        work = measure(targets, seeds=seeds, out=out, hosts=hosts, progress=show)
        found = asyncio.run(work)
    rows, failed = grading.rows(found), [m for m in found if m.failed]
    if how.json:
        data = {"rows": [r.model_dump(mode="json") for r in rows],
                "failed": [m.model_dump(mode="json") for m in failed]}  # fmt: skip
        output.envelope("aiopslab/margins@1", data)
    else:
        output.table(*margin_rows(rows))
        for m in failed:
            print(f"{m.incident} (seed {m.seed}): {grading.reason(m)}")
        print(f"{len(failed)} of {len(found)} draws failed")
    return 0 if grading.acceptable(found) else EXIT_INVALID


def numbers(text: str) -> list[int]:
    """Read ``0,1,2`` or ``0-19,40`` as whole numbers in order, each once.

    Raises:
        UsageError: It is neither.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{text!r} names no seeds", hint="write 7, or 0,1,2, or 0-19")
        low = int(match["low"])
        found.update(range(low, int(match["high"] or low) + 1))
    if not found:
        raise UsageError(f"{text!r} names no seeds", hint="write 7, or 0,1,2, or 0-19")
    return sorted(found)


def _print(verdicts: list[Any], *, whole: bool) -> None:
    several = len({v.seed for v in verdicts}) > 1
    rows = []
    for verdict in verdicts:
        held = sum(p.holds for p in verdict.proofs)
        mark = ("sound" if whole else "holds") if verdict.sound else "NOT SOUND"
        seed = [verdict.seed] if several else []
        rows.append([mark, verdict.incident, *seed, f"{held}/{len(verdict.proofs)}"])
    output.table(["", "incident", *(["seed"] if several else []), "proofs"], rows)
    for verdict in verdicts:
        where = f"{verdict.incident} (seed {verdict.seed})" if several else verdict.incident
        for proof in verdict.proofs:
            if not proof.holds:
                print(f"{where}: {proof.id}: {proof.detail}")
    held = f"{sum(v.sound for v in verdicts)} of {len(verdicts)}"
    print(
        f"{held} incidents are sound" if whole else f"{held}: these proofs hold; not all were made"
    )

"""``aiopslab calibrate``: fit a mapping from elicited evidence to confidence, and look at one."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import output
from aiopslab.models.task import Task

if TYPE_CHECKING:
    from aiopslab.models.mapping import ConfidenceMapping, HeldOut


@Parameter(name="*")
@dataclass(frozen=True)
class Fit:
    """How a mapping is fitted."""

    out: Annotated[Path | None, Parameter(alias="-o")] = None
    """File for the mapping."""
    task: Annotated[list[Task], Parameter(alias="-t", negative="")] = field(default_factory=list)
    """Only answers of this task; repeatable. Default: all."""
    split: str = ""
    """Share of the incidents to fit on, such as 1/2; the others test the mapping. Default: all."""
    folds: int = 5
    """Parts of the cross-validation that chooses the form."""
    seed: int = 0
    """Draws folds and split."""


def command(
    action: Literal["fit", "show"],
    *paths: Path,
    how: Fit | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fit a mapping on runs of the agent pace, or show one and test it on other runs.

    Args:
        action: fit or show.
        paths: For fit: directories of runs. For show: the mapping, then runs to test it on; answers
            of incidents that it was fitted on are left out and counted.
        how: For fit only.
        json: Print one JSON document.
    """
    from aiopslab.errors import UsageError

    if action == "fit":
        return _fit(paths, how or Fit(), as_json=json)
    if how is not None:
        raise UsageError("show fits nothing", hint="aiopslab calibrate show mapping.json [RUN...]")
    if not paths:
        raise UsageError("no mapping to show", hint="aiopslab calibrate show mapping.json")
    return _show(paths[0], paths[1:], as_json=json)


def _fit(paths: tuple[Path, ...], how: Fit, *, as_json: bool) -> int:
    from aiopslab.errors import UsageError
    from aiopslab.orchestrator import calibrate

    if not paths:
        raise UsageError("no runs to fit on", hint="aiopslab calibrate fit RUN -o mapping.json")
    if how.out is None:
        raise UsageError("nowhere to write the mapping", hint="-o mapping.json")
    if how.folds < 2:
        raise UsageError(f"--folds {how.folds} are too few", hint="--folds 5")
    found = calibrate.fit(
        paths, tasks=how.task, share=_share(how.split), folds=how.folds, seed=how.seed
    )
    calibrate.write(how.out, found)
    _tell(found, found.held_out, as_json=as_json)
    if not as_json:
        print(f"next: aiopslab run SUITE -a pace -A inner=AGENT -A mapping={how.out}")
    return 0


def _show(path: Path, runs: tuple[Path, ...], *, as_json: bool) -> int:
    from aiopslab.orchestrator import calibrate

    mapping = calibrate.read(path)
    _tell(mapping, calibrate.tested(mapping, runs) if runs else mapping.held_out, as_json=as_json)
    return 0


def _share(text: str) -> Fraction | None:
    """Read a share such as 1/2 or 0.5; None of nothing."""
    from aiopslab.errors import UsageError

    if not text:
        return None
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise UsageError(f"--split {text!r} is no share between 0 and 1", hint="--split 1/2")
    return share


def _tell(mapping: ConfidenceMapping, test: HeldOut | None, *, as_json: bool) -> None:
    from aiopslab.report import mapping as report

    if as_json:
        shown = mapping.model_copy(update={"held_out": test})
        dumped = shown.model_dump(mode="json", by_alias=True)
        output.envelope("aiopslab/confidence-mapping@1", dumped)
        return
    for line in report.heading(mapping):
        print(line)
    print()
    output.table(*report.score_rows(mapping))
    print()
    output.table(*report.map_rows(mapping))
    if note := report.map_note(mapping):
        print(note)
    if test is not None:
        print()
        output.table(*report.heldout_rows(test))
        for line in report.heldout_lines(test):
            print(line)

"""``aiopslab calibrate``: fit a mapping from elicited evidence to confidence, and look at one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import output
from aiopslab.models.task import Task

if TYPE_CHECKING:
    from aiopslab.models.mapping import ConfidenceMapping, HeldOut


def command(
    action: Literal["fit", "show"],
    *paths: Path,
    out: Annotated[Path | None, Parameter(alias="-o")] = None,
    task: Annotated[list[Task] | None, Parameter(alias="-t", negative="")] = None,
    split: str | None = None,
    folds: int = 5,
    seed: int = 0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Fit a mapping on runs of the agent pace, or show one and test it on other runs.

    Args:
        action: fit or show.
        paths: For fit: directories of runs. For show: the mapping, then runs to test it on; answers
            of incidents that it was fitted on are left out and counted.
        out: For fit: file for the mapping.
        task: For fit: only answers of this task; repeatable. Default: all.
        split: For fit: share of the incidents to fit on, such as 1/2; the others test the mapping.
            Default: all are fitted on.
        folds: For fit: parts of the cross-validation that chooses the form.
        seed: For fit: draws folds and split.
        json: Print one JSON document.
    """
    from aiopslab.errors import UsageError

    if action == "show":
        if not paths:
            raise UsageError("no mapping to show", hint="aiopslab calibrate show mapping.json")
        return _show(paths[0], paths[1:], as_json=json)
    if not paths:
        raise UsageError("no runs to fit on", hint="aiopslab calibrate fit RUN -o mapping.json")
    if out is None:
        raise UsageError("nowhere to write the mapping", hint="-o mapping.json")
    if folds < 2:
        raise UsageError(f"--folds {folds} are too few", hint="--folds 5")
    from aiopslab.orchestrator import calibrate

    found = calibrate.fit(paths, tasks=task or (), share=_share(split), folds=folds, seed=seed)
    calibrate.write(out, found)
    _tell(found, found.held_out, as_json=json)
    if not json:
        print(f"next: aiopslab run SUITE -a pace -A inner=AGENT -A mapping={out}")
    return 0


def _show(path: Path, runs: tuple[Path, ...], *, as_json: bool) -> int:
    from aiopslab.orchestrator import calibrate

    mapping = calibrate.read(path)
    _tell(mapping, calibrate.tested(mapping, runs) if runs else mapping.held_out, as_json=as_json)
    return 0


def _share(text: str | None) -> Fraction | None:
    """Read a share such as 1/2 or 0.5."""
    from aiopslab.errors import UsageError

    if text is None:
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
        output.table(*report.tested_rows(test))
        for line in report.tested_lines(test):
            print(line)

"""``aiopslab report``: a run as a page, or as what other programs read.

Not here: what the formats say (``aiopslab.report``).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aiopslab.cli import output

if TYPE_CHECKING:
    from aiopslab.models.comparison import Comparison
    from aiopslab.report.curves import Recordings
    from aiopslab.report.entries import Reading

Format = Literal["html", "md", "json", "csv", "junit"]


def command(
    run: Path,
    /,
    *,
    format: Annotated[Format, Parameter(alias="-f")] = "html",
    out: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    against: Path | None = None,
    curves: bool = True,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
) -> None:
    """Report on a run: scores with intervals, and every trial with what the agent did.

    Args:
        run: The run's directory.
        format: html (one file that works offline), md, json, csv (one row a trial) or junit.
        out: The file to write. By default html goes to report.html in the run's directory, and
            everything else to standard output.
        against: html, md, json: a run to set beside it, such as the same with --context-profile P0;
            shows what this one gained and lost, pair by pair, and the tokens spent.
        curves: html: draw what users' requests met, from the trials' telemetry.
        quiet: No progress.
    """
    from aiopslab.orchestrator.records import RunDirectory
    from aiopslab.report.curves import Recordings
    from aiopslab.report.entries import read

    reading = read(RunDirectory.find(run), against=_beside(against, run, format))
    if format == "html":
        target = out or run / "report.html"
        with contextlib.ExitStack() as stack:
            recordings = stack.enter_context(Recordings()) if curves else None
            _write(target, _html(reading, target, recordings, quiet=quiet))
        print(target)
    elif out is not None:
        _write(out, [_text(reading, format)])
        print(out)
    else:
        sys.stdout.write(_text(reading, format))


def _beside(against: Path | None, run: Path, format: Format) -> Comparison | None:
    """Compare with another run; that one is A."""
    from aiopslab.errors import UsageError
    from aiopslab.models.run import SEVERAL
    from aiopslab.orchestrator.comparison import compare
    from aiopslab.orchestrator.records import RunDirectory

    if against is None:
        return None
    if format in ("csv", "junit"):
        raise UsageError(f"--against is not for {format!r}", hint="html, md or json")
    if any(RunDirectory.find(path).record().config.agent == SEVERAL for path in (against, run)):
        raise UsageError(
            "--against sets runs of one agent each side by side",
            hint=f"aiopslab compare {against} {run} --agent-a NAME --agent-b NAME",
        )
    return compare(against, run)


def _text(reading: Reading, format: Format) -> str:
    from aiopslab.report import junit, markdown, tabular

    match format:
        case "md":
            return markdown.as_markdown(reading)
        case "csv":
            return tabular.as_csv(reading)
        case "junit":
            return junit.as_junit(reading)
        case _:
            return output.enveloped("aiopslab/report@1", tabular.as_document(reading)) + "\n"


def _html(
    reading: Reading, target: Path, recordings: Recordings | None, *, quiet: bool
) -> Iterator[str]:
    from aiopslab.report.html.page import document

    def progress(done: int, of: int) -> None:
        if not quiet and (done % 50 == 0 or done == of):
            output.note(f"{done}/{of} trials")

    here, there = target.resolve().parent, reading.run.path.resolve()
    between = Path(os.path.relpath(there, here)).as_posix()
    records = "" if between == "." else between
    return document(reading, records=records, recordings=recordings, on_trial=progress)


def _write(target: Path, pieces: Iterable[str]) -> None:
    """Write a file whole or not at all."""
    from aiopslab.errors import UsageError

    if not target.parent.is_dir():
        raise UsageError(f"no directory {str(target.parent)!r}")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)

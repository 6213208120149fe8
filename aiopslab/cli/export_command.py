"""``aiopslab export``: the telemetry of a run or a trial in formats that other tools read.

Only telemetry of a trial's record is read: answer key, evidence and grades are never exported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aiopslab.cli import output

if TYPE_CHECKING:
    from aiopslab.orchestrator.records import TrialDirectory
    from aiopslab.telemetry.export import Written


@dataclass(frozen=True, slots=True)
class _Part:
    """A trial to export: the name of its directory, its telemetry, and where the files go."""

    trial: str
    source: Path
    target: Path

    def export(self, format: str, signals: Sequence[str], *, force: bool) -> list[Written]:
        from aiopslab.telemetry.export import export

        return export(self.source, self.target, format=format, signals=signals, force=force)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Which of a trial's telemetry, and what to say where there is none."""

    of: Callable[[TrialDirectory], Path]
    said: str
    hint: str


_CLUSTER = _Kind(lambda trial: trial.telemetry, "", "runs with --no-telemetry keep none")
_AGENT = _Kind(
    lambda trial: trial.agent_telemetry, " of an agent", "run with --serve; agents send to OTLP"
)


def command(
    record: Path,
    /,
    *,
    format: Annotated[str, Parameter(alias="-f")],
    output_dir: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    signal: Annotated[list[str] | None, Parameter(alias="-s", negative="")] = None,
    agent: Annotated[bool, Parameter(negative="")] = False,
    force: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(alias="-q", negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Export the telemetry of a run (a directory for each trial) or of one trial.

    Args:
        record: The directory of a run or of a trial.
        format: parquet, csv, otlp (JSON lines and protobuf) or openmetrics.
        output_dir: Where the files go; by default NAME-FORMAT in the working directory.
        signal: spans, logs, samples, events, changes or alerts; repeatable; all by default.
        agent: What the agent sent to its trial's OTLP receiver, not what the cluster recorded.
        force: Write into a directory that has content; files of the same name are replaced.
        quiet: No progress.
        json: Print one JSON document.
    """
    from aiopslab.telemetry import export

    export.check(format, signals := signal or [])
    target = output_dir or Path(f"{record.resolve().name}-{format}")
    parts, without = _parts(record, target, _AGENT if agent else _CLUSTER)
    export.make_room(target, force=force)
    done = []
    for n, part in enumerate(parts, start=1):
        if not quiet:
            print(f"[{n}/{len(parts)}] {part.trial}", file=sys.stderr, flush=True)
        done.append((part, part.export(format, signals, force=force)))
    if json:
        output.envelope("aiopslab/export@1", _document(format, target, done, without))
    else:
        _say(format, target, done, without)


def _parts(record: Path, target: Path, kind: _Kind) -> tuple[list[_Part], list[str]]:
    """Find what to export, and the trials of a run that have no telemetry (yet).

    Raises:
        UsageError: The directory is no record, or keeps no telemetry at all.
    """
    from aiopslab.errors import UsageError
    from aiopslab.orchestrator.records import RunDirectory, TrialDirectory

    if (record / "trial.json").is_file():
        source = kind.of(TrialDirectory(record))
        if not source.is_dir():
            raise UsageError(f"trial {str(record)!r} kept no telemetry{kind.said}", hint=kind.hint)
        return [_Part(record.resolve().name, source, target)], []
    if not (record / "run.json").is_file():
        said = "is neither a run nor a finished trial" if record.is_dir() else "does not exist"
        raise UsageError(f"{str(record)!r} {said}", hint="aiopslab list runs")
    run = RunDirectory(record)
    plans = run.record().trials
    # A trial that is under way may have files that are not whole yet.
    trials = {p.directory: run.trial(p) for p in plans if run.trial(p).complete}
    sources = {name: source for name, t in trials.items() if (source := kind.of(t)).is_dir()}
    if not sources:
        raise UsageError(f"run {str(record)!r} kept no telemetry{kind.said}", hint=kind.hint)
    parts = [_Part(name, source, target / name) for name, source in sources.items()]
    return parts, [p.directory for p in plans if p.directory not in sources]


def _document(
    format: str,
    target: Path,
    done: Sequence[tuple[_Part, list[Written]]],
    without: list[str],
) -> dict[str, Any]:
    trials = [
        {
            "trial": part.trial,
            "files": [
                {
                    "path": str(w.path.relative_to(target)),
                    "signal": w.signal,
                    "rows": w.rows,
                    "bytes": w.bytes,
                }
                for w in written
            ],
        }
        for part, written in done
    ]
    found = {"format": format, "directory": str(target), "trials": trials}
    return {**found, "without_telemetry": without}


def _say(
    format: str,
    target: Path,
    done: Sequence[tuple[_Part, list[Written]]],
    without: list[str],
) -> None:
    sums: dict[str, tuple[int, int, int]] = {}
    for _, written in done:
        for w in written:
            files, rows, size = sums.get(w.path.name, (0, 0, 0))
            sums[w.path.name] = (files + 1, rows + w.rows, size + w.bytes)
    table = [[name, files, rows, f"{size / 1e6:.1f}"] for name, (files, rows, size) in sums.items()]
    output.table(["file", "trials", "rows", "MB"], table)
    if without:
        print(f"{len(without)} trials kept no telemetry: {', '.join(without)}")
    print(f"{format} in {target}")

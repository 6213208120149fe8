"""The formats there are, what each holds, and the one function that writes any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol

from aiopslab.content import near
from aiopslab.errors import UsageError
from aiopslab.telemetry.export.recorded import Recorded
from aiopslab.telemetry.frames import SIGNALS


class Writer(Protocol):
    """Writes one signal in one format into an open file and returns how many rows it wrote."""

    def __call__(self, recorded: Recorded, signal: str, file: BinaryIO) -> int: ...


@dataclass(frozen=True, slots=True)
class Format:
    """A format: the files it makes of each signal it can hold."""

    summary: str
    module: str
    """Module of this package with the writers; imported when the format is asked for."""
    files: Mapping[str, Mapping[str, str]]
    """Signal to file name to the name of its writer."""


@dataclass(frozen=True, slots=True)
class Written:
    """One file of an export."""

    signal: str
    path: Path
    rows: int
    """Rows of the record that are in it."""
    bytes: int


def _plain(extension: str, writer: str) -> dict[str, dict[str, str]]:
    return {signal: {f"{signal}.{extension}": writer} for signal in SIGNALS}


def _otlp(signal: str, name: str) -> dict[str, dict[str, str]]:
    return {signal: {f"{name}.jsonl": "write_json", f"{name}.binpb": "write_protobuf"}}


FORMATS: dict[str, Format] = {
    "parquet": Format("the files as they are recorded", "tables", _plain("parquet", "copy")),
    "csv": Format("RFC 4180, one file a signal", "tables", _plain("csv", "write_csv")),
    "otlp": Format(
        "OpenTelemetry: JSON lines, and protobuf",
        "otlp",
        {
            **_otlp("spans", "traces"),
            **_otlp("logs", "logs"),
            **_otlp("samples", "metrics"),
            **_otlp("events", "events"),
        },
    ),
    "openmetrics": Format(
        "OpenMetrics text with timestamps, for promtool",
        "openmetrics",
        {"samples": {"metrics.txt": "write"}},
    ),
}
"""By name, in the order in which help lists them."""


def export(
    source: Path,
    target: Path,
    *,
    format: str,
    signals: Sequence[str] = (),
    force: bool = False,
    on_file: Callable[[Written], None] = lambda written: None,
) -> list[Written]:
    """Write recorded telemetry in a format.

    Args:
        source: A directory with ``<signal>.parquet``.
        target: Where the files go; made if needed.
        format: One of ``FORMATS``.
        signals: Which of ``frames.SIGNALS``; all that the format holds and the record has, if none
            is given.
        force: Replace files that exist; others in the directory stay.
        on_file: Receives each file when it is complete.

    Raises:
        UsageError: The format or a signal is unknown, nothing is recorded, or the target is taken.
    """
    chosen = check(format, signals)
    with Recorded.open(source) as recorded:
        present = [s for s in chosen if s in recorded.signals]
        missing = [s for s in signals if s not in recorded.signals]
        if missing:
            raise UsageError(f"{str(source)!r} has no {missing[0]}.parquet")
        if not present:
            raise UsageError(f"{str(source)!r} has no telemetry that {format} can hold")
        make_room(target, force=force)
        written = []
        for signal in present:
            for name, writer in FORMATS[format].files[signal].items():
                written.append(_write(recorded, signal, target / name, _writer(format, writer)))
                on_file(written[-1])
    return written


def check(format: str, signals: Sequence[str]) -> list[str]:
    """Return the signals that an export holds, in the order of ``frames.SIGNALS``.

    Raises:
        UsageError: The format or a signal is unknown, or the format cannot hold the signal.
    """
    found = FORMATS.get(format)
    if found is None:
        hint = near(format, list(FORMATS)) or f"formats: {', '.join(FORMATS)}"
        raise UsageError(f"format {format!r} is unknown", hint=hint)
    for signal in signals:
        if signal not in SIGNALS:
            hint = near(signal, list(SIGNALS)) or f"signals: {', '.join(SIGNALS)}"
            raise UsageError(f"signal {signal!r} is unknown", hint=hint)
        if signal not in found.files:
            able = [name for name, f in FORMATS.items() if signal in f.files]
            hint = f"formats that have: {', '.join(able)}"
            raise UsageError(f"{format} has no form for {signal!r}", hint=hint)
    return [s for s in SIGNALS if s in found.files and (not signals or s in signals)]


def make_room(target: Path, *, force: bool) -> None:
    """Make a directory for an export.

    Raises:
        UsageError: It is not a directory, or has content and ``force`` is not set.
    """
    if target.exists() and not target.is_dir():
        raise UsageError(f"{str(target)!r} is not a directory", hint="--output DIR")
    if not force and target.is_dir() and any(target.iterdir()):
        raise UsageError(f"{str(target)!r} is not empty", hint="--force, or another --output")
    target.mkdir(parents=True, exist_ok=True)


def _writer(format: str, name: str) -> Writer:
    module = import_module(f"aiopslab.telemetry.export.{FORMATS[format].module}")
    found: Writer = getattr(module, name)
    return found


def _write(recorded: Recorded, signal: str, path: Path, writer: Writer) -> Written:
    """Write beside the place and rename: a file that is there is whole."""
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            rows = writer(recorded, signal, file)
        size = beside.stat().st_size
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return Written(signal, path, rows, size)

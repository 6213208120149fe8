"""Parquet as it is, and CSV: the formats that keep the tables of ``telemetry.frames``."""

from __future__ import annotations

import csv
import io
import shutil
from typing import BinaryIO

from aiopslab.telemetry.export.recorded import Recorded


def copy(recorded: Recorded, signal: str, file: BinaryIO) -> int:
    """Copy the Parquet file, having read it: what is handed on is whole."""
    rows = sum(len(batch) for batch in recorded.rows(signal))
    with recorded.path(signal).open("rb") as source:
        shutil.copyfileobj(source, file)
    return rows


def write_csv(recorded: Recorded, signal: str, file: BinaryIO) -> int:
    """Write RFC 4180: a header, CRLF, quotes where needed, UTF-8.

    Numbers are Python's shortest text that reads back as the same; absent values are empty.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, dialect="excel")
    writer.writerow(recorded.columns(signal))
    rows = 0
    for batch in recorded.rows(signal):
        writer.writerows(batch)
        rows += len(batch)
    # The file stays open: it belongs to the caller.
    text.detach()
    return rows

"""Export of recorded telemetry to formats that other tools read: parquet, csv, otlp, openmetrics.

The input is a directory of Parquet files as ``telemetry.frames`` writes them, nothing else of a
record. Equal input gives equal bytes. Neighbours: ``telemetry.otlp`` reads OTLP, ``cli`` has the
command. Imports DuckDB and, for OTLP, protobuf, both on use.
"""

from __future__ import annotations

from aiopslab.telemetry.export.formats import FORMATS, Written, check, export, make_room

__all__ = ["FORMATS", "Written", "check", "export", "make_room"]

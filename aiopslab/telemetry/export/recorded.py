"""The Parquet files of a record, read in batches of rows, in the order of recording."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiopslab.errors import UsageError
from aiopslab.telemetry.frames import SIGNALS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = tuple[Any, ...]
_BATCH = 8192


@dataclass(frozen=True, slots=True)
class Recorded:
    """A directory of telemetry; use ``open``."""

    directory: Path
    signals: tuple[str, ...]
    """Those with a file, in the order of ``frames.SIGNALS``."""
    _connection: DuckDBPyConnection

    @classmethod
    @contextmanager
    def open(cls, directory: Path) -> Iterator[Recorded]:
        """Open a directory for reading.

        Raises:
            UsageError: It does not exist or has no Parquet file of ours.
        """
        if not directory.is_dir():
            raise UsageError(f"{str(directory)!r} does not exist")
        signals = tuple(s for s in SIGNALS if (directory / f"{s}.parquet").is_file())
        if not signals:
            raise UsageError(
                f"{str(directory)!r} holds no telemetry",
                hint="runs with --no-telemetry keep none",
            )
        import duckdb  # noqa: PLC0415 - slow to import, needed for exports only

        # One thread: rows come in the order of the file.
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            yield cls(directory, signals, connection)

    def path(self, signal: str) -> Path:
        """Return the file of a signal."""
        return self.directory / f"{signal}.parquet"

    def columns(self, signal: str) -> list[str]:
        """Return the names of a signal's columns."""
        rows = self._query(signal, "DESCRIBE SELECT * FROM {table}")
        return [row[0] for batch in rows for row in batch]

    def count(self, signal: str) -> int:
        """Return how many rows a signal has."""
        return int(next(self._query(signal, "SELECT count(*) FROM {table}"))[0][0])

    def rows(self, signal: str, columns: str = "*", where: str = "true") -> Iterator[list[Row]]:
        """Yield a signal's rows in batches.

        Args:
            signal: One of ``signals``.
            columns: SQL of what to select.
            where: SQL condition.

        Raises:
            UsageError: The file is damaged or of another shape.
        """
        yield from self._query(signal, f"SELECT {columns} FROM {{table}} WHERE {where}")

    def _query(self, signal: str, sql: str) -> Iterator[list[Row]]:
        import duckdb  # noqa: PLC0415 - is loaded: there is a connection

        path = self.path(signal)
        # A path is a pattern to DuckDB; brackets in a directory's name must stand for themselves.
        parameters = {"path": glob.escape(str(path))}
        try:
            result = self._connection.execute(sql.format(table="read_parquet($path)"), parameters)
            while batch := result.fetchmany(_BATCH):
                yield batch
        except duckdb.Error as error:
            said = str(error).partition("\n")[0]
            raise UsageError(f"{str(path)!r} cannot be read: {said}") from error

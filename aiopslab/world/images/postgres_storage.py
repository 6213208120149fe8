"""The files of a cluster on its volume: table files grow, WAL is recycled, the disk can be full.

A full disk fails writes to tables with 53100, and once WAL needs a new segment it panics, as
PostgreSQL does. Not here: what is in the tables (``postgres_cluster``).
"""

from __future__ import annotations

from aiopslab.world.disk import Volume
from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_cluster import Cluster, TableState
from aiopslab.world.images.postgres_expressions import SqlFailure

SEGMENT = 16 * 2**20
_DATABASE_OID = 16384
_RECORD_OVERHEAD = 120
_CATALOG_BYTES = 22_000_000
"""template0, template1 and postgres."""


class DiskFull(Exception):
    """WAL cannot be written: the server must go down."""


class Storage:
    """Accounts a cluster's bytes to a volume.

    Args:
        cluster: What is stored.
        volume: Where; None is a disk that never fills.
        max_wal_size: Bytes of WAL beyond which old segments are recycled.
    """

    def __init__(self, cluster: Cluster, volume: Volume | None, max_wal_size: int) -> None:
        self._cluster = cluster
        self._volume = volume
        self._max_segments = max(2, max_wal_size // SEGMENT)

    def open(self) -> None:
        """Account everything that exists and write the lock file.

        Raises:
            OSError: ENOSPC, also when only the lock file does not fit.
        """
        if self._volume is None:
            return
        self._volume.write("base/1", _CATALOG_BYTES)
        for table in self._cluster.tables.values():
            self._volume.write(self._path(table), table.allocated)
        self._volume.write("pg_wal", self._cluster.wal_segments * SEGMENT)
        self._volume.write("postmaster.pid", 4096)

    def close(self) -> None:
        """Remove the lock file."""
        if self._volume is not None:
            self._volume.remove("postmaster.pid")

    def grow(self, table: TableState) -> None:
        """Extend a table's file to its rows.

        Raises:
            SqlFailure: 53100; the caller takes its rows back.
        """
        needed = table.bytes
        if needed <= table.allocated:
            return
        if self._volume is not None:
            try:
                self._volume.write(self._path(table), needed)
            except OSError as error:
                message = f'could not extend file "{self._path(table)}": No space left on device'
                raise SqlFailure(
                    PgError("53100", message, hint="Check free disk space.")
                ) from error
        table.allocated = needed

    def shrink(self, table: TableState) -> None:
        """Cut a table's file to its rows (TRUNCATE, VACUUM FULL)."""
        table.allocated = table.bytes
        if self._volume is not None:
            self._volume.write(self._path(table), table.allocated)

    def drop(self, table: TableState) -> None:
        """Remove a table's file."""
        if self._volume is not None:
            self._volume.remove(self._path(table))

    def log(self, rows: int, row_bytes: int) -> None:
        """Write WAL for some changed rows.

        Raises:
            DiskFull: A new segment was needed and did not fit.
        """
        cluster = self._cluster
        before = cluster.wal_written // SEGMENT
        cluster.wal_written += rows * (row_bytes + _RECORD_OVERHEAD)
        new = cluster.wal_written // SEGMENT - before
        wanted = min(cluster.wal_segments + new, self._max_segments)
        if wanted > cluster.wal_segments:
            if self._volume is not None:
                try:
                    self._volume.write("pg_wal", wanted * SEGMENT)
                except OSError as error:
                    raise DiskFull from error
            cluster.wal_segments = wanted

    def _path(self, table: TableState) -> str:
        return f"base/{_DATABASE_OID}/{table.oid}"

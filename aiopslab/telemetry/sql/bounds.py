"""Bounds on a statement while it runs: host time, and address space of the process.

DuckDB's ``memory_limit`` counts what its buffers hold, not the texts an expression makes, so
``repeat('x', 1000000000)`` passes it; the operating system's limit does not let that pass. Not
here: what a statement may say (``guard``).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

HEADROOM = 768 << 20
"""Bytes by which the process may grow while a statement runs."""
_STATM = Path("/proc/self/statm")
_AGAIN_S = 0.05


@contextmanager
def time_limit(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what a connection does in the block once it has taken too long."""
    done = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        connection.interrupt()
        # An interrupt between two steps is lost: ask until the block is left.
        while not done.wait(_AGAIN_S):
            connection.interrupt()

    thread = threading.Thread(target=watch, name="sql-limit", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def memory_limit() -> Iterator[None]:
    """Bound the growth of this process in the block, where the platform can (Linux).

    Allocations beyond it fail in whichever thread makes them; while a statement runs, the world
    and its servers stand still.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource  # noqa: PLC0415 - not on every platform

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(_STATM.read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + HEADROOM
    if soft != resource.RLIM_INFINITY:
        bound = min(bound, soft)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

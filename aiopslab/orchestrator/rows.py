"""What long measurements find out: rows in a journal, kept as they come, none measured twice.

The journal survives a killed process; what a crash cut off is dropped when it is tidied. Not here:
what is measured (``baselines``, ``margins``), how files are written (``documents``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

from aiopslab.models.base import Model
from aiopslab.orchestrator import documents

R = TypeVar("R", bound=Model)
Key = tuple[Any, ...]


class Rows(Generic[R]):
    """Rows by key, in memory and in a journal.

    Args:
        out: The journal, JSON lines; made where there is none. None keeps rows in memory only.
        model: Of a row.
        key: What tells rows apart; a later row replaces an earlier one.

    Raises:
        UsageError: The file is no such journal.
    """

    def __init__(self, out: Path | None, model: type[R], key: Callable[[R], Key]) -> None:
        self._out = out
        self._key = key
        before = documents.read_journal(out, model) if out is not None else []
        self._rows = {key(row): row for row in before}
        # What a crash cut off must not become the beginning of the next line.
        self.tidy()

    def get(self, *key: Any) -> R | None:
        """Return a row, or None where there is none."""
        return self._rows.get(key)

    def add(self, row: R) -> None:
        """Keep a row at once."""
        self._rows[self._key(row)] = row
        if self._out is not None:
            documents.append(self._out, row)

    def keep(self, keys: Iterable[Key]) -> None:
        """Drop all rows but these."""
        wanted = set(keys)
        self._rows = {key: row for key, row in self._rows.items() if key in wanted}
        self.tidy()

    def tidy(self) -> None:
        """Write the journal anew: one row a key, sorted."""
        if self._out is not None:
            documents.write_journal(self._out, [self._rows[key] for key in sorted(self._rows)])

"""Sequences: where new keys come from, and where they end.

A table's numeric key draws from ``<table>_<key>_seq``. A sequence has a type and a highest value;
one made for an ``integer`` key keeps that bound when the column is widened, as in PostgreSQL. Not
here: the rows (``postgres_cluster``).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiopslab.services.tables import sequence_type
from aiopslab.world.images.messages import PgError
from aiopslab.world.images.postgres_expressions import SqlFailure, Value

HIGHEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


@dataclass(slots=True)
class Sequence:
    """A sequence; ``last`` is what it gave out last."""

    name: str
    type: str
    last: int
    highest: int

    def take(self, count: int) -> int:
        """Give out ``count`` values and return the last.

        Raises:
            SqlFailure: 2200H, the highest value was given out already.
        """
        if self.last + count > self.highest:
            message = f'nextval: reached maximum value of sequence "{self.name}" ({self.highest})'
            raise SqlFailure(PgError("2200H", message))
        self.last += count
        return self.last

    def set(self, value: int) -> None:
        """Continue after a value. Raises SqlFailure 22003."""
        if not 1 <= value <= self.highest:
            message = (
                f'setval: value {value} is out of bounds for sequence "{self.name}" '
                f"(1..{self.highest})"
            )
            raise SqlFailure(PgError("22003", message))
        self.last = value

    def alter(self, kind: str | None, highest: int | None) -> None:
        """Change the type, which moves a bound that stood at the old type's end, or the bound.

        Raises:
            SqlFailure: 22023, the bound lies outside the type or below the last value.
        """
        if kind is not None and kind not in HIGHEST:
            message = "sequence type must be smallint, integer, or bigint"
            raise SqlFailure(PgError("22023", message))
        at_end = self.highest == HIGHEST[self.type]
        chosen = kind or self.type
        bound = highest if highest is not None else HIGHEST[chosen] if at_end else self.highest
        if bound > HIGHEST[chosen]:
            message = f"MAXVALUE ({bound}) is out of range for sequence data type {chosen}"
            raise SqlFailure(PgError("22023", message))
        if bound < self.last:
            message = f"RESTART value ({self.last}) cannot be greater than MAXVALUE ({bound})"
            raise SqlFailure(PgError("22023", message))
        self.type, self.highest = chosen, bound

    def row(self) -> dict[str, Value]:
        """Return a line of ``pg_sequences``."""
        return {
            "schemaname": "public",
            "sequencename": self.name,
            "sequenceowner": "postgres",
            "data_type": self.type,
            "start_value": 1,
            "min_value": 1,
            "max_value": self.highest,
            "increment_by": 1,
            "cycle": False,
            "cache_size": 1,
            "last_value": self.last,
        }


def owned_by(table: str, key: str, column_type: str, rows: int, made_as: str) -> Sequence | None:
    """Make the sequence of a table's key; None where the key is no number.

    Args:
        table: Its name.
        key: Name of the key column.
        column_type: SQL type of that column.
        rows: Values given out so far.
        made_as: Type it was created with; empty for the column's.
    """
    kind = sequence_type(column_type, made_as)
    if kind is None:
        return None
    return Sequence(f"{table}_{key}_seq", kind, rows, HIGHEST[kind])

"""Growing numpy columns and dictionary encoding: how spans and log lines are kept small.

Rows are buffered by the tables that use this (``spans``, ``logs``) as plain tuples and moved
here in batches; a column is one array with room to grow. Not here: what the columns mean.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound=Hashable)
Array = npt.NDArray[Any]


class Dictionary(dict[T, int], Generic[T]):
    """Values to small codes; a value that is looked up for the first time gets the next code."""

    def __init__(self) -> None:
        super().__init__()
        self._decoded: list[T] = []

    def __missing__(self, value: T) -> int:
        code = self[value] = len(self)
        self._decoded.append(value)
        return code

    def extend(self, values: Iterable[T]) -> None:
        """Give the next codes to values that have none, in their order."""
        for value in values:
            self[value] = len(self._decoded)
            self._decoded.append(value)

    def decoded(self) -> list[T]:
        """Return the values in code order."""
        return self._decoded


class Columns:
    """Arrays of equal length that grow together.

    Args:
        dtypes: Column name to numpy dtype.
    """

    def __init__(self, dtypes: Mapping[str, str]) -> None:
        self._arrays: dict[str, Array] = {n: np.empty(1024, dtype) for n, dtype in dtypes.items()}
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def footprint(self) -> int:
        """Return the bytes of the arrays, the room to grow included."""
        return sum(array.nbytes for array in self._arrays.values())

    def __getitem__(self, name: str) -> Array:
        """Return a view of the filled part; valid until the next ``extend``."""
        return self._arrays[name][: self._rows]

    def extend(self, batch: Mapping[str, Sequence[Any] | Array]) -> None:
        """Append a batch; every column must be there and have the same length."""
        added = len(next(iter(batch.values())))
        end = self._rows + added
        for name, values in batch.items():
            array = self._arrays[name]
            if end > len(array):
                # Growth by half keeps copies rare and slack small.
                grown = np.empty(max(end, len(array) * 3 // 2), array.dtype)
                grown[: self._rows] = array[: self._rows]
                array = self._arrays[name] = grown
            array[self._rows : end] = values
        self._rows = end

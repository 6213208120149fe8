"""Functions that read a vector's values as Unix seconds and give parts of the date in UTC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.promql.values import Floats, Ints

_DAY_S = 86_400
_FAR = 1e11
"""Seconds that a date can hold; beyond, and for NaN, there is none."""
Days = npt.NDArray[np.datetime64]


def _part(pick: Callable[[Floats], npt.NDArray[Any]]) -> Callable[[Floats], Floats]:
    """Make a function of sample values from one of whole seconds."""

    def function(values: Floats) -> Floats:
        known = np.abs(values) < _FAR
        seconds = np.trunc(np.where(known, values, 0.0))
        return np.where(known, pick(seconds).astype(np.float64), np.nan)

    return function


def _date(pick: Callable[[Days], npt.NDArray[Any]]) -> Callable[[Floats], Floats]:
    """Make a function of sample values from one of days."""
    return _part(lambda t: pick(np.floor(t / _DAY_S).astype(np.int64).astype("M8[D]")))


def _since(days: Days, unit: str) -> Ints:
    """Count the days since the month or year began."""
    count: Ints = (days - days.astype(f"M8[{unit}]").astype("M8[D]")).astype(np.int64)
    return count


def _length(days: Days) -> Ints:
    months = days.astype("M8[M]")
    count: Ints = ((months + 1).astype("M8[D]") - months.astype("M8[D]")).astype(np.int64)
    return count


CALENDAR: dict[str, Callable[[Floats], Floats]] = {
    "minute": _part(lambda t: t // 60 % 60),
    "hour": _part(lambda t: t // 3600 % 24),
    "day_of_week": _part(lambda t: (t // _DAY_S + 4) % 7),
    "day_of_month": _date(lambda d: _since(d, "M") + 1),
    "day_of_year": _date(lambda d: _since(d, "Y") + 1),
    "days_in_month": _date(_length),
    "month": _date(lambda d: d.astype("M8[M]").astype(np.int64) % 12 + 1),
    "year": _date(lambda d: d.astype("M8[Y]").astype(np.int64) + 1970),
}
"""Functions by name, of Unix seconds."""

"""Time windows and steps of Loki's API, with its defaults and limits.

Neighbours: ``parameters`` (single values), ``loki`` and ``loki_summaries`` (who asks).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiopslab.wire.monitoring.parameters import (
    BadParameter,
    Parameters,
    brief,
    duration,
    nanoseconds_or_date,
)

LOOKBACK_S = 3600.0
"""How far back a request looks that says nothing."""
MAX_STEPS = 11_000
_STEPS = 250
"""Points of a series where no step is given."""


@dataclass(frozen=True, slots=True)
class Window:
    """``[start, end)`` in unix seconds."""

    start: float
    end: float


def window_of(p: Parameters, now: float) -> Window:
    """Return what ``start``, ``end`` and ``since`` say; the last hour where they say nothing.

    Raises:
        BadParameter: One is malformed, or the window is empty.
    """
    end = _time(p, "end", now, now)
    since = span_of(p, "since") or LOOKBACK_S
    start = _time(p, "start", now, min(end, now) - since)
    if end <= start:
        raise BadParameter("end timestamp must not be before or equal to start time")
    return Window(start, end)


def step_of(p: Parameters, window: Window) -> float:
    """Return the step of a metric query: the given one, or what makes 250 points.

    Raises:
        BadParameter: Malformed, not positive, or too many points.
    """
    length = window.end - window.start
    if not p.get("step"):
        return max(math.floor(length / _STEPS), 1.0)
    step = span_of(p, "step")
    if step <= 0:
        raise BadParameter(
            "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    if length / step > MAX_STEPS:
        raise BadParameter(
            f"exceeded maximum resolution of {MAX_STEPS:,} points per time series. Try increasing"
            " the value of the step parameter"
        )
    return step


def span_of(p: Parameters, name: str) -> float:
    """Return a duration in seconds; 0 where there is none.

    Raises:
        BadParameter: Malformed or negative.
    """
    text = p.get(name)
    if not text:
        return 0.0
    seconds = duration(text)
    if seconds < 0:
        raise BadParameter(f"{name} {brief(text)} must not be negative")
    return seconds


def _time(p: Parameters, name: str, now: float, default: float) -> float:
    text = p.get(name)
    return nanoseconds_or_date(text, now) if text else default

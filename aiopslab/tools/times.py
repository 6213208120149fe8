"""The times and durations that agents write, and how tools print them.

Accepted everywhere: RFC 3339, ``now``, ``now-15m``, ``-900`` (seconds ago), ``-15m`` and unix
seconds. Not here: the clock itself; every function is given the world's ``now``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from aiopslab.models.base import parse_duration
from aiopslab.models.timestamps import rfc3339

_RELATIVE = re.compile(r"(?:now)?\s*(?P<sign>[+-])\s*(?P<span>[0-9][0-9a-z.]*)")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_EPOCH_AFTER = 1e8
"""Bare positive numbers below this cannot be meant as unix seconds."""
_END = 253402300800.0
"""Unix seconds of the year 10000, which RFC 3339 cannot write."""


class TimeError(ValueError):
    """A time cannot be read; the text names the accepted forms."""


def parse_time(text: str, now: float) -> float:
    """Read a time as unix seconds.

    Raises:
        TimeError: None of the accepted forms.

    >>> parse_time("now-15m", 1000.0)
    100.0
    """
    plain = text.strip()
    if plain in ("", "now"):
        return now
    try:
        seconds = _seconds(plain, now)
    except (ValueError, OverflowError) as error:
        raise TimeError(_message(text)) from error
    # What no date can print is no time either.
    if not 0.0 <= seconds < _END:
        raise TimeError(f"{text!r} lies outside the years 1970 to 9999")
    return seconds


def parse_window(start: str, end: str, now: float) -> tuple[float, float]:
    """Read a window as (start, end) in unix seconds; the end never lies in the future.

    Raises:
        TimeError: A time cannot be read, or the window is empty.
    """
    first, last = parse_time(start, now), min(parse_time(end, now), now)
    if first >= last:
        raise TimeError(
            f"the window is empty: start {rfc3339(first)} is not before end {rfc3339(last)}"
            f" (now is {rfc3339(now)})"
        )
    return first, last


def clock_time(seconds: float) -> str:
    """Print the time of day, ``09:10:15``, for tables whose date is in the heading."""
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%H:%M:%S")


def range_line(start: float, end: float) -> str:
    """Return the first line of every answer about a window: the range that was evaluated."""
    return f"range: {rfc3339(start)} .. {rfc3339(end)}"


def _seconds(text: str, now: float) -> float:
    """Read one of the forms but ``now``; ValueError or OverflowError if it is none of them."""
    relative = _RELATIVE.fullmatch(text)
    if relative is not None:
        span = _span(relative["span"])
        return now - span if relative["sign"] == "-" else now + span
    if _NUMBER.fullmatch(text):
        if float(text) < _EPOCH_AFTER:
            raise ValueError(text)
        return float(text)
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


def _span(text: str) -> float:
    return float(text) if _NUMBER.fullmatch(text) else parse_duration(text)


def _message(text: str) -> str:
    return (
        f"{text!r} is not a time; write RFC 3339 (2026-03-10T09:00:00Z), 'now', 'now-15m',"
        " negative seconds (-900) or unix seconds"
    )

"""Unix seconds to RFC 3339 and back; the one place that knows the text form of world time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

LATEST = 253_402_300_799.0
"""Unix seconds of 9999-12-31T23:59:59Z, the last moment with a text form."""


@lru_cache(maxsize=4096)
def rfc3339(seconds: float) -> str:
    """Format unix seconds as RFC 3339 in UTC with whole seconds, rounded down.

    >>> rfc3339(0.9)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds // 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_ms(seconds: float) -> str:
    """Format unix seconds as RFC 3339 in UTC with milliseconds, rounded.

    >>> rfc3339_ms(1.5)
    '1970-01-01T00:00:01.500Z'
    """
    moment = datetime.fromtimestamp(round(seconds * 1e3) / 1e3, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def nanoseconds(seconds: float) -> int:
    """Return unix seconds as whole nanoseconds, exactly: ``n / 10**9`` gives the same float again.

    >>> nanoseconds(0.1) / 10**9
    0.1
    """
    above, below = seconds.as_integer_ratio()
    return (above * 10**9 + below // 2) // below


def rfc3339_nano(seconds: float) -> str:
    """Format unix seconds as kubelets stamp log lines: RFC 3339 in UTC with nine digits.

    >>> rfc3339_nano(0.25)
    '1970-01-01T00:00:00.250000000Z'
    """
    whole, nanos = divmod(round(seconds * 1e9), 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


@lru_cache(maxsize=4096)
def unix(text: str) -> float:
    """Parse RFC 3339 to unix seconds.

    Raises:
        ValueError: Not a timestamp, or one without an offset from UTC.

    >>> unix("1970-01-01T00:01:00Z"), unix("1970-01-01T01:00:00.5+01:00")
    (60.0, 0.5)
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no offset from UTC")
    return moment.timestamp()
